//! Services and their backends.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{HealthCheck, Listen, Scale, SelfReport, endpoint::Endpoint};

/// Name of a service: 1 to 63 of `a-z 0-9 - _ .`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ServiceName(String);

impl ServiceName {
    /// `None` if the name breaks the rule above.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let first_ok = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let rest_ok =
            name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'));
        (first_ok && rest_ok && name.len() <= 63).then(|| Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A share of the traffic relative to the service's other backends, 0 to [`Weight::MAX`];
/// 0 takes no new flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Weight(u16);

impl Weight {
    /// Largest weight.
    pub const MAX: u16 = 1000;
    /// The weight of a backend that names none.
    pub const DEFAULT: Self = Self(1);

    /// `None` above [`Weight::MAX`].
    #[must_use]
    pub const fn new(weight: u16) -> Option<Self> {
        if weight > Self::MAX { None } else { Some(Self(weight)) }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// How a service chooses the backend of a new flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The backend with the smallest (requests in flight + 1/2) / capacity, which follows live load.
    Adaptive,
    /// Consistent hashing of the flow, by shares that follow live load.
    AdaptiveMaglev,
    /// The backend with the smallest (flows + 1) / weight: shortest expected delay (SED).
    ShortestDelay,
    /// Consistent hashing of the flow, by weight (Maglev).
    Maglev,
    /// Consistent hashing of the client address, by weight.
    SourceHash,
    /// Backends in turn.
    RoundRobin,
    /// Backends in turn, as often as their weights say, evenly interleaved.
    WeightedRoundRobin,
    /// At random, by weight.
    Random,
    /// The backend with the fewest flows, ties to the first one.
    LeastConnections,
    /// The backend with the fewest flows relative to its weight.
    WeightedLeastConnections,
    /// The less loaded of two backends drawn at random by weight (power of two choices).
    P2c,
    /// Backends in turn by weights that follow a linear mix of their utilisations.
    Classic,
}

impl Policy {
    /// All policies, in the order of the documentation.
    pub const ALL: [Self; 12] = [
        Self::Adaptive,
        Self::AdaptiveMaglev,
        Self::ShortestDelay,
        Self::Maglev,
        Self::SourceHash,
        Self::RoundRobin,
        Self::WeightedRoundRobin,
        Self::Random,
        Self::LeastConnections,
        Self::WeightedLeastConnections,
        Self::P2c,
        Self::Classic,
    ];

    /// The name in `weir.yaml`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Adaptive => "adaptive",
            Self::AdaptiveMaglev => "adaptive-maglev",
            Self::ShortestDelay => "shortest-delay",
            Self::Maglev => "maglev",
            Self::SourceHash => "source-hash",
            Self::RoundRobin => "round-robin",
            Self::WeightedRoundRobin => "weighted-round-robin",
            Self::Random => "random",
            Self::LeastConnections => "least-connections",
            Self::WeightedLeastConnections => "weighted-least-connections",
            Self::P2c => "p2c",
            Self::Classic => "classic",
        }
    }

    /// Whether it balances by live load.
    #[must_use]
    pub const fn follows_load(self) -> bool {
        matches!(self, Self::Adaptive | Self::AdaptiveMaglev | Self::Classic)
    }

    /// Whether the dataplane counts the requests of its flows.
    #[must_use]
    pub const fn counts_requests(self) -> bool {
        matches!(self, Self::Adaptive | Self::AdaptiveMaglev)
    }
}

/// How the packets of a service reach its backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forward {
    /// The destination becomes the backend's, and replies come back here.
    #[default]
    Nat,
    /// Unchanged, to the backend's MAC address; it has the VIP and answers clients by itself.
    Dsr,
    /// The same inside a packet to the backend's address.
    Ipip,
    /// The same with a UDP header between the two.
    Gue,
    /// Destination and source are translated: the backend sees an address and a port of this host.
    FullNat,
}

impl Forward {
    /// All forward modes, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Nat, Self::Dsr, Self::Ipip, Self::Gue, Self::FullNat];

    /// The name in `weir.yaml`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nat => "nat",
            Self::Dsr => "dsr",
            Self::Ipip => "ipip",
            Self::Gue => "gue",
            Self::FullNat => "full-nat",
        }
    }

    /// Whether backends get packets as they were sent, VIP and port included, and answer clients past
    /// this host.
    #[must_use]
    pub const fn is_direct(self) -> bool {
        match self {
            Self::Nat | Self::FullNat => false,
            Self::Dsr | Self::Ipip | Self::Gue => true,
        }
    }

    /// Whether packets travel in packets to the backend's address, over routers as well.
    #[must_use]
    pub const fn is_tunnel(self) -> bool {
        match self {
            Self::Nat | Self::Dsr | Self::FullNat => false,
            Self::Ipip | Self::Gue => true,
        }
    }
}

/// A backend as one service names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendSpec {
    /// Where it serves.
    pub endpoint: Endpoint,
    /// Its configured weight in this service.
    pub weight: Weight,
    /// The cgroup of its processes, if they are this host's and somebody said which.
    pub cgroup: Option<Arc<Path>>,
}

/// How many new flows a service takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowLimits {
    /// New flows a second; `None`: no limit.
    pub new_flows: Option<u32>,
    /// New flows a second of one source.
    pub per_source: Option<u32>,
    /// How long what was not used is saved up.
    pub burst: Duration,
}

impl FlowLimits {
    /// Most flows a second that a limit tells from none.
    pub const RATE_MAX: u32 = 100_000_000;
    /// Longest burst.
    pub const BURST_MAX: Duration = Duration::from_hours(1);
}

impl Default for FlowLimits {
    fn default() -> Self {
        Self { new_flows: None, per_source: None, burst: Duration::from_secs(1) }
    }
}

/// A service as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Unique name.
    pub name: ServiceName,
    /// What it listens on, at least one, all of one protocol.
    pub listens: Vec<Listen>,
    /// How it chooses.
    pub policy: Policy,
    /// How packets reach its backends.
    pub forward: Forward,
    /// Its backends, in the order of the configuration, each endpoint once.
    pub backends: Vec<BackendSpec>,
    /// Active health check.
    pub health: Option<HealthCheck>,
    /// Where its backends tell their load.
    pub report: Option<SelfReport>,
    /// How long a client address keeps its backend.
    pub affinity: Option<Duration>,
    /// Who may connect; empty: everybody.
    pub sources: Vec<IpNet>,
    /// How many may.
    pub limits: FlowLimits,
    /// How many replicas it shall have, if that is ours to say.
    pub scale: Option<Box<Scale>>,
}

impl Service {
    /// Whether its capacities follow live load, as far as that can be seen: of backends that answer past
    /// this host no answer is.
    #[must_use]
    pub const fn follows_load(&self) -> bool {
        let blind = self.policy.counts_requests() && self.forward.is_direct();
        self.policy.follows_load() && !blind
    }
}
