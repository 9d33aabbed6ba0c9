//! A server that shares its time evenly among all that it has to do (processor sharing), or does one
//! thing after the other.
//!
//! Time is counted per request: while `n` requests share a server, each of them gets
//! `speed · min(1, cores / n)`. A clock that runs at this pace tells when a request is done on the
//! day it comes: at its arrival plus its work. So nothing is recomputed when others come and go. In
//! a line, work begins when that of the one before ends, and the clock runs at full speed.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::scenario::{Order, ServerSpec};

/// A moment. Simulated times are never NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Moment(pub(crate) f64);

impl Eq for Moment {}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Moment {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// A server and what it has done since the last tick.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) spec: ServerSpec,
    /// Open connections.
    pub(crate) connections: u64,
    /// Requests by the moment of the server's own clock at which they are done.
    jobs: BinaryHeap<Reverse<(Moment, usize)>>,
    clock: f64,
    /// When the last in line is done, by the server's clock.
    line_end: f64,
    updated_s: f64,
    /// Changes with every event: what was foreseen before does not happen.
    pub(crate) epoch: u64,
    pub(crate) tally: Tally,
}

/// What a dataplane and a machine count.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) ended: u64,
    pub(crate) failed: u64,
    /// Sum of the latencies of those that ended.
    pub(crate) waited_s: f64,
    /// Integrals of the requests in flight, and of how busy it was.
    pub(crate) in_flight_s: f64,
    pub(crate) busy_s: f64,
}

impl Server {
    pub(crate) fn new(spec: ServerSpec) -> Self {
        Self {
            spec,
            connections: 0,
            jobs: BinaryHeap::new(),
            clock: 0.0,
            line_end: 0.0,
            updated_s: 0.0,
            epoch: 0,
            tally: Tally::default(),
        }
    }

    /// Requests in flight.
    pub(crate) fn in_flight(&self) -> u64 {
        self.jobs.len() as u64
    }

    /// Lets time pass.
    pub(crate) fn advance(&mut self, now_s: f64) {
        let elapsed_s = now_s - self.updated_s;
        self.updated_s = now_s;
        let jobs = self.count();
        self.clock += elapsed_s * self.pace();
        self.tally.in_flight_s += elapsed_s * jobs;
        self.tally.busy_s += elapsed_s * (jobs / self.spec.cores).min(1.0);
    }

    /// Another speed from now on.
    pub(crate) fn set_speed(&mut self, now_s: f64, speed: f64) {
        self.advance(now_s);
        self.spec.speed = speed;
        self.epoch += 1;
    }

    /// A request with so much work.
    pub(crate) fn push(&mut self, now_s: f64, request: usize, work_s: f64) {
        self.advance(now_s);
        let begins = match self.spec.order {
            Order::Shared => self.clock,
            Order::Line => self.clock.max(self.line_end),
        };
        self.line_end = begins + work_s;
        self.jobs.push(Reverse((Moment(self.line_end), request)));
        self.epoch += 1;
    }

    /// The request that is done first.
    pub(crate) fn pop(&mut self, now_s: f64) -> Option<usize> {
        self.advance(now_s);
        self.epoch += 1;
        self.jobs.pop().map(|Reverse((_, request))| request)
    }

    /// When the next request is done if nobody comes.
    pub(crate) fn next_done_s(&self) -> Option<f64> {
        let Reverse((Moment(done), _)) = self.jobs.peek()?;
        Some(self.updated_s + (done - self.clock).max(0.0) / self.pace())
    }

    /// The requests that are not done.
    pub(crate) fn unfinished(&self) -> impl Iterator<Item = usize> {
        self.jobs.iter().map(|Reverse((_, request))| *request)
    }

    #[expect(clippy::cast_precision_loss, reason = "queues are short against 2^52")]
    fn count(&self) -> f64 {
        self.jobs.len() as f64
    }

    /// What a request gets in a second, or the first in line.
    fn pace(&self) -> f64 {
        let sharing = match self.spec.order {
            Order::Shared => self.count().max(1.0),
            Order::Line => 1.0,
        };
        self.spec.speed * (self.spec.cores / sharing).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done_at(spec: ServerSpec, jobs: &[(f64, f64)]) -> Vec<(usize, f64)> {
        let mut server = Server::new(spec);
        let (mut coming, mut done) = (jobs.iter().enumerate().peekable(), Vec::new());
        loop {
            let next = server.next_done_s();
            match (coming.peek(), next) {
                (Some((id, (at, work))), next) if next.is_none_or(|next| *at < next) => {
                    server.push(*at, *id, *work);
                    coming.next();
                }
                (_, Some(next)) => done.push((server.pop(next).unwrap(), next)),
                (_, None) => return done,
            }
        }
    }

    type Pairs<First> = &'static [(First, f64)];

    #[test]
    fn time_is_shared() {
        let (one, half) = (ServerSpec::of_speed(1.0), ServerSpec::of_speed(0.5));
        let two = ServerSpec { cores: 2.0, ..one };
        let line = ServerSpec { order: Order::Line, ..half };
        #[rustfmt::skip]
        let table: [(ServerSpec, Pairs<f64>, Pairs<usize>); 7] = [
            (one,  &[(0.0, 1.0)],                         &[(0, 1.0)]),
            (half, &[(0.0, 1.0)],                         &[(0, 2.0)]),
            // The second slows the first one down, and has the server alone at last.
            (one,  &[(0.0, 1.0), (0.5, 1.0)],             &[(0, 1.5), (1, 2.0)]),
            (one,  &[(0.0, 1.0), (0.5, 0.1)],             &[(1, 0.7), (0, 1.1)]),
            (two,  &[(0.0, 1.0), (0.0, 1.0), (0.5, 2.0)], &[(0, 1.25), (1, 1.25), (2, 2.75)]),
            (line, &[(0.0, 1.0), (0.5, 0.1)],             &[(0, 2.0), (1, 2.2)]),
            (line, &[(0.0, 0.1), (0.5, 0.1)],             &[(0, 0.2), (1, 0.7)]),
        ];
        for (spec, jobs, expected) in table {
            let got = done_at(spec, jobs);
            assert_eq!(got.len(), expected.len());
            for ((id, at), (expected_id, expected_at)) in got.iter().zip(expected) {
                assert_eq!(id, expected_id, "{jobs:?}");
                assert!((at - expected_at).abs() < 1e-9, "{jobs:?}: {at}, not {expected_at}");
            }
        }
    }

    #[test]
    fn a_change_of_speed_counts_from_then_on() {
        let mut server = Server::new(ServerSpec::of_speed(1.0));
        server.push(0.0, 7, 1.0);
        server.set_speed(0.5, 0.25);
        assert!((server.next_done_s().unwrap() - 2.5).abs() < 1e-12);
        server.advance(1.0);
        let Tally { in_flight_s, busy_s, .. } = server.tally;
        assert!((in_flight_s - 1.0).abs() < 1e-12 && (busy_s - 1.0).abs() < 1e-12);
    }
}
