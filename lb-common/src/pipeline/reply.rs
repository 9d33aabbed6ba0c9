//! From a backend back to its client: the source becomes the VIP, the way is the client's own.

use super::{
    Flow, conntrack,
    flow_key::FlowKey,
    rewrite::Decision,
    verdict::{Action, Reason, Verdict},
};
use crate::{
    abi::flow::{SharedConn, conn_flag, conn_state},
    packet::{Headers, Packet},
    tables::{Stage, Tables},
    wire::protocol,
};

/// A packet that hit a reply entry.
#[inline]
pub fn reply<K: FlowKey, P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    headers: &Headers,
    flow: &Flow<'_, K>,
    entry: &SharedConn,
    stage: Stage,
    decision: &mut Decision,
) {
    track(tables, flow, entry, stage);
    let turned = entry.flags & conn_flag::HAIRPIN != 0;
    let ifindex = entry.client_ifindex;
    let action = if ifindex == 0 || headers.tagged {
        Action::Pass
    } else if ifindex == packet.ingress() {
        Action::Transmit
    } else {
        Action::Redirect
    };
    *decision = Decision {
        verdict: Verdict {
            reason: Reason::Replied,
            action,
            ifindex,
            service: entry.service,
            backend: entry.backend,
        },
        source: entry.address,
        destination: if turned { flow.key.source() } else { flow.key.destination() },
        source_port: entry.port,
        destination_port: headers.destination_port,
        macs: entry.client_macs(),
    };
}

/// The first answer establishes a UDP flow; FIN and RST end a TCP flow.
#[inline]
fn track<K: FlowKey, T: Tables>(tables: &T, flow: &Flow<'_, K>, entry: &SharedConn, stage: Stage) {
    let state = if flow.protocol == protocol::UDP {
        conn_state::ESTABLISHED
    } else {
        conntrack::next_state(entry.state, entry.kind, flow.tcp_flags)
    };
    if state != entry.state {
        conntrack::set_state(tables, flow, entry, stage, state);
    }
}
