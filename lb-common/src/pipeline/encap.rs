//! The stage of tunnels: a packet travels to its backend inside a packet of ours, as it is but for its
//! hops (RFC 2003, RFC 2473; with a UDP header that carries IP without one of its own, GUE variant 1,
//! draft-ietf-intarea-gue-09, section 4).
//!
//! What is one packet to us is one to everybody on the way: each flow leaves by a source of its own, a
//! port or an address, so that routers and network cards on the way spread flows, not backends.

use super::{
    forward::by_way,
    verdict::{Action, Reason, Verdict},
};
use crate::{
    abi::{address::Address, backend::Backend, flow::conn_flag, settings::Settings},
    packet::{Headers, Packet, Purpose, Room},
    tables::Tables,
    wire::{Ethernet, Ipv4Hdr, Ipv6Hdr, Tcp, UdpHdr, checksum, field, load_v6, protocol, store_v6},
};

/// Hops that a tunnel has.
const HOPS: u8 = 64;
/// Ports that say which flow it is: the dynamic ones (RFC 6335, section 6).
const PORTS: u16 = 0xc000;
/// Version 4, five words.
const VERSION_4: u8 = 0x45;
/// Not to be fragmented.
const DF: u16 = 0x4000;

/// Sends a packet on whose headers and verdict were handed over.
#[inline]
pub fn encap<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Verdict {
    let headers = tables.handed_over();
    let length = packet.length();
    let handed = tables.with_workspace(|work| work.decision.verdict);
    let verdict = match handed {
        Some(handed) => match wrap(packet, tables, &headers, &handed) {
            Ok(verdict) | Err(verdict) => verdict,
        },
        None => Verdict::ended(Reason::TableFault),
    };
    if verdict.is_final() {
        tables.count(&verdict, length);
    }
    verdict
}

/// What the packet inside says.
struct Inner {
    /// Its length.
    total: usize,
    /// Traffic class: what routers know of its urgency, and of congestion (RFC 6040, 4.1).
    class: u8,
    /// Differs from flow to flow.
    entropy: u32,
}

/// What becomes of the packet, on either side.
#[inline]
fn wrap<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    headers: &Headers,
    handed: &Verdict,
) -> Result<Verdict, Verdict> {
    let about = |reason| Verdict::about(reason, handed.service, handed.backend);
    let (Some(backend), Some(settings)) = (tables.backend(handed.backend), tables.settings())
    else {
        return Err(about(Reason::TableFault));
    };
    // A wrapped packet is ours: no tag of the client's network is on it.
    let flags = handed.ifindex as u16;
    let (reason, action) = by_way(packet.ingress(), headers.tagged, flags, backend);
    if reason != Reason::Forwarded {
        return Err(about(reason));
    }
    let Some(inner) = inner(packet, headers) else { return Err(about(Reason::Malformed)) };
    let udp = flags & conn_flag::UDP != 0;
    let bytes = network(headers.v6) + if udp { size_of::<UdpHdr>() } else { 0 };
    let mtu = backend.mtu as usize;
    if longest(packet, headers, &inner, bytes) > mtu {
        let limit = mtu.saturating_sub(bytes) as u32;
        let verdict = Verdict { action: Action::TooBig, ifindex: limit, ..about(Reason::TooBig) };
        return match tables.with_workspace(|work| work.decision.verdict = verdict) {
            Some(()) => Err(verdict),
            None => Err(about(Reason::TableFault)),
        };
    }
    let written = write(packet, headers, &inner, (settings, backend), (bytes, udp));
    if written.is_none() {
        return Err(about(Reason::RewriteFailed));
    }
    Ok(Verdict { action, ifindex: backend.ifindex, ..*handed })
}

/// Length of an IP header of ours.
#[inline]
const fn network(v6: bool) -> usize {
    if v6 { size_of::<Ipv6Hdr>() } else { size_of::<Ipv4Hdr>() }
}

/// Reads the packet, and takes one of its hops.
#[inline]
fn inner<P: Packet>(packet: &mut P, headers: &Headers) -> Option<Inner> {
    let ports = u32::from(headers.source_port) << 16 | u32::from(headers.destination_port);
    if headers.v6 {
        let ip = packet.header_mut::<Ipv6Hdr>(headers.network())?;
        ip.hop_limit = ip.hop_limit.wrapping_sub(1);
        let ([a, b, c, d], [e, f, g, h]) = load_v6(ip);
        let [first, second, ..] = ip.vcf;
        return Some(Inner {
            total: size_of::<Ipv6Hdr>()
                + usize::from(u16::from_be(field!(load16(ip), Ipv6Hdr, payload_len))),
            class: first << 4 | second >> 4,
            entropy: mix(a ^ b ^ c ^ d.rotate_left(7) ^ e ^ f ^ g ^ h.rotate_left(13), ports),
        });
    }
    let ip = packet.header_mut::<Ipv4Hdr>(headers.network())?;
    // TTL is the upper byte of a 16-bit word in network order: the word goes down by 0x0100.
    let hop = checksum::difference(u32::from(0x0100_u16.to_be()), 0);
    ip.ttl = ip.ttl.wrapping_sub(1);
    let check = checksum::update(field!(load16(ip), Ipv4Hdr, check), hop);
    field!(store16(ip, check), Ipv4Hdr, check);
    let source = field!(load32(ip), Ipv4Hdr, src_addr);
    let destination = field!(load32(ip), Ipv4Hdr, dst_addr);
    Some(Inner {
        total: usize::from(u16::from_be(field!(load16(ip), Ipv4Hdr, tot_len))),
        class: ip.tos,
        entropy: mix(source ^ destination.rotate_left(13), ports),
    })
}

/// Spreads what two words say over all bits of one: the end of `MurmurHash3`.
#[inline]
const fn mix(addresses: u32, ports: u32) -> u32 {
    let mut hash = addresses ^ ports.wrapping_mul(0x9e37_79b1);
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

/// The longest packet that will leave. Of one that the kernel cuts later, streams are cut into pieces
/// that leave room for the tunnel, datagrams are not.
#[inline]
fn longest<P: Packet>(packet: &P, headers: &Headers, inner: &Inner, bytes: usize) -> usize {
    let piece = packet.piece() as usize;
    if piece == 0 {
        return inner.total + bytes;
    }
    let before = headers.transport().saturating_sub(headers.network());
    if headers.protocol == protocol::TCP {
        before + size_of::<Tcp>() + piece
    } else {
        before + size_of::<UdpHdr>() + piece + bytes
    }
}

/// Writes the packet around the packet.
#[inline]
fn write<P: Packet>(
    packet: &mut P,
    headers: &Headers,
    inner: &Inner,
    (settings, backend): (&Settings, &Backend),
    (bytes, udp): (usize, bool),
) -> Option<()> {
    let (l3, v6) = (headers.network(), headers.v6);
    let purpose = if udp { Purpose::UdpTunnel } else { Purpose::Tunnel };
    let tcp = headers.protocol == protocol::TCP;
    packet.grow(&Room { l3, bytes, purpose, v6, tcp })?;
    packet.header_mut::<Ethernet>(0)?.set_macs(backend.macs());
    let total = inner.total + bytes;
    let length = if v6 {
        write_ipv6(packet.header_mut(l3)?, inner, (settings, backend), (total, udp))
    } else {
        write_ipv4(packet.header_mut(l3)?, inner, (settings, backend), (total, udp))
    };
    if udp {
        let header = packet.header_mut::<UdpHdr>(l3 + network(v6))?;
        let port = PORTS | inner.entropy as u16 & !PORTS;
        field!(store16(header, port.to_be()), UdpHdr, src);
        field!(store16(header, settings.gue_port), UdpHdr, dst);
        field!(store16(header, length), UdpHdr, len);
        // None: the packet inside has its own (RFC 6935 for IPv6).
        field!(store16(header, 0), UdpHdr, check);
    }
    Some(())
}

/// Returns the length of what follows, network byte order.
#[inline]
fn write_ipv4(
    ip: &mut Ipv4Hdr,
    inner: &Inner,
    (settings, backend): (&Settings, &Backend),
    (total, udp): (usize, bool),
) -> u16 {
    let source = source(settings.tunnel_v4, settings.tunnel_v4_mask, inner, backend).v4_word();
    ip.vihl = VERSION_4;
    ip.tos = inner.class;
    field!(store16(ip, (total as u16).to_be()), Ipv4Hdr, tot_len);
    // An identification is for fragments, which this one never has (RFC 6864).
    field!(store16(ip, 0), Ipv4Hdr, id);
    field!(store16(ip, DF.to_be()), Ipv4Hdr, frags);
    ip.ttl = HOPS;
    ip.proto = if udp { protocol::UDP } else { protocol::IPIP };
    field!(store16(ip, 0), Ipv4Hdr, check);
    field!(store32(ip, source), Ipv4Hdr, src_addr);
    field!(store32(ip, backend.address.v4_word()), Ipv4Hdr, dst_addr);
    let sum = u64::from(field!(load32(ip), Ipv4Hdr, vihl))
        + u64::from(field!(load32(ip), Ipv4Hdr, id))
        + u64::from(field!(load32(ip), Ipv4Hdr, ttl))
        + u64::from(source)
        + u64::from(backend.address.v4_word());
    field!(store16(ip, !checksum::fold(sum)), Ipv4Hdr, check);
    ((total - size_of::<Ipv4Hdr>()) as u16).to_be()
}

/// Returns the length of what follows, network byte order. The flow label tells flows apart as well
/// (RFC 6438).
#[inline]
fn write_ipv6(
    ip: &mut Ipv6Hdr,
    inner: &Inner,
    (settings, backend): (&Settings, &Backend),
    (total, udp): (usize, bool),
) -> u16 {
    let source = source(settings.tunnel_v6, settings.tunnel_v6_mask, inner, backend);
    let length = ((total - size_of::<Ipv6Hdr>()) as u16).to_be();
    let first = 6 << 28 | u32::from(inner.class) << 20 | inner.entropy & 0x000f_ffff;
    field!(store32(ip, first.to_be()), Ipv6Hdr, vcf);
    field!(store16(ip, length), Ipv6Hdr, payload_len);
    ip.next_hdr = if udp { protocol::UDP } else { protocol::IPV6 };
    ip.hop_limit = HOPS;
    store_v6(ip, source.words, backend.address.words);
    length
}

/// The address that a flow leaves from.
#[inline]
fn source(prefix: Address, mask: u32, inner: &Inner, backend: &Backend) -> Address {
    let [a, b, c, d] = prefix.words;
    if a | b | c | d == 0 {
        return backend.source;
    }
    Address { words: [a, b, c, d | inner.entropy & mask] }
}
