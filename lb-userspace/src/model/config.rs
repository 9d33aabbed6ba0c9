//! A whole configuration.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Executor, PortRange, Service, Tunnel};

/// Which interfaces clients arrive on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interfaces {
    /// Those of the default routes.
    Auto,
    /// These.
    Named(Vec<String>),
}

/// Which hook the uplinks use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attach {
    /// TC where backends are containers of this host, native XDP where they are elsewhere.
    #[default]
    Auto,
    /// Native XDP.
    Xdp,
    /// Generic XDP.
    XdpGeneric,
    /// TC ingress.
    Tc,
}

/// Whether clients are balanced that are processes of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostClients {
    /// All of them, if there is a cgroup2 hierarchy.
    #[default]
    Auto,
    /// None.
    Off,
    /// Those below this directory of a cgroup2 hierarchy.
    Cgroup(PathBuf),
}

/// The daemon's own doors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Unix socket of the command line.
    pub socket: PathBuf,
    /// Metrics and health over HTTP; loopback unless said otherwise.
    pub http: Option<SocketAddr>,
}

/// Idle limits of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP before its handshake ends.
    pub tcp_new: Duration,
    /// Established TCP.
    pub tcp_established: Duration,
    /// TCP after one FIN.
    pub tcp_half_closed: Duration,
    /// TCP after both FINs.
    pub tcp_closed: Duration,
    /// Unanswered UDP.
    pub udp_new: Duration,
    /// Answered UDP.
    pub udp_established: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            tcp_new: Duration::from_secs(30),
            tcp_established: Duration::from_hours(2),
            tcp_half_closed: Duration::from_mins(2),
            tcp_closed: Duration::from_secs(10),
            udp_new: Duration::from_secs(30),
            udp_established: Duration::from_mins(3),
        }
    }
}

/// Capacities of the dataplane's tables, fixed while it is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Flow entries of each address family; a flow has two.
    pub conns: u32,
    /// Entries of flows before the client's second packet, of TCP and UDP each.
    pub embryos: u32,
    /// Services.
    pub services: u32,
    /// Backends.
    pub backends: u32,
    /// Pages of 1 KiB for slot tables.
    pub pages: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            conns: lb_common::maps::CONNS_MAX,
            embryos: lb_common::maps::EMBRYOS_MAX,
            services: lb_common::maps::SERVICES_MAX,
            backends: lb_common::maps::BACKENDS_MAX,
            pages: lb_common::maps::PAGES_MAX,
        }
    }
}

/// Source addresses of a backend's packets to itself through its own VIP. They must be routed
/// nowhere near the backend, so that its answer comes back to this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hairpin {
    /// Default: the IPv4 dummy address of RFC 7600.
    pub v4: Ipv4Addr,
    /// Default: an address of the discard-only prefix of RFC 6666.
    pub v6: Ipv6Addr,
}

impl Default for Hairpin {
    fn default() -> Self {
        Self { v4: Ipv4Addr::new(192, 0, 0, 8), v6: Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 8) }
    }
}

/// What becomes of TCP connections of a service without usable backends, and of those whose backend is
/// gone for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unserved {
    /// They are told by a reset.
    #[default]
    Reset,
    /// They hear nothing.
    Drop,
}

/// What becomes of echo requests (ping) for VIPs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ping {
    /// They are answered.
    #[default]
    Answer,
    /// The host's stack gets them.
    Pass,
}

/// A validated configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Uplinks.
    pub interfaces: Interfaces,
    /// Hook of the uplinks.
    pub attach: Attach,
    /// Clients on this host.
    pub host_clients: HostClients,
    /// What becomes of TCP connections that nobody can serve.
    pub unserved: Unserved,
    /// What becomes of echo requests for VIPs.
    pub ping: Ping,
    /// Services, in the order of the file.
    pub services: Vec<Service>,
    /// Admin socket and HTTP.
    pub admin: Admin,
    /// Idle limits.
    pub timeouts: Timeouts,
    /// Table sizes.
    pub limits: Limits,
    /// Hairpin addresses.
    pub hairpin: Hairpin,
    /// Tunnels.
    pub tunnel: Tunnel,
    /// Ports of this host that flows of full NAT come from.
    pub source_ports: PortRange,
    /// How long a removed backend keeps its flows.
    pub drain: Duration,
}

impl Config {
    /// Whether some service has its replicas started and stopped by a program.
    #[must_use]
    pub fn runs_programs(&self) -> bool {
        let scales = self.services.iter().filter_map(|service| service.scale.as_ref());
        scales.into_iter().any(|scale| matches!(scale.executor, Executor::Command { .. }))
    }
}
