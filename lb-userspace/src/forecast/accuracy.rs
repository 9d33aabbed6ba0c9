//! How well a model describes the series it was made of: the posterior-variance test (Deng Julong,
//! "Introduction to grey system theory", The Journal of Grey System 1, 1989) and relative errors.

use super::{SeriesError, error, largest, mean};

/// Residuals within 0.6745 deviations are half of a normal distribution's: the probable error.
const PROBABLE: f64 = 0.6745;
/// Residuals below this part of the values are rounding.
const ROUNDING: f64 = 1e-12;

/// How good a fit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Grade 1.
    Good,
    /// Grade 2.
    Qualified,
    /// Grade 3.
    Barely,
    /// Grade 4.
    Bad,
}

impl Grade {
    /// From 1, the best, to 4.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Good => 1,
            Self::Qualified => 2,
            Self::Barely => 3,
            Self::Bad => 4,
        }
    }

    /// The first grade whose condition holds.
    fn first([good, qualified, barely]: [bool; 3]) -> Self {
        match (good, qualified, barely) {
            (true, _, _) => Self::Good,
            (false, true, _) => Self::Qualified,
            (false, false, true) => Self::Barely,
            (false, false, false) => Self::Bad,
        }
    }
}

/// Measures of a fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Accuracy {
    /// The deviation of the residuals divided by that of the values; zero for a perfect fit, infinite
    /// for residuals of a constant series.
    pub c: f64,
    /// The share of residuals within 0.6745 deviations of the values.
    pub p: f64,
    /// The mean relative error, as a share, of the values after the first one, with which models
    /// begin, that are not zero; zero if there are none.
    pub mape: f64,
}

impl Accuracy {
    /// Compares values with what a model says of them. There must be as many of both, and one at least.
    pub fn of(values: &[f64], fitted: &[f64]) -> Result<Self, SeriesError> {
        error::finite(values, 1)?;
        error::finite(fitted, values.len())?;
        let residuals: Vec<f64> = values.iter().zip(fitted).map(|(x, y)| x - y).collect();
        let relative: Vec<f64> = values
            .iter()
            .zip(&residuals)
            .skip(1)
            .filter(|(value, _)| **value != 0.0)
            .map(|(value, residual)| (residual / value).abs())
            .collect();
        let mape = if relative.is_empty() { 0.0 } else { mean(&relative) };
        // Noise of the last digits would make a bad fit of a constant series that is met exactly.
        if largest(&residuals) <= ROUNDING * largest(values) {
            return Ok(Self { c: 0.0, p: 1.0, mape });
        }
        let (s1, s2) = (deviation(values), deviation(&residuals));
        let middle = mean(&residuals);
        let near = |residual: &f64| (residual - middle).abs() < PROBABLE * s1;
        let p = mean(&residuals.iter().map(|it| f64::from(u8::from(near(it)))).collect::<Vec<_>>());
        Ok(Self { c: if s1 > 0.0 { s2 / s1 } else { f64::INFINITY }, p, mape })
    }

    /// The worse of the grades by C and by P.
    #[must_use]
    pub fn grade(&self) -> Grade {
        self.grade_by_c().max(self.grade_by_p())
    }

    /// The grade by C alone.
    #[must_use]
    pub fn grade_by_c(&self) -> Grade {
        Grade::first([self.c <= 0.35, self.c <= 0.5, self.c <= 0.65])
    }

    /// The grade by P alone.
    #[must_use]
    pub fn grade_by_p(&self) -> Grade {
        Grade::first([self.p >= 0.95, self.p >= 0.8, self.p >= 0.7])
    }

    /// How much of its growth a trend that fits like this may keep from step to step: what the model
    /// explains of the variance of the values, `1 - C^2`, less what it does not, `C^2`.
    #[must_use]
    pub fn damping(&self) -> f64 {
        (2.0 * self.c).mul_add(-self.c, 1.0).clamp(0.0, 1.0)
    }

    /// The grade by the mean relative error: 1, 5 and 10 percent.
    #[must_use]
    pub fn grade_by_error(&self) -> Grade {
        Grade::first([self.mape <= 0.01, self.mape <= 0.05, self.mape <= 0.1])
    }
}

/// The deviation of the values themselves, not of what they are a sample of.
fn deviation(values: &[f64]) -> f64 {
    let unit = largest(values);
    if unit == 0.0 {
        return 0.0;
    }
    let middle = mean(&values.iter().map(|value| value / unit).collect::<Vec<_>>());
    let squares: Vec<f64> = values.iter().map(|value| (value / unit - middle).powi(2)).collect();
    mean(&squares).sqrt() * unit
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn measures_by_hand() {
        // Values deviate by sqrt(2), residuals 1, -1, 0, 0 by sqrt(0.5).
        let accuracy = Accuracy::of(&[1.0, 3.0, 3.0, 5.0], &[0.0, 4.0, 3.0, 5.0]).unwrap();
        assert!((accuracy.c - 0.5).abs() < 1e-12);
        // 1 is more than 0.6745 times 1.414.
        assert!((accuracy.p - 0.5).abs() < 1e-12);
        assert!((accuracy.mape - 1.0 / 9.0).abs() < 1e-12);
    }

    #[test]
    fn the_worse_the_fit_the_sooner_its_trend_ends() {
        for (c, damping) in
            [(0.0, 1.0), (0.1, 0.98), (0.5, 0.5), (0.65, 0.155), (0.8, 0.0), (f64::INFINITY, 0.0)]
        {
            let accuracy = Accuracy { c, p: 1.0, mape: 0.0 };
            assert!((accuracy.damping() - damping).abs() < 1e-12, "{c}");
        }
    }

    #[test]
    fn grades_are_those_of_the_books() {
        use Grade::{Bad, Barely, Good, Qualified};
        for (c, p, grade) in [
            (0.0, 1.0, Good),
            (0.35, 0.95, Good),
            (0.351, 0.95, Qualified),
            (0.35, 0.949, Qualified),
            (0.5, 0.8, Qualified),
            (0.5, 0.799, Barely),
            (0.501, 0.8, Barely),
            (0.65, 0.7, Barely),
            (0.651, 1.0, Bad),
            (0.1, 0.699, Bad),
            (f64::INFINITY, 0.0, Bad),
            (f64::NAN, f64::NAN, Bad),
        ] {
            assert_eq!(Accuracy { c, p, mape: 0.0 }.grade(), grade, "{c} {p}");
        }
        for (mape, grade) in [(0.01, Good), (0.05, Qualified), (0.1, Barely), (0.11, Bad)] {
            assert_eq!(Accuracy { c: 0.0, p: 1.0, mape }.grade_by_error(), grade, "{mape}");
        }
        assert_eq!([Good, Qualified, Barely, Bad].map(Grade::number), [1, 2, 3, 4]);
    }

    #[test]
    fn constants_and_zeros_have_an_answer() {
        for (values, fitted, c, p) in [
            (&[5.0; 4], &[5.0; 4], 0.0, 1.0),
            (&[5.0; 4], &[5.0, 5.0 + 1e-13, 5.0, 5.0], 0.0, 1.0),
            (&[5.0; 4], &[4.0, 5.0, 5.0, 5.0], f64::INFINITY, 0.0),
            (&[0.0; 4], &[0.0; 4], 0.0, 1.0),
        ] {
            let accuracy = Accuracy::of(values, fitted).unwrap();
            assert_eq!((accuracy.c, accuracy.p), (c, p), "{values:?} {fitted:?}");
            assert!(accuracy.mape.is_finite());
        }
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        for (values, fitted) in [
            (&[][..], &[][..]),
            (&[1.0, 2.0], &[1.0]),
            (&[1.0, f64::NAN], &[1.0, 2.0]),
            (&[1.0, 2.0], &[1.0, f64::INFINITY]),
        ] {
            assert!(Accuracy::of(values, fitted).is_err(), "{values:?} {fitted:?}");
        }
    }

    proptest! {
        #[test]
        fn shares_are_shares(
            pairs in prop::collection::vec((-1e300..1e300, -1e300..1e300), 1..20),
        ) {
            let (values, fitted): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            let accuracy = Accuracy::of(&values, &fitted).unwrap();
            prop_assert!((0.0..=1.0).contains(&accuracy.p));
            prop_assert!(accuracy.c >= 0.0 && accuracy.mape >= 0.0, "{accuracy:?}");
        }
    }
}
