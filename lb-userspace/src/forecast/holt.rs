//! Holt's double exponential smoothing: a level and a trend, both followed (C. C. Holt, "Forecasting
//! seasonals and trends by exponentially weighted moving averages", 1957; equations 9.4 to 9.6 of
//! Gardner, International Journal of Forecasting 22, 2006). The competitor of the grey model that
//! needs two constants, and the last value, which needs none.

use super::{SeriesError, error};

/// How fast level and trend follow, both within 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Smoothing {
    level: f64,
    trend: f64,
}

impl Smoothing {
    /// What does best on load in buckets of 15 seconds: `weir-bench forecast` compares.
    pub const LOAD: Self = Self { level: 0.8, trend: 0.4 };

    /// Both above 0 and at most 1.
    #[must_use]
    pub fn new(level: f64, trend: f64) -> Option<Self> {
        let usable = |part: f64| part > 0.0 && part <= 1.0;
        (usable(level) && usable(trend)).then_some(Self { level, trend })
    }
}

/// A level and a trend, and what they said of each value before it was known.
#[derive(Clone, Debug, PartialEq)]
pub struct Holt {
    level: f64,
    trend: f64,
    fitted: Vec<f64>,
}

impl Holt {
    /// Follows at least two values. Level and trend begin with the first two, so those two are met.
    pub fn fit(values: &[f64], smoothing: Smoothing) -> Result<Self, SeriesError> {
        error::finite(values, 2)?;
        let (mut level, mut trend) = (values[0], values[1] - values[0]);
        let mut fitted = vec![values[0]];
        for value in &values[1..] {
            let expected = level + trend;
            fitted.push(expected);
            let before = level;
            level = smoothing.level.mul_add(value - expected, expected);
            trend += smoothing.trend * (level - before - trend);
        }
        if [level, trend].iter().chain(&fitted).all(|it| it.is_finite()) {
            Ok(Self { level, trend, fitted })
        } else {
            Err(SeriesError::Degenerate)
        }
    }

    /// What was said of each value one step before it.
    #[must_use]
    pub fn fitted(&self) -> &[f64] {
        &self.fitted
    }

    /// What a step adds.
    #[must_use]
    pub const fn trend(&self) -> f64 {
        self.trend
    }

    /// The value so many steps after the last one. Beyond the range of numbers it is the largest.
    #[must_use]
    pub fn ahead(&self, steps: usize) -> f64 {
        super::real(steps).mul_add(self.trend, self.level).clamp(f64::MIN, f64::MAX)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::float_cmp, reason = "these results are exact")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn steps_by_hand() {
        let half = Smoothing::new(0.5, 0.5).unwrap();
        // 10, 12: level 12, trend 2. 14 is expected, 18 comes: level 16, trend 3. 19 is expected, 15
        // comes: level 17, trend 2.
        let holt = Holt::fit(&[10.0, 12.0, 18.0, 15.0], half).unwrap();
        assert_eq!(holt.fitted(), [10.0, 12.0, 14.0, 19.0]);
        assert_eq!([holt.ahead(0), holt.ahead(1), holt.ahead(3)], [17.0, 19.0, 23.0]);
        assert_eq!(holt.trend(), 2.0);
    }

    #[test]
    fn any_finite_series_is_followed() {
        for (series, ahead) in [
            (&[5.0, 5.0][..], 5.0),
            (&[0.0, 0.0, 0.0], 0.0),
            (&[-1.0, -2.0, -3.0], -5.0),
            (&[1.0, 0.0, -1.0, -2.0], -4.0),
        ] {
            let holt = Holt::fit(series, Smoothing::LOAD).unwrap();
            assert!((holt.ahead(2) - ahead).abs() < 1e-12, "{series:?}: {}", holt.ahead(2));
        }
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        for bad in [
            &[][..],
            &[1.0],
            &[1.0, f64::NAN],
            &[f64::INFINITY, 1.0, 2.0],
            &[f64::MAX, -f64::MAX, f64::MAX],
        ] {
            assert!(Holt::fit(bad, Smoothing::LOAD).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn constants_are_shares() {
        for (level, trend) in
            [(0.0, 0.5), (0.5, 0.0), (1.1, 0.5), (0.5, -0.1), (f64::NAN, 0.5), (0.5, f64::NAN)]
        {
            assert_eq!(Smoothing::new(level, trend), None, "{level} {trend}");
        }
        assert!(Smoothing::new(1.0, 1.0).is_some());
    }

    proptest! {
        #[test]
        fn a_straight_line_goes_on(
            first in -1e3..1e3, step in -1e2..1e2_f64, level in 0.01..=1.0, trend in 0.01..=1.0,
        ) {
            let line: Vec<f64> = (0..12).map(|k| step.mul_add(f64::from(k), first)).collect();
            let smoothing = Smoothing::new(level, trend).unwrap();
            let ahead = Holt::fit(&line, smoothing).unwrap().ahead(5);
            prop_assert!((ahead - step.mul_add(16.0, first)).abs() < 1e-6, "{ahead}");
        }

        #[test]
        fn nothing_makes_it_panic_or_leave_the_numbers(
            series in prop::collection::vec(any::<f64>(), 0..20), steps in any::<usize>(),
        ) {
            if let Ok(holt) = Holt::fit(&series, Smoothing::LOAD) {
                prop_assert!(holt.ahead(steps).is_finite());
            }
        }
    }
}
