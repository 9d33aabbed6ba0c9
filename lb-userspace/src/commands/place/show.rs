//! The answer for people, in 100 columns.

use std::{collections::BTreeMap, io::Write as _};

use super::report::{Assigned, Compared, NodeUse, Report, Use};
use crate::{
    cli::{
        output::Output,
        table::{
            Align::{Left, Right},
            Cell, Table, Tone, printable,
        },
        units::percent,
    },
    placement::Dimension,
};

/// Width of the list of nodes beside a workload.
const NODES_WIDTH: usize = 64;
/// Above this a node is full enough to be looked at.
const NEARLY_FULL: f64 = 0.9;

pub(super) fn print(report: &Report, out: &mut Output<'_>) -> anyhow::Result<()> {
    let table = |out: &mut Output<'_>, table: &Table| -> anyhow::Result<()> {
        writeln!(out)?;
        Ok(out.table(table)?)
    };
    writeln!(out, "{}", headline(report))?;
    if !report.unplaced.is_empty() {
        writeln!(out)?;
        for unplaced in &report.unplaced {
            let line = format!("{}: {}", unplaced.replica, unplaced.reason);
            writeln!(out, "{}", Tone::Bad.paint(&printable(&line), out.colour()))?;
        }
    }
    table(out, &workloads(&report.assignment))?;
    table(out, &nodes(&report.nodes))?;
    table(out, &terms(report))?;
    if report.comparison.len() > 1 {
        table(out, &comparison(report))?;
    }
    Ok(())
}

fn headline(report: &Report) -> String {
    let Report { replicas, seed, iterations, .. } = report;
    let placed = report.assignment.len();
    let name = report.method.name();
    let nodes = report.nodes.len();
    let time = report.elapsed_ms.map_or_else(String::new, |ms| format!(" in {ms:.0} ms"));
    let search = if report.method.searches() {
        format!(": {iterations} iterations{time}, seed {seed}")
    } else {
        String::new()
    };
    format!("{placed} of {replicas} replicas placed on {nodes} nodes by {name}{search}")
}

/// A line a workload, with the nodes of its replicas.
fn workloads(assignment: &[Assigned]) -> Table {
    let mut table = Table::new(&[("WORKLOAD", Left), ("PLACED", Right), ("NODES", Left)]);
    for group in assignment.chunk_by(|a, b| a.workload == b.workload) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for assigned in group {
            *counts.entry(&assigned.node).or_default() += 1;
        }
        let times = |(node, count): (&&str, &usize)| match count {
            1 => (*node).to_owned(),
            many => format!("{node} x{many}"),
        };
        let (mut name, mut number) = (group[0].workload.as_str(), group.len().to_string());
        for line in wrapped(counts.iter().map(times)) {
            table.row([name.into(), number.as_str().into(), line.into()]);
            (name, number) = ("", String::new());
        }
    }
    table
}

/// Words with commas, in lines of at most [`NODES_WIDTH`] where words allow it.
fn wrapped(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() + 2 <= NODES_WIDTH => {
                line.push_str(", ");
                line.push_str(&word);
            }
            Some(line) => {
                line.push(',');
                lines.push(word);
            }
            None => lines.push(word),
        }
    }
    lines
}

fn nodes(nodes: &[NodeUse]) -> Table {
    let shown: Vec<Dimension> = Dimension::ALL
        .into_iter()
        .filter(|dimension| nodes.iter().any(|node| node.uses.contains_key(dimension.name())))
        .collect();
    let mut columns = vec![("NODE", Left), ("ZONE", Left), ("REPLICAS", Right)];
    for dimension in &shown {
        let (share, of) = match dimension {
            Dimension::Cpu => ("CPU", "USED/HAS"),
            Dimension::Memory => ("MEMORY", "USED/HAS"),
            Dimension::Network => ("NETWORK", "USED/HAS"),
            Dimension::Io => ("IO", "USED/HAS"),
        };
        columns.extend([(share, Right), (of, Left)]);
    }
    let mut table = Table::new(&columns);
    for node in nodes {
        let zone = node.zone.as_deref().unwrap_or("-");
        let mut cells: Vec<Cell> =
            vec![node.node.as_str().into(), zone.into(), node.replicas.to_string().into()];
        for dimension in &shown {
            let Some(Use { used, capacity, utilisation }) = node.uses.get(dimension.name()) else {
                continue;
            };
            let tone = if *utilisation > NEARLY_FULL { Tone::Warning } else { Tone::Plain };
            cells.push(Cell::toned(&percent(*utilisation), tone));
            cells.push(
                format!("{}/{}", amount(*dimension, *used), amount(*dimension, *capacity)).into(),
            );
        }
        table.row(cells);
    }
    table
}

/// An amount in a few digits.
fn amount(dimension: Dimension, amount: u64) -> String {
    let exact = dimension.show(amount);
    if exact.len() <= 6 || dimension != Dimension::Memory {
        return exact;
    }
    crate::cli::units::bytes(amount).replace("iB", "i").replace(' ', "")
}

fn terms(report: &Report) -> Table {
    let mut table = Table::new(&[("OBJECTIVE", Left), ("VALUE", Right), ("ADDS", Right)]);
    for term in &report.terms {
        let value = if term.name == "unplaced" {
            format!("{:.0}", term.value)
        } else {
            format!("{:.4}", term.value)
        };
        table.row([term.name.into(), value.into(), format!("{:.4}", term.adds).into()]);
    }
    table.row(["total".into(), "".into(), format!("{:.4}", report.objective).into()]);
    table
}

fn comparison(report: &Report) -> Table {
    let timed = report.comparison.iter().any(|it| it.elapsed_ms.is_some());
    let mut columns = vec![
        ("METHOD", Left),
        ("OBJECTIVE", Right),
        ("UNPLACED", Right),
        ("DEVIATION", Right),
        ("PEAK", Right),
        ("CONCENTRATION", Right),
        ("ITERATIONS", Right),
    ];
    columns.extend(timed.then_some(("MS", Right)));
    columns.push(("", Left));
    let mut table = Table::new(&columns);
    for it in &report.comparison {
        let Compared { method, best, unplaced, .. } = it;
        let tone = if *unplaced > 0 { Tone::Warning } else { Tone::Plain };
        let iterations = if method.searches() { it.iterations.to_string() } else { "-".to_owned() };
        let mut cells: Vec<Cell> = vec![
            method.name().into(),
            format!("{:.4}", it.objective).into(),
            Cell::toned(&unplaced.to_string(), tone),
            format!("{:.4}", it.deviation).into(),
            format!("{:.3}", it.peak).into(),
            format!("{:.4}", it.concentration).into(),
            iterations.into(),
        ];
        cells.extend(timed.then(|| format!("{:.1}", it.elapsed_ms.unwrap_or(0.0)).into()));
        cells.push(if *best { Cell::toned("best", Tone::Good) } else { "".into() });
        table.row(cells);
    }
    table
}
