//! `cargo xtask`: everything a developer, or a user of the source, types.
//!
//! One sub-command a file. Each says in a line what it does, calls the same tools a person
//! would call, and passes their output through.

#![expect(clippy::print_stdout, reason = "a command-line tool talks on standard output")]

mod bench;
mod build;
mod ci;
mod fuzz;
mod lab;
mod run;
mod setup;
mod shell;
mod soak;
mod summary;
mod test;
mod tidy;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Set up, build, run, test and measure Weir")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find or get the compiler and the linker for the kernel side
    Setup,
    /// Build the kernel side, then the `weir` binary that carries it
    Build,
    /// Set up, build and run `weir`; without arguments, its demo
    Run {
        /// What `weir` is given, after `--`
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    /// Run the tests of one level, or of all of them
    Test {
        /// Which level
        #[arg(value_enum, default_value = "all")]
        level: test::Level,
    },
    /// Try random packets on the pipeline and on the model of it, and compare
    Fuzz(fuzz::Options),
    /// Change a daemon at random under load, and look at what is left (root)
    Soak(soak::Options),
    /// Build and run the bench
    Bench {
        /// What to measure, and its options
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// What the hosted CI runs: format, lints, licences, house rules, tests
    Ci,
    /// A small network in namespaces, to try Weir by hand
    Lab {
        #[command(subcommand)]
        command: lab::Command,
    },
    /// Check the house rules no compiler knows
    Tidy,
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Setup => setup::run().map(|_| ExitCode::SUCCESS),
        Command::Build => build::run().map(|()| ExitCode::SUCCESS),
        Command::Run { args } => run::run(&args),
        Command::Test { level } => Ok(test::run(level)),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Soak(options) => soak::run(&options),
        Command::Bench { args } => bench::run(&args),
        Command::Ci => ci::run(),
        Command::Lab { command } => lab::run(command),
        Command::Tidy => tidy::run().map(|()| ExitCode::SUCCESS),
    }
}
