//! A small HTTP/1.1 server of a chosen speed: a backend that needs no installing.
//!
//! A server has a number of slots and a service time; a request waits for a slot and holds it for
//! the service time. So its capacity is known exactly, and load beyond it queues as it does in a
//! real server. The queue is kept as the moments at which the slots get free: timers of whole
//! milliseconds make single answers late, but not the next request, so the capacity stays exact.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use nix::sys::socket::{Backlog, listen};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::http::{self, Ask, Bad, Request};
use crate::lab::{Netns, Worker};

const CONNECTIONS_MAX: usize = 4096;
const SLOTS_MAX: usize = 1024;
const IDLE_MAX: Duration = Duration::from_secs(30);
/// How much more of a bad request is read, and for how long.
const REFUSED_BYTES_MAX: u64 = 64 * 1024;
const REFUSED_MAX: Duration = Duration::from_secs(1);
const BACKLOG: i32 = 1024;

/// How fast a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerProfile {
    /// How long a request holds its slot.
    pub service_time: Duration,
    /// Requests served at the same time: at least one, at most 1024.
    pub slots: usize,
}

impl Default for ServerProfile {
    fn default() -> Self {
        Self { service_time: Duration::from_millis(2), slots: 1 }
    }
}

impl ServerProfile {
    /// The same server at a fraction of the speed: 0.5 takes twice the time. A speed that is no
    /// positive number changes nothing.
    #[must_use]
    pub fn at_speed(self, speed: f64) -> Self {
        let time = self.service_time.as_secs_f64() / speed;
        let service_time = Duration::try_from_secs_f64(time).unwrap_or(self.service_time);
        Self { service_time, ..self }
    }

    /// Requests per second that it can serve at most; none if it takes no time.
    #[must_use]
    pub fn capacity(&self) -> Option<f64> {
        let slots = f64::from(u32::try_from(self.slots.clamp(1, SLOTS_MAX)).unwrap_or(u32::MAX));
        let time = self.service_time.as_secs_f64();
        (time > 0.0).then(|| slots / time)
    }
}

/// A running server. Dropping it ends it with all its connections.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    worker: Worker<()>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    service_time: Duration,
    slots: Mutex<Slots>,
    connections: Arc<Semaphore>,
    requests: AtomicU64,
}

impl Server {
    /// Starts a server in a namespace, or in the caller's. It listens when this returns. Port 0
    /// takes a free one, see [`Server::address`].
    pub fn start(
        netns: Option<&Netns>,
        address: SocketAddr,
        name: &str,
        profile: ServerProfile,
    ) -> io::Result<Self> {
        if !name.bytes().all(|b| b.is_ascii_graphic()) || name.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("name {name:?}")));
        }
        let bind = || bind(address);
        let listener = netns.map_or_else(bind, |netns| netns.in_netns(bind)?)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            service_time: profile.service_time,
            slots: Mutex::new(Slots::new(profile.slots, Instant::now())),
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            requests: AtomicU64::new(0),
        });
        let served = Arc::clone(&shared);
        let worker = Worker::spawn(netns, &format!("server {name}"), move || async move {
            match TcpListener::from_std(listener) {
                Ok(listener) => serve(&listener, &served).await,
                Err(error) => tracing::error!(%error, "the server cannot listen"),
            }
        })?;
        Ok(Self { address, shared, worker })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its name in the `X-Backend` header.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Requests answered, without health checks and bad requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Ends it with all its connections.
    pub fn stop(self) -> io::Result<()> {
        self.worker.stop().map(|_| ())
    }
}

/// The standard library's backlog of 128 is too short for bursts of fresh connections.
fn bind(address: SocketAddr) -> io::Result<StdListener> {
    let listener = StdListener::bind(address)?;
    listener.set_nonblocking(true)?;
    listen(&listener, Backlog::new(BACKLOG)?)?;
    Ok(listener)
}

async fn serve(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let Ok(place) = Arc::clone(&shared.connections).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(shared);
                // A client that goes away ends its connection and nothing else.
                drop(tokio::spawn(async move {
                    if let Err(error) = converse(stream, &shared).await {
                        tracing::trace!(%error, "a connection ended early");
                    }
                    drop(place);
                }));
            }
            // Out of descriptors, or a client that was gone before it was accepted.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn converse(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = Vec::new();
    loop {
        match http::request(&bytes) {
            Ok(Some((request, length))) => {
                bytes.drain(..length);
                answer(&mut stream, &request, shared).await?;
                if !request.keep_alive {
                    return stream.shutdown().await;
                }
            }
            Ok(None) => {
                let Ok(read) = timeout(IDLE_MAX, stream.read_buf(&mut bytes)).await else {
                    return Ok(());
                };
                if read? == 0 {
                    return Ok(());
                }
            }
            Err(bad) => return refuse(&mut stream, bad, shared).await,
        }
    }
}

async fn answer(stream: &mut TcpStream, request: &Request, shared: &Shared) -> io::Result<()> {
    let text = format!("hello from {}\n", shared.name);
    let body = match request.ask {
        Ask::Health => "ok\n",
        Ask::Work(time) => {
            shared.work(time).await;
            &text
        }
        Ask::Page => {
            shared.work(shared.service_time).await;
            &text
        }
        Ask::Bytes(count) => {
            shared.work(shared.service_time).await;
            let head = http::write_head("200 OK", &shared.name, count, request.keep_alive);
            stream.write_all(head.as_bytes()).await?;
            let count = if request.head_only { 0 } else { count };
            tokio::io::copy(&mut tokio::io::repeat(b'w').take(count), stream).await?;
            return Ok(());
        }
    };
    let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let mut reply = http::write_head("200 OK", &shared.name, length, request.keep_alive);
    if !request.head_only {
        reply.push_str(body);
    }
    stream.write_all(reply.as_bytes()).await
}

/// After a bad request nobody knows where the next one begins, so the connection ends.
async fn refuse(stream: &mut TcpStream, bad: Bad, shared: &Shared) -> io::Result<()> {
    let body = format!("{}\n", bad.status());
    let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let reply = http::write_head(bad.status(), &shared.name, length, false) + &body;
    stream.write_all(reply.as_bytes()).await?;
    stream.shutdown().await?;
    // Bytes that nobody read would turn the closing into a reset, which can overtake the reply.
    let rest = &mut stream.take(REFUSED_BYTES_MAX);
    match timeout(REFUSED_MAX, tokio::io::copy(rest, &mut tokio::io::sink())).await {
        Ok(outcome) => outcome.map(|_| ()),
        Err(_) => Ok(()),
    }
}

impl Shared {
    async fn work(&self, time: Duration) {
        if !time.is_zero() {
            let end = {
                let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
                slots.take(Instant::now(), time)
            };
            sleep_until(end).await;
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
    }
}

/// When each slot gets free.
#[derive(Debug)]
struct Slots(Vec<Instant>);

impl Slots {
    fn new(slots: usize, now: Instant) -> Self {
        Self(vec![now; slots.clamp(1, SLOTS_MAX)])
    }

    /// Queues for the slot that gets free first; when the request is done.
    fn take(&mut self, now: Instant, time: Duration) -> Instant {
        match self.0.iter_mut().min() {
            Some(free) => {
                *free = now.max(*free) + time;
                *free
            }
            None => now + time,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpStream,
    };

    use super::*;

    fn server() -> Server {
        let profile = ServerProfile { service_time: Duration::ZERO, slots: 1 };
        Server::start(None, "127.0.0.1:0".parse().unwrap(), "one", profile).unwrap()
    }

    /// Everything the server says until it closes.
    fn say(server: &Server, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(bytes).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }

    #[test]
    fn pipelined_requests_are_answered_in_turn() {
        let server = server();
        let reply = say(
            &server,
            b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n\
              HEAD /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        );
        assert_eq!(reply.matches("HTTP/1.1 200 OK\r\nX-Backend: one\r\n").count(), 3);
        assert_eq!(reply.matches("hello from one\n").count(), 1, "HEAD has no body: {reply}");
        assert_eq!(server.requests(), 2, "health checks do not count");
    }

    #[test]
    fn bodies_have_the_size_asked_for() {
        let reply = say(&server(), b"GET /bytes/100000 HTTP/1.0\r\n\r\n");
        let (_, body) = reply.split_once("\r\n\r\n").unwrap();
        assert_eq!(body.len(), 100_000);
    }

    #[test]
    fn bad_requests_are_refused_and_do_not_count() {
        let server = server();
        let long = [b"GET / HTTP/1.1\r\nHost: ".as_slice(), &[b'x'; 9000]].concat();
        let rows: [(&[u8], &str); 5] = [
            (b"nonsense\r\n\r\n", "400"),
            (b"\x16\x03\x01\x02\x00\r\n\r\n", "400"),
            (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "405"),
            (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n", "413"),
            (&long, "431"),
        ];
        for (bytes, status) in rows {
            let reply = say(&server, bytes);
            assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {reply}");
            assert!(reply.contains("Connection: close"), "{reply}");
        }
        assert_eq!(server.requests(), 0);
        assert!(say(&server, b"GET / HTTP/1.0\r\n\r\n").contains("200 OK"), "it still serves");
    }

    #[test]
    fn a_stopped_server_is_gone() {
        let server = server();
        let address = server.address();
        let mut open = TcpStream::connect(address).unwrap();
        server.stop().unwrap();
        assert!(TcpStream::connect(address).is_err());
        assert!(!matches!(open.read(&mut [0; 1]), Ok(1..)), "open connections end, too");
    }

    #[test]
    fn what_cannot_start_says_so() {
        let first = server();
        let profile = ServerProfile::default();
        assert!(Server::start(None, first.address(), "two", profile).is_err());
        for name in ["", "two words", "a\r\nX-Backend: b"] {
            let any = "127.0.0.1:0".parse().unwrap();
            assert!(Server::start(None, any, name, profile).is_err(), "{name:?}");
        }
    }

    #[test]
    fn requests_queue_for_the_slot_that_gets_free_first() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        // Slots, and per request: arrival, service time, end.
        let rows: [(usize, &[[u64; 3]]); 4] = [
            (1, &[[0, 2, 2], [0, 2, 4], [1, 2, 6], [9, 2, 11]]),
            (2, &[[0, 4, 4], [0, 2, 2], [0, 2, 4], [0, 2, 6], [20, 1, 21]]),
            (0, &[[0, 2, 2], [0, 2, 4]]),
            (usize::MAX, &[[0, 2, 2], [0, 2, 2]]),
        ];
        for (slots, requests) in rows {
            let mut queue = Slots::new(slots, begin);
            for [arrival, time, end] in requests {
                let got = queue.take(at(*arrival), Duration::from_millis(*time));
                assert_eq!(got, at(*end), "{slots} slots, {requests:?}");
            }
        }
    }

    #[test]
    fn speeds_scale_the_service_time() {
        let rows = [(1.0, 2), (0.5, 4), (0.25, 8), (0.0, 2), (-1.0, 2), (f64::NAN, 2)];
        for (speed, ms) in rows {
            let profile = ServerProfile::default().at_speed(speed);
            assert_eq!(profile.service_time, Duration::from_millis(ms), "{speed}");
        }
        assert_eq!(ServerProfile::default().capacity(), Some(500.0));
        let instant = ServerProfile { service_time: Duration::ZERO, slots: 1 };
        assert_eq!(instant.capacity(), None);
    }
}
