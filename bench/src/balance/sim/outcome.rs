//! What became of a simulation.

use lb_userspace::load::{Class, Decision};

/// One tick of the control law.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub(crate) at_s: f64,
    /// Capacities, of their sum.
    pub(crate) parts: Vec<f64>,
    pub(crate) classes: Vec<Class>,
    /// Servers that get nothing.
    pub(crate) closed: Vec<bool>,
}

impl Trace {
    pub(crate) fn new(at_s: f64, decision: &Decision<usize>) -> Self {
        let verdicts = || decision.backends.values();
        Self {
            at_s,
            parts: parts(&verdicts().map(|it| f64::from(it.capacity)).collect::<Vec<f64>>()),
            classes: verdicts().map(|it| it.explanation.class).collect(),
            closed: verdicts().map(|it| it.capacity == 0).collect(),
        }
    }
}

/// The same proportions with the sum 1.
pub(crate) fn parts(values: &[f64]) -> Vec<f64> {
    let whole: f64 = values.iter().sum();
    values.iter().map(|value| value / whole).collect()
}

/// The part that has to move from one set of parts to another (total variation).
pub(crate) fn distance(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| (a - b).abs()).sum::<f64>() / 2.0
}

/// Latencies and what else happened.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Seconds from request to answer, also of failures.
    latencies_s: Vec<f64>,
    failed: usize,
    /// Moments at which each server got a connection.
    pub(crate) connected_s: Vec<Vec<f64>>,
    pub(crate) trace: Vec<Trace>,
}

impl Outcome {
    pub(crate) fn new(servers: usize) -> Self {
        Self {
            latencies_s: Vec::new(),
            failed: 0,
            connected_s: vec![Vec::new(); servers],
            trace: Vec::new(),
        }
    }

    pub(crate) fn connected(&mut self, now_s: f64, server: usize) {
        self.connected_s[server].push(now_s);
    }

    pub(crate) fn ended(&mut self, latency_s: f64, failed: bool) {
        self.latencies_s.push(latency_s);
        self.failed += usize::from(failed);
    }

    /// The latency in milliseconds that so large a part of the requests does not exceed.
    pub(crate) fn quantile_ms(&self, part: f64) -> f64 {
        let mut sorted = self.latencies_s.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index"
        )]
        let index = (part * sorted.len() as f64) as usize;
        sorted.get(index.min(sorted.len().saturating_sub(1))).map_or(f64::NAN, |it| 1e3 * it)
    }

    /// Mean latency in milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "requests are far below 2^52")]
    pub(crate) fn mean_ms(&self) -> f64 {
        1e3 * self.latencies_s.iter().sum::<f64>() / self.latencies_s.len() as f64
    }

    /// Share of requests that failed.
    #[expect(clippy::cast_precision_loss, reason = "requests are far below 2^52")]
    pub(crate) fn error_share(&self) -> f64 {
        self.failed as f64 / self.latencies_s.len().max(1) as f64
    }
}
