//! What is balanced, in the words of the configuration.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

/// How the backend of a new flow is chosen (`docs/configuration.md`, `policy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    Maglev,
    SourceHash,
    Turn,
    Random,
    LeastConnections,
    ShortestDelay,
    TwoChoices,
    FourChoices,
    Adaptive,
    AdaptiveFour,
}

/// Whether a backend takes new flows, and keeps the ones it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Absent,
    Up,
    Closed,
    Down,
}

/// How packets reach a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Stack,
    /// A container of this host, behind this link.
    Inside(u32),
    /// A machine on this link.
    Link(u32),
}

/// What carries the packets of a service to its backends, which have its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// Packets of IP in those of IP (RFC 2003, RFC 2473).
    Ip,
    /// In datagrams (GUE, variant 1).
    Udp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    pub address: IpAddr,
    /// 0 keeps the port that the client dialled.
    pub port: u16,
    pub udp: bool,
    pub state: State,
    pub generation: u32,
    pub way: Way,
    /// Destination and source of frames to it.
    pub macs: ([u8; 6], [u8; 6]),
    pub capacity: u32,
    /// Our address on the way to it, and the longest packet that goes that way.
    pub source: IpAddr,
    pub mtu: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub id: u32,
    pub udp: bool,
    pub policy: Policy,
    /// Addresses with a first and a last port.
    pub listens: Vec<(IpAddr, u16, u16)>,
    /// Backend, weight.
    pub backends: Vec<(u32, u32)>,
    /// Networks that may connect; none: everybody may.
    pub sources: Vec<(IpAddr, u8)>,
    /// How long a client keeps its backend, in ticks.
    pub affinity: Option<u32>,
    /// Whether requests in flight are counted.
    pub counts_requests: bool,
    /// Its backends have the VIP: they get packets as they are, and answer past the balancer.
    pub direct: bool,
    /// Such packets travel in others.
    pub tunnel: Option<Tunnel>,
    /// Its backends see a port of this host.
    pub full_nat: bool,
}

/// Ports of this host: the first one, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    pub first: u16,
    pub count: u32,
}

impl Ports {
    pub fn contains(self, port: u16) -> bool {
        port.checked_sub(self.first).is_some_and(|place| u32::from(place) < self.count)
    }
}

/// How long idle flows are remembered, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub tcp_new: u32,
    pub tcp_established: u32,
    pub tcp_half_closed: u32,
    pub tcp_closed: u32,
    pub udp_new: u32,
    pub udp_established: u32,
}

#[derive(Clone, Debug)]
pub struct Config {
    pub services: BTreeMap<u32, Service>,
    pub backends: BTreeMap<u32, Backend>,
    pub timeouts: Timeouts,
    /// Whom a backend that calls its own service sees.
    pub hairpin: (IpAddr, IpAddr),
    /// Where tunnels over IPv4 come from, and the bits of that which say which flow it is.
    pub tunnel: (Ipv4Addr, u32),
    /// The port of tunnels of datagrams.
    pub gue_port: u16,
    /// Ports that flows of full NAT come from.
    pub ports: Ports,
    /// The controller looked after the capacities a moment ago.
    pub heartbeat: bool,
}

impl Config {
    /// The service that listens on an address: a single port before a range of ports, and of
    /// ranges the narrowest.
    pub fn service_of(&self, to: SocketAddr, udp: bool) -> Option<&Service> {
        let mut found: Option<(u16, &Service)> = None;
        for service in self.services.values().filter(|service| service.udp == udp) {
            for (address, first, last) in &service.listens {
                let width = last - first;
                if *address == to.ip()
                    && (*first..=*last).contains(&to.port())
                    && found.is_none_or(|(narrowest, _)| width < narrowest)
                {
                    found = Some((width, service));
                }
            }
        }
        found.map(|(_, service)| service)
    }

    /// Whether a service listens on this port, or a backend answers from that one.
    pub fn knows_port(&self, udp: bool, from: u16, to: u16) -> bool {
        let serves = |service: &Service| {
            service.udp == udp && service.listens.iter().any(|(_, a, z)| (*a..=*z).contains(&to))
        };
        let answers = |backend: &Backend| {
            let port = backend.port;
            backend.udp == udp && if port == 0 { ANY.contains(&from) } else { port == from }
        };
        self.services.values().any(serves) || self.backends.values().any(answers)
    }
}

/// The ports of backends without one: those of all ranges of the test.
pub const ANY: std::ops::RangeInclusive<u16> = 27008..=27023;

impl Service {
    /// The backends that serve an address family, with their weights. By full NAT one that has none is served by
    /// the other's.
    pub fn of_family(&self, config: &Config, v6: bool) -> Vec<(u32, u32)> {
        let of = |id: &u32| config.backends[id].address.is_ipv6() == v6;
        let own: Vec<_> = self.backends.iter().filter(|(id, _)| of(id)).copied().collect();
        if own.is_empty() && self.full_nat { self.backends.clone() } else { own }
    }

    /// Whether a client may connect.
    pub fn admits(&self, client: IpAddr) -> bool {
        self.sources.is_empty() || self.sources.iter().any(|network| contains(*network, client))
    }
}

fn contains((network, length): (IpAddr, u8), address: IpAddr) -> bool {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => (4, u128::from(v4.to_bits()) << 96),
        IpAddr::V6(v6) => (6, v6.to_bits()),
    };
    let ((family, network), (other, address)) = (bits(network), bits(address));
    let differs = (network ^ address).checked_shr(128 - u32::from(length)).unwrap_or(0);
    family == other && differs == 0
}
