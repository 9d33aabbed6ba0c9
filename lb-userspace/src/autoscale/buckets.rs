//! The offered load as rates over equal times, out of a counter that is read now and then.

use std::time::{Duration, Instant};

/// Buckets that were missed are not made up for beyond this: who slept for a day wakes up once.
const MISSED_MAX: u32 = 64;

/// A counter on its way through buckets of time.
#[derive(Clone, Debug)]
pub struct Buckets {
    width: Duration,
    open: Option<Open>,
}

/// The bucket that is being filled.
#[derive(Clone, Copy, Debug)]
struct Open {
    since: Instant,
    /// When the counter was read first in it, and what it said.
    first: (Instant, u64),
    /// When it was read last.
    last: (Instant, u64),
    /// Whether the counter went back.
    broken: bool,
}

impl Buckets {
    /// Buckets of this width, a second at least.
    #[must_use]
    pub fn new(width: Duration) -> Self {
        Self { width: width.max(Duration::from_secs(1)), open: None }
    }

    /// Takes a reading and returns the rates per second of the buckets that it ends: nothing most of
    /// the time. A bucket in which the counter went back, or that had no reading near its end, has
    /// no rate.
    pub fn read(&mut self, now: Instant, total: u64) -> Vec<Option<f64>> {
        let Some(mut open) = self.open else {
            self.open = Some(Open::new(now, (now, total)));
            return Vec::new();
        };
        if total < open.last.1 {
            open.broken = true;
            open.first = (now, total);
        }
        let mut ended = Vec::new();
        let passed = now.saturating_duration_since(open.since);
        let whole = u32::try_from(passed.as_nanos() / self.width.as_nanos()).unwrap_or(u32::MAX);
        if whole == 0 {
            open.last = (now, total);
            self.open = Some(open);
            return ended;
        }
        ended.push(open.rate(now, total, self.width));
        ended.extend(std::iter::repeat_n(None, (whole - 1).min(MISSED_MAX) as usize));
        // Buckets stay where they are, however late a reading is.
        let since = open.since + self.width.saturating_mul(whole);
        self.open = Some(Open::new(since, (now, total)));
        ended
    }
}

impl Open {
    const fn new(since: Instant, reading: (Instant, u64)) -> Self {
        Self { since, first: reading, last: reading, broken: false }
    }

    /// The rate between the first reading and this one, which ends the bucket.
    fn rate(&self, now: Instant, total: u64, width: Duration) -> Option<f64> {
        let covered = now.saturating_duration_since(self.first.0);
        let usable = !self.broken && covered <= width * 2 && !covered.is_zero();
        #[expect(clippy::cast_precision_loss, reason = "requests of seconds")]
        let requests = total.saturating_sub(self.first.1) as f64;
        usable.then(|| requests / covered.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Readings = &'static [(u64, u64)];
    type Rates = &'static [Option<f64>];

    #[test]
    fn rates_of_readings() {
        let start = Instant::now();
        #[rustfmt::skip]
        let cases: [(&str, Readings, Rates); 9] = [
            ("one reading",     &[(0, 7)],                                   &[]),
            ("not yet",         &[(0, 7), (14, 70)],                         &[]),
            ("steady",          &[(0, 0), (5, 50), (10, 100), (15, 150)],    &[Some(10.0)]),
            ("two buckets",     &[(0, 0), (15, 150), (30, 450)],             &[Some(10.0), Some(20.0)]),
            ("nothing happens", &[(0, 9), (15, 9)],                          &[Some(0.0)]),
            ("late",            &[(0, 0), (20, 200), (30, 400)],             &[Some(10.0), Some(20.0)]),
            ("missed one",      &[(0, 0), (30, 300)],                        &[Some(10.0), None]),
            ("missed many",     &[(0, 0), (60, 600)],                        &[None, None, None, None]),
            ("counter went back", &[(0, 900), (5, 3), (15, 8), (30, 38)],    &[None, Some(2.0)]),
        ];
        for (name, readings, expected) in cases {
            let mut buckets = Buckets::new(Duration::from_secs(15));
            let rates: Vec<_> = readings
                .iter()
                .flat_map(|&(second, total)| {
                    buckets.read(start + Duration::from_secs(second), total)
                })
                .collect();
            assert_eq!(rates, expected, "{name}");
        }
    }

    #[test]
    fn a_long_sleep_and_a_clock_that_steps_back_end() {
        let start = Instant::now() + Duration::from_hours(1);
        let mut buckets = Buckets::new(Duration::ZERO);
        assert!(buckets.read(start, 5).is_empty());
        assert!(buckets.read(start.checked_sub(Duration::from_mins(9)).unwrap(), 6).is_empty());
        let slept = buckets.read(start + Duration::from_hours(24 * 365), 7);
        assert_eq!(slept.len(), MISSED_MAX as usize + 1);
        assert!(slept.iter().all(Option::is_none));
    }
}
