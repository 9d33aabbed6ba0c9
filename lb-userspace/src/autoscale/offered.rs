//! The load that is offered to a service, out of what the dataplane counts.
//!
//! A request is offered when it begins, answered or not: the answered and failed ones of a tick,
//! and those by which the number in flight has grown. Where nobody counts requests, flows do:
//! each of them has one at least, so the larger figure of a bucket is the better one.

use std::{collections::BTreeMap, time::Instant};

use lb_common::abi::{backend::BackendLoad, signals::Signals};

use super::Buckets;

/// The load of a service on its way through buckets of time.
#[derive(Clone, Debug)]
pub struct Offered<Id> {
    begun: Begun<Id>,
    requests: Buckets,
    flows: Buckets,
}

impl<Id: Ord + Clone> Offered<Id> {
    /// Nothing known yet; `buckets` are empty ones.
    #[must_use]
    pub fn new(buckets: Buckets) -> Self {
        Self { begun: Begun::default(), requests: buckets.clone(), flows: buckets }
    }

    /// Takes the flows that the service has begun, and what its backends show where requests are
    /// counted. Returns the rates of the buckets that end by this: nothing most of the time.
    pub fn read(
        &mut self,
        now: Instant,
        flows: u64,
        backends: &BTreeMap<Id, (BackendLoad, Signals)>,
    ) -> Vec<Option<f64>> {
        let requests = self.requests.read(now, self.begun.read(backends));
        let flows = self.flows.read(now, flows);
        // Both were begun at the same time, so they end their buckets at the same time.
        requests.into_iter().zip(flows).map(|(one, other)| Some(one?.max(other?))).collect()
    }
}

/// Requests that have begun at backends that come and go.
#[derive(Clone, Debug)]
struct Begun<Id> {
    total: u64,
    last: BTreeMap<Id, (BackendLoad, Signals)>,
}

impl<Id> Default for Begun<Id> {
    fn default() -> Self {
        Self { total: 0, last: BTreeMap::new() }
    }
}

impl<Id: Ord + Clone> Begun<Id> {
    fn read(&mut self, backends: &BTreeMap<Id, (BackendLoad, Signals)>) -> u64 {
        let since = |(id, now)| self.last.get(id).map_or(0, |before| begun(before, now));
        self.total += backends.iter().map(since).sum::<u64>();
        self.last.clone_from(backends);
        self.total
    }
}

/// How many began between two readings of a backend.
fn begun(before: &(BackendLoad, Signals), now: &(BackendLoad, Signals)) -> u64 {
    let ended = |(_, signals): &(BackendLoad, Signals)| signals.refused.checked_add(signals.reset);
    let (Some(failed_before), Some(failed)) = (ended(before), ended(now)) else { return 0 };
    // Sums do not wrap: a smaller one is that of the id's next backend.
    let Some(failed) = failed.checked_sub(failed_before) else { return 0 };
    let counts = before.1.first_bytes.iter().zip(&now.1.first_bytes);
    let answered: u64 = counts.map(|(old, new)| u64::from(new.wrapping_sub(*old))).sum();
    // Requests that nobody waits for any more leave the flight without an end.
    answered.saturating_add(failed).saturating_add(now.0.requests).saturating_sub(before.0.requests)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    type Readings = &'static [(u64, u32, u64)];
    type Rates = &'static [Option<f64>];

    fn shows(answered: u32, refused: u64, waiting: u64) -> (BackendLoad, Signals) {
        let mut signals = Signals { refused, ..Signals::default() };
        signals.first_bytes[7] = answered;
        (BackendLoad { flows: 1, requests: waiting, changes: 0 }, signals)
    }

    #[test]
    fn requests_count_when_they_begin() {
        #[rustfmt::skip]
        let rows = [
            // answered, failed, waiting: before and after, begun
            ((0, 0, 0),        (9, 0, 0),   9),
            ((9, 0, 0),        (9, 0, 5),   5),  // nobody has answered yet
            ((9, 0, 5),        (14, 0, 0),  0),  // they were counted when they began
            ((9, 0, 5),        (14, 0, 3),  3),
            ((9, 0, 0),        (9, 4, 0),   4),
            ((9, 0, 5),        (9, 0, 0),   0),  // the clients went away
            ((9, 4, 0),        (2, 0, 0),   0),  // another backend has the id
            ((u32::MAX, 0, 0), (4, 0, 0),   5),  // buckets wrap
            ((9, 0, u64::MAX), (9, 0, 0),   0),
        ];
        for (before, after, expected) in rows {
            let [before, after] = [before, after].map(|(a, f, w)| shows(a, f, w));
            assert_eq!(begun(&before, &after), expected, "{before:?} {after:?}");
        }
    }

    #[test]
    fn backends_come_and_go() {
        let mut all = Begun::default();
        let mut read = |shown: &[(u8, u32)]| {
            let shown = shown.iter().map(|(id, answered)| (*id, shows(*answered, 0, 0)));
            all.read(&shown.collect())
        };
        // What one has answered before it was seen is not offered now.
        let totals = [
            read(&[(1, 500)]),
            read(&[(1, 510), (2, 9)]),
            read(&[(1, 511), (2, 29)]),
            read(&[(2, 30)]),
            read(&[]),
            read(&[(1, 600)]),
        ];
        assert_eq!(totals, [0, 10, 31, 32, 32, 32]);
    }

    #[test]
    fn the_larger_figure_of_a_bucket_counts() {
        let start = Instant::now();
        #[rustfmt::skip]
        let rows: [(&str, Readings, Rates); 5] = [
            // second, requests answered, flows begun
            ("keep-alive",           &[(0, 0, 0), (1, 20, 1)],            &[Some(20.0)]),
            ("nobody counts",        &[(0, 0, 0), (1, 0, 7)],             &[Some(7.0)]),
            ("nothing happens",      &[(0, 5, 5), (1, 5, 5)],             &[Some(0.0)]),
            ("flows began anew",     &[(0, 0, 90), (1, 20, 1)],           &[None]),
            ("a reading is missing", &[(0, 0, 0), (4, 80, 4), (5, 90, 4)],
                &[None, None, None, None, Some(10.0)]),
        ];
        for (name, readings, expected) in rows {
            let mut offered = Offered::new(Buckets::new(Duration::from_secs(1)));
            let mut rates = Vec::new();
            for &(second, answered, flows) in readings {
                let now = start + Duration::from_secs(second);
                let backends = BTreeMap::from([(1, shows(answered, 0, 0))]);
                rates.extend(offered.read(now, flows, &backends));
            }
            assert_eq!(rates, expected, "{name}");
        }
    }
}
