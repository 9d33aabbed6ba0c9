//! Backends that fail what others serve get no traffic for a while.

use std::{fmt, time::Duration};

use super::settings::Settings;

/// Why a backend was ejected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cause {
    /// So many connections failed, one after the other.
    InARow(u64),
    /// So large a share of the turns failed, far more than elsewhere.
    ErrorShare(f64),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InARow(count) => write!(f, "{count} connections in a row failed"),
            Self::ErrorShare(share) => write!(f, "{:.0} % of its turns failed", 100.0 * share),
        }
    }
}

/// Whether a backend is out, and how often it has been.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outlier {
    until: Option<Duration>,
    cause: Option<Cause>,
    times: u32,
}

impl Outlier {
    /// Whether it is out, for how long, and why.
    pub(crate) fn ejected(&self, now: Duration) -> Option<(Duration, Cause)> {
        let left = self.until?.checked_sub(now).filter(|left| !left.is_zero())?;
        Some((left, self.cause?))
    }

    /// Whether the time is over since the last call that said so.
    pub(crate) fn returns(&mut self, now: Duration) -> bool {
        let over = self.cause.is_some() && self.until.is_some_and(|until| until <= now);
        if over {
            self.cause = None;
        }
        over
    }

    /// Takes it out: 30 s, then 60 s, and so on; a long time without starts again.
    pub(crate) fn eject(&mut self, cause: Cause, now: Duration, settings: &Settings) {
        let forgiven =
            self.until.is_some_and(|until| until.saturating_add(settings.eject_max) < now);
        self.times = if forgiven { 1 } else { self.times.saturating_add(1) };
        let time = settings.eject_for.saturating_mul(self.times).min(settings.eject_max);
        (self.until, self.cause) = (Some(now.saturating_add(time)), Some(cause));
    }
}

/// What is known of the failures of a backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failing {
    pub(crate) in_a_row: u64,
    pub(crate) error_share: f64,
    pub(crate) attempts: f64,
}

impl Failing {
    /// Why it should be out, if it should; `median` is the share of errors of the service.
    pub(crate) fn cause(&self, median: f64, settings: &Settings) -> Option<Cause> {
        if self.in_a_row >= settings.eject_in_a_row {
            return Some(Cause::InARow(self.in_a_row));
        }
        let much = self.error_share > settings.eject_error_share
            && self.error_share > settings.eject_times_median * median;
        (much && self.attempts >= settings.eject_attempts)
            .then_some(Cause::ErrorShare(self.error_share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn only_those_that_stand_out_are_ejected() {
        #[rustfmt::skip]
        let table = [
            // in a row, errors, attempts, median, ejected
            (0,   0.0,  100.0, 0.0,  false),
            (4,   0.0,  100.0, 0.0,  false),
            (5,   0.0,  0.0,   0.0,  true),
            (0,   0.6,  100.0, 0.0,  true),
            (0,   0.6,  19.0,  0.0,  false),
            (0,   0.31, 20.0,  0.0,  true),
            (0,   0.25, 100.0, 0.0,  false),
            // Everybody fails: that is not this backend's fault.
            (0,   0.6,  100.0, 0.3,  false),
            (0,   f64::NAN, 100.0, 0.0, false),
        ];
        for (in_a_row, error_share, attempts, median, ejected) in table {
            let failing = Failing { in_a_row, error_share, attempts };
            let cause = failing.cause(median, &Settings::default());
            assert_eq!(cause.is_some(), ejected, "{failing:?} {median}");
        }
    }

    #[test]
    fn each_time_is_longer_until_it_is_forgiven() {
        let settings = Settings::default();
        let (mut outlier, mut now) = (Outlier::default(), seconds(1000));
        let mut lengths = Vec::new();
        for _ in 0..12 {
            outlier.eject(Cause::InARow(5), now, &settings);
            let (left, _) = outlier.ejected(now).unwrap();
            lengths.push(left.as_secs());
            assert!(!outlier.returns(now + left.saturating_sub(seconds(1))));
            now += left;
            assert!(outlier.ejected(now).is_none());
            assert!(outlier.returns(now) && !outlier.returns(now), "it returns once");
        }
        assert_eq!(lengths, [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]);
        outlier.eject(Cause::InARow(5), now + seconds(301), &settings);
        assert_eq!(outlier.ejected(now + seconds(301)).unwrap().0, seconds(30));
    }
}
