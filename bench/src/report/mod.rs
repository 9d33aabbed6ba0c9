//! The common report of all sub-commands: what was measured, how sure that is, what was to be
//! reached, and what a sceptic needs to measure it again. On the terminal, as JSON, CSV and HTML.

mod compare;
mod html;
pub(crate) mod index;
mod machine;
mod peer;
mod row;
mod sheet;
mod strip;
mod text;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use self::{compare::Comparison, machine::Run};
pub(crate) use self::{
    compare::Saved,
    index::Part,
    machine::{commit, utc},
    peer::Peer,
    row::{Bar, Better, Row, Verdict},
};

/// Version of the JSON.
const FORMAT: u32 = 2;

/// What one thing measured, in all rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    /// By round.
    pub(crate) samples: Vec<f64>,
}

/// A picture.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Plot {
    pub(crate) title: String,
    /// The text of an SVG file; JSON has the samples instead.
    #[serde(skip)]
    pub(crate) svg: String,
}

/// Text in columns, of figures that are neither rows nor series.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) text: String,
}

/// A whole run. Made when it begins, filled, published.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    format: u32,
    pub(crate) bench: &'static str,
    pub(crate) rounds: usize,
    pub(crate) seed: u64,
    run: Run,
    /// What was left out and why, and whatever else a reader must know.
    pub(crate) notes: Vec<String>,
    pub(crate) rows: Vec<Row>,
    pub(crate) series: Vec<Series>,
    pub(crate) plots: Vec<Plot>,
    pub(crate) tables: Vec<Table>,
    /// Versions and configuration of everything that was compared.
    pub(crate) peers: Vec<Peer>,
    /// More figures of this sub-command, for programs.
    pub(crate) details: serde_json::Value,
}

/// Where a report goes, besides the terminal.
#[derive(Debug, clap::Args)]
pub(crate) struct Output {
    /// Also write the result, with every sample, to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write every sample as a line of this file
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Also write a page for a browser, with plots, that needs nothing but itself
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Compare with the JSON of an earlier run; a ratio that is significantly worse fails
    #[arg(long, value_name = "OLD.json", value_parser = Saved::argument)]
    compare: Option<Saved>,
    /// How much worse than then a row may be
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    tolerance: f64,
}

impl Report {
    /// Notes the machine, the time and the command: call it before anything is measured.
    pub(crate) fn begin(bench: &'static str, rounds: usize, seed: u64) -> Self {
        Self {
            format: FORMAT,
            bench,
            rounds,
            seed,
            run: Run::begin(),
            notes: Vec::new(),
            rows: Vec::new(),
            series: Vec::new(),
            plots: Vec::new(),
            tables: Vec::new(),
            peers: Vec::new(),
            details: serde_json::Value::Null,
        }
    }

    /// Puts the report where it was asked for, and always on the terminal. Fails if something is
    /// significantly worse than in the report that it is compared with.
    pub(crate) fn publish(mut self, output: &Output) -> Result<()> {
        self.run.end();
        print!("{}", text::of(&self));
        let compared = output.compare.as_ref();
        let compared = compared.map(|old| Comparison::new(&self, old, output.tolerance));
        if let Some(Ok(Comparison { title, text, .. })) = &compared {
            print!("\n{title}\n\n{text}");
            self.tables.push(Table { title: title.clone(), text: text.clone() });
        }
        if let Some(path) = &output.json {
            let text = serde_json::to_string_pretty(&self).context("the report is no JSON")?;
            write(path, &(text + "\n"))?;
        }
        if let Some(path) = &output.csv {
            write(path, &sheet::of(&self)?)?;
        }
        if let Some(path) = &output.html {
            write(path, &html::of(&self))?;
        }
        // What was measured is kept whatever it is compared with.
        let regressed = compared.transpose()?.map_or(0, |comparison| comparison.regressed);
        ensure!(regressed == 0, "{regressed} rows are significantly worse than they were");
        Ok(())
    }

    /// One of no machine in particular.
    #[cfg(test)]
    pub(crate) fn for_test(bench: &'static str, rounds: usize, seed: u64) -> Self {
        Self { run: Run::default(), ..Self::begin(bench, rounds, seed) }
    }

    /// Lowest and highest end of what was measured twice and should be 1.
    fn noise(&self) -> Option<(f64, f64)> {
        let twice = self.rows.iter().filter(|row| row.id == "A/A");
        let ends = twice.map(|row| {
            let sure = row.interval.map(|it| (it.low, it.high));
            sure.unwrap_or((row.value.min, row.value.max))
        });
        ends.reduce(|(low, high), (min, max)| (low.min(min), high.max(max)))
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// A number in as many digits as a reader wants.
fn figure(value: f64) -> String {
    let digits = match value.abs() {
        1_000.0.. => 0,
        20.0.. => 1,
        _ => 3,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_digits_that_matter() {
        for (value, text) in [
            (0.0, "0.000"),
            (1.2345, "1.234"),
            (-25.04, "-25.0"),
            (1234.5, "1234"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(figure(value), text);
        }
    }

    #[test]
    fn noise_is_what_the_same_differs_by() {
        let mut report = Report::for_test("it", 3, 1);
        assert_eq!(report.noise(), None);
        let rows = [
            Row::quotient("A/A", "one", &[1.0, 1.0], &[1.0, 1.25], None),
            Row::quotient("A/A", "other", &[1.1], &[1.0], None),
            Row::quotient("P1", "not of noise", &[9.0, 9.0], &[1.0, 1.0], None),
        ];
        report.rows = rows.into_iter().flatten().collect();
        assert_eq!(report.noise(), Some((0.8, 1.1)));
    }
}
