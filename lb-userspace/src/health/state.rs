//! What the results of probes say about a backend.

use std::time::{Duration, Instant};

use crate::model::HealthCheck;

/// A backend that goes down again within this time is flapping.
const FLAP_WINDOW: Duration = Duration::from_mins(1);
/// Each flap doubles the successes it takes to come back, this often at most: eight times.
const DOUBLINGS_MAX: u32 = 3;

/// Health of one backend.
///
/// A backend nobody has probed counts as healthy: a controller that starts must not take everyone
/// out. The first success proves it healthy, `fall` failures in a row take it out, `rise`
/// successes in a row bring it back. Damping: each time it goes down within a minute of having
/// gone down before, the successes it takes to come back double, up to eight times `rise`; going
/// down after a longer quiet starts again from `rise`.
#[derive(Clone, Debug)]
pub struct HealthState {
    rise: u32,
    fall: u32,
    phase: Phase,
    doublings: u32,
    last_down: Option<Instant>,
}

#[derive(Clone, Debug)]
enum Phase {
    /// No success yet, and too few failures.
    Unknown {
        failures: u32,
    },
    Up {
        failures: u32,
    },
    Down {
        successes: u32,
        why: String,
    },
}

impl HealthState {
    /// A backend that was never probed.
    #[must_use]
    pub fn new(check: &HealthCheck) -> Self {
        Self {
            rise: check.rise,
            fall: check.fall,
            phase: Phase::Unknown { failures: 0 },
            doublings: 0,
            last_down: None,
        }
    }

    /// Takes the result of a probe, a failure with its reason. Says what the backend is now if
    /// that changed.
    pub fn observe(&mut self, result: Result<(), String>, now: Instant) -> Option<bool> {
        match result {
            Ok(()) => self.succeeded(),
            Err(why) => self.failed(why, now),
        }
    }

    /// Whether it may have new flows.
    #[must_use]
    pub fn healthy(&self) -> bool {
        !matches!(self.phase, Phase::Down { .. })
    }

    /// For people: why it is what it is.
    #[must_use]
    pub fn why(&self) -> String {
        match &self.phase {
            Phase::Unknown { failures: 0 } => "not probed yet".to_owned(),
            Phase::Unknown { failures } => {
                format!("never answered, {failures} of {} failures", self.fall)
            }
            Phase::Up { failures: 0 } => "answers".to_owned(),
            Phase::Up { failures } => format!("{failures} of {} failures in a row", self.fall),
            Phase::Down { successes: 0, why } => why.clone(),
            Phase::Down { successes, why } => {
                format!("{why}; since then {successes} of {} successes", self.rise_needed())
            }
        }
    }

    fn succeeded(&mut self) -> Option<bool> {
        let rise = self.rise_needed();
        if let Phase::Down { successes, .. } = &mut self.phase {
            *successes += 1;
            if *successes < rise {
                return None;
            }
            self.phase = Phase::Up { failures: 0 };
            return Some(true);
        }
        self.phase = Phase::Up { failures: 0 };
        None
    }

    fn failed(&mut self, why: String, now: Instant) -> Option<bool> {
        match &mut self.phase {
            Phase::Unknown { failures } | Phase::Up { failures } => {
                *failures += 1;
                if *failures < self.fall {
                    return None;
                }
                self.phase = Phase::Down { successes: 0, why };
                self.count_flap(now);
                Some(false)
            }
            Phase::Down { .. } => {
                self.phase = Phase::Down { successes: 0, why };
                None
            }
        }
    }

    fn count_flap(&mut self, now: Instant) {
        let flapping = self
            .last_down
            .is_some_and(|before| now.saturating_duration_since(before) <= FLAP_WINDOW);
        self.doublings = if flapping { (self.doublings + 1).min(DOUBLINGS_MAX) } else { 0 };
        self.last_down = Some(now);
    }

    fn rise_needed(&self) -> u32 {
        self.rise.saturating_mul(1 << self.doublings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AllDown;
    use crate::model::Probe;

    fn state(rise: u32, fall: u32) -> HealthState {
        HealthState::new(&HealthCheck {
            probe: Probe::Tcp,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            rise,
            fall,
            port: None,
            all_down: AllDown::Try,
        })
    }

    /// Feeds `+` successes and `-` failures, one a second; a digit waits that many 10 s. Answers
    /// `U` and `D` where the backend went up and down, `.` elsewhere.
    fn play(state: &mut HealthState, script: &str, start: Instant) -> String {
        let mut now = start;
        let mut step = |event: char| {
            now += Duration::from_secs(1);
            let result = match event {
                '+' => Ok(()),
                '-' => Err("refused".to_owned()),
                wait => {
                    now += Duration::from_secs(10) * wait.to_digit(10).unwrap();
                    return wait;
                }
            };
            match state.observe(result, now) {
                None => '.',
                Some(true) => 'U',
                Some(false) => 'D',
            }
        };
        script.chars().map(&mut step).collect()
    }

    #[test]
    fn transitions_need_runs() {
        #[rustfmt::skip]
        let table = [
            // rise, fall, probes, transitions, healthy at the end
            (2, 3, "",             "",             true),
            (2, 3, "+",            ".",            true),
            (2, 3, "--",           "..",           true),
            (2, 3, "---",          "..D",          false),
            (2, 3, "----",         "..D.",         false),
            (2, 3, "--+--",        ".....",        true),
            (2, 3, "--+-+--",      ".......",      true),
            (2, 3, "+---",         "...D",         false),
            (2, 3, "---+",         "..D.",         false),
            (2, 3, "---+-+",       "..D...",       false),
            (2, 3, "---+-++",      "..D...U",      true),
            (2, 3, "---++",        "..D.U",        true),
            (1, 1, "-",            "D",            false),
            (1, 1, "-+",           "DU",           true),
            (1, 1, "+-",           ".D",           false),
        ];
        for (rise, fall, script, transitions, healthy) in table {
            let mut state = state(rise, fall);
            assert_eq!(play(&mut state, script, Instant::now()), transitions, "{script}");
            assert_eq!(state.healthy(), healthy, "{script}");
        }
    }

    #[test]
    fn flapping_makes_the_way_back_longer() {
        #[rustfmt::skip]
        let table = [
            // One flap, two, four times the rise, and eight is the most.
            ("-+-+",                           "DUD."),
            ("-+-++",                          "DUD.U"),
            ("-+-++-+++",                      "DUD.UD..."),
            ("-+-++-++++",                     "DUD.UD...U"),
            ("-+-++-++++-+++++++",             "DUD.UD...UD......."),
            ("-+-++-++++-++++++++",            "DUD.UD...UD.......U"),
            ("-+-++-++++-++++++++-++++++++",   "DUD.UD...UD.......UD.......U"),
            // A quiet minute forgives; less does not.
            ("-+7-+",                          "DU7DU"),
            ("-+5-+",                          "DU5D."),
            ("-+-++7-+",                       "DUD.U7DU"),
            // A failure on the way back starts the count again, and is no flap of its own.
            ("-+-+-+",                         "DUD..."),
            ("-+-+-++",                        "DUD...U"),
        ];
        for (script, transitions) in table {
            assert_eq!(play(&mut state(1, 1), script, Instant::now()), transitions, "{script}");
        }
    }

    #[test]
    fn the_window_of_a_flap_ends_after_a_minute() {
        for (millis, back_at_once) in [(0, false), (59_999, false), (60_000, false), (60_001, true)]
        {
            let (mut state, first) = (state(1, 1), Instant::now());
            let second = first + Duration::from_millis(millis);
            assert_eq!(state.observe(Err("refused".into()), first), Some(false));
            assert_eq!(state.observe(Ok(()), second), Some(true));
            assert_eq!(state.observe(Err("refused".into()), second), Some(false));
            assert_eq!(state.observe(Ok(()), second).is_some(), back_at_once, "{millis} ms");
        }
    }

    #[test]
    fn it_says_why() {
        #[rustfmt::skip]
        let table = [
            ("",       "not probed yet"),
            ("-",      "never answered, 1 of 2 failures"),
            ("+",      "answers"),
            ("+-",     "1 of 2 failures in a row"),
            ("+-+",    "answers"),
            ("--",     "refused"),
            ("--+",    "refused; since then 1 of 3 successes"),
            ("--+-",   "refused"),
            ("--+++",  "answers"),
            ("--+++--+", "refused; since then 1 of 6 successes"),
        ];
        for (script, why) in table {
            let mut state = state(3, 2);
            play(&mut state, script, Instant::now());
            assert_eq!(state.why(), why, "{script}");
        }
    }

    #[test]
    fn the_latest_failure_is_the_reason() {
        let (mut state, now) = (state(1, 1), Instant::now());
        assert_eq!(state.observe(Err("refused".into()), now), Some(false));
        assert_eq!(state.observe(Err("status 503".into()), now), None);
        assert_eq!(state.why(), "status 503");
    }
}
