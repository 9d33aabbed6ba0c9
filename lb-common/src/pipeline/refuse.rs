//! The stage of refusals: who opens a connection to nobody, or goes on with one whose backend is
//! gone, is told by a reset (RFC 9293, 3.10.7.1), as a host without a listener would.
//!
//! The packet itself is turned round, one answer for one packet: nothing is amplified, and whatever
//! checksum is left to the hardware stays so. Data that it carries stays in it; receivers ignore it.
//! Who sends datagrams is told in [`unreachable`](super::unreachable).

use super::verdict::{Action, Reason, Verdict};
use crate::{
    abi::{
        address::Address,
        settings::{Settings, settings_flag},
    },
    packet::{Delta, Headers, Packet, Rewrite, write_network, write_ports},
    tables::Tables,
    wire::{Ethernet, Ipv4Hdr, Ipv6Hdr, Tcp, UdpHdr, checksum, field, load_v6, protocol, tcp_flag},
};

/// Hops that an answer begins with.
const HOPS: u8 = 64;

/// Ends the way of a packet for nobody, whose headers and verdict were handed over.
#[inline]
pub fn refuse<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Verdict {
    let headers = tables.handed_over();
    let verdict = tables.with_workspace(|work| work.decision.verdict);
    let verdict = verdict.unwrap_or(Verdict::ended(Reason::TableFault));
    if headers.protocol == protocol::UDP {
        return Verdict { action: Action::Unreachable, ..verdict };
    }
    let answered = is_answered(tables, &headers) && answer(packet, &headers).is_some();
    let (action, ifindex) =
        if answered { (Action::Transmit, packet.ingress()) } else { (Action::Drop, 0) };
    let verdict = Verdict { action, ifindex, ..verdict };
    tables.count(&verdict, packet.length());
    verdict
}

/// A reset is no question, and a later fragment has no header to answer.
#[inline]
fn is_answered<T: Tables>(tables: &T, headers: &Headers) -> bool {
    headers.protocol == protocol::TCP
        && !headers.later
        && headers.tcp_flags & tcp_flag::RST == 0
        && is_wanted(tables)
}

/// Whether those for whom nobody is there are told (`unserved`).
#[inline]
pub(super) fn is_wanted<T: Tables>(tables: &T) -> bool {
    let wanted = |settings: &Settings| settings.flags & settings_flag::RESETS != 0;
    tables.settings().is_some_and(wanted)
}

/// Makes the packet its own answer.
#[inline]
fn answer<P: Packet>(packet: &mut P, headers: &Headers) -> Option<()> {
    let (source, destination) = addresses(packet, headers)?;
    let rewrite = Rewrite {
        headers: *headers,
        source: destination,
        destination: source,
        source_port: headers.destination_port,
        destination_port: headers.source_port,
        macs: packet.header::<Ethernet>(0)?.macs().swapped(),
        with_macs: true,
    };
    set_hops(packet, headers)?;
    let addresses = write_network(packet, &rewrite)?;
    let ports = write_ports(packet.header_mut::<UdpHdr>(headers.transport())?, &rewrite);
    let reset = write_reset(packet.header_mut::<Tcp>(headers.transport())?);
    packet.update_checksum(headers, Delta { addresses, ports: ports + reset })
}

#[inline]
pub(super) fn addresses<P: Packet>(packet: &P, headers: &Headers) -> Option<(Address, Address)> {
    if headers.v6 {
        let (source, destination) = load_v6(packet.header::<Ipv6Hdr>(headers.network())?);
        return Some((Address { words: source }, Address { words: destination }));
    }
    let ip = packet.header::<Ipv4Hdr>(headers.network())?;
    let source = Address::from_v4_word(field!(load32(ip), Ipv4Hdr, src_addr));
    Some((source, Address::from_v4_word(field!(load32(ip), Ipv4Hdr, dst_addr))))
}

/// Gives the packet the hops of a fresh one; the rewrite takes one off.
#[inline]
pub(super) fn set_hops<P: Packet>(packet: &mut P, headers: &Headers) -> Option<()> {
    if headers.v6 {
        packet.header_mut::<Ipv6Hdr>(headers.network())?.hop_limit = HOPS + 1;
        return Some(());
    }
    let ip = packet.header_mut::<Ipv4Hdr>(headers.network())?;
    // TTL is the upper byte of a 16-bit word in network order.
    let word = |hops: u8| u32::from(u16::from_be_bytes([hops, 0]).to_be());
    let delta = checksum::difference(word(ip.ttl), word(HOPS + 1));
    ip.ttl = HOPS + 1;
    let check = checksum::update(field!(load16(ip), Ipv4Hdr, check), delta);
    field!(store16(ip, check), Ipv4Hdr, check);
    Some(())
}

/// What the receiver takes for an answer: its own acknowledgement number comes back as the sequence
/// number; where it sent none, what it sent is acknowledged. Returns what that adds to the sum.
#[inline]
fn write_reset(tcp: &mut Tcp) -> u64 {
    let (sequence, acknowledged) =
        (field!(load32(tcp), Tcp, sequence), field!(load32(tcp), Tcp, acknowledgement));
    let old_flags = field!(load16(tcp), Tcp, data_offset);
    let old_window = field!(load16(tcp), Tcp, window);
    let (new_sequence, new_acknowledged, flags) = if tcp.flags & tcp_flag::ACK != 0 {
        (acknowledged, 0, tcp_flag::RST)
    } else {
        // The SYN counts as one byte.
        (0, u32::from_be(sequence).wrapping_add(1).to_be(), tcp_flag::RST | tcp_flag::ACK)
    };
    tcp.flags = flags;
    field!(store32(tcp, new_sequence), Tcp, sequence);
    field!(store32(tcp, new_acknowledged), Tcp, acknowledgement);
    field!(store16(tcp, 0), Tcp, window);
    let new_flags = field!(load16(tcp), Tcp, data_offset);
    checksum::difference(sequence, new_sequence)
        + checksum::difference(acknowledged, new_acknowledged)
        + checksum::difference(u32::from(old_flags), u32::from(new_flags))
        + checksum::difference(u32::from(old_window), 0)
}
