//! The stage of packets that change the state of their flow, of flows that are not established, and of
//! all that looked unusual.

use super::{
    Flow, conntrack,
    conntrack::{Done, Found},
    flow_key::hairpin,
    forward, full_nat, requests,
    rewrite::Decision,
    states::next_state,
    verdict::{Action, Reason, Verdict},
    workspace::Workspace,
};
use crate::{
    abi::{
        backend::{Backend, backend_state},
        flow::{Conn, SharedConn, conn_flag, conn_kind, conn_state},
    },
    packet::{Headers, Packet},
    tables::{Stage, Tables},
    wire::protocol,
};

/// Ends the packet's way, or finds that its flow has yet to be opened.
#[inline]
pub fn track<P: Packet, T: Tables>(packet: &mut P, tables: &T, now: u32) -> Verdict {
    let headers = tables.handed_over();
    let done = tables.with_workspace(|work| match decide(packet, tables, &headers, now, work) {
        Ok(()) => full_nat::perform(packet, tables, &work.decision),
        Err(verdict) => {
            work.decision.verdict = verdict;
            verdict
        }
    });
    let verdict = done.unwrap_or(Verdict::ended(Reason::TableFault));
    if verdict.is_final() {
        tables.count(&verdict, packet.length());
    }
    verdict
}

/// The flow table knows what to do, or there is no flow. Where the packet is not sent on, what
/// becomes of it is the error.
#[inline]
fn decide<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    headers: &Headers,
    now: u32,
    work: &mut Workspace,
) -> Result<(), Verdict> {
    if !tables.port_in_use(headers.protocol, headers.source_port, headers.destination_port) {
        return Err(Verdict::ended(Reason::NotService));
    }
    let Some(settings) = tables.settings() else { return Err(Verdict::ended(Reason::TableFault)) };
    let Workspace { key, decision, .. } = work;
    if key.read(packet, headers).is_none() {
        return Err(Verdict::ended(Reason::Malformed));
    }
    let Headers { tcp_flags, payload, .. } = *headers;
    let flow = Flow { key, settings, now, tcp_flags, payload };
    match conntrack::find(tables, &flow) {
        Found::Forward(entry, stage) => {
            known(packet, tables, headers, &flow, (&entry, stage), decision)
        }
        Found::Reply(entry, stage, vip) => {
            let from = (packet.ingress(), headers);
            if full_nat::back(tables, &flow, (&entry, stage), from, vip, decision).is_none() {
                conntrack::end(tables, &flow, &entry, stage);
                return Err(Verdict::ended(Reason::StaleReply));
            }
            turn(tables, &flow, &entry, stage, conn_kind::REPLY);
            Ok(())
        }
        Found::Elsewhere => {
            Err(Verdict::goes_on(if T::FULL_NAT { Action::Track } else { Action::FullNat }))
        }
        Found::Stale => Err(Verdict::ended(Reason::StaleReply)),
        // Only a first fragment can open a flow.
        Found::Nothing if headers.later => Err(Verdict::ended(Reason::Fragment)),
        Found::Nothing => Err(Verdict::goes_on(Action::Open)),
    }
}

/// A client's packet of a recorded flow.
#[inline]
fn known<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    headers: &Headers,
    flow: &Flow<'_>,
    (entry, stage): (&SharedConn, Stage),
    decision: &mut Decision,
) -> Result<(), Verdict> {
    // A SYN on a flow that has begun to close: the client uses its port again.
    let used_again = flow.opens() && entry.state > conn_state::ESTABLISHED;
    let backend = if used_again { None } else { still_there(tables, flow, entry, stage) };
    let Some(backend) = backend else {
        let gone = Verdict::about(Reason::BackendGone, entry.service, entry.backend).answered();
        conntrack::end(tables, flow, entry, stage);
        let opens = flow.opens() && !headers.later;
        return Err(if opens { Verdict::goes_on(Action::Open) } else { gone });
    };
    let Some(client) = conntrack::client(packet, headers) else {
        return Err(Verdict::ended(Reason::Malformed));
    };
    if client.ifindex != entry.client_ifindex || client.macs != entry.client_macs() {
        conntrack::set_client(tables, flow, entry, stage, &client);
    }
    let turned = entry.flags & conn_flag::HAIRPIN != 0;
    let source =
        if turned { hairpin(flow.settings, flow.key.is_v6()) } else { flow.key.source().0 };
    *decision = forward::towards(packet.ingress(), headers, source, entry, backend);
    if full_nat::has::<T>(entry) {
        full_nat::from_us(entry, backend, decision);
    }
    if stage == Stage::Embryo
        && !flow.dials()
        && entry.state != conn_state::CLOSED
        && !headers.again
    {
        return Err(Verdict::goes_on(Action::Settle));
    }
    turn(tables, flow, entry, stage, conn_kind::FORWARD);
    Ok(())
}

/// The backend of a recorded flow, unless the flow has lost it.
#[inline]
fn still_there<'t, T: Tables>(
    tables: &'t T,
    flow: &Flow<'_>,
    entry: &Conn,
    stage: Stage,
) -> Option<&'t Backend> {
    let backend = tables.backend(entry.backend)?;
    let state = backend.state;
    let gone = state == backend_state::ABSENT || backend.generation != entry.generation;
    // What can still choose again moves on where staying has no future: a handshake with a
    // backend that takes no new flows, datagrams to one that does not answer its probes.
    let moves = flow.opens()
        && if flow.protocol() == protocol::UDP {
            state == backend_state::DOWN
        } else {
            stage == Stage::Embryo && state != backend_state::UP
        };
    if gone
        || moves
        || full_nat::has::<T>(entry) && !full_nat::keeps_port(tables, flow, entry, stage)
    {
        return None;
    }
    Some(backend)
}

/// The first answer establishes a UDP flow; FIN and RST end a TCP flow. Where its service wants
/// to know of requests in flight, the packet may begin or end one.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub(super) fn turn<T: Tables>(
    tables: &T,
    flow: &Flow<'_>,
    entry: &SharedConn,
    stage: Stage,
    kind: u8,
) -> Done {
    if entry.flags & conn_flag::TURNS != 0 {
        requests::step(tables, flow, entry, stage, kind);
    }
    let answered = flow.protocol() == protocol::UDP && kind == conn_kind::REPLY;
    let state = if answered {
        conn_state::ESTABLISHED
    } else {
        next_state(entry.state, kind, flow.tcp_flags)
    };
    if state != entry.state {
        if answered {
            tables.flow_met(true);
        }
        conntrack::set_state(tables, flow, entry, stage, state);
    }
    Done::default()
}
