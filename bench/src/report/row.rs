//! One line of a result: a figure, how sure it is, and what was to be reached.

use serde::{Deserialize, Serialize};

use crate::stats::{Interval, Spread, paired_ratios};

/// Which figures are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Lower,
    Higher,
}

/// What is to be reached.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bar {
    pub(crate) better: Better,
    pub(crate) must: Option<f64>,
    pub(crate) aim: Option<f64>,
}

impl Bar {
    pub(crate) const fn at_most(must: f64, aim: f64) -> Self {
        Self { better: Better::Lower, must: Some(must), aim: Some(aim) }
    }

    pub(crate) const fn at_least(must: f64, aim: f64) -> Self {
        Self { better: Better::Higher, must: Some(must), aim: Some(aim) }
    }

    /// No height, but a direction: less is better.
    pub(crate) const LOWER: Self = Self { better: Better::Lower, must: None, aim: None };
    /// The same the other way.
    pub(crate) const HIGHER: Self = Self { better: Better::Higher, must: None, aim: None };

    pub(crate) const fn sign(&self) -> &'static str {
        match self.better {
            Better::Lower => "<=",
            Better::Higher => ">=",
        }
    }

    fn verdict(&self, value: f64) -> Verdict {
        let reaches = |limit: Option<f64>| {
            limit.map(|limit| match self.better {
                Better::Lower => value <= limit,
                Better::Higher => value >= limit,
            })
        };
        match (reaches(self.must), reaches(self.aim)) {
            (Some(false), _) | (None, Some(false)) => Verdict::Missed,
            (_, Some(true)) => Verdict::Aim,
            (Some(true), _) => Verdict::Must,
            (None, None) => Verdict::Open,
        }
    }
}

/// Whether a bar was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// As good as the design allows.
    Aim,
    /// Good enough.
    Must,
    Missed,
    /// There is no bar.
    Open,
}

impl Verdict {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Aim => "aim met",
            Self::Must => "must met",
            Self::Missed => "NOT MET",
            Self::Open => "",
        }
    }
}

/// How far a figure can be carried to another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Measure {
    /// Of two things measured side by side: the machine cancels out.
    Ratio,
    /// With a unit, from a clock: of this machine and this day.
    Figure,
    /// The same wherever it is asked: a size, a simulation.
    Exact,
}

/// One line of the result.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// The bar's number.
    pub(crate) id: &'static str,
    pub(crate) what: String,
    pub(crate) measure: Measure,
    pub(crate) value: Spread,
    /// Where the median is with a probability of 95 %.
    pub(crate) interval: Option<Interval>,
    /// The ratio of the best figures of all rounds: what the median should be near to.
    pub(crate) of_minima: Option<f64>,
    pub(crate) bar: Option<Bar>,
    pub(crate) verdict: Verdict,
    /// By round; a round that lacks what is compared has none.
    pub(crate) samples: Vec<f64>,
}

impl Row {
    /// A line of figures with a unit, unless nothing was measured for it.
    pub(crate) fn new(
        id: &'static str,
        what: impl Into<String>,
        values: &[f64],
        bar: Option<Bar>,
    ) -> Option<Self> {
        let value = Spread::of(values)?;
        let samples: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        Some(Self {
            id,
            what: what.into(),
            measure: Measure::Figure,
            value,
            interval: Interval::of_median(&samples),
            of_minima: None,
            bar,
            verdict: bar.map_or(Verdict::Open, |bar| bar.verdict(value.median)),
            samples,
        })
    }

    /// A line for one series divided by another.
    pub(crate) fn quotient(
        id: &'static str,
        what: impl Into<String>,
        of: &[f64],
        by: &[f64],
        bar: Option<Bar>,
    ) -> Option<Self> {
        let row = Self::new(id, what, &paired_ratios(of, by), bar)?;
        let minima = [of, by].map(|samples| Spread::of(samples).map(|it| it.min));
        let of_minima = match minima {
            [Some(of), Some(by)] if by > 0.0 => Some(of / by),
            _ => None,
        };
        Some(Self { of_minima, measure: Measure::Ratio, ..row })
    }

    /// The same line for figures that were divided already.
    pub(crate) fn into_ratio(self) -> Self {
        Self { measure: Measure::Ratio, ..self }
    }

    /// The same line for what is equal on every machine. One value is then as sure as many.
    pub(crate) fn into_exact(self) -> Self {
        let Spread { median, .. } = self.value;
        let interval = self.interval.or(Some(Interval { low: median, high: median }));
        Self { measure: Measure::Exact, interval, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_two_heights() {
        let only = |must, aim| Bar { better: Better::Lower, must, aim };
        let cases = [
            (Bar::at_most(1.5, 1.05), 1.0, Verdict::Aim),
            (Bar::at_most(1.5, 1.05), 1.05, Verdict::Aim),
            (Bar::at_most(1.5, 1.05), 1.2, Verdict::Must),
            (Bar::at_most(1.5, 1.05), 1.51, Verdict::Missed),
            (Bar::at_least(1.6, 1.9), 2.0, Verdict::Aim),
            (Bar::at_least(1.6, 1.9), 1.7, Verdict::Must),
            (Bar::at_least(1.6, 1.9), 1.5, Verdict::Missed),
            (only(Some(1.2), None), 1.1, Verdict::Must),
            (only(Some(1.2), None), 1.3, Verdict::Missed),
            (only(None, Some(1.2)), 1.1, Verdict::Aim),
            (only(None, Some(1.2)), 1.3, Verdict::Missed),
            (only(None, None), 1.3, Verdict::Open),
            (Bar::at_most(1.5, 1.05), f64::NAN, Verdict::Missed),
        ];
        for (bar, value, expected) in cases {
            assert_eq!(bar.verdict(value), expected, "{bar:?} {value}");
        }
    }

    #[test]
    fn nothing_measured_is_no_row() {
        assert!(Row::new("P1", "established", &[], None).is_none());
        assert!(Row::new("P1", "established", &[f64::NAN], None).is_none());
    }
}
