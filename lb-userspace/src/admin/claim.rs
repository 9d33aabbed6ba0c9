//! Takes the path of the admin socket: private from its first moment, and never another daemon's.

use std::{
    fs::{self, DirBuilder},
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::{
            fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _},
            net::UnixListener,
        },
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    sys::{
        socket::{
            AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket,
        },
        stat::{Mode, fchmod},
    },
};

/// Why the path cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody answers there.
    #[error("another daemon answers at {}: stop it first, or name another admin socket", .0.display())]
    InUse(PathBuf),
    /// A file that is not a socket is never removed.
    #[error("{} exists and is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// Anything else the kernel said.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The socket or its directory.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// The listening socket and its path. The path goes away with it, unless it is somebody else's
/// by then.
#[derive(Debug)]
pub(super) struct Claim {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Claim {
    /// Makes the directory (0755) and the listening socket (0600), and removes a socket that
    /// nobody listens on.
    pub(super) fn take(path: &Path) -> Result<(UnixListener, Self), SocketError> {
        let failed = |action| {
            move |source: io::Error| SocketError::Io { path: path.to_owned(), action, source }
        };
        if let Some(parent) = path.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o755).create(parent);
            made.map_err(failed("make its directory"))?;
        }
        let address = UnixAddr::new(path).map_err(|errno| failed("use it")(errno.into()))?;
        remove_stale(path, &address)?;
        let listener = listen_private(&address).map_err(|errno| {
            if errno == Errno::EADDRINUSE {
                SocketError::InUse(path.to_owned())
            } else {
                failed("listen")(errno.into())
            }
        })?;
        let metadata = fs::symlink_metadata(path).map_err(failed("read its metadata"))?;
        let claim = Self { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() };
        Ok((listener, claim))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode));
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the admin socket stays behind");
        }
    }
}

/// Removes the socket of a daemon that ended without doing so.
fn remove_stale(path: &Path, address: &UnixAddr) -> Result<(), SocketError> {
    let failed = |action, source| SocketError::Io { path: path.to_owned(), action, source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("read its metadata", error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(SocketError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    // Not blocking: a daemon whose queue is full answers EAGAIN, and is alive.
    let probe = stream_socket(SockFlag::SOCK_NONBLOCK)
        .map_err(|errno| failed("make a socket", errno.into()))?;
    match connect(probe.as_raw_fd(), address) {
        Ok(()) | Err(Errno::EAGAIN) => Err(SocketError::InUse(path.to_owned())),
        Err(Errno::ECONNREFUSED) => {
            fs::remove_file(path).map_err(|error| failed("remove the stale socket", error))
        }
        Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(failed("find out who listens", errno.into())),
    }
}

/// Linux gives the file the mode of the socket it is bound from; set before, nobody finds the
/// socket open in between.
fn listen_private(address: &UnixAddr) -> Result<UnixListener, Errno> {
    let socket = stream_socket(SockFlag::SOCK_NONBLOCK)?;
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind(socket.as_raw_fd(), address)?;
    listen(&socket, Backlog::new(128)?)?;
    Ok(UnixListener::from(socket))
}

fn stream_socket(flags: SockFlag) -> Result<OwnedFd, Errno> {
    socket(AddressFamily::Unix, SockType::Stream, flags | SockFlag::SOCK_CLOEXEC, None)
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::PermissionsExt as _, net::UnixStream};

    use super::*;

    /// What a daemon leaves behind that did not end well.
    fn leave_stale(path: &Path) {
        let socket = stream_socket(SockFlag::empty()).unwrap();
        bind(socket.as_raw_fd(), &UnixAddr::new(path).unwrap()).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_socket_is_private_and_its_directory_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/weir/weir.sock");
        let (_listener, _claim) = Claim::take(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()) | 0o755, 0o755);
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_daemon_that_answers_keeps_its_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weir.sock");
        let first = Claim::take(&path).unwrap();
        let error = Claim::take(&path).unwrap_err();
        assert!(matches!(error, SocketError::InUse(_)), "{error}");
        assert!(error.to_string().starts_with("another daemon answers at "), "{error}");
        UnixStream::connect(&path).unwrap();
        drop(first);
        assert!(!path.exists());
        Claim::take(&path).unwrap();
    }

    #[test]
    fn a_stale_socket_gives_way_and_other_files_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weir.sock");
        leave_stale(&path);
        assert!(path.exists());
        drop(Claim::take(&path).unwrap());

        fs::write(&path, "precious").unwrap();
        let error = Claim::take(&path).unwrap_err();
        assert!(matches!(error, SocketError::NotASocket(_)), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_path_that_another_took_over_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weir.sock");
        let (listener, claim) = Claim::take(&path).unwrap();
        fs::rename(&path, directory.path().join("old.sock")).unwrap();
        let successor = UnixListener::bind(&path).unwrap();
        drop((listener, claim));
        assert!(path.exists());
        drop(successor);
    }

    #[test]
    fn impossible_paths_say_what_failed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        for (path, part) in [
            (directory.path().join("x".repeat(200)), "cannot use it"),
            (file.join("weir.sock"), "cannot make its directory"),
            (directory.path().to_owned(), "is not a socket"),
        ] {
            let error = Claim::take(&path).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
