//! Plans for what changes all the time, weights, capacities, states and ways, out of what changed
//! alone. They are the plans that [`plan_all`](super::plan) would make, without a look at the rest;
//! a property test compares the two.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::abi::service::Service;

use super::{
    backends,
    desired::{self, DesiredService},
    ids::{self, Assigned},
    keys::Key,
    layout::{self, Ground},
    pages::FreePages,
    plan::{self, Memory, Plan, PlanInput},
    services, settings,
};
use crate::{maps::snapshot::page_span, model::Endpoint};

/// What a plan has to look at.
#[derive(Clone, Copy, Debug, Default)]
pub enum Scope<'a> {
    /// Everything.
    #[default]
    All,
    /// Only this has changed in the desired state since the last plan, and the order and listen
    /// addresses of services, who their backends are, and the settings have not.
    Only(&'a Changes),
}

/// What is different about a desired state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Indices of the services: all that have one of the backends, and maybe others.
    pub services: BTreeSet<usize>,
    /// The backends whose entry or whose part in a service changed.
    pub backends: BTreeSet<Endpoint>,
}

/// The plan, if what changed is enough to make it.
pub(super) fn plan(input: &PlanInput<'_>) -> Option<Plan> {
    let PlanInput { desired, observed, memory, now, drain, limits, .. } = *input;
    let Scope::Only(changes) = input.scope else { return None };
    let is_due = memory.ports.iter().flatten().any(|surplus| surplus.is_over(now, drain));
    if !observed.is_in_place() || !memory.settled || is_due {
        return None;
    }
    let services: Vec<&DesiredService> =
        changes.services.iter().map(|index| desired.services.get(*index)).collect::<Option<_>>()?;
    let published = published(input, &services)?;
    let own_id = |service: &&DesiredService| {
        let key = service.listens.first().and_then(|listen| Key::of(listen).into_iter().next())?;
        published.get(&key).map(|entry| entry.id)
    };
    let service_ids: Vec<Option<u32>> = services.iter().map(own_id).collect();
    let place =
        |endpoint: &Endpoint| Some((*endpoint, ids::known(endpoint, observed, limits.backends)?));
    let all = services.iter().flat_map(|service| &service.backends).map(|it| &it.endpoint);
    let places: BTreeMap<Endpoint, Assigned> = all.map(place).collect::<Option<_>>()?;

    let quarantine = memory.pages.observe(observed, now);
    let free = FreePages::new(limits.pages, observed, &quarantine);
    let ground = Ground { input, published: &published, backends: &places, free };
    let laid_out = services.iter().copied().zip(service_ids);
    let layout = layout::lay_out(ground, laid_out).ok()?;
    let others = observed.named_count() - pages_of(&published);
    if !layout.waiting.is_empty() || others + layout.pages_needed > limits.pages as usize {
        return None;
    }

    let capacities = desired::capacities(services.iter().copied());
    let changed = changes.backends.iter().map(place).collect::<Option<_>>()?;
    let (retirements, closing) = backends::retirements(input, memory.closing(), &layout.pinned);
    let mut steps = settings::steps(desired, observed, !observed.ranges.is_empty());
    steps.extend(backends::steps(input, &changed, &capacities));
    steps.extend(retirements);
    steps.extend(services::steps(observed, &published, &layout));
    let ports = memory.ports.clone();
    let next = Memory { pages: quarantine, closing, ports, settled: false };
    Some(plan::finish(steps, layout.waiting, next))
}

/// What is published of these services; all of them are.
fn published(
    input: &PlanInput<'_>,
    services: &[&DesiredService],
) -> Option<BTreeMap<Key, Service>> {
    let keys = services.iter().flat_map(|service| &service.listens).flat_map(Key::of);
    keys.map(|key| Some((key, *input.observed.published(&key)?))).collect()
}

/// How many pages the tables of these entries have.
fn pages_of(published: &BTreeMap<Key, Service>) -> usize {
    let pages: BTreeSet<u32> = published.values().flat_map(page_span).collect();
    pages.len()
}
