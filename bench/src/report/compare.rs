//! This run beside an earlier one: what changed, and whether more than chance would have it.
//!
//! Only ratios, and what is the same everywhere, can be compared across days and machines. A row has
//! regressed if its interval and the old one have nothing in common, and it is worse by more than
//! the tolerance.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use lb_userspace::cli::table::{
    Align::{Left, Right},
    Table,
};

use super::{Bar, Better, FORMAT, Report, Row, Verdict, figure, machine::Machine, row::Measure};
use crate::stats::Interval;

/// An earlier report, as its JSON has it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Saved {
    pub(crate) bench: String,
    pub(crate) run: SavedRun,
    pub(crate) rows: Vec<SavedRow>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SavedRun {
    pub(crate) date: String,
    pub(crate) commit: String,
    pub(crate) machine: Machine,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SavedRow {
    pub(crate) id: String,
    pub(crate) what: String,
    pub(crate) value: Middle,
    pub(crate) interval: Option<Interval>,
    pub(crate) bar: Option<Bar>,
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Middle {
    pub(crate) median: f64,
}

impl Saved {
    /// Reads a file that `--json` wrote.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    /// For the command line: a file that is none is better told before an hour of measuring.
    pub(super) fn argument(path: &str) -> Result<Self, String> {
        Self::read(Path::new(path)).map_err(|error| format!("{error:#}"))
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let version: Version = serde_json::from_str(text).context("not a report of this bench")?;
        let format = version.format;
        ensure!(format == FORMAT, "a report of format {format}; this bench reads {FORMAT}");
        serde_json::from_str(text).context("not a report of this bench")
    }

    fn row(&self, id: &str, what: &str) -> Option<&SavedRow> {
        self.rows.iter().find(|row| row.id == id && row.what == what)
    }
}

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Better than chance would have it.
    Better,
    /// No more than chance, or than the tolerance.
    Same,
    /// Worse than chance and the tolerance would have it.
    Regressed,
    /// Nobody can say: no direction, a figure of another day, or one sample.
    Unjudged,
}

impl Change {
    const fn word(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Same => "",
            Self::Regressed => "REGRESSED",
            Self::Unjudged => "not judged",
        }
    }
}

/// A report beside an earlier one.
#[derive(Debug)]
pub(super) struct Comparison {
    pub(super) title: String,
    pub(super) text: String,
    pub(super) regressed: usize,
}

impl Comparison {
    /// Fails where the two have nothing in common.
    pub(super) fn new(report: &Report, old: &Saved, tolerance_percent: f64) -> Result<Self> {
        let Saved { bench, run, rows } = old;
        ensure!(
            *bench == report.bench,
            "a run of {} is not compared with one of {bench}",
            report.bench
        );
        let common = |row: &&Row| old.row(row.id, &row.what).is_some();
        if !report.rows.iter().any(|row| common(&row)) {
            bail!("no row is in both reports");
        }
        let tolerance = tolerance_percent / 100.0;
        let mut table = Table::new(&[
            ("ROW", Left),
            ("WHAT", Left),
            ("THEN", Right),
            ("NOW", Right),
            ("CHANGE", Right),
            ("", Left),
        ]);
        let mut regressed = 0;
        for row in report.rows.iter().filter(common) {
            let Some(then) = old.row(row.id, &row.what) else { continue };
            let change = change(row, then, tolerance);
            regressed += usize::from(change == Change::Regressed);
            table.row([
                row.id.into(),
                row.what.as_str().into(),
                sure(then.value.median, then.interval).into(),
                sure(row.value.median, row.interval).into(),
                percent(then.value.median, row.value.median).into(),
                change.word().into(),
            ]);
        }
        let title = format!("compared with {}, commit {}", run.date, run.commit);
        let mut text = table.render(false);
        if let Some(other) = other_machine(&run.machine, &report.run.machine) {
            text = format!("{text}another machine then: {other}\n");
        }
        for gone in rows.iter().filter(|then| {
            !report.rows.iter().any(|row| row.id == then.id && row.what == then.what)
        }) {
            text = format!("{text}only then: {} {}\n", gone.id, gone.what);
        }
        for new in report.rows.iter().filter(|row| !common(row)) {
            text = format!("{text}only now: {} {}\n", new.id, new.what);
        }
        text = format!(
            "{text}{regressed} rows have regressed: intervals apart, and more than \
             {tolerance_percent} % worse\n"
        );
        Ok(Self { title, text, regressed })
    }
}

/// Judges one row.
fn change(now: &Row, then: &SavedRow, tolerance: f64) -> Change {
    let (Some(Bar { better, .. }), Some(new), Some(old)) = (now.bar, now.interval, then.interval)
    else {
        return Change::Unjudged;
    };
    if now.measure == Measure::Figure {
        return Change::Unjudged;
    }
    let apart = new.low > old.high || new.high < old.low;
    let grown = now.value.median - then.value.median;
    let worse = match better {
        Better::Lower => grown,
        Better::Higher => -grown,
    };
    if !apart {
        Change::Same
    } else if worse > tolerance * then.value.median.abs() {
        Change::Regressed
    } else if worse < 0.0 {
        Change::Better
    } else {
        Change::Same
    }
}

fn sure(median: f64, interval: Option<Interval>) -> String {
    let median = figure(median);
    interval.map_or_else(
        || median.clone(),
        |it| format!("{median} [{} .. {}]", figure(it.low), figure(it.high)),
    )
}

fn percent(then: f64, now: f64) -> String {
    let change = 100.0 * (now - then) / then.abs();
    if change.is_finite() { format!("{change:+.1} %") } else { String::new() }
}

/// What the two machines differ in, if they do.
fn other_machine(then: &Machine, now: &Machine) -> Option<String> {
    let facts = |machine: &Machine| {
        let Machine { cpu, processors, kernel, jit, mitigations, .. } = machine;
        let mitigations = format!("{} mitigations", mitigations.len());
        [cpu.clone(), format!("{processors} processors"), kernel.clone(), jit.clone(), mitigations]
    };
    let pairs = facts(then).into_iter().zip(facts(now));
    let differ: Vec<String> = pairs
        .filter(|(then, now)| then != now)
        .map(|(then, now)| format!("{then}, now {now}"))
        .collect();
    (!differ.is_empty()).then(|| differ.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(rows: Vec<Option<Row>>) -> Report {
        let mut report = Report::for_test("program", 3, 1);
        report.rows = rows.into_iter().flatten().collect();
        report
    }

    fn saved(report: &Report) -> Saved {
        Saved::parse(&serde_json::to_string(report).unwrap()).unwrap()
    }

    fn ratio(values: &[f64], bar: Option<Bar>) -> Option<Row> {
        Row::quotient("P1", "it", values, &vec![1.0; values.len()], bar)
    }

    /// Ratios then and now, which way is good, and what is said.
    type Case<'a> = (&'a [f64], &'a [f64], Option<Bar>, Change);

    #[test]
    fn only_what_is_worse_than_chance_and_tolerance_has_regressed() {
        let (lower, higher) = (Some(Bar::LOWER), Some(Bar::HIGHER));
        let calm = [1.40, 1.41, 1.42];
        let cases: [Case<'_>; 11] = [
            (&calm, &[1.60, 1.61, 1.62], lower, Change::Regressed),
            (&calm, &[1.60, 1.61, 1.62], higher, Change::Better),
            (&calm, &[1.20, 1.21, 1.22], lower, Change::Better),
            (&calm, &[1.20, 1.21, 1.22], higher, Change::Regressed),
            // Apart, but within the tolerance of 5 %.
            (&calm, &[1.43, 1.44, 1.45], lower, Change::Same),
            // Far, but within what chance does.
            (&calm, &[1.30, 1.70, 1.90], lower, Change::Same),
            (&calm, &calm, lower, Change::Same),
            (&calm, &[1.60, 1.61, 1.62], None, Change::Unjudged),
            (&calm, &[1.60], lower, Change::Unjudged),
            (&[1.40], &[1.60, 1.61, 1.62], lower, Change::Unjudged),
            (&[0.0, 0.0], &[0.5, 0.5], lower, Change::Regressed),
        ];
        for (then, now, bar, expected) in cases {
            let old = saved(&report(vec![ratio(then, bar)]));
            let now = ratio(now, bar).unwrap();
            assert_eq!(change(&now, &old.rows[0], 0.05), expected, "{then:?} {now:?}");
        }
    }

    #[test]
    fn figures_of_another_day_are_shown_and_sizes_are_judged() {
        let row = |value: f64| Row::new("P10", "bytes", &[value, value], Some(Bar::LOWER));
        for (exact, expected) in [(false, Change::Unjudged), (true, Change::Regressed)] {
            let as_it_is = |row: Option<Row>| if exact { row.map(Row::into_exact) } else { row };
            let old = saved(&report(vec![as_it_is(row(8_000.0))]));
            let now = as_it_is(row(9_000.0)).unwrap();
            assert_eq!(change(&now, &old.rows[0], 0.05), expected, "{exact}");
        }
    }

    #[test]
    fn whatever_differs_is_said() {
        let bar = Some(Bar::LOWER);
        let then = report(vec![
            ratio(&[1.0, 1.0], bar),
            Row::quotient("P2", "gone", &[1.0, 1.0], &[1.0, 1.0], bar),
        ]);
        let mut now = report(vec![
            ratio(&[1.2, 1.2], bar),
            Row::quotient("P3", "new", &[1.0, 1.0], &[1.0, 1.0], bar),
        ]);
        now.run.machine.kernel = "6.19".to_owned();
        now.run.machine.processors = 64;
        let comparison = Comparison::new(&now, &saved(&then), 5.0).unwrap();
        assert_eq!(comparison.regressed, 1);
        for part in [
            "1.000 [1.000 .. 1.000]",
            "1.200 [1.200 .. 1.200]",
            "+20.0 %",
            "REGRESSED",
            "another machine then: 0 processors, now 64 processors; , now 6.19",
            "only then: P2 gone",
            "only now: P3 new",
            "1 rows have regressed",
        ] {
            assert!(comparison.text.contains(part), "{part}:\n{}", comparison.text);
        }
        let same = Comparison::new(&then, &saved(&then), 5.0).unwrap();
        assert_eq!(same.regressed, 0);
        for part in ["another machine", "only", "REGRESSED"] {
            assert!(!same.text.contains(part), "{part}:\n{}", same.text);
        }
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let now = report(vec![ratio(&[1.0, 1.0], None)]);
        let mut other = saved(&now);
        other.bench = "path".to_owned();
        let mut strange = saved(&now);
        strange.rows[0].what = "something else".to_owned();
        let mut empty = saved(&now);
        empty.rows.clear();
        for (old, expected) in [
            (other, "a run of program is not compared with one of path"),
            (strange, "no row is in both reports"),
            (empty, "no row is in both reports"),
        ] {
            let error = Comparison::new(&now, &old, 5.0).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn what_is_no_report_is_refused() {
        let good = serde_json::to_string(&report(vec![ratio(&[1.0, 1.0], None)])).unwrap();
        assert!(Saved::parse(&good).is_ok());
        for (text, expected) in [
            (String::new(), "not a report"),
            ("{".to_owned(), "not a report"),
            ("[]".to_owned(), "not a report"),
            ("{\"bench\": \"program\", \"rows\": []}".to_owned(), "not a report"),
            (good[..good.len() / 2].to_owned(), "not a report"),
            (good.replace("\"rows\"", "\"lines\""), "not a report"),
            (good.replace("\"median\"", "\"mean\""), "not a report"),
            (good.replace("\"format\":2", "\"format\":1"), "a report of format 1"),
            (good.replace("\"format\":2", "\"format\":-2"), "not a report"),
        ] {
            let error = Saved::parse(&text).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error:#}");
        }
        assert!(Saved::argument("/no/such/file").unwrap_err().contains("cannot read"));
    }
}
