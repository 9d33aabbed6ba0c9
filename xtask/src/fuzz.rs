//! `cargo xtask fuzz`: the comparison of the pipeline with its model, for as long as wanted.

use std::process::{Command, ExitCode};

use anyhow::Result;
use clap::Args;

use crate::shell;

/// How much to try.
#[derive(Args)]
pub(crate) struct Options {
    /// Packets to try
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    packets: u64,
    /// First of the seeds; what fails says which one it was
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    shell::exit_code(&mut command(options))
}

fn command(options: &Options) -> Command {
    let mut cargo = shell::cargo();
    cargo.args(["test", "--package", "lb-common", "--features", "memory"]);
    cargo.args(["--test", "differential", "--", "--nocapture"]);
    cargo.env("WEIR_MODEL_PACKETS", options.packets.to_string());
    cargo.env("WEIR_MODEL_SEED", options.seed.to_string());
    cargo
}
