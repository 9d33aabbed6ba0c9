//! What the pipeline asks of maps. The kernel answers from BPF maps (`lb-ebpf/src/tables.rs`),
//! tests and `weir explain` from [`MemoryTables`].

#[cfg(any(test, feature = "memory"))]
mod memory;
#[cfg(any(test, feature = "memory"))]
pub use memory::{MemoryTables, Tuple, tuple};

use crate::{
    abi::{
        backend::Backend,
        flow::{Conn, Origin, SharedConn},
        fragment::{Fragment, FragmentKey},
        gate::Gate,
        rate::Token,
        service::{Affinity, AffinityKey, ListenKey, RangeKey, Service, SourceKey},
        settings::Settings,
        socket::{SocketKey, SocketPeer},
    },
    packet::Headers,
    pipeline::{
        flow_key::{FamilyKey, FlowKey},
        verdict::{Reason, Verdict},
        workspace::Workspace,
    },
};

/// Which of the flow tables of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Before the client's second packet: a flood of first packets can only evict its like, of its own
    /// protocol.
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

/// What a backend shows by how it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Signal {
    /// The first payload of a turn.
    FirstByte,
    /// SYN-ACK.
    Handshake,
    /// A reset instead of a SYN-ACK.
    Refused,
    /// The end of the flow in place of an answer.
    Reset,
    /// Nothing, so that the client sent its SYN again.
    Repeated,
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
    /// Whether flows of full NAT are dealt with. In the kernel they have programs of their own, so that all
    /// others need to know no more of them than where they go.
    const FULL_NAT: bool;
    /// Whether all other flows are.
    const OTHERS: bool;
    /// A flow entry; it stays readable even if it is removed meanwhile.
    type Entry<'a>: core::ops::Deref<Target = SharedConn>
    where
        Self: 'a;

    /// Keeps the packet's headers for what follows, in this stage or the next.
    fn hand_over(&self, headers: Headers);
    /// The headers that were handed over. The kernel's verifier, which follows every path through
    /// the parser, knows nothing of where they come from: what follows is checked once for all
    /// paths.
    fn handed_over(&self) -> Headers;
    /// The settings.
    fn settings(&self) -> Option<&Settings>;
    /// The pre-filter: whether a service listens on `destination` or a backend answers from
    /// `source`, both in network byte order.
    fn port_in_use(&self, protocol: u8, source: u16, destination: u16) -> bool;
    /// The entry of a flow in the main table, for the path of every packet.
    fn established<K: FamilyKey>(&self, key: &K) -> Option<Self::Entry<'_>>;
    /// The entry of a flow.
    fn conn(&self, stage: Stage, key: &FlowKey) -> Option<Self::Entry<'_>>;
    /// Calls `f` with memory to work in.
    fn with_workspace<R>(&self, f: impl FnOnce(&mut Workspace) -> R) -> Option<R>;
    /// Adds a flow entry unless one is there.
    fn insert_conn(&self, stage: Stage, key: &FlowKey, conn: &Conn) -> Insert;
    /// Removes a flow entry.
    fn remove_conn(&self, stage: Stage, key: &FlowKey);
    /// Where the handshakes of a backend lead back to.
    fn origin(&self, backend: &ListenKey) -> Option<Origin>;
    /// Says where they do, unless that is known; `false` if it was, or there is no room.
    fn add_origin(&self, backend: &ListenKey, origin: &Origin) -> bool;
    /// Calls `f` with the count of first packets of a protocol.
    fn with_gate<R>(&self, datagrams: bool, f: impl FnOnce(&mut Gate) -> R) -> Option<R>;
    /// Counts the first packet of a flow there.
    fn flow_unmet(&self, datagrams: bool);
    /// Such a flow has turned out to have two ends.
    fn flow_met(&self, datagrams: bool);
    /// Takes a token out of a service's bucket, if there is one.
    fn take_of_service(&self, service: u32, token: &Token) -> bool;
    /// The same for a source of a service.
    fn take_of_source(&self, source: &AffinityKey, token: &Token) -> bool;
    /// Counts a flow that a limit refused.
    fn refused_flow(&self, service: u32, of_source: bool);
    /// A clock in nanoseconds.
    fn clock_ns(&self) -> u64;
    /// What the first fragment of a packet said.
    fn fragment(&self, key: &FragmentKey) -> Option<Fragment>;
    /// Keeps what it says.
    fn add_fragment(&self, key: &FragmentKey, fragment: &Fragment);
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
    /// Calls `step` with 0, 1, 2 and so on, at most `count` times, until it says that it is done.
    fn repeat<S: Step<Self>>(&self, count: u32, step: &mut S)
    where
        Self: Sized;
    /// The number of this turn of a service in a family; every call is a turn.
    fn turn(&self, service: u32, v6: bool) -> u64;
    /// 32 random bits.
    fn random(&self) -> u32;
    /// A backend.
    fn backend(&self, id: u32) -> Option<&Backend>;
    /// Open flows of a backend, or its requests in flight.
    fn load(&self, backend: u32, requests: bool) -> u64;
    /// A flow of a backend begins.
    fn flow_begins(&self, service: u32, backend: u32);
    /// A flow of a backend ends.
    fn flow_ends(&self, backend: u32);
    /// A backend is to answer.
    fn request_begins(&self, backend: u32);
    /// It need not answer any more.
    fn request_ends(&self, backend: u32);
    /// A backend has answered after so many microseconds.
    fn signal(&self, backend: u32, signal: Signal, micros: u32);
    /// A clock in microseconds, its low half.
    fn clock_us(&self) -> u32;
    /// Jiffies when the controller last looked after the capacities.
    fn heartbeat(&self) -> u32;
    /// Counts the outcome for a packet of `length` bytes.
    fn count(&self, verdict: &Verdict, length: u32);
}

/// What the socket hooks ask beside. They run in processes, which packets interrupt: nothing here
/// works in memory that belongs to a CPU.
pub trait Sockets: Tables {
    /// What is remembered of a socket and its peer.
    fn socket(&self, key: &SocketKey) -> Option<SocketPeer>;
    /// Remembers it; `false` if there is no room.
    fn set_socket(&self, key: &SocketKey, peer: &SocketPeer) -> bool;
    /// A flow of a backend begins of which nothing else will be seen.
    fn dialled(&self, service: u32, backend: u32);
    /// A call was refused.
    fn refused(&self, reason: Reason);
}
