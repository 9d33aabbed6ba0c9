//! Whether a series may be described by a grey model at all, and whether a model describes it.
//!
//! The class ratio of two neighbours is `x(k-1) / x(k)`. The model is only sound while all of them
//! are within `e^(-2/(n+1))` and `e^(2/(n+1))` (Liu Sifeng, Lin Yi, "Grey Systems", 2010, section
//! 4.2): an exponential of moderate growth, with little noise.

use super::{Accuracy, Form, Grade, Grey, SeriesError, error, real};

/// A model steeper than this is not believed, however well it fits.
const STEEPEST: f64 = 1.0;
/// The shift that just passes would fail by rounding.
const MORE: f64 = 1.0 + 1e-9;

/// The class ratios of a series, and the interval they have to be in.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassRatios {
    /// One less than there are values.
    pub ratios: Vec<f64>,
    /// All have to be above this.
    pub low: f64,
    /// All have to be below this.
    pub high: f64,
}

impl ClassRatios {
    /// The ratios of at least two values, all above zero.
    pub fn of(values: &[f64]) -> Result<Self, SeriesError> {
        error::positive(values, 2)?;
        let ratios = values.windows(2).map(|pair| pair[0] / pair[1]).collect();
        let bound = 2.0 / (real(values.len()) + 1.0);
        Ok(Self { ratios, low: (-bound).exp(), high: bound.exp() })
    }

    /// The first ratio outside, by the index of its second value, and what it is.
    #[must_use]
    pub fn outside(&self) -> Option<(usize, f64)> {
        let inside = |ratio: f64| ratio > self.low && ratio < self.high;
        self.ratios
            .iter()
            .enumerate()
            .find(|&(_, &ratio)| !inside(ratio))
            .map(|(index, &ratio)| (index + 1, ratio))
    }

    /// Whether all are inside.
    #[must_use]
    pub fn pass(&self) -> bool {
        self.outside().is_none()
    }
}

/// The smallest shift, zero if none is needed, with which all class ratios of the values pass.
///
/// `(p + c) / (q + c)` is below `h` from `c = (p - h q) / (h - 1)` on, and, as the interval's ends
/// are reciprocal, above `1/h` from the same with `p` and `q` exchanged. Values at or below zero
/// are lifted above it by the way.
pub fn shift(values: &[f64]) -> Result<f64, SeriesError> {
    error::finite(values, 2)?;
    let high = (2.0 / (real(values.len()) + 1.0)).exp();
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let needed = values.windows(2).map(|pair| {
        let (more, less) = (pair[0].max(pair[1]), pair[0].min(pair[1]));
        high.mul_add(-less, more) / (high - 1.0)
    });
    let above_zero = if least > 0.0 { 0.0 } else { f64::MIN_POSITIVE - least };
    let shift = needed.fold(above_zero, f64::max) * MORE;
    if shift.is_finite() { Ok(shift) } else { Err(SeriesError::Degenerate) }
}

/// Why a series is not left to the grey model.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Unfit {
    /// It cannot be fitted.
    #[error("{0}")]
    Series(#[from] SeriesError),
    /// It jumps.
    #[error("class ratio {ratio:.4} before value {} is outside {low:.4} .. {high:.4}", index + 1)]
    ClassRatio {
        /// The second of the two values, from 0.
        index: usize,
        /// The first divided by the second.
        ratio: f64,
        /// The lower bound.
        low: f64,
        /// The upper bound.
        high: f64,
    },
    /// The model misses the values by too much.
    #[error("the model fits badly: C is {c:.3}, grade 4")]
    Grade {
        /// The ratio of posterior deviations.
        c: f64,
    },
    /// The model is too steep to be believed.
    #[error("the development coefficient {a:.3} is too steep")]
    Steep {
        /// The development coefficient.
        a: f64,
    },
}

impl Unfit {
    /// The same of a series that has so many values before this one.
    #[must_use]
    pub fn after(self, values: usize) -> Self {
        match self {
            Self::Series(error) => Self::Series(error.after(values)),
            Self::ClassRatio { index, ratio, low, high } => {
                Self::ClassRatio { index: index + values, ratio, low, high }
            }
            Self::Grade { .. } | Self::Steep { .. } => self,
        }
    }
}

/// The unbiased model of a series that deserves one: class ratios inside, grade 3 or better by C,
/// and not too steep. Its trend is damped by how well it fits: on noise a trend ends sooner than the
/// steps that are looked ahead.
pub fn gated(values: &[f64]) -> Result<(Grey, Accuracy), Unfit> {
    let grey = Grey::fit(values, Form::Unbiased)?;
    let ratios = ClassRatios::of(values)?;
    if let Some((index, ratio)) = ratios.outside() {
        let ClassRatios { low, high, .. } = ratios;
        return Err(Unfit::ClassRatio { index, ratio, low, high });
    }
    let accuracy = Accuracy::of(values, &grey.fitted())?;
    if accuracy.grade_by_c() == Grade::Bad {
        return Err(Unfit::Grade { c: accuracy.c });
    }
    if grey.a().abs() >= STEEPEST {
        return Err(Unfit::Steep { a: grey.a() });
    }
    Ok((grey.damped(accuracy.damping()), accuracy))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Expected = fn(&Unfit) -> bool;

    #[test]
    fn ratios_at_the_bounds_are_outside() {
        let bound = (2.0_f64 / 3.0).exp();
        for (pair, outside) in [
            ([1.0, 1.0], None),
            ([1.0, 1.94], None),
            ([1.94, 1.0], None),
            ([1.0, 1.95], Some(1)),
            ([1.95, 1.0], Some(1)),
            ([bound, 1.0], Some(1)),
            ([1.0, bound * (1.0 + 1e-12)], Some(1)),
        ] {
            let ratios = ClassRatios::of(&pair).unwrap();
            assert_eq!(ratios.outside().map(|(index, _)| index), outside, "{pair:?}");
            assert_eq!(ratios.pass(), outside.is_none());
        }
    }

    #[test]
    fn what_has_no_ratios_is_refused() {
        for bad in [&[][..], &[1.0], &[1.0, 0.0], &[-1.0, 1.0], &[1.0, f64::NAN]] {
            assert!(ClassRatios::of(bad).is_err(), "{bad:?}");
        }
        for bad in [&[][..], &[1.0], &[1.0, f64::NAN], &[f64::MAX, -f64::MAX]] {
            assert!(shift(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_shift_is_the_smallest_that_passes() {
        for (series, needed) in [
            (&[1.0, 1.0, 1.0, 1.0][..], false),
            (&[100.0, 110.0, 121.0, 133.0], false),
            (&[1.0, 9.0, 1.0, 9.0], true),
            (&[10155.0, 12588.0, 23480.0, 35388.0], true),
            (&[0.0, 1.0, 2.0, 3.0], true),
            (&[-5.0, -4.0, -5.0, -4.0], true),
        ] {
            let shift = shift(series).unwrap();
            assert_eq!(shift > 0.0, needed, "{series:?}");
            let passes = |shift: f64| {
                let shifted: Vec<f64> = series.iter().map(|value| value + shift).collect();
                ClassRatios::of(&shifted).is_ok_and(|ratios| ratios.pass())
            };
            assert!(passes(shift), "{series:?}");
            assert!(!needed || !passes(shift * 0.999), "{series:?}");
        }
    }

    #[test]
    fn each_gate_is_closed_by_something() {
        let growing: Vec<f64> = (0..10).map(|k| 100.0 * 1.1_f64.powi(k)).collect();
        assert!(gated(&growing).is_ok_and(|(grey, _)| grey.damping() >= 1.0));
        let mut jump = growing.clone();
        jump[6] *= 1.5;
        let noise = [100.0, 104.0, 99.0, 103.0, 98.0, 105.0, 97.0, 102.0, 99.0, 104.0];
        let mut zero = growing.clone();
        zero[3] = 0.0;
        let cases: [(&[f64], Expected); 5] = [
            (&jump, |unfit| matches!(unfit, Unfit::ClassRatio { index: 6, .. })),
            (&noise, |unfit| matches!(unfit, Unfit::Grade { c } if *c > 0.65)),
            (&zero, |unfit| matches!(unfit, Unfit::Series(SeriesError::NotPositive { .. }))),
            (&growing[..3], |unfit| matches!(unfit, Unfit::Series(SeriesError::TooShort { .. }))),
            (&[f64::NAN; 10], |unfit| {
                matches!(unfit, Unfit::Series(SeriesError::NotFinite { .. }))
            }),
        ];
        for (series, expected) in cases {
            let unfit = gated(series).unwrap_err();
            assert!(expected(&unfit), "{series:?}: {unfit}");
        }
    }

    #[test]
    fn a_reason_is_a_sentence_with_the_value() {
        let unfit = gated(&[10155.0, 12588.0, 23480.0, 35388.0]).unwrap_err();
        let text = "class ratio 0.5361 before value 3 is outside 0.6703 .. 1.4918";
        assert_eq!(unfit.to_string(), text);
    }

    proptest! {
        #[test]
        fn a_shifted_series_passes(series in prop::collection::vec(-1e6..1e6, 2..30)) {
            let shift = shift(&series).unwrap();
            let shifted: Vec<f64> = series.iter().map(|value| value + shift).collect();
            // A series that is constant at or below zero is lifted by less than it can show.
            prop_assume!(shifted.iter().all(|&value| value > 0.0));
            prop_assert!(ClassRatios::of(&shifted).unwrap().pass(), "{shift}");
        }

        #[test]
        fn what_passes_is_positive_and_moderate(
            series in prop::collection::vec(90.0..110.0, 4..12), ahead in 1_usize..8,
        ) {
            if let Ok((grey, _)) = gated(&series) {
                let value = grey.ahead(ahead);
                prop_assert!(value > 0.0 && value < 110.0 * 2.0_f64.powi(8), "{value}");
            }
        }
    }
}
