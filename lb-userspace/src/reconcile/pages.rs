//! Which pages of `PAGES` are free. A table is never changed in place: it is written to pages
//! that nobody reads and published by its service entry. The pages it leaves behind rest for a
//! while, because a CPU that fetched the old entry may still read them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::observed::Observed;

/// How long a page rests: far longer than any packet stays in the program.
pub const GRACE: Duration = Duration::from_secs(1);

/// Pages that were in use a moment ago.
///
/// What counts is what the maps said, not what a plan meant to do: a page rests from the moment
/// it is first seen unused after having been in use, however much of a plan was carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quarantine {
    resting: BTreeMap<u32, Instant>,
}

impl Quarantine {
    /// The quarantine at `now`.
    pub(super) fn observe(&self, observed: &Observed, now: Instant) -> Self {
        let mut resting = self.resting.clone();
        resting.extend(observed.left_pages().map(|page| (page, now)));
        resting.retain(|page, since| {
            !observed.is_named(*page) && now.saturating_duration_since(*since) < GRACE
        });
        Self { resting }
    }
}

/// The pages that a plan may write: those below a limit without those in use or at rest.
pub(super) struct FreePages<'a> {
    limit: u32,
    observed: &'a Observed,
    quarantine: &'a Quarantine,
    /// Worked out when the first page is needed: most plans need none.
    taken: Option<Vec<bool>>,
    /// Where the first run of so many pages may begin: what is taken stays so for a plan.
    from: BTreeMap<usize, usize>,
}

impl<'a> FreePages<'a> {
    pub(super) const fn new(
        limit: u32,
        observed: &'a Observed,
        quarantine: &'a Quarantine,
    ) -> Self {
        Self { limit, observed, quarantine, taken: None, from: BTreeMap::new() }
    }

    /// The first run of `count` pages; `None` if no run is long enough.
    pub(super) fn take(&mut self, count: usize) -> Option<u32> {
        let (observed, resting) = (self.observed, &self.quarantine.resting);
        let taken = self.taken.get_or_insert_with(|| {
            let mut taken = vec![false; self.limit as usize];
            for page in observed.named_pages().chain(resting.keys().copied()) {
                if let Some(slot) = taken.get_mut(page as usize) {
                    *slot = true;
                }
            }
            taken
        });
        let from = self.from.entry(count).or_default();
        let mut runs = taken.get(*from..).unwrap_or_default().windows(count.max(1));
        let Some(first) = runs.position(|run| !run.contains(&true)) else {
            *from = taken.len();
            return None;
        };
        let first = *from + first;
        *from = first + count;
        taken.iter_mut().skip(first).take(count).for_each(|page| *page = true);
        u32::try_from(first).ok()
    }
}

#[cfg(test)]
mod tests {
    use lb_common::abi::service::{ListenKey, Service};

    use super::*;
    use crate::maps::Write;

    /// Maps in which services name these pages.
    fn naming(pages: &[u32]) -> Observed {
        let mut observed = Observed::default();
        name(&mut observed, pages);
        observed
    }

    /// Makes services name these pages and no others.
    fn name(observed: &mut Observed, pages: &[u32]) {
        let before: Vec<ListenKey> = observed.listens.keys().copied().collect();
        observed.begin();
        for (port, page) in (1..).zip(pages) {
            let key = ListenKey { port, ..ListenKey::default() };
            let service = Service { table_page: *page, table_len: 1, ..Service::default() };
            observed.apply(&Write::Listen(key, service));
        }
        for key in before.into_iter().filter(|key| usize::from(key.port) > pages.len()) {
            observed.apply(&Write::RemoveListen(key));
        }
        observed.end(true);
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
            let (observed, quarantine) = (naming(&taken), Quarantine::default());
            let mut free = FreePages::new(limit, &observed, &quarantine);
            assert_eq!(free.take(count), first, "{what}");
        }
    }

    #[test]
    fn what_is_taken_once_is_not_taken_twice() {
        let (observed, quarantine) = (naming(&[1]), Quarantine::default());
        let mut pages = FreePages::new(6, &observed, &quarantine);
        let taken = [2, 1, 1, 2, 1].map(|count| pages.take(count));
        assert_eq!(taken, [Some(2), Some(0), Some(4), None, Some(5)]);
        assert_eq!(pages.take(1), None);
    }

    #[test]
    fn a_page_rests_from_when_it_is_seen_unused() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let takes = |observed: &Observed, quarantine: &Quarantine| {
            FreePages::new(1, observed, quarantine).take(1).is_some()
        };
        let mut observed = naming(&[0]);
        let used = Quarantine::default().observe(&observed, at(0));
        assert!(!takes(&observed, &used), "in use");
        name(&mut observed, &[]);
        let freed = used.observe(&observed, at(500));
        assert!(!takes(&observed, &freed), "just left");
        name(&mut observed, &[]);
        assert!(!takes(&observed, &freed.observe(&observed, at(1499))), "still resting");
        assert!(takes(&observed, &freed.observe(&observed, at(1500))), "rested");
        name(&mut observed, &[0]);
        let again = freed.observe(&observed, at(600));
        name(&mut observed, &[]);
        let again = again.observe(&observed, at(1400));
        name(&mut observed, &[]);
        assert!(!takes(&observed, &again.observe(&observed, at(2000))), "used again, rests anew");
        assert!(takes(&observed, &Quarantine::default()), "a page nobody ever used");
    }
}
