//! `weir-bench forecast`: autoscalers on traces and flash crowds, at equal cost. A simulation: it
//! needs no root, no kernel and no network. `--live` is the other thing: a ramp on real replicas.

mod cluster;
mod curve;
mod live;
mod load;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use lb_userspace::{
    cli::table::{Align, Table},
    plot::{GREY, INK, Line, Lines, SERIES, Stroke},
};
use serde::Serialize;

use self::{
    cluster::{Outcome, Subject, simulate},
    curve::{Point, at_cost, mark_pareto, ratio},
    load::{Load, TRACES, data_directory, flash_crowds},
};
use crate::{
    progress::Progress,
    report::{self, Bar, Better, Output, Plot, Report, Row},
};

/// Targets of the sweep, in percent.
const TARGETS: std::ops::RangeInclusive<u32> = 30..=96;
const TARGET_STEP: usize = 3;
/// Costs are those of HPA on CPU at this target.
const REFERENCE: f64 = 81.0;
/// With replicas that start slowly it loses too much at that target to be worth its cost.
const REFERENCE_SLOW: f64 = 69.0;
const SLOW_S: u64 = 120;
const STARTS_S: [u64; 3] = [30, 60, 120];
/// The start-up time that everybody is compared at; at the others it is HPA only.
const BAR_START_S: u64 = 60;

/// Options of the sub-command.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Flash crowds
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=1000))]
    crowds: u16,
    /// Rounds, each with other crowds and other noise
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=100))]
    rounds: u8,
    /// One round, a day of each trace, one start-up time: is everything still in one piece?
    #[arg(long)]
    quick: bool,
    /// Decides the crowds and the noise
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the traces are; the default is `$WEIR_DATA`, else ../shared/data beside the workspace
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A ramp from two to eight containers of an engine of its own instead, in compressed time (root;
    /// five minutes a round)
    #[arg(long, conflicts_with_all = ["crowds", "data"])]
    live: bool,
    /// Also draw cost and violations of the flash crowds; with --live, the replicas over time
    #[arg(long, value_name = "SVG")]
    plot: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// One kind of load with one start-up time.
#[derive(Debug, Serialize)]
struct Cell {
    load: String,
    start_seconds: u64,
    /// Each scaler at the cost of the reference, all rounds together.
    equal_cost: Vec<Point>,
    /// The same by round.
    rounds: Vec<Vec<Point>>,
    /// Each scaler at each target, all rounds together.
    points: Vec<Point>,
}

/// One kind of load, by round.
struct Kind {
    name: String,
    rounds: Vec<Vec<Load>>,
}

/// Simulates everything, prints, draws.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.live {
        return live::run(options);
    }
    let mut report = Report::begin("forecast", options.rounds(), options.seed);
    let kinds = kinds(options, &mut report.notes)?;
    let starts: &[u64] = if options.quick { &[BAR_START_S] } else { &STARTS_S };
    let sweeps = kinds.len() * starts.len();
    let steps = sweeps * Subject::ALL.len() * TARGETS.step_by(TARGET_STEP).count();
    let mut progress = Progress::new("forecast", steps);
    let mut cells = Vec::new();
    for kind in &kinds {
        for &start in starts {
            cells.push(sweep(kind, start, &mut progress));
        }
    }
    drop(progress);
    report.rows = cells.iter().flat_map(rows).collect();
    report.tables = cells.iter().map(table).collect();
    for cell in cells.iter().filter(|it| it.start_seconds == BAR_START_S) {
        let lines = picture(cell);
        report.plots.push(Plot { svg: lines.svg()?, title: lines.title });
    }
    if let (Some(path), Some(plot)) = (&options.plot, report.plots.first()) {
        fs::write(path, &plot.svg).with_context(|| format!("cannot write {}", path.display()))?;
    }
    report.details = serde_json::json!({ "cells": cells });
    report.publish(&options.output)
}

impl Options {
    fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds.into() }
    }

    fn seeds(&self) -> Vec<u64> {
        (0..self.rounds() as u64).map(|round| self.seed.wrapping_add(round)).collect()
    }
}

/// All loads by kind; says which traces are missing.
fn kinds(options: &Options, notes: &mut Vec<String>) -> Result<Vec<Kind>> {
    let crowds = usize::from(options.crowds);
    let seeds = options.seeds();
    let rounds = seeds.iter().map(|&seed| flash_crowds(crowds, seed)).collect();
    let mut kinds = vec![Kind { name: format!("{crowds} flash crowds"), rounds }];
    let data = options.data.clone().unwrap_or_else(data_directory);
    let days = if options.quick { 1 } else { 7 };
    for trace in &TRACES {
        let read = |&seed: &u64| trace.read(&data, days, seed);
        let rounds: Vec<Option<Load>> = seeds.iter().map(read).collect::<Result<_>>()?;
        let rounds: Vec<Vec<Load>> = rounds.into_iter().flatten().map(|load| vec![load]).collect();
        if rounds.is_empty() {
            notes.push(format!("no trace {} in {}: left out", trace.name, data.display()));
        } else {
            kinds.push(Kind { name: trace.name.to_owned(), rounds });
        }
    }
    Ok(kinds)
}

/// All scalers at all targets, and at equal cost.
fn sweep(kind: &Kind, start_seconds: u64, progress: &mut Progress) -> Cell {
    let start = Duration::from_secs(start_seconds);
    let mut points = Vec::new();
    let mut by_round = vec![Vec::new(); kind.rounds.len()];
    let name = &kind.name;
    for subject in Subject::ALL {
        for target in TARGETS.step_by(TARGET_STEP) {
            let scaler = subject.name();
            progress.step(&format!("{name}, start {start_seconds} s: {scaler} {target} %"));
            let mut all = Outcome::default();
            for (loads, points) in kind.rounds.iter().zip(&mut by_round) {
                let mut sum = Outcome::default();
                for load in loads {
                    sum.add(&simulate(load, subject, target, start));
                }
                points.push(Point::new(subject, target, &sum));
                all.add(&sum);
            }
            let rounds = u32::try_from(kind.rounds.len()).unwrap_or(u32::MAX);
            points.push(Point::new(subject, target, &all.of_one(rounds.into())));
        }
    }
    mark_pareto(&mut points);
    let rounds = by_round.iter().map(|points| at_reference_cost(points, start_seconds)).collect();
    Cell {
        load: name.clone(),
        start_seconds,
        equal_cost: at_reference_cost(&points, start_seconds),
        rounds,
        points,
    }
}

/// Each scaler at the cost of HPA on CPU at its usual target.
fn at_reference_cost(points: &[Point], start_seconds: u64) -> Vec<Point> {
    let target = if start_seconds >= SLOW_S { REFERENCE_SLOW } else { REFERENCE };
    let reference = points.iter().find(|it| it.subject == Subject::HpaCpu && it.target >= target);
    let Some(cost) = reference.map(|it| it.pod_hours) else { return Vec::new() };
    Subject::ALL.into_iter().filter_map(|subject| at_cost(points, subject, cost)).collect()
}

fn table(cell: &Cell) -> report::Table {
    let mut table = Table::new(&[
        ("AT EQUAL COST", Align::Left),
        ("TARGET %", Align::Right),
        ("VIOLATIONS %", Align::Right),
        ("LOST %", Align::Right),
        ("POD-HOURS", Align::Right),
        ("ACTIONS", Align::Right),
        ("LATE s", Align::Right),
        ("FRONT", Align::Right),
    ]);
    for point in &cell.equal_cost {
        let own = || cell.points.iter().filter(|it| it.subject == point.subject);
        table.row([
            point.subject.name().into(),
            format!("{:.1}", point.target).into(),
            format!("{:.3}", point.violation_percent).into(),
            format!("{:.4}", point.lost_percent).into(),
            format!("{:.1}{}", point.pod_hours, if point.equal { " " } else { "*" }).into(),
            format!("{:.0}", point.actions).into(),
            point.late_seconds.map_or_else(String::new, |late| format!("{late:.0}")).into(),
            format!("{}/{}", own().filter(|it| it.pareto).count(), own().count()).into(),
        ]);
    }
    let (load, start, rows) = (&cell.load, cell.start_seconds, table.render(false));
    let note = if cell.equal_cost.iter().all(|point| point.equal) {
        ""
    } else {
        "* no target of it costs the same; this is the nearest\n"
    };
    let title = format!("{load}, replicas start in {start} s");
    report::Table { title, text: format!("{rows}{note}") }
}

/// The grey model beside the others, at equal cost.
fn rows(cell: &Cell) -> Vec<Row> {
    let crowds = cell.equal_cost.iter().any(|point| point.late_seconds.is_some());
    let usual = cell.start_seconds == BAR_START_S;
    let must = |must| Some(Bar { better: Better::Lower, must: Some(must), aim: None });
    let mut rows = Vec::new();
    for subject in Subject::ALL.into_iter().filter(|it| *it != Subject::Grey) {
        let hpa = matches!(subject, Subject::HpaCpu | Subject::HpaLoad);
        let holt = matches!(subject, Subject::HoltQuick | Subject::HoltCalm);
        if !usual && !hpa {
            continue;
        }
        let (violations, lost) = match (hpa, crowds, usual) {
            (true, true, true) => (must(0.5), must(0.3)),
            (true, false, _) => (must(1.05), None),
            (false, true, true) if holt => (must(1.25), None),
            (true | false, true | false, true | false) => (None, None),
        };
        let (load, start, name) = (&cell.load, cell.start_seconds, subject.name());
        let text = |what| format!("{load}, {start} s: {what}, grey / {name}");
        let shares = shares(cell, subject, |point| point.violation_percent);
        let row = Row::new("E9", text("violations"), &shares, violations.or(Some(Bar::LOWER)));
        rows.extend(row.map(Row::into_ratio));
        if crowds && usual {
            let shares = self::shares(cell, subject, |point| point.lost_percent);
            let row = Row::new("E9", text("lost"), &shares, lost.or(Some(Bar::LOWER)));
            rows.extend(row.map(Row::into_ratio));
        }
    }
    rows
}

/// What the grey model misses of what another misses, in the rounds in which both cost the same.
fn shares(cell: &Cell, other: Subject, of: fn(&Point) -> f64) -> Vec<f64> {
    let find = |points: &[Point], subject| {
        points.iter().find(|it| it.subject == subject && it.equal).map(of)
    };
    let both =
        |points: &Vec<Point>| Some(ratio(find(points, Subject::Grey)?, find(points, other)?));
    cell.rounds.iter().filter_map(both).collect()
}

/// Violations over cost, a line a scaler, around the cost of the comparison: far below it everybody
/// fails, far above it nobody does.
fn picture(cell: &Cell) -> Lines {
    let cost = cell.equal_cost.first().map_or(0.0, |point| point.pod_hours);
    let near = |point: &&Point| (0.75 * cost..=1.5 * cost).contains(&point.pod_hours);
    let colours = [GREY, INK].into_iter().chain(SERIES);
    let lines = Subject::ALL.into_iter().zip(colours).map(|(subject, colour)| Line {
        name: subject.name().to_owned(),
        colour,
        stroke: Stroke::Dotted,
        points: cell
            .points
            .iter()
            .filter(|it| it.subject == subject)
            .filter(near)
            .map(|it| (it.pod_hours, it.violation_percent))
            .collect(),
    });
    Lines {
        title: format!("{}, replicas start in {} s", cell.load, cell.start_seconds),
        x: "pod-hours".to_owned(),
        y: "steps with too few replicas, %".to_owned(),
        lines: lines.collect(),
    }
}
