//! What the socket hooks ask of maps beside the pipeline's tables.
//!
//! A packet may interrupt them on their CPU, so that even its own counters are added to in one
//! instruction.

use lb_common::{
    abi::{
        socket::{SocketKey, SocketPeer},
        stats::Traffic,
    },
    pipeline::verdict::Reason,
    tables::Sockets,
};

use crate::{
    maps::{BACKEND_STATS, REASONS, SERVICE_STATS, SOCKETS},
    tables::{KernelTables, add},
};

impl Sockets for KernelTables<false, true> {
    #[inline]
    fn socket(&self, key: &SocketKey) -> Option<SocketPeer> {
        // SAFETY: elements of this map are replaced, never written in place.
        unsafe { SOCKETS.get(key) }.copied()
    }

    #[inline]
    fn set_socket(&self, key: &SocketKey, peer: &SocketPeer) -> bool {
        SOCKETS.insert(key, peer, 0).is_ok()
    }

    #[inline]
    fn dialled(&self, service: u32, backend: u32) {
        count_flow(SERVICE_STATS.get_ptr_mut(service));
        count_flow(BACKEND_STATS.get_ptr_mut(backend));
    }

    #[inline]
    fn refused(&self, reason: Reason) {
        if let Some(counter) = REASONS.get_ptr_mut(reason as u32) {
            add(counter, 1);
        }
    }
}

#[inline]
fn count_flow(traffic: Option<*mut Traffic>) {
    if let Some(traffic) = traffic {
        // SAFETY: the pointer is to a map element.
        add(unsafe { &raw mut (*traffic).flows }, 1);
    }
}
