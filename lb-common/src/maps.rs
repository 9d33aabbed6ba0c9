//! Every map once: name, kind, key and value size, default capacity.

use core::mem::size_of;

use crate::abi::{
    backend::{Backend, BackendLoad},
    flow::{Conn, FlowKey4, FlowKey6, Origin},
    fragment::{Fragment, FragmentKey},
    gate::Gate,
    rate::{Rate, SourceRate},
    service::{
        Affinity, AffinityKey, Cursor, ListenKey, Page, PortSet, RangeKey, Service, SourceKey,
    },
    settings::Settings,
    signals::Signals,
    socket::{SocketKey, SocketPeer},
    stats::Traffic,
    trace::Trace,
};
use crate::pipeline::{verdict::Reason, workspace::Workspace};

/// The kinds of map in use, with the kernel's `enum bpf_map_type` numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// `BPF_MAP_TYPE_HASH`
    Hash = 1,
    /// `BPF_MAP_TYPE_ARRAY`
    Array = 2,
    /// `BPF_MAP_TYPE_PROG_ARRAY`
    ProgArray = 3,
    /// `BPF_MAP_TYPE_PERCPU_ARRAY`
    PerCpuArray = 6,
    /// `BPF_MAP_TYPE_LRU_HASH`
    LruHash = 9,
    /// `BPF_MAP_TYPE_LPM_TRIE`
    LpmTrie = 11,
}

/// One map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapSpec {
    /// Name in the object, and of the pin.
    pub name: &'static str,
    /// Kind.
    pub kind: Kind,
    /// Size of a key, with the prefix length of a trie.
    pub key_size: usize,
    /// Size of a value.
    pub value_size: usize,
    /// Elements unless the configuration says otherwise.
    pub capacity: u32,
}

const fn spec<K, V>(name: &'static str, kind: Kind, capacity: u32) -> MapSpec {
    let prefix = if matches!(kind, Kind::LpmTrie) { 4 } else { 0 };
    let (key_size, value_size) = (size_of::<K>() + prefix, size_of::<V>());
    MapSpec { name, kind, key_size, value_size, capacity }
}

/// Services a host can hold unless configured otherwise; ids run from 1.
pub const SERVICES_MAX: u32 = 4_096;
/// Backends a host can hold unless configured otherwise; ids run from 1.
pub const BACKENDS_MAX: u32 = 16_384;
/// Flow entries of a family (two a flow) unless configured otherwise.
pub const CONNS_MAX: u32 = 262_144;
/// Flow entries of a protocol, of both families, before the client's second packet.
pub const EMBRYOS_MAX: u32 = 32_768;
/// Slot-table pages unless configured otherwise: 1 KiB each.
pub const PAGES_MAX: u32 = 8_192;
/// Listen addresses.
pub const LISTENS_MAX: u32 = 16_384;
/// Prefixes of port ranges; a range is at most 30 of them.
pub const RANGES_MAX: u32 = 16_384;
/// Prefixes of all source allow lists.
pub const SOURCES_MAX: u32 = 65_536;
/// Packets in fragments of which the first one has been seen.
pub const FRAGMENTS_MAX: u32 = 8_192;
/// Clients whose affinity is remembered.
pub const AFFINITIES_MAX: u32 = 65_536;
/// Sources whose new flows are counted.
pub const SOURCE_RATES_MAX: u32 = 65_536;
/// What is remembered of sockets of this host; a TCP socket has one entry, a UDP socket two.
pub const SOCKETS_MAX: u32 = 65_536;

/// All maps of the object.
pub const MAPS: [MapSpec; 28] = [
    spec::<u32, Settings>("SETTINGS", Kind::Array, 1),
    spec::<u32, PortSet>("PORTS", Kind::Array, 2),
    spec::<FlowKey4, Conn>("CONNS4", Kind::LruHash, CONNS_MAX),
    spec::<FlowKey6, Conn>("CONNS6", Kind::LruHash, CONNS_MAX),
    spec::<FlowKey6, Conn>("EMBRYOS", Kind::LruHash, EMBRYOS_MAX),
    spec::<FlowKey6, Conn>("DATAGRAMS", Kind::LruHash, EMBRYOS_MAX),
    spec::<u32, Gate>("GATES", Kind::Array, 2),
    spec::<u32, Rate>("RATES", Kind::Array, SERVICES_MAX),
    spec::<AffinityKey, SourceRate>("SOURCE_RATES", Kind::LruHash, SOURCE_RATES_MAX),
    spec::<ListenKey, Origin>("ORIGINS", Kind::Hash, BACKENDS_MAX),
    spec::<FragmentKey, Fragment>("FRAGMENTS", Kind::LruHash, FRAGMENTS_MAX),
    spec::<ListenKey, Service>("LISTEN", Kind::Hash, LISTENS_MAX),
    spec::<RangeKey, Service>("LISTEN_RANGE", Kind::LpmTrie, RANGES_MAX),
    spec::<u32, Page>("PAGES", Kind::Array, PAGES_MAX),
    spec::<u32, Cursor>("CURSORS", Kind::Array, SERVICES_MAX),
    spec::<SourceKey, u32>("SOURCES", Kind::LpmTrie, SOURCES_MAX),
    spec::<AffinityKey, Affinity>("AFFINITY", Kind::LruHash, AFFINITIES_MAX),
    spec::<SocketKey, SocketPeer>("SOCKETS", Kind::LruHash, SOCKETS_MAX),
    spec::<u32, Backend>("BACKENDS", Kind::Array, BACKENDS_MAX),
    spec::<u32, BackendLoad>("BACKEND_LOAD", Kind::Array, BACKENDS_MAX),
    spec::<u32, Signals>("SIGNALS", Kind::Array, BACKENDS_MAX),
    spec::<u32, u32>("HEARTBEAT", Kind::Array, 1),
    spec::<u32, Traffic>("SERVICE_STATS", Kind::PerCpuArray, SERVICES_MAX),
    spec::<u32, Traffic>("BACKEND_STATS", Kind::PerCpuArray, BACKENDS_MAX),
    spec::<u32, u64>("REASONS", Kind::PerCpuArray, Reason::COUNT as u32),
    spec::<u32, Workspace>("SCRATCH", Kind::PerCpuArray, 1),
    spec::<u32, u32>("XDP_STAGES", Kind::ProgArray, stage::COUNT),
    spec::<u32, u32>("TC_STAGES", Kind::ProgArray, stage::COUNT),
];

/// Places of the pipeline's stages in `XDP_STAGES` and `TC_STAGES`. The first stage is what hooks
/// call, and needs none.
pub mod stage {
    /// [`crate::pipeline::track`]
    pub const TRACK: u32 = 0;
    /// [`crate::pipeline::open`]
    pub const OPEN: u32 = 1;
    /// [`crate::pipeline::unusual`]
    pub const UNUSUAL: u32 = 2;
    /// [`crate::pipeline::icmp`]
    pub const ICMP: u32 = 3;
    /// [`crate::pipeline::refuse`]
    pub const REFUSE: u32 = 4;
    /// [`crate::pipeline::limit`]
    pub const LIMIT: u32 = 5;
    /// [`crate::pipeline::ping`]
    pub const PING: u32 = 6;
    /// [`crate::pipeline::settle`]
    pub const SETTLE: u32 = 7;
    /// [`crate::pipeline::encap`]
    pub const ENCAP: u32 = 8;
    /// [`crate::pipeline::too_big`]
    pub const TOO_BIG: u32 = 9;
    /// [`crate::pipeline::allocate`]
    pub const ALLOCATE: u32 = 10;
    /// [`crate::pipeline::track`] for flows of full NAT.
    pub const FULL_NAT: u32 = 11;
    /// [`crate::pipeline::icmp`] for flows of full NAT.
    pub const FULL_NAT_ICMP: u32 = 12;
    /// [`crate::pipeline::translate`]
    pub const TRANSLATE: u32 = 13;
    /// [`crate::pipeline::unreachable`]
    pub const UNREACHABLE: u32 = 14;
    /// [`crate::pipeline::leave::leave_icmp`], at TC only.
    pub const LEAVE_ICMP: u32 = 15;
    /// How many there are.
    pub const COUNT: u32 = 16;
    /// The XDP programs, by place.
    pub const XDP: [&str; 15] = [
        "weir_xdp_track",
        "weir_xdp_open",
        "weir_xdp_unusual",
        "weir_xdp_icmp",
        "weir_xdp_refuse",
        "weir_xdp_limit",
        "weir_xdp_ping",
        "weir_xdp_settle",
        "weir_xdp_encap",
        "weir_xdp_too_big",
        "weir_xdp_allocate",
        "weir_xdp_full_nat",
        "weir_xdp_full_nat_icmp",
        "weir_xdp_translate",
        "weir_xdp_unreachable",
    ];
    /// The TC programs, by place.
    pub const TC: [&str; 16] = [
        "weir_tc_track",
        "weir_tc_open",
        "weir_tc_unusual",
        "weir_tc_icmp",
        "weir_tc_refuse",
        "weir_tc_limit",
        "weir_tc_ping",
        "weir_tc_settle",
        "weir_tc_encap",
        "weir_tc_too_big",
        "weir_tc_allocate",
        "weir_tc_full_nat",
        "weir_tc_full_nat_icmp",
        "weir_tc_translate",
        "weir_tc_unreachable",
        "weir_tc_leave_icmp",
    ];
}

/// The map that only test runs write.
pub const TRACE: MapSpec = spec::<u32, Trace>("TRACE", Kind::Array, 1);
