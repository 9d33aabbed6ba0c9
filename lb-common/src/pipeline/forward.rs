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
    let (way, ifindex) = (backend.way, backend.ifindex);
    // A tagged frame cannot leave by another interface as it is: the stack takes the tag off.
    let stays = ifindex == ingress;
    let action = match way {
        way::STACK => Action::Pass,
        _ if headers.tagged && !stays => Action::Pass,
        way::PEER => Action::RedirectPeer,
        _ if stays => Action::Transmit,
        _ => Action::Redirect,
    };
    // The stack sends by addresses: a packet that keeps the VIP would come back.
    let (reason, action) = match action {
        Action::Pass if entry.flags & conn_flag::DIRECT != 0 => (Reason::NoWay, Action::Drop),
        action => (Reason::Forwarded, action),
    };
    Decision {
        verdict: Verdict {
            reason,
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
