//! What a stage works on and the kernel's stack has no room for, where 512 bytes hold a whole chain
//! of calls; and what it hands over to the next one.
//!
//! `repr(C)` throughout: during an upgrade a stage of one build may follow a stage of another.

use super::{
    flow_key::FlowKey,
    rewrite::Decision,
    verdict::{Reason, Verdict},
};
use crate::{
    abi::{address::Address, flow::Conn},
    packet::Headers,
    wire::Macs,
};

/// Memory of one CPU for the packet at hand: the element of `SCRATCH`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Workspace {
    /// Where the packet's headers lie, for the next stage.
    pub headers: Headers,
    /// The packet's flow.
    pub key: FlowKey,
    /// An entry that is about to be made.
    pub draft: Draft,
    /// How the packet is sent on.
    pub decision: Decision,
}

/// An entry of the flow table that is about to be made.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Draft {
    /// Its key.
    pub key: FlowKey,
    /// The entry.
    pub conn: Conn,
}

impl Workspace {
    /// A workspace.
    #[must_use]
    pub fn new() -> Self {
        let nowhere = (Address::default(), 0);
        let key = FlowKey::new(false, nowhere, nowhere, 0);
        let decision = Decision {
            verdict: Verdict::ended(Reason::Undecided),
            source: nowhere.0,
            destination: nowhere.0,
            source_port: 0,
            destination_port: 0,
            macs: Macs::default(),
        };
        Self {
            headers: Headers::default(),
            key,
            draft: Draft { key, conn: Conn::default() },
            decision,
        }
    }
}

impl Default for Workspace {
    fn default() -> Self {
        Self::new()
    }
}
