//! Weighted Maglev hashing: Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load
//! Balancer", NSDI 2016, section 3.4.
//!
//! Every backend has a permutation of the slots; backends take turns to claim the next free slot
//! of theirs. Weights are fractional turns: in each round a backend gains its weight, and claims a
//! slot when it has gained the largest weight. A change of one weight then moves few other slots,
//! and every node that knows the same backends computes the same table.

use crate::reconcile::TableBackend;

/// Prime sizes, each about twice the one before.
const SIZES: [u32; 9] = [251, 509, 1021, 2039, 4093, 8191, 16_381, 32_749, 65_537];
/// Slots a backend should have, so that shares are right to about one percent.
const SLOTS_PER_BACKEND: u64 = 100;

/// Slots of a table for backends of these weights: enough for all, and for the lightest.
#[must_use]
pub fn table_size(weights: impl Iterator<Item = u32> + Clone) -> u32 {
    let count = u64::try_from(weights.clone().count()).unwrap_or(u64::MAX);
    let total: u64 = weights.clone().map(u64::from).sum();
    let lightest = weights.map(u64::from).min().unwrap_or(1).max(1);
    let wanted = (count * SLOTS_PER_BACKEND).max(2 * total / lightest);
    SIZES.into_iter().find(|size| u64::from(*size) >= wanted).unwrap_or(65_537)
}

/// A backend's walk over the slots.
struct Walk {
    id: u32,
    weight: u64,
    credit: u64,
    next: u64,
    skip: u64,
}

/// The table, a backend id a slot.
pub(super) fn table(backends: &[TableBackend]) -> Vec<u32> {
    let size = table_size(backends.iter().map(|backend| backend.weight));
    let Some(weight_max) = backends.iter().map(|backend| u64::from(backend.weight)).max() else {
        return Vec::new();
    };
    let mut walks: Vec<Walk> = backends.iter().map(|backend| walk(backend, size)).collect();
    // Whoever lists the backends in another order gets the same table.
    walks.sort_by_key(|walk| (walk.next, walk.skip, walk.id));
    let mut slots = vec![0; size as usize];
    let mut free = size;
    while free > 0 {
        for walk in &mut walks {
            walk.credit += walk.weight;
            if walk.credit < weight_max || free == 0 {
                continue;
            }
            walk.credit -= weight_max;
            while slots[index(walk.next)] != 0 {
                walk.step(size);
            }
            slots[index(walk.next)] = walk.id;
            free -= 1;
        }
    }
    slots
}

impl Walk {
    fn step(&mut self, size: u32) {
        self.next = (self.next + self.skip) % u64::from(size);
    }
}

fn walk(backend: &TableBackend, size: u32) -> Walk {
    let identity = format!("{}/{}", backend.identity, backend.identity.protocol);
    let hash = hash(identity.as_bytes());
    let (offset, skip) = (mix(hash), mix(hash ^ 0x9e37_79b9_7f4a_7c15));
    Walk {
        id: backend.id,
        weight: u64::from(backend.weight),
        credit: 0,
        next: offset % u64::from(size),
        skip: skip % u64::from(size - 1) + 1,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a slot number is below 65,537")]
const fn index(slot: u64) -> usize {
    slot as usize
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo).
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The finaliser of `SplitMix64` (Steele, Lea, Flood 2014).
const fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{super::tests::backends, *};

    fn count(slots: &[u32]) -> BTreeMap<u32, usize> {
        let mut counts = BTreeMap::new();
        for slot in slots {
            *counts.entry(*slot).or_default() += 1;
        }
        counts
    }

    #[test]
    fn the_published_test_vectors_of_the_hash() {
        // From the FNV reference: "" and "a" and "foobar".
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn sizes_grow_with_the_backends_and_end() {
        let rows = [(0, 251), (2, 251), (3, 509), (10, 1021), (655, 65_537), (9999, 65_537)];
        for (backends, size) in rows {
            assert_eq!(table_size(std::iter::repeat_n(1, backends)), size, "{backends}");
        }
        // The lightest backend of very unequal ones still has a slot.
        assert_eq!(table_size([1000, 1].into_iter()), 2039);
    }

    #[test]
    fn shares_follow_weights() {
        let weights = [4, 2, 1, 1];
        let slots = table(&backends(&weights));
        let counts = count(&slots);
        for (id, weight) in (1..).zip(weights) {
            let expected = slots.len() * weight as usize / 8;
            let actual = counts[&id];
            assert!(actual.abs_diff(expected) <= slots.len() / 64 + 1, "{id}: {actual} {expected}");
        }
    }

    #[test]
    fn the_order_of_the_list_does_not_matter() {
        let some = backends(&[3, 1, 2, 5]);
        let mut reversed = some.clone();
        reversed.reverse();
        assert_eq!(table(&some), table(&reversed));
    }

    #[test]
    fn when_one_leaves_few_others_move() {
        let all = backends(&[1; 8]);
        let (before, after) = (table(&all), table(&all[..7]));
        assert_eq!(before.len(), after.len());
        let moved = before.iter().zip(&after).filter(|(b, a)| **b != 8 && b != a).count();
        assert!(moved <= before.len() / 8, "{moved} of {} moved", before.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn everybody_has_a_slot_and_no_slot_is_empty(
            weights in prop::collection::vec(1_u32..=500, 1..30),
        ) {
            let counts = count(&table(&backends(&weights)));
            prop_assert_eq!(counts.len(), weights.len());
            prop_assert!(!counts.contains_key(&0));
        }
    }
}
