//! The stage of packets whose shape [`enter`](super::enter) does not read: tags, options, extension
//! headers, fragments. It finds the ports, and the flow is looked for in [`track`](super::track).
//!
//! Of the fragments of a packet the first has the ports; the others are of the flow that it was of.
//! Each is sent on by itself, and the receiver puts them together. One that comes before the first
//! is left to the stack, as all fragments of packets that nobody knows.

use super::{
    conntrack::idle,
    flow_key::FlowKey,
    parse::{self, Network, Piece},
    verdict::{Action, Reason, Verdict},
};
use crate::{
    abi::fragment::{Fragment, FragmentKey},
    packet::{Headers, Packet},
    tables::Tables,
};

/// How long the others may come after the first, in seconds: what Linux waits for all of them
/// (`ipfrag_time`).
const SECONDS: u32 = 30;

/// Ends the way of what is not ours, and finds the ports of everything else.
#[inline]
pub fn unusual<P: Packet, T: Tables>(packet: &mut P, tables: &T, now: u32) -> Verdict {
    let verdict = match headers(packet, tables, now) {
        Ok(headers) => {
            tables.hand_over(headers);
            return Verdict::goes_on(Action::Track);
        }
        Err(Reason::Icmp) => return Verdict::goes_on(Action::Icmp),
        Err(reason) => Verdict::ended(reason),
    };
    tables.count(&verdict, packet.length());
    verdict
}

/// The headers of a packet of any shape; of a later fragment with the ports of the first one.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(super) fn headers<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    now: u32,
) -> Result<Headers, Reason> {
    let network = parse::network::<true, P>(packet)?;
    let Network { at, number, payload, piece } = network;
    if piece.is_later() {
        return later(packet, tables, now, &network);
    }
    let headers = parse::transport(packet, at, number, payload)?;
    let Headers { source_port, destination_port, .. } = headers;
    if piece.place != 0 && tables.port_in_use(number, source_port, destination_port) {
        let key = key(packet, &headers, number, piece)?;
        let protocol = u32::from(number);
        tables.add_fragment(&key, &Fragment { source_port, destination_port, protocol, seen: now });
    }
    Ok(headers)
}

/// The headers of a later fragment.
#[cfg_attr(target_arch = "bpf", inline(always))]
fn later<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    now: u32,
    network: &Network,
) -> Result<Headers, Reason> {
    let Network { at, number, piece, .. } = *network;
    let plain = Headers { later: true, ..at.headers() };
    let key = key(packet, &plain, number, piece)?;
    let Some(settings) = tables.settings() else { return Err(Reason::TableFault) };
    let Some(first) = tables.fragment(&key) else { return Err(Reason::Fragment) };
    if idle(now, first.seen) > SECONDS.saturating_mul(settings.ticks_per_second) {
        return Err(Reason::Fragment);
    }
    Ok(Headers {
        source_port: first.source_port,
        destination_port: first.destination_port,
        protocol: first.protocol as u8,
        ..plain
    })
}

#[cfg_attr(target_arch = "bpf", inline(always))]
fn key<P: Packet>(
    packet: &P,
    headers: &Headers,
    number: u8,
    piece: Piece,
) -> Result<FragmentKey, Reason> {
    let mut flow = FlowKey::default();
    if flow.read(packet, headers).is_none() {
        return Err(Reason::Malformed);
    }
    let protocol = if headers.v6 { 0 } else { u32::from(number) };
    let (source, destination) = (flow.source().0, flow.destination().0);
    Ok(FragmentKey { source, destination, identification: piece.identification, protocol })
}
