//! The stage of datagrams for nobody: who sends them is told that nobody is there, by a port unreachable
//! message from the VIP, as a host without a listener would (RFC 1122, 4.1.3.1; RFC 4443, 3.1).
//!
//! The message may be longer than the datagram, and whoever forges a source address has it sent there. So both
//! what one source is told and what all are told is limited (RFC 1812, 4.3.2.8; RFC 4443, 2.4 (f)).

use super::{
    message::{Message, tell},
    refuse::{addresses, is_wanted},
    verdict::{Action, Reason, Verdict},
};
use crate::{
    abi::{address::Address, rate::Token, service::AffinityKey},
    packet::{Headers, Packet},
    tables::Tables,
    wire::{Ethernet, Ipv4Hdr, Ipv6Hdr, Quote, field},
};

/// Destination unreachable, and its code "port unreachable".
const V4: Message = Message { kind: 3, code: 3, rest: 0 };
const V6: Message = Message { kind: 1, code: 4, rest: 0 };

/// Whose bucket all messages are from: no service has this id.
const EVERYBODY: u32 = 0;
/// Nanoseconds in which a source may be told once more, and in which it may be told as often as ever.
const SOURCE_NS: (u64, u64) = (100_000_000, 1_000_000_000);
/// The same for all sources together: what Linux sends of ICMP (`icmp_msgs_per_sec`, `icmp_msgs_burst`).
const ALL_NS: (u64, u64) = (1_000_000, 50_000_000);

/// Ends the way of a datagram whose headers and verdict were handed over.
#[inline]
pub fn unreachable<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Verdict {
    let headers = tables.handed_over();
    let handed = tables.with_workspace(|work| work.decision.verdict);
    let handed = handed.unwrap_or(Verdict::ended(Reason::TableFault));
    let length = packet.length();
    let told = answer(packet, tables, &headers).is_some();
    let (action, ifindex) =
        if told { (Action::Transmit, packet.ingress()) } else { (Action::Drop, 0) };
    let verdict = Verdict { action, ifindex, ..handed };
    tables.count(&verdict, length);
    verdict
}

/// Makes an answer of the datagram, if there may be one.
#[inline]
fn answer<P: Packet, T: Tables>(packet: &mut P, tables: &T, headers: &Headers) -> Option<()> {
    if headers.later || !is_wanted(tables) || is_to_many(packet)? {
        return None;
    }
    let (source, destination) = addresses(packet, headers)?;
    if !is_of_one(source, headers.v6) || is_group(destination, headers.v6) {
        return None;
    }
    let length = quotable(packet, headers)?;
    if !may_tell(tables, source, headers.v6) {
        return None;
    }
    tell(packet, headers, length, if headers.v6 { V6 } else { V4 })
}

/// Whether the frame is for many: the lowest bit of its destination's first byte.
#[inline]
fn is_to_many<P: Packet>(packet: &P) -> Option<bool> {
    let [first, ..] = packet.header::<Ethernet>(0)?.addresses;
    Some(first & 1 != 0)
}

/// Whether an address is that of a group, or of everybody.
#[inline]
fn is_group(address: Address, v6: bool) -> bool {
    let first = first_byte(address, v6);
    if v6 { first == 0xff } else { first >= 224 }
}

/// Whether an address can be that of one host on a network (RFC 1122, 3.2.1.3; RFC 4443, 2.4 (e)).
#[inline]
fn is_of_one(address: Address, v6: bool) -> bool {
    let [a, b, c, _] = address.words;
    // The unspecified address, the loopback, and what is left of addresses of IPv4 in those of IPv6.
    let own = if v6 { a | b | c == 0 } else { matches!(first_byte(address, v6), 0 | 127) };
    !own && !is_group(address, v6)
}

#[inline]
fn first_byte(address: Address, v6: bool) -> u32 {
    let [first, .., last] = address.words;
    u32::from_be(if v6 { first } else { last }) >> 24
}

/// How much of the packet is quoted: all there is, as far as there is room. What pads a frame is none of it.
#[inline]
fn quotable<P: Packet>(packet: &P, headers: &Headers) -> Option<usize> {
    let l3 = headers.network();
    let total = if headers.v6 {
        let ip = packet.header::<Ipv6Hdr>(l3)?;
        size_of::<Ipv6Hdr>() + usize::from(u16::from_be(field!(load16(ip), Ipv6Hdr, payload_len)))
    } else {
        usize::from(u16::from_be(field!(load16(packet.header::<Ipv4Hdr>(l3)?), Ipv4Hdr, tot_len)))
    };
    let there = (packet.length() as usize).checked_sub(l3)?;
    Some(total.min(there).min(Quote::LONGEST) & !(Quote::LEN - 1))
}

/// Takes the tokens of a message. The source's comes first: whoever has used up its own takes nothing from
/// the others. Over IPv6 a host has the 64 bits behind its network's to itself.
#[inline]
fn may_tell<T: Tables>(tables: &T, source: Address, v6: bool) -> bool {
    let now_ns = tables.clock_ns();
    let token = |(interval_ns, burst_ns)| Token { now_ns, interval_ns, burst_ns };
    let [a, b, ..] = source.words;
    let client = if v6 { Address { words: [a, b, 0, 0] } } else { source };
    tables.take_of_source(&AffinityKey { client, service: EVERYBODY }, &token(SOURCE_NS))
        && tables.take_of_service(EVERYBODY, &token(ALL_NS))
}
