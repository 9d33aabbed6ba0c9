//! The model of a load that goes on: fitted anew to the last values whenever one arrives.

use std::collections::VecDeque;

use super::{Accuracy, Grade, Grey, Holt, SeriesError, Smoothing, Spread, Unfit, gate};

/// How to forecast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// The grey model where it is believed, else the last value.
    Grey,
    /// Double exponential smoothing.
    Holt(Smoothing),
    /// The last value.
    Last,
}

/// What was fitted to a window.
#[derive(Clone, Debug, PartialEq)]
pub enum Model {
    /// The grey model, and how well it fits.
    Grey(Grey, Accuracy),
    /// A level and a trend.
    Holt(Holt),
    /// Nothing; with the reason where something was asked for.
    Last(Option<Unfit>),
}

/// The last values of a series, and how far off the forecasts of them were.
#[derive(Clone, Debug)]
pub struct Rolling {
    method: Method,
    size: usize,
    values: VecDeque<f64>,
    expected: Option<f64>,
    spread: Spread,
}

/// What is to be expected after the last value.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlook {
    /// The last value.
    pub last: f64,
    /// The largest value of the window.
    pub peak: f64,
    /// What the forecast is made with.
    pub model: Model,
    /// How far off forecasts of the next value have been.
    pub sigma: f64,
}

impl Rolling {
    /// An empty window of this many values.
    #[must_use]
    pub fn new(method: Method, size: usize) -> Self {
        Self { method, size, values: VecDeque::new(), expected: None, spread: Spread::default() }
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// A value is missing. A model needs values at equal distances, so the window begins again.
    pub fn gap(&mut self) {
        self.values.clear();
        self.expected = None;
    }

    /// Takes the next value and says what to expect. What is no number is a gap.
    pub fn push(&mut self, value: f64) -> Result<Outlook, SeriesError> {
        if !value.is_finite() {
            self.gap();
            return Err(SeriesError::NotFinite { index: 0, value });
        }
        if let Some(expected) = self.expected {
            self.spread.observe(value - expected);
        }
        self.values.push_back(value);
        while self.values.len() > self.size.max(1) {
            self.values.pop_front();
        }
        let window = self.values.make_contiguous();
        let model = Model::of(self.method, window);
        let outlook = Outlook {
            last: value,
            peak: window.iter().copied().fold(value, f64::max),
            model,
            sigma: self.spread.sigma(),
        };
        self.expected = Some(outlook.ahead(1));
        Ok(outlook)
    }
}

impl Model {
    fn of(method: Method, window: &[f64]) -> Self {
        match method {
            Method::Grey => match gate::gated(window) {
                Ok((grey, accuracy)) => Self::Grey(grey, accuracy),
                Err(unfit) => Self::Last(Some(unfit)),
            },
            Method::Holt(smoothing) => match Holt::fit(window, smoothing) {
                Ok(holt) => Self::Holt(holt),
                Err(error) => Self::Last(Some(error.into())),
            },
            Method::Last => Self::Last(None),
        }
    }
}

impl Outlook {
    /// The value so many steps ahead: the model's, or the last one where there is none.
    #[must_use]
    pub fn ahead(&self, steps: usize) -> f64 {
        match &self.model {
            Model::Grey(grey, _) => grey.ahead(steps),
            Model::Holt(holt) => holt.ahead(steps),
            Model::Last(_) => self.last,
        }
    }

    /// Whether a grey model of grade 2 or better says that the load will not grow.
    #[must_use]
    pub fn surely_falls(&self) -> bool {
        match &self.model {
            Model::Grey(grey, accuracy) => {
                grey.growth() <= 1.0 && accuracy.grade() <= Grade::Qualified
            }
            Model::Holt(_) | Model::Last(_) => false,
        }
    }

    /// The largest value within so many steps, and the step it belongs to. An exponential has it at
    /// one of its ends.
    #[must_use]
    pub fn peak_within(&self, steps: usize) -> (usize, f64) {
        let (near, far) = (self.ahead(1), self.ahead(steps.max(1)));
        if far > near { (steps.max(1), far) } else { (1, near) }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::float_cmp, reason = "these results are exact")]

    use proptest::prelude::*;

    use super::*;

    fn after(values: &[f64], size: usize) -> Outlook {
        let mut rolling = Rolling::new(Method::Grey, size);
        values.iter().map(|&value| rolling.push(value).unwrap()).last().unwrap()
    }

    #[test]
    fn it_forgets_what_is_older_than_the_window() {
        let mut series = vec![1.0, 500.0, 3.0];
        series.extend((0..10).map(|k| 100.0 * 1.1_f64.powi(k)));
        let outlook = after(&series, 10);
        let expected = 100.0 * 1.1_f64.powi(13);
        assert!((outlook.ahead(4) - expected).abs() < 1e-6, "{}", outlook.ahead(4));
        assert_eq!(outlook.peak, series[12]);
        assert_eq!(outlook.peak_within(4), (4, outlook.ahead(4)));
    }

    #[test]
    fn without_a_model_the_last_value_stays() {
        for series in [&[7.0][..], &[1.0, 9.0, 2.0, 8.0, 3.0], &[0.0, 0.0, 0.0, 0.0, 0.0]] {
            let outlook = after(series, 10);
            assert!(matches!(outlook.model, Model::Last(Some(_))), "{series:?}");
            assert_eq!(outlook.peak_within(9), (1, *series.last().unwrap()));
        }
    }

    #[test]
    fn what_falls_is_highest_at_once() {
        let series: Vec<f64> = (0..10).map(|k| 100.0 * 0.95_f64.powi(k)).collect();
        let outlook = after(&series, 10);
        assert_eq!(outlook.peak_within(4), (1, outlook.ahead(1)));
        assert!(outlook.ahead(1) < outlook.last && outlook.surely_falls());
    }

    #[test]
    fn other_methods_see_other_things() {
        let series = [10.0, 12.0, 14.0, 16.0, 18.0];
        for (method, ahead) in [(Method::Holt(Smoothing::LOAD), 24.0), (Method::Last, 18.0)] {
            let mut rolling = Rolling::new(method, 10);
            let outlook = series.iter().map(|&it| rolling.push(it).unwrap()).last().unwrap();
            assert!((outlook.ahead(3) - ahead).abs() < 1e-9, "{method:?}");
            assert!(!outlook.surely_falls());
        }
        let mut rolling = Rolling::new(Method::Holt(Smoothing::LOAD), 10);
        let too_short = Model::Last(Some(SeriesError::TooShort { got: 1, need: 2 }.into()));
        assert_eq!(rolling.push(5.0).unwrap().model, too_short);
    }

    #[test]
    fn a_gap_begins_again_and_residuals_stay_known() {
        let mut rolling = Rolling::new(Method::Grey, 10);
        for value in [10.0, 14.0, 10.0] {
            rolling.push(value).unwrap();
        }
        assert_eq!(rolling.len(), 3);
        for bad in [f64::NAN, f64::INFINITY] {
            assert!(rolling.push(bad).is_err(), "{bad}");
            assert!(rolling.is_empty());
        }
        let outlook = rolling.push(1000.0).unwrap();
        assert_eq!((outlook.sigma, outlook.peak), (4.0, 1000.0));
    }

    proptest! {
        #[test]
        fn whatever_comes_the_outlook_is_a_number(
            series in prop::collection::vec(any::<f64>(), 1..40), size in 0_usize..20,
            steps in 0_usize..50, grey in any::<bool>(),
        ) {
            let method = if grey { Method::Grey } else { Method::Holt(Smoothing::LOAD) };
            let mut rolling = Rolling::new(method, size);
            for value in series {
                if let Ok(outlook) = rolling.push(value) {
                    prop_assert!(outlook.peak_within(steps).1.is_finite());
                    prop_assert!(outlook.sigma.is_finite());
                }
                prop_assert!(rolling.len() <= size.max(1));
            }
        }
    }
}
