//! What was measured, beside what was to be reached: a table for people, JSON for programs.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::stats::{Spread, paired_ratios};

/// Which figures are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Lower,
    Higher,
}

/// What is to be reached.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
    const fn word(self) -> &'static str {
        match self {
            Self::Aim => "aim met",
            Self::Must => "must met",
            Self::Missed => "NOT MET",
            Self::Open => "",
        }
    }
}

/// One line of the result.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// The bar's number.
    pub(crate) id: &'static str,
    pub(crate) what: String,
    /// A ratio, unless the text names a unit.
    pub(crate) value: Spread,
    /// The ratio of the best figures of all rounds: what the median should be near to.
    pub(crate) of_minima: Option<f64>,
    pub(crate) bar: Option<Bar>,
    pub(crate) verdict: Verdict,
}

impl Row {
    /// A line, unless nothing was measured for it.
    pub(crate) fn new(
        id: &'static str,
        what: impl Into<String>,
        values: &[f64],
        bar: Option<Bar>,
    ) -> Option<Self> {
        let value = Spread::of(values)?;
        let verdict = bar.map_or(Verdict::Open, |bar| bar.verdict(value.median));
        Some(Self { id, what: what.into(), value, of_minima: None, bar, verdict })
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
        Some(Self { of_minima, ..row })
    }
}

/// What one thing measured, in all rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    /// By round.
    pub(crate) samples: Vec<f64>,
}

/// A whole run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) bench: &'static str,
    pub(crate) rounds: usize,
    pub(crate) seed: u64,
    pub(crate) rows: Vec<Row>,
    pub(crate) series: Vec<Series>,
}

impl Report {
    /// Puts the report where it was asked for: always on the terminal, as JSON into a file.
    pub(crate) fn publish(&self, json: Option<&Path>) -> Result<()> {
        print!("{}", self.table());
        let Some(path) = json else { return Ok(()) };
        let text = serde_json::to_string_pretty(self).context("the report is no JSON")?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
    }

    fn table(&self) -> String {
        let mut text = format!("\n{}: {} rounds, seed {}\n", self.bench, self.rounds, self.seed);
        let width = self.series.iter().map(|it| it.name.len()).max().unwrap_or(0);
        for Series { name, unit, samples } in &self.series {
            if let Some(spread) = Spread::of(samples) {
                line(&mut text, format_args!("  {name:width$}  {} {unit}", figures(&spread)));
            }
        }
        text.push('\n');
        let width = self.rows.iter().map(|row| row.what.len()).max().unwrap_or(0);
        for Row { id, what, value, of_minima, bar, verdict } in &self.rows {
            let bar = bar.map_or_else(String::new, |bar| {
                let sign = if bar.better == Better::Lower { "<=" } else { ">=" };
                let limit = |name, limit: Option<f64>| {
                    limit.map_or_else(String::new, |limit| format!("{name} {sign} {limit}  "))
                };
                format!("{:18}{:17}", limit("must", bar.must), limit("aim", bar.aim))
            });
            let best = of_minima.map_or_else(String::new, |ratio| format!("best {ratio:.3}"));
            let (figures, word) = (figures(value), verdict.word());
            let cells = format_args!("{id:4} {what:width$}  {figures:28}  {best:12}  {bar}{word}");
            line(&mut text, cells);
        }
        text
    }
}

/// Adds a line without blanks at its end.
fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let mut whole = String::new();
    // A string takes everything.
    if writeln!(whole, "{line}").is_ok() {
        text.push_str(whole.trim_end());
        text.push('\n');
    }
}

fn figures(spread: &Spread) -> String {
    let Spread { median, min, max } = spread;
    let digits = if *median >= 1_000.0 {
        0
    } else if *median >= 20.0 {
        1
    } else {
        3
    };
    format!("{median:>9.digits$}  ({min:.digits$} .. {max:.digits$})")
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

    #[test]
    fn the_table_says_what_was_missed() {
        let bar = Some(Bar::at_most(1.5, 1.05));
        let rows = [
            Row::quotient("P1", "established", &[68.0, 66.4, 70.2], &[40.0, 41.5, 39.0], bar),
            Row::new("A/A", "twice the same", &[1.0], None),
        ];
        let series = vec![
            Series { name: "dnat".to_owned(), unit: "ns", samples: vec![38.0, 40.0, 39.0] },
            Series { name: "nothing".to_owned(), unit: "ns", samples: vec![] },
        ];
        let rows = rows.into_iter().flatten().collect();
        let report = Report { bench: "program", rounds: 3, seed: 1, rows, series };
        let expected = "
program: 3 rounds, seed 1
  dnat          39.0  (38.0 .. 40.0) ns

P1   established         1.700  (1.600 .. 1.800)   best 1.703    must <= 1.5       aim <= 1.05      NOT MET
A/A  twice the same      1.000  (1.000 .. 1.000)
";
        assert_eq!(report.table(), expected);
    }
}
