//! What the daemon tells: plain values, the same in `--json`, over HTTP and behind the tables.

mod docker;
mod scale;

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use self::{
    docker::{ContainerReport, ContainerVerdict, DockerReport, HostReport},
    scale::{ScaleReport, ScaleSummary},
};
use super::names::deserialize_protocol;
use crate::model::{Forward, Policy, Protocol};

/// How the daemon is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// Version of the daemon.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Generation of the desired state in force.
    pub generation: u64,
    /// File the configuration came from.
    pub config_path: PathBuf,
    /// The last attempt to read the configuration.
    pub last_reload: ReloadReport,
    /// Where the dataplane sits.
    pub attach: Vec<AttachReport>,
    /// Clients that are processes of the daemon's host.
    pub host_clients: HostClientsReport,
    /// Services.
    pub services: usize,
    /// Backends that take new flows.
    pub backends_up: usize,
    /// Backends.
    pub backends_total: usize,
    /// Flows in the table.
    pub flows: u64,
    /// What is wrong, one sentence each; empty: nothing.
    pub problems: Vec<String>,
    /// The containers; `None`: they are not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker: Option<DockerReport>,
    /// The services whose number of replicas is decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scales: Vec<ScaleSummary>,
}

/// An attempt to read the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// Seconds since then.
    pub age_s: u64,
    /// Why it changed nothing; `None`: it is in force.
    pub error: Option<String>,
}

/// A program on an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachReport {
    /// Interface name.
    pub interface: String,
    /// Hook: `xdp`, `xdp-generic` or `tc`.
    pub hook: String,
}

/// Clients that are processes of the daemon's host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostClientsReport {
    /// The cgroup whose processes are balanced; `None`: nobody's.
    pub cgroup: Option<PathBuf>,
    /// Why nobody's, or what this kernel does not have; empty: nothing is missing.
    pub missing: Vec<String>,
}

/// A service and its traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceReport {
    /// Name.
    pub name: String,
    /// Id in the maps.
    pub id: u32,
    /// Listen addresses: `198.18.0.1:80/tcp`.
    pub listens: Vec<String>,
    /// Policy.
    pub policy: Policy,
    /// How packets reach its backends.
    pub forward: Forward,
    /// What limits it, where it balances by live load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// How many replicas it shall have, where that is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<ScaleReport>,
    /// Backends, in the order of the configuration.
    pub backends: Vec<ShareReport>,
    /// Flows begun since the maps exist.
    pub flows_total: u64,
    /// New flows that its limits refused.
    #[serde(default)]
    pub refused_total: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets to clients.
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
}

/// A backend's part in a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShareReport {
    /// Where it serves.
    pub endpoint: String,
    /// Weight in force.
    pub weight: u16,
    /// Part of the new flows it is meant to get, 0 to 1.
    pub share: f64,
    /// Whether it takes new flows.
    pub state: BackendState,
    /// What live load says of it, where the service balances by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadReport>,
    /// Why the service's forward mode does not reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_of_reach: Option<String>,
}

/// What live load says of a backend of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// What limits it: `cpu`, `memory`, `io`, `network`, `latency-bound` or `light`.
    pub class: String,
    /// How busy it is, 0 to 1.
    pub utilisation: f64,
    /// How busy it says it is itself, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<f64>,
    /// Requests in flight relative to those that its busiest known resource explains.
    pub explained: Option<f64>,
    /// Requests a second.
    pub turns_per_s: f64,
    /// Mean requests in flight.
    pub in_flight: f64,
    /// Share of requests that fail, 0 to 1.
    pub error_share: f64,
    /// Requests a second that it can serve; its weight while no backend has been measured.
    pub capacity: f64,
    /// All of it in a sentence, and why the capacity is what it is.
    pub text: String,
}

/// That a host does not show a backend's load, in a sentence.
pub(crate) fn missing(why: &str) -> String {
    format!("no figures of its host: {why}")
}

/// Whether a backend takes new flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendState {
    /// Yes.
    Up,
    /// No: an operator said so, or it is a container that was told to stop.
    Drained,
    /// No: its health check failed, or something else holds it back.
    Down,
    /// No: it left the configuration and keeps its flows a while.
    Closing,
}

impl BackendState {
    /// The name in tables and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Drained => "drained",
            Self::Down => "down",
            Self::Closing => "closing",
        }
    }
}

/// A backend and its traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendReport {
    /// Where it serves: `198.18.10.2:8080/tcp`.
    pub endpoint: String,
    /// Id in the maps.
    pub id: u32,
    /// Generation of that id.
    pub generation: u32,
    /// Services it belongs to.
    pub services: Vec<String>,
    /// Whether it takes new flows.
    pub state: BackendState,
    /// What its health check says.
    pub health: String,
    /// Weight in force; where services differ, the largest.
    pub weight: u16,
    /// Flows it has.
    pub flows: u64,
    /// Requests that it has not answered yet, where its services count them.
    pub requests: u64,
    /// Packets to it.
    pub packets_in: u64,
    /// Packets from it.
    pub packets_out: u64,
    /// Bytes to it.
    pub bytes_in: u64,
    /// Bytes from it.
    pub bytes_out: u64,
    /// The way its packets take: `peer`, `redirect`, `transmit`, `stack`.
    pub way: String,
    /// Interface index of that way, 0 if none.
    pub ifindex: u32,
    /// Name of that interface, empty if none.
    pub interface: String,
    /// Why this state and this way.
    pub why: String,
    /// What live load says of it, in the first of its services that balances by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadReport>,
    /// Why its host does not show its load; empty: it does, or it is not this host.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub no_figures: String,
}

/// The flow table, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowsReport {
    /// How many flows were asked for by service, those left out included.
    pub total: u64,
    /// The flows.
    pub flows: Vec<FlowReport>,
}

/// A flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowReport {
    /// Protocol.
    #[serde(deserialize_with = "deserialize_protocol")]
    pub protocol: Protocol,
    /// The client.
    pub client: SocketAddr,
    /// What the client dials.
    pub vip: SocketAddr,
    /// Who serves it.
    pub backend: SocketAddr,
    /// Whom the backend sees, where that is an address and a port of this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SocketAddr>,
    /// Name of the service.
    pub service: String,
    /// How far it has come: `new`, `established`, `closing`, `closed`.
    pub state: String,
    /// Seconds since its first packet.
    pub age_s: u64,
    /// Seconds since its last packet.
    pub idle_s: u64,
}

/// Which backend a flow has or would get, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The flow asked about.
    pub flow: FlowName,
    /// Whether the flow exists.
    pub verdict: ExplainVerdict,
    /// Name of the pipeline's reason.
    pub reason: String,
    /// The service, if one listens.
    pub service: Option<String>,
    /// The backend, if one is chosen.
    pub backend: Option<String>,
    /// How the service chooses.
    pub policy: Option<Policy>,
    /// How packets reach its backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<Forward>,
    /// Whom it chooses among.
    pub candidates: Vec<Candidate>,
    /// The same in sentences.
    pub text: String,
}

/// The ends of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowName {
    /// Protocol.
    #[serde(deserialize_with = "deserialize_protocol")]
    pub protocol: Protocol,
    /// The client.
    pub source: SocketAddr,
    /// The VIP.
    pub destination: SocketAddr,
}

/// Whether an explained flow exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExplainVerdict {
    /// It is in the flow table.
    Has,
    /// It would be decided so if its first packet came.
    Would,
}

/// A backend that was considered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Where it serves.
    pub backend: String,
    /// Flows it has.
    pub flows: u64,
    /// Requests that it has not answered yet, where its services count them.
    pub requests: u64,
    /// Weight in force.
    pub weight: u16,
    /// Requests a second that it can serve, where live load tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<f64>,
    /// What live load says of it in a sentence, and why the capacity is what it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub load: String,
    /// Its state: only one that is up gets new flows.
    pub state: BackendState,
    /// Whether it is the one.
    pub chosen: bool,
}

/// Something was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What, as a sentence.
    pub text: String,
}

/// Whether the daemon does its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthReport {
    /// What keeps it from its work; empty: nothing.
    pub reasons: Vec<String>,
}
