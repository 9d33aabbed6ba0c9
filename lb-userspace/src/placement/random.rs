//! Random numbers that a seed tells completely.

/// A generator of 64-bit numbers (`SplitMix64`: Steele, Lea, Flood, "Fast splittable pseudorandom
/// number generators", 2014, section 3).
#[derive(Clone, Debug)]
pub(super) struct Random {
    state: u64,
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// The generator of one ant of one iteration: which thread runs it makes no difference.
    pub(super) fn new(seed: u64, iteration: u64, ant: u64) -> Self {
        let fold = |state: u64, part: u64| mix((state ^ part).wrapping_add(GOLDEN));
        Self { state: [iteration, ant].into_iter().fold(mix(seed.wrapping_add(GOLDEN)), fold) }
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// A number from 0 to `count - 1`; 0 if there is none.
    pub(super) fn below(&mut self, count: usize) -> usize {
        let place = (u128::from(self.next()) * (count as u128)) >> 64;
        usize::try_from(place).unwrap_or(0)
    }

    /// A number from 0 to 1, 1 excluded.
    pub(super) fn unit(&mut self) -> f64 {
        super::amount::real(self.next() >> 11) / 9_007_199_254_740_992.0
    }

    /// Puts the elements in random order (Fisher and Yates).
    pub(super) fn shuffle<T>(&mut self, elements: &mut [T]) {
        for last in (1..elements.len()).rev() {
            elements.swap(last, self.below(last + 1));
        }
    }
}

const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_iteration_and_ant_each_make_another_stream() {
        let first = |seed, iteration, ant| Random::new(seed, iteration, ant).next();
        let all = [first(1, 2, 3), first(2, 2, 3), first(1, 3, 3), first(1, 2, 4), first(1, 3, 2)];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[..index].contains(one), "{index}");
        }
        assert_eq!(first(1, 2, 3), first(1, 2, 3));
    }

    #[test]
    fn numbers_stay_in_their_range() {
        let mut random = Random::new(7, 0, 0);
        let mut seen = [0; 5];
        for _ in 0..1000 {
            seen[random.below(5)] += 1;
            assert!((0.0..1.0).contains(&random.unit()));
        }
        assert!(seen.iter().all(|&times| times > 100), "{seen:?}");
        assert_eq!(random.below(0), 0);
        let mut order: Vec<usize> = (0..20).collect();
        random.shuffle(&mut order);
        assert_ne!(order, (0..20).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..20).collect::<Vec<_>>());
    }
}
