//! `weir-bench balance`: which policy serves unequal backends soonest. On real servers with real
//! traffic, or simulated.

pub(crate) mod live;
mod sim;
mod simulated;

use std::path::PathBuf;

use anyhow::Result;

use self::live::experiments::Experiment;
use crate::report::Output;
/// Options of the sub-command.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir-bench balance                            all experiments, three rounds of 25 minutes
  weir-bench balance --only e2,e3 --rounds 1    two of them, once
  weir-bench balance --quick                    is everything still in one piece?
  weir-bench balance --raw DIR                  every request of every run, as CSV
  weir-bench balance --sim                      all policies, three seeds, about a minute
  weir-bench balance --sim --quick              one seed

Simulated figures are the same ones on every machine, and better than real servers can be.")]
pub(crate) struct Options {
    /// Simulate servers and clients: neither root nor the kernel side
    #[arg(long, conflicts_with_all = ["only", "raw"])]
    sim: bool,
    /// Only these experiments
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LIST")]
    only: Vec<Experiment>,
    /// Rounds, each with other requests; simulations of each policy with --sim
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    rounds: u64,
    /// A few seconds each, once; with --sim one seed, four of them for settling
    #[arg(long)]
    quick: bool,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also write every request to this directory, a CSV file a run
    #[arg(long, value_name = "DIR")]
    raw: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// Runs everything and prints it.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.sim { simulated::run(options) } else { live::run(options) }
}
