//! The floors' maps.

use aya_ebpf::{
    macros::map,
    maps::{Array, DevMap, HashMap, LruHashMap, PerCpuArray, ProgramArray},
};

use crate::layout::{Backend, Entry, FlowKey, ListenKey, Plan, Service, Traffic};

/// What the drivers send.
#[map]
pub static PLAN: Array<Plan> = Array::with_max_entries(1, 0);
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
/// The way out.
#[map]
pub static LINKS: DevMap = DevMap::with_max_entries(1, 0);
