//! Ethernet II (IEEE 802.3) and VLAN tags (IEEE 802.1Q, 802.1ad).

/// `EtherType` of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// `EtherType` of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_QINQ: u16 = 0x88a8;

/// Whether a VLAN tag follows.
#[inline]
#[must_use]
pub const fn is_vlan(ether_type: u16) -> bool {
    ether_type == ETHERTYPE_VLAN || ether_type == ETHERTYPE_QINQ
}

/// The Ethernet header.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// Destination MAC address.
    pub destination: [u8; 6],
    /// Source MAC address.
    pub source: [u8; 6],
    /// What follows, network byte order.
    pub ether_type: [u8; 2],
}

impl Ethernet {
    /// Length in bytes.
    pub const LEN: usize = size_of::<Self>();
}

/// What follows the Ethernet header of a tagged frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanTag {
    /// Priority, drop eligibility, VLAN id.
    pub control: [u8; 2],
    /// What follows, network byte order.
    pub ether_type: [u8; 2],
}

impl VlanTag {
    /// Length in bytes.
    pub const LEN: usize = size_of::<Self>();
}
