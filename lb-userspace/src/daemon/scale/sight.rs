//! What the scalers see of services: offered load, capacities, and the replicas.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use lb_common::abi::{backend::BackendLoad, signals::Signals};

use super::{
    super::{
        Daemon,
        capacities::{Capacities, Who},
        containers::Containers,
        engines::Watched,
        state::State,
    },
    act::Trade,
};
use crate::{
    admin::report::BackendState,
    autoscale::{Pod, Replica, Sample, Standing},
    docker::{Finding, Inspected, Link, REPLICA_LABEL, Rooms, State as ContainerState, Verdict},
    load::{Guard, sample::Resource},
    model::{Endpoint, Policy, Service, ServiceName},
};

/// Figures are made once a second.
const FIGURES: Duration = Duration::from_secs(1);
/// What was there when the daemon came has been there for long.
const LONG: Duration = Duration::from_hours(1);

/// Everything that is looked at in a tick.
pub(super) struct Sight<'a> {
    pub(super) now: Instant,
    pub(super) state: &'a State,
    pub(super) capacities: &'a Capacities,
    pub(super) containers: &'a Containers,
    pub(super) seen: BTreeMap<ServiceName, Seen>,
}

/// What the dataplane counts for a service.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) id: u32,
    /// Flows that it has begun.
    pub(super) flows: u64,
    /// Its backends, where their requests are counted and are all of this service.
    pub(super) readings: BTreeMap<Who, (BackendLoad, Signals)>,
    /// Flows that its backends have now.
    open: BTreeMap<Endpoint, u64>,
}

impl Daemon {
    /// Reads the counters of the services that are scaled.
    pub(super) fn seen(&self) -> anyhow::Result<BTreeMap<ServiceName, Seen>> {
        let ids = self.service_ids();
        let mut seen = BTreeMap::new();
        let scaled = self.state.config.services.iter().filter(|one| one.scale.is_some());
        for service in scaled {
            let Some(&id) = ids.get(&service.name) else { continue };
            let backends: BTreeMap<u32, Endpoint> = service
                .backends
                .iter()
                .filter_map(|spec| Some((self.backend_id(&spec.endpoint)?, spec.endpoint)))
                .collect();
            let counters = self.dataplane.counters([id].into_iter(), backends.keys().copied())?;
            let flows = counters.services.get(&id).map_or(0, |traffic| traffic.flows);
            let open = backends.iter().map(|(id, end)| (*end, counters.reading(*id).load.flows));
            let open = open.collect();
            let counted = self.counts_requests(service);
            let reading = |(id, endpoint): (&u32, &Endpoint)| {
                let reading = counters.reading(*id);
                (self.state.who(endpoint), (reading.load, reading.signals))
            };
            let readings = backends.iter().filter(|_| counted).map(reading).collect();
            seen.insert(service.name.clone(), Seen { id, flows, readings, open });
        }
        Ok(seen)
    }

    /// Whether the requests of its backends are known, and are all its own.
    fn counts_requests(&self, service: &Service) -> bool {
        let own: BTreeSet<Endpoint> = service.backends.iter().map(|spec| spec.endpoint).collect();
        let others = self.state.config.services.iter().filter(|other| other.name != service.name);
        let mut shared = others.flat_map(|other| &other.backends);
        service.policy == Policy::Adaptive && !shared.any(|spec| own.contains(&spec.endpoint))
    }
}

impl Sight<'_> {
    pub(super) fn service(&self, name: &ServiceName) -> Option<&Seen> {
        self.seen.get(name)
    }

    fn configured(&self, name: &ServiceName) -> Option<&Service> {
        self.state.config.services.iter().find(|service| service.name == *name)
    }

    /// Whether containers can be made and taken away on some host, each host having spoken; or why
    /// not.
    pub(super) fn engine(&self) -> Result<bool, String> {
        let engines = &self.containers.engines;
        let why = |one: &Watched| match &one.view.link {
            Link::Lost { why } => Some(why.clone()),
            Link::Connecting | Link::Connected { .. } => None,
        };
        if !engines.have_spoken() || engines.is_empty() {
            return Ok(false);
        }
        if engines.iter().any(Watched::is_connected) {
            return Ok(true);
        }
        Err(engines.iter().find_map(why).unwrap_or_default())
    }

    /// Whether the engine of some host does not answer.
    pub(super) fn misses_engines(&self) -> bool {
        !self.containers.engines.iter().all(Watched::is_connected)
    }

    /// The hosts that can be asked, for replicas of a service.
    pub(super) fn rooms(&self, name: &ServiceName) -> Rooms<'_> {
        let engines = &self.containers.engines;
        let reached = engines.iter().filter(|one| one.is_connected());
        let hosts = reached.filter_map(|one| Some((&one.host, one.view.machine?)));
        let findings = &self.containers.discovered.containers;
        let service = |finding: &'_ Finding| match &finding.verdict {
            Verdict::Published { places, .. } => {
                let is_it = places.iter().any(|(service, _)| service == name);
                let first = places.first().map(|(service, _)| service.as_str().to_owned());
                if is_it { Some(name.as_str().to_owned()) } else { first }
            }
            Verdict::Ignored(_) | Verdict::Still(_) | Verdict::Refused(_) => None,
        };
        let services = findings.iter().filter_map(|one| Some((one.id.clone(), service(one)?)));
        Rooms {
            hosts: hosts.filter(|(_, [cpu, memory, ..])| *cpu > 0 && *memory > 0).collect(),
            containers: engines.containers(),
            services: services.collect(),
        }
    }

    /// The replicas with those last that shall go, the first to go the last one.
    pub(super) fn leavers_last(
        &self,
        name: &ServiceName,
        trade: &Trade,
        desired: u32,
    ) -> Vec<Replica> {
        let mut replicas = self.replicas(name, trade);
        let live = |one: &&Replica| {
            matches!(one.standing, Standing::Healthy | Standing::Starting) && !trade.drains(&one.id)
        };
        let count = replicas.iter().filter(live).count();
        let surplus = count.saturating_sub(usize::try_from(desired).unwrap_or(usize::MAX));
        if surplus == 0 || self.containers.engines.iter().count() < 2 {
            return replicas;
        }
        let may_go =
            |one: &&Replica| one.own && one.standing == Standing::Healthy && !trade.keeps(&one.id);
        let candidates: Vec<&str> =
            replicas.iter().filter(live).filter(may_go).map(|one| one.id.as_str()).collect();
        let leaving = replicas.iter().map(|one| one.id.as_str()).filter(|id| trade.drains(id));
        let leaving = leaving.collect();
        let leavers = self.rooms(name).leavers(name.as_str(), &candidates, &leaving, surplus);
        let turn = |one: &Replica| leavers.iter().rev().position(|id| *id == one.id);
        // Those that stay come first, in their order.
        replicas.sort_by_key(turn);
        replicas
    }

    /// The replicas that are there to stay, and how many of them take new flows. The first is none
    /// while nobody knows.
    pub(super) fn count(&self, name: &ServiceName, trade: &Trade) -> (Option<u32>, usize) {
        let replicas = self.replicas(name, trade);
        let lives = |one: &&Replica| matches!(one.standing, Standing::Healthy | Standing::Starting);
        let live = replicas.iter().filter(lives).filter(|one| !trade.drains(&one.id)).count();
        let up = replicas.iter().filter(|one| one.standing == Standing::Healthy).count();
        let known = self.containers.engines.have_spoken();
        (known.then(|| u32::try_from(live).unwrap_or(u32::MAX)), up)
    }

    /// What one replica can take: the middle of what was measured of those that serve.
    pub(super) fn capacity(&self, name: &ServiceName) -> Option<f64> {
        let service = self.configured(name)?;
        let of = |endpoint: &Endpoint| {
            let verdict = self.capacities.verdict(name, &self.state.who(endpoint))?;
            let out = matches!(verdict.explanation.guard, Guard::Ejected { .. } | Guard::Down);
            verdict.measured.filter(|_| !out)
        };
        let mut measured: Vec<f64> =
            service.backends.iter().filter_map(|spec| of(&spec.endpoint)).collect();
        measured.sort_by(f64::total_cmp);
        measured.get(measured.len().saturating_sub(1) / 2).copied()
    }

    /// The servers of a service: its containers in the order in which they were made, those that do
    /// not run among them if they were made here, and the backends that are none.
    pub(super) fn replicas(&self, name: &ServiceName, trade: &Trade) -> Vec<Replica> {
        let Some(service) = self.configured(name) else { return Vec::new() };
        let none = BTreeMap::new();
        let open = self.seen.get(name).map_or(&none, |seen| &seen.open);
        let mut by_incarnation: BTreeMap<String, Vec<Endpoint>> = BTreeMap::new();
        let mut plain = Vec::new();
        for spec in &service.backends {
            match self.state.who(&spec.endpoint) {
                (end, Some(incarnation)) => {
                    by_incarnation.entry(incarnation).or_default().push(end);
                }
                (end, None) => plain.push(end),
            }
        }
        let engines = &self.containers.engines;
        let mut containers: Vec<&Inspected> = engines.containers().iter().collect();
        containers.sort_by_key(|one| (&one.created, &one.id));
        let container = |one: &Inspected| {
            let own = one.labels.get(REPLICA_LABEL).is_some_and(|of| of == name.as_str());
            let endpoints = by_incarnation.get(&one.incarnation());
            let endpoints = endpoints.map_or(&[][..], Vec::as_slice);
            if !own && endpoints.is_empty() {
                return None;
            }
            let reached = engines.of(one).is_some_and(Watched::is_connected);
            let standing = self.standing(one, endpoints, trade);
            // Its host may be gone: what does not answer is none that counts.
            let gone = !reached && standing != Standing::Healthy;
            let standing = if gone { Standing::Leaving } else { standing };
            let flows = endpoints.iter().filter_map(|end| open.get(end)).sum();
            let (id, name) = (one.id.clone(), one.title());
            // Of what cannot be asked nothing is taken away.
            Some(Replica { id, name, own: own && reached, standing, flows })
        };
        let mut replicas: Vec<Replica> = containers.into_iter().filter_map(container).collect();
        // One server has an address of each family.
        let (v4, v6): (Vec<_>, Vec<_>) = plain.into_iter().partition(|end| end.address.is_ipv4());
        let plain = if v6.len() > v4.len() { v6 } else { v4 };
        replicas.extend(plain.into_iter().map(|endpoint| self.plain(endpoint, open)));
        replicas
    }

    fn plain(&self, endpoint: Endpoint, open: &BTreeMap<Endpoint, u64>) -> Replica {
        let standing = match self.state.backend_state(&endpoint) {
            BackendState::Up => Standing::Healthy,
            BackendState::Down => Standing::Starting,
            BackendState::Drained | BackendState::Closing => Standing::Leaving,
        };
        let (id, flows) = (endpoint.to_string(), open.get(&endpoint).copied().unwrap_or(0));
        Replica { name: id.clone(), id, own: false, standing, flows }
    }

    fn standing(&self, one: &Inspected, endpoints: &[Endpoint], trade: &Trade) -> Standing {
        match &one.state {
            // Between its creation and its start.
            ContainerState::Still(word) if word == "created" => return Standing::Starting,
            ContainerState::Still(word) if word == "removing" => return Standing::Leaving,
            ContainerState::Still(word) => return Standing::Ended(word.clone()),
            ContainerState::Running | ContainerState::Paused => {}
        }
        if one.stopping {
            return Standing::Leaving;
        }
        let states = endpoints.iter().map(|end| self.state.backend_state(end));
        let states: Vec<BackendState> = states.collect();
        // What was drained from here takes flows again as soon as somebody wants it to.
        let drained_here = trade.drains(&one.id) && states.contains(&BackendState::Drained);
        if drained_here || states.contains(&BackendState::Up) {
            Standing::Healthy
        } else if states.contains(&BackendState::Drained) {
            Standing::Leaving
        } else {
            Standing::Starting
        }
    }

    /// Whether a backend is a container of another host.
    fn is_elsewhere(&self, endpoint: &Endpoint) -> bool {
        let provided = self.containers.discovered.backends.get(endpoint);
        provided.is_some_and(|provided| provided.home.is_some())
    }

    /// The endpoints of a container of a service.
    pub(super) fn endpoints(&self, name: &ServiceName, id: &str) -> Vec<Endpoint> {
        let Some(service) = self.configured(name) else { return Vec::new() };
        let is_its = |endpoint: &Endpoint| {
            let (_, incarnation) = self.state.who(endpoint);
            incarnation.is_some_and(|it| it.split('@').next() == Some(id))
        };
        service.backends.iter().map(|spec| spec.endpoint).filter(is_its).collect()
    }
}

/// The replicas as Kubernetes' algorithm sees them.
#[derive(Debug, Default)]
pub(super) struct Pods {
    known: BTreeMap<Who, Known>,
    /// Whether one was there before.
    begun: bool,
    /// Whether any was ever measured: then it is missed where nobody is.
    measured: bool,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    started: Instant,
    ready: bool,
    since: Instant,
}

impl Pods {
    /// Notes who is there, and who has become ready.
    pub(super) fn look(&mut self, now: Instant, sight: &Sight<'_>, name: &ServiceName) {
        let Some(service) = sight.configured(name) else { return };
        let ready: BTreeMap<Who, bool> = service
            .backends
            .iter()
            .map(|spec| {
                let up = sight.state.backend_state(&spec.endpoint) == BackendState::Up;
                (sight.state.who(&spec.endpoint), up)
            })
            .collect();
        self.known.retain(|who, _| ready.contains_key(who));
        let old = if self.begun { now } else { now.checked_sub(LONG).unwrap_or(now) };
        for (who, ready) in ready {
            let new = Known { started: old, ready, since: old };
            let known = self.known.entry(who).or_insert(new);
            if known.ready != ready {
                *known = Known { ready, since: now, ..*known };
            }
        }
        self.begun = true;
    }

    /// The replicas with their use of what limits them; none where nothing of the kind is measured.
    pub(super) fn told(&mut self, sight: &Sight<'_>, name: &ServiceName) -> Option<Vec<Pod>> {
        let mut pods: BTreeMap<String, Pod> = BTreeMap::new();
        let mut elsewhere = BTreeSet::new();
        for ((endpoint, incarnation), known) in &self.known {
            let state = sight.state.backend_state(endpoint);
            let who = (*endpoint, incarnation.clone());
            let used = sight.capacities.verdict(name, &who).map(|verdict| &verdict.explanation);
            let bottleneck = used.and_then(|used| used.bottleneck);
            let out = matches!(state, BackendState::Drained | BackendState::Closing);
            // More replicas would not take any memory from those that are there.
            if out || matches!(bottleneck, Some((Resource::Memory, _))) {
                continue;
            }
            let old = used.is_some_and(|used| used.guard == Guard::Stale);
            let sample = bottleneck.filter(|_| !old).map(|(_, used)| Sample {
                milli: milli(used),
                at: sight.now,
                window: FIGURES,
            });
            self.measured |= sample.is_some();
            let Known { started, ready, since } = *known;
            let pod = Pod { started, pending: false, ready, since, sample };
            // Both families of one container are one replica.
            let replica = incarnation.clone().unwrap_or_else(|| endpoint.to_string());
            if sample.is_none() && sight.is_elsewhere(endpoint) {
                elsewhere.insert(replica.clone());
            }
            pods.entry(replica).or_insert(pod);
        }
        // Nobody measures those of other hosts: they are taken to be as busy as the rest.
        let usual = usual(pods.values().filter_map(|pod| pod.sample));
        for replica in elsewhere {
            if let Some(pod) = pods.get_mut(&replica) {
                pod.sample = pod.sample.or(usual);
            }
        }
        self.measured.then(|| pods.into_values().collect())
    }
}

/// The middle one of these.
fn usual(samples: impl Iterator<Item = Sample>) -> Option<Sample> {
    let mut samples: Vec<Sample> = samples.collect();
    samples.sort_by_key(|sample| sample.milli);
    samples.get(samples.len() / 2).copied()
}

fn milli(used: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 1000"
    )]
    let milli = (used.clamp(0.0, 1.0) * 1000.0).round() as u64;
    milli
}
