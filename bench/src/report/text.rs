//! A report for a terminal.

use std::fmt::Write as _;

use super::{Report, Row, Series, figure};
use crate::stats::Spread;

pub(super) fn of(report: &Report) -> String {
    let Report { bench, rounds, seed, run, .. } = report;
    let mut text = String::from("\n");
    for table in &report.tables {
        text = text + &table.title + "\n\n" + table.text.trim_end() + "\n\n";
    }
    let (date, commit, seconds) = (&run.date, &run.commit, run.seconds);
    line(&mut text, format_args!("{bench}: {rounds} rounds, seed {seed}, {seconds:.0} s"));
    line(&mut text, format_args!("  {date}, commit {commit}, {}", run.machine.line()));
    let (before, after) = (run.load_before, run.load_after);
    line(&mut text, format_args!("  load {before:.2} before, {after:.2} after"));
    if let Some((low, high)) = report.noise() {
        line(&mut text, format_args!("  noise: the same beside itself is {low:.3} .. {high:.3}"));
    }
    for note in &report.notes {
        line(&mut text, format_args!("  note: {note}"));
    }
    text.push('\n');
    series(&mut text, &report.series);
    rows(&mut text, &report.rows);
    text
}

fn series(text: &mut String, series: &[Series]) {
    let width = series.iter().map(|it| it.name.chars().count()).max().unwrap_or(0);
    for Series { name, unit, samples } in series {
        if let Some(spread) = Spread::of(samples) {
            line(text, format_args!("  {name:width$}  {} {unit}", figures(&spread)));
        }
    }
    if !series.is_empty() {
        text.push('\n');
    }
}

fn rows(text: &mut String, rows: &[Row]) {
    let width = rows.iter().map(|row| row.what.chars().count()).max().unwrap_or(0);
    let id_width = rows.iter().map(|row| row.id.len()).max().unwrap_or(0).max(4);
    for Row { id, what, value, interval, of_minima, bar, verdict, .. } in rows {
        let bar = bar.map_or_else(String::new, |bar| {
            let sign = bar.sign();
            let limit = |name, limit: Option<f64>| {
                limit.map_or_else(String::new, |limit| format!("{name} {sign} {limit}  "))
            };
            format!("{:18}{:17}", limit("must", bar.must), limit("aim", bar.aim))
        });
        let sure = interval.map_or_else(String::new, |interval| {
            format!("[{} .. {}]", figure(interval.low), figure(interval.high))
        });
        let best = of_minima.map_or_else(String::new, |ratio| format!("best {ratio:.3}"));
        let (figures, word) = (figures(value), verdict.word());
        line(
            text,
            format_args!(
                "{id:id_width$} {what:width$}  {figures:28}  {sure:18}  {best:12}  {bar}{word}"
            ),
        );
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
    use crate::report::{Bar, Table};

    #[test]
    fn the_table_says_what_was_missed() {
        let bar = Some(Bar::at_most(1.5, 1.05));
        let rows = [
            Row::quotient("P1", "established", &[68.0, 66.4, 70.2], &[40.0, 41.5, 39.0], bar),
            Row::quotient("A/A", "twice the same", &[1.0], &[1.0], None),
        ];
        let mut report = Report::for_test("program", 3, 1);
        report.series = vec![
            Series { name: "dnat".to_owned(), unit: "ns", samples: vec![38.0, 40.0, 39.0] },
            Series { name: "nothing".to_owned(), unit: "ns", samples: vec![] },
        ];
        report.rows = rows.into_iter().flatten().collect();
        report.notes.push("no engine".to_owned());
        let table = Table { title: "more".to_owned(), text: "A  B\n1  2\n".to_owned() };
        report.tables.push(table);
        let expected = "
more

A  B
1  2

program: 3 rounds, seed 1, 0 s
  , commit , , 0 processors, 0 MiB, Linux ,
  load 0.00 before, 0.00 after
  noise: the same beside itself is 1.000 .. 1.000
  note: no engine

  dnat          39.0  (38.0 .. 40.0) ns

P1   established         1.700  (1.600 .. 1.800)   [1.600 .. 1.800]    best 1.703    must <= 1.5       aim <= 1.05      NOT MET
A/A  twice the same      1.000  (1.000 .. 1.000)                       best 1.000
";
        assert_eq!(of(&report), expected);
    }
}
