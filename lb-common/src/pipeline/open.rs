//! The third stage: the first packet of a flow. A backend is chosen and the flow recorded.

use super::{
    Flow,
    choose::choose,
    conntrack::{self, Recorded},
    flow_key::hairpin,
    forward, requests,
    rewrite::perform,
    select::{Chosen, NOBODY},
    verdict::{Action, Reason, Verdict},
    workspace::Workspace,
};
use crate::{
    abi::flow::conn_flag,
    packet::{Headers, Packet},
    tables::Tables,
};

/// Ends the packet's way, or finds that its flow is there already.
#[inline]
pub fn open<P: Packet, T: Tables>(packet: &mut P, tables: &T, now: u32) -> Verdict {
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
    let choice = choose(tables, &flow);
    let (service, id) = (choice.service, choice.backend);
    if id == NOBODY {
        return Err(Verdict::about(choice.why_not(), service, NOBODY).answered());
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
