//! Backends: they are there before a table names them, keep their flows when they leave the
//! desired state, and free their id when the flows are gone or the drain time is over.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use lb_common::abi::backend::{Backend, backend_state};

use super::{
    desired::BackendEntry,
    ids::{self, Assigned},
    observed::Observed,
    pages::GRACE,
    plan::{PlanInput, Stage, Step},
};
use crate::{maps::Write, model::Endpoint};

/// Writes of the backends that have a place.
pub(super) fn steps(
    input: &PlanInput<'_>,
    places: &BTreeMap<Endpoint, Assigned>,
    capacities: &BTreeMap<Endpoint, u32>,
) -> Vec<Step> {
    let mut steps = Vec::new();
    for (endpoint, place) in places {
        let Some(entry) = input.desired.backends.get(endpoint) else { continue };
        let capacity = capacities.get(endpoint).copied().unwrap_or(1);
        let value = value(endpoint, *place, entry, capacity);
        let old = input.observed.backends.get(&place.id);
        if old != Some(&value) {
            let why = why_changed(endpoint, *place, old, &value);
            let write = Write::Backend { id: place.id, value };
            steps.push(Step { stage: Stage::Backends, write, why });
        }
    }
    steps
}

/// The backends that have left, or are on their way: all that are there without a place.
pub(super) fn leaving(observed: &Observed, places: &BTreeMap<Endpoint, Assigned>) -> BTreeSet<u32> {
    let leaves = |(id, backend): &(&u32, &Backend)| {
        let place = ids::endpoint(backend).and_then(|endpoint| places.get(&endpoint));
        !ids::is_absent(backend) && place.is_none_or(|place| place.id != **id)
    };
    observed.backends.iter().filter(leaves).map(|(id, _)| *id).collect()
}

/// Writes of those, and since when each has been closed.
pub(super) fn retirements(
    input: &PlanInput<'_>,
    leaving: impl Iterator<Item = u32>,
    pinned: &BTreeSet<u32>,
) -> (Vec<Step>, BTreeMap<u32, Instant>) {
    let (mut steps, mut closing) = (Vec::new(), BTreeMap::new());
    for id in leaving {
        let Some(old) = input.observed.backends.get(&id).filter(|old| !ids::is_absent(old)) else {
            continue;
        };
        let known = input.memory.closing.get(&id).filter(|_| old.state == backend_state::CLOSED);
        let since = known.copied().unwrap_or(input.now);
        closing.insert(id, since);
        steps.extend(retire(input, id, old, since, pinned.contains(&id)));
    }
    (steps, closing)
}

fn value(endpoint: &Endpoint, place: Assigned, entry: &BackendEntry, capacity: u32) -> Backend {
    Backend {
        address: endpoint.address.into(),
        port: endpoint.port.to_be(),
        state: state(entry),
        way: entry.link.way,
        generation: place.generation,
        capacity,
        ifindex: entry.link.ifindex,
        dst_mac: entry.link.dst_mac,
        src_mac: entry.link.src_mac,
        protocol: u32::from(endpoint.protocol.number()),
        source: entry.link.source,
        mtu: entry.link.mtu,
    }
}

const fn state(entry: &BackendEntry) -> u8 {
    match (entry.takes_new, entry.is_down) {
        (_, true) => backend_state::DOWN,
        (true, false) => backend_state::UP,
        (false, false) => backend_state::CLOSED,
    }
}

/// The next step of a backend that is not desired: close, wait, free.
fn retire(
    input: &PlanInput<'_>,
    id: u32,
    old: &Backend,
    since: Instant,
    pinned: bool,
) -> Option<Step> {
    let name = ids::endpoint(old).map_or_else(|| "unknown".to_owned(), |known| known.to_string());
    if old.state != backend_state::CLOSED {
        let value = Backend { state: backend_state::CLOSED, ..*old };
        let why = format!("backend {name} left: it keeps its flows and takes no new ones");
        return Some(Step { stage: Stage::Retire, write: Write::Backend { id, value }, why });
    }
    // The count is older than the closing unless a moment has passed, and a CPU may still be
    // busy with a table that names the backend.
    let rested = input.now.saturating_duration_since(since);
    if pinned || rested < GRACE {
        return None;
    }
    let flows = input.flows.get(&id).copied().unwrap_or(0);
    let why = match flows {
        0 => format!("backend {name} left and has no flows: id {id} is free"),
        _ if rested >= input.drain => {
            format!("backend {name} left and its drain time is over: {flows} flows lose it")
        }
        _ => return None,
    };
    // The generation outlives the entry, so that the next user of the id gets another one.
    let value = Backend { generation: old.generation, ..Backend::default() };
    Some(Step { stage: Stage::Retire, write: Write::Backend { id, value }, why })
}

fn why_changed(
    endpoint: &Endpoint,
    place: Assigned,
    old: Option<&Backend>,
    new: &Backend,
) -> String {
    let Assigned { id, generation } = place;
    let Some(old) = old.filter(|old| !ids::is_absent(old)) else {
        return format!("backend {endpoint} is new: id {id}, generation {generation}");
    };
    if old.state != new.state {
        let what = match new.state {
            backend_state::UP => "takes new flows",
            backend_state::DOWN => "fails its probes: takes no new flows",
            _ => "takes no new flows",
        };
        return format!("backend {endpoint} {what}");
    }
    if old.capacity != new.capacity {
        return format!("backend {endpoint}: capacity {} -> {}", old.capacity, new.capacity);
    }
    format!("backend {endpoint}: the way to it changed")
}
