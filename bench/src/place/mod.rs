//! `weir-bench place`: all methods on the same clusters in the same time.

mod instance;
mod openb;
mod rows;
mod speed;
mod synthetic;
mod table;

use std::{
    num::NonZero,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use lb_userspace::placement::{Budget, Method, Problem, Search, place};
use serde::Serialize;

use self::instance::Instance;
use crate::{
    progress::Progress,
    report::{Output, Report, Table},
};

/// Options of the sub-command.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Clusters of each kind
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: u64,
    /// The first of their seeds
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What each method that searches may take
    #[arg(long, value_name = "MS", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    budget_ms: u64,
    /// Threads [default: all processors]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// One cluster of each kind, 20 ms
    #[arg(long)]
    quick: bool,
    /// Directory of the Alibaba openb lists [default: `WEIR_DATA`, then ../shared/data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// What one method made of one cluster.
#[derive(Clone, Debug, Serialize)]
struct Sample {
    instance: &'static str,
    seed: u64,
    replicas: usize,
    method: Method,
    objective: f64,
    deviation: f64,
    gap: f64,
    peak: f64,
    concentration: f64,
    unplaced: usize,
    iterations: u32,
    elapsed_ms: f64,
}

/// What the report has besides.
#[derive(Serialize)]
struct Details<'a> {
    budget_ms: u64,
    threads: usize,
    samples: &'a [Sample],
    speed: &'a [speed::Speed],
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let (seeds, budget_ms) =
        if options.quick { (1, 20) } else { (options.seeds, options.budget_ms) };
    let threads =
        options.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get));
    let mut report = Report::begin("place", usize::try_from(seeds)?, options.seed);
    let (instances, skipped) = instances(options, seeds)?;
    let budget = Duration::from_millis(budget_ms);
    report.notes.push(format!("{budget_ms} ms for each search, {threads} threads"));
    report.notes.extend(skipped.map(|why| format!("openb was left out: {why}")));
    let mut progress = Progress::new("place", instances.len() * Method::ALL.len());
    let mut samples = Vec::new();
    for instance in &instances {
        for method in Method::ALL {
            let Instance { name, seed, .. } = instance;
            progress.step(&format!("{name} seed {seed}, {}", method.name()));
            samples.push(sample(instance, method, budget, threads));
        }
    }
    drop(progress);
    let speed = speed::measure(options.seed, if options.quick { 1 } else { 5 })?;
    report.rows = rows::rows(&samples, &speed);
    report.tables = vec![
        Table { title: "all methods".to_owned(), text: table::render(&samples) },
        Table { title: "threads".to_owned(), text: speed::render(&speed) },
    ];
    let details = Details { budget_ms, threads, samples: &samples, speed: &speed };
    report.details = serde_json::to_value(details).context("the samples are no JSON")?;
    report.publish(&options.output)
}

/// All clusters, and why some are missing.
fn instances(options: &Options, seeds: u64) -> Result<(Vec<Instance>, Option<String>)> {
    let seeds = options.seed..options.seed.saturating_add(seeds);
    let mut instances = Vec::new();
    let data = options.data.clone().unwrap_or_else(shared_data);
    let lists = openb::read(&data)?;
    if let Some(lists) = &lists {
        for (name, level) in openb::LEVELS {
            for seed in seeds.clone() {
                instances.push(lists.sample(name, level, seed)?);
            }
        }
    }
    for kind in synthetic::KINDS {
        for seed in seeds.clone() {
            instances.push(synthetic::cluster(&kind, seed)?);
        }
    }
    let missing = lists.is_none().then(|| format!("no lists in {}", data.display()));
    Ok((instances, missing))
}

/// The workspace's neighbour, unless the environment names another place.
fn shared_data() -> PathBuf {
    const BESIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
    std::env::var_os("WEIR_DATA").map_or_else(|| BESIDE.into(), PathBuf::from)
}

fn sample(instance: &Instance, method: Method, budget: Duration, threads: usize) -> Sample {
    let began = Instant::now();
    let spent = || began.elapsed().as_secs_f64() / budget.as_secs_f64();
    let budget = Budget::time(u32::MAX - 1, &spent);
    let search = Search { method, seed: instance.seed, threads, budget };
    let outcome = place(&instance.problem, &search, &mut |_| {});
    let elapsed_ms = began.elapsed().as_secs_f64() * 1e3;
    let score = &outcome.score;
    Sample {
        instance: instance.name,
        seed: instance.seed,
        replicas: instance.problem.replicas(),
        method,
        objective: score.objective(),
        deviation: score.deviation,
        gap: score.gap,
        peak: score.peak,
        concentration: score.concentration,
        unplaced: score.unplaced,
        iterations: outcome.iterations,
        elapsed_ms,
    }
}

/// How long some iterations take.
fn timed(problem: &Problem, iterations: u32, threads: usize) -> f64 {
    let began = Instant::now();
    let budget = Budget::iterations(iterations);
    let search = Search { method: Method::AntColony, seed: 1, threads, budget };
    drop(place(problem, &search, &mut |_| {}));
    began.elapsed().as_secs_f64()
}
