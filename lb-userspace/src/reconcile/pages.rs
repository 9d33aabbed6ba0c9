//! Which pages of `PAGES` are free. A table is never changed in place: it is written to pages
//! that nobody reads and published by its service entry. The pages it leaves behind rest for a
//! while, because a CPU that fetched the old entry may still read them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// How long a page rests: far longer than any packet stays in the program.
pub const GRACE: Duration = Duration::from_secs(1);

/// Pages that were in use a moment ago.
///
/// What counts is what the maps said, not what a plan meant to do: a page rests from the moment
/// it is first seen unused after having been in use, however much of a plan was carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quarantine {
    named: BTreeSet<u32>,
    resting: BTreeMap<u32, Instant>,
}

impl Quarantine {
    /// The quarantine at `now`, when services name the pages `named`.
    #[must_use]
    pub fn observe(&self, named: BTreeSet<u32>, now: Instant) -> Self {
        let mut resting = self.resting.clone();
        resting.extend(self.named.difference(&named).map(|page| (*page, now)));
        resting.retain(|page, since| {
            !named.contains(page) && now.saturating_duration_since(*since) < GRACE
        });
        Self { named, resting }
    }

    /// Pages that must not be written.
    fn taken(&self) -> impl Iterator<Item = u32> {
        self.named.iter().chain(self.resting.keys()).copied()
    }
}

/// The pages that a plan may write.
pub(super) struct FreePages {
    taken: Vec<bool>,
}

impl FreePages {
    /// Pages `0..limit` without those in use or at rest.
    pub(super) fn new(limit: u32, quarantine: &Quarantine) -> Self {
        let mut taken = vec![false; limit as usize];
        for page in quarantine.taken() {
            if let Some(slot) = taken.get_mut(page as usize) {
                *slot = true;
            }
        }
        Self { taken }
    }

    /// The first run of `count` pages; `None` if no run is long enough.
    pub(super) fn take(&mut self, count: usize) -> Option<u32> {
        let first = self.taken.windows(count.max(1)).position(|run| !run.contains(&true))?;
        self.taken.iter_mut().skip(first).take(count).for_each(|page| *page = true);
        u32::try_from(first).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(limit: u32, taken: &[u32]) -> FreePages {
        let named = taken.iter().copied().collect();
        FreePages::new(limit, &Quarantine { named, ..Quarantine::default() })
    }

    #[test]
    fn the_first_run_that_fits_is_taken() {
        let rows = [
            ("empty", 8, vec![], 3, Some(0)),
            ("all of it", 8, vec![], 8, Some(0)),
            ("more than there is", 8, vec![], 9, None),
            ("behind the first", 8, vec![0], 2, Some(1)),
            ("a gap too small is skipped", 8, vec![1, 4], 3, Some(5)),
            ("a gap that fits exactly", 8, vec![0, 3], 2, Some(1)),
            ("pieces do not add up", 8, vec![2, 5], 3, None),
            ("no pages at all", 0, vec![], 1, None),
        ];
        for (what, limit, taken, count, first) in rows {
            assert_eq!(free(limit, &taken).take(count), first, "{what}");
        }
    }

    #[test]
    fn what_is_taken_once_is_not_taken_twice() {
        let mut pages = free(4, &[1]);
        assert_eq!([pages.take(1), pages.take(2), pages.take(1)], [Some(0), Some(2), None]);
    }

    #[test]
    fn a_page_rests_from_when_it_is_seen_unused() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let takes = |quarantine: &Quarantine| FreePages::new(1, quarantine).take(1).is_some();
        let used = Quarantine::default().observe([0].into(), at(0));
        assert!(!takes(&used), "in use");
        let freed = used.observe([].into(), at(500));
        assert!(!takes(&freed), "just left");
        assert!(!takes(&freed.observe([].into(), at(1499))), "still resting");
        assert!(takes(&freed.observe([].into(), at(1500))), "rested");
        let again = freed.observe([0].into(), at(600)).observe([].into(), at(1400));
        assert!(!takes(&again.observe([].into(), at(2000))), "used again, rests anew");
        assert!(takes(&Quarantine::default()), "a page nobody ever used");
    }
}
