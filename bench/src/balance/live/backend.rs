//! A backend: an HTTP server whose requests cost what their path says, `GET /4000` four milliseconds
//! of work. It is a process of its own, so that a control group can hold it back.
//!
//! Each connection has a thread. Work on the CPU is measured by the thread's own clock: however
//! many share a quota, each request takes the time that it costs. Waiting for a device is a queue of
//! one, as of a disk or of a lock in another machine.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::{
    sys::{
        prctl::set_pdeathsig,
        signal::Signal,
        socket::{Backlog, listen, setsockopt, sockopt::Linger},
    },
    time::{ClockId, clock_gettime},
};

use crate::shuffle::Shuffle;

/// Connections that may wait to be accepted: a server that is held back accepts late.
const BACKLOG: i32 = 4096;
/// Room for a thread; it only reads a request and spins.
const STACK_BYTES: usize = 128 * 1024;
/// A client that says nothing.
const IDLE_MAX: Duration = Duration::from_mins(1);
/// The longest line of a request.
const LINE_BYTES_MAX: u64 = 4096;
/// What a request that fails costs, of the work it would have been.
const FAILED_WORK: f64 = 0.05;

/// How a backend works.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Where it listens
    #[arg(long)]
    listen: SocketAddr,
    /// What it calls itself in answers
    #[arg(long)]
    name: String,
    /// Work on the CPU, as a part of what is asked for
    #[arg(long, default_value_t = 1.0)]
    cpu: f64,
    /// Time at a device that serves one request at a time, as a multiple of what is asked for
    #[arg(long, default_value_t = 0.0)]
    device: f64,
    /// Share of requests that end in a reset
    #[arg(long, default_value_t = 0.0)]
    fail: f64,
}

#[derive(Debug)]
struct Backend {
    options: Options,
    device: Mutex<()>,
    requests: AtomicU64,
}

/// Serves until it is killed, or whoever started it has ended.
pub(crate) fn run(options: &Options) -> Result<()> {
    set_pdeathsig(Signal::SIGKILL).context("cannot ask for an end with the bench")?;
    let listener = TcpListener::bind(options.listen)
        .with_context(|| format!("cannot listen on {}", options.listen))?;
    listen(&listener, Backlog::new(BACKLOG)?)?;
    let backend = Arc::new(Backend {
        options: options.clone(),
        device: Mutex::new(()),
        requests: AtomicU64::new(0),
    });
    for stream in listener.incoming() {
        let (stream, backend) = (stream?, Arc::clone(&backend));
        thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
            // A client that goes away is no business of a server.
            let _gone = backend.talk(&stream);
        })?;
    }
    Ok(())
}

impl Backend {
    fn talk(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(IDLE_MAX))?;
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader)? {
            if self.fails() {
                burn(request.work.mul_f64(FAILED_WORK));
                // Closing without lingering is a reset.
                let now = nix::libc::linger { l_onoff: 1, l_linger: 0 };
                return Ok(setsockopt(&stream.as_fd(), Linger, &now)?);
            }
            self.work(request.work);
            let name = &self.options.name;
            write!(&*stream, "HTTP/1.1 200 OK\r\nX-Backend: {name}\r\nContent-Length: 0\r\n\r\n")?;
            if request.last {
                break;
            }
        }
        Ok(())
    }

    fn work(&self, work: Duration) {
        burn(work.mul_f64(self.options.cpu));
        let wait = work.mul_f64(self.options.device);
        if !wait.is_zero() {
            let _one_at_a_time = self.device.lock().unwrap_or_else(PoisonError::into_inner);
            thread::sleep(wait);
        }
    }

    /// Whether the next request fails: as many as were asked for, in an order that looks random.
    fn fails(&self) -> bool {
        if self.options.fail <= 0.0 {
            return false;
        }
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let part = Shuffle::new(number).next() as f64 / u64::MAX as f64;
        part < self.options.fail
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Request {
    work: Duration,
    /// The client wants no other one.
    last: bool,
}

/// Reads a request without a body. `None` at the end of the connection, or if it is none of ours.
fn read_request(reader: &mut impl io::BufRead) -> io::Result<Option<Request>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        let mut limited = io::Read::take(&mut *reader, LINE_BYTES_MAX);
        if limited.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_ascii_lowercase()),
        }
    }
    let path = lines.first().and_then(|line| line.strip_prefix("get /")?.split(' ').next());
    let work = path.and_then(|path| path.parse().ok()).map(Duration::from_micros);
    let last = lines.iter().any(|line| line == "connection: close");
    Ok(work.map(|work| Request { work, last }))
}

/// Occupies a CPU for so long, on the calling thread's own clock.
fn burn(work: Duration) {
    let Some(end) = cpu_time().map(|now| now + work) else { return };
    while cpu_time().is_some_and(|now| now < end) {
        for _ in 0..500 {
            std::hint::spin_loop();
        }
    }
}

fn cpu_time() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).ok().map(Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_to_their_end() {
        let request = |us, last| Some(Request { work: Duration::from_micros(us), last });
        let cases: [(&str, Option<Request>); 8] = [
            ("GET /4000 HTTP/1.1\r\n\r\n", request(4000, false)),
            ("GET /7 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", request(7, true)),
            ("", None),
            ("GET /4000 HTTP/1.1\r\n", None),
            ("GET / HTTP/1.1\r\n\r\n", None),
            ("GET /-1 HTTP/1.1\r\n\r\n", None),
            ("POST /4000 HTTP/1.1\r\n\r\n", None),
            ("\r\n", None),
        ];
        for (text, expected) in cases {
            assert_eq!(read_request(&mut text.as_bytes()).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn work_is_time_on_the_cpu() {
        let before = cpu_time().unwrap();
        burn(Duration::from_millis(5));
        assert!(cpu_time().unwrap() >= before + Duration::from_millis(5));
    }

    #[test]
    fn as_many_fail_as_were_asked_for() {
        let failing = |fail| {
            let listen = ([127, 0, 0, 1], 0).into();
            let options = Options { listen, name: "b".into(), cpu: 1.0, device: 0.0, fail };
            let backend = Backend { options, device: Mutex::new(()), requests: AtomicU64::new(0) };
            (0..10_000).filter(|_| backend.fails()).count()
        };
        assert_eq!((failing(0.0), failing(1.0)), (0, 10_000));
        assert!((4_700..5_300).contains(&failing(0.5)));
    }
}
