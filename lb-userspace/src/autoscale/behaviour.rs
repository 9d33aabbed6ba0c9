//! What holds a scaler back: windows over its recommendations, and rates of change, as in the
//! `behavior` of a `HorizontalPodAutoscaler` (Kubernetes enhancement 853, "Configurable scale
//! up/down velocity for HPA").

use std::time::{Duration, Instant};

/// How much may change at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many replicas.
    Replicas(u32),
    /// So many percent of the replicas there were.
    Percent(u32),
}

/// How much may change in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How much.
    pub step: Step,
    /// In which time.
    pub period: Duration,
}

/// What holds back a change in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Direction {
    /// The most careful recommendation of this time counts.
    pub window: Duration,
    /// The rate that allows most counts; without any there is no limit.
    pub rates: Vec<Rate>,
}

/// What holds back changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// More replicas.
    pub up: Direction,
    /// Fewer replicas.
    pub down: Direction,
}

impl Default for Behaviour {
    /// That of a `HorizontalPodAutoscaler` without a `behavior`.
    fn default() -> Self {
        let period = Duration::from_secs(15);
        let rate = |step| Rate { step, period };
        Self {
            up: Direction {
                window: Duration::ZERO,
                rates: vec![rate(Step::Replicas(4)), rate(Step::Percent(100))],
            },
            down: Direction {
                window: Duration::from_mins(5),
                rates: vec![rate(Step::Percent(100))],
            },
        }
    }
}

/// What was recommended and what was done.
#[derive(Clone, Debug, Default)]
pub struct History {
    recommended: Vec<(Instant, u32)>,
    /// When, and by how much.
    added: Vec<(Instant, u32)>,
    removed: Vec<(Instant, u32)>,
    /// Outlives all windows.
    changed: Option<Instant>,
}

impl History {
    /// Takes what there is for the first recommendation.
    pub fn begin(&mut self, now: Instant, current: u32) {
        self.recommended.push((now, current));
    }

    /// The recommendation after the windows: not more than the least one of the window upwards, not
    /// less than the largest of the window downwards. It is remembered as it came.
    pub fn stabilise(
        &mut self,
        now: Instant,
        current: u32,
        wanted: u32,
        [up, down]: [Duration; 2],
    ) -> u32 {
        let within = |at: Instant, window| now.saturating_duration_since(at) < window;
        let (mut least, mut most) = (wanted, wanted);
        for &(at, recommended) in &self.recommended {
            if within(at, up) {
                least = least.min(recommended);
            }
            if within(at, down) {
                most = most.max(recommended);
            }
        }
        self.recommended.push((now, wanted));
        current.max(least).min(most)
    }

    /// The number after the rates.
    #[must_use]
    pub fn limit(&self, now: Instant, current: u32, wanted: u32, behaviour: &Behaviour) -> u32 {
        // What there was at the beginning of a period.
        let begin = |period| {
            let sum = |events: &[(Instant, u32)]| -> u32 {
                let recent =
                    events.iter().filter(|(at, _)| now.saturating_duration_since(*at) < period);
                recent.fold(0, |sum, (_, count)| sum.saturating_add(*count))
            };
            current.saturating_add(sum(&self.removed)).saturating_sub(sum(&self.added))
        };
        if wanted > current {
            let reach = |rate: &Rate| rate.step.above(begin(rate.period));
            let most = behaviour.up.rates.iter().map(reach).max().unwrap_or(u32::MAX);
            wanted.min(most.max(current))
        } else {
            let reach = |rate: &Rate| rate.step.below(begin(rate.period));
            let least = behaviour.down.rates.iter().map(reach).min().unwrap_or(0);
            wanted.max(least.min(current))
        }
    }

    /// Remembers a change, and forgets what no window reaches.
    pub fn changed(&mut self, now: Instant, from: u32, to: u32) {
        if from == to {
            return;
        }
        self.changed = Some(now);
        match to.checked_sub(from) {
            Some(more) => self.added.push((now, more)),
            None => self.removed.push((now, from - to)),
        }
    }

    /// Forgets what is older than any window.
    pub fn forget(&mut self, now: Instant, behaviour: &Behaviour) {
        let Behaviour { up, down } = behaviour;
        let periods = up.rates.iter().chain(&down.rates).map(|rate| rate.period);
        let longest = periods.fold(up.window.max(down.window), Duration::max);
        for events in [&mut self.recommended, &mut self.added, &mut self.removed] {
            events.retain(|(at, _)| now.saturating_duration_since(*at) < longest);
        }
    }

    /// When there was the last change.
    #[must_use]
    pub const fn last_change(&self) -> Option<Instant> {
        self.changed
    }
}

impl Step {
    /// The most that may be reached from `begin`; a part of a replica is a whole one.
    fn above(self, begin: u32) -> u32 {
        match self {
            Self::Replicas(count) => begin.saturating_add(count),
            Self::Percent(percent) => share(begin, 100 + u64::from(percent), u64::div_ceil),
        }
    }

    /// The least that may be reached from `begin`.
    fn below(self, begin: u32) -> u32 {
        match self {
            Self::Replicas(count) => begin.saturating_sub(count),
            Self::Percent(percent) => {
                share(begin, 100_u64.saturating_sub(percent.into()), |all, part| all / part)
            }
        }
    }
}

fn share(begin: u32, percent: u64, divide: fn(u64, u64) -> u64) -> u32 {
    u32::try_from(divide(u64::from(begin).saturating_mul(percent), 100)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [Duration; 2] = [Duration::ZERO; 2];

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn the_most_careful_recommendation_of_the_window_counts() {
        let start = Instant::now();
        let minute = Duration::from_mins(1);
        #[rustfmt::skip]
        let cases = [
            // windows up and down, (second, current, wanted, result)..
            (NONE,                      vec![(0, 4, 9, 9), (15, 9, 2, 2)]),
            ([Duration::ZERO, minute],  vec![(0, 4, 9, 9), (15, 9, 2, 9), (59, 9, 2, 9), (60, 9, 2, 2)]),
            ([minute, Duration::ZERO],  vec![(0, 4, 4, 4), (15, 4, 9, 4), (59, 4, 7, 4), (60, 4, 9, 7)]),
            ([minute, minute],          vec![(0, 4, 2, 2), (15, 4, 9, 4), (30, 4, 9, 4), (75, 4, 3, 4)]),
        ];
        for (windows, steps) in cases {
            let mut history = History::default();
            for (second, current, wanted, expected) in steps {
                let result = history.stabilise(after(start, second), current, wanted, windows);
                assert_eq!(result, expected, "{windows:?} at {second}");
            }
        }
    }

    #[test]
    fn rates_count_from_the_beginning_of_their_period() {
        let start = Instant::now();
        let usual = Behaviour::default();
        let mut history = History::default();
        for (second, current, wanted, expected) in [
            (0, 1, 100, 5),
            (1, 5, 100, 5),
            (14, 5, 100, 5),
            (15, 5, 100, 10),
            (30, 10, 100, 20),
            (30, 20, 100, 20),
            (31, 20, 0, 0),
        ] {
            let now = after(start, second);
            let result = history.limit(now, current, wanted, &usual);
            assert_eq!(result, expected, "at {second}");
            history.changed(now, current, result);
        }
    }

    #[test]
    fn what_was_taken_may_be_given_back() {
        let start = Instant::now();
        let mut history = History::default();
        history.changed(start, 10, 4);
        let now = after(start, 5);
        assert_eq!(history.limit(now, 4, 50, &Behaviour::default()), 20);
        assert_eq!(history.limit(after(start, 15), 4, 50, &Behaviour::default()), 8);
    }

    #[test]
    fn parts_of_replicas_are_rounded_to_the_side_that_moves() {
        for (step, begin, above, below) in [
            (Step::Percent(10), 1, 2, 0),
            (Step::Percent(50), 3, 5, 1),
            (Step::Percent(100), 0, 0, 0),
            (Step::Percent(300), 2, 8, 0),
            (Step::Replicas(4), 2, 6, 0),
            (Step::Replicas(0), 2, 2, 2),
            (Step::Replicas(u32::MAX), 2, u32::MAX, 0),
            (Step::Percent(u32::MAX), u32::MAX, u32::MAX, 0),
        ] {
            assert_eq!((step.above(begin), step.below(begin)), (above, below), "{step:?} {begin}");
        }
    }

    #[test]
    fn without_rates_there_is_no_limit_and_a_clock_that_steps_back_harms_nothing() {
        let free = Direction { window: Duration::ZERO, rates: vec![] };
        let behaviour = Behaviour { up: free.clone(), down: free };
        let start = after(Instant::now(), 100);
        let mut history = History::default();
        history.changed(start, 1, 9);
        let before = start.checked_sub(Duration::from_secs(50)).unwrap();
        assert_eq!(history.limit(before, 9, 1000, &behaviour), 1000);
        assert_eq!(history.limit(before, 9, 0, &behaviour), 0);
        assert_eq!(history.limit(before, 9, 1000, &Behaviour::default()), 9);
    }

    #[test]
    fn what_no_window_reaches_is_forgotten() {
        let start = Instant::now();
        let usual = Behaviour::default();
        let mut history = History::default();
        history.stabilise(start, 1, 1, NONE);
        history.changed(start, 1, 2);
        assert_eq!(history.last_change(), Some(start));
        history.forget(after(start, 299), &usual);
        assert_eq!((history.recommended.len(), history.added.len()), (1, 1));
        history.forget(after(start, 300), &usual);
        assert_eq!((history.recommended.len(), history.added.len()), (0, 0));
        assert_eq!(history.last_change(), Some(start));
    }
}
