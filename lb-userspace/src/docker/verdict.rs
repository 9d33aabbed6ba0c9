//! What becomes of a container, and why.

use std::net::IpAddr;

use crate::model::{Endpoint, Listen, PortRange, Protocol, ServiceName};

/// What becomes of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is not meant for Weir.
    Ignored(Ignored),
    /// It is a backend when it runs.
    Still(String),
    /// It is meant for Weir and cannot be a backend.
    Refused(Vec<Refusal>),
    /// It is a backend.
    Published {
        /// Where, in which services.
        places: Vec<(ServiceName, Endpoint)>,
        /// Why it gets no new flows at the moment.
        held: Option<Held>,
    },
}

/// Why a container is not meant for Weir.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// Nothing names it.
    #[error("it has no label weir.enable=true, and no service chooses it")]
    Unlabelled,
    /// Its other labels have no effect.
    #[error("it has labels for Weir, but not weir.enable=true, and no service chooses it")]
    NotEnabled,
    /// It says so.
    #[error("its label weir.enable is false")]
    Disabled,
}

/// Why a backend gets no new flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Held {
    /// It is frozen.
    #[error("paused")]
    Paused,
    /// It is going to stop.
    #[error("told to stop")]
    Stopping,
    /// Docker's HEALTHCHECK has not passed yet.
    #[error("Docker's health check has not passed yet")]
    Starting,
    /// Docker's HEALTHCHECK fails.
    #[error("Docker's health check fails")]
    Unhealthy,
}

/// Why a container that is meant for Weir cannot be a backend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A label that does not parse.
    #[error("{0}")]
    Label(String),
    /// Nothing names its service.
    #[error("{0:?} cannot name a service: set weir.service, 1 to 63 of a-z 0-9 - _ .")]
    Name(String),
    /// No network.
    #[error("network mode none: it cannot be reached")]
    NetworkNone,
    /// The host's network, where the host has no address.
    #[error("network mode host, and no uplink has an address to reach it at")]
    NetworkHost,
    /// The network of another host, where nobody says at which address that is.
    #[error(
        "network mode host on host {0}, whose containers are reached at their own addresses: it has none"
    )]
    NetworkHostElsewhere(String),
    /// A port of another host that leads nowhere.
    #[error(
        "its port {port}/{protocol} is not published at {address}, the address of its host: run it with -p {port}"
    )]
    NotPublished {
        /// The port.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
        /// The address of the host.
        address: IpAddr,
    },
    /// Any number of ports of another host.
    #[error(
        "a service of port ranges keeps the port that was dialled, and it is reached at published ports of {0}: `reach: routed` of its host"
    )]
    RangeElsewhere(IpAddr),
    /// The container whose network it shares is not there.
    #[error("it shares the network of container {0}, which does not run")]
    OwnerGone(String),
    /// The container whose network it shares was started anew.
    #[error("it is left in the network of an earlier start of container {0}: restart it")]
    OwnerRestarted(String),
    /// Containers that share each other's network.
    #[error("it shares the network of container {0}, which shares another one's")]
    OwnerShares(String),
    /// The network it should be reached through.
    #[error("it is not in network {wanted:?}; it is in {}", networks(there))]
    NotInNetwork {
        /// The one that was asked for.
        wanted: String,
        /// Those it is in.
        there: Vec<String>,
    },
    /// Several networks.
    #[error("it is in several networks ({}): say which by weir.network", .0.join(", "))]
    SeveralNetworks(Vec<String>),
    /// No network has given it an address.
    #[error("it has no address")]
    NoAddress,
    /// No address of a family that its service listens on.
    #[error("it has no {0} address, and service {1} listens on no other")]
    NoFamily(&'static str, ServiceName),
    /// Nobody says which port.
    #[error("which port? set weir.port: {}", exposed(.0, *.1))]
    NoPort(Vec<u16>, Protocol),
    /// A service without listen addresses.
    #[error(
        "where does service {0} listen? it is not in the configuration, and none of its containers has weir.listen, weir.publish or a port of Docker's -p"
    )]
    NoListen(ServiceName),
    /// Automatic ports for nothing.
    #[error(
        "service {0} has automatic ports for what the image exposes, and that is nothing: set weir.port"
    )]
    NothingExposed(ServiceName),
    /// A container that publishes other ports than its service.
    #[error(
        "it publishes none of the ports of service {0}, whose newest container says which these are"
    )]
    OtherPorts(ServiceName),
    /// A port of the host that is taken.
    #[error(
        "service {service} wants port {ports}/{protocol} of this host, which another process has"
    )]
    PortInUse {
        /// The service.
        service: ServiceName,
        /// The ports.
        ports: PortRange,
        /// Their protocol.
        protocol: Protocol,
    },
    /// No automatic port is left.
    #[error("service {service} wants an automatic port, and none of {range} is free")]
    NoFreePort {
        /// The service.
        service: ServiceName,
        /// The range.
        range: PortRange,
    },
    /// All addresses of a family that the host has none of.
    #[error("service {0} listens on all addresses of a family that none of its containers has")]
    NoHostAddress(ServiceName),
    /// Several services of the same containers.
    #[error(
        "service {0} publishes several ports, which are several services: one of them may have a scale, by weir.services.NAME.scale.*"
    )]
    ScaleOfSeveral(ServiceName),
    /// A label that contradicts the configuration.
    #[error("service {service} is in the configuration, which decides: remove {label}")]
    FileDecides {
        /// The service.
        service: ServiceName,
        /// The label.
        label: String,
    },
    /// A health check without a port.
    #[error(
        "service {0} has a health check, and nothing says which port to probe: set weir.health.port"
    )]
    NoProbePort(ServiceName),
    /// Two services that want the same port.
    #[error("service {service} wants {listen}, which service {holder} has")]
    Taken {
        /// The service that came later.
        service: ServiceName,
        /// What it wants.
        listen: Listen,
        /// The service that has it.
        holder: ServiceName,
    },
    /// A service that listens where a backend serves.
    #[error("service {service} wants {listen}, where a backend serves at {endpoint}")]
    ListenIsBackend {
        /// The service.
        service: ServiceName,
        /// What it wants.
        listen: Listen,
        /// The backend.
        endpoint: Endpoint,
    },
    /// A container behind an address that is listened on.
    #[error("it serves at {endpoint}, which is the service address {listen} of service {holder}")]
    BackendIsListen {
        /// Where it serves.
        endpoint: Endpoint,
        /// What is listened on.
        listen: Listen,
        /// By whom.
        holder: ServiceName,
    },
    /// Two backends at one place.
    #[error("{endpoint} is a backend already: {holder}")]
    TwoAtOnePlace {
        /// The place.
        endpoint: Endpoint,
        /// Who has it.
        holder: String,
    },
    /// The dataplane is full.
    #[error("there is no room: the dataplane is loaded for {limit} {what} (limits)")]
    NoRoom {
        /// Of what.
        what: &'static str,
        /// How many fit.
        limit: u32,
    },
}

fn networks(there: &[String]) -> String {
    if there.is_empty() { "none".to_owned() } else { there.join(", ") }
}

fn exposed(ports: &[u16], protocol: Protocol) -> String {
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    match &ports[..] {
        [] => format!("the image exposes no {protocol} port"),
        some => format!("the image exposes the {protocol} ports {}", some.join(", ")),
    }
}

impl Refusal {
    /// The kinds of refusals.
    pub const KINDS: [&str; 7] = ["file", "health", "label", "listen", "network", "port", "room"];

    /// The kind of it, one of [`KINDS`](Self::KINDS).
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Label(_) | Self::Name(_) | Self::ScaleOfSeveral(_) => "label",
            Self::NetworkNone
            | Self::NetworkHost
            | Self::NetworkHostElsewhere(_)
            | Self::OwnerGone(_)
            | Self::OwnerRestarted(_)
            | Self::OwnerShares(_)
            | Self::NotInNetwork { .. }
            | Self::SeveralNetworks(_)
            | Self::NoAddress
            | Self::NoFamily(..) => "network",
            Self::NoPort(..)
            | Self::OtherPorts(_)
            | Self::NothingExposed(_)
            | Self::NotPublished { .. }
            | Self::RangeElsewhere(_)
            | Self::TwoAtOnePlace { .. } => "port",
            Self::NoListen(_)
            | Self::NoHostAddress(_)
            | Self::PortInUse { .. }
            | Self::NoFreePort { .. }
            | Self::Taken { .. }
            | Self::ListenIsBackend { .. }
            | Self::BackendIsListen { .. } => "listen",
            Self::FileDecides { .. } => "file",
            Self::NoProbePort(_) => "health",
            Self::NoRoom { .. } => "room",
        }
    }

    /// Whether it may end without any container changing.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::PortInUse { .. } | Self::NoFreePort { .. })
    }

    /// The refusals of a container in one line.
    #[must_use]
    pub fn sentence(all: &[Self]) -> String {
        all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }
}
