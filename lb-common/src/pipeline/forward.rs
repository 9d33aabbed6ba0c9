//! From a client to a backend.

use super::{
    Flow,
    conntrack::{self, Recorded},
    flow_key::{FlowKey, hairpin},
    lookup, select,
    verdict::{Action, Reason, Verdict},
};
use crate::{
    abi::{
        address::Address,
        backend::{Backend, backend_state, way},
        flow::{Client, Conn, SharedConn, conn_flag, conn_state},
    },
    packet::{Headers, Macs, Packet, Rewrite},
    tables::{Stage, Tables},
    wire::{Ethernet, protocol, tcp_flag},
};

/// A packet of a recorded flow. `None`: its backend takes it no longer and it may choose again.
#[inline]
pub fn known<K: FlowKey, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    headers: &Headers,
    flow: &Flow<'_, K>,
    entry: &SharedConn,
    stage: Stage,
) -> Option<Verdict> {
    // A SYN on a flow that has begun to close: the client uses its port again.
    if flow.opens() && entry.state > conn_state::ESTABLISHED {
        conntrack::end(tables, flow, entry, stage);
        return None;
    }
    let Some(backend) = still_there(tables, flow, entry, stage) else {
        let verdict = about(entry, Reason::BackendGone);
        conntrack::end(tables, flow, entry, stage);
        return if flow.opens() { None } else { Some(verdict) };
    };
    let Some(client) = client(packet, headers) else {
        return Some(about(entry, Reason::Malformed));
    };
    if client.ifindex != entry.client_ifindex || client.mac != entry.client_mac {
        conntrack::set_client(tables, flow, entry, stage, &client);
    }
    if stage == Stage::Embryo && !flow.opens() && entry.state != conn_state::CLOSED {
        conntrack::promote(tables, flow);
    } else if flow.tcp_flags & (tcp_flag::FIN | tcp_flag::RST) != 0 {
        let state = conntrack::next_state(entry.state, entry.kind, flow.tcp_flags);
        conntrack::set_state(tables, flow, entry, stage, state);
    }
    let target = Target {
        address: entry.address,
        port: entry.port,
        turned: entry.flags & conn_flag::HAIRPIN != 0,
        service: entry.service,
        backend: entry.backend,
    };
    Some(send(packet, headers, flow, &target, backend))
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
    packet: &mut P,
    tables: &T,
    headers: &Headers,
    flow: &Flow<'_, K>,
) -> Verdict {
    let service = match lookup::lookup(tables, flow) {
        Ok(service) => service,
        Err(reason) => return Verdict::ended(reason),
    };
    let service_id = service.id;
    let ended = |reason| Verdict { service: service_id, ..Verdict::ended(reason) };
    if headers.hop_limit <= 1 {
        return ended(Reason::HopLimit);
    }
    let Some(client) = client(packet, headers) else { return ended(Reason::Malformed) };
    let id = select::select_id(tables, flow, service);
    let Some(chosen) = select::usable(tables, id) else { return ended(Reason::NoBackend) };
    match conntrack::record(tables, flow, service_id, &chosen, &client) {
        Recorded::Full => ended(Reason::TableFull),
        // The client's next packet finds the winner's entry.
        Recorded::Lost => ended(Reason::TableFault),
        Recorded::New => {
            let backend = chosen.backend;
            let (_, asked, _) = flow.key.ports();
            let target = Target {
                address: backend.address,
                port: if backend.port == 0 { asked } else { backend.port },
                turned: backend.address == flow.key.source(),
                service: service_id,
                backend: id,
            };
            send(packet, headers, flow, &target, backend)
        }
    }
}

#[inline]
const fn about(entry: &Conn, reason: Reason) -> Verdict {
    Verdict { service: entry.service, backend: entry.backend, ..Verdict::ended(reason) }
}

/// Where the packet came from. Replies to tagged frames go through the stack, which puts the tag on.
#[inline]
fn client<P: Packet>(packet: &P, headers: &Headers) -> Option<Client> {
    let ethernet = packet.header::<Ethernet>(0)?;
    let ifindex = if headers.tagged { 0 } else { packet.ingress() };
    Some(Client { ifindex, mac: ethernet.source, local_mac: ethernet.destination })
}

/// Where a packet of the flow goes.
struct Target {
    address: Address,
    port: u16,
    turned: bool,
    service: u32,
    backend: u32,
}

/// Translates the packet to its backend and sends it the backend's way.
#[inline]
fn send<K: FlowKey, P: Packet>(
    packet: &mut P,
    headers: &Headers,
    flow: &Flow<'_, K>,
    target: &Target,
    backend: &Backend,
) -> Verdict {
    let verdict = |reason, action| Verdict {
        reason,
        action,
        service: target.service,
        backend: target.backend,
    };
    if headers.hop_limit <= 1 {
        return verdict(Reason::HopLimit, Action::Pass);
    }
    let (way, ifindex) = (backend.way, backend.ifindex);
    // A tagged frame cannot leave by another interface as it is: the stack takes the tag off.
    let stays = ifindex == packet.ingress();
    let direct = way != way::STACK && (stays || !headers.tagged);
    let rewrite = Rewrite {
        headers: *headers,
        source: if target.turned { hairpin::<K>(flow.settings) } else { flow.key.source() },
        destination: target.address,
        source_port: headers.source_port,
        destination_port: target.port,
        macs: direct.then_some(Macs { destination: backend.dst_mac, source: backend.src_mac }),
    };
    if packet.apply(&rewrite).is_none() {
        return verdict(Reason::RewriteFailed, Action::Drop);
    }
    let action = match way {
        _ if !direct => Action::Pass,
        way::PEER => Action::RedirectPeer { ifindex },
        _ if stays => Action::Transmit,
        _ => Action::Redirect { ifindex },
    };
    verdict(Reason::Forwarded, action)
}
