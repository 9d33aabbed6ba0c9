//! Backends: one array indexed by backend id; a change of state or of next hop is one write.

use core::mem::offset_of;

use super::{abi, address::Address};
use crate::wire::Macs;

/// Whether a backend takes new flows.
pub mod backend_state {
    /// The slot is unused: flows that still name it choose again or end.
    pub const ABSENT: u8 = 0;
    /// Takes new flows.
    pub const UP: u8 = 1;
    /// Drained: keeps its flows, takes no new ones.
    pub const CLOSED: u8 = 2;
    /// Fails its probes: takes no new flows, keeps its TCP flows; UDP flows choose again.
    pub const DOWN: u8 = 3;
}

/// How a packet leaves towards a backend.
pub mod way {
    /// Let the host's stack route it: slow, always correct.
    pub const STACK: u8 = 0;
    /// `bpf_redirect_peer` into the network namespace behind the host-side veth `ifindex` (TC);
    /// XDP redirects to the same interface.
    pub const PEER: u8 = 1;
    /// Out of `ifindex` with the MAC addresses of the entry.
    pub const LINK: u8 = 2;
}

abi! {
    /// A server behind one or more services. Index of the array: the backend id, from 1.
    pub struct Backend: 68 {
        /// Where it listens.
        pub address: Address,
        /// Port, network byte order.
        pub port: u16,
        /// One of [`backend_state`].
        pub state: u8,
        /// One of [`way`].
        pub way: u8,
        /// Distinguishes successive uses of one id: an old flow never reaches a new backend.
        pub generation: u32,
        /// Relative capacity, at least 1; used where a policy compares sampled backends.
        pub capacity: u32,
        /// The interface of the way out; 0 with [`way::STACK`].
        pub ifindex: u32,
        /// Next hop's MAC address.
        pub dst_mac: [u8; 6],
        /// MAC address of the way out.
        pub src_mac: [u8; 6],
        /// IP protocol number it serves; with address and port its identity.
        pub protocol: u32,
        /// This host's address towards the backend.
        pub source: Address,
        /// Largest packet that the way out takes, in bytes.
        pub mtu: u32,
    }
}

impl Backend {
    /// The MAC addresses of a frame to this backend.
    #[inline]
    #[must_use]
    #[expect(clippy::multiple_unsafe_ops_per_block, reason = "one read, in three steps")]
    pub const fn macs(&self) -> Macs {
        const _: () = assert!(
            offset_of!(Backend, src_mac) == offset_of!(Backend, dst_mac) + 6
                && offset_of!(Backend, dst_mac) % 4 == 0
        );
        // SAFETY: the two fields are twelve bytes side by side, aligned to a word, as asserted.
        let words = unsafe {
            core::ptr::from_ref(self)
                .cast::<u32>()
                .add(offset_of!(Self, dst_mac) / 4)
                .cast::<[u32; 3]>()
                .read()
        };
        Macs { words }
    }
}

abi! {
    /// Live load of a backend, shared by all CPUs, changed when flows and their turns begin and end
    /// only.
    pub struct BackendLoad: 24 {
        /// Open flows.
        pub flows: u64,
        /// Requests in flight: turns of flows with [`TURNS`](super::flow::conn_flag::TURNS) that
        /// wait for the backend.
        pub requests: u64,
        /// How often one of them changed: what a reader of the flow table may have missed.
        pub changes: u64,
    }
}
