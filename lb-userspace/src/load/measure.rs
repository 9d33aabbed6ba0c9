//! From the dataplane's counters to what a tick knows: two readings and the time between them.

use std::time::Duration;

use lb_common::abi::{backend::BackendLoad, signals::Signals};

use super::sample::{Failures, Traffic, approximate};

/// What the dataplane's counters of a backend said at the last tick.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    last: Option<Last>,
    failed_in_a_row: u64,
}

#[derive(Clone, Debug)]
struct Last {
    at: Duration,
    load: BackendLoad,
    signals: Signals,
}

impl Meter {
    /// The traffic since the last tick; nothing at the first one, when no time has passed, and
    /// when the counters began anew.
    pub fn tick(&mut self, now: Duration, load: &BackendLoad, signals: &Signals) -> Traffic {
        let reading = Last { at: now, load: *load, signals: *signals };
        let Some(last) = self.last.replace(reading) else { return Traffic::default() };
        let seconds = now.saturating_sub(last.at).as_secs_f64();
        if seconds <= 0.0 || began_anew(&last.signals, signals) {
            self.failed_in_a_row = 0;
            return Traffic::default();
        }
        self.between(&last, load, signals, seconds)
    }

    fn between(
        &mut self,
        last: &Last,
        load: &BackendLoad,
        signals: &Signals,
        seconds: f64,
    ) -> Traffic {
        let answered = counted(&last.signals.first_bytes, &signals.first_bytes);
        let opened = counted(&last.signals.handshakes, &signals.handshakes);
        let first_bytes_s = since(last.signals.first_byte_us, signals.first_byte_us) * MICRO;
        let handshakes_s = since(last.signals.handshake_us, signals.handshake_us) * MICRO;
        let mut failures = Failures {
            timed_out: signals.repeated.wrapping_sub(last.signals.repeated),
            refused: signals.refused.wrapping_sub(last.signals.refused),
            reset: signals.reset.wrapping_sub(last.signals.reset),
            ..Failures::default()
        };
        // In which order they came is not known: one that worked ends the run.
        let failed = failures.total();
        let worked = answered + opened > 0;
        self.failed_in_a_row = if worked { 0 } else { self.failed_in_a_row.saturating_add(failed) };
        failures.in_a_row = self.failed_in_a_row;
        let attempts = answered.saturating_add(failed);
        // Little's law: what was in flight on average is what all of them waited, by the time they
        // had. Those that wait throughout have not told yet, and count as they are.
        let waiting = approximate(last.load.requests.min(load.requests));
        Traffic {
            turns_per_s: approximate(attempts) / seconds,
            in_flight: (first_bytes_s / seconds).max(waiting),
            first_byte_s: (answered > 0).then(|| first_bytes_s / approximate(answered)),
            handshake_s: (opened > 0).then(|| handshakes_s / approximate(opened)),
            attempts,
            failures,
        }
    }
}

const MICRO: f64 = 1e-6;

/// How much a sum has grown.
fn since(before: u64, now: u64) -> f64 {
    approximate(now.wrapping_sub(before))
}

/// How many durations came to a histogram, whose buckets wrap.
fn counted(before: &[u32], now: &[u32]) -> u64 {
    before.iter().zip(now).map(|(before, now)| u64::from(now.wrapping_sub(*before))).sum()
}

/// Sums do not wrap: a smaller one is that of the id's next backend.
const fn began_anew(before: &Signals, now: &Signals) -> bool {
    now.first_byte_us < before.first_byte_us
        || now.handshake_us < before.handshake_us
        || now.refused < before.refused
        || now.reset < before.reset
        || now.repeated < before.repeated
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signals(first_bytes: u32, first_byte_us: u64, refused: u64) -> Signals {
        let mut signals = Signals { first_byte_us, refused, ..Signals::default() };
        signals.first_bytes[9] = first_bytes;
        signals
    }

    fn load(requests: u64) -> BackendLoad {
        BackendLoad { flows: 9, requests, changes: 0 }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn rates_and_means_are_those_of_the_time_between() {
        let mut meter = Meter::default();
        assert_eq!(meter.tick(at(10), &load(1), &signals(100, 900, 7)), Traffic::default());
        let traffic = meter.tick(at(12), &load(0), &signals(140, 800_900, 8));
        assert!(close(traffic.turns_per_s, 41.0 / 2.0), "{traffic:?}");
        assert!(close(traffic.in_flight, 0.4), "{traffic:?}");
        assert!(close(traffic.first_byte_s.unwrap(), 0.02), "{traffic:?}");
        assert_eq!((traffic.attempts, traffic.failures.refused), (41, 1));
        assert_eq!(traffic.handshake_s, None);
    }

    #[test]
    fn requests_that_wait_throughout_are_in_flight() {
        let rows = [
            // Before, after, microseconds of those that ended, in flight.
            (5, 5, 0, 5.0),
            (5, 3, 0, 3.0),
            (0, 9, 0, 0.0),
            (9, 0, 0, 0.0),
            (2, 2, 3_500_000, 3.5),
        ];
        for (before, after, micros, expected) in rows {
            let mut meter = Meter::default();
            meter.tick(at(1), &load(before), &signals(0, 0, 0));
            let traffic = meter.tick(at(2), &load(after), &signals(1, micros, 0));
            assert!(close(traffic.in_flight, expected), "{before} {after} {micros}: {traffic:?}");
        }
    }

    #[test]
    fn a_run_of_failures_ends_with_the_first_that_works() {
        let mut meter = Meter::default();
        let mut run = |second, answered, refused| {
            let traffic = meter.tick(at(second), &load(0), &signals(answered, 0, refused));
            traffic.failures.in_a_row
        };
        let runs = [run(0, 0, 0), run(1, 0, 2), run(2, 0, 2), run(3, 0, 5), run(4, 1, 9)];
        assert_eq!(runs, [0, 2, 2, 5, 0]);
    }

    #[test]
    fn silent_clients_are_failures_of_the_backend() {
        let mut meter = Meter::default();
        meter.tick(at(1), &load(0), &Signals::default());
        let signals = Signals { repeated: 3, reset: 2, ..Signals::default() };
        let traffic = meter.tick(at(2), &load(4), &signals);
        let Failures { timed_out, reset, in_a_row, .. } = traffic.failures;
        assert_eq!((timed_out, reset, in_a_row, traffic.attempts), (3, 2, 5, 5));
    }

    #[test]
    fn buckets_may_wrap() {
        let mut meter = Meter::default();
        meter.tick(at(1), &load(0), &signals(u32::MAX - 1, 0, 0));
        let traffic = meter.tick(at(2), &load(0), &signals(3, 0, 0));
        assert_eq!(traffic.attempts, 5);
    }

    #[test]
    fn what_began_anew_or_took_no_time_says_nothing() {
        let rows = [(2, signals(9, 4, 9)), (2, signals(9, 9, 4)), (1, signals(20, 20, 20))];
        for (second, next) in rows {
            let mut meter = Meter::default();
            meter.tick(at(1), &load(3), &signals(5, 5, 5));
            assert_eq!(meter.tick(at(second), &load(3), &next), Traffic::default(), "{next:?}");
            // From there on it counts again.
            let mut more = next;
            more.first_bytes[9] += 2;
            assert_eq!(meter.tick(at(second + 1), &load(3), &more).attempts, 2);
        }
    }
}
