//! GM(1,1): one first-order equation for the running sum of a series (Deng Julong, "Control
//! problems of grey systems", Systems & Control Letters 1(5), 1982).
//!
//! With the running sums `x1(k)` and the mean `z(k)` of each two neighbours, least squares find `a`
//! and `b` of `x(k) + a z(k) = b`. Two forms make values of them:
//!
//! - *classic*: the solution of `dx1/dt + a x1 = b` through the first value. Between `k-1` and `k`
//!   the integral of `x1` is not `z(k)`, so even a pure exponential comes back with another growth.
//! - *unbiased*: the solution of the difference equation that was fitted. For `x(k) = A q^(k-1)` the
//!   sums give `x(k) = 2 (q-1)/(q+1) z(k) + 2A/(q+1)` exactly, hence `a = 2 (1-q)/(1+q)` and
//!   `b = 2A/(q+1)`; solved for the series, `q = (2-a)/(2+a)` and `A = 2b/(2+a)`.
//!
//! `|a| < 2` for every positive series: both `x1(k-1)` and `x1(k)` grow with `z(k)`, and
//! `x(k) = 2 (z(k) - x1(k-1)) = 2 (x1(k) - z(k))`, so the slope of `x` over `z` is between -2 and 2.

use serde::Serialize;

use super::{error, error::SeriesError, largest, mean, real};

/// Fewer values than these determine nothing: three equations for two unknowns.
pub const VALUES_MIN: usize = 4;
/// Below this a series neither grows nor falls, and `b / a` would lose all digits.
const FLAT: f64 = 1e-9;
/// A growth of 39 from one value to the next; beyond it `2 + a` loses its digits.
const STEEPEST: f64 = 1.9;
/// `e^50` is `5e21`: more than a series in `f64` can follow with any digit left.
const EXPONENT_MAX: f64 = 50.0;

/// How values are made of `a` and `b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// By the whitening equation, as in the textbooks.
    Classic,
    /// By the difference equation that was fitted: exact for pure exponentials.
    Unbiased,
}

/// A fitted model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grey {
    form: Form,
    a: f64,
    /// In units of `scale`, as is `first`.
    b: f64,
    first: f64,
    scale: f64,
    values: usize,
    shift: f64,
    damping: f64,
}

/// How far ahead a model may be believed, by its growth (Liu Sifeng, Lin Yi, "Grey Systems", 2010,
/// section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// `-a <= 0.3`.
    Long,
    /// `-a <= 0.5`.
    Short,
    /// `-a <= 0.8`.
    Cautious,
    /// `-a <= 1`: only with a correction by the residuals.
    Corrected,
    /// Steeper.
    None,
}

impl Grey {
    /// Fits a model to at least four values, all above zero.
    pub fn fit(values: &[f64], form: Form) -> Result<Self, SeriesError> {
        error::positive(values, VALUES_MIN)?;
        // Units of the largest value: no sum overflows, whatever the series counts.
        let scale = largest(values);
        let scaled: Vec<f64> = values.iter().map(|value| value / scale).collect();
        let (background, rest) = (background(&scaled), &scaled[1..]);
        // The usual quotients of sums, about the means: the same, with more digits.
        let (z_mean, x_mean) = (mean(&background), mean(rest));
        let (mut zz, mut zx) = (0.0, 0.0);
        for (z, x) in background.iter().zip(rest) {
            zz += (z - z_mean) * (z - z_mean);
            zx += (z - z_mean) * (x - x_mean);
        }
        if zz <= 0.0 {
            return Err(SeriesError::Degenerate);
        }
        let a = -zx / zz;
        if a.abs() * real(values.len()) >= EXPONENT_MAX {
            return Err(SeriesError::TooSteep { a, values: values.len() });
        }
        let b = a.mul_add(z_mean, x_mean);
        let first = scaled[0];
        Ok(Self { form, a, b, first, scale, values: values.len(), shift: 0.0, damping: 1.0 })
    }

    /// Fits a model to the values plus `shift`, and takes it off again what the model says. A large
    /// shift makes every class ratio pass; it also turns the exponential into a straight line.
    pub fn fit_shifted(values: &[f64], shift: f64, form: Form) -> Result<Self, SeriesError> {
        let shifted: Vec<f64> = values.iter().map(|value| value + shift).collect();
        Ok(Self { shift, ..Self::fit(&shifted, form)? })
    }

    /// The same with a trend that fades: of the steps ahead each one keeps this part, from 0 to 1, of
    /// the growth of the one before it (Gardner et al., "Forecasting trends in time series",
    /// Management Science 31(10), 1985). With 1 it goes on as it is, with 0 it ends after a step.
    #[must_use]
    pub const fn damped(self, damping: f64) -> Self {
        Self { damping: damping.clamp(0.0, 1.0), ..self }
    }

    /// The part of its growth that each step ahead keeps.
    #[must_use]
    pub const fn damping(&self) -> f64 {
        self.damping
    }

    /// The development coefficient: below zero for what grows.
    #[must_use]
    pub const fn a(&self) -> f64 {
        self.a
    }

    /// The grey input, in the units of the series.
    #[must_use]
    pub fn b(&self) -> f64 {
        self.b * self.scale
    }

    /// What was added to the values.
    #[must_use]
    pub const fn shift(&self) -> f64 {
        self.shift
    }

    /// Its form.
    #[must_use]
    pub const fn form(&self) -> Form {
        self.form
    }

    /// By what a value is multiplied from one to the next.
    #[must_use]
    pub fn growth(&self) -> f64 {
        match self.form {
            Form::Classic => (-self.a).exp(),
            Form::Unbiased => {
                let a = self.a.clamp(-STEEPEST, STEEPEST);
                (2.0 - a) / (2.0 + a)
            }
        }
    }

    /// The values of the model where the series is known.
    #[must_use]
    pub fn fitted(&self) -> Vec<f64> {
        (0..self.values).map(|k| self.value(real(k))).collect()
    }

    /// The value so many steps after the last one of the series. Beyond the range of numbers it is
    /// the largest of them.
    #[must_use]
    pub fn ahead(&self, steps: usize) -> f64 {
        let last = real(self.values.saturating_sub(1));
        self.value(last + self.steps_of_growth(steps))
    }

    /// So many steps ahead the series has grown as it would have in so many without damping: the sum
    /// of the first powers of the damping.
    fn steps_of_growth(&self, steps: usize) -> f64 {
        if self.damping >= 1.0 {
            return real(steps);
        }
        (1.0 - self.damping.powf(real(steps))) / (1.0 - self.damping)
    }

    /// How far ahead it may be believed.
    #[must_use]
    pub fn reach(&self) -> Reach {
        match -self.a {
            ..=0.3 => Reach::Long,
            ..=0.5 => Reach::Short,
            ..=0.8 => Reach::Cautious,
            ..=1.0 => Reach::Corrected,
            _ => Reach::None,
        }
    }

    /// The value so many steps after the first.
    fn value(&self, steps: f64) -> f64 {
        let value = match self.form {
            Form::Classic if steps <= 0.0 => self.first,
            Form::Classic if self.a.abs() < FLAT => self.b,
            Form::Classic => {
                let begin = -self.a.exp_m1() * (self.first - self.b / self.a);
                grown(begin, (-self.a * steps).exp())
            }
            Form::Unbiased => {
                let a = self.a.clamp(-STEEPEST, STEEPEST);
                grown(2.0 * self.b / (2.0 + a), self.growth().powf(steps))
            }
        };
        value.mul_add(self.scale, -self.shift).clamp(f64::MIN, f64::MAX)
    }
}

/// Nothing stays nothing, however far away.
fn grown(begin: f64, factor: f64) -> f64 {
    if begin == 0.0 { 0.0 } else { begin * factor }
}

/// The mean of each two neighbours among the running sums.
fn background(values: &[f64]) -> Vec<f64> {
    let mut sum = values[0];
    let rest = values[1..].iter().map(|value| {
        let before = sum;
        sum += value;
        f64::midpoint(before, sum)
    });
    rest.collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::float_cmp, reason = "these results are exact")]

    use proptest::prelude::*;

    use super::*;

    type Expected = fn(&SeriesError) -> bool;

    fn exponential(first: f64, growth: f64, values: usize) -> Vec<f64> {
        (0..values).map(|k| first * growth.powf(real(k))).collect()
    }

    fn close(one: f64, other: f64, part: f64) -> bool {
        (one - other).abs() <= part * other.abs()
    }

    #[test]
    fn the_unbiased_form_returns_a_pure_exponential_and_the_classic_one_does_not() {
        // Four steps ahead the classic form is off by so much.
        for (growth, values, classic) in [(2.0, 10, 0.6897), (1.3, 8, 0.9788), (0.7, 8, 1.0290)] {
            let series = exponential(1.0, growth, values);
            let truth = growth.powf(real(values + 3));
            let unbiased = Grey::fit(&series, Form::Unbiased).unwrap();
            assert!(close(unbiased.growth(), growth, 1e-12), "{growth}");
            assert!(close(unbiased.ahead(4), truth, 1e-9), "{growth}");
            let share = Grey::fit(&series, Form::Classic).unwrap().ahead(4) / truth;
            assert!(close(share, classic, 1e-3), "{growth}: {share}");
        }
    }

    #[test]
    fn a_damped_trend_fades_and_the_series_itself_stays() {
        let grey = Grey::fit(&exponential(1.0, 2.0, 8), Form::Unbiased).unwrap();
        let last = 2.0_f64.powi(7);
        // One step, the half of one, a quarter: two in the end.
        for (damping, steps, growth) in [
            (1.0, 3, 3.0),
            (0.5, 1, 1.0),
            (0.5, 2, 1.5),
            (0.5, 3, 1.75),
            (0.5, 1000, 2.0),
            (0.0, 1, 1.0),
            (0.0, 1000, 1.0),
            (0.5, 0, 0.0),
            // Out of bounds: as at the bound.
            (7.0, 3, 3.0),
            (-7.0, 9, 1.0),
        ] {
            let damped = grey.damped(damping);
            let expected = last * f64::exp2(growth);
            assert!(close(damped.ahead(steps), expected, 1e-9), "{damping} {steps}");
            assert_eq!((damped.fitted(), damped.a()), (grey.fitted(), grey.a()));
        }
    }

    #[test]
    fn a_constant_series_stays_what_it_is() {
        for value in [1e-300, 0.5, 1.0, 100.0, 1e300] {
            for form in [Form::Classic, Form::Unbiased] {
                let grey = Grey::fit(&[value; 7], form).unwrap();
                assert!(close(grey.ahead(9), value, 1e-9), "{value} {form:?}");
                assert_eq!(grey.reach(), Reach::Long);
            }
        }
    }

    #[test]
    fn what_cannot_be_fitted_is_named() {
        use SeriesError::{Degenerate, NotFinite, NotPositive, TooShort, TooSteep};
        let steep: Vec<f64> = exponential(1e-9, 5.0, 60);
        let cases: [(&[f64], Expected); 11] = [
            (&[], |e| *e == TooShort { got: 0, need: 4 }),
            (&[1.0, 2.0, 3.0], |e| *e == TooShort { got: 3, need: 4 }),
            (&[1.0, f64::NAN, 3.0, 4.0], |e| matches!(e, NotFinite { index: 1, .. })),
            (&[1.0, 2.0, 3.0, f64::INFINITY], |e| matches!(e, NotFinite { index: 3, .. })),
            (&[f64::NEG_INFINITY, 2.0, 3.0, 4.0], |e| matches!(e, NotFinite { index: 0, .. })),
            (&[f64::NAN], |e| matches!(e, NotFinite { index: 0, .. })),
            (&[1.0, 2.0, 0.0, 4.0], |e| *e == NotPositive { index: 2, value: 0.0 }),
            (&[1.0, -2.0, 3.0, 4.0], |e| *e == NotPositive { index: 1, value: -2.0 }),
            (&[0.0; 5], |e| *e == NotPositive { index: 0, value: 0.0 }),
            (&[1e300, 1e-300, 1e-300, 1e-300], |e| *e == Degenerate),
            (&steep, |e| matches!(e, TooSteep { values: 60, .. })),
        ];
        for (series, expected) in cases {
            let error = Grey::fit(series, Form::Unbiased).unwrap_err();
            assert!(expected(&error), "{series:?}: {error}");
        }
    }

    #[test]
    fn errors_count_from_one() {
        let text = |series: &[f64]| Grey::fit(series, Form::Classic).unwrap_err().to_string();
        assert_eq!(text(&[1.0]), "too short: 1 of at least 4 values");
        assert_eq!(text(&[1.0, f64::NAN]), "value 2 is NaN, not a finite number");
        let negative = "value 1 is -1, the grey model needs values above zero";
        assert_eq!(text(&[-1.0, 1.0, 1.0, 1.0]), negative);
    }

    #[test]
    fn growth_limits_the_reach() {
        for (growth, reach) in [
            (0.5, Reach::Long),
            (1.3, Reach::Long),
            (1.5, Reach::Short),
            (2.0, Reach::Cautious),
            (2.9, Reach::Corrected),
            (4.0, Reach::None),
        ] {
            let grey = Grey::fit(&exponential(1.0, growth, 6), Form::Unbiased).unwrap();
            assert_eq!(grey.reach(), reach, "{growth}: {}", grey.a());
        }
    }

    #[test]
    fn a_forecast_far_away_is_still_a_number() {
        let grey = Grey::fit(&exponential(1e300, 2.0, 8), Form::Unbiased).unwrap();
        assert_eq!(grey.ahead(usize::MAX), f64::MAX);
        let falling = Grey::fit(&exponential(1.0, 0.5, 8), Form::Unbiased).unwrap();
        assert_eq!(falling.ahead(usize::MAX), 0.0);
        // All that grows is the last value, and b is zero.
        let late = Grey::fit(&[4e-72, 2e-289, 3e-162, 9e296], Form::Classic).unwrap();
        assert_eq!(late.ahead(usize::MAX), 0.0);
    }

    #[test]
    fn a_shift_is_taken_off_again() {
        let straight = [10.0, 12.0, 14.0, 16.0, 18.0];
        let grey = Grey::fit_shifted(&straight, 1e5, Form::Unbiased).unwrap();
        assert!(close(grey.ahead(3), 24.0, 1e-3), "{}", grey.ahead(3));
        assert_eq!(grey.shift(), 1e5);
    }

    fn any_series() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(prop_oneof![1e-6..1e6, 0.5..1.5], 4..16)
    }

    proptest! {
        #[test]
        fn exponentials_come_back(
            first in 1e-3..1e6, growth in 0.2..5.0, values in 4_usize..12, ahead in 1_usize..6,
        ) {
            let grey = Grey::fit(&exponential(first, growth, values), Form::Unbiased).unwrap();
            let truth = first * growth.powf(real(values + ahead - 1));
            prop_assert!(close(grey.ahead(ahead), truth, 1e-6), "{} {truth}", grey.ahead(ahead));
        }

        #[test]
        fn the_coefficient_is_between_minus_two_and_two(series in any_series()) {
            let grey = Grey::fit(&series, Form::Classic).unwrap();
            prop_assert!(grey.a().abs() <= 2.0 + 1e-9, "{}", grey.a());
        }

        #[test]
        fn the_unit_of_the_series_does_not_matter(series in any_series(), unit in 1e-3..1e3_f64) {
            for form in [Form::Classic, Form::Unbiased] {
                let here = Grey::fit(&series, form).unwrap();
                let other: Vec<f64> = series.iter().map(|value| value * unit).collect();
                let there = Grey::fit(&other, form).unwrap();
                prop_assert!((here.a() - there.a()).abs() < 1e-7);
                prop_assert!((here.b() * unit - there.b()).abs() <= 1e-7 * largest(&other));
            }
        }

        #[test]
        fn nothing_makes_it_panic_or_leave_the_numbers(
            series in prop::collection::vec(any::<f64>(), 0..20), steps in any::<usize>(),
        ) {
            for form in [Form::Classic, Form::Unbiased] {
                if let Ok(grey) = Grey::fit(&series, form) {
                    prop_assert!(grey.ahead(steps).is_finite());
                    prop_assert!(grey.fitted().iter().all(|value| value.is_finite()));
                }
            }
        }
    }
}
