//! Measures Weir beside what a user would pick instead. README.md says how to read the result.

#![expect(clippy::print_stdout, reason = "a command-line tool talks on standard output")]

mod all;
mod balance;
mod engine;
mod forecast;
mod path;
mod place;
mod program;
mod progress;
mod publish;
mod report;
mod shuffle;
mod stats;
mod weir;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What `cargo xtask build` makes.
pub(crate) const OBJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bpf/lb-ebpf");
/// What `cargo xtask bench` makes of `floors/`.
pub(crate) const FLOORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bpf/weir-floors");

#[derive(Parser)]
#[command(name = "weir-bench", about = "Measure Weir beside what a user would pick instead")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything, into one directory with one summary (root; without it the simulations)
    All(all::Options),
    /// What a packet costs in the kernel, beside what it costs at least (root)
    Program(program::Options),
    /// Requests lost and replicas paid for by autoscalers: simulated on traces and flash crowds, or live
    Forecast(forecast::Options),
    /// Which policy serves unequal backends soonest (root), or a simulation of it
    Balance(balance::Options),
    /// What a request costs from end to end, beside nftables and plain routing (root)
    Path(path::Options),
    /// How long it takes to publish ports, to change and to remove them (root)
    Publish(publish::Options),
    /// A server of `balance`, started by it
    #[command(hide = true)]
    Backend(balance::live::backend::Options),
    /// Where replicas run, by all methods in the same time
    Place(place::Options),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::All(options) => all::run(&options),
        Command::Program(options) => program::run(&options),
        Command::Forecast(options) => forecast::run(&options),
        Command::Balance(options) => balance::run(&options),
        Command::Backend(options) => balance::live::backend::run(&options),
        Command::Path(options) => path::run(&options),
        Command::Publish(options) => publish::run(&options),
        Command::Place(options) => place::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
