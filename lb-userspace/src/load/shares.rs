//! Shares of the traffic where a hash decides and nobody looks at queues.
//!
//! Shares proportional to capacity make all backends equally busy, which leaves the slow ones with
//! the longest queues in seconds. Mean delay is least when every backend has a reserve in
//! proportion to the root of its capacity, and the slowest perhaps nothing at all:
//! `λᵢ = Cᵢ - √Cᵢ (ΣC - Λ) / Σ√C` over those that get any. This is Kleinrock's square-root
//! assignment ("Queueing Systems" II, 5.7) seen from the side of the load; the rule for who gets
//! any is water-filling.

/// How busy the whole may be taken to be. Below, the fastest few would get everything for the sake
/// of microseconds; above, the reserves that the formula divides are nothing but error.
const LOAD_MIN: f64 = 0.3;
const LOAD_MAX: f64 = 0.98;

/// What each backend should get of `load`, in its unit, so that `Σ λᵢ / (Cᵢ - λᵢ)` is least.
/// Capacities that are not above zero get nothing. The load must be below the sum.
#[must_use]
pub fn water_fill(capacities: &[f64], load: f64) -> Vec<f64> {
    let mut filled: Vec<f64> = vec![0.0; capacities.len()];
    let mut active: Vec<bool> = capacities.iter().map(|capacity| *capacity > 0.0).collect();
    // Each round takes out somebody or is the last one.
    for _ in 0..capacities.len() {
        let of_active = || capacities.iter().zip(&active).filter(|(_, on)| **on).map(|(c, _)| *c);
        let reserve = of_active().sum::<f64>() - load;
        let roots: f64 = of_active().map(f64::sqrt).sum();
        for ((share, &capacity), on) in filled.iter_mut().zip(capacities).zip(&active) {
            *share = if *on { capacity - capacity.sqrt() * reserve / roots } else { 0.0 };
        }
        if filled.iter().all(|share| *share >= 0.0) {
            break;
        }
        for (on, share) in active.iter_mut().zip(&filled) {
            *on &= *share > 0.0;
        }
    }
    filled
}

/// Shares that sum to 1, by water-filling; nobody with a capacity falls below `floor / n`.
/// A capacity of 0 has no share. All shares are 0 if all capacities are.
#[must_use]
pub fn shares(capacities: &[f64], load: f64, floor: f64) -> Vec<f64> {
    let capacities = usable(capacities);
    let whole: f64 = capacities.iter().sum();
    if whole <= 0.0 {
        return vec![0.0; capacities.len()];
    }
    let busy = load / whole;
    let busy = if busy.is_finite() { busy.clamp(LOAD_MIN, LOAD_MAX) } else { LOAD_MAX };
    let load = busy * whole;
    let least = floor / super::sample::approximate(capacities.len() as u64);
    let with_floor = water_fill(&capacities, load)
        .into_iter()
        .zip(&capacities)
        .map(|(filled, capacity)| if *capacity > 0.0 { (filled / load).max(least) } else { 0.0 });
    normalised(with_floor.collect())
}

/// Capacities without what is no capacity, scaled so that sums are finite.
fn usable(capacities: &[f64]) -> Vec<f64> {
    let usable = |capacity: f64| capacity.is_finite() && capacity > 0.0;
    let largest = capacities.iter().copied().filter(|c| usable(*c)).fold(0.0, f64::max);
    let scale = |c: &f64| if usable(*c) { c / largest } else { 0.0 };
    // The load is relative to the capacities, so it is only scaled with them.
    if (1e-100..1e100).contains(&largest) {
        capacities.iter().map(|c| if usable(*c) { *c } else { 0.0 }).collect()
    } else {
        capacities.iter().map(scale).collect()
    }
}

/// The same proportions, with the sum 1, or all 0.
pub(crate) fn normalised(mut parts: Vec<f64>) -> Vec<f64> {
    let whole: f64 = parts.iter().sum();
    for part in &mut parts {
        *part = if whole > 0.0 { *part / whole } else { 0.0 };
    }
    parts
}

/// The part of the traffic that moves from one set of shares to another: total variation. Sets of
/// different lengths have nothing in common.
pub(crate) fn moved(old: &[f64], new: &[f64]) -> f64 {
    if old.len() != new.len() {
        return 1.0;
    }
    old.iter().zip(new).map(|(old, new)| (old - new).abs()).sum::<f64>() / 2.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Mean turns in flight of queues with these loads: what is to be least.
    fn cost(capacities: &[f64], loads: &[f64]) -> f64 {
        capacities.iter().zip(loads).map(|(c, l)| if *l > 0.0 { l / (c - l) } else { 0.0 }).sum()
    }

    #[test]
    fn the_check_vector() {
        let capacities = [1.0, 1.0, 0.5, 0.5, 0.25, 0.25];
        let filled = water_fill(&capacities, 2.45);
        let expected = [0.762_132, 0.762_132, 0.331_802, 0.331_802, 0.131_066, 0.131_066];
        for (got, expected) in filled.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-6, "{filled:?}");
        }
        assert!((cost(&capacities, &filled) - 12.557).abs() < 1e-3);
        let proportional: Vec<f64> = capacities.iter().map(|c| 0.7 * c).collect();
        assert!((cost(&capacities, &proportional) - 14.0).abs() < 1e-9);
    }

    #[test]
    fn slow_backends_get_nothing_while_the_fast_ones_have_time() {
        let filled = water_fill(&[16.0, 1.0], 4.0);
        assert!((filled[0] - 4.0).abs() < 1e-9 && filled[1] == 0.0, "{filled:?}");
    }

    #[test]
    fn odd_capacities() {
        #[rustfmt::skip]
        let table: [(&[f64], f64, &[f64]); 10] = [
            (&[],                         1.0, &[]),
            (&[0.0, 0.0],                 1.0, &[0.0, 0.0]),
            (&[5.0],                      1.0, &[1.0]),
            (&[5.0, 0.0],                 1.0, &[1.0, 0.0]),
            (&[5.0, f64::NAN],            1.0, &[1.0, 0.0]),
            (&[5.0, f64::INFINITY],       1.0, &[1.0, 0.0]),
            (&[5.0, -5.0],                1.0, &[1.0, 0.0]),
            (&[2.0, 2.0],                 f64::NAN, &[0.5, 0.5]),
            (&[2.0, 2.0],                 1e9, &[0.5, 0.5]),
            (&[1e300, 1e300],             1.0, &[0.5, 0.5]),
        ];
        for (capacities, load, expected) in table {
            let got = shares(capacities, load, 0.1);
            assert_eq!(got.len(), expected.len());
            for (got, expected) in got.iter().zip(expected) {
                assert!((got - expected).abs() < 1e-9, "{capacities:?} {load}: {got}");
            }
        }
    }

    #[test]
    fn moved_is_half_the_difference() {
        let table: [(&[f64], &[f64], f64); 4] = [
            (&[0.5, 0.5], &[0.5, 0.5], 0.0),
            (&[0.5, 0.5], &[0.6, 0.4], 0.1),
            (&[1.0, 0.0], &[0.0, 1.0], 1.0),
            (&[1.0], &[0.5, 0.5], 1.0),
        ];
        for (old, new, expected) in table {
            assert!((moved(old, new) - expected).abs() < 1e-12, "{old:?} {new:?}");
        }
    }

    /// The least cost over a grid of splits, refined around the best one.
    fn brute_force(capacities: &[f64], load: f64) -> f64 {
        fn search(capacities: &[f64], left: f64, steps: u32) -> f64 {
            let [first, rest @ ..] = capacities else { return f64::INFINITY };
            if rest.is_empty() {
                return if left < *first { cost(&[*first], &[left]) } else { f64::INFINITY };
            }
            (0..=steps)
                .map(|step| left * f64::from(step) / f64::from(steps))
                .filter(|part| part < first)
                .map(|part| cost(&[*first], &[part]) + search(rest, left - part, steps))
                .fold(f64::INFINITY, f64::min)
        }
        search(capacities, load, 30)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn conditions_of_the_optimum_hold(
            capacities in prop::collection::vec(0.01..100.0_f64, 1..12),
            busy in 0.05..0.98_f64,
        ) {
            let load = busy * capacities.iter().sum::<f64>();
            let filled = water_fill(&capacities, load);
            prop_assert!((filled.iter().sum::<f64>() - load).abs() < 1e-6 * load);
            // Karush, Kuhn, Tucker: one price C / (C - λ)² for all that get some, and those that
            // get none would have to pay more.
            let price = |(c, l): (&f64, &f64)| c / (c - l).powi(2);
            let paid: Vec<f64> = capacities.iter().zip(&filled).map(price).collect();
            let paying = || paid.iter().zip(&filled).filter(|(_, l)| **l > 0.0).map(|(p, _)| *p);
            let (low, high) = (paying().fold(f64::INFINITY, f64::min), paying().fold(0.0, f64::max));
            prop_assert!(high / low - 1.0 < 1e-6, "{low} {high}");
            for (price, load) in paid.iter().zip(&filled) {
                prop_assert!(*load >= 0.0 && (*load > 0.0 || *price >= low * (1.0 - 1e-6)));
            }
        }

        #[test]
        fn nothing_on_a_grid_is_better(
            capacities in prop::collection::vec(0.2..5.0_f64, 1..=4),
            busy in 0.1..0.9_f64,
        ) {
            let load = busy * capacities.iter().sum::<f64>();
            let best = cost(&capacities, &water_fill(&capacities, load));
            prop_assert!(best <= brute_force(&capacities, load) * (1.0 + 1e-9));
        }

        #[test]
        fn shares_sum_to_one_and_nobody_starves(
            capacities in prop::collection::vec(
                prop_oneof![4 => 1e-3..1e5_f64, 1 => Just(0.0), 1 => Just(f64::NAN)], 1..40,
            ),
            load in prop_oneof![0.0..1e6_f64, Just(f64::NAN), Just(f64::INFINITY)],
        ) {
            let got = shares(&capacities, load, 0.1);
            if capacities.iter().any(|c| *c > 0.0) {
                prop_assert!((got.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            }
            // The floors of all together are a tenth, so none loses more than that by the rest.
            let floor = 0.1 / f64::from(u32::try_from(capacities.len()).unwrap()) / 1.1;
            for (share, capacity) in got.iter().zip(&capacities) {
                let serves = *capacity > 0.0;
                prop_assert_eq!(*share > 0.0, serves);
                prop_assert!(!serves || *share >= floor - 1e-12);
            }
        }
    }
}
