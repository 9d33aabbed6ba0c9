//! The stage of packets that leave in the other address family: an IP header takes the place of the other
//! one (RFC 7915), and what it carries stays as it is but for ports and checksum.
//!
//! Fragments, options, extension headers, tags and datagrams without a checksum are not translated. IPv4 packets made
//! here may be fragmented: who sent the IPv6 packet hears nothing of a link that is too narrow.

use super::{
    rewrite::Decision,
    verdict::{Action, Reason, Verdict},
};
use crate::{
    packet::{Delta, Headers, Packet, difference_v6, write_ports},
    tables::Tables,
    wire::{
        ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Ipv4Hdr, Ipv6Hdr, UdpHdr, checksum, field,
        load_v6, protocol, store_v6,
    },
};

/// Where the network header lies: tags are not translated either.
const L3: usize = Ethernet::LEN;
const IPV4_LEN: usize = size_of::<Ipv4Hdr>();
const IPV6_LEN: usize = size_of::<Ipv6Hdr>();
/// Version 4, five words.
const VERSION_4: u8 = 0x45;
/// More fragments follow, or this is not the first.
const FRAGMENT: u16 = 0x3fff;

/// Whether a packet leaves in the other family.
#[inline]
#[must_use]
pub const fn crosses(headers: &Headers, decision: &Decision) -> bool {
    headers.v6 == decision.destination.is_v4()
}

/// Ends the way of a packet whose headers and decision were handed over.
#[inline]
pub fn translate<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Verdict {
    let headers = tables.handed_over();
    let length = packet.length();
    let done = tables.with_workspace(|work| {
        let decision = &work.decision;
        let Verdict { service, backend, .. } = decision.verdict;
        let about = |reason| Verdict::about(reason, service, backend);
        let Some(old) = read(packet, &headers) else { return about(Reason::NotTranslated) };
        match write(packet, &headers, decision, &old) {
            Some(()) => decision.verdict,
            None => about(Reason::RewriteFailed),
        }
    });
    let verdict = done.unwrap_or(Verdict::ended(Reason::TableFault));
    tables.count(&verdict, length);
    verdict
}

/// What a header says that goes.
struct Old {
    /// Traffic class.
    class: u8,
    /// Length of what it carries.
    payload: u16,
    /// Hops that are left.
    hops: u8,
    /// What its addresses take off a sum.
    addresses: u64,
    /// Tells packets of a flow apart: TCP's sequence number, UDP's length and checksum.
    identification: u16,
}

/// Reads the header that goes; `None` if there is more than that.
#[inline]
fn read<P: Packet>(packet: &P, headers: &Headers) -> Option<Old> {
    let length = if headers.v6 { IPV6_LEN } else { IPV4_LEN };
    if headers.tagged || headers.later || headers.transport() != L3 + length {
        return None;
    }
    let ports = packet.header::<UdpHdr>(L3 + length)?;
    let word = field!(load32(ports), UdpHdr, len);
    let identification = (word ^ word >> 16) as u16;
    if headers.v6 {
        let ip = packet.header::<Ipv6Hdr>(L3)?;
        let (source, destination) = load_v6(ip);
        let addresses = difference_v6(source, [0; 4]) + difference_v6(destination, [0; 4]);
        let payload = u16::from_be(field!(load16(ip), Ipv6Hdr, payload_len));
        // More than that has no room in IPv4.
        payload.checked_add(IPV4_LEN as u16)?;
        let [first, second, ..] = ip.vcf;
        let class = first << 4 | second >> 4;
        return Some(Old { class, payload, hops: ip.hop_limit, addresses, identification });
    }
    let ip = packet.header::<Ipv4Hdr>(L3)?;
    let is_fragment = u16::from_be(field!(load16(ip), Ipv4Hdr, frags)) & FRAGMENT != 0;
    // IPv6 has no datagrams without a checksum.
    let unchecked = headers.protocol == protocol::UDP && field!(load16(ports), UdpHdr, check) == 0;
    if is_fragment || unchecked {
        return None;
    }
    let addresses = checksum::difference(field!(load32(ip), Ipv4Hdr, src_addr), 0)
        + checksum::difference(field!(load32(ip), Ipv4Hdr, dst_addr), 0);
    let total = u16::from_be(field!(load16(ip), Ipv4Hdr, tot_len));
    let payload = total.checked_sub(IPV4_LEN as u16)?;
    Some(Old { class: ip.tos, payload, hops: ip.ttl, addresses, identification })
}

/// Puts the other header there.
#[inline]
fn write<P: Packet>(
    packet: &mut P,
    headers: &Headers,
    decision: &Decision,
    old: &Old,
) -> Option<()> {
    let v6 = !headers.v6;
    packet.change_family(v6)?;
    let ethernet = packet.header_mut::<Ethernet>(0)?;
    let ether_type = if v6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
    field!(store16(ethernet, ether_type.to_be()), Ethernet, ether_type);
    if !matches!(decision.verdict.action, Action::Pass) {
        ethernet.set_macs(decision.macs);
    }
    let (added, length) = if v6 {
        (write_ipv6(packet.header_mut(L3)?, headers.protocol, decision, old), IPV6_LEN)
    } else {
        (write_ipv4(packet.header_mut(L3)?, headers.protocol, decision, old), IPV4_LEN)
    };
    let moved = Headers { v6, l4: (L3 + length) as u16, ..*headers };
    let ports = write_ports(packet.header_mut::<UdpHdr>(L3 + length)?, &decision.rewrite(&moved));
    packet.update_checksum(&moved, Delta { addresses: old.addresses + added, ports })
}

/// Returns what the addresses add to a sum.
#[inline]
fn write_ipv6(ip: &mut Ipv6Hdr, number: u8, decision: &Decision, old: &Old) -> u64 {
    let first = (6_u32 << 28) | u32::from(old.class) << 20;
    field!(store32(ip, first.to_be()), Ipv6Hdr, vcf);
    field!(store16(ip, old.payload.to_be()), Ipv6Hdr, payload_len);
    (ip.next_hdr, ip.hop_limit) = (number, old.hops.wrapping_sub(1));
    let (source, destination) = (decision.source.words, decision.destination.words);
    store_v6(ip, source, destination);
    difference_v6([u32::MAX; 4], source) + difference_v6([u32::MAX; 4], destination)
}

/// The same for IPv4.
#[inline]
fn write_ipv4(ip: &mut Ipv4Hdr, number: u8, decision: &Decision, old: &Old) -> u64 {
    let (source, destination) = (decision.source.v4_word(), decision.destination.v4_word());
    (ip.vihl, ip.tos) = (VERSION_4, old.class);
    field!(store16(ip, (old.payload + IPV4_LEN as u16).to_be()), Ipv4Hdr, tot_len);
    field!(store16(ip, old.identification), Ipv4Hdr, id);
    field!(store16(ip, 0), Ipv4Hdr, frags);
    (ip.ttl, ip.proto) = (old.hops.wrapping_sub(1), number);
    field!(store16(ip, 0), Ipv4Hdr, check);
    field!(store32(ip, source), Ipv4Hdr, src_addr);
    field!(store32(ip, destination), Ipv4Hdr, dst_addr);
    let addresses = u64::from(source) + u64::from(destination);
    let sum = u64::from(field!(load32(ip), Ipv4Hdr, vihl))
        + u64::from(field!(load32(ip), Ipv4Hdr, id))
        + u64::from(field!(load32(ip), Ipv4Hdr, ttl))
        + addresses;
    field!(store16(ip, !checksum::fold(sum)), Ipv4Hdr, check);
    addresses
}
