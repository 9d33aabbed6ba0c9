//! The third stage: the first packet of a flow. A backend is chosen and the flow recorded.

use super::{
    Flow,
    choose::choose,
    conntrack::{self, Recorded},
    flow_key::hairpin,
    forward, opens, requests,
    rewrite::perform,
    select::{Chosen, NOBODY},
    verdict::{Action, Reason, Verdict},
    workspace::Workspace,
};
use crate::{
    abi::{flow::conn_flag, gate::Gate, settings::Settings},
    packet::{Headers, Packet},
    tables::Tables,
    wire::protocol,
};

/// Ends the packet's way, or finds that its flow is there already.
#[inline]
pub fn open<P: Packet, T: Tables>(packet: &mut P, tables: &T, now: u32) -> Verdict {
    let headers = tables.handed_over();
    let steady = is_steady(tables, &headers, now);
    // What the verifier forgets in between it need not follow twice.
    tables.hand_over(Headers { steady, ..headers });
    let headers = tables.handed_over();
    let done = tables.with_workspace(|work| match decide(packet, tables, &headers, now, work) {
        Ok(()) => perform(packet, &headers, &work.decision),
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

/// Whether all packets of the flow have to find the same backend without an entry: this one is in the middle
/// of it, or so many flows begin and stay unanswered that the tables may forget it before its second packet.
#[inline]
fn is_steady<T: Tables>(tables: &T, headers: &Headers, now: u32) -> bool {
    if !opens(headers.protocol, headers.tcp_flags) {
        return true;
    }
    let Some(&Settings { ticks_per_second, pressure, .. }) = tables.settings() else {
        return false;
    };
    let pressed = |gate: &mut Gate| gate.is_pressed(now, ticks_per_second, pressure);
    tables.with_gate(headers.protocol == protocol::UDP, pressed).unwrap_or(false)
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
    if conntrack::is_shaking(tables, &flow) {
        return Err(Verdict::goes_on(Action::Track));
    }
    let choice = choose(tables, &flow, headers.steady, headers.again);
    let (service, id) = (choice.service, choice.backend);
    if choice.is_open() {
        return Err(Verdict::goes_on(Action::Limit));
    }
    if id == NOBODY {
        let why = choice.why_not().unwrap_or(Reason::TableFault);
        return Err(Verdict::about(why, service, NOBODY).answered());
    }
    let about = |reason| Verdict::about(reason, service, id);
    if headers.hop_limit <= 1 {
        return Err(about(Reason::HopLimit));
    }
    let Some(backend) = tables.backend(id) else { return Err(about(Reason::TableFault)) };
    let Some(client) = conntrack::client(packet, headers) else {
        return Err(about(Reason::Malformed));
    };
    let conn = &mut draft.conn;
    conntrack::fill_forward(conn, &flow, &choice, &Chosen { id, backend }, &client);
    requests::prepare(tables, choice.flags, conn);
    if conn.is_full_nat() {
        return Err(Verdict::goes_on(Action::Allocate));
    }
    let turned = conn.flags & conn_flag::HAIRPIN != 0;
    let source = if turned { hairpin(settings, headers.v6) } else { flow.key.source().0 };
    *decision = forward::towards(packet.ingress(), headers, source, conn, backend);
    match conntrack::record(tables, &flow, draft) {
        Recorded::New => Ok(()),
        // Another CPU was first, or the client repeats itself: what is recorded counts.
        Recorded::Known => Err(Verdict::goes_on(Action::Track)),
        Recorded::Full => Err(about(Reason::TableFull)),
    }
}
