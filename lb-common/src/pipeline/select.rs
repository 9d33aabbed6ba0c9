//! Which backend a new flow gets: affinity first, then the policy of the service; or a hash, where other
//! packets of the flow may have to find the same backend without an entry.

use super::Flow;
use crate::{
    abi::{
        address::Address,
        backend::{Backend, backend_state},
        service::{Affinity, AffinityKey, PAGE_SLOTS, SCAN_MAX, Service, select, service_flag},
    },
    tables::{Step, Tables},
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

/// Chooses a backend that takes new flows: its id, or [`NOBODY`]. A `steady` choice is the same for all
/// packets of a flow as long as the table stays.
#[inline]
pub fn select<T: Tables>(tables: &T, flow: &Flow<'_>, service: &Service, steady: bool) -> u32 {
    if service.flags & service_flag::AFFINITY == 0 {
        return by_policy(tables, flow, service, steady);
    }
    let key = AffinityKey { client: flow.key.source().0, service: service.id };
    let id = match remembered(tables, flow.now, service, &key) {
        NOBODY => by_policy(tables, flow, service, steady),
        id => id,
    };
    // A flood of first packets is to push nobody out of this table.
    if steady && flow.opens() {
        return id;
    }
    if let Some(chosen) = usable(tables, id) {
        let (generation, last_seen) = (chosen.backend.generation, flow.now);
        tables.set_affinity(&key, &Affinity { backend: id, generation, last_seen });
    }
    id
}

/// The id that no backend has.
pub const NOBODY: u32 = 0;

#[inline]
fn remembered<T: Tables>(tables: &T, now: u32, service: &Service, key: &AffinityKey) -> u32 {
    let Some(affinity) = tables.affinity(key) else { return NOBODY };
    let fresh = super::conntrack::idle(now, affinity.last_seen) <= service.affinity_ticks;
    match usable(tables, affinity.backend) {
        Some(chosen) if fresh && chosen.backend.generation == affinity.generation => chosen.id,
        _ => NOBODY,
    }
}

#[inline]
fn by_policy<T: Tables>(tables: &T, flow: &Flow<'_>, service: &Service, steady: bool) -> u32 {
    let len = service.table_len;
    let slot = |position: u32| scale(u64::from(position), len);
    let first = match service.select {
        // One place for all hashes: each is a lot of code.
        _ if steady || matches!(service.select, select::HASH_FLOW | select::HASH_SOURCE) => {
            // Who keeps its backend has one for all its flows.
            let of_source = service.select == select::HASH_SOURCE
                || steady && service.flags & service_flag::AFFINITY != 0;
            slot(hash(flow, service.hash_seed, !of_source))
        }
        select::RANDOM => slot(tables.random()),
        select::TURN => {
            let turn = tables.turn(service.id, flow.key.is_v6());
            let Some(index) = turn.checked_rem(u64::from(len)) else { return NOBODY };
            index as u32
        }
        select::SCAN_LEAST | select::SCAN_DELAY | select::SCAN_REQUESTS => {
            return scan(tables, flow, service);
        }
        _ => match sample(tables, service) {
            NOBODY => 0,
            id => return id,
        },
    };
    from_slot(tables, service, first)
}

/// Slots from one backend to the next.
#[inline]
const fn stride(service: &Service) -> u32 {
    match service.select {
        select::SCAN_LEAST | select::SCAN_DELAY => 2,
        select::SCAN_REQUESTS => 3,
        _ => 1,
    }
}

/// Maps 32 bits evenly onto `0..len`, without a division.
#[inline]
const fn scale(position: u64, len: u32) -> u32 {
    ((position * len as u64) >> 32) as u32
}

/// The backend of a slot, or of one of the next slots if it is closed.
#[inline]
fn from_slot<T: Tables>(tables: &T, service: &Service, first: u32) -> u32 {
    let (page, len, stride) = (service.table_page, service.table_len, stride(service));
    let mut probe = Probe { page, len, stride, place: first };
    if !probe.step(tables, 0) {
        tables.repeat(TRIES, &mut probe);
    }
    if probe.len == 0 { probe.place } else { NOBODY }
}

/// Looks for the first open backend from a slot on. Where it is found, nothing of the table is left and the
/// place is its id: the kernel's stack has no room for one word more.
struct Probe {
    page: u32,
    len: u32,
    stride: u32,
    place: u32,
}

impl<T: Tables> Step<T> for Probe {
    #[inline]
    fn step(&mut self, tables: &T, _index: u32) -> bool {
        let id = slot(tables, self.page, self.place.wrapping_mul(self.stride));
        if usable(tables, id).is_some() {
            (self.len, self.place) = (0, id);
            return true;
        }
        self.place += 1;
        if self.place >= self.len {
            self.place = 0;
        }
        false
    }
}

/// The smallest `(load + bias) / weight` over all backends of the table. Ties go to the first one;
/// where requests count, which one that is is left to chance: equals share.
#[inline]
fn scan<T: Tables>(tables: &T, flow: &Flow<'_>, service: &Service) -> u32 {
    let len = service.table_len.min(SCAN_MAX);
    let mut scan = Scan {
        page: service.table_page,
        len,
        first: 0,
        stride: stride(service),
        column: 1,
        bias: u32::from(service.select != select::SCAN_LEAST),
        requests: service.select == select::SCAN_REQUESTS,
        best: Best::default(),
    };
    if scan.requests {
        scan.first = scale(u64::from(tables.random()), len);
        // Without a controller the capacities are a memory, and nobody knows of what.
        let silence = super::conntrack::idle(flow.now, tables.heartbeat());
        if silence > flow.settings.ticks_per_second.saturating_mul(SILENCE_MAX_S) {
            scan.column = 2;
        }
    }
    tables.repeat(len, &mut scan);
    scan.best.id
}

/// What a newcomer costs all clients of a backend together, in units of half its own work there: it
/// takes as long as all that share the backend's time, and delays each of them.
#[inline]
const fn delay(requests: u64) -> u64 {
    requests.wrapping_mul(2).wrapping_add(1)
}

/// How long the controller may say nothing until its capacities count no more.
const SILENCE_MAX_S: u32 = 10;

/// Goes through the backends of a table: rows of a backend and what it weighs.
struct Scan {
    page: u32,
    len: u32,
    first: u32,
    stride: u32,
    column: u32,
    bias: u32,
    requests: bool,
    best: Best,
}

impl<T: Tables> Step<T> for Scan {
    #[inline]
    fn step(&mut self, tables: &T, index: u32) -> bool {
        let turned = self.first + index;
        let index = if turned >= self.len { turned - self.len } else { turned };
        let row = (index & (SCAN_MAX - 1)) * self.stride;
        let id = tables.slot(self.page, row).unwrap_or(NOBODY);
        let weight = tables.slot(self.page, row + self.column).unwrap_or(0);
        if usable(tables, id).is_some() {
            let load = tables.load(id, self.requests);
            let load =
                if self.requests { delay(load) } else { load.saturating_add(u64::from(self.bias)) };
            self.best.offer(id, load, weight);
        }
        false
    }
}

/// The best of a few random slots; if all of them are closed, nobody.
#[inline]
fn sample<T: Tables>(tables: &T, service: &Service) -> u32 {
    let (page, len) = (service.table_page, service.table_len);
    let requests = service.select == select::SAMPLE_REQUESTS;
    let count = if service.select == select::SAMPLE_TWO { 2 } else { 4 };
    let mut sample = Sample { page, len, requests, best: Best::default() };
    tables.repeat(count, &mut sample);
    sample.best.id
}

/// Draws slots and keeps the least loaded backend.
struct Sample {
    page: u32,
    len: u32,
    requests: bool,
    best: Best,
}

impl<T: Tables> Step<T> for Sample {
    #[inline]
    fn step(&mut self, tables: &T, _index: u32) -> bool {
        let index = scale(u64::from(tables.random()), self.len);
        if let Some(chosen) = usable(tables, slot(tables, self.page, index)) {
            let load = tables.load(chosen.id, self.requests);
            let load = if self.requests { delay(load) } else { load.saturating_add(1) };
            self.best.offer(chosen.id, load, chosen.backend.capacity);
        }
        false
    }
}

/// The least loaded backend so far.
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
        if self.id == NOBODY || load.wrapping_mul(self.weight) < self.load.wrapping_mul(weight) {
            *self = Self { id, load, weight };
        }
    }
}

#[inline]
fn slot<T: Tables>(tables: &T, page: u32, index: u32) -> u32 {
    tables.slot(page + index / PAGE_SLOTS, index % PAGE_SLOTS).unwrap_or(NOBODY)
}

/// The backend `id` if it takes new flows.
#[inline]
pub fn usable<T: Tables>(tables: &T, id: u32) -> Option<Chosen<'_>> {
    if id == NOBODY {
        return None;
    }
    let backend = tables.backend(id)?;
    (backend.state == backend_state::UP).then_some(Chosen { id, backend })
}

/// A hash that every node computes alike: a multiply-rotate round a word, `MurmurHash3`'s finaliser
/// (Austin Appleby, public domain) at the end.
#[inline]
fn hash(flow: &Flow<'_>, seed: u32, whole_flow: bool) -> u32 {
    let ((source, source_port), (destination, destination_port)) =
        (flow.key.source(), flow.key.destination());
    let mut state = mix_address(seed, source);
    if whole_flow {
        state = mix_address(state, destination);
        let ports = u32::from(source_port) | u32::from(destination_port) << 16;
        state = mix(mix(state, ports), u32::from(flow.protocol()));
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
