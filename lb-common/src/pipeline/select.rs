//! Which backend a new flow gets: affinity first, then the policy of the service.

use super::{Flow, flow_key::FlowKey};
use crate::{
    abi::{
        address::Address,
        backend::{Backend, backend_state},
        service::{Affinity, AffinityKey, PAGE_SLOTS, SCAN_MAX, Service, select, service_flag},
    },
    tables::Tables,
};

/// Slots tried before a service counts as having no backend: neighbours of a slot that is closed
/// until the controller publishes a table without it.
const TRIES: u32 = 8;

/// A backend and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen<'t> {
    /// Backend id.
    pub id: u32,
    /// The backend.
    pub backend: &'t Backend,
}

/// Chooses a backend that takes new flows. Returns its id, 0 if there is none.
///
/// A function of its own in the kernel: the frame of the stack it needs is not there otherwise.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub fn select_id<K: FlowKey, T: Tables>(tables: &T, flow: &Flow<'_, K>, service: &Service) -> u32 {
    select(tables, flow, service).map_or(0, |chosen| chosen.id)
}

#[inline]
fn select<'t, K: FlowKey, T: Tables>(
    tables: &'t T,
    flow: &Flow<'_, K>,
    service: &Service,
) -> Option<Chosen<'t>> {
    if service.flags & service_flag::AFFINITY == 0 {
        return by_policy(tables, flow, service);
    }
    let key = AffinityKey { client: flow.key.source(), service: service.id };
    let chosen = match remembered(tables, flow.now, service, &key) {
        Some(chosen) => chosen,
        None => by_policy(tables, flow, service)?,
    };
    let generation = chosen.backend.generation;
    tables.set_affinity(&key, &Affinity { backend: chosen.id, generation, last_seen: flow.now });
    Some(chosen)
}

#[inline]
fn remembered<'t, T: Tables>(
    tables: &'t T,
    now: u32,
    service: &Service,
    key: &AffinityKey,
) -> Option<Chosen<'t>> {
    let affinity = tables.affinity(key)?;
    let fresh = now.wrapping_sub(affinity.last_seen) <= service.affinity_ticks;
    let chosen = usable(tables, affinity.backend)?;
    (fresh && chosen.backend.generation == affinity.generation).then_some(chosen)
}

#[inline]
fn by_policy<'t, K: FlowKey, T: Tables>(
    tables: &'t T,
    flow: &Flow<'_, K>,
    service: &Service,
) -> Option<Chosen<'t>> {
    let position = match service.select {
        select::HASH_FLOW => u64::from(hash(&flow.key, true, service.hash_seed)),
        select::HASH_SOURCE => u64::from(hash(&flow.key, false, service.hash_seed)),
        select::TURN => return turn(tables, service),
        select::RANDOM => u64::from(tables.random()),
        select::SCAN_LEAST => return scan(tables, service, 0),
        select::SCAN_DELAY => return scan(tables, service, 1),
        select::SAMPLE_TWO => return sample(tables, service, 2),
        _ => return sample(tables, service, 4),
    };
    from_slot(tables, service, scale(position, service.table_len))
}

/// Maps 32 bits evenly onto `0..len`, without a division.
#[inline]
const fn scale(position: u64, len: u32) -> u32 {
    ((position * len as u64) >> 32) as u32
}

/// The backend of a slot, or of one of the next slots if it is closed.
#[inline]
fn from_slot<'t, T: Tables>(tables: &'t T, service: &Service, first: u32) -> Option<Chosen<'t>> {
    let mut index = first;
    for _ in 0..TRIES {
        if let Some(chosen) = slot(tables, service, index).and_then(|id| usable(tables, id)) {
            return Some(chosen);
        }
        index += 1;
        if index >= service.table_len {
            index = 0;
        }
    }
    None
}

/// (Weighted) round-robin: the table is the turn order.
#[inline]
fn turn<'t, T: Tables>(tables: &'t T, service: &Service) -> Option<Chosen<'t>> {
    let index = tables.turn(service.id).checked_rem(u64::from(service.table_len))?;
    from_slot(tables, service, index as u32)
}

/// The smallest `(flows + bias) / weight` over all backends of the table; ties to the first.
#[inline]
fn scan<'t, T: Tables>(tables: &'t T, service: &Service, bias: u64) -> Option<Chosen<'t>> {
    let mut best = Best::default();
    for index in 0..SCAN_MAX {
        if index >= service.table_len {
            break;
        }
        let pair = (index & (SCAN_MAX - 1)) * 2;
        let id = tables.slot(service.table_page, pair)?;
        let weight = tables.slot(service.table_page, pair + 1)?;
        if is_up(tables, id) {
            best.offer(id, tables.flows(id).saturating_add(bias), weight);
        }
    }
    usable(tables, best.id)
}

/// The best of a few random slots.
#[inline]
fn sample<'t, T: Tables>(tables: &'t T, service: &Service, count: u32) -> Option<Chosen<'t>> {
    let mut best = Best::default();
    for _ in 0..count {
        let index = scale(u64::from(tables.random()), service.table_len);
        let id = slot(tables, service, index)?;
        if let Some(chosen) = usable(tables, id) {
            best.offer(id, tables.flows(id).saturating_add(1), chosen.backend.capacity);
        }
    }
    match usable(tables, best.id) {
        None => from_slot(tables, service, 0),
        chosen => chosen,
    }
}

/// The least loaded backend so far; id 0 is nobody.
#[derive(Clone, Copy, Default)]
struct Best {
    id: u32,
    load: u64,
    weight: u64,
}

impl Best {
    /// Compares `load / weight` by cross multiplication; loads are far below 2^32.
    #[inline]
    fn offer(&mut self, id: u32, load: u64, weight: u32) {
        let weight = u64::from(weight);
        if self.id == 0 || load.wrapping_mul(self.weight) < self.load.wrapping_mul(weight) {
            *self = Self { id, load, weight };
        }
    }
}

#[inline]
fn slot<T: Tables>(tables: &T, service: &Service, index: u32) -> Option<u32> {
    tables.slot(service.table_page + index / PAGE_SLOTS, index % PAGE_SLOTS)
}

#[inline]
fn is_up<T: Tables>(tables: &T, id: u32) -> bool {
    usable(tables, id).is_some()
}

/// The backend `id` if it takes new flows.
#[inline]
pub(super) fn usable<T: Tables>(tables: &T, id: u32) -> Option<Chosen<'_>> {
    if id == 0 {
        return None;
    }
    let backend = tables.backend(id)?;
    (backend.state == backend_state::UP).then_some(Chosen { id, backend })
}

/// A hash that every node computes alike: a multiply-rotate round a word, MurmurHash3's finaliser
/// (Austin Appleby, public domain) at the end.
#[inline]
fn hash<K: FlowKey>(key: &K, whole_flow: bool, seed: u32) -> u32 {
    let mut state = mix_address(seed, key.source());
    if whole_flow {
        let (source_port, destination_port, protocol) = key.ports();
        state = mix_address(state, key.destination());
        state = mix(state, u32::from(source_port) | u32::from(destination_port) << 16);
        state = mix(state, u32::from(protocol));
    }
    state ^= state >> 16;
    state = state.wrapping_mul(0x85eb_ca6b);
    state ^= state >> 13;
    state = state.wrapping_mul(0xc2b2_ae35);
    state ^ state >> 16
}

#[inline]
fn mix_address(state: u32, address: Address) -> u32 {
    let [a, b, c, d] = address.words;
    mix(mix(mix(mix(state, a), b), c), d)
}

#[inline]
const fn mix(state: u32, word: u32) -> u32 {
    (state ^ word.wrapping_mul(0xcc9e_2d51))
        .rotate_left(13)
        .wrapping_mul(5)
        .wrapping_add(0xe654_6b64)
}
