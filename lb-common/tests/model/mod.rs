//! A second balancer: slow, plain, and written from the documents (`docs/ARCHITECTURE.md`,
//! `docs/reasons.md`, `docs/configuration.md`, the RFCs of the protocols), with nothing of the
//! pipeline in it. It says of a frame, of all frames before it and of the configuration what must
//! come out, and the pipeline has to agree.
//!
//! Where the pipeline keeps two entries a flow in two tables, the model keeps a list of flows; where
//! the pipeline updates checksums, the model adds all words up. Where the choice of a backend is
//! left to chance or to a hash, the model is told who was chosen and says whether that may be.
//!
//! In reading order: config (what is balanced), frame (what a packet says), message (what ICMP says), flow (what is
//! remembered), balancer (what becomes of a packet), `full_nat` (ports of this host), translation (from one address
//! family to the other), errors (what becomes of ICMP), tunnel (packets in packets), policy (who may be chosen), traffic
//! (packets to try), gossip (ICMP to try).
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::struct_excessive_bools,
    reason = "a module of two test programs, each of which uses its part"
)]

pub mod balancer;
pub mod config;
pub mod errors;
pub mod flow;
pub mod frame;
pub mod full_nat;
pub mod gossip;
pub mod message;
pub mod policy;
pub mod tables;
pub mod traffic;
pub mod translation;
pub mod tunnel;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// To the host's stack, as it is by then.
    Pass,
    /// Nowhere.
    Drop,
    /// Back out of the link that it came by.
    Return,
    /// Out of this link.
    Link(u32),
    /// Into the namespace behind this link.
    Inside(u32),
}

/// The end of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// A name of `docs/reasons.md`.
    pub reason: &'static str,
    pub fate: Fate,
    /// Service and backend that it was about, 0 where there is none.
    pub service: u32,
    pub backend: u32,
    /// The frame as it leaves.
    pub bytes: Vec<u8>,
}
