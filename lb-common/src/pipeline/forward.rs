//! From a client to a backend.

use super::{
    Flow,
    choose::Choice,
    conntrack::{self, Recorded},
    flow_key::{FlowKey, hairpin},
    rewrite::Decision,
    select::Chosen,
    verdict::{Action, Reason, Verdict},
};
use crate::{
    abi::{
        backend::{Backend, backend_state, way},
        flow::{Client, Conn, SharedConn, conn_flag, conn_state},
    },
    packet::{Headers, Packet},
    tables::{Stage, Tables},
    wire::{Ethernet, protocol, tcp_flag},
};

/// A packet of a recorded flow. Nothing is decided where its backend takes it no longer and it may
/// choose again.
#[inline]
pub fn known<K: FlowKey, P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    headers: &Headers,
    flow: &Flow<'_, K>,
    entry: &SharedConn,
    stage: Stage,
    decision: &mut Decision,
) {
    let (service, id) = (entry.service, entry.backend);
    // A SYN on a flow that has begun to close: the client uses its port again.
    if flow.opens() && entry.state > conn_state::ESTABLISHED {
        conntrack::end(tables, flow, entry, stage);
        return;
    }
    let Some(backend) = still_there(tables, flow, entry, stage) else {
        conntrack::end(tables, flow, entry, stage);
        if !flow.opens() {
            decision.end(Reason::BackendGone, service, id);
        }
        return;
    };
    let Some(client) = client(packet, headers) else {
        return decision.end(Reason::Malformed, service, id);
    };
    if client.ifindex != entry.client_ifindex || client.macs != entry.client_macs() {
        conntrack::set_client(tables, flow, entry, stage, &client);
    }
    if stage == Stage::Embryo && !flow.opens() && entry.state != conn_state::CLOSED {
        conntrack::promote(tables, flow);
    } else if flow.tcp_flags & (tcp_flag::FIN | tcp_flag::RST) != 0 {
        let state = conntrack::next_state(entry.state, entry.kind, flow.tcp_flags);
        conntrack::set_state(tables, flow, entry, stage, state);
    }
    towards(packet, headers, flow, entry, backend, decision);
}

/// The backend of a recorded flow, unless the flow has lost it.
#[inline]
fn still_there<'t, K: FlowKey, T: Tables>(
    tables: &'t T,
    flow: &Flow<'_, K>,
    entry: &Conn,
    stage: Stage,
) -> Option<&'t Backend> {
    let backend = tables.backend(entry.backend)?;
    let state = backend.state;
    let gone = state == backend_state::ABSENT || backend.generation != entry.generation;
    // What can still choose again moves on where staying has no future: a handshake with a
    // backend that takes no new flows, datagrams to one that does not answer its probes.
    let moves = flow.opens()
        && match stage {
            Stage::Embryo => state != backend_state::UP,
            Stage::Conn => flow.protocol == protocol::UDP && state == backend_state::DOWN,
        };
    if gone || moves { None } else { Some(backend) }
}

/// The first packet of a flow.
#[inline]
pub fn new<K: FlowKey, P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    headers: &Headers,
    flow: &Flow<'_, K>,
    choice: &Choice,
    decision: &mut Decision,
) {
    let (service, id) = (choice.service, choice.backend);
    if headers.hop_limit <= 1 {
        return decision.end(Reason::HopLimit, service, id);
    }
    let Some(backend) = tables.backend(id) else {
        return decision.end(Reason::TableFault, service, id);
    };
    let Some(client) = client(packet, headers) else {
        return decision.end(Reason::Malformed, service, id);
    };
    if conntrack::record(tables, flow, service, &Chosen { id, backend }, &client) == Recorded::Full
    {
        return decision.end(Reason::TableFull, service, id);
    }
    // What was recorded counts, also when another CPU was first with another choice.
    let Some(entry) = tables.conn(flow.first_stage(), &flow.key) else {
        return decision.end(Reason::TableFault, service, id);
    };
    match tables.backend(entry.backend) {
        Some(backend) => towards(packet, headers, flow, &entry, backend, decision),
        None => decision.end(Reason::TableFault, service, id),
    }
}

/// Where the packet came from. Replies to tagged frames go through the stack, which puts the tag on.
#[inline]
fn client<P: Packet>(packet: &P, headers: &Headers) -> Option<Client> {
    let ethernet = packet.header::<Ethernet>(0)?;
    let ifindex = if headers.tagged { 0 } else { packet.ingress() };
    Some(Client { ifindex, macs: ethernet.macs().swapped() })
}

/// Translated to its backend, sent the backend's way.
#[inline]
fn towards<K: FlowKey, P: Packet>(
    packet: &P,
    headers: &Headers,
    flow: &Flow<'_, K>,
    entry: &Conn,
    backend: &Backend,
    decision: &mut Decision,
) {
    let (way, ifindex) = (backend.way, backend.ifindex);
    // A tagged frame cannot leave by another interface as it is: the stack takes the tag off.
    let stays = ifindex == packet.ingress();
    let action = match way {
        way::STACK => Action::Pass,
        _ if headers.tagged && !stays => Action::Pass,
        way::PEER => Action::RedirectPeer,
        _ if stays => Action::Transmit,
        _ => Action::Redirect,
    };
    let turned = entry.flags & conn_flag::HAIRPIN != 0;
    *decision = Decision {
        verdict: Verdict {
            reason: Reason::Forwarded,
            action,
            ifindex,
            service: entry.service,
            backend: entry.backend,
        },
        source: if turned { hairpin::<K>(flow.settings) } else { flow.key.source() },
        destination: entry.address,
        source_port: headers.source_port,
        destination_port: entry.port,
        macs: backend.macs(),
    };
}
