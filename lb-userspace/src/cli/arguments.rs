//! The arguments of each command, as clap reads them.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use clap::{
    ArgGroup, Args, ValueEnum,
    builder::{PossibleValue, RangedU64ValueParser},
};

use ipnet::IpNet;

use super::SOCKET_DEFAULT;
use crate::{
    admin::names::{BackendName, parse_address, parse_protocol},
    model::{Attach, Protocol, ServiceName, Tunnel, Weight},
    placement::Method,
};

/// Where pinned programs and maps live.
const BPFFS_DEFAULT: &str = "/sys/fs/bpf";

/// `weir run`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct RunArgs {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The BPF file system that keeps programs and maps over a restart
    #[arg(long, value_name = "DIR", default_value = BPFFS_DEFAULT)]
    pub bpffs: PathBuf,
}

/// `weir demo`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct DemoArgs {
    /// How long the load runs
    #[arg(long, value_name = "N", default_value_t = 20,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// The hook to use
    #[arg(long, value_name = "HOOK", value_enum, default_value_t = Attach::Auto)]
    pub attach: Attach,
}

/// `weir decap`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct DecapArgs {
    /// Where tunnels arrive
    #[arg(long = "interface", value_name = "NAME", required = true)]
    pub interfaces: Vec<String>,
    /// Networks that tunnels may come from: the balancers, or the sources that they use
    #[arg(long, value_name = "NET", required = true)]
    pub from: Vec<IpNet>,
    /// UDP port of tunnels with a UDP header
    #[arg(long, value_name = "PORT", default_value_t = Tunnel::GUE_PORT,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub gue_port: u16,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a text here would replace that of the command")]
    pub format: Format,
}

/// `weir check`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct CheckArgs {
    /// The configuration
    pub file: PathBuf,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a text here would replace that of the command")]
    pub format: Format,
}

/// Tables or JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct Format {
    /// Print JSON instead of text for people
    #[arg(long)]
    pub json: bool,
}

/// How to reach the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Connection {
    /// The daemon's admin socket
    #[arg(long, value_name = "PATH", default_value = SOCKET_DEFAULT)]
    pub socket: PathBuf,
}

/// `weir status`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[expect(missing_docs, reason = "texts of flattened arguments would replace those of the command")]
pub struct StatusArgs {
    #[command(flatten)]
    pub format: Format,
    #[command(flatten)]
    pub connection: Connection,
}

/// `weir services` and `weir backends`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[expect(missing_docs, reason = "texts of flattened arguments would replace those of the command")]
pub struct WatchArgs {
    #[command(flatten)]
    pub format: Format,
    /// Draw the table anew each second, until Ctrl-C
    #[arg(long, conflicts_with = "json")]
    pub watch: bool,
    #[command(flatten)]
    pub connection: Connection,
}

/// `weir flows`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[expect(missing_docs, reason = "texts of flattened arguments would replace those of the command")]
pub struct FlowsArgs {
    /// Only flows of this service
    #[arg(long, value_name = "SERVICE", value_parser = service_name)]
    pub service: Option<ServiceName>,
    /// At most so many flows
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    #[command(flatten)]
    pub format: Format,
    #[command(flatten)]
    pub connection: Connection,
}

/// `weir drain` and `weir undrain`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[expect(missing_docs, reason = "texts of flattened arguments would replace those of the command")]
pub struct DrainArgs {
    /// Its address and port, as in 198.18.10.2:8080 or 198.18.10.4:53/udp
    pub backend: BackendName,
    #[command(flatten)]
    pub connection: Connection,
}

/// `weir weight`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[expect(missing_docs, reason = "texts of flattened arguments would replace those of the command")]
pub struct WeightArgs {
    /// The service
    #[arg(value_parser = service_name)]
    pub service: ServiceName,
    /// Its backend, as in 198.18.10.2:8080
    pub backend: BackendName,
    /// 0 to 1000, or "auto" for what the configuration says
    #[arg(value_name = "N|auto")]
    pub weight: WeightValue,
    #[command(flatten)]
    pub connection: Connection,
}

/// `weir explain`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[expect(missing_docs, reason = "texts of flattened arguments would replace those of the command")]
pub struct ExplainArgs {
    /// tcp or udp
    #[arg(value_name = "PROTO", value_parser = parse_protocol)]
    pub protocol: Protocol,
    /// The client's address and port
    #[arg(value_name = "SRC", value_parser = flow_end)]
    pub source: SocketAddr,
    /// The address and port it dials
    #[arg(value_name = "DST", value_parser = flow_end)]
    pub destination: SocketAddr,
    #[command(flatten)]
    pub format: Format,
    #[command(flatten)]
    pub connection: Connection,
}

/// `weir docker ls`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[expect(missing_docs, reason = "texts of flattened arguments would replace those of the command")]
pub struct DockerLsArgs {
    /// Ask no daemon: read this configuration and the engine, and tell what would be published
    #[arg(long, value_name = "FILE", conflicts_with = "socket")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub format: Format,
    #[command(flatten)]
    pub connection: Connection,
}

/// `weir simulate`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[group(skip)]
#[command(group = ArgGroup::new("input").args(["pcap", "hex"]).required(true))]
pub struct SimulateArgs {
    /// The configuration
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// A pcap or pcapng file of Ethernet packets
    #[arg(long, value_name = "IN")]
    pub pcap: Option<PathBuf>,
    /// A text file with a packet in hex on each line; "-" is standard input
    #[arg(long, value_name = "FILE")]
    pub hex: Option<PathBuf>,
    /// Write the packets that leave to this pcap file
    #[arg(long, value_name = "OUT")]
    pub out: Option<PathBuf>,
    /// The hook to simulate
    #[arg(long, value_enum, default_value_t = SimulateMode::Xdp)]
    pub mode: SimulateMode,
}

/// The programs that can be simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SimulateMode {
    /// The XDP program
    Xdp,
    /// The TC program
    Tc,
}

/// `weir forecast`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[expect(missing_docs, reason = "texts of flattened arguments would replace those of the command")]
pub struct ForecastArgs {
    /// Numbers, one a line, or CSV; standard input without it or with "-"
    pub file: Option<PathBuf>,
    /// How many of the last values are fitted
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = RangedU64ValueParser::<usize>::new().range(4..=1000))]
    pub window: usize,
    /// How many values are forecast
    #[arg(long, value_name = "N", default_value_t = 4,
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=1000))]
    pub horizon: usize,
    /// The column of a CSV file, by the name in its first line or by its number from 1
    #[arg(long, value_name = "NAME|N")]
    pub column: Option<String>,
    /// What forecasts
    #[arg(long, value_name = "MODEL", value_enum, default_value_t = ForecastModel::Auto)]
    pub model: ForecastModel,
    #[command(flatten)]
    pub format: Format,
    /// Also draw measured, fitted and forecast values
    #[arg(long, value_name = "SVG")]
    pub plot: Option<PathBuf>,
}

/// The models that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ForecastModel {
    /// The grey model where it passes its gate, else the last value
    Auto,
    /// The grey model in its unbiased form
    Grey,
    /// The grey model as in the textbooks
    GreyClassic,
    /// Double exponential smoothing
    Holt,
    /// The last value
    Last,
}

/// `weir place`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct PlaceArgs {
    /// The nodes, as CSV or JSON; "-" is standard input
    #[arg(long, value_name = "FILE")]
    pub nodes: PathBuf,
    /// The workloads, as CSV or JSON; "-" is standard input
    #[arg(long, value_name = "FILE")]
    pub workloads: PathBuf,
    /// Decides everything that is random
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// How long each method may search: 200ms, 5s, 1m
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = search_time)]
    pub budget: Duration,
    /// Search so many iterations instead: the same seed then gives the same answer
    #[arg(long, value_name = "N", conflicts_with = "budget",
          value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub iterations: Option<u32>,
    /// Threads to search with [default: all processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// How to place
    #[arg(long, value_enum, default_value_t = Method::AntColony)]
    pub method: Method,
    /// Do not compare with the other methods
    #[arg(long)]
    pub alone: bool,
    /// Draw the use of each node as SVG into this file
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a text here would replace that of the command")]
    pub format: Format,
}

/// `weir detach`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct DetachArgs {
    /// The BPF file system they are pinned in
    #[arg(long, value_name = "DIR", default_value = BPFFS_DEFAULT)]
    pub bpffs: PathBuf,
}

/// A weight, or the way back to the configured one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightValue {
    /// As configured.
    Auto,
    /// This one.
    Fixed(Weight),
}

impl FromStr for WeightValue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let weight = text.parse().ok().and_then(Weight::new);
        weight.map(Self::Fixed).ok_or_else(|| format!("not auto and not 0 to {}", Weight::MAX))
    }
}

impl ValueEnum for Attach {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Auto, Self::Xdp, Self::XdpGeneric, Self::Tc]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Auto => PossibleValue::new("auto").help("TC for containers of this host"),
            Self::Xdp => PossibleValue::new("xdp").help("Native XDP"),
            Self::XdpGeneric => PossibleValue::new("xdp-generic").help("XDP without the driver"),
            Self::Tc => PossibleValue::new("tc").help("TC ingress"),
        })
    }
}

impl ValueEnum for Method {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Kubernetes => "Its default scores, replicas as they come",
            Self::KubernetesSorted => "The same, largest first",
            Self::FirstFit => "Largest first, to the first node with room",
            Self::BestFit => "Largest first, to the node it fills most",
            Self::DotProduct => "Largest first, to where free and needed are most alike",
            Self::WorstFit => "Largest first, to where the fullest dimension stays lowest",
            Self::LocalSearch => "Moves and swaps from many beginnings",
            Self::Ants => "A max-min ant system without local search",
            Self::AntColony => "A max-min ant system with local search",
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}

fn search_time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time from 1ms to 1h: write 200ms, 5s or 1m");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_ms = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let time = Duration::from_millis(number.saturating_mul(unit_ms));
    let possible = Duration::from_millis(1)..=Duration::from_hours(1);
    if possible.contains(&time) { Ok(time) } else { Err(wrong()) }
}

fn service_name(text: &str) -> Result<ServiceName, String> {
    ServiceName::new(text)
        .ok_or_else(|| "a service is named with 1 to 63 of a-z 0-9 - _ .".to_owned())
}

fn flow_end(text: &str) -> Result<SocketAddr, String> {
    let end = parse_address(text).map_err(|error| error.to_string())?;
    let unusable = match end.ip() {
        IpAddr::V4(address) => address.is_unspecified(),
        IpAddr::V6(address) => address.is_unspecified() || address.to_ipv4_mapped().is_some(),
    };
    match (unusable, end.port()) {
        (true, _) => Err("no packet has this address".to_owned()),
        (false, 0) => Err("no packet of a flow has port 0".to_owned()),
        (false, _) => Ok(end),
    }
}
