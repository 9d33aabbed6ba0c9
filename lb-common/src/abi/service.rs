//! Services: who listens where, and how a new flow finds its backend.

use super::{abi, address::Address};

/// Slots in one [`Page`].
pub const PAGE_SLOTS: u32 = 256;
/// Most backends that a scanning policy looks at one by one; beyond it samples its table.
pub const SCAN_MAX: u32 = 32;

/// How the dataplane picks a slot or a backend. The controller maps the configured policy on it.
pub mod select {
    /// `table[hash(5-tuple)]`: Maglev.
    pub const HASH_FLOW: u8 = 0;
    /// `table[hash(client address)]`.
    pub const HASH_SOURCE: u8 = 1;
    /// `table[counter++ % len]`: (weighted) round-robin, the table is the turn order.
    pub const TURN: u8 = 2;
    /// `table[random]`: random by weight.
    pub const RANDOM: u8 = 3;
    /// `argmin flows / weight` over the whole list, ties to the earlier one: least-connections.
    pub const SCAN_LEAST: u8 = 4;
    /// `argmin (flows + 1) / weight` over the whole list: shortest expected delay.
    pub const SCAN_DELAY: u8 = 5;
    /// The better of two random slots by `(flows + 1) / capacity`: power of two choices.
    pub const SAMPLE_TWO: u8 = 6;
    /// The best of four random slots: what the scanning policies become beyond [`SCAN_MAX`](super::SCAN_MAX).
    pub const SAMPLE_FOUR: u8 = 7;
    /// `argmin (requests in flight + 1/2) / capacity` over the whole list, ties by chance; by the
    /// configured weight in place of the capacity while no controller is there.
    pub const SCAN_REQUESTS: u8 = 8;
    /// The best of four random slots by `(requests in flight + 1/2) / capacity`.
    pub const SAMPLE_REQUESTS: u8 = 9;
}

/// Bits of [`Service::flags`].
pub mod service_flag {
    /// Only sources in the `SOURCES` map may connect.
    pub const SOURCES: u8 = 1;
    /// A client address keeps its backend for `affinity_ticks`.
    pub const AFFINITY: u8 = 2;
    /// The turns of its flows are counted.
    pub const TURNS: u8 = 4;
    /// New flows are limited.
    pub const LIMITED: u8 = 64;
}

/// How packets of a service's flows reach their backends: [`Service::forward`].
pub mod forward {
    /// Translated both ways.
    pub const NAT: u8 = 0;
    /// As they are, to the backend's MAC address; it answers clients by itself (direct server return).
    pub const DSR: u8 = 1;
    /// Inside another IP packet to the backend, which unwraps it and answers clients by itself.
    pub const IPIP: u8 = 2;
    /// The same with a UDP header between the two.
    pub const GUE: u8 = 3;
    /// Translated both ways, from an address and a port of this host.
    pub const FULL_NAT: u8 = 4;
}

abi! {
    /// Exact listen address: key of `LISTEN`.
    #[derive(PartialOrd, Ord, Hash)]
    pub struct ListenKey: 20 {
        /// VIP.
        pub address: Address,
        /// Port, network byte order.
        pub port: u16,
        /// IP protocol number.
        pub protocol: u8,
        /// Always 0.
        pub zero: u8,
    }
}

abi! {
    /// Port range: key data of the LPM trie `LISTEN_RANGE`, matched from the first byte on.
    #[derive(PartialOrd, Ord, Hash)]
    pub struct RangeKey: 20 {
        /// IP protocol number.
        pub protocol: u8,
        /// VIP, 16 bytes as on the wire.
        pub address: [u8; 16],
        /// Port, network byte order.
        pub port: [u8; 2],
        /// Always 0, never part of a prefix.
        pub zero: u8,
    }
}

impl RangeKey {
    /// Bits of a key before its port: a port prefix of `n` bits is an LPM prefix of this plus `n`.
    pub const BITS_BEFORE_PORT: u32 = 8 + 128;
}

abi! {
    /// A service, stored under each of its listen addresses; hash maps replace it atomically.
    pub struct Service: 44 {
        /// Service id, from 1; index of the service's counters and cursor.
        pub id: u32,
        /// One of [`select`].
        pub select: u8,
        /// Bits of [`service_flag`].
        pub flags: u8,
        /// Backends that take new flows; 0 means the service cannot serve.
        pub usable: u16,
        /// First page of the slot table in `PAGES`.
        pub table_page: u32,
        /// Slots in the table.
        pub table_len: u32,
        /// How long a client keeps its backend, in jiffies.
        pub affinity_ticks: u32,
        /// Mixed into the hash of [`select::HASH_FLOW`] and [`select::HASH_SOURCE`].
        pub hash_seed: u32,
        /// Generation of the desired state that wrote this entry.
        pub generation: u32,
        /// Time between new flows, in nanoseconds; 0: no limit.
        pub flow_interval_ns: u32,
        /// The same for those of one source.
        pub source_interval_ns: u32,
        /// How long either limit saves up what was not used, in microseconds.
        pub burst_us: u32,
        /// One of [`forward`].
        pub forward: u8,
        /// Always 0.
        pub zero: [u8; 3],
    }
}

abi! {
    /// A piece of a slot table. A table of any length is a run of consecutive pages.
    ///
    /// Tables of hash, turn, random and sampling policies hold a backend id a slot; tables of the
    /// scanning policies hold pairs: backend id, weight; those of [`select::SCAN_REQUESTS`]
    /// triples: backend id, capacity, weight.
    #[derive(Hash)]
    pub struct Page: 1024 {
        /// Backend ids, or pairs of backend id and weight.
        pub slots: PageSlots,
    }
}

/// The slots of a page: `Default` for arrays ends at 32 elements, hence a type of its own.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, bytemuck::Pod, bytemuck::Zeroable)]
pub struct PageSlots(pub [u32; PAGE_SLOTS as usize]);

impl Default for PageSlots {
    fn default() -> Self {
        Self([0; PAGE_SLOTS as usize])
    }
}

abi! {
    /// Turn counters of a service, shared by all CPUs: round-robin is exact for sequential flows.
    /// Each family has its own, as it has its own table: clients that try one after the other
    /// would always get the same turns of both.
    pub struct Cursor: 16 {
        /// IPv4 flows that asked for a turn.
        pub turns_v4: u64,
        /// IPv6 flows that asked for a turn.
        pub turns_v6: u64,
    }
}

abi! {
    /// Source allow list: key data of the LPM trie `SOURCES`.
    #[derive(PartialOrd, Ord, Hash)]
    pub struct SourceKey: 20 {
        /// Service id, native order, as bytes.
        pub service: [u8; 4],
        /// Client address, 16 bytes as on the wire.
        pub address: [u8; 16],
    }
}

impl SourceKey {
    /// Bits of a key before its address.
    pub const BITS_BEFORE_ADDRESS: u32 = 32;
}

abi! {
    /// Key of `AFFINITY`.
    #[derive(PartialOrd, Ord, Hash)]
    pub struct AffinityKey: 20 {
        /// Client address.
        pub client: Address,
        /// Service id.
        pub service: u32,
    }
}

abi! {
    /// Value of `AFFINITY`.
    pub struct Affinity: 12 {
        /// Backend id.
        pub backend: u32,
        /// Its generation when it was chosen.
        pub generation: u32,
        /// Jiffies of the last new flow.
        pub last_seen: u32,
    }
}

/// Bits in each half of a [`PortSet`].
pub const PORTS: usize = 65536;
/// 64-bit words in each half of a [`PortSet`].
pub const PORT_WORDS: usize = PORTS / 64;

/// The pre-filter of one protocol: which destination ports any service listens on, and which
/// source ports any backend answers from. Index of the array: 0 TCP, 1 UDP. Bit `p % 64` of word
/// `p / 64`, with `p` in host byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct PortSet {
    /// Destination ports of services.
    pub services: [u64; PORT_WORDS],
    /// Source ports of backends.
    pub backends: [u64; PORT_WORDS],
}

// SAFETY: `bytemuck::Pod` is derived, which proves what aya's marker promises.
#[cfg(feature = "aya")]
unsafe impl aya::Pod for PortSet {}

impl Default for PortSet {
    fn default() -> Self {
        Self { services: [0; PORT_WORDS], backends: [0; PORT_WORDS] }
    }
}
