//! The stage of packets that are too large for their tunnel: who sends them is told how large they may
//! be (RFC 1191; RFC 4443, section 3.2), from the VIP, as a router on the way would tell.
//!
//! It is told as well if the packet could be fragmented: a tunnel of fragments costs the backend more than a
//! client that sends smaller packets from here on. Nothing is amplified: the answer is shorter.

use super::{
    message::{Message, tell},
    verdict::{Action, Reason, Verdict},
};
use crate::{
    packet::{Headers, Packet},
    tables::Tables,
    wire::{Quote, protocol},
};

/// Destination unreachable, and its code "fragmentation needed".
const UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;
/// `ICMPv6`: packet too big.
const PACKET_TOO_BIG: u8 = 2;

/// Ends the way of a packet whose headers and verdict were handed over.
#[inline]
pub fn too_big<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Verdict {
    let headers = tables.handed_over();
    let handed = tables.with_workspace(|work| work.decision.verdict);
    let handed = handed.unwrap_or(Verdict::ended(Reason::TableFault));
    let length = packet.length();
    // Nobody is told about later fragments, nor about errors (RFC 1122, 3.2.2).
    let transport = matches!(headers.protocol, protocol::TCP | protocol::UDP);
    let message = message(&headers, handed.ifindex);
    let told =
        transport && !headers.later && tell(packet, &headers, Quote::LONGEST, message).is_some();
    let (action, ifindex) =
        if told { (Action::Transmit, packet.ingress()) } else { (Action::Drop, 0) };
    let verdict = Verdict { action, ifindex, ..handed };
    tables.count(&verdict, length);
    verdict
}

/// How large a packet may be.
#[inline]
fn message(headers: &Headers, mtu: u32) -> Message {
    if headers.v6 {
        return Message { kind: PACKET_TOO_BIG, code: 0, rest: mtu };
    }
    // ICMP has 16 bits for it, behind 16 that are zero.
    Message { kind: UNREACHABLE, code: FRAGMENTATION_NEEDED, rest: mtu.min(0xffff) }
}
