use proptest::prelude::*;

use super::*;
use crate::table::tests::backends;

#[test]
fn turns_are_interleaved() {
    let table: [(&[u32], &[u32]); 9] = [
        (&[], &[]),
        (&[0], &[]),
        (&[0, 0], &[]),
        (&[7], &[1]),
        (&[1, 1, 1], &[1, 2, 3]),
        (&[500, 500], &[1, 2]),
        (&[0, 3, 0], &[2]),
        (&[2, 4], &[2, 1, 2]),
        // a a b a c a a
        (&[5, 1, 1], &[1, 1, 2, 1, 3, 1, 1]),
    ];
    for (weights, order) in table {
        assert_eq!(turns(&backends(weights)), order, "{weights:?}");
    }
}

#[test]
fn a_cycle_never_exceeds_its_limit_and_forgets_nobody() {
    let primes = [997, 991, 983, 977, 971, 967, 953, 947, 941, 937, 929, 919, 911, 907, 887, 883];
    let cases: [Vec<u32>; 5] = [
        primes.repeat(3),
        [1000, 999].repeat(300),
        [&[u32::MAX - 1][..], &[1; 10]].concat(),
        [&[1000][..], &[1; 600]].concat(),
        vec![u32::MAX, u32::MAX - 1],
    ];
    for weights in cases {
        let order = turns(&backends(&weights));
        assert!(order.len() as u64 <= TURNS_MAX, "{}", order.len());
        for id in (1..).take(weights.len()) {
            assert!(order.contains(&id), "{id} has no turn of {}", order.len());
        }
    }
}

#[test]
fn scaled_weights_keep_their_proportions() {
    let order = turns(&backends(&[2_000_003, 1_000_003]));
    let first = order.iter().filter(|&&id| id == 1).count();
    // Two thirds, to a thousandth.
    assert!((3 * first).abs_diff(2 * order.len()) * 1000 < 3 * order.len(), "{first}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn counts_are_the_weights_and_no_stretch_is_unfair(
        weights in prop::collection::vec(0_u32..=60, 1..12),
    ) {
        let order = turns(&backends(&weights));
        let total: u32 = weights.iter().sum();
        for (id, &weight) in (1..).zip(&weights) {
            let mut had = 0_u32;
            for (turn, &chosen) in (1_u32..).zip(&order) {
                had += u32::from(chosen == id);
                let due = f64::from(turn) * f64::from(weight) / f64::from(total);
                // Never further than the number of backends can be away from what is due.
                prop_assert!((f64::from(had) - due).abs() <= 12.0);
            }
            let cycles = order.len() as u64 * u64::from(weight);
            prop_assert_eq!(u64::from(had) * u64::from(total), cycles, "{} of {:?}", id, weights);
        }
    }
}
