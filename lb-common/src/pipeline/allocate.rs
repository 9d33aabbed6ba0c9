//! The stage of new flows of full NAT: each gets a port of this host that no other flow to the same
//! backend has.
//!
//! The tables of flows are the list of ports in use: the reply entry, whose key has the port, is inserted
//! where none is, and stands for the port as long as it is there. Nothing has to be given back.

use super::{
    Flow,
    flow_key::FlowKey,
    forward, full_nat, requests,
    verdict::{Action, Reason, Verdict},
    workspace::{Draft, Workspace},
};
use crate::{
    abi::{address::Address, flow::conn_kind, settings::Settings},
    packet::{Headers, Packet},
    tables::{Insert, Stage, Step, Tables},
    wire::protocol,
};

/// Ports tried for a flow. Where nine of ten are taken, one flow in thirty finds none, and another
/// one's first packet comes again in a second.
const TRIES: u32 = 32;

/// Records a flow whose forward entry is drafted, and ends its packet's way.
#[inline]
pub fn allocate<P: Packet, T: Tables>(packet: &mut P, tables: &T, now: u32) -> Verdict {
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

/// Where the packet is not sent on, what becomes of it is the error.
#[inline]
fn decide<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    headers: &Headers,
    now: u32,
    work: &mut Workspace,
) -> Result<(), Verdict> {
    let Some(settings) = tables.settings() else { return Err(Verdict::ended(Reason::TableFault)) };
    let Workspace { key, draft, decision, .. } = work;
    if key.read(packet, headers).is_none() {
        return Err(Verdict::ended(Reason::Malformed));
    }
    let Headers { tcp_flags, payload, .. } = *headers;
    let flow = Flow { key, settings, now, tcp_flags, payload };
    let (service, id) = (draft.conn.service, draft.conn.backend);
    let about = |reason| Verdict::about(reason, service, id);
    let Some(backend) = tables.backend(id) else { return Err(about(Reason::TableFault)) };
    *decision = forward::towards(packet.ingress(), headers, backend.source, &draft.conn, backend);
    if backend.source == Address::default() || matches!(decision.verdict.action, Action::Drop) {
        return Err(about(Reason::NoWay));
    }
    // Another CPU was first, or the client repeats itself: what is recorded counts.
    let known = Verdict::goes_on(Action::Track);
    let port = record(tables, &flow, draft, backend.source)
        .map_err(|reason| reason.map_or(known, about))?;
    decision.source_port = port;
    Ok(())
}

/// Makes both entries of a flow; returns its port. A flow that is there already is no reason.
#[inline]
fn record<T: Tables>(
    tables: &T,
    flow: &Flow<'_>,
    draft: &mut Draft,
    source: Address,
) -> Result<u16, Option<Reason>> {
    let mut forward = draft.conn;
    let (v6, number) = (!forward.address.is_v4(), flow.protocol());
    draft.key = FlowKey::new(v6, (forward.address, forward.port), (source, 0), number);
    full_nat::remember_client(&mut draft.conn, flow);
    (draft.conn.address, draft.conn.port) = flow.key.destination();
    draft.conn.kind = conn_kind::REPLY;
    let port = claim(tables, flow.settings, draft);
    if port == 0 {
        return Err(Some(Reason::NoPort));
    }
    forward.peer_port = port;
    let inserted = tables.insert_conn(Stage::Embryo, flow.key, &forward);
    if inserted != Insert::Done {
        tables.remove_conn(Stage::Embryo, &draft.key);
        return Err((inserted == Insert::Failed).then_some(Reason::TableFull));
    }
    tables.flow_unmet(number == protocol::UDP);
    tables.flow_begins(forward.service, forward.backend);
    requests::recorded(tables, &forward);
    Ok(port)
}

/// Inserts the drafted reply entry under a port that is free, in network byte order; 0 if none was found.
#[inline]
fn claim<T: Tables>(tables: &T, settings: &Settings, draft: &mut Draft) -> u16 {
    let Settings { source_port_first: first, source_ports: count, .. } = *settings;
    // Two flows that ask for the same port go apart; where there are few, each is tried.
    let stride = if count > TRIES { tables.random() | 1 } else { 1 };
    let place = tables.random();
    let mut search = Search { draft, first, count, place, stride, port: 0 };
    tables.repeat(TRIES, &mut search);
    search.port
}

/// Tries one port after another.
struct Search<'a> {
    draft: &'a mut Draft,
    first: u16,
    count: u32,
    place: u32,
    stride: u32,
    port: u16,
}

impl<T: Tables> Step<T> for Search<'_> {
    #[inline]
    fn step(&mut self, tables: &T, _index: u32) -> bool {
        self.place = self.place.wrapping_add(self.stride);
        let Some(place) = self.place.checked_rem(self.count) else { return true };
        let port = self.first.wrapping_add(place as u16).to_be();
        let Draft { key, conn } = &mut *self.draft;
        key.set_destination_port(port);
        if tables.insert_conn(Stage::Embryo, key, conn) != Insert::Done {
            return false;
        }
        // Looked for last: a flow is in both tables while it moves from the one to the other.
        if tables.conn(Stage::Conn, key).is_some() {
            tables.remove_conn(Stage::Embryo, key);
            return false;
        }
        self.port = port;
        true
    }
}
