//! A container as the engine describes it, reduced to what matters here.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{
    model::{Home, Protocol, Publish, Reach},
    placement::Amounts,
};

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspected {
    /// Its id, of 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was made, as RFC 3339 says it: text that sorts.
    pub created: String,
    /// When it was last started. An address goes to the next container at once, so a backend is a
    /// container and its start, never an address.
    pub started: String,
    /// What it does.
    pub state: State,
    /// It was told to stop, and has not stopped yet.
    pub stopping: bool,
    /// What its own health check says, if it has one.
    pub health: Option<DockerHealth>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The ports that its image exposes.
    pub exposed: Vec<(u16, Protocol)>,
    /// The ports that it was created with (`-p`).
    pub bindings: Vec<Binding>,
    /// Whether every port that its image exposes is published (`-P`).
    pub publish_all: bool,
    /// The ports that the engine publishes at the moment.
    pub open: Vec<Open>,
    /// The limits of its processor and memory; 0: none.
    pub limits: Amounts,
    /// The host it is on; `None`: this one.
    pub home: Option<Home>,
    /// How it is connected.
    pub mode: NetworkMode,
    /// The networks it is in, by name.
    pub networks: BTreeMap<String, Addresses>,
    /// The signal that it is stopped with.
    pub stop_signal: i32,
    /// The inode of its network namespace, where that can be seen.
    pub netns: Option<u64>,
    /// Its process, where that can be seen.
    pub pid: Option<u32>,
}

impl Inspected {
    /// Its id and its start.
    #[must_use]
    pub fn incarnation(&self) -> String {
        format!("{}@{}", self.id, self.started)
    }

    /// Its name for people; names are unique on one host only.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.home {
            Some(home) => format!("{}/{}", home.name, self.name),
            None => self.name.clone(),
        }
    }

    /// Makes it a container of that host. Ports of another host are ways to the container, and no
    /// ports of this one.
    pub(super) fn settle(&mut self, home: Option<Home>) {
        if home.is_some() {
            (self.bindings, self.publish_all) = (Vec::new(), false);
        }
        self.home = home;
    }

    /// The address of its host that its ports are published at.
    pub(super) fn published_at(&self) -> Option<IpAddr> {
        match self.home.as_ref()?.reach {
            Reach::Published(address) => Some(address),
            Reach::Routed => None,
        }
    }
}

/// A port of a host that leads to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Open {
    /// The port of the container.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// The address of the host.
    pub address: IpAddr,
    /// The port of the host.
    pub host: u16,
}

/// A port that a container was created with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// What leads where.
    pub publish: Publish,
    /// Whether the engine publishes it itself: then the port of the host is the engine's already.
    pub by_engine: bool,
}

/// What a container does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It runs.
    #[default]
    Running,
    /// Its processes are frozen: the kernel goes on to take connections for them.
    Paused,
    /// It does not run; the engine's word for it.
    Still(String),
}

/// What Docker's HEALTHCHECK says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DockerHealth {
    /// It has not passed yet.
    Starting,
    /// It passes.
    Healthy,
    /// It fails.
    Unhealthy,
}

/// How a container is connected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NetworkMode {
    /// By networks of its own: a bridge, macvlan, overlay.
    #[default]
    Networks,
    /// Not at all.
    None,
    /// It has the host's own stack.
    Host,
    /// It shares the stack of another container, by the id or name of that one.
    Container(String),
}

impl NetworkMode {
    /// The mode of `HostConfig.NetworkMode`.
    #[must_use]
    pub fn of(text: &str) -> Self {
        match (text, text.split_once(':')) {
            ("none", _) => Self::None,
            ("host", _) => Self::Host,
            (_, Some(("container", other))) => Self::Container(other.to_owned()),
            (_, Some(_) | None) => Self::Networks,
        }
    }
}

/// The addresses of a container in a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// IPv4.
    pub v4: Option<Ipv4Addr>,
    /// IPv6.
    pub v6: Option<Ipv6Addr>,
    /// What the network is.
    pub kind: NetworkKind,
}

/// What a network is, as far as the way into it is another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NetworkKind {
    /// A bridge of this host, or something that nobody knows.
    #[default]
    Bridge,
    /// Links of their own on a link of the host, which the host itself does not see.
    Macvlan,
    /// The same, with the MAC address of that link.
    Ipvlan,
    /// A network over several hosts. Its containers have a second address, on a bridge of this host,
    /// which is the one to reach them at.
    Overlay,
}

impl NetworkKind {
    /// The kind of a driver.
    #[must_use]
    pub fn of(driver: &str) -> Self {
        match driver {
            "macvlan" => Self::Macvlan,
            "ipvlan" => Self::Ipvlan,
            "overlay" => Self::Overlay,
            _ => Self::Bridge,
        }
    }

    /// What to do about a way that is not found.
    #[must_use]
    pub const fn hint(self) -> Option<&'static str> {
        match self {
            Self::Bridge | Self::Overlay => None,
            Self::Macvlan => Some(
                "its network is a macvlan, which this host is not in: give the host a macvlan link with the address of the network's gateway, or connect the container to a bridge",
            ),
            Self::Ipvlan => Some(
                "its network is an ipvlan, which this host is not in: give the host an ipvlan link with the address of the network's gateway, or connect the container to a bridge",
            ),
        }
    }
}

impl Addresses {
    /// One address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        let (v4, v6) = match address {
            IpAddr::V4(v4) => (Some(v4), None),
            IpAddr::V6(v6) => (None, Some(v6)),
        };
        Self { v4, v6, kind: NetworkKind::default() }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.v4.is_none() && self.v6.is_none()
    }
}
