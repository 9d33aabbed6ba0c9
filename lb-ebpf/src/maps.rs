//! The maps, as `lb_common::maps` lists them. The loader may set other capacities.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray},
};
use lb_common::{
    abi::{
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
    },
    maps::{
        AFFINITIES_MAX, BACKENDS_MAX, CONNS_MAX, EMBRYOS_MAX, FRAGMENTS_MAX, LISTENS_MAX,
        PAGES_MAX, RANGES_MAX, SERVICES_MAX, SOCKETS_MAX, SOURCE_RATES_MAX, SOURCES_MAX, stage,
    },
    pipeline::{verdict::Reason, workspace::Workspace},
};

/// The controller reads and corrects these counters in place.
const BPF_F_MMAPABLE: u32 = 1 << 10;
/// A trie allocates its nodes as they come.
const BPF_F_NO_PREALLOC: u32 = 1;

#[map]
pub static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);
#[map]
pub static PORTS: Array<PortSet> = Array::with_max_entries(2, 0);
#[map]
pub static CONNS4: LruHashMap<FlowKey4, Conn> = LruHashMap::with_max_entries(CONNS_MAX, 0);
#[map]
pub static CONNS6: LruHashMap<FlowKey6, Conn> = LruHashMap::with_max_entries(CONNS_MAX, 0);
#[map]
pub static EMBRYOS: LruHashMap<FlowKey6, Conn> = LruHashMap::with_max_entries(EMBRYOS_MAX, 0);
#[map]
pub static DATAGRAMS: LruHashMap<FlowKey6, Conn> = LruHashMap::with_max_entries(EMBRYOS_MAX, 0);
#[map]
pub static GATES: Array<Gate> = Array::with_max_entries(2, 0);
#[map]
pub static RATES: Array<Rate> = Array::with_max_entries(SERVICES_MAX, 0);
#[map]
pub static SOURCE_RATES: LruHashMap<AffinityKey, SourceRate> =
    LruHashMap::with_max_entries(SOURCE_RATES_MAX, 0);
#[map]
pub static ORIGINS: HashMap<ListenKey, Origin> = HashMap::with_max_entries(BACKENDS_MAX, 0);
#[map]
pub static FRAGMENTS: LruHashMap<FragmentKey, Fragment> =
    LruHashMap::with_max_entries(FRAGMENTS_MAX, 0);
#[map]
pub static LISTEN: HashMap<ListenKey, Service> = HashMap::with_max_entries(LISTENS_MAX, 0);
#[map]
pub static LISTEN_RANGE: LpmTrie<RangeKey, Service> =
    LpmTrie::with_max_entries(RANGES_MAX, BPF_F_NO_PREALLOC);
#[map]
pub static PAGES: Array<Page> = Array::with_max_entries(PAGES_MAX, 0);
#[map]
pub static CURSORS: Array<Cursor> = Array::with_max_entries(SERVICES_MAX, 0);
#[map]
pub static SOURCES: LpmTrie<SourceKey, u32> =
    LpmTrie::with_max_entries(SOURCES_MAX, BPF_F_NO_PREALLOC);
#[map]
pub static AFFINITY: LruHashMap<AffinityKey, Affinity> =
    LruHashMap::with_max_entries(AFFINITIES_MAX, 0);
#[map]
pub static SOCKETS: LruHashMap<SocketKey, SocketPeer> =
    LruHashMap::with_max_entries(SOCKETS_MAX, 0);
#[map]
pub static BACKENDS: Array<Backend> = Array::with_max_entries(BACKENDS_MAX, 0);
#[map]
pub static BACKEND_LOAD: Array<BackendLoad> = Array::with_max_entries(BACKENDS_MAX, BPF_F_MMAPABLE);
#[map]
pub static SIGNALS: Array<Signals> = Array::with_max_entries(BACKENDS_MAX, 0);
#[map]
pub static HEARTBEAT: Array<u32> = Array::with_max_entries(1, 0);
#[map]
pub static SERVICE_STATS: PerCpuArray<Traffic> = PerCpuArray::with_max_entries(SERVICES_MAX, 0);
#[map]
pub static BACKEND_STATS: PerCpuArray<Traffic> = PerCpuArray::with_max_entries(BACKENDS_MAX, 0);
#[map]
pub static REASONS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Reason::COUNT as u32, 0);
#[map]
pub static SCRATCH: PerCpuArray<Workspace> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub static XDP_STAGES: ProgramArray = ProgramArray::with_max_entries(stage::COUNT, 0);
#[map]
pub static TC_STAGES: ProgramArray = ProgramArray::with_max_entries(stage::COUNT, 0);
#[map]
pub static TRACE: Array<Trace> = Array::with_max_entries(1, 0);
#[map]
pub static CLOCK: Array<u64> = Array::with_max_entries(1, 0);

/// 1 in programs that exist for test runs: they say in `TRACE` what they did.
#[unsafe(no_mangle)]
static TRACE_ON: u8 = 0;

/// Whether this program traces. Constant to the verifier, so the code costs nothing when off.
#[inline]
pub fn trace_on() -> bool {
    // SAFETY: the loader may have replaced the initial value, which the compiler must not assume.
    unsafe { core::ptr::read_volatile(&raw const TRACE_ON) != 0 }
}

/// The cookie of the network namespace whose sockets are the host's. No namespace has 0.
#[unsafe(no_mangle)]
static HOST_NETNS: u64 = 0;

/// The host's network namespace.
#[inline]
pub fn host_netns() -> u64 {
    // SAFETY: as above.
    unsafe { core::ptr::read_volatile(&raw const HOST_NETNS) }
}
