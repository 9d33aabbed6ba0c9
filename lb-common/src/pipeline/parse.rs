//! From a frame to the places of its headers. Anything unusual goes to the stack with its name.

use super::verdict::Reason;
use crate::{
    packet::{Headers, Packet},
    wire::{
        ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Extension, Ipv4Hdr, Ipv6Extension, Ipv6Fragment,
        Ipv6Hdr, Tcp, UdpHdr, VlanTag, field, is_vlan, protocol,
    },
};

/// Most VLAN tags looked through (802.1ad over 802.1Q).
const TAGS_MAX: usize = 2;
/// Most IPv6 extension headers looked through.
const EXTENSIONS_MAX: usize = 4;
/// Bytes of an IPv4 header without options.
const IPV4_LEN: usize = size_of::<Ipv4Hdr>();
/// Bytes of an IPv6 header.
const IPV6_LEN: usize = size_of::<Ipv6Hdr>();
/// More fragments follow, or this is not the first: RFC 791, flags and fragment offset.
pub(super) const FRAGMENT_MASK: u16 = 0x3fff;

/// Finds IPv4 or IPv6, and what it carries. Fragments are errors unless they are wanted.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(super) fn network<const FRAGMENTS: bool, P: Packet>(packet: &P) -> Result<Network, Reason> {
    let ethernet = packet.header::<Ethernet>(0).ok_or(Reason::Malformed)?;
    let mut ether_type = u16::from_be(field!(load16(ethernet), Ethernet, ether_type));
    let mut l3 = Ethernet::LEN;
    let mut tagged = packet.tagged_outside();
    for _ in 0..TAGS_MAX {
        if !is_vlan(ether_type) {
            break;
        }
        let tag = packet.header::<VlanTag>(l3).ok_or(Reason::Malformed)?;
        ether_type = u16::from_be(field!(load16(tag), VlanTag, ether_type));
        l3 += VlanTag::LEN;
        tagged = true;
    }
    match ether_type {
        ETHERTYPE_IPV4 => ipv4::<FRAGMENTS, P>(packet, l3, tagged),
        ETHERTYPE_IPV6 => ipv6::<FRAGMENTS, P>(packet, l3, tagged),
        other if is_vlan(other) => Err(Reason::TooManyHeaders),
        _ => Err(Reason::NotIp),
    }
}

/// What the network layer says of a packet.
#[derive(Clone, Copy)]
pub(super) struct Network {
    pub(super) at: At,
    /// The protocol of the transport header.
    pub(super) number: u8,
    /// Bytes from the transport header on.
    pub(super) payload: usize,
    pub(super) piece: Piece,
}

/// Which part of a packet a fragment is.
#[derive(Clone, Copy, Default)]
pub(super) struct Piece {
    /// Offset in units of 8 bytes, times 8; the lowest bit: more follow. 0: the whole packet, also
    /// with a fragment header (an atomic fragment, RFC 6946).
    pub(super) place: u16,
    /// The fragments of a packet have the same.
    pub(super) identification: u32,
}

impl Piece {
    /// Bits of `place` that are the offset.
    const OFFSET: u16 = 0xfff8;

    /// Whether the transport header is in an earlier one.
    pub(super) const fn is_later(self) -> bool {
        self.place & Self::OFFSET != 0
    }
}

#[cfg_attr(target_arch = "bpf", inline(always))]
pub(super) fn ipv4<const FRAGMENTS: bool, P: Packet>(
    packet: &P,
    l3: usize,
    tagged: bool,
) -> Result<Network, Reason> {
    let ip = packet.header::<Ipv4Hdr>(l3).ok_or(Reason::Malformed)?;
    let header_len = usize::from(ip.vihl & 0x0f) * 4;
    let total_len = usize::from(u16::from_be(field!(load16(ip), Ipv4Hdr, tot_len)));
    if ip.vihl >> 4 != 4 || header_len < IPV4_LEN || total_len < header_len {
        return Err(Reason::Malformed);
    }
    let fragment = u16::from_be(field!(load16(ip), Ipv4Hdr, frags)) & FRAGMENT_MASK;
    let mut piece = Piece::default();
    if fragment != 0 {
        if !FRAGMENTS {
            return Err(Reason::Fragment);
        }
        piece.place = fragment.rotate_left(3);
        piece.identification = u32::from(field!(load16(ip), Ipv4Hdr, id));
    }
    let at = At { l3, l4: l3 + header_len, v6: false, tagged, hop_limit: ip.ttl };
    Ok(Network { at, number: ip.proto, payload: total_len - header_len, piece })
}

#[cfg_attr(target_arch = "bpf", inline(always))]
pub(super) fn ipv6<const FRAGMENTS: bool, P: Packet>(
    packet: &P,
    l3: usize,
    tagged: bool,
) -> Result<Network, Reason> {
    let ip = packet.header::<Ipv6Hdr>(l3).ok_or(Reason::Malformed)?;
    let [version, ..] = ip.vcf;
    if version >> 4 != 6 {
        return Err(Reason::Malformed);
    }
    let mut payload = usize::from(u16::from_be(field!(load16(ip), Ipv6Hdr, payload_len)));
    let mut next_header = ip.next_hdr;
    let hop_limit = ip.hop_limit;
    let mut l4 = l3 + IPV6_LEN;
    let mut piece = Piece::default();
    for _ in 0..EXTENSIONS_MAX {
        match Extension::of(next_header) {
            Extension::End => break,
            // What follows in a later fragment is no header.
            Extension::Skip | Extension::Fragment if FRAGMENTS && piece.is_later() => break,
            Extension::Fragment if FRAGMENTS => {
                let header = packet.header::<Ipv6Fragment>(l4).ok_or(Reason::Malformed)?;
                piece.place = u16::from_be(field!(load16(header), Ipv6Fragment, place)) & !0b110;
                piece.identification = field!(load32(header), Ipv6Fragment, identification);
                payload = payload.checked_sub(Ipv6Fragment::LEN).ok_or(Reason::Malformed)?;
                next_header = header.next_header;
                l4 += Ipv6Fragment::LEN;
            }
            Extension::Fragment => return Err(Reason::Fragment),
            Extension::Skip => {
                let extension = packet.header::<Ipv6Extension>(l4).ok_or(Reason::Malformed)?;
                let length = (usize::from(extension.length) + 1) * 8;
                payload = payload.checked_sub(length).ok_or(Reason::Malformed)?;
                next_header = extension.next_header;
                l4 += length;
            }
        }
    }
    let at = At { l3, l4, v6: true, tagged, hop_limit };
    let network = Network { at, number: next_header, payload, piece };
    match Extension::of(next_header) {
        Extension::End => Ok(network),
        Extension::Skip | Extension::Fragment if piece.is_later() => Ok(network),
        Extension::Skip => Err(Reason::TooManyHeaders),
        Extension::Fragment => Err(Reason::Fragment),
    }
}

/// What is known before the transport header.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub(super) l3: usize,
    pub(super) l4: usize,
    pub(super) v6: bool,
    pub(super) tagged: bool,
    pub(super) hop_limit: u8,
}

impl At {
    /// The headers of a packet of which nothing else is known.
    #[cfg_attr(target_arch = "bpf", inline(always))]
    pub(super) fn headers(self) -> Headers {
        let Self { l3, l4, v6, tagged, hop_limit } = self;
        Headers { l3: l3 as u16, l4: l4 as u16, v6, tagged, hop_limit, ..Headers::default() }
    }
}

/// The transport header, with `payload` bytes from it to the end of the packet.
#[inline]
pub(super) fn transport<P: Packet>(
    packet: &P,
    at: At,
    number: u8,
    payload: usize,
) -> Result<Headers, Reason> {
    let (source_port, destination_port, tcp_flags, data) = match number {
        protocol::TCP => {
            let tcp = packet.header::<Tcp>(at.l4).ok_or(Reason::Malformed)?;
            if payload < size_of::<Tcp>() {
                return Err(Reason::Malformed);
            }
            let ports = (field!(load16(tcp), Tcp, source), field!(load16(tcp), Tcp, destination));
            let header_len = usize::from(tcp.data_offset >> 4) * 4;
            (ports.0, ports.1, tcp.flags, payload > header_len)
        }
        protocol::UDP => {
            let udp = packet.header::<UdpHdr>(at.l4).ok_or(Reason::Malformed)?;
            if payload < size_of::<UdpHdr>() {
                return Err(Reason::Malformed);
            }
            (field!(load16(udp), UdpHdr, src), field!(load16(udp), UdpHdr, dst), 0, true)
        }
        protocol::ICMP | protocol::ICMPV6 => return Err(Reason::Icmp),
        _ => return Err(Reason::NotTransport),
    };
    Ok(Headers {
        protocol: number,
        tcp_flags,
        payload: data,
        source_port,
        destination_port,
        ..at.headers()
    })
}
