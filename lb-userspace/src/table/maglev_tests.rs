use proptest::prelude::*;

use super::*;
use crate::table::tests::{backend, backends};

fn slots_of(table: &[u32], id: u32) -> u32 {
    count(table.iter().filter(|&&slot| slot == id))
}

fn count(items: impl Iterator) -> u32 {
    u32::try_from(items.count()).unwrap()
}

/// The paper's loop, round by round, over permutations written out in full.
fn slow(backends: &[TableBackend]) -> Vec<u32> {
    let mut sorted: Vec<_> = backends.iter().filter(|b| b.weight > 0).collect();
    sorted.sort_by_key(|b| b.identity);
    let Some(dearest) = sorted.iter().map(|b| b.weight).max() else { return vec![] };
    let size = u64::from(table_size(sorted.len()));
    let mut candidates: Vec<_> = sorted
        .iter()
        .map(|b| {
            let hash = stable_hash(format!("{}/{}", b.identity, b.identity.protocol).as_bytes());
            let (offset, skip) = ((hash >> 32) % size, (hash & 0xffff_ffff) % (size - 1) + 1);
            (b, dearest - b.weight, (0..size).map(move |j| (offset + j * skip) % size))
        })
        .collect();
    let mut table = vec![0; usize::try_from(size).unwrap()];
    let mut free = table.len();
    loop {
        for (backend, credit, permutation) in &mut candidates {
            *credit += backend.weight;
            if *credit < dearest {
                continue;
            }
            *credit -= dearest;
            let mut slots = permutation.map(|slot| usize::try_from(slot).unwrap());
            let slot = slots.find(|&slot| table[slot] == 0).unwrap();
            table[slot] = backend.id;
            free -= 1;
            if free == 0 {
                return table;
            }
        }
    }
}

#[test]
fn sizes_grow_with_the_backends_and_end() {
    #[rustfmt::skip]
    let table = [
        (0, 251), (1, 251), (2, 251), (3, 509), (5, 509), (6, 1021), (20, 2039), (21, 4093),
        (327, 32749), (328, 65537), (655, 65537), (656, 65537), (usize::MAX, 65537),
    ];
    for (backends, size) in table {
        assert_eq!(table_size(backends), size, "{backends} backends");
    }
}

#[test]
fn sizes_are_primes() {
    for size in SIZES {
        assert!((2..size).take_while(|d| d * d <= size).all(|d| size % d != 0), "{size}");
    }
}

#[test]
fn the_hash_is_the_published_one() {
    // FNV-1a of nothing is its offset basis; the finaliser is that of splitmix64.
    let splitmix_of_basis = {
        let z = 0xcbf2_9ce4_8422_2325_u128;
        let z = ((z ^ (z >> 30)) * 0xbf58_476d_1ce4_e5b9) % (1 << 64);
        let z = ((z ^ (z >> 27)) * 0x94d0_49bb_1331_11eb) % (1 << 64);
        z ^ (z >> 31)
    };
    assert_eq!(u128::from(stable_hash(b"")), splitmix_of_basis);
    assert_eq!(stable_hash(b"198.18.0.1:80/tcp"), 0xa990_b3e5_99e4_082f);
    assert_ne!(stable_hash(b"198.18.0.1:80/tcp"), stable_hash(b"198.18.0.1:80/udp"));
}

#[test]
fn one_backend_has_all_slots() {
    for weight in [1, 7, 1000, u32::MAX] {
        assert_eq!(maglev(&[backend(9, weight)]), [9; 251]);
    }
}

#[test]
fn shares_follow_weights() {
    let skewed: Vec<u32> = (0..600).map(|n| if n == 0 { 1000 } else { 1 }).collect();
    let mixed: Vec<u32> = (1..=90).collect();
    for weights in [&[1, 1][..], &[1, 2, 3], &[1, 1000], &[999, 1000, 1], &skewed, &mixed] {
        let table = maglev(&backends(weights));
        let total: u32 = weights.iter().sum();
        for (id, &weight) in (1..).zip(weights) {
            let share = f64::from(slots_of(&table, id)) / f64::from(count(table.iter()));
            let wanted = f64::from(weight) / f64::from(total);
            assert!((share - wanted).abs() <= 0.015, "{id}: {share} for {wanted} of {weights:?}");
        }
    }
}

#[test]
fn the_order_of_the_backends_does_not_matter() {
    let forth = backends(&[3, 1, 4, 1, 5, 9, 2, 6]);
    let back: Vec<_> = forth.iter().rev().copied().collect();
    assert_eq!(maglev(&forth), maglev(&back));
}

#[test]
fn ids_do_not_move_slots() {
    let here = backends(&[2, 3, 1]);
    let there: Vec<_> = here.iter().map(|b| TableBackend { id: 100 - b.id, ..*b }).collect();
    let renamed: Vec<u32> = maglev(&here).into_iter().map(|id| 100 - id).collect();
    assert_eq!(renamed, maglev(&there));
}

#[test]
fn few_slots_move_when_a_backend_leaves() {
    // Numbers of backends that do not change the table's size by losing one.
    for size in [2, 5, 10, 40, 100] {
        let before = backends(&vec![1; size]);
        let old = maglev(&before);
        for gone in [0, size / 2, size - 1] {
            let mut after = before.clone();
            let gone = after.remove(gone).id;
            let moved = old.iter().zip(maglev(&after)).filter(|&(&a, b)| a != gone && a != b);
            let moved = f64::from(count(moved)) / f64::from(count(old.iter()));
            assert!(moved <= 0.05, "{moved} moved without need when 1 of {size} left");
        }
    }
}

#[test]
fn another_weight_moves_few_slots() {
    let old = maglev(&backends(&[10; 10]));
    let mut weights = [10; 10];
    weights[3] = 11;
    let moved = old.iter().zip(maglev(&backends(&weights))).filter(|&(&a, b)| a != b).count();
    assert!(moved * 10 <= old.len(), "{moved} of {}", old.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_equals_the_slow_one(weights in prop::collection::vec(0_u32..=1000, 0..30)) {
        let backends = backends(&weights);
        prop_assert_eq!(maglev(&backends), slow(&backends));
    }

    #[test]
    fn only_and_all_backends_with_weight_have_slots(
        weights in prop::collection::vec(prop_oneof![Just(0_u32), Just(1), 1_u32..=1000], 1..80),
    ) {
        let table = maglev(&backends(&weights));
        for (id, &weight) in (1..).zip(&weights) {
            prop_assert_eq!(slots_of(&table, id) > 0, weight > 0, "{} of {:?}", id, weights);
        }
    }
}
