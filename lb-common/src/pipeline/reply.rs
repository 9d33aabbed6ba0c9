//! From a backend back to its client: the source becomes the VIP, the way is the client's own.

use super::{
    Flow, conntrack,
    flow_key::FlowKey,
    verdict::{Action, Reason, Verdict},
};
use crate::{
    abi::flow::{SharedConn, conn_flag, conn_state},
    packet::{Headers, Macs, Packet, Rewrite},
    tables::{Stage, Tables},
    wire::{protocol, tcp_flag},
};

/// A packet that hit a reply entry.
#[inline]
pub fn reply<K: FlowKey, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    headers: &Headers,
    flow: &Flow<'_, K>,
    entry: &SharedConn,
    stage: Stage,
) -> Verdict {
    let (service, backend) = (entry.service, entry.backend);
    let verdict = |reason, action| Verdict { reason, action, service, backend };
    if headers.hop_limit <= 1 {
        return verdict(Reason::HopLimit, Action::Pass);
    }
    track(tables, flow, entry, stage);
    let turned = entry.flags & conn_flag::HAIRPIN != 0;
    let ifindex = entry.client_ifindex;
    let direct = ifindex != 0 && !headers.tagged;
    let rewrite = Rewrite {
        headers: *headers,
        source: entry.address,
        destination: if turned { flow.key.source() } else { flow.key.destination() },
        source_port: entry.port,
        destination_port: headers.destination_port,
        macs: direct.then_some(Macs { destination: entry.client_mac, source: entry.local_mac }),
    };
    if packet.apply(&rewrite).is_none() {
        return verdict(Reason::RewriteFailed, Action::Drop);
    }
    let action = if !direct {
        Action::Pass
    } else if ifindex == packet.ingress() {
        Action::Transmit
    } else {
        Action::Redirect { ifindex }
    };
    verdict(Reason::Replied, action)
}

/// The first answer establishes a UDP flow; FIN and RST end a TCP flow.
#[inline]
fn track<K: FlowKey, T: Tables>(tables: &T, flow: &Flow<'_, K>, entry: &SharedConn, stage: Stage) {
    let state = if flow.protocol == protocol::UDP {
        conn_state::ESTABLISHED
    } else {
        conntrack::next_state(entry.state, entry.kind, flow.tcp_flags)
    };
    if flow.tcp_flags & (tcp_flag::FIN | tcp_flag::RST) != 0 || state != entry.state {
        conntrack::set_state(tables, flow, entry, stage, state);
    }
}
