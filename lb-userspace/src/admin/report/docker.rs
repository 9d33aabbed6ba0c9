//! What the daemon tells of the containers.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The containers of the host as backends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DockerReport {
    /// The socket of this host's engine; `None`: it is not followed.
    pub socket: Option<PathBuf>,
    /// Whether it answers.
    pub connected: bool,
    /// Seconds since that changed.
    pub since_s: u64,
    /// Version of the engine's interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// Why the engine does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// All hosts, where there are others than this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostReport>,
    /// The containers, by name; what is said of them is what was last seen.
    pub containers: Vec<ContainerReport>,
}

/// A host with containers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// Name.
    pub name: String,
    /// Where its engine is asked.
    pub engine: String,
    /// Whether it answers.
    pub connected: bool,
    /// Seconds since that changed.
    pub since_s: u64,
    /// Why it does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Containers that run there, as last seen.
    pub running: usize,
    /// Cores that replicas may use, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// Memory that replicas may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// What fails together with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// A container and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerReport {
    /// Name.
    pub name: String,
    /// Id.
    pub id: String,
    /// What became of it.
    pub verdict: ContainerVerdict,
    /// The services it is a backend of.
    pub services: Vec<String>,
    /// Where clients dial these.
    #[serde(default)]
    pub listens: Vec<String>,
    /// Where it serves.
    pub endpoints: Vec<String>,
    /// Why, or what holds it back; empty: there is nothing to say.
    pub why: String,
}

/// What became of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerVerdict {
    /// It is a backend.
    Published,
    /// It is a backend that gets no new flows at the moment.
    Held,
    /// It is a backend when it runs.
    Still,
    /// It is meant for Weir and cannot be a backend.
    Refused,
    /// It is not meant for Weir.
    Ignored,
}

impl ContainerVerdict {
    /// The name in tables and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Held => "held",
            Self::Still => "still",
            Self::Refused => "refused",
            Self::Ignored => "ignored",
        }
    }
}
