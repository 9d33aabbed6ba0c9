//! The outer side of tunnels to backends.

use ipnet::{Ipv4Net, Ipv6Net};

/// Where tunnels come from, and the port of those with a UDP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Sources over IPv4, one for each flow. `None`: this host's address towards the backend.
    pub v4: Option<Ipv4Net>,
    /// Sources over IPv6.
    pub v6: Option<Ipv6Net>,
    /// Destination port.
    pub gue_port: u16,
}

impl Tunnel {
    /// The port that IANA has assigned to GUE.
    pub const GUE_PORT: u16 = 6080;
}

impl Default for Tunnel {
    fn default() -> Self {
        Self { v4: None, v6: None, gue_port: Self::GUE_PORT }
    }
}
