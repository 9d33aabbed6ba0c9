//! `weir-bench place`: all methods on the same clusters in the same time.

mod instance;
mod openb;
mod rows;
mod speed;
mod synthetic;
mod table;

use std::{
    io::{self, IsTerminal as _},
    num::NonZero,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use lb_userspace::placement::{Budget, Method, Problem, Search, place};
use serde::Serialize;

use self::instance::Instance;
use crate::report::{Report, Row};

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
    /// Also write the result, with every sample, to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Directory of the Alibaba openb lists [default: `WEIR_DATA`, then ../shared/data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
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

/// A whole run.
#[derive(Serialize)]
struct Run<'a> {
    bench: &'static str,
    budget_ms: u64,
    threads: usize,
    skipped: Option<&'a str>,
    samples: &'a [Sample],
    speed: &'a [speed::Speed],
    rows: &'a [Row],
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let (seeds, budget_ms) =
        if options.quick { (1, 20) } else { (options.seeds, options.budget_ms) };
    let threads =
        options.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get));
    let (instances, skipped) = instances(options, seeds)?;
    let budget = Duration::from_millis(budget_ms);
    println!("place: {seeds} seeds, {budget_ms} ms for each search, {threads} threads");
    if let Some(why) = &skipped {
        println!("skipped: openb: {why}");
    }
    let progress = io::stderr().is_terminal();
    let all = instances.len() * Method::ALL.len();
    let mut samples = Vec::new();
    for instance in &instances {
        for method in Method::ALL {
            if progress {
                let (done, name) = (samples.len() + 1, method.name());
                eprint!(
                    "\r\x1b[K{done} of {all}: {} seed {}: {name}",
                    instance.name, instance.seed
                );
            }
            samples.push(sample(instance, method, budget, threads));
        }
    }
    if progress {
        eprint!("\r\x1b[K");
    }
    print!("{}", table::render(&samples));
    let speed = speed::measure(options.seed, if options.quick { 1 } else { 5 })?;
    print!("{}", speed::render(&speed));
    let rows = rows::rows(&samples, &speed);
    let run = Run {
        bench: "place",
        budget_ms,
        threads,
        skipped: skipped.as_deref(),
        samples: &samples,
        speed: &speed,
        rows: &rows,
    };
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&run).context("the result is no JSON")?;
        std::fs::write(path, text + "\n").with_context(|| path.display().to_string())?;
    }
    let rounds = usize::try_from(seeds)?;
    let report = Report { bench: "place", rounds, seed: options.seed, rows, series: Vec::new() };
    report.publish(None)
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
