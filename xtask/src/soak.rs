//! `cargo xtask soak`: a daemon under random changes, for as long as wanted.

use std::process::{Command, ExitCode};

use anyhow::{Result, ensure};
use clap::Args;

use crate::build;
use crate::setup::{self, TEST_PROGRAMS};
use crate::shell;

/// How long, and from where.
#[derive(Args)]
pub(crate) struct Options {
    /// Seconds of changes
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(10..))]
    seconds: u64,
    /// Where chance begins
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    ensure!(shell::is_root(), "a soak loads programs into the kernel, which needs root");
    build::kernel_side()?;
    setup::ensure_programs(&TEST_PROGRAMS)?;
    shell::exit_code(&mut command(options))
}

fn command(options: &Options) -> Command {
    let mut cargo = shell::cargo();
    cargo.args(["test", "--package", "lb-userspace", "--features", "netns-tests"]);
    cargo.args(["--test", "netns", "--", "--nocapture", "netns::soak"]);
    cargo.env("WEIR_SOAK_SECONDS", options.seconds.to_string());
    cargo.env("WEIR_SOAK_SEED", options.seed.to_string());
    cargo
}
