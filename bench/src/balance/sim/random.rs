//! Random quantities of a simulation, the same ones for a seed.

use std::f64::consts::TAU;

use crate::shuffle::Shuffle;

/// A stream of its own for each purpose, so that what a policy draws does not change what
/// arrives.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    numbers: Shuffle,
}

impl Random {
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut mixed = Shuffle::new(seed.wrapping_mul(0x9e37_79b9).wrapping_add(stream));
        Self { numbers: Shuffle::new(mixed.next()) }
    }

    /// Evenly between 0 and 1, neither of them.
    pub(crate) fn part(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are what a float has")]
        let bits = (self.numbers.next() >> 11) as f64;
        (bits + 0.5) / 9_007_199_254_740_992.0
    }

    /// One of `0..count`.
    pub(crate) fn index(&mut self, count: usize) -> usize {
        let place = (u128::from(self.numbers.next()) * count as u128) >> 64;
        usize::try_from(place).unwrap_or(0)
    }

    /// Exponential.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.part().ln()
    }

    /// Lognormal with this coefficient of variation; the normal part by Box and Muller.
    pub(crate) fn lognormal(&mut self, mean: f64, cv: f64) -> f64 {
        let variance = cv.mul_add(cv, 1.0).ln();
        let normal = (-2.0 * self.part().ln()).sqrt() * (TAU * self.part()).cos();
        mean * variance.sqrt().mul_add(normal, -variance / 2.0).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_variations_are_those_asked_for() {
        type Draw = fn(&mut Random) -> f64;
        #[rustfmt::skip]
        let table: [(&str, Draw, f64, f64); 3] = [
            ("part",        |random| random.part(),              0.5,  0.577),
            ("exponential", |random| random.exponential(3.0),    3.0,  1.0),
            ("lognormal",   |random| random.lognormal(0.02, 1.5), 0.02, 1.5),
        ];
        for (name, draw, mean, cv) in table {
            let mut random = Random::new(1, 1);
            let values: Vec<f64> = (0..400_000).map(|_| draw(&mut random)).collect();
            let count = 400_000.0;
            let got = values.iter().sum::<f64>() / count;
            let variance = values.iter().map(|value| (value - got).powi(2)).sum::<f64>() / count;
            assert!((got / mean - 1.0).abs() < 0.02, "{name}: mean {got}");
            assert!((variance.sqrt() / got / cv - 1.0).abs() < 0.06, "{name}: {variance}");
        }
    }

    #[test]
    fn streams_differ_and_seeds_repeat() {
        let first = |seed, stream| Random::new(seed, stream).part().to_bits();
        assert_eq!(first(1, 1), first(1, 1));
        assert_ne!(first(1, 1), first(1, 2));
        assert_ne!(first(1, 1), first(2, 1));
    }
}
