//! Full NAT: the backend sees an address and a port of this host in place of the client's, so that its
//! answers come back here whatever its routes are.
//!
//! The forward entry has the port; the address is the backend's [`source`](Backend::source). The reply entry
//! has the client's address and port where other entries have the way to the client, which is in the
//! forward entry: so either way the other entry is asked, and both are of one flow only if each
//! leads to the other. A flow whose reply entry was evicted, and whose port may be another one's by now, has ended.

use super::{
    Flow, conntrack,
    flow_key::FlowKey,
    reply,
    rewrite::{self, Decision},
    translate,
    verdict::{Action, Verdict},
};
use crate::{
    abi::{
        address::Address,
        backend::Backend,
        flow::{Conn, SharedConn, conn_kind},
    },
    packet::{Headers, Packet},
    tables::{Stage, Tables},
};

/// Whether a flow, of those that are dealt with, is one of full NAT.
#[inline]
pub(super) const fn has<T: Tables>(conn: &Conn) -> bool {
    T::FULL_NAT && (!T::OTHERS || conn.is_full_nat())
}

/// The key of the entry for the other direction.
#[inline]
pub(super) fn partner<T: Tables>(tables: &T, key: &FlowKey, conn: &Conn) -> FlowKey {
    let (remote, protocol) = ((conn.address, conn.port), key.protocol());
    if conn.kind == conn_kind::FORWARD {
        // Without a backend there is no such entry: no key has port 0 here.
        let source = tables.backend(conn.backend).map_or_else(Address::default, |it| it.source);
        FlowKey::new(!remote.0.is_v4(), remote, (source, conn.peer_port), protocol)
    } else {
        FlowKey::new(!remote.0.is_v4(), (conn.client_address(), conn.peer_port), remote, protocol)
    }
}

/// The other entry of a flow. While the flow moves to the main table it may be in either.
#[inline]
pub(super) fn other<'t, T: Tables>(
    tables: &'t T,
    flow: &Flow<'_>,
    conn: &Conn,
    stage: Stage,
) -> Option<T::Entry<'t>> {
    let key = partner(tables, flow.key, conn);
    let elsewhere = match stage {
        Stage::Embryo => Stage::Conn,
        Stage::Conn => Stage::Embryo,
    };
    let other = match tables.conn(stage, &key) {
        Some(other) => other,
        None => tables.conn(elsewhere, &key)?,
    };
    is_pair(flow.key, conn, &other).then_some(other)
}

/// Whether an entry, found by another one, leads back to that.
#[inline]
fn is_pair(key: &FlowKey, conn: &Conn, other: &Conn) -> bool {
    let (source, destination) = (key.source(), key.destination());
    let remote = (other.address, other.port);
    let differs = if conn.kind == conn_kind::FORWARD {
        difference((other.client_address(), other.peer_port), source)
            | difference(remote, destination)
    } else {
        difference(remote, source) | u32::from(other.peer_port ^ destination.1)
    };
    other.is_full_nat() && other.kind != conn.kind && differs == 0
}

/// In what two ends differ. Without a branch for each word, which the verifier would follow both ways.
#[inline]
const fn difference((one, port): (Address, u16), (two, other): (Address, u16)) -> u32 {
    let ([a, b, c, d], [e, f, g, h]) = (one.words, two.words);
    (a ^ e) | (b ^ f) | (c ^ g) | (d ^ h) | (port ^ other) as u32
}

/// Whether the port of a client's flow is still its own.
#[inline]
pub(super) fn keeps_port<T: Tables>(
    tables: &T,
    flow: &Flow<'_>,
    entry: &Conn,
    stage: Stage,
) -> bool {
    let Some(reply) = conntrack::other(tables, flow, entry, stage) else { return false };
    // A flow lasts while either side speaks.
    reply.touch(flow.now);
    true
}

/// Writes the client into an entry that is about to be the reply's.
#[inline]
pub(super) const fn remember_client(conn: &mut Conn, flow: &Flow<'_>) {
    let (address, port) = flow.key.source();
    conn.set_client_address(address);
    conn.peer_port = port;
}

/// A client's packet leaves from an address and a port of ours.
#[inline]
pub(super) const fn from_us(entry: &Conn, backend: &Backend, decision: &mut Decision) {
    decision.source = backend.source;
    decision.source_port = entry.peer_port;
}

/// Acts on a decision; what leaves in the other family does so in a stage of its own.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(super) fn perform<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    decision: &Decision,
) -> Verdict {
    // Read again: what the paths to here found out of the headers need not be followed further.
    let headers = tables.handed_over();
    let ends = headers.hop_limit <= 1 || matches!(decision.verdict.action, Action::Drop);
    if T::FULL_NAT && !ends && translate::crosses(&headers, decision) {
        return Verdict { action: Action::Translate, ..decision.verdict };
    }
    rewrite::perform(packet, &headers, decision)
}

/// The way back to the client; `None` if the flow has lost it.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub(super) fn back<T: Tables>(
    tables: &T,
    flow: &Flow<'_>,
    (entry, stage): (&SharedConn, Stage),
    (ingress, headers): (u32, &Headers),
    vip: (Address, u16),
    decision: &mut Decision,
) -> Option<()> {
    if !has::<T>(entry) {
        *decision = reply::back(ingress, headers, flow.key, entry, vip);
        return Some(());
    }
    let forward = conntrack::other(tables, flow, entry, stage)?;
    forward.touch(flow.now);
    *decision = reply::back(ingress, headers, flow.key, &forward, vip);
    decision.destination = entry.client_address();
    decision.destination_port = entry.peer_port;
    Some(())
}
