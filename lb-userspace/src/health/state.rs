//! When a backend counts as healthy. Pure: results and time come in.
//!
//! A backend nobody has probed yet counts as healthy, so that a start does not take everything
//! out; its first success proves it. `fall` failures in a row take it out, `rise` successes bring
//! it back. A backend that flaps must prove itself longer: every fall within [`MEMORY`] doubles
//! the successes it needs, up to [`RISE_FACTOR_MAX`] times (the idea of route flap damping,
//! RFC 2439).

use std::time::{Duration, Instant};

use crate::model::HealthCheck;

/// How long a fall is remembered.
const MEMORY: Duration = Duration::from_mins(1);
/// The most that flapping multiplies `rise` by.
const RISE_FACTOR_MAX: u32 = 8;

/// One backend's health.
#[derive(Clone, Debug)]
pub struct HealthState {
    rise: u32,
    fall: u32,
    healthy: bool,
    proven: bool,
    run: u32,
    falls: Vec<Instant>,
    last_failure: Option<String>,
}

impl HealthState {
    /// A backend that nobody has probed.
    #[must_use]
    pub fn new(check: &HealthCheck) -> Self {
        let (rise, fall) = (check.rise.max(1), check.fall.max(1));
        Self {
            rise,
            fall,
            healthy: true,
            proven: false,
            run: 0,
            falls: Vec::new(),
            last_failure: None,
        }
    }

    /// Takes a probe's result; says whether the backend is healthy if that changed.
    pub fn observe(&mut self, result: Result<(), String>, now: Instant) -> Option<bool> {
        let success = result.is_ok();
        self.proven |= success;
        self.last_failure = result.err();
        if success == self.healthy {
            self.run = 0;
            return None;
        }
        self.run += 1;
        if self.run < self.needed(now) {
            return None;
        }
        self.run = 0;
        self.healthy = success;
        if !success {
            self.falls.push(now);
        }
        Some(success)
    }

    /// Results in a row that would change the state.
    fn needed(&mut self, now: Instant) -> u32 {
        if self.healthy {
            return self.fall;
        }
        self.falls.retain(|fall| now.saturating_duration_since(*fall) <= MEMORY);
        let flaps = u32::try_from(self.falls.len()).unwrap_or(u32::MAX).saturating_sub(1);
        let factor = 1_u32.checked_shl(flaps).unwrap_or(RISE_FACTOR_MAX).min(RISE_FACTOR_MAX);
        self.rise.saturating_mul(factor)
    }

    /// Whether it gets new flows.
    #[must_use]
    pub const fn healthy(&self) -> bool {
        self.healthy
    }

    /// The state in words.
    #[must_use]
    pub fn why(&self) -> String {
        match (&self.last_failure, self.healthy, self.proven) {
            (None, true, true) => "healthy".to_owned(),
            (None, true, false) => "not probed yet".to_owned(),
            (None, false, _) => "answers again, not often enough yet".to_owned(),
            (Some(why), true, _) => format!("failing: {why}"),
            (Some(why), false, _) => why.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Probe;

    fn state(rise: u32, fall: u32) -> HealthState {
        HealthState::new(&HealthCheck {
            probe: Probe::Tcp,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            rise,
            fall,
            port: None,
        })
    }

    /// Runs results (`+` success, `-` failure) a second apart; returns the changes as `U` and `D`.
    fn story(mut state: HealthState, results: &str) -> String {
        let start = Instant::now();
        let mut at = 0;
        let mut next = |result: char| {
            at += 1;
            let result = if result == '+' { Ok(()) } else { Err("refused".to_owned()) };
            match state.observe(result, start + Duration::from_secs(at)) {
                None => '.',
                Some(true) => 'U',
                Some(false) => 'D',
            }
        };
        results.chars().map(&mut next).collect()
    }

    #[test]
    fn only_results_in_a_row_count() {
        let rows = [
            (2, 3, "++++", "...."),
            (2, 3, "---", "..D"),
            (2, 3, "--+--+--", "........"),
            (2, 3, "----++", "..D..U"),
            (2, 3, "---+-+-++", "..D.....U"),
            (1, 1, "-+", "DU"),
            (3, 1, "-++-+++", "D.....U"),
        ];
        for (rise, fall, results, changes) in rows {
            assert_eq!(story(state(rise, fall), results), changes, "{rise}/{fall} {results}");
        }
    }

    #[test]
    fn flapping_makes_the_way_back_longer() {
        // Second fall: twice as many successes; third: four times.
        assert_eq!(story(state(1, 1), "-+-++-++++"), "DUD.UD...U");
    }

    #[test]
    fn a_fall_is_forgotten() {
        let mut state = state(1, 1);
        let start = Instant::now();
        let fail = || Err("refused".to_owned());
        assert_eq!(state.observe(fail(), start), Some(false));
        assert_eq!(state.observe(Ok(()), start + Duration::from_secs(1)), Some(true));
        let later = start + MEMORY * 2;
        assert_eq!(state.observe(fail(), later), Some(false));
        assert_eq!(state.observe(Ok(()), later + Duration::from_secs(1)), Some(true));
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_is_no_harm() {
        let mut state = state(1, 1);
        let start = Instant::now() + MEMORY;
        assert_eq!(state.observe(Err(String::new()), start), Some(false));
        assert_eq!(state.observe(Ok(()), start.checked_sub(MEMORY).unwrap()), Some(true));
    }

    #[test]
    fn the_reason_is_told() {
        let mut state = state(2, 2);
        assert_eq!(state.why(), "not probed yet");
        let now = Instant::now();
        state.observe(Err("status 503".to_owned()), now);
        assert_eq!(state.why(), "failing: status 503");
        state.observe(Err("status 503".to_owned()), now);
        assert_eq!((state.healthy(), state.why().as_str()), (false, "status 503"));
        state.observe(Ok(()), now);
        assert_eq!(state.why(), "answers again, not often enough yet");
        state.observe(Ok(()), now);
        assert_eq!((state.healthy(), state.why().as_str()), (true, "healthy"));
    }
}
