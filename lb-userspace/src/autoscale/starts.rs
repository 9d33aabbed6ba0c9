//! How long replicas need from the decision until they answer, as seen. No clock.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

/// Starts that count: what was true of an image of last month is not.
const KEPT: usize = 20;
/// Fewer starts say nothing about the next one.
const SEEN_MIN: usize = 3;
/// Nine of ten are as fast.
const TENTHS: usize = 9;
/// What is looked at once a second is not known better; who needs longer is not waited for by any
/// forecast.
const BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(10));

/// The starts of the replicas of one service.
#[derive(Clone, Debug, Default)]
pub(super) struct Starts {
    /// Decisions whose container is not there yet.
    begun: VecDeque<Instant>,
    /// Those that have not answered yet, since their decision.
    born: BTreeMap<String, Instant>,
    /// The last ones that have.
    seen: VecDeque<Duration>,
}

impl Starts {
    /// One is to be made.
    pub(super) fn begin(&mut self, now: Instant) {
        self.begun.push_back(now);
    }

    /// One was made, or could not be. Those that were begun first are taken to be made first.
    pub(super) fn made(&mut self, id: Option<&String>) {
        if let (Some(begun), Some(id)) = (self.begun.pop_front(), id) {
            self.born.insert(id.clone(), begun);
        }
    }

    /// One answers.
    pub(super) fn answered(&mut self, now: Instant, id: &str) {
        let Some(begun) = self.born.remove(id) else { return };
        self.seen.push_back(now.saturating_duration_since(begun));
        if self.seen.len() > KEPT {
            self.seen.pop_front();
        }
    }

    /// Forgets those that are gone.
    pub(super) fn retain(&mut self, is_there: impl Fn(&String) -> bool) {
        self.born.retain(|id, _| is_there(id));
    }

    /// The time that nine of ten of the last ones needed at most, by nearest rank; `None` before
    /// there were enough.
    pub(super) fn estimate(&self) -> Option<Duration> {
        if self.seen.len() < SEEN_MIN {
            return None;
        }
        let mut sorted: Vec<Duration> = self.seen.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (sorted.len() * TENTHS).div_ceil(10);
        let (least, most) = BOUNDS;
        sorted.get(rank.saturating_sub(1)).map(|time| (*time).clamp(least, most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is estimated after starts of so many milliseconds.
    fn after(starts: &[u64]) -> Option<u128> {
        let (mut known, begin) = (Starts::default(), Instant::now());
        for (number, millis) in starts.iter().enumerate() {
            let id = number.to_string();
            known.begin(begin);
            known.made(Some(&id));
            known.answered(begin + Duration::from_millis(*millis), &id);
        }
        known.estimate().map(|time| time.as_millis())
    }

    #[test]
    fn nine_of_ten_are_as_fast() {
        let old: Vec<u64> = [90_000; 20].into_iter().chain([2_000; 20]).collect();
        for (starts, expected) in [
            (&[][..], None),
            (&[4_000, 5_000], None),
            (&[4_000, 6_000, 5_000], Some(6_000)),
            (&[2_000, 2_000, 2_000, 2_000, 2_000, 2_000, 2_000, 2_000, 3_000, 60_000], Some(3_000)),
            (&[0, 0, 0], Some(1_000)),
            (&[9_000_000; 3], Some(600_000)),
            (&old, Some(2_000)),
        ] {
            assert_eq!(after(starts), expected, "{starts:?}");
        }
    }

    #[test]
    fn what_failed_or_is_gone_or_was_there_before_is_no_start() {
        let (mut starts, now) = (Starts::default(), Instant::now());
        for id in ["a", "b", "c", "d"].map(str::to_owned) {
            starts.begin(now);
            starts.made(Some(&id).filter(|id| *id != "a"));
        }
        starts.retain(|id| id != "b");
        for id in ["a", "b", "c", "d", "e", "c"] {
            starts.answered(now + Duration::from_secs(5), id);
        }
        assert_eq!((starts.seen.len(), starts.estimate()), (2, None));
        // What nobody has begun is not made.
        starts.made(Some(&"f".to_owned()));
        starts.answered(now, "f");
        assert_eq!(starts.seen.len(), 2);
    }
}
