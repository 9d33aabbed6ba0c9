//! The start of most frames as one piece.

use super::{Ethernet, Ipv4Hdr, Ipv6Hdr, UdpHdr};

/// Ethernet, IPv4 without options, and the eight bytes with which TCP and UDP begin.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PlainV4 {
    /// Link layer.
    pub ethernet: Ethernet,
    /// Network layer.
    pub ip: Ipv4Hdr,
    /// The ports, and what TCP has instead of the rest.
    pub ports: UdpHdr,
}

/// Ethernet, IPv6 without extensions, and the eight bytes with which TCP and UDP begin.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PlainV6 {
    /// Link layer.
    pub ethernet: Ethernet,
    /// Network layer.
    pub ip: Ipv6Hdr,
    /// The ports, and what TCP has instead of the rest.
    pub ports: UdpHdr,
}
