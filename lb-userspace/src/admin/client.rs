//! The other end of the admin socket: one question, one answer, no runtime.

use std::{
    io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use super::protocol::{Request, parse_response};

/// How long an answer may take; the daemon gives up on itself sooner.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no daemon answers at {}: start one with \"weir run --config FILE\"", .0.display())]
    NoDaemon(PathBuf),
    /// The socket belongs to somebody else.
    #[error("permission denied at {}: the admin socket is for root, try sudo", .0.display())]
    Permission(PathBuf),
    /// The daemon said no.
    #[error("{0}")]
    Refused(String),
    /// What came back is not an answer.
    #[error("the answer at {} is not understood ({reason}): is it a weir of another version?", path.display())]
    Garbled {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Connecting, sending or receiving failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Asks the daemon behind the socket at `path`.
pub fn ask<T>(path: &Path, request: &Request) -> Result<T, ClientError>
where
    T: for<'de> Deserialize<'de>,
{
    let line = exchange(path, request).map_err(|source| failed(path, source))?;
    let garbled = |reason| ClientError::Garbled { path: path.into(), reason };
    if line.last() != Some(&b'\n') {
        return Err(garbled("it ends early".to_owned()));
    }
    parse_response(&line).map_err(garbled)?.map_err(ClientError::Refused)
}

fn failed(path: &Path, source: io::Error) -> ClientError {
    let kind = source.kind();
    if matches!(kind, ErrorKind::NotFound | ErrorKind::ConnectionRefused) {
        ClientError::NoDaemon(path.into())
    } else if kind == ErrorKind::PermissionDenied {
        ClientError::Permission(path.into())
    } else {
        ClientError::Io { path: path.into(), source }
    }
}

fn exchange(path: &Path, request: &Request) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    let mut question = serde_json::to_vec(request)?;
    question.push(b'\n');
    stream.write_all(&question)?;
    let mut line = Vec::new();
    let mut answer = BufReader::new(stream).take(ANSWER_BYTES_MAX);
    answer.read_until(b'\n', &mut line).map_err(|error| {
        // What a socket says when its read timeout is over.
        if error.kind() == ErrorKind::WouldBlock {
            io::Error::new(ErrorKind::TimedOut, "no answer in time")
        } else {
            error
        }
    })?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, thread};

    use super::*;
    use crate::admin::report::Done;

    /// A listener that reads a line and answers with these bytes.
    fn answer(bytes: &'static [u8]) -> (tempfile::TempDir, PathBuf, thread::JoinHandle<()>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weir.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            stream.write_all(bytes).unwrap();
        });
        (directory, path, server)
    }

    #[test]
    fn answers_are_told_apart() {
        for (bytes, expected) in [
            (&b"{\"ok\":true,\"data\":{\"text\":\"x\"}}\n"[..], "x"),
            (b"{\"ok\":false,\"error\":\"no backend\"}\n", "no backend"),
            (b"{\"ok\":true,\"data\":{}}\n", "is not understood (missing field `text`"),
            (b"hello\n", "is not understood (expected value"),
            (b"{\"ok\":true,\"data\":{\"text\":\"x\"}}", "(it ends early)"),
            (b"", "(it ends early)"),
        ] {
            let (_directory, path, server) = answer(bytes);
            let text = match ask::<Done>(&path, &Request::Reload) {
                Ok(done) => done.text,
                Err(error) => error.to_string(),
            };
            assert!(text.contains(expected), "{text}");
            server.join().unwrap();
        }
    }

    #[test]
    fn a_missing_and_a_dead_socket_say_how_to_start_a_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weir.sock");
        let expected = format!(
            "no daemon answers at {}: start one with \"weir run --config FILE\"",
            path.display()
        );
        let error = ask::<Done>(&path, &Request::Status).unwrap_err();
        assert_eq!(error.to_string(), expected);

        drop(UnixListener::bind(&path).unwrap());
        let error = ask::<Done>(&path, &Request::Status).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_private_socket_says_whose_it_is() {
        let error = failed(Path::new("/s"), ErrorKind::PermissionDenied.into());
        let expected = "permission denied at /s: the admin socket is for root, try sudo";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn other_failures_say_what_the_kernel_said() {
        let directory = tempfile::tempdir().unwrap();
        let long = directory.path().join("x".repeat(200));
        let error = ask::<Done>(&long, &Request::Status).unwrap_err();
        assert!(matches!(error, ClientError::Io { .. }), "{error}");
    }
}
