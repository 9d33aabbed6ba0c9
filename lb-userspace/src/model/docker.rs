//! Where containers become backends.

use std::{collections::BTreeMap, fmt, net::IpAddr, path::PathBuf};

use super::{PortRange, ServiceName};

/// What is configured about Docker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Docker {
    /// The hosts whose containers are followed; this one, if it is among them, is the first.
    pub hosts: Vec<DockerHost>,
    /// The ports of the host that are given to containers which name none.
    pub ports: PortRange,
    /// The file that says who has which of them; `None`: nobody remembers.
    pub state: Option<PathBuf>,
    /// The services of the configuration that choose containers by themselves.
    pub selectors: BTreeMap<ServiceName, Selector>,
}

impl Default for Docker {
    fn default() -> Self {
        let (hosts, state, selectors) = Default::default();
        Self { hosts, ports: PortRange::DYNAMIC, state, selectors }
    }
}

impl Docker {
    /// Whether anybody has said what hosts there are. Of a host of which nobody has said anything,
    /// limits of containers may add up to more than it has.
    #[must_use]
    pub fn has_hosts(&self) -> bool {
        let said = |host: &DockerHost| {
            let EngineAddress::Unix(socket) = &host.engine else { return true };
            *host != DockerHost::here(socket.clone())
        };
        self.hosts.iter().any(said)
    }
}

/// A host with containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerHost {
    /// Its name.
    pub name: String,
    /// Its engine.
    pub engine: EngineAddress,
    /// How its containers are reached; `None`: it is this host.
    pub reach: Option<Reach>,
    /// What replicas may use of its processor, in thousandths of a core; `None`: all of it.
    pub cpu: Option<u64>,
    /// What replicas may use of its memory, in bytes; `None`: all of it.
    pub memory: Option<u64>,
    /// What fails together with it.
    pub zone: Option<String>,
    /// What replicas may ask for.
    pub labels: BTreeMap<String, String>,
}

impl DockerHost {
    /// This host, of which nobody has said anything.
    #[must_use]
    pub fn here(socket: PathBuf) -> Self {
        Self {
            name: "local".to_owned(),
            engine: EngineAddress::Unix(socket),
            reach: None,
            cpu: None,
            memory: None,
            zone: None,
            labels: BTreeMap::new(),
        }
    }

    /// What its containers know of it; `None`: it is this host.
    #[must_use]
    pub fn home(&self) -> Option<Home> {
        Some(Home { name: self.name.clone(), reach: self.reach? })
    }
}

/// Another host, as its containers know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// Its name.
    pub name: String,
    /// How they are reached.
    pub reach: Reach,
}

/// How containers of another host are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// At ports that the engine publishes at this address.
    Published(IpAddr),
    /// At their own addresses, which the network leads to.
    Routed,
}

/// Where an engine is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineAddress {
    /// A Unix socket.
    Unix(PathBuf),
    /// TCP with TLS, both sides with certificates.
    Tls(Box<TlsAddress>),
}

impl fmt::Display for EngineAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tls(at) if at.host.contains(':') => write!(f, "tcp://[{}]:{}", at.host, at.port),
            Self::Tls(at) => write!(f, "tcp://{}:{}", at.host, at.port),
        }
    }
}

/// An engine behind TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsAddress {
    /// Name or address; its certificate has to be for it.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The file of the authority that its certificate has to be from.
    pub ca: PathBuf,
    /// The file of the certificate that is shown to it.
    pub cert: PathBuf,
    /// The file of the key of that one.
    pub key: PathBuf,
}

/// Containers as backends of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// Which ones.
    pub label: LabelRule,
    /// The port that they serve on, unless their labels name another one.
    pub port: Option<u16>,
    /// The network that they are reached through, unless their labels name another one.
    pub network: Option<String>,
}

/// A label that a container has to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelRule {
    /// Its name.
    pub key: String,
    /// Its value; `None`: any.
    pub value: Option<String>,
}

impl LabelRule {
    /// Whether these labels keep the rule.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let found = labels.get(&self.key);
        found.is_some_and(|found| self.value.as_ref().is_none_or(|value| value == found))
    }
}

impl fmt::Display for LabelRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}", self.key),
            None => f.write_str(&self.key),
        }
    }
}
