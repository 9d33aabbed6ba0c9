//! The admin socket: reads a line, asks the daemon's loop, writes a line. A client that is slow,
//! loud or wrong costs itself its connection and nobody else anything.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};

pub use super::claim::SocketError;
use super::{
    claim::Claim,
    protocol::{Question, REQUEST_BYTES_MAX, Request, Response, parse_request},
};

/// How patient the server is.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// With a client: for a whole request, for taking an answer.
    pub client: Duration,
    /// With the daemon's loop.
    pub daemon: Duration,
    /// Clients at a time; more of them wait in the kernel's queue.
    pub clients_max: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self { client: Duration::from_secs(10), daemon: Duration::from_secs(10), clients_max: 64 }
    }
}

/// The admin socket, listening.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    claim: Claim,
    patience: Patience,
}

/// Listens at `path`, mode 0600; refuses if another daemon answers there. Needs a tokio runtime.
pub fn bind(path: &Path, patience: Patience) -> Result<AdminSocket, SocketError> {
    let (listener, claim) = Claim::take(path)?;
    let listener = UnixListener::from_std(listener).map_err(|source| SocketError::Io {
        path: path.to_owned(),
        action: "wait for clients",
        source,
    })?;
    Ok(AdminSocket { listener, claim, patience })
}

impl AdminSocket {
    /// Serves until it is dropped; its clients and its path go with it.
    pub async fn serve(self, daemon: mpsc::Sender<Question>) {
        let Self { listener, claim: _claim, patience } = self;
        let places = Arc::new(Semaphore::new(patience.clients_max));
        let mut clients = JoinSet::new();
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    clients.spawn(converse(stream, daemon.clone(), patience, place));
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin socket takes no client");
                    // Descriptors have run out: there is nothing to do but to wait for some.
                    sleep(Duration::from_millis(100)).await;
                }
            }
            while clients.try_join_next().is_some() {}
        }
    }
}

/// Answers one client's requests, one after the other, and gives its place back.
async fn converse(
    mut stream: UnixStream,
    daemon: mpsc::Sender<Question>,
    patience: Patience,
    _place: OwnedSemaphorePermit,
) {
    let (reading, mut writing) = stream.split();
    let mut reading = BufReader::new(reading);
    loop {
        let mut line = Vec::new();
        let request = (&mut reading).take(REQUEST_BYTES_MAX as u64);
        let mut request = std::pin::pin!(request);
        let read = timeout(patience.client, request.read_until(b'\n', &mut line)).await;
        let (response, more) = match read {
            Ok(Ok(0) | Err(_)) => return,
            Err(_) if line.is_empty() => return,
            Err(_) => (Response::Err("the request did not end in time".to_owned()), false),
            Ok(Ok(_)) => match checked(&line) {
                Ok(request) => (ask(&daemon, request, patience.daemon).await, true),
                Err(refusal) => (Response::Err(refusal), line.ends_with(b"\n")),
            },
        };
        let answer = response.to_line();
        let sent = timeout(patience.client, writing.write_all(answer.as_bytes())).await;
        if !more || !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

fn checked(line: &[u8]) -> Result<Request, String> {
    match line.ends_with(b"\n") {
        true => parse_request(line),
        false if line.len() >= REQUEST_BYTES_MAX => {
            Err(format!("the request is longer than {REQUEST_BYTES_MAX} bytes"))
        }
        false => Err("the request ends without a line end".to_owned()),
    }
}

/// Puts a request to the daemon's loop.
pub(super) async fn ask(
    daemon: &mpsc::Sender<Question>,
    request: Request,
    patience: Duration,
) -> Response {
    let (reply, answer) = oneshot::channel();
    let asked = async {
        daemon.send((request, reply)).await.ok()?;
        answer.await.ok()
    };
    match timeout(patience, asked).await {
        Ok(Some(response)) => response,
        Ok(None) => Response::Err("the daemon is ending".to_owned()),
        Err(_) => Response::Err("the daemon is busy: try again".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::{io, path::PathBuf};

    use super::*;

    /// A socket whose daemon names what it was asked, never answers `reload` and forgets `backends`.
    struct Fixture {
        _directory: tempfile::TempDir,
        path: PathBuf,
        _tasks: JoinSet<()>,
    }

    fn start(patience: Patience) -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weir.sock");
        let socket = bind(&path, patience).unwrap();
        let (sender, mut questions) = mpsc::channel::<Question>(1);
        let mut tasks = JoinSet::new();
        tasks.spawn(socket.serve(sender));
        tasks.spawn(async move {
            let mut unanswered = Vec::new();
            while let Some((request, reply)) = questions.recv().await {
                if request == Request::Reload {
                    unanswered.push(reply);
                } else if request != Request::Backends {
                    reply.send(Response::done(format!("{request:?}"))).unwrap();
                }
            }
        });
        Fixture { _directory: directory, path, _tasks: tasks }
    }

    fn impatient() -> Patience {
        let short = Duration::from_millis(50);
        Patience { client: short, daemon: short, ..Patience::default() }
    }

    async fn connect(fixture: &Fixture) -> BufReader<UnixStream> {
        BufReader::new(UnixStream::connect(&fixture.path).await.unwrap())
    }

    async fn send(client: &mut BufReader<UnixStream>, bytes: &[u8]) -> io::Result<String> {
        client.get_mut().write_all(bytes).await?;
        read(client).await
    }

    async fn read(client: &mut BufReader<UnixStream>) -> io::Result<String> {
        let mut line = String::new();
        client.read_line(&mut line).await?;
        Ok(line)
    }

    const STATUS: &[u8] = b"{\"request\":\"status\"}\n";
    const ANSWER: &str = "{\"ok\":true,\"data\":{\"text\":\"Status\"}}\n";

    #[tokio::test]
    async fn a_client_may_ask_again_also_after_a_mistake() {
        let fixture = start(Patience::default());
        let mut client = connect(&fixture).await;
        assert_eq!(send(&mut client, STATUS).await.unwrap(), ANSWER);
        for (line, part) in [
            (&b"{nonsense}\n"[..], "not a request: key must be a string"),
            (b"\n", "not a request: EOF"),
            (b"\xff\xfe\n", "not a request: "),
            (b"{\"request\":\"shutdown\"}\n", "unknown variant"),
        ] {
            let answer = send(&mut client, line).await.unwrap();
            assert!(answer.starts_with("{\"ok\":false,\"error\":\"not a request: "), "{answer}");
            assert!(answer.contains(part), "{answer}");
        }
        assert_eq!(send(&mut client, STATUS).await.unwrap(), ANSWER);
    }

    #[tokio::test]
    async fn clients_do_not_wait_for_each_other() {
        let fixture = start(Patience::default());
        let mut idle = connect(&fixture).await;
        let mut half = connect(&fixture).await;
        half.get_mut().write_all(b"{\"request\":").await.unwrap();
        let mut waiting = connect(&fixture).await;
        waiting.get_mut().write_all(b"{\"request\":\"reload\"}\n").await.unwrap();

        let mut client = connect(&fixture).await;
        assert_eq!(send(&mut client, STATUS).await.unwrap(), ANSWER);
        assert_eq!(send(&mut half, b"\"status\"}\n").await.unwrap(), ANSWER);
        assert_eq!(send(&mut idle, STATUS).await.unwrap(), ANSWER);
    }

    #[tokio::test]
    async fn a_request_that_never_ends_is_cut_off() {
        let fixture = start(Patience::default());
        let mut client = connect(&fixture).await;
        let answer = send(&mut client, &vec![b' '; REQUEST_BYTES_MAX]).await.unwrap();
        assert!(answer.contains("longer than 65536 bytes"), "{answer}");
        assert_eq!(read(&mut client).await.unwrap(), "");

        let mut longest = vec![b' '; REQUEST_BYTES_MAX - STATUS.len()];
        longest.extend(STATUS);
        assert_eq!(send(&mut connect(&fixture).await, &longest).await.unwrap(), ANSWER);
    }

    #[tokio::test]
    async fn a_request_without_line_end_is_refused() {
        let fixture = start(Patience::default());
        let mut client = connect(&fixture).await;
        client.get_mut().write_all(b"{\"request\":\"status\"}").await.unwrap();
        client.get_mut().shutdown().await.unwrap();
        let answer = read(&mut client).await.unwrap();
        assert!(answer.contains("ends without a line end"), "{answer}");
        assert_eq!(read(&mut client).await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_slow_client_is_told_and_a_silent_one_is_left() {
        let fixture = start(impatient());
        let mut slow = connect(&fixture).await;
        let answer = send(&mut slow, b"{").await.unwrap();
        assert!(answer.contains("did not end in time"), "{answer}");
        assert_eq!(read(&mut slow).await.unwrap(), "");
        assert_eq!(read(&mut connect(&fixture).await).await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_daemon_that_does_not_answer_is_named_so() {
        let patience = Patience { client: Duration::from_mins(1), ..impatient() };
        let fixture = start(patience);
        let mut client = connect(&fixture).await;
        let answer = send(&mut client, b"{\"request\":\"reload\"}\n").await.unwrap();
        assert!(answer.contains("the daemon is busy"), "{answer}");
        let answer = send(&mut client, b"{\"request\":\"backends\"}\n").await.unwrap();
        assert!(answer.contains("the daemon is ending"), "{answer}");
    }

    #[tokio::test]
    async fn more_clients_than_places_are_served_in_turn() {
        let fixture = start(Patience { clients_max: 2, ..Patience::default() });
        let first = connect(&fixture).await;
        let mut second = connect(&fixture).await;
        let mut third = connect(&fixture).await;
        third.get_mut().write_all(STATUS).await.unwrap();
        assert_eq!(send(&mut second, STATUS).await.unwrap(), ANSWER);
        drop(first);
        assert_eq!(read(&mut third).await.unwrap(), ANSWER);
    }

    #[tokio::test]
    async fn two_daemons_do_not_share_a_socket_and_the_path_goes_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weir.sock");
        let socket = bind(&path, Patience::default()).unwrap();
        let error = bind(&path, Patience::default()).unwrap_err();
        assert!(matches!(error, SocketError::InUse(_)), "{error}");
        drop(socket);
        assert!(!path.exists());
    }
}
