//! What a load saw: counts by backend and by failure, and latencies.

use std::{collections::BTreeMap, fmt, io, net::SocketAddr, time::Duration};

use hdrhistogram::Histogram;

/// Why a request got no answer that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// The connection was not made.
    Connect(io::ErrorKind),
    /// The connection broke.
    Broken(io::ErrorKind),
    /// The connection was closed before the answer was complete.
    Closed,
    /// The answer took too long.
    Timeout,
    /// The answer was not HTTP as the server speaks it.
    Malformed,
    /// The answer was an error.
    Status(u16),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(kind) => write!(f, "connect: {kind}"),
            Self::Broken(kind) => write!(f, "{kind}"),
            Self::Closed => f.write_str("closed early"),
            Self::Timeout => f.write_str("timeout"),
            Self::Malformed => f.write_str("malformed"),
            Self::Status(status) => write!(f, "status {status}"),
        }
    }
}

/// An answer that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) backend: String,
    /// What the client dialled.
    pub(super) vip: SocketAddr,
    /// Where the socket says the answer came from.
    pub(super) from: SocketAddr,
    pub(super) latency: Duration,
}

/// What a load, or a part of it, saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Time it took.
    pub elapsed: Duration,
    /// Requests that have an outcome: answered or failed.
    pub requests: u64,
    /// Failures by kind.
    pub failed: BTreeMap<Failure, u64>,
    /// Answers by backend, as named in `X-Backend`.
    pub per_backend: BTreeMap<String, u64>,
    /// Answers over IPv4.
    pub ipv4: u64,
    /// Answers over IPv6.
    pub ipv6: u64,
    /// Answers that came from the address that was dialled.
    pub from_vip: u64,
    /// Median latency of the answers.
    pub p50: Duration,
    /// 90 % of the answers were not slower.
    pub p90: Duration,
    /// 99 % of the answers were not slower.
    pub p99: Duration,
    /// The slowest answer.
    pub max: Duration,
}

impl LoadReport {
    /// Requests that were answered.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.ipv4 + self.ipv6
    }

    /// Requests that failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Answers per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        per_second(self.answered(), self.elapsed)
    }
}

/// A count as a rate; nothing per second in no time.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub fn per_second(count: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() { 0.0 } else { count as f64 / elapsed.as_secs_f64() }
}

/// A part of a whole in percent; nothing of nothing is 0.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// Counts as they come in. Latencies are kept in whole microseconds to three digits.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    counts: LoadReport,
    latencies: Histogram<u64>,
}

impl Tally {
    const LONGEST: Duration = Duration::from_mins(1);

    pub(super) fn new() -> Result<Self, hdrhistogram::CreationError> {
        let longest_us = u64::try_from(Self::LONGEST.as_micros()).unwrap_or(u64::MAX);
        let latencies = Histogram::new_with_bounds(1, longest_us, 3)?;
        Ok(Self { counts: LoadReport::default(), latencies })
    }

    pub(super) fn record(&mut self, outcome: Result<Reply, Failure>) {
        self.counts.requests += 1;
        match outcome {
            Ok(reply) => {
                *self.counts.per_backend.entry(reply.backend).or_default() += 1;
                let family =
                    if reply.vip.is_ipv4() { &mut self.counts.ipv4 } else { &mut self.counts.ipv6 };
                *family += 1;
                self.counts.from_vip += u64::from(reply.from == reply.vip);
                let latency_us = u64::try_from(reply.latency.as_micros()).unwrap_or(u64::MAX);
                self.latencies.saturating_record(latency_us);
            }
            Err(failure) => *self.counts.failed.entry(failure).or_default() += 1,
        }
    }

    /// Takes another tally in.
    pub(super) fn absorb(&mut self, other: &Self) {
        let (to, from) = (&mut self.counts, &other.counts);
        to.requests += from.requests;
        to.ipv4 += from.ipv4;
        to.ipv6 += from.ipv6;
        to.from_vip += from.from_vip;
        for (failure, count) in &from.failed {
            *to.failed.entry(*failure).or_default() += count;
        }
        for (backend, count) in &from.per_backend {
            *to.per_backend.entry(backend.clone()).or_default() += count;
        }
        // Both have the same bounds, so nothing can be out of range.
        if let Err(error) = self.latencies.add(&other.latencies) {
            tracing::error!(%error, "latencies were lost");
        }
    }

    pub(super) fn report(&self, elapsed: Duration) -> LoadReport {
        let latency = |quantile| Duration::from_micros(self.latencies.value_at_quantile(quantile));
        LoadReport {
            elapsed,
            p50: latency(0.5),
            p90: latency(0.9),
            p99: latency(0.99),
            max: Duration::from_micros(self.latencies.max()),
            ..self.counts.clone()
        }
    }

    /// Empties it.
    pub(super) fn clear(&mut self) {
        self.counts = LoadReport::default();
        self.latencies.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(backend: &str, vip: &str, from: &str, ms: u64) -> Reply {
        Reply {
            backend: backend.to_owned(),
            vip: vip.parse().unwrap(),
            from: from.parse().unwrap(),
            latency: Duration::from_millis(ms),
        }
    }

    fn tally() -> Tally {
        let mut tally = Tally::new().unwrap();
        tally.record(Ok(reply("a", "198.18.1.1:80", "198.18.1.1:80", 2)));
        tally.record(Ok(reply("a", "[fd00::1]:80", "[fd00::1]:80", 4)));
        tally.record(Ok(reply("b", "198.18.1.1:80", "198.18.10.2:80", 6)));
        tally.record(Err(Failure::Timeout));
        tally.record(Err(Failure::Connect(io::ErrorKind::ConnectionRefused)));
        tally.record(Err(Failure::Timeout));
        tally
    }

    #[test]
    fn outcomes_are_counted_by_what_they_are() {
        let report = tally().report(Duration::from_secs(2));
        assert_eq!((report.requests, report.answered(), report.failures()), (6, 3, 3));
        assert_eq!((report.ipv4, report.ipv6, report.from_vip), (2, 1, 2));
        assert_eq!(report.per_backend, [("a".to_owned(), 2), ("b".to_owned(), 1)].into());
        assert_eq!(report.failed[&Failure::Timeout], 2);
        assert_eq!(report.rate().to_bits(), 1.5_f64.to_bits());
        assert_eq!(report.p50.as_millis(), 4);
        assert_eq!(report.max.as_millis(), 6);
    }

    #[test]
    fn two_halves_are_the_whole() {
        let mut sum = tally();
        sum.absorb(&tally());
        let report = sum.report(Duration::from_secs(1));
        assert_eq!((report.requests, report.from_vip, report.failures()), (12, 4, 6));
        assert_eq!(report.per_backend["a"], 4);
        assert_eq!(report.p50, tally().report(Duration::ZERO).p50);
    }

    #[test]
    fn nothing_is_nothing() {
        let mut cleared = tally();
        cleared.clear();
        assert_eq!(cleared.report(Duration::ZERO), LoadReport::default());
        assert_eq!(LoadReport::default().rate().to_bits(), 0.0_f64.to_bits());
        assert_eq!(percent(0, 0).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn a_latency_beyond_the_scale_counts_as_the_longest() {
        let mut tally = Tally::new().unwrap();
        tally.record(Ok(reply("a", "198.18.1.1:80", "198.18.1.1:80", 10_000_000)));
        assert!(tally.report(Duration::ZERO).max >= Tally::LONGEST);
    }

    #[test]
    fn failures_speak() {
        let rows = [
            (Failure::Connect(io::ErrorKind::ConnectionRefused), "connect: connection refused"),
            (Failure::Broken(io::ErrorKind::ConnectionReset), "connection reset"),
            (Failure::Status(503), "status 503"),
        ];
        for (failure, text) in rows {
            assert_eq!(failure.to_string(), text);
        }
    }
}
