//! Beside the stages: what leaves by an interface on which clients are. A process of this host that
//! serves a VIP answers through the host's own stack, and its replies meet no hook on their way in.

use super::{
    Flow,
    conntrack::{self, Found},
    full_nat, icmp,
    rewrite::perform,
    track::turn,
    unusual,
    verdict::{Action, Reason, Verdict},
    workspace::Workspace,
};
use crate::{
    abi::flow::conn_kind,
    packet::{Headers, Packet},
    tables::Tables,
};

/// Translates replies of this host's own processes; the stack has found their way already. Whatever
/// else leaves is none of ours, and is not counted: it was where it came in.
#[inline]
pub fn leave<P: Packet, T: Tables>(packet: &mut P, tables: &T, now: u32) -> Verdict {
    let headers = match unusual::headers(packet, tables, now) {
        Ok(headers) => headers,
        Err(Reason::Icmp) => return Verdict::goes_on(Action::Icmp),
        Err(_) => return OTHER,
    };
    tables.hand_over(headers);
    let headers = tables.handed_over();
    let verdict = tables.with_workspace(|work| {
        decide(packet, tables, &headers, now, work)?;
        Some(perform(packet, &headers, &work.decision))
    });
    let Some(verdict) = verdict.flatten() else { return OTHER };
    tables.count(&verdict, packet.length());
    verdict
}

/// Translates errors of the host itself about packets that it got by a VIP: a program of its own, as
/// [`icmp`](super::icmp::icmp) is.
#[inline]
pub fn leave_icmp<P: Packet, T: Tables>(packet: &mut P, tables: &T, now: u32) -> Verdict {
    let verdict = icmp::translate::<true, P, T>(packet, tables, now);
    if verdict.reason != Reason::IcmpError {
        return OTHER;
    }
    tables.count(&verdict, packet.length());
    verdict
}

const OTHER: Verdict = Verdict::ended(Reason::NotService);

/// How a reply leaves; `None` for everything else.
#[inline]
fn decide<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    headers: &Headers,
    now: u32,
    work: &mut Workspace,
) -> Option<()> {
    if !tables.port_in_use(headers.protocol, headers.source_port, headers.destination_port) {
        return None;
    }
    let settings = tables.settings()?;
    let Workspace { key, decision, .. } = work;
    key.read(packet, headers)?;
    let Headers { tcp_flags, payload, .. } = *headers;
    let flow = Flow { key, settings, now, tcp_flags, payload };
    let Found::Reply(entry, stage, vip) = conntrack::find(tables, &flow) else { return None };
    let from = (packet.ingress(), headers);
    full_nat::back(tables, &flow, (&entry, stage), from, vip, decision)?;
    turn(tables, &flow, &entry, stage, conn_kind::REPLY);
    decision.verdict.action = Action::Pass;
    Some(())
}
