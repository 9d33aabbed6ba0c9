//! Clients that send when they are due, whatever became of the requests before. A request counts
//! from the moment it was due, so that what waits behind a slow answer counts, too.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use lb_userspace::lab::{Netns, Worker};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};

use super::arrivals::Arrival;

/// How long after the end of the load answers still count as answers.
pub(crate) const GRACE: Duration = Duration::from_secs(3);

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Answered by the backend of this number.
    Answered(u8),
    /// The connection was refused or reset, or was no HTTP any more.
    Failed,
    /// Nothing had come when the run was over.
    Unanswered,
}

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// When it was due, since the start of the load.
    pub(crate) due: Duration,
    /// From then on to its end.
    pub(crate) took: Duration,
    pub(crate) end: End,
}

impl Record {
    pub(crate) const fn is_answered(&self) -> bool {
        matches!(self.end, End::Answered(_))
    }
}

/// A load under way. Dropping it ends it.
pub(crate) struct Running {
    worker: Worker<()>,
    records: Arc<Mutex<Vec<Record>>>,
}

/// Starts to send in a namespace. All ends by itself: nothing is sent after `seconds`, and [`GRACE`]
/// later nobody waits any more.
pub(crate) fn start(
    netns: &Netns,
    vip: SocketAddr,
    arrivals: Vec<Arrival>,
    seconds: Duration,
) -> Result<Running> {
    let records = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&records);
    let worker = Worker::spawn(Some(netns), "clients", move || {
        let begin = Instant::now();
        let client = Client { vip, begin, last: begin + seconds, records: kept };
        all(Arc::new(client), arrivals)
    })?;
    Ok(Running { worker, records })
}

impl Running {
    /// Waits for the end.
    pub(crate) fn finish(self) -> Result<Vec<Record>> {
        self.worker.finish()?;
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut *records))
    }
}

async fn all(client: Arc<Client>, arrivals: Vec<Arrival>) {
    let mut tasks = JoinSet::new();
    for arrival in arrivals {
        sleep_until(client.begin + arrival.due).await;
        let client = Arc::clone(&client);
        tasks.spawn(async move { client.connection(&arrival).await });
        while tasks.try_join_next().is_some() {}
    }
    while tasks.join_next().await.is_some() {}
}

struct Client {
    vip: SocketAddr,
    begin: Instant,
    /// Nothing is sent from then on.
    last: Instant,
    records: Arc<Mutex<Vec<Record>>>,
}

impl Client {
    async fn connection(&self, arrival: &Arrival) {
        let end = self.last + GRACE;
        let mut due = self.begin + arrival.due;
        let connected = timeout_at(end, TcpStream::connect(self.vip)).await;
        let mut stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(_)) => return self.record(due, End::Failed),
            Err(_) => return self.record(due, End::Unanswered),
        };
        let (reader, mut writer) = stream.split();
        let mut reader = BufReader::new(reader);
        for (number, (work, think)) in arrival.requests.iter().enumerate() {
            if number > 0 {
                due = Instant::now() + *think;
                if due >= self.last {
                    return;
                }
                sleep_until(due).await;
            }
            let last = number + 1 == arrival.requests.len();
            let exchange = exchange(&mut reader, &mut writer, *work, last);
            let outcome = match timeout_at(end, exchange).await {
                Ok(Some(backend)) => End::Answered(backend),
                Ok(None) => End::Failed,
                Err(_) => End::Unanswered,
            };
            self.record(due, outcome);
            if !matches!(outcome, End::Answered(_)) {
                return;
            }
        }
    }

    fn record(&self, due: Instant, end: End) {
        let record = Record { due: due - self.begin, took: due.elapsed(), end };
        self.records.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }
}

/// A request and its answer: the number of the backend, or `None` if it failed.
async fn exchange(
    reader: &mut BufReader<ReadHalf<'_>>,
    writer: &mut WriteHalf<'_>,
    work: Duration,
    last: bool,
) -> Option<u8> {
    let close = if last { "Connection: close\r\n" } else { "" };
    let request = format!("GET /{} HTTP/1.1\r\nHost: vip\r\n{close}\r\n", work.as_micros());
    writer.write_all(request.as_bytes()).await.ok()?;
    let mut answered_by = None;
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let text = line.trim_end();
        if text.is_empty() {
            return answered_by;
        }
        if let Some(name) = text.strip_prefix("X-Backend: ") {
            answered_by = name.parse().ok();
        }
    }
}
