//! One network namespace with a name, as `ip netns` knows it.

use std::{
    fs::{self, File},
    io,
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
};

use super::{LabError, stale};

/// Where `ip netns` keeps its names.
pub(super) const DIRECTORY: &str = "/run/netns";

/// A network namespace of our own. Dropping it kills the processes in it and removes it.
#[derive(Debug)]
pub struct Netns {
    name: String,
    door: Door,
}

/// A way into a namespace that other threads and processes can take along.
#[derive(Clone, Debug)]
pub(super) struct Door(Arc<File>);

impl Door {
    /// Moves the calling thread, and no other, into the namespace.
    pub(super) fn enter(&self) -> io::Result<()> {
        setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
    }
}

impl Netns {
    /// Makes a namespace and gives it a name.
    pub(super) fn create(name: &str) -> Result<Self, LabError> {
        let failed = |source| LabError::Namespace { name: name.to_owned(), source };
        let path = Path::new(DIRECTORY).join(name);
        share_directory().map_err(failed)?;
        File::create_new(&path).map_err(failed)?;
        // From here on the file is ours, so a failure takes it away again.
        bind_new_namespace(&path)
            .and_then(|()| File::open(&path))
            .map(|file| Self { name: name.to_owned(), door: Door(Arc::new(file)) })
            .map_err(|source| {
                stale::remove(name);
                failed(source)
            })
    }

    /// Its name for `ip netns` and messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A file that `setns` and `nsenter --net=` take.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(&self.name)
    }

    /// The open namespace.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.door.0
    }

    pub(super) fn door(&self) -> Door {
        self.door.clone()
    }

    /// Runs a closure inside, on a thread of its own. Sockets keep the namespace they were made in,
    /// so what the closure returns can be used outside. A panic in it goes on in the caller.
    pub fn in_netns<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> io::Result<T> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| self.door.enter().map(|()| inside()));
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A command whose process lives inside. Unlike `ip netns exec` it keeps all mounts, so cgroups
    /// and bpffs stay in sight.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let door = self.door();
        // SAFETY: between fork and exec the closure makes one system call on a descriptor that it
        // keeps open; it allocates nothing and takes no lock.
        unsafe { command.pre_exec(move || door.enter()) };
        command
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        stale::remove(&self.name);
    }
}

/// Makes the directory what `ip netns add` makes it, a mount point of its own that is shared with
/// other mount namespaces. If `ip` did it later, its mount would hide ours and they could not be
/// removed any more. Like `ip`, it does so under a lock on the directory.
fn share_directory() -> io::Result<()> {
    fs::create_dir_all(DIRECTORY)?;
    let directory = File::open(DIRECTORY)?;
    directory.lock()?;
    let nothing = None::<&str>;
    let share = || {
        let flags = MsFlags::MS_SHARED | MsFlags::MS_REC;
        mount(nothing, DIRECTORY, nothing, flags, nothing)
    };
    match share() {
        // The directory is no mount point yet.
        Err(nix::Error::EINVAL) => {
            let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some(DIRECTORY), DIRECTORY, nothing, flags, nothing)?;
            share()?;
        }
        outcome => outcome?,
    }
    directory.unlock()
}

/// A namespace lives as long as something refers to it: here the mount on `path`, after the thread
/// that made it is gone.
fn bind_new_namespace(path: &Path) -> io::Result<()> {
    let own = "/proc/thread-self/ns/net";
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            mount(Some(own), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
    .map_err(io::Error::from)
}
