//! From containers to services: what is published, what is not, and why. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    candidate::{self, Candidate, Membership},
    define::{self, Taken},
    inspected::{DockerHealth, Inspected, State},
    reach::{self, ById},
    verdict::{Held, Refusal, Verdict},
};
use crate::model::{
    BackendSpec, Config, Docker, Endpoint, HealthCheck, Protocol, Service, ServiceName, Weight,
};

/// What the containers make of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovered {
    /// The services of the configuration with the containers among their backends, then those that
    /// are made of labels.
    pub services: Vec<Service>,
    /// The backends that are containers.
    pub backends: BTreeMap<Endpoint, Provided>,
    /// Every container, by name.
    pub containers: Vec<Finding>,
}

/// A container as a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provided {
    /// Its name.
    pub container: String,
    /// Its id and its start: another one is another backend, whatever its address.
    pub incarnation: String,
    /// Why it gets no new flows.
    pub held: Option<Held>,
}

/// What became of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What became of it.
    pub verdict: Verdict,
}

/// The services that a configuration and the containers of the host make together.
#[must_use]
pub fn services_of(containers: &[Inspected], config: &Config, docker: &Docker) -> Discovered {
    let mut sorted: Vec<&Inspected> = containers.iter().collect();
    sorted.sort_by_key(|container| (&container.created, &container.id));
    let by_id: ById<'_> = sorted.iter().map(|one| (one.id.as_str(), *one)).collect();
    let (mut candidates, mut verdicts) = (Vec::new(), BTreeMap::new());
    for container in &sorted {
        match candidate::candidate(container, docker) {
            Ok(candidate) => candidates.push(candidate),
            Err(verdict) => drop(verdicts.insert(container.id.as_str(), verdict)),
        }
    }
    let defined = define::services(&candidates, config);
    let known = config.services.iter().chain(&defined).map(|one| (one.name.clone(), one.clone()));
    let known: BTreeMap<ServiceName, Service> = known.collect();
    let mut reached = Vec::new();
    for candidate in &candidates {
        match reach_all(candidate, &known, config, &by_id) {
            Ok(places) => reached.push((candidate, places)),
            Err(refusals) => {
                verdicts.insert(&candidate.container.id, Verdict::Refused(refusals));
            }
        }
    }
    // A service that nobody can serve takes no address from others.
    let served: BTreeSet<&ServiceName> =
        reached.iter().flat_map(|(_, places)| places).map(|(service, _)| service).collect();
    let wanted = defined.into_iter().filter(|service| served.contains(&service.name)).collect();
    let (admitted, refused) = define::admit(wanted, config);
    let mut published = Published::new(config, admitted);
    for (candidate, places) in reached {
        let verdict = published.add(candidate, places, &refused);
        verdicts.insert(&candidate.container.id, verdict);
    }
    published.finish(&sorted, verdicts)
}

type Places = Vec<(ServiceName, Endpoint)>;

/// The backends that a container is, or everything that stands against it.
fn reach_all(
    candidate: &Candidate<'_>,
    known: &BTreeMap<ServiceName, Service>,
    config: &Config,
    by_id: &ById<'_>,
) -> Result<Places, Vec<Refusal>> {
    let (mut places, mut refusals) = (Vec::new(), overruled(candidate, config));
    for membership in &candidate.memberships {
        match reach_one(candidate, membership, known, by_id) {
            Ok(found) => places.extend(found),
            Err(refusal) if refusals.contains(&refusal) => {}
            Err(refusal) => refusals.push(refusal),
        }
    }
    if refusals.is_empty() { Ok(places) } else { Err(refusals) }
}

fn reach_one(
    candidate: &Candidate<'_>,
    membership: &Membership,
    known: &BTreeMap<ServiceName, Service>,
    by_id: &ById<'_>,
) -> Result<Places, Refusal> {
    let Membership { service: name, port, network } = membership;
    let service = known.get(name).ok_or_else(|| Refusal::NoListen(name.clone()))?;
    let addresses = reach::addresses(candidate.container, network.as_deref(), by_id)?;
    let port = reach::port(candidate.container, *port, &service.listens)?;
    let endpoints = reach::endpoints(name, &service.listens, addresses, port)?;
    if let Some(HealthCheck { port: None, .. }) = service.health
        && endpoints.iter().any(|end| end.port == 0 || end.protocol == Protocol::Udp)
    {
        return Err(Refusal::NoProbePort(name.clone()));
    }
    Ok(endpoints.into_iter().map(|endpoint| (name.clone(), endpoint)).collect())
}

/// Labels that say of a service of the file what the file says.
fn overruled(candidate: &Candidate<'_>, config: &Config) -> Vec<Refusal> {
    let Candidate { labels, named, memberships, .. } = candidate;
    let in_file = |name: &ServiceName| config.services.iter().any(|one| one.name == *name);
    // They are about the service that the labels name, or else about the one that chose it.
    let about = named.as_ref().or_else(|| memberships.first().map(|first| &first.service));
    let Some(service) = about.filter(|service| in_file(service)) else { return Vec::new() };
    let given = [
        ("weir.listen", labels.listens.is_some()),
        ("weir.policy", labels.policy.is_some()),
        ("weir.sources", labels.sources.is_some()),
        ("weir.health", labels.health.is_some()),
    ];
    given
        .into_iter()
        .filter(|(_, given)| *given)
        .map(|(label, _)| Refusal::FileDecides { service: service.clone(), label })
        .collect()
}

/// What is published so far.
struct Published {
    services: Vec<Service>,
    index: BTreeMap<ServiceName, usize>,
    backends: BTreeMap<Endpoint, Provided>,
    /// How many of the services are those of the file.
    of_file: usize,
    taken: Taken,
    endpoints: BTreeSet<Endpoint>,
    limit: u32,
}

impl Published {
    fn new(config: &Config, admitted: Vec<Service>) -> Self {
        let services: Vec<Service> = config.services.iter().cloned().chain(admitted).collect();
        let names = services.iter().map(|service| service.name.clone());
        let backends = services.iter().flat_map(|service| &service.backends);
        Self {
            index: names.zip(0..).collect(),
            of_file: config.services.len(),
            taken: Taken::of(&services),
            endpoints: backends.map(|backend| backend.endpoint).collect(),
            services,
            backends: BTreeMap::new(),
            limit: config.limits.backends,
        }
    }

    /// Publishes a container, or says why not.
    fn add(
        &mut self,
        candidate: &Candidate<'_>,
        places: Places,
        refused: &BTreeMap<ServiceName, Refusal>,
    ) -> Verdict {
        let mut refusals: Vec<Refusal> = Vec::new();
        for (service, endpoint) in &places {
            let refusal = refused.get(service).cloned();
            let refusal = refusal.or_else(|| self.obstacle(service, *endpoint));
            refusals.extend(refusal.filter(|refusal| !refusals.contains(refusal)));
        }
        let fresh: BTreeSet<&Endpoint> =
            places.iter().map(|(_, end)| end).filter(|end| !self.endpoints.contains(end)).collect();
        if self.endpoints.len() + fresh.len() > define::to_usize(self.limit) {
            refusals.push(Refusal::NoRoom { what: "backends", limit: self.limit });
        }
        if !refusals.is_empty() {
            return Verdict::Refused(refusals);
        }
        let container = candidate.container;
        let held = held(container);
        let weight = candidate.labels.weight.unwrap_or(Weight::DEFAULT);
        for (service, endpoint) in &places {
            let at = self.index.get(service).and_then(|at| self.services.get_mut(*at));
            if let Some(service) = at {
                service.backends.push(BackendSpec { endpoint: *endpoint, weight });
            }
            self.endpoints.insert(*endpoint);
            let incarnation = container.incarnation();
            let provided = Provided { container: container.name.clone(), incarnation, held };
            self.backends.insert(*endpoint, provided);
        }
        Verdict::Published { places, held }
    }

    /// What stands against a backend of a service.
    fn obstacle(&self, service: &ServiceName, endpoint: Endpoint) -> Option<Refusal> {
        if let Some((listen, holder)) = self.taken.at(endpoint) {
            let (listen, holder) = (*listen, holder.clone());
            return Some(Refusal::BackendIsListen { endpoint, listen, holder });
        }
        if let Some(other) = self.backends.get(&endpoint) {
            let holder = format!("container {}", other.container);
            return Some(Refusal::TwoAtOnePlace { endpoint, holder });
        }
        let service = self.index.get(service).and_then(|at| self.services.get(*at))?;
        let listed = service.backends.iter().any(|backend| backend.endpoint == endpoint);
        let holder = format!("service {} of the configuration lists it", service.name);
        listed.then_some(Refusal::TwoAtOnePlace { endpoint, holder })
    }

    fn finish(
        mut self,
        sorted: &[&Inspected],
        mut verdicts: BTreeMap<&str, Verdict>,
    ) -> Discovered {
        let (mut at, of_file) = (0, self.of_file);
        self.services.retain(|service| {
            at += 1;
            at <= of_file || !service.backends.is_empty()
        });
        let mut containers: Vec<Finding> = sorted
            .iter()
            .filter_map(|container| {
                let verdict = verdicts.remove(container.id.as_str())?;
                let (id, name) = (container.id.clone(), container.name.clone());
                Some(Finding { id, name, verdict })
            })
            .collect();
        containers.sort_by(|one, other| one.name.cmp(&other.name));
        Discovered { services: self.services, backends: self.backends, containers }
    }
}

/// Why a container that is reached gets no new flows.
fn held(container: &Inspected) -> Option<Held> {
    match (&container.state, container.stopping, container.health) {
        (State::Paused, _, _) => Some(Held::Paused),
        (State::Running | State::Still(_), true, _) => Some(Held::Stopping),
        (State::Running | State::Still(_), false, Some(DockerHealth::Starting)) => {
            Some(Held::Starting)
        }
        (State::Running | State::Still(_), false, Some(DockerHealth::Unhealthy)) => {
            Some(Held::Unhealthy)
        }
        (State::Running | State::Still(_), false, Some(DockerHealth::Healthy) | None) => None,
    }
}
