//! Clients on threads of their own, each call on record: from which port, in which phase of the
//! test it began, who answered.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    ops::Range,
    os::fd::AsRawFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use lb_userspace::lab::{CLIENT_V4, CLIENT_V6, Netns};
use nix::{
    sched::{CloneFlags, setns},
    sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket,
        sockopt,
    },
};

use super::world::{World, eventually};

/// Threads whose calls each have a connection of their own.
const FRESH: u16 = 3;
/// Ports such a thread has; it pauses after each call, so that they last.
const FRESH_PORTS: u16 = 16_000;
const FRESH_FIRST: u16 = 10_000;
/// Crowds that have ports of their own, before those of the first are used again.
const ROUNDS: u16 = 4;
/// Threads that keep one connection: a multiple of the backends of each family.
const KEPT: u16 = 12;
const KEPT_FIRST: u16 = 5_000;
const PAUSE: Duration = Duration::from_millis(2);
/// Only a broken test waits so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request and what became of it.
#[derive(Debug)]
pub(crate) struct Call {
    /// The client's. A port has one connection.
    pub(crate) port: u16,
    /// Over a connection that was opened for it.
    pub(crate) fresh: bool,
    /// When it began.
    pub(crate) phase: u8,
    /// Who answered, or why nobody did.
    pub(crate) answer: Result<String, String>,
}

/// Clients at work. Dropping them ends them.
pub(crate) struct Crowd {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Vec<Call>>>,
}

#[derive(Default)]
struct Shared {
    /// After each call.
    pause: Duration,
    stop: AtomicBool,
    phase: AtomicU8,
    calls: AtomicUsize,
    /// Calls that have begun and not ended, by phase.
    under_way: [AtomicUsize; 8],
}

impl Crowd {
    /// First the kept connections, one after the other, so that round-robin gives each backend as
    /// many; then the fresh ones.
    pub(crate) fn start(client: &Netns) -> Self {
        Self::start_from(client, PAUSE, KEPT_FIRST, 0..FRESH_PORTS)
    }

    /// The same with another pause after each call.
    pub(crate) fn at_pace(client: &Netns, pause: Duration) -> Self {
        Self::start_from(client, pause, KEPT_FIRST, 0..FRESH_PORTS)
    }

    /// One crowd of many, a few seconds each: the next ones have other ports.
    pub(crate) fn start_round(client: &Netns, round: u16) -> Self {
        let kept = KEPT_FIRST + round % ((FRESH_FIRST - KEPT_FIRST) / KEPT) * KEPT;
        let fresh = round % ROUNDS * (FRESH_PORTS / ROUNDS);
        Self::start_from(client, PAUSE, kept, fresh..fresh + FRESH_PORTS / ROUNDS)
    }

    fn start_from(client: &Netns, pause: Duration, kept: u16, fresh: Range<u16>) -> Self {
        let shared = Arc::new(Shared { pause, ..Shared::default() });
        let mut crowd = Self { shared, threads: Vec::new() };
        let vips = World::vips();
        for n in 0..KEPT {
            let (vip, port) = (vips[usize::from(n) % vips.len()], kept + n);
            let connection = client.in_netns(|| Connection::open(vip, port)).unwrap().unwrap();
            let shared = Arc::clone(&crowd.shared);
            crowd.threads.push(std::thread::spawn(move || shared.keep(connection, port)));
        }
        for n in 0..FRESH {
            let netns = client.file().try_clone().unwrap();
            let (shared, vips) = (Arc::clone(&crowd.shared), vips.clone());
            let first = FRESH_FIRST + n * FRESH_PORTS;
            let ports = first + fresh.start..first + fresh.end;
            crowd.threads.push(std::thread::spawn(move || {
                setns(&netns, CloneFlags::CLONE_NEWNET).unwrap();
                shared.open_and_close(&vips, ports)
            }));
        }
        crowd
    }

    /// Calls that begin from here on belong to this phase; those of earlier ones have ended.
    pub(crate) fn enter(&self, phase: u8) {
        self.shared.phase.store(phase, Ordering::SeqCst);
        let earlier = &self.shared.under_way[..usize::from(phase)];
        eventually("calls end", || earlier.iter().all(|calls| calls.load(Ordering::SeqCst) == 0));
    }

    /// Waits for so many more calls.
    pub(crate) fn wait_for(&self, calls: usize) {
        let calls = self.shared.calls.load(Ordering::SeqCst) + calls;
        eventually("the clients call", || self.shared.calls.load(Ordering::SeqCst) >= calls);
    }

    pub(crate) fn finish(mut self) -> Vec<Call> {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.threads.drain(..).flat_map(|thread| thread.join().unwrap()).collect()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn record(&self, port: u16, fresh: bool, call: impl FnOnce() -> io::Result<String>) -> Call {
        let phase = self.begin();
        let answer = call().map_err(|error| error.to_string());
        self.under_way[usize::from(phase)].fetch_sub(1, Ordering::SeqCst);
        self.calls.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(self.pause);
        Call { port, fresh, phase, answer }
    }

    /// The phase of a call. Who changes the phase either sees the call or is seen by it.
    fn begin(&self) -> u8 {
        loop {
            let phase = self.phase.load(Ordering::SeqCst);
            let under_way = &self.under_way[usize::from(phase)];
            under_way.fetch_add(1, Ordering::SeqCst);
            if self.phase.load(Ordering::SeqCst) == phase {
                return phase;
            }
            under_way.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Calls until the connection breaks.
    fn keep(&self, mut connection: Connection, port: u16) -> Vec<Call> {
        let mut calls: Vec<Call> = Vec::new();
        let sound = |calls: &[Call]| calls.last().is_none_or(|call| call.answer.is_ok());
        while sound(&calls) && !self.stop.load(Ordering::SeqCst) {
            calls.push(self.record(port, false, || connection.ask(true)));
        }
        calls
    }

    fn open_and_close(&self, vips: &[SocketAddr], ports: Range<u16>) -> Vec<Call> {
        let mut calls = Vec::new();
        for (port, vip) in ports.zip(vips.iter().cycle()) {
            if self.stop.load(Ordering::SeqCst) {
                return calls;
            }
            let call = || Connection::open(*vip, port)?.ask(false);
            calls.push(self.record(port, true, call));
        }
        panic!("more calls than ports");
    }
}

/// A connection from a chosen port.
pub(crate) struct Connection {
    reader: BufReader<TcpStream>,
}

impl Connection {
    /// Connects in the calling thread's namespace.
    pub(crate) fn open(vip: SocketAddr, port: u16) -> io::Result<Self> {
        let (family, own) = match vip {
            SocketAddr::V4(_) => (AddressFamily::Inet, IpAddr::V4(CLIENT_V4)),
            SocketAddr::V6(_) => (AddressFamily::Inet6, IpAddr::V6(CLIENT_V6)),
        };
        let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        let stream = TcpStream::from(socket);
        // The patience of a writer is that of a connecting socket, too.
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        // Whose last connection from this port rests in TIME_WAIT.
        setsockopt(&stream, sockopt::ReuseAddr, &true)?;
        bind(stream.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(own, port)))?;
        connect(stream.as_raw_fd(), &SockaddrStorage::from(vip))?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    /// The connection itself.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.reader.into_inner()
    }

    /// One request: the name of the backend, in the head and in the body of its answer.
    pub(crate) fn ask(&mut self, keep: bool) -> io::Result<String> {
        let connection = if keep { "keep-alive" } else { "close" };
        let request = format!("GET / HTTP/1.1\r\nHost: weir\r\nConnection: {connection}\r\n\r\n");
        self.reader.get_mut().write_all(request.as_bytes())?;
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        if self.line()? != "HTTP/1.1 200 OK" {
            return Err(bad("not 200"));
        }
        let (mut name, mut length) = (None, None);
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some(("X-Backend", value)) => name = Some(value.to_owned()),
                Some(("Content-Length", value)) => length = value.parse().ok(),
                Some(_) => {}
                None if line.is_empty() => break,
                None => return Err(bad(&line)),
            }
        }
        let mut body = vec![0; length.ok_or_else(|| bad("no length"))?];
        self.reader.read_exact(&mut body)?;
        let name = name.ok_or_else(|| bad("no name"))?;
        // The built-in servers say a little more than nginx.
        if body.trim_ascii_end().ends_with(name.as_bytes()) {
            Ok(name)
        } else {
            Err(bad("the body of another"))
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, line)),
        }
    }
}
