//! From a backend back to its client: the source becomes the VIP, the way is the client's own.

use super::{
    flow_key::FlowKey,
    rewrite::Decision,
    verdict::{Action, Reason, Verdict},
};
use crate::{
    abi::{
        address::Address,
        flow::{Conn, conn_flag},
    },
    packet::Headers,
};

/// Translated back to what the client asked, sent the client's way.
#[inline]
#[must_use]
pub fn back(
    ingress: u32,
    headers: &Headers,
    key: &FlowKey,
    entry: &Conn,
    (vip, port): (Address, u16),
) -> Decision {
    let turned = entry.flags & conn_flag::HAIRPIN != 0;
    let ifindex = entry.client_ifindex;
    let action = if ifindex == 0 || headers.tagged {
        Action::Pass
    } else if ifindex == ingress {
        Action::Transmit
    } else {
        Action::Redirect
    };
    Decision {
        verdict: Verdict {
            reason: Reason::Replied,
            action,
            zero: 0,
            ifindex,
            service: entry.service,
            backend: entry.backend,
        },
        source: vip,
        destination: if turned { key.source().0 } else { key.destination().0 },
        source_port: port,
        destination_port: headers.destination_port,
        macs: entry.client_macs(),
    }
}
