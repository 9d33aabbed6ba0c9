//! Who has which id. Ids come from the observed state, so that a controller that starts anew
//! gives everyone the id that the dataplane's flows already name.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::abi::{
    backend::{Backend, backend_state},
    service::Service,
};

use super::{desired::Desired, keys::Key, observed::Observed};
use crate::model::{Endpoint, Protocol};

/// A backend's place in the dataplane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Assigned {
    pub(super) id: u32,
    pub(super) generation: u32,
}

/// The id of each desired service, in order; `None` where there is none below `limit`.
///
/// A service keeps the id found under any of its keys; of two that find the same one, the first
/// does.
pub(super) fn services(
    desired: &Desired,
    published: &BTreeMap<Key, Service>,
    limit: u32,
) -> Vec<Option<u32>> {
    let mut claimed = BTreeSet::new();
    let mut ids: Vec<Option<u32>> = Vec::with_capacity(desired.services.len());
    for service in &desired.services {
        let keys = service.listens.iter().flat_map(Key::of);
        let known = keys.filter_map(|key| published.get(&key)).map(|service| service.id);
        let id = known.filter(|id| *id != 0 && *id < limit && !claimed.contains(id)).min();
        claimed.extend(id);
        ids.push(id);
    }
    let used: BTreeSet<u32> = published.values().map(|service| service.id).collect();
    let mut free = (1..limit).filter(|id| !used.contains(id));
    for id in &mut ids {
        *id = id.or_else(|| free.next());
    }
    ids
}

/// The place of each desired backend; those that find no free id below `limit` are missing.
///
/// A backend keeps its id while the observed state knows it. A re-used id gets the generation
/// after its last one, which its entry keeps while it is free.
pub(super) fn backends(
    desired: &Desired,
    observed: &Observed,
    limit: u32,
) -> BTreeMap<Endpoint, Assigned> {
    let is_free = |id: &u32| observed.backends.get(id).is_none_or(is_absent);
    let mut free = (1..limit).filter(is_free).map(|id| {
        let last = observed.backends.get(&id).map_or(0, |backend| backend.generation);
        Assigned { id, generation: last.wrapping_add(1) }
    });
    let place = |endpoint: &Endpoint| {
        let place = known(endpoint, observed, limit).or_else(|| free.next())?;
        Some((*endpoint, place))
    };
    desired.backends.keys().filter_map(place).collect()
}

/// The place that a backend has already.
pub(super) fn known(endpoint: &Endpoint, observed: &Observed, limit: u32) -> Option<Assigned> {
    let id = observed.ids_of(endpoint).find(|id| (1..limit).contains(id))?;
    let generation = observed.backends.get(&id)?.generation;
    Some(Assigned { id, generation })
}

/// Whether an entry is free: empty, or no more than the generation of its last use.
pub(super) const fn is_absent(backend: &Backend) -> bool {
    backend.state == backend_state::ABSENT
}

/// The identity of an entry; `None` if it is free or not one of ours.
pub(super) fn endpoint(backend: &Backend) -> Option<Endpoint> {
    if is_absent(backend) {
        return None;
    }
    let protocol = Protocol::from_number(u8::try_from(backend.protocol).ok()?)?;
    let (address, port) = (backend.address.into(), u16::from_be(backend.port));
    Some(Endpoint { address, port, protocol })
}
