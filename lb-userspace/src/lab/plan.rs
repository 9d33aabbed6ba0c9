//! What a laboratory looks like, and its fixed address plan.
//!
//! All addresses are of the benchmarking range 198.18.0.0/15 (RFC 2544) or unique local, so that a
//! mistake cannot reach anybody.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

/// The balancer's link to the client.
pub const UPLINK: &str = "up0";
/// The client's link.
pub const CLIENT_LINK: &str = "up-c";
/// The balancer's bridge in [`Topology::Bridge`], the switch's in [`Topology::Remote`].
pub const BRIDGE: &str = "br0";
/// The balancer's link to the switch in [`Topology::Remote`].
pub const DOWNLINK: &str = "dn0";

/// The balancer on [`UPLINK`].
pub const LB_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The balancer on [`UPLINK`].
pub const LB_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x18, 0, 0, 0, 0, 0, 1);
/// The client.
pub const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
/// The client.
pub const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x18, 0, 0, 0, 0, 0, 2);

/// The balancer towards the backends.
pub(super) const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 10, 1);
pub(super) const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x18, 0x10, 0, 0, 0, 0, 1);

/// As many backends as host numbers fit behind the gateway's own in 198.18.10.0/24.
pub const BACKENDS_MAX: u8 = 250;

/// How the backends hang on the balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// On a bridge of the balancer's, like Docker's containers.
    Bridge,
    /// On point-to-point links with host routes, like the pods of many Kubernetes networks.
    Routed,
    /// Behind a switch on a second link, like machines of their own.
    Remote,
}

/// What to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent switches of a builder")]
pub struct LabPlan {
    /// Number of backends, at most [`BACKENDS_MAX`].
    pub backends: u8,
    /// How they hang on the balancer.
    pub topology: Topology,
    /// Gives IPv6 addresses beside the IPv4 ones.
    pub ipv6: bool,
    /// Lets the balancer's kernel route between client and backends.
    pub forwarding: bool,
    /// Lets the sockets of client and backends leave checksums to the link. A veth never fills them
    /// in, and XDP hands on what it gets: XDP that redirects needs this off, as a real network card
    /// delivers complete checksums.
    pub checksum_offload: bool,
    /// GRO at the ends that face the balancer. It switches NAPI on, without which a veth drops what
    /// XDP redirects to it.
    pub gro: bool,
}

impl Default for LabPlan {
    fn default() -> Self {
        Self {
            backends: 3,
            topology: Topology::Bridge,
            ipv6: true,
            forwarding: true,
            checksum_offload: false,
            gro: true,
        }
    }
}

/// A VIP that clients reach by their default route; it is configured nowhere.
#[must_use]
pub const fn vip_v4(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 1, n)
}

/// A VIP that clients reach by their default route; it is configured nowhere.
#[must_use]
pub const fn vip_v6(n: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x18, 1, 0, 0, 0, 0, n as u16)
}

/// Address of backend `n`, counted from 1.
pub(super) const fn backend_v4(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 10, n + 1)
}

pub(super) const fn backend_v6(n: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x18, 0x10, 0, 0, 0, 0, n as u16 + 1)
}

/// The end of backend `n`'s link that is not in its namespace.
pub(super) fn host_link(n: u8) -> String {
    format!("veth{n}")
}

/// A MAC address, locally administered and the same in every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// One of the laboratory's: a segment and a number in it.
    pub(super) const fn new(segment: u8, number: u8) -> Self {
        Self([2, 0, 0, 0, segment, number])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02x}", if n == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

/// The balancer on [`UPLINK`].
pub const LB_MAC: Mac = Mac::new(0, 1);
pub(super) const CLIENT_MAC: Mac = Mac::new(0, 2);
pub(super) const GATEWAY_MAC: Mac = Mac::new(10, 1);
pub(super) const SWITCH_MAC: Mac = Mac::new(12, 1);

pub(super) const fn backend_mac(n: u8) -> Mac {
    Mac::new(10, n + 1)
}

pub(super) const fn host_link_mac(n: u8) -> Mac {
    Mac::new(11, n + 1)
}
