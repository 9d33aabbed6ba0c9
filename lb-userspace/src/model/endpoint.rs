//! Addresses that packets name: what a service listens on, where a backend serves.

use std::{fmt, net::IpAddr};

use serde::Serialize;

/// Transport protocol of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The IP protocol number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// The protocol of an IP protocol number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// One port or an inclusive range of ports, never empty, never port 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// The dynamic ports of RFC 6335, section 6, without the first one.
    pub const DYNAMIC: Self = Self { first: 49_153, last: 65_535 };

    /// Where flows of full NAT come from: below what Linux takes for connections of the host's own
    /// (`net.ipv4.ip_local_port_range`), above most of what is listened on.
    pub const SOURCES: Self = Self { first: 10_000, last: 32_767 };

    /// `None` if a bound is 0 or the range is empty.
    #[must_use]
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first == 0 || first > last { None } else { Some(Self { first, last }) }
    }

    /// First port.
    #[must_use]
    pub const fn first(self) -> u16 {
        self.first
    }

    /// Last port.
    #[must_use]
    pub const fn last(self) -> u16 {
        self.last
    }

    /// Whether it is a single port.
    #[must_use]
    pub const fn is_single(self) -> bool {
        self.first == self.last
    }

    /// How many ports it is.
    #[must_use]
    pub const fn width(self) -> u16 {
        // 0 is no port, so all of them together are 65535.
        self.last - self.first + 1
    }

    /// Whether the port is one of them.
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// Whether two ranges share a port.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_single() {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// What a service listens on: a VIP, its ports and the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Listen {
    /// VIP.
    pub address: IpAddr,
    /// Ports.
    pub ports: PortRange,
    /// Protocol.
    pub protocol: Protocol,
}

impl Listen {
    /// Whether a packet could be meant for both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        let same = (self.address, self.protocol) == (other.address, other.protocol);
        same && self.ports.overlaps(other.ports)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V4(address) => write!(f, "{address}:")?,
            IpAddr::V6(address) => write!(f, "[{address}]:")?,
        }
        write!(f, "{}/{}", self.ports, self.protocol)
    }
}

impl Serialize for Listen {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where a backend serves; its identity. Port 0 keeps the destination port of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Address.
    pub address: IpAddr,
    /// Port, or 0 behind a listen range.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V4(address) => write!(f, "{address}:{}", self.port),
            IpAddr::V6(address) => write!(f, "[{address}]:{}", self.port),
        }
    }
}
