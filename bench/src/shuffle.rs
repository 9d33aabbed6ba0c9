//! The order in which things are measured: another one each round, the same ones for a seed.

/// A generator of 64-bit numbers (`SplitMix64`: Steele, Lea, Flood, "Fast splittable pseudorandom
/// number generators", 2014).
#[derive(Clone, Debug)]
pub(crate) struct Shuffle {
    state: u64,
}

impl Shuffle {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number, of all 64-bit numbers.
    pub(crate) const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number from 0 to `count - 1`; 0 if there is none.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        let place = (u128::from(self.next()) * (count as u128)) >> 64;
        usize::try_from(place).unwrap_or(0)
    }

    /// The numbers from 0 to `count` in random order (Fisher and Yates).
    pub(crate) fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_everything_once() {
        let mut shuffle = Shuffle::new(7);
        for count in [0, 1, 2, 17] {
            let mut order = shuffle.order(count);
            order.sort_unstable();
            assert_eq!(order, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_seed_tells_all_orders() {
        let orders = |seed| {
            let mut shuffle = Shuffle::new(seed);
            [shuffle.order(9), shuffle.order(9)]
        };
        assert_eq!(orders(1), orders(1));
        assert_ne!(orders(1), orders(2));
        let [first, second] = orders(1);
        assert_ne!(first, second);
    }

    #[test]
    fn every_place_is_taken_by_everything() {
        let mut shuffle = Shuffle::new(3);
        let mut seen = [[false; 4]; 4];
        for _ in 0..200 {
            for (place, what) in shuffle.order(4).into_iter().enumerate() {
                seen[place][what] = true;
            }
        }
        assert!(seen.iter().flatten().all(|seen| *seen));
    }
}
