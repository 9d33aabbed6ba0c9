//! A load of real HTTP requests, closed or open, over fresh or kept connections.
//!
//! A closed load sends the next request when the last one is answered, so it slows down with the
//! servers. An open one sends at a given rate whatever happens, and counts latency from the moment
//! a request was due: a stalled server makes all the requests late that should have been sent
//! meanwhile, which a measurement from the moment of sending would hide ("coordinated omission").

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout},
};

use super::{
    connection::{Connection, exchange},
    tally::{Failure, LoadReport, Reply, Tally},
};
use crate::lab::{Netns, Worker};

/// What to send. It ends by time or by count, whichever comes first.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Whom to ask, in turn.
    pub vips: Vec<SocketAddr>,
    /// What to ask for.
    pub path: String,
    /// Connections at the same time.
    pub connections: usize,
    /// Requests per second, all connections together; none for a closed load.
    pub rate: Option<f64>,
    /// Uses a connection again.
    pub keep_alive: bool,
    /// When to stop sending.
    pub duration: Duration,
    /// How much to send at most.
    pub max_requests: u64,
    /// When a request has failed, and how long the end may take.
    pub timeout: Duration,
    /// Time between two snapshots.
    pub snapshot_interval: Duration,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            vips: Vec::new(),
            path: "/".to_owned(),
            connections: 16,
            rate: None,
            keep_alive: false,
            duration: Duration::from_secs(10),
            max_requests: 1_000_000,
            timeout: Duration::from_secs(2),
            snapshot_interval: Duration::from_secs(1),
        }
    }
}

/// The state of a load that is under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Since the last snapshot.
    pub window: LoadReport,
    /// Since the beginning.
    pub sum: LoadReport,
}

/// A load under way. Dropping it ends it.
#[derive(Debug)]
pub struct LoadRun {
    worker: Worker<()>,
    book: Arc<Mutex<Book>>,
    snapshots: watch::Receiver<Snapshot>,
}

impl Load {
    /// Starts the load in a namespace, or in the caller's.
    pub fn start(self, netns: Option<&Netns>) -> io::Result<LoadRun> {
        let invalid = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        if self.vips.is_empty() || self.connections == 0 {
            return invalid("a load needs an address and a connection");
        }
        if self.rate.is_some_and(|rate| !rate.is_normal() || rate < 0.0) {
            return invalid("the rate of a load is a positive number");
        }
        if self.snapshot_interval.is_zero() {
            return invalid("snapshots need time between them");
        }
        let book = Arc::new(Mutex::new(Book::new().map_err(io::Error::other)?));
        let (publish, snapshots) = watch::channel(Snapshot::default());
        let kept = Arc::clone(&book);
        let work = move || async move { run(Arc::new(self), &kept, &publish).await };
        Ok(LoadRun { worker: Worker::spawn(netns, "load", work)?, book, snapshots })
    }
}

impl LoadRun {
    /// A snapshot per interval; the channel closes at the end. What came after the last whole
    /// interval is in the report only: the rates of a few moments would mislead.
    #[must_use]
    pub fn snapshots(&self) -> watch::Receiver<Snapshot> {
        self.snapshots.clone()
    }

    /// Waits for the end.
    pub fn finish(self) -> io::Result<LoadReport> {
        self.worker.finish()?;
        Ok(lock(&self.book).turn_page().sum)
    }

    /// Ends it at once: requests under way count as never sent.
    pub fn stop(self) -> io::Result<LoadReport> {
        self.worker.stop()?;
        Ok(lock(&self.book).turn_page().sum)
    }
}

/// The tally of the window on top of that of the time before.
#[derive(Debug)]
struct Book {
    begin: Instant,
    window_begin: Instant,
    window: Tally,
    sum: Tally,
    /// When the load ended; the report does not age from then on.
    end: Option<Instant>,
}

impl Book {
    fn new() -> Result<Self, hdrhistogram::CreationError> {
        let now = Instant::now();
        let tally = Tally::new()?;
        Ok(Self { begin: now, window_begin: now, window: tally.clone(), sum: tally, end: None })
    }

    fn turn_page(&mut self) -> Snapshot {
        let now = self.end.unwrap_or_else(Instant::now);
        let window = self.window.report(now.duration_since(self.window_begin));
        self.sum.absorb(&self.window);
        self.window.clear();
        self.window_begin = now;
        Snapshot { window, sum: self.sum.report(now.duration_since(self.begin)) }
    }
}

/// Counts stay true if a thread panicked while it held the lock.
fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn run(load: Arc<Load>, book: &Arc<Mutex<Book>>, publish: &watch::Sender<Snapshot>) {
    let begin = Instant::now();
    {
        let mut book = lock(book);
        (book.begin, book.window_begin) = (begin, begin);
    }
    let schedule = Arc::new(Schedule { begin, next: AtomicU64::new(0) });
    let mut senders = JoinSet::new();
    for _ in 0..load.connections {
        let (load, schedule, book) = (Arc::clone(&load), Arc::clone(&schedule), Arc::clone(book));
        senders.spawn(async move { send(&load, &schedule, &book).await });
    }
    let mut ticks = interval_at(begin + load.snapshot_interval, load.snapshot_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            ended = senders.join_next() => if ended.is_none() { break },
            _ = ticks.tick() => { publish.send_replace(lock(book).turn_page()); }
        }
    }
    lock(book).end = Some(Instant::now());
}

/// Numbers the requests and says when each is due.
struct Schedule {
    begin: Instant,
    next: AtomicU64,
}

impl Schedule {
    /// Number and due time of the next request, if there is one.
    fn next(&self, load: &Load, now: Instant) -> Option<(u64, Instant)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let due = match load.rate {
            None => now,
            Some(rate) => self.begin + due_after(number, rate),
        };
        let end = self.begin + load.duration;
        (number < load.max_requests && due < end && now < end).then_some((number, due))
    }
}

/// Beyond this a request is not due within anybody's patience, and times could overflow.
#[expect(clippy::cast_precision_loss, reason = "request numbers stay far below 2^53")]
fn due_after(number: u64, rate: f64) -> Duration {
    const NEVER: Duration = Duration::from_hours(24 * 365);
    Duration::try_from_secs_f64(number as f64 / rate).unwrap_or(NEVER).min(NEVER)
}

/// One sender: at most one request under way.
async fn send(load: &Load, schedule: &Schedule, book: &Mutex<Book>) {
    let mut kept: Vec<Option<Connection>> = load.vips.iter().map(|_| None).collect();
    while let Some((number, due)) = schedule.next(load, Instant::now()) {
        sleep_until(due).await;
        // VIPs alternate; a sender keeps one connection to each.
        let turn = usize::try_from(number).unwrap_or(0) % load.vips.len();
        let (Some(vip), Some(slot)) = (load.vips.get(turn), kept.get_mut(turn)) else { return };
        let begin = if load.rate.is_some() { due } else { Instant::now() };
        let exchange = exchange(*vip, &load.path, load.keep_alive, slot);
        let outcome = timeout(load.timeout, exchange).await.unwrap_or(Err(Failure::Timeout));
        if outcome.is_err() {
            *slot = None;
        }
        let latency = begin.elapsed();
        lock(book).window.record(outcome.map(|(backend, from)| Reply {
            backend,
            vip: *vip,
            from,
            latency,
        }));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        thread,
    };

    use super::*;
    use crate::demo::server::{Server, ServerProfile};

    fn load(vip: SocketAddr, max_requests: u64) -> Load {
        Load { vips: vec![vip], connections: 1, max_requests, ..Load::default() }
    }

    /// A server that answers every connection with these bytes and closes it.
    fn liar(answer: &'static [u8], connections: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().take(connections) {
                let mut stream = stream.unwrap();
                let read = stream.read(&mut [0; 1024]).unwrap();
                assert_ne!(read, 0);
                stream.write_all(answer).unwrap();
            }
        });
        address
    }

    #[test]
    fn bad_answers_are_failures_of_their_kind() {
        let rows: [(&str, &[u8], Failure); 7] = [
            ("nothing", b"", Failure::Closed),
            ("half a head", b"HTTP/1.1 200 OK\r\nContent-", Failure::Closed),
            ("half a body", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", Failure::Closed),
            ("no length", b"HTTP/1.1 200 OK\r\n\r\nabc", Failure::Malformed),
            ("too much", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc", Failure::Malformed),
            ("another protocol", b"SSH-2.0-x\r\n\r\n", Failure::Malformed),
            ("an error", b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", Failure::Status(503)),
        ];
        for (name, answer, wanted) in rows {
            let report = load(liar(answer, 2), 2).start(None).unwrap().finish().unwrap();
            assert_eq!(report.failed, [(wanted, 2)].into(), "{name}");
            assert_eq!((report.requests, report.answered()), (2, 0), "{name}");
        }
    }

    #[test]
    fn an_answer_without_a_name_counts_as_unnamed() {
        let vip = liar(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1);
        let report = load(vip, 1).start(None).unwrap().finish().unwrap();
        assert_eq!(report.per_backend, [("unnamed".to_owned(), 1)].into());
    }

    #[test]
    fn silence_is_a_timeout() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let vip = silent.local_addr().unwrap();
        let load = Load { timeout: Duration::from_millis(20), ..load(vip, 3) };
        let report = load.start(None).unwrap().finish().unwrap();
        assert_eq!(report.failed, [(Failure::Timeout, 3)].into());
    }

    #[test]
    fn a_load_can_be_stopped_and_still_reports() {
        let profile = ServerProfile { service_time: Duration::ZERO, slots: 1 };
        let server = Server::start(None, "127.0.0.1:0".parse().unwrap(), "one", profile).unwrap();
        let load = Load {
            keep_alive: true,
            duration: Duration::from_hours(1),
            snapshot_interval: Duration::from_millis(5),
            ..load(server.address(), u64::MAX)
        };
        let run = load.start(None).unwrap();
        let mut snapshots = run.snapshots();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let seen = runtime.block_on(async {
            snapshots.wait_for(|snapshot| snapshot.sum.answered() > 10).await.unwrap().clone()
        });
        let report = run.stop().unwrap();
        assert!(report.answered() >= seen.sum.answered());
        assert_eq!(report.failures(), 0);
    }

    #[tokio::test]
    async fn requests_are_due_by_the_rate_and_end_by_time_and_count() {
        let begin = Instant::now();
        let due = |load: &Load, now_ms| {
            let schedule = Schedule { begin, next: AtomicU64::new(2) };
            let next = schedule.next(load, begin + Duration::from_millis(now_ms));
            next.map(|(number, due)| (number, due.duration_since(begin).as_millis()))
        };
        let vip = "198.18.1.1:80".parse().unwrap();
        let closed = Load { duration: Duration::from_secs(1), ..load(vip, 3) };
        let open = |rate| Load { rate: Some(rate), ..closed.clone() };
        let rows = [
            ("closed: at once", due(&closed, 7), Some((2, 7))),
            ("open: at its time", due(&open(100.0), 7), Some((2, 20))),
            ("open: late, but still due then", due(&open(100.0), 500), Some((2, 20))),
            ("closed: too late", due(&closed, 1000), None),
            ("open: too late", due(&open(100.0), 1000), None),
            ("open: due after the end", due(&open(2.0), 0), None),
            ("open: due in a million years", due(&open(1e-300), 0), None),
            ("enough", due(&Load { max_requests: 2, ..closed.clone() }, 0), None),
        ];
        for (name, got, wanted) in rows {
            assert_eq!(got, wanted, "{name}");
        }
    }
}
