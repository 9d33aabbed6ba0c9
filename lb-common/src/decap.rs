//! The other end of a tunnel, on a backend's host: packets that a balancer has wrapped become what its
//! client sent, and go on to the host's stack, which has the VIP.
//!
//! Whoever can send a packet here could otherwise speak in anybody's name and to anybody: a tunnel is opened only
//! if it comes from a balancer, and its packet goes on only if it is for an address of this host.

use crate::{
    abi::address::Address,
    packet::Packet,
    wire::{
        ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Ipv4Hdr, Ipv6Hdr, UdpHdr, field, load_v6,
        protocol,
    },
};

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Its packet goes on to the host's stack.
    Unwrapped,
    /// Left as it came, for the host's stack.
    Pass,
    /// Dropped.
    Drop,
}

/// How a packet ended. The number is the index of the counter in `DECAP_REASONS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Reason {
    /// It was a balancer's, and what it carried is the stack's.
    Unwrapped,
    /// No tunnel, or one with options, extension headers or in fragments.
    NotTunnel,
    /// A tunnel to somebody else.
    NotHere,
    /// A tunnel from nobody that may send one.
    SourceDenied,
    /// What it carries is no packet.
    Malformed,
    /// What it carries is for somebody else.
    InnerElsewhere,
    /// The packet could not be written to.
    Failed,
}

impl Reason {
    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Unwrapped,
        Self::NotTunnel,
        Self::NotHere,
        Self::SourceDenied,
        Self::Malformed,
        Self::InnerElsewhere,
        Self::Failed,
    ];
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The name in what `weir decap` prints.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unwrapped => "unwrapped",
            Self::NotTunnel => "not-tunnel",
            Self::NotHere => "not-here",
            Self::SourceDenied => "source-denied",
            Self::Malformed => "malformed",
            Self::InnerElsewhere => "inner-elsewhere",
            Self::Failed => "failed",
        }
    }

    /// What becomes of such a packet. The host may have tunnels of its own: what is not from a balancer is
    /// left to it.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::Unwrapped => Class::Unwrapped,
            Self::NotTunnel | Self::NotHere | Self::SourceDenied => Class::Pass,
            Self::Malformed | Self::InnerElsewhere | Self::Failed => Class::Drop,
        }
    }
}

/// What is asked of maps.
pub trait Decap {
    /// Destination port of tunnels with a UDP header, network byte order.
    fn gue_port(&self) -> u16;
    /// Whether an address is this host's.
    fn is_local(&self, address: &Address) -> bool;
    /// Whether tunnels may come from there.
    fn is_peer(&self, address: &Address) -> bool;
}

/// A packet that can lose its outer headers.
pub trait Tunnel: Packet {
    /// Takes bytes away behind the link header, which moves up.
    fn shrink(&mut self, bytes: usize) -> Option<()>;
}

/// Where the outer network header lies.
const L3: usize = Ethernet::LEN;
/// Version 4, five words.
const VERSION_4: u8 = 0x45;
/// More fragments follow, or this is not the first.
const FRAGMENT: u16 = 0x3fff;

/// Opens a tunnel.
#[inline]
pub fn unwrap<P: Tunnel, D: Decap>(packet: &mut P, maps: &D) -> Reason {
    let Some(outer) = outer(packet, maps) else { return Reason::NotTunnel };
    if !maps.is_local(&outer.destination) {
        return Reason::NotHere;
    }
    if !maps.is_peer(&outer.source) {
        return Reason::SourceDenied;
    }
    let bytes = outer.bytes();
    let Some(inner) = inner(packet, &outer) else { return Reason::Malformed };
    if !maps.is_local(&inner) {
        return Reason::InnerElsewhere;
    }
    match packet.shrink(bytes) {
        Some(()) => Reason::Unwrapped,
        None => Reason::Failed,
    }
}

/// The outer headers.
struct Outer {
    source: Address,
    destination: Address,
    v6: bool,
    udp: bool,
    /// Bytes that they say follow.
    payload: usize,
}

impl Outer {
    /// Length of these headers.
    #[inline]
    const fn bytes(&self) -> usize {
        let network = if self.v6 { size_of::<Ipv6Hdr>() } else { size_of::<Ipv4Hdr>() };
        network + if self.udp { size_of::<UdpHdr>() } else { 0 }
    }
}

#[inline]
fn outer<P: Tunnel, D: Decap>(packet: &P, maps: &D) -> Option<Outer> {
    let ethernet = packet.header::<Ethernet>(0)?;
    match u16::from_be(field!(load16(ethernet), Ethernet, ether_type)) {
        ETHERTYPE_IPV4 => {
            let ip = packet.header::<Ipv4Hdr>(L3)?;
            let fragment = u16::from_be(field!(load16(ip), Ipv4Hdr, frags)) & FRAGMENT;
            let udp = ip.proto == protocol::UDP;
            if ip.vihl != VERSION_4 || fragment != 0 || !(udp || ip.proto == protocol::IPIP) {
                return None;
            }
            let total = usize::from(u16::from_be(field!(load16(ip), Ipv4Hdr, tot_len)));
            let outer = Outer {
                source: Address::from_v4_word(field!(load32(ip), Ipv4Hdr, src_addr)),
                destination: Address::from_v4_word(field!(load32(ip), Ipv4Hdr, dst_addr)),
                v6: false,
                udp,
                payload: total.checked_sub(size_of::<Ipv4Hdr>())?,
            };
            with_udp::<_, D>(packet, maps, outer)
        }
        ETHERTYPE_IPV6 => {
            let ip = packet.header::<Ipv6Hdr>(L3)?;
            let [version, ..] = ip.vcf;
            let udp = ip.next_hdr == protocol::UDP;
            if version >> 4 != 6 || !(udp || ip.next_hdr == protocol::IPV6) {
                return None;
            }
            let (source, destination) = load_v6(ip);
            let outer = Outer {
                source: Address { words: source },
                destination: Address { words: destination },
                v6: true,
                udp,
                payload: usize::from(u16::from_be(field!(load16(ip), Ipv6Hdr, payload_len))),
            };
            with_udp::<_, D>(packet, maps, outer)
        }
        _ => None,
    }
}

/// Takes the UDP header off, if there has to be one.
#[inline]
fn with_udp<P: Tunnel, D: Decap>(packet: &P, maps: &D, outer: Outer) -> Option<Outer> {
    if !outer.udp {
        return Some(outer);
    }
    let at = if outer.v6 { size_of::<Ipv6Hdr>() } else { size_of::<Ipv4Hdr>() };
    let udp = packet.header::<UdpHdr>(L3 + at)?;
    if field!(load16(udp), UdpHdr, dst) != maps.gue_port() {
        return None;
    }
    let payload = outer.payload.checked_sub(size_of::<UdpHdr>())?;
    Some(Outer { payload, ..outer })
}

/// Whom the packet inside is for. It is of the family of the tunnel, and no longer than that says.
#[inline]
fn inner<P: Tunnel>(packet: &mut P, outer: &Outer) -> Option<Address> {
    const REACH: usize = L3 + 2 * size_of::<Ipv6Hdr>() + size_of::<UdpHdr>();
    packet.reach(REACH);
    if outer.v6 {
        let ip = if outer.udp {
            packet.header::<Ipv6Hdr>(L3 + size_of::<Ipv6Hdr>() + size_of::<UdpHdr>())?
        } else {
            packet.header::<Ipv6Hdr>(L3 + size_of::<Ipv6Hdr>())?
        };
        let [version, ..] = ip.vcf;
        let total = size_of::<Ipv6Hdr>()
            + usize::from(u16::from_be(field!(load16(ip), Ipv6Hdr, payload_len)));
        let fits = version >> 4 == 6 && total <= outer.payload;
        return fits.then(|| Address { words: load_v6(ip).1 });
    }
    let ip = if outer.udp {
        packet.header::<Ipv4Hdr>(L3 + size_of::<Ipv4Hdr>() + size_of::<UdpHdr>())?
    } else {
        packet.header::<Ipv4Hdr>(L3 + size_of::<Ipv4Hdr>())?
    };
    let total = usize::from(u16::from_be(field!(load16(ip), Ipv4Hdr, tot_len)));
    let header = usize::from(ip.vihl & 0x0f) * 4;
    let fits = ip.vihl >> 4 == 4
        && header >= size_of::<Ipv4Hdr>()
        && header <= total
        && total <= outer.payload;
    fits.then(|| Address::from_v4_word(field!(load32(ip), Ipv4Hdr, dst_addr)))
}
