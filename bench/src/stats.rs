//! The statistics of a bench whose machine is never quiet: medians, and ratios of what was
//! measured side by side.
//!
//! A slow moment of the machine hits everything that is measured in the same round. The ratio of
//! two figures of one round is therefore steadier than either of them, and the median of these
//! ratios steadier than the ratio of two medians.

use serde::{Deserialize, Serialize};

use crate::shuffle::Shuffle;

/// Middle and ends of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// The spread of what is finite among `values`; `None` if nothing is.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let sorted = sorted(values);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        Some(Self { median: quantile(&sorted, 0.5)?, min, max })
    }
}

/// Where the median of what was sampled is with a probability of 95 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Interval {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Interval {
    /// By the percentile bootstrap (Efron, "Bootstrap methods: another look at the jackknife",
    /// 1979): the medians of many samples drawn from the sample. The draws are the same ones for
    /// the same values. One value says nothing of how sure it is.
    pub(crate) fn of_median(values: &[f64]) -> Option<Self> {
        const DRAWS: usize = 4_000;
        let values = sorted(values);
        if values.len() < 2 {
            return None;
        }
        let mut shuffle = Shuffle::new(0x0b00_7574);
        let mut drawn = vec![0.0; values.len()];
        let mut medians = Vec::with_capacity(DRAWS);
        for _ in 0..DRAWS {
            drawn.fill_with(|| values[shuffle.below(values.len())]);
            medians.extend(median(&drawn));
        }
        medians.sort_by(f64::total_cmp);
        Some(Self { low: quantile(&medians, 0.025)?, high: quantile(&medians, 0.975)? })
    }
}

/// The finite values in rising order.
fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// A quantile of sorted values, between two of them in proportion.
fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    #[expect(clippy::cast_precision_loss, reason = "samples are few")]
    let place = q.clamp(0.0, 1.0) * last as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between zero and the last index"
    )]
    let below = place as usize;
    let low = *sorted.get(below)?;
    let high = sorted.get(below + 1).copied().unwrap_or(low);
    Some((high - low).mul_add(place.fract(), low))
}

/// The median of the finite values.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    quantile(&sorted(values), 0.5)
}

/// A quantile of the finite values.
pub(crate) fn quantile_of(values: &[f64], q: f64) -> Option<f64> {
    quantile(&sorted(values), q)
}

/// The mean of the lower half: what a program takes when nothing disturbs it, finer than the whole
/// nanoseconds that the kernel counts in.
pub(crate) fn low_mean(values: &[f64]) -> Option<f64> {
    let mut low = sorted(values);
    low.truncate(low.len().div_ceil(2));
    if low.is_empty() {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "samples are few")]
    let count = low.len() as f64;
    Some(low.iter().sum::<f64>() / count)
}

/// The ratios of figures of the same round. A round that lacks one of the two, or whose divisor is
/// not above zero, has none.
pub(crate) fn paired_ratios(dividends: &[f64], divisors: &[f64]) -> Vec<f64> {
    let pairs = dividends.iter().zip(divisors);
    let usable = pairs.filter(|(a, b)| a.is_finite() && b.is_finite() && **b > 0.0);
    usable.map(|(a, b)| a / b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        let cases: [(&[f64], Option<f64>); 7] = [
            (&[], None),
            (&[f64::NAN], None),
            (&[f64::INFINITY, f64::NAN], None),
            (&[3.0], Some(3.0)),
            (&[9.0, 1.0, 5.0], Some(5.0)),
            (&[4.0, 1.0, 2.0, 3.0], Some(2.5)),
            (&[1.0, f64::NAN, 3.0], Some(2.0)),
        ];
        for (values, expected) in cases {
            assert_eq!(median(values), expected, "{values:?}");
        }
    }

    #[test]
    fn intervals_of_medians() {
        let of = |values: &[f64]| Interval::of_median(values);
        for nothing in [&[][..], &[1.0], &[f64::NAN, 1.0], &[f64::INFINITY]] {
            assert_eq!(of(nothing), None, "{nothing:?}");
        }
        assert_eq!(of(&[2.0, 2.0, 2.0]), Some(Interval { low: 2.0, high: 2.0 }));
        assert_eq!(of(&[1.0, 3.0]), Some(Interval { low: 1.0, high: 3.0 }));
        let calm: Vec<f64> = (0..11).map(|round| 1.0 + 0.01 * f64::from(round)).collect();
        let outliers = [&calm[..9], &[90.0, -70.0]].concat();
        for values in [calm, outliers] {
            let Interval { low, high } = of(&values).unwrap();
            let middle = median(&values).unwrap();
            assert!(1.0 <= low && low < middle && middle < high && high <= 1.1, "{low} {high}");
            assert_eq!(of(&values), Some(Interval { low, high }), "the same draws");
        }
    }

    #[test]
    fn quantiles_stay_inside() {
        let sorted = [1.0, 2.0, 3.0, 4.0, 5.0];
        let cases = [(-1.0, 1.0), (0.0, 1.0), (0.25, 2.0), (0.6, 3.4), (1.0, 5.0), (7.0, 5.0)];
        for (q, expected) in cases {
            assert_eq!(quantile(&sorted, q), Some(expected), "{q}");
        }
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn the_lower_half_is_not_moved_by_outliers() {
        assert_eq!(low_mean(&[60.0, 61.0, 500.0, 9_000.0]), Some(60.5));
        assert_eq!(low_mean(&[60.0]), Some(60.0));
        assert_eq!(low_mean(&[60.0, 61.0, 62.0]), Some(60.5));
        assert_eq!(low_mean(&[]), None);
        assert_eq!(low_mean(&[f64::NAN]), None);
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        // The second round was twice as slow for both.
        assert_eq!(paired_ratios(&[10.0, 20.0], &[5.0, 10.0]), [2.0, 2.0]);
        let cases: [(&[f64], &[f64]); 5] = [
            (&[], &[]),
            (&[1.0], &[]),
            (&[1.0], &[0.0]),
            (&[1.0], &[-2.0]),
            (&[f64::NAN, f64::INFINITY], &[1.0, 1.0]),
        ];
        for (dividends, divisors) in cases {
            assert!(paired_ratios(dividends, divisors).is_empty(), "{dividends:?} {divisors:?}");
        }
    }

    #[test]
    fn a_spread_has_its_ends() {
        let spread = Spread::of(&[2.0, 1.0, 4.0]).unwrap();
        assert_eq!(spread, Spread { median: 2.0, min: 1.0, max: 4.0 });
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[f64::NAN]), None);
    }
}
