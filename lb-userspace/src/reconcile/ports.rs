//! The pre-filter: a bit set too many costs a lookup, a bit missing costs a flow. So the sets
//! grow before anything is published, and shrink only when the flows of what went had their time.

use std::time::{Duration, Instant};

use lb_common::abi::service::PortSet;

/// Which half of a [`PortSet`].
#[derive(Clone, Copy)]
pub(super) enum Half {
    Services,
    Backends,
}

/// Sets the bits of `first..=last`.
pub(super) fn insert(set: &mut PortSet, half: Half, (first, last): (u16, u16)) {
    let words = match half {
        Half::Services => &mut set.services,
        Half::Backends => &mut set.backends,
    };
    for port in first..=last {
        if let Some(word) = words.get_mut(usize::from(port) / 64) {
            *word |= 1 << (port % 64);
        }
    }
}

/// Bits that are set without need, and since when they all are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Surplus {
    since: Instant,
    set: Box<PortSet>,
}

impl Surplus {
    /// Whether the bits had their time.
    pub(super) fn is_over(&self, now: Instant, drain: Duration) -> bool {
        now.saturating_duration_since(self.since) >= drain
    }
}

/// What becomes of one protocol's set.
pub(super) struct Course {
    /// Observed and wanted bits.
    pub(super) widened: Box<PortSet>,
    /// What remains in the end.
    pub(super) settled: Box<PortSet>,
    pub(super) surplus: Option<Surplus>,
}

/// Widens `observed` by `wanted`; takes the rest away once it was surplus for `drain`.
pub(super) fn course(
    observed: &PortSet,
    wanted: Box<PortSet>,
    before: Option<&Surplus>,
    now: Instant,
    drain: Duration,
) -> Course {
    let widened = combine(observed, &wanted, |a, b| a | b);
    let set = combine(observed, &wanted, |a, b| a & !b);
    if count(&set) == 0 {
        return Course { settled: widened.clone(), widened, surplus: None };
    }
    let same = before.filter(|before| count(&combine(&set, &before.set, |a, b| a & !b)) == 0);
    let since = same.map_or(now, |before| before.since);
    let surplus = Surplus { since, set };
    let settled = if surplus.is_over(now, drain) { wanted } else { widened.clone() };
    Course { widened, settled, surplus: Some(surplus) }
}

/// Bits of a set, in both halves.
pub(super) fn count(set: &PortSet) -> u32 {
    set.services.iter().chain(&set.backends).map(|word| word.count_ones()).sum()
}

fn combine(a: &PortSet, b: &PortSet, op: fn(u64, u64) -> u64) -> Box<PortSet> {
    let mut result = Box::new(*a);
    let words = result.services.iter_mut().chain(&mut result.backends);
    for (word, other) in words.zip(b.services.iter().chain(&b.backends)) {
        *word = op(*word, *other);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAIN: Duration = Duration::from_mins(1);

    fn set(ports: &[(u16, u16)]) -> Box<PortSet> {
        let mut set = Box::<PortSet>::default();
        for range in ports {
            insert(&mut set, Half::Services, *range);
        }
        set
    }

    #[test]
    fn bits_lie_where_the_kernel_looks() {
        let mut ports = set(&[(64, 65)]);
        insert(&mut ports, Half::Backends, (65535, 65535));
        assert_eq!((ports.services[1], ports.backends[1023]), (3, 1 << 63));
        assert_eq!(count(&ports), 3);
        assert_eq!(count(&set(&[(0, 65535)])), 65536);
    }

    #[test]
    fn surplus_bits_wait_for_the_drain_time() {
        let start = Instant::now();
        let (both, one) = (set(&[(80, 80), (81, 81)]), set(&[(80, 80)]));
        let first = course(&both, one.clone(), None, start, DRAIN);
        assert_eq!(first.settled, both, "not yet");
        let early = course(&both, one.clone(), first.surplus.as_ref(), start + DRAIN / 2, DRAIN);
        assert_eq!(early.settled, both, "still not");
        let late = course(&both, one.clone(), early.surplus.as_ref(), start + DRAIN, DRAIN);
        assert_eq!((late.widened, late.settled), (both.clone(), one), "over");
    }

    #[test]
    fn more_surplus_waits_anew_and_less_does_not() {
        let start = Instant::now();
        let all = set(&[(80, 82)]);
        let first = course(&all, set(&[(80, 81)]), None, start, DRAIN).surplus;
        let more = course(&all, set(&[(80, 80)]), first.as_ref(), start + DRAIN, DRAIN);
        assert_eq!(more.settled, all);
        let less = course(&all, set(&[(80, 81)]), more.surplus.as_ref(), start + DRAIN * 2, DRAIN);
        assert_eq!(less.settled, set(&[(80, 81)]));
    }

    #[test]
    fn without_drain_time_nothing_waits_and_growing_never_does() {
        let now = Instant::now();
        let shrunk = course(&set(&[(1, 9)]), set(&[(5, 9)]), None, now, Duration::ZERO);
        assert_eq!(shrunk.settled, set(&[(5, 9)]));
        let grown = course(&set(&[(5, 9)]), set(&[(1, 9)]), None, now, DRAIN);
        assert_eq!((grown.widened, grown.surplus), (set(&[(1, 9)]), None));
    }
}
