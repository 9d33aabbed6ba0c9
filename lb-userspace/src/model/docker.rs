//! Where containers become backends.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use super::{PortRange, ServiceName};

/// What is configured about Docker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Docker {
    /// The engine's socket; `None`: containers are not followed.
    pub socket: Option<PathBuf>,
    /// The ports of the host that are given to containers which name none.
    pub ports: PortRange,
    /// The file that says who has which of them; `None`: nobody remembers.
    pub state: Option<PathBuf>,
    /// The services of the configuration that choose containers by themselves.
    pub selectors: BTreeMap<ServiceName, Selector>,
}

impl Default for Docker {
    fn default() -> Self {
        let (socket, state, selectors) = Default::default();
        Self { socket, ports: PortRange::DYNAMIC, state, selectors }
    }
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
