//! What the pipeline asks of maps. The kernel answers from BPF maps (`lb-ebpf/src/tables.rs`),
//! tests and `weir explain` from [`MemoryTables`].

#[cfg(any(test, feature = "memory"))]
mod memory;
#[cfg(any(test, feature = "memory"))]
pub use memory::{MemoryTables, Tuple, tuple};

use crate::{
    abi::{
        backend::Backend,
        flow::{Conn, SharedConn},
        service::{Affinity, AffinityKey, ListenKey, RangeKey, Service, SourceKey},
        settings::Settings,
    },
    packet::Headers,
    pipeline::{
        choose::{Choice, NewFlow},
        flow_key::FlowKey,
        rewrite::Decision,
        verdict::Verdict,
    },
};

/// Which of the two flow tables of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Handshake not finished: a flood of first packets can only evict its like.
    Embryo,
    /// Everything else.
    Conn,
}

/// How an insertion ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insert {
    /// Recorded.
    Done,
    /// Another CPU was first.
    Exists,
    /// No room.
    Failed,
}

/// The body of a loop over slots. The kernel verifies such a body once (`bpf_loop`), where it
/// would walk every turn of a loop written out.
pub trait Step<T> {
    /// One turn; `true` ends the loop.
    fn step(&mut self, tables: &T, index: u32) -> bool;
}

/// The tables. What is replaced in place by the controller comes as a reference, so that only the
/// fields in use are read.
pub trait Tables {
    /// A flow entry; it stays readable even if it is removed meanwhile.
    type Entry<'a>: core::ops::Deref<Target = SharedConn>
    where
        Self: 'a;

    /// Returns `headers` as they are. The kernel's verifier, which follows every path through the
    /// parser, is made to forget them: what comes after is checked once for all of them.
    fn forget_paths(&self, headers: Headers) -> Headers;
    /// The settings.
    fn settings(&self) -> Option<&Settings>;
    /// The pre-filter: whether a service listens on `destination` or a backend answers from
    /// `source`, both in network byte order.
    fn port_in_use(&self, protocol: u8, source: u16, destination: u16) -> bool;
    /// The entry of a flow.
    fn conn<K: FlowKey>(&self, stage: Stage, key: &K) -> Option<Self::Entry<'_>>;
    /// Calls `f` with memory for one entry: the kernel's stack has no room for it.
    fn scratch<R>(&self, f: impl FnOnce(&mut Conn) -> R) -> Option<R>;
    /// Calls `f` with memory for a decision.
    fn with_decision<R>(&self, f: impl FnOnce(&mut Decision) -> R) -> Option<R>;
    /// Adds a flow entry unless one is there.
    fn insert_conn<K: FlowKey>(&self, stage: Stage, key: &K, conn: &Conn) -> Insert;
    /// Removes a flow entry.
    fn remove_conn<K: FlowKey>(&self, stage: Stage, key: &K);
    /// The service of an exact listen address.
    fn listen(&self, key: &ListenKey) -> Option<&Service>;
    /// The service of a port range.
    fn listen_range(&self, key: &RangeKey) -> Option<&Service>;
    /// Whether a source is in the allow list of a service.
    fn source_allowed(&self, key: &SourceKey) -> bool;
    /// The remembered backend of a client.
    fn affinity(&self, key: &AffinityKey) -> Option<Affinity>;
    /// Remembers it.
    fn set_affinity(&self, key: &AffinityKey, value: &Affinity);
    /// Slot `slot` (0 to 255) of a page.
    fn slot(&self, page: u32, slot: u32) -> Option<u32>;
    /// [`choose`](crate::pipeline::choose::choose) with these tables.
    fn choose(&self, flow: &NewFlow) -> Choice;
    /// Calls `step` with 0, 1, 2 and so on, at most `count` times, until it says that it is done.
    fn repeat<S: Step<Self>>(&self, count: u32, step: &mut S)
    where
        Self: Sized;
    /// The number of this turn of a service; every call is a turn.
    fn turn(&self, service: u32) -> u64;
    /// 32 random bits.
    fn random(&self) -> u32;
    /// A backend.
    fn backend(&self, id: u32) -> Option<&Backend>;
    /// Open flows of a backend.
    fn flows(&self, backend: u32) -> u64;
    /// A flow of a backend begins.
    fn flow_begins(&self, service: u32, backend: u32);
    /// A flow of a backend ends.
    fn flow_ends(&self, backend: u32);
    /// Counts the outcome for a packet of `length` bytes.
    fn count(&self, verdict: &Verdict, length: u32);
}
