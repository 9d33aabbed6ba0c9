//! The command line: what can be typed, and what it says about itself. The work is in `commands`.

mod arguments;
mod help;
pub mod output;
pub mod table;
pub mod terminal;
pub mod units;

use std::{ffi::OsString, path::PathBuf};

use clap::{CommandFactory as _, Parser, Subcommand, error::ErrorKind};

pub use arguments::{
    CheckArgs, Connection, DecapArgs, DemoArgs, DetachArgs, DockerLsArgs, DrainArgs, ExplainArgs,
    FlowsArgs, ForecastArgs, ForecastModel, Format, PlaceArgs, RunArgs, SimulateArgs, SimulateMode,
    StatusArgs, WatchArgs, WeightArgs, WeightValue,
};

/// Where the admin socket is unless the configuration says otherwise.
pub const SOCKET_DEFAULT: &str = "/run/weir/weir.sock";

/// A layer-4 load balancer for containers.
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(
    name = "weir",
    version,
    long_about = help::ABOUT,
    after_help = help::EXAMPLES,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Balance: load the dataplane, attach it, follow the configuration until SIGTERM.
    #[command(after_help = help::RUN)]
    Run(RunArgs),
    /// Show a balancer at work in network namespaces of its own, then clean up.
    #[command(after_help = help::DEMO)]
    Demo(DemoArgs),
    /// Find every mistake in a configuration.
    #[command(after_help = help::CHECK)]
    Check(CheckArgs),
    /// Tell how the daemon is.
    #[command(after_help = help::STATUS)]
    Status(StatusArgs),
    /// List the services, their backends' weights and their traffic.
    #[command(after_help = help::SERVICES)]
    Services(WatchArgs),
    /// List the backends: state, health, traffic and the way packets take to them.
    #[command(after_help = help::BACKENDS)]
    Backends(WatchArgs),
    /// List flows: who talks to which backend.
    #[command(after_help = help::FLOWS)]
    Flows(FlowsArgs),
    /// Give a backend no new flows; those it has go on.
    #[command(after_help = help::DRAIN)]
    Drain(DrainArgs),
    /// Give a drained backend new flows again.
    #[command(after_help = help::UNDRAIN)]
    Undrain(DrainArgs),
    /// Change the weight of a backend in a service until the daemon ends.
    #[command(after_help = help::WEIGHT)]
    Weight(WeightArgs),
    /// Tell which backend a flow has or would get, and why.
    #[command(after_help = help::EXPLAIN)]
    Explain(ExplainArgs),
    /// Containers of this host as backends.
    #[command(subcommand, after_help = help::DOCKER)]
    Docker(DockerCommand),
    /// Send captured packets through the real program, and see what becomes of them.
    #[command(after_help = help::SIMULATE)]
    Simulate(SimulateArgs),
    /// Forecast a series of numbers, and tell how far to believe it.
    #[command(after_help = help::FORECAST)]
    Forecast(ForecastArgs),
    /// Work out which replica should run on which node.
    #[command(after_help = help::PLACE)]
    Place(PlaceArgs),
    /// Unwrap what balancers send to this host in tunnels, until SIGTERM.
    #[command(after_help = help::DECAP)]
    Decap(DecapArgs),
    /// Take the pinned programs and maps off this host. Balancing stops.
    #[command(after_help = help::DETACH)]
    Detach(DetachArgs),
    /// Print the completion script of a shell.
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// What to do with containers.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum DockerCommand {
    /// List the containers: which are backends, which are not, and why.
    #[command(after_help = help::DOCKER_LS)]
    Ls(DockerLsArgs),
}

impl Cli {
    /// Reads a command line, the program's name first. The error also carries `--help` and
    /// `--version`; its `exit` prints to the right place and ends with the right code.
    pub fn read<I, T>(arguments: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString> + Clone,
    {
        let cli = Self::try_parse_from(arguments)?;
        match cli.command.contradiction() {
            Some(message) => Err(Self::command().error(ErrorKind::ValueValidation, message)),
            None => Ok(cli),
        }
    }
}

impl Command {
    /// What no single argument shows.
    fn contradiction(&self) -> Option<String> {
        match self {
            Self::Explain(ExplainArgs { source, destination, .. })
                if source.is_ipv4() != destination.is_ipv4() =>
            {
                Some(format!("{source} and {destination} are not of one address family"))
            }
            Self::Simulate(SimulateArgs { pcap: Some(input), out: Some(output), .. })
                if same_file(input, output) =>
            {
                Some(format!("--out would overwrite the input {}", input.display()))
            }
            Self::Place(PlaceArgs { nodes, workloads, .. })
                if nodes == workloads && nodes.as_os_str() == "-" =>
            {
                Some("nodes and workloads cannot both be standard input".to_owned())
            }
            Self::Run(_)
            | Self::Demo(_)
            | Self::Check(_)
            | Self::Status(_)
            | Self::Services(_)
            | Self::Backends(_)
            | Self::Flows(_)
            | Self::Drain(_)
            | Self::Undrain(_)
            | Self::Weight(_)
            | Self::Explain(_)
            | Self::Docker(_)
            | Self::Simulate(_)
            | Self::Forecast(_)
            | Self::Place(_)
            | Self::Decap(_)
            | Self::Detach(_)
            | Self::Completions { .. } => None,
        }
    }
}

fn same_file(one: &PathBuf, other: &PathBuf) -> bool {
    one == other
        || matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests;
