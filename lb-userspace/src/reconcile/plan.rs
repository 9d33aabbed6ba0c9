//! The plan: every write, in a safe order, with its reason.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    backends, changes,
    changes::Scope,
    desired::{self, Desired},
    ids,
    keys::{self, Key},
    layout::{self, Ground},
    observed::Observed,
    pages::{FreePages, Quarantine},
    ports::Surplus,
    services, settings,
    tables::TableBuilder,
};
use crate::{
    maps::Write,
    model::{Endpoint, Limits, ServiceName},
};

/// Everything that a plan depends on.
#[derive(Clone, Copy, Debug)]
pub struct PlanInput<'a> {
    /// What the maps should say.
    pub desired: &'a Desired,
    /// What they say.
    pub observed: &'a Observed,
    /// [`Plan::next`] of the last plan, whether or not it was carried out to the end.
    pub memory: &'a Memory,
    /// Open flows by backend id; a backend that is missing has none.
    pub flows: &'a BTreeMap<u32, u64>,
    /// The time.
    pub now: Instant,
    /// How long a backend that left keeps its flows.
    pub drain: Duration,
    /// Capacities of the maps. Id 0 is nobody, so there is room for one service and one backend
    /// fewer than the arrays have elements.
    pub limits: Limits,
    /// Builds slot tables.
    pub build: TableBuilder,
    /// What may differ.
    pub scope: Scope<'a>,
}

/// What the planner must know and the maps do not say. A controller that starts without it lets
/// what is on its way out wait once more; pages need no memory then, because no packet stays in
/// the program for as long as a start takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    pub(super) pages: Quarantine,
    /// Since when a backend that left has been closed.
    pub(super) closing: BTreeMap<u32, Instant>,
    /// Pre-filter bits that nobody needs: TCP, UDP.
    pub(super) ports: [Option<Surplus>; 2],
    /// Whether the last plan left nothing for another one but to retire who is closing.
    pub(super) settled: bool,
}

impl Memory {
    /// The ids of backends that left and keep their flows: whoever plans again wants to know how
    /// many they have.
    pub fn closing(&self) -> impl Iterator<Item = u32> {
        self.closing.keys().copied()
    }
}

/// What to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The writes, in order.
    pub steps: Vec<Step>,
    /// What is not in place at the end of this plan, because its room is not free yet.
    pub waiting: Vec<Waiting>,
    /// Input of the next plan.
    pub next: Memory,
}

/// One write and its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its place in the order.
    pub stage: Stage,
    /// What to write.
    pub write: Write,
    /// Why.
    pub why: String,
}

/// The safe order: what is named exists before it is named, and goes when nobody names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Settings that the new services need.
    Prepare,
    /// The pre-filter lets the new services through.
    Widen,
    /// New backends, changes of state and of next hops.
    Backends,
    /// Leftovers of an id's last use go, and what must go to make room.
    Clear,
    /// New sources are allowed.
    Allow,
    /// New tables, which nobody reads yet.
    Tables,
    /// Services name them.
    Publish,
    /// Listen addresses go.
    Withdraw,
    /// Sources that nobody checks go.
    Forbid,
    /// The pre-filter lets through what is left.
    Narrow,
    /// Backends close or free their ids.
    Retire,
    /// The settings say that this desired state is in place.
    Settle,
}

/// Why no plan can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The desired state is larger than the dataplane.
    #[error("{needed} {what} do not fit: the dataplane is loaded for {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        needed: usize,
        /// Room.
        limit: u32,
    },
    /// A service names a backend that the desired state does not list.
    #[error("service {service}: backend {backend} is not among the backends")]
    Unlisted {
        /// The service.
        service: ServiceName,
        /// The backend.
        backend: Endpoint,
    },
    /// Two services listen on one address.
    #[error("services {first} and {second} both listen on {listen}")]
    Conflict {
        /// The address.
        listen: String,
        /// One of them.
        first: String,
        /// The other one.
        second: String,
    },
}

/// What a service waits for. The desired state fits, but something that is on its way out still
/// takes its room; a later plan frees it as soon as it may.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Waiting {
    /// A service id; the service stays as it is.
    #[error("service {service} waits for a free service id")]
    ServiceId {
        /// The service.
        service: ServiceName,
    },
    /// A backend id; the service's other backends serve.
    #[error("service {service} waits for a free id for its backend {backend}")]
    Backend {
        /// The service.
        service: ServiceName,
        /// Its backend.
        backend: Endpoint,
    },
    /// Pages in a row; the service stays as it is. Lasts where the tables fill the pages so far
    /// that there is no room for an old and a new one at a time.
    #[error("service {service} waits for {needed} free pages in a row for its table")]
    Pages {
        /// The service.
        service: ServiceName,
        /// How many.
        needed: usize,
    },
}

/// Plans the way from the observed to the desired state.
pub fn plan(input: &PlanInput<'_>) -> Result<Plan, PlanError> {
    match changes::plan(input) {
        Some(plan) => Ok(plan),
        None => plan_all(input),
    }
}

/// The plan that looks at everything.
fn plan_all(input: &PlanInput<'_>) -> Result<Plan, PlanError> {
    check(input)?;
    let PlanInput { desired, observed, memory, now, limits, .. } = *input;
    let published = keys::published(observed);
    let quarantine = memory.pages.observe(observed, now);
    let places = ids::backends(desired, observed, limits.backends);
    let service_ids = ids::services(desired, &published, limits.services);

    let free = FreePages::new(limits.pages, observed, &quarantine);
    let ground = Ground { input, published: &published, backends: &places, free };
    let mut layout = layout::lay_out(ground, desired.services.iter().zip(service_ids))?;
    if desired.pings {
        layout.answer_pings();
    }
    layout.check(limits)?;

    let capacities = desired::capacities(desired.services.iter());
    let leaving = backends::leaving(observed, &places);
    let (retirements, closing) = backends::retirements(input, leaving.into_iter(), &layout.pinned);
    let (port_steps, ports) = services::port_steps(input, &layout);
    let ranges = layout.services.keys().any(|key| matches!(key, Key::Range(_)));
    let mut steps = settings::steps(desired, observed, ranges);
    steps.extend(backends::steps(input, &places, &capacities));
    steps.extend(retirements);
    steps.extend(port_steps);
    steps.extend(services::steps(observed, &published, &layout));
    steps.extend(services::withdrawals(&published, &layout));
    steps.extend(services::source_steps(observed, &published, &layout));
    Ok(finish(steps, layout.waiting, Memory { pages: quarantine, closing, ports, settled: false }))
}

/// Puts the steps of a plan in order.
pub(super) fn finish(mut steps: Vec<Step>, waiting: Vec<Waiting>, mut next: Memory) -> Plan {
    steps.sort_by_key(|step| step.stage);
    // Who frees an id makes ports surplus, and room.
    next.settled = waiting.is_empty() && !steps.iter().any(|step| frees(&step.write));
    Plan { steps, waiting, next }
}

const fn frees(write: &Write) -> bool {
    matches!(write, Write::Backend { value, .. } if ids::is_absent(value))
}

/// What is wrong with the desired state whatever the maps say.
fn check(input: &PlanInput<'_>) -> Result<(), PlanError> {
    let PlanInput { desired, limits, .. } = input;
    layout::check("services", desired.services.len(), limits.services.saturating_sub(1))?;
    layout::check("backends", desired.backends.len(), limits.backends.saturating_sub(1))?;
    for service in &desired.services {
        let mut endpoints = service.backends.iter().map(|backend| backend.endpoint);
        if let Some(backend) = endpoints.find(|backend| !desired.backends.contains_key(backend)) {
            return Err(PlanError::Unlisted { service: service.name.clone(), backend });
        }
    }
    Ok(())
}
