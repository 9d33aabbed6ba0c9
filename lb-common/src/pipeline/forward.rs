//! From a client to a backend.

use super::{
    rewrite::Decision,
    verdict::{Action, Reason, Verdict},
};
use crate::{
    abi::{
        address::Address,
        backend::{Backend, backend_state, way},
        flow::{Conn, conn_flag},
    },
    packet::Headers,
};

/// Whether a backend takes the packets of a flow as a matter of course.
#[inline]
#[must_use]
pub const fn keeps(backend: &Backend, entry: &Conn) -> bool {
    backend.generation == entry.generation
        && matches!(backend.state, backend_state::UP | backend_state::CLOSED)
}

/// Translated to its backend, sent the backend's way.
#[inline]
#[must_use]
pub fn towards(
    ingress: u32,
    headers: &Headers,
    source: Address,
    entry: &Conn,
    backend: &Backend,
) -> Decision {
    let (reason, action) = by_way(ingress, headers.tagged, entry.flags, backend);
    let wrapped = entry.flags & conn_flag::TUNNEL != 0;
    let (action, ifindex) =
        if wrapped { (Action::Encap, u32::from(entry.flags)) } else { (action, backend.ifindex) };
    Decision {
        verdict: Verdict {
            reason: if wrapped { Reason::Forwarded } else { reason },
            action,
            zero: 0,
            ifindex,
            service: entry.service,
            backend: entry.backend,
        },
        source,
        destination: entry.address,
        source_port: headers.source_port,
        destination_port: entry.port,
        macs: backend.macs(),
    }
}

/// What the host's stack cannot send on.
const NOT_BY_STACK: u16 = conn_flag::DIRECT | conn_flag::FULL_NAT;

/// The backend's way, for packets of flows with these flags.
#[inline]
pub(super) const fn by_way(
    ingress: u32,
    tagged: bool,
    flags: u16,
    backend: &Backend,
) -> (Reason, Action) {
    let (way, ifindex) = (backend.way, backend.ifindex);
    // A tagged frame cannot leave by another interface as it is: the stack takes the tag off.
    let stays = ifindex == ingress;
    let action = match way {
        way::STACK => Action::Pass,
        _ if tagged && !stays => Action::Pass,
        way::PEER => Action::RedirectPeer,
        _ if stays => Action::Transmit,
        _ => Action::Redirect,
    };
    // The stack sends by addresses: a packet that keeps the VIP would come back. And it refuses what
    // comes from an address of its own, as tunnels and full NAT do.
    if matches!(action, Action::Pass) && flags & NOT_BY_STACK != 0 {
        (Reason::NoWay, Action::Drop)
    } else {
        (Reason::Forwarded, action)
    }
}
