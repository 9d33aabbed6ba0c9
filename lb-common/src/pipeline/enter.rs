//! The first stage, for every packet: one lookup, one rewrite. Whatever takes more goes on.
//!
//! What is decided here is what [`track`](super::track) would decide; this stage only knows the
//! plainest shape of a packet and the commonest state of a flow.

use super::{
    Flow,
    conntrack::idle,
    dials,
    flow_key::FamilyKey as _,
    forward,
    plain::Plain,
    reply, requests,
    verdict::{Action, Reason, Verdict},
};
use crate::{
    abi::{
        flow::{Conn, SharedConn, conn_flag, conn_kind, conn_state},
        settings::Settings,
    },
    packet::{Headers, Packet},
    tables::{Stage, Tables},
    wire::{
        ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, PlainV4, PlainV6, field, is_vlan, protocol,
        tcp_flag,
    },
};

/// Ends the packet's way, or says which stage it goes on to.
#[inline]
pub fn enter<P: Packet, T: Tables>(packet: &mut P, tables: &T, now: u32) -> Verdict {
    let verdict = by_family(packet, tables, now);
    if verdict.is_final() {
        tables.count(&verdict, packet.length());
    }
    verdict
}

#[inline]
fn by_family<P: Packet, T: Tables>(packet: &mut P, tables: &T, now: u32) -> Verdict {
    // Nothing shorter has ports.
    let Some(frame) = packet.header::<PlainV4>(0) else { return UNUSUAL };
    let ether_type = u16::from_be(field!(load16(&frame.ethernet), Ethernet, ether_type));
    if is_vlan(ether_type) || packet.tagged_outside() {
        return UNUSUAL;
    }
    match ether_type {
        ETHERTYPE_IPV4 => plain::<PlainV4, P, T>(packet, tables, now),
        ETHERTYPE_IPV6 => plain::<PlainV6, P, T>(packet, tables, now),
        _ => Verdict::ended(Reason::NotIp),
    }
}

const UNUSUAL: Verdict = Verdict::goes_on(Action::Unusual);

/// Hands a packet of plain shape over to another stage.
#[inline]
fn goes_on<T: Tables>(tables: &T, headers: Headers, stage: Action) -> Verdict {
    tables.hand_over(headers);
    Verdict::goes_on(stage)
}

/// A packet of the plainest shape. Every early end is a return: a decision exists only where
/// there is one, or the compiler would fill it with zeros on the way of every packet.
#[inline]
fn plain<F: Plain, P: Packet, T: Tables>(packet: &mut P, tables: &T, now: u32) -> Verdict {
    let Some(frame) = packet.header::<F>(0) else { return UNUSUAL };
    let Some(headers) = frame.headers(packet) else { return UNUSUAL };
    if !tables.port_in_use(headers.protocol, headers.source_port, headers.destination_port) {
        return Verdict::ended(Reason::NotService);
    }
    let key = frame.key(&headers);
    let track = || goes_on(tables, headers, Action::Track);
    let Some(settings) = tables.settings() else { return track() };
    let Some(entry) = tables.established(&key) else {
        // Whether a datagram is a flow's first only the second stage can tell.
        let dials = dials(headers.protocol, headers.tcp_flags);
        return goes_on(tables, headers, if dials { Action::Open } else { Action::Track });
    };
    let idle = idle(now, entry.last_seen);
    if !is_plain(&headers, &entry, settings, idle) {
        let stage = if entry.is_full_nat() { Action::FullNat } else { Action::Track };
        return goes_on(tables, headers, stage);
    }
    // Before anything else is known, that the call saves nothing which other packets would pay for.
    if !requests::same_turn(&headers, &entry) {
        let Headers { tcp_flags, payload, .. } = headers;
        let flow = Flow { key: &key.widen(), settings, now, tcp_flags, payload };
        requests::step(tables, &flow, &entry, Stage::Conn, entry.kind);
    }
    let (flow, ingress) = (key.widen(), packet.ingress());
    let decision = if entry.kind == conn_kind::REPLY {
        reply::back(ingress, &headers, &flow, &entry, (entry.address, entry.port))
    } else {
        let Some(backend) = tables.backend(entry.backend) else { return track() };
        // Replies take the way that the client's packets come.
        let macs = frame.ethernet().macs().swapped();
        let same_client = ingress == entry.client_ifindex && macs == entry.client_macs();
        if !forward::keeps(backend, &entry) || !same_client {
            return track();
        }
        forward::towards(ingress, &headers, flow.source().0, &entry, backend)
    };
    touch(&entry, now, idle);
    if let Action::Drop = decision.verdict.action {
        return decision.verdict;
    }
    if let Action::Encap = decision.verdict.action {
        return wrapped(tables, headers, decision.verdict);
    }
    let Some(frame) = packet.header_mut::<F>(0) else { return track() };
    let delta = frame.rewrite(&decision.rewrite(&headers));
    match packet.update_checksum(&headers, delta) {
        Some(()) => decision.verdict,
        None => decision.failed(),
    }
}

/// Hands over what is left to be done in [`encap`](super::encap).
#[inline]
fn wrapped<T: Tables>(tables: &T, headers: Headers, verdict: Verdict) -> Verdict {
    tables.hand_over(headers);
    match tables.with_workspace(|work| work.decision.verdict = verdict) {
        Some(()) => verdict,
        None => Verdict::ended(Reason::TableFault),
    }
}

/// One write a tick at most: other CPUs read the same cache line.
#[inline]
fn touch(entry: &SharedConn, now: u32, idle: u32) {
    if idle != 0 {
        entry.touch(now);
    }
}

/// What makes more of a packet than one lookup and one rewrite.
const UNUSUAL_FLAGS: u16 = conn_flag::HAIRPIN | conn_flag::FULL_NAT;

/// Whether a packet neither changes the state of its flow nor meets one that has ended. Datagrams
/// that nobody answers are a flow of their own kind: its first state is its only one.
#[inline]
fn is_plain(headers: &Headers, entry: &Conn, settings: &Settings, idle: u32) -> bool {
    const TURNS: u8 = tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST;
    let established = entry.state == conn_state::ESTABLISHED;
    let (stays, limit) = if headers.protocol == protocol::TCP {
        (established && headers.tcp_flags & TURNS == 0, settings.tcp_established_ticks)
    } else if established {
        (true, settings.udp_established_ticks)
    } else {
        (entry.kind == conn_kind::FORWARD, settings.udp_new_ticks)
    };
    stays && entry.flags & UNUSUAL_FLAGS == 0 && headers.hop_limit > 1 && idle <= limit
}
