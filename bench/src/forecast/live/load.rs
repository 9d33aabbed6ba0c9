//! An exponential ramp of requests, each on a connection of its own and due at its time, whatever
//! became of the ones before.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Result;
use lb_userspace::lab::{Netns, Worker};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{sleep_until, timeout},
};

/// Who waits for longer has lost patience.
const PATIENCE: Duration = Duration::from_secs(1);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: ramp\r\nConnection: close\r\n\r\n";

/// Calm, a ramp, and its top.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ramp {
    /// Requests a second before it, and at its top.
    pub(super) base: f64,
    pub(super) peak: f64,
    /// Seconds in which it doubles.
    pub(super) doubling_s: f64,
    /// Seconds before it, and at its top.
    pub(super) calm_s: f64,
    pub(super) plateau_s: f64,
}

impl Ramp {
    /// When it is at its top.
    pub(super) fn top_s(&self) -> f64 {
        self.doubling_s.mul_add((self.peak / self.base).log2(), self.calm_s)
    }

    pub(super) fn end_s(&self) -> f64 {
        self.top_s() + self.plateau_s
    }

    /// Requests a second at a time.
    pub(super) fn rate(&self, at_s: f64) -> f64 {
        let doublings = ((at_s - self.calm_s) / self.doubling_s).max(0.0);
        (self.base * doublings.exp2()).min(self.peak)
    }

    /// When requests are due. Their distances follow the rate without any noise: compressed time has
    /// fewer of them in a bucket, which would be far less steady than a real one.
    fn due(&self) -> Vec<f64> {
        let (mut due, mut at) = (Vec::new(), 0.0);
        while at < self.end_s() {
            due.push(at);
            at += 1.0 / self.rate(at);
        }
        due
    }
}

/// A request: when it was due, and whether it was answered in time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) at_s: f64,
    pub(super) answered: bool,
}

/// A ramp under way.
pub(super) struct Run {
    pub(super) begin: Instant,
    worker: Worker<Vec<Sent>>,
}

impl Run {
    pub(super) fn start(client: &Netns, to: SocketAddr, ramp: Ramp) -> Result<Self> {
        let begin = Instant::now();
        let worker = Worker::spawn(Some(client), "ramp", move || send(begin, to, ramp.due()))?;
        Ok(Self { begin, worker })
    }

    pub(super) fn finish(self) -> Result<Vec<Sent>> {
        Ok(self.worker.finish()?)
    }
}

async fn send(begin: Instant, to: SocketAddr, due: Vec<f64>) -> Vec<Sent> {
    let mut requests = JoinSet::new();
    for at_s in due {
        sleep_until((begin + Duration::from_secs_f64(at_s)).into()).await;
        requests.spawn(async move {
            let answered = timeout(PATIENCE, ask(to)).await.is_ok_and(|answer| answer.is_ok());
            Sent { at_s, answered }
        });
    }
    requests.join_all().await
}

async fn ask(to: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(to).await?;
    stream.write_all(REQUEST).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let well = answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"\r\n\r\nok\n");
    if well { Ok(()) } else { Err(std::io::ErrorKind::InvalidData.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAMP: Ramp =
        Ramp { base: 10.0, peak: 80.0, doubling_s: 4.0, calm_s: 5.0, plateau_s: 3.0 };

    #[test]
    fn a_ramp_doubles_and_ends_at_its_top() {
        assert!((RAMP.top_s() - 17.0).abs() < 1e-9 && (RAMP.end_s() - 20.0).abs() < 1e-9);
        for (at, rate) in [(0.0, 10.0), (5.0, 10.0), (9.0, 20.0), (17.0, 80.0), (19.0, 80.0)] {
            assert!((RAMP.rate(at) - rate).abs() < 1e-9, "{at}");
        }
    }

    #[test]
    fn requests_are_due_as_often_as_it_says() {
        let due = RAMP.due();
        let within = |from: f64, to: f64| due.iter().filter(|at| (from..to).contains(*at)).count();
        assert!(within(0.0, 5.0).abs_diff(50) <= 1 && within(17.0, 20.0).abs_diff(240) <= 1);
        // The integral of the exponential: 70 * 4 / ln 2.
        assert!(within(5.0, 17.0).abs_diff(404) <= 12, "{}", within(5.0, 17.0));
    }
}
