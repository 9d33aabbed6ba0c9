//! `weir-bench balance`: every policy of the dataplane in front of real servers of unequal speed,
//! under an open load of real connections.

mod arrivals;
pub(crate) mod backend;
mod client;
pub(crate) mod experiments;
mod group;
mod plots;
mod record;
mod rows;
mod run;
mod site;
mod watch;
mod way;

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};
use lb_userspace::{
    cli::table::{Align, Table},
    lab::reap_stale,
};

use self::{
    experiments::{Experiment, Setting},
    run::{Run, bound_ms},
    way::Way,
};
use super::Options;
use crate::{
    progress::Progress,
    report::{self, Peer, Report, Series},
    shuffle::Shuffle,
    stats::median,
};

/// Loads that E1 tries.
const PROBES: u32 = 5;
const PROBES_QUICK: u32 = 2;

/// Everything that was measured.
#[derive(Debug, Default)]
struct Results {
    /// A run a round, with the setting that it had.
    runs: BTreeMap<(Experiment, Way), Vec<(Setting, Run)>>,
}

impl Results {
    fn values(
        &self,
        experiment: Experiment,
        way: Way,
        value: fn(&Run, &Setting) -> f64,
    ) -> Vec<f64> {
        let runs = self.runs.get(&(experiment, way)).map_or(&[][..], Vec::as_slice);
        runs.iter().map(|(setting, run)| value(run, setting)).collect()
    }

    fn first(&self, experiment: Experiment, way: Way) -> Option<&Run> {
        self.runs.get(&(experiment, way))?.first().map(|(_, run)| run)
    }
}

/// Measures everything and prints it.
pub(super) fn run(options: &Options) -> Result<()> {
    reap_stale(site::PREFIX)?;
    let experiments: Vec<Experiment> = Experiment::ALL
        .into_iter()
        .filter(|it| options.only.is_empty() || options.only.contains(it))
        .collect();
    let rounds = if options.quick { 1 } else { options.rounds };
    let steps: usize = experiments.iter().map(|experiment| experiment.ways().len()).sum();
    let mut progress = Progress::new("balance", steps * usize::try_from(rounds)?);
    let mut report = Report::begin("balance", usize::try_from(rounds)?, options.seed);
    report.peers.push(Peer::ours("weir", site::describe()));
    let mut shuffle = Shuffle::new(options.seed);
    let mut results = Results::default();
    for round in 1..=rounds {
        for experiment in &experiments {
            let ways = experiment.ways();
            for index in shuffle.order(ways.len()) {
                let way = ways[index];
                progress.step(&format!("{} {}", experiment.id(), way.name()));
                measure(options, &mut results, *experiment, way, round)?;
            }
        }
    }
    drop(progress);
    publish(options, report, &results)
}

fn measure(
    options: &Options,
    results: &mut Results,
    experiment: Experiment,
    way: Way,
    round: u64,
) -> Result<()> {
    let setting = experiment.setting();
    let (setting, probes) =
        if options.quick { (setting.quick(), PROBES_QUICK) } else { (setting, PROBES) };
    // The same requests for every policy of a round.
    let seed = options.seed.wrapping_add(100 * round);
    let run = run::run(experiment, way, &setting, seed, probes)
        .with_context(|| format!("{} {}", experiment.id(), way.name()))?;
    if let Some(directory) = &options.raw {
        let name =
            format!("{}-{}-{round}.csv", experiment.id(), way.name().replace([' ', ','], "-"));
        write(directory, &name, &record::csv(&run.records))?;
    }
    results.runs.entry((experiment, way)).or_default().push((setting, run));
    Ok(())
}

fn publish(options: &Options, mut report: Report, results: &Results) -> Result<()> {
    report.rows = rows::rows(results);
    report.series = series(results);
    report.plots = plots::plots(results)?;
    report.tables.push(report::Table {
        title: format!(
            "E1: requests/s while p99 stays within {:.0} ms; others: latency in ms, failed in %",
            bound_ms()
        ),
        text: table(results).render(false),
    });
    report.publish(&options.output)
}

fn write(directory: &Path, name: &str, text: &str) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let path = directory.join(name);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// A line a policy in an experiment: medians of the rounds.
fn table(results: &Results) -> Table {
    let columns = [
        ("experiment", Align::Left),
        ("policy", Align::Left),
        ("p50", Align::Right),
        ("p99", Align::Right),
        ("mean", Align::Right),
        ("failed", Align::Right),
        ("requests/s", Align::Right),
    ];
    let mut table = Table::new(&columns);
    for (experiment, way) in results.runs.keys() {
        let cell = |value: fn(&Run, &Setting) -> f64, text: fn(f64) -> String| {
            median(&results.values(*experiment, *way, value)).map_or_else(String::new, text)
        };
        // Latencies of loads from too little to too much mean nothing together.
        let latency = |value| {
            let one_load = *experiment != Experiment::E1;
            if one_load { cell(value, |it| format!("{it:.1}")) } else { String::new() }
        };
        table.row([
            experiment.id().into(),
            way.name().into(),
            latency(rows::p50).into(),
            latency(rows::p99).into(),
            latency(rows::mean).into(),
            cell(rows::failed, |it| format!("{:.2}", 100.0 * it)).into(),
            cell(rows::rate, |it| format!("{it:.0}")).into(),
        ]);
    }
    table
}

fn series(results: &Results) -> Vec<Series> {
    let one = |(experiment, way): &(Experiment, Way)| {
        let (what, unit, value): (_, _, fn(&Run, &Setting) -> f64) =
            if *experiment == Experiment::E1 {
                ("within the bound", "requests/s", rows::rate)
            } else {
                ("p99", "ms", rows::p99)
            };
        let name = format!("{} {what}: {}", experiment.id(), way.name());
        Series { name, unit, samples: results.values(*experiment, *way, value) }
    };
    results.runs.keys().map(one).collect()
}
