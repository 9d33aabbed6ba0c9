//! The floors' maps.

use aya_ebpf::{
    macros::map,
    maps::{Array, DevMap, HashMap, LruHashMap, PerCpuArray, ProgramArray},
};

use crate::layout::{Backend, ListenKey, Plan, Service, Traffic};

/// A flow: key of `FLOWS`. In network byte order.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FlowKey {
    /// Source address.
    pub source: u32,
    /// Destination address.
    pub destination: u32,
    /// Source port, then destination port.
    pub ports: u32,
    /// IP protocol number.
    pub protocol: u32,
}

/// What is remembered of a flow: as large as a cache line, as in a real program.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Entry {
    /// The backend's address.
    pub address: u32,
    /// The backend's port.
    pub port: u32,
    /// Index in `BACKENDS`.
    pub backend: u32,
    /// Index in `SERVICE_STATS`.
    pub service: u32,
    /// Jiffies of the last packet.
    pub last_seen: u64,
    /// What a real entry has besides.
    pub rest: [u64; 5],
}

/// What the drivers send, and in the second element what they send in turn with it.
#[map]
pub static PLAN: Array<Plan> = Array::with_max_entries(2, 0);
/// The program under test, if it is an XDP program.
#[map]
pub static XDP_TARGET: ProgramArray = ProgramArray::with_max_entries(1, 0);
/// The program under test, if it is a TC program.
#[map]
pub static TC_TARGET: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// The loader gives it the capacity of the table it is compared with.
#[map]
pub static FLOWS: LruHashMap<FlowKey, Entry> = LruHashMap::with_max_entries(1024, 0);
#[map]
pub static LISTEN: HashMap<ListenKey, Service> = HashMap::with_max_entries(16_384, 0);
#[map]
pub static SLOTS: Array<u32> = Array::with_max_entries(256, 0);
#[map]
pub static BACKENDS: Array<Backend> = Array::with_max_entries(1024, 0);
#[map]
pub static SERVICE_STATS: PerCpuArray<Traffic> = PerCpuArray::with_max_entries(1024, 0);
#[map]
pub static BACKEND_STATS: PerCpuArray<Traffic> = PerCpuArray::with_max_entries(1024, 0);
/// The way out; of the program that only sends on there are three.
#[map]
pub static LINKS: DevMap = DevMap::with_max_entries(3, 0);
