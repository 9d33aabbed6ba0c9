//! From containers to services: what is published, what is not, and why. No I/O.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    admit::{self, Taken},
    candidate::{self, Candidate, Membership},
    define::{self, Drafts},
    elsewhere,
    inspected::{Addresses, DockerHealth, Inspected, NetworkKind, State},
    leases::Leases,
    reach::{self, Around, ById},
    resolve::{self, Families, Host, Resolved},
    verdict::{Held, Refusal, Verdict},
};
use crate::{
    config::labels::{Terms, Wanted},
    model::{
        BackendSpec, Config, Docker, Endpoint, HealthCheck, Listen, Protocol, Service, ServiceName,
        Weight,
    },
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
    /// The ports of the host that are taken for services.
    pub held: BTreeSet<Listen>,
    /// Who has which automatic port.
    pub leases: Leases,
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
    /// What its network is.
    pub network: NetworkKind,
    /// Its process, where that can be seen.
    pub pid: Option<u32>,
    /// The host it is on; `None`: this one.
    pub home: Option<String>,
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
pub fn services_of(
    containers: &[Inspected],
    config: &Config,
    docker: &Docker,
    host: &Host<'_>,
) -> Discovered {
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
    let Drafts { services: drafts, mut memberships, mut refusals } =
        define::services(&candidates, config);
    let known = config.services.iter().chain(drafts.iter().map(|draft| &draft.service));
    let known: BTreeMap<&ServiceName, &Service> = known.map(|one| (&one.name, one)).collect();
    let around = Around { all: &by_id, host: host.addresses };
    let mut reached = Vec::new();
    for (at, candidate) in candidates.iter().enumerate() {
        let mut refusals = refusals.remove(&at).unwrap_or_default();
        refusals.extend(overruled(candidate, config));
        let own = memberships.remove(&at).unwrap_or_default();
        match reach_all(candidate, &candidate.memberships(own), &known, refusals, around) {
            Ok(places) => reached.push((candidate, places)),
            Err(refusals) => {
                verdicts.insert(&candidate.container.id, Verdict::Refused(refusals));
            }
        }
    }
    // A service that nobody can serve takes no address from others.
    let families = families(&reached);
    let served = drafts.into_iter().filter_map(|draft| {
        let families = families.get(&draft.service.name)?;
        Some((draft, *families))
    });
    let Resolved { services, mut refused, held, leases } =
        resolve::resolve(served.collect(), config, docker.ports, host);
    let (admitted, more) = admit::admit(services, config);
    let of_admitted = |service: &Service| held.get(&service.name).into_iter().flatten().copied();
    let held = admitted.iter().flat_map(of_admitted).collect();
    refused.extend(more);
    let mut published = Published::new(config, admitted);
    for (candidate, places) in reached {
        let verdict = published.add(candidate, places, &refused);
        verdicts.insert(&candidate.container.id, verdict);
    }
    Discovered { held, leases, ..published.finish(&sorted, verdicts) }
}

/// The families in which the services are served.
fn families(reached: &[(&Candidate<'_>, Places)]) -> BTreeMap<ServiceName, Families> {
    let mut families: BTreeMap<ServiceName, Families> = BTreeMap::new();
    for (service, endpoint, _) in reached.iter().flat_map(|(_, places)| places) {
        let [v4, v6] = families.entry(service.clone()).or_default();
        *v4 |= endpoint.address.is_ipv4();
        *v6 |= endpoint.address.is_ipv6();
    }
    families
}

type Places = Vec<(ServiceName, Endpoint, Weight)>;

/// The backends that a container is, or everything that stands against it.
fn reach_all(
    candidate: &Candidate<'_>,
    memberships: &[Membership],
    known: &BTreeMap<&ServiceName, &Service>,
    refusals: Vec<Refusal>,
    around: Around<'_>,
) -> Result<Places, Vec<Refusal>> {
    let (mut places, mut refusals) = (Vec::new(), refusals);
    for membership in memberships {
        match reach_one(candidate, membership, known, around) {
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
    known: &BTreeMap<&ServiceName, &Service>,
    around: Around<'_>,
) -> Result<Places, Refusal> {
    let Membership { service: name, port, network, weight } = membership;
    let service = known.get(name).ok_or_else(|| Refusal::NoListen(name.clone()))?;
    let (container, listens) = (candidate.container, &service.listens);
    let (addresses, port) = if let Some(address) = container.published_at() {
        elsewhere::place(container, *port, listens, address, around)?
    } else {
        let addresses = reach::addresses(container, network.as_deref(), around)?;
        (addresses, reach::port(container, *port, listens)?)
    };
    let endpoints = reach::endpoints(name, &service.listens, addresses, port)?;
    if let Some(HealthCheck { port: None, .. }) = service.health
        && endpoints.iter().any(|end| end.port == 0 || end.protocol == Protocol::Udp)
    {
        return Err(Refusal::NoProbePort(name.clone()));
    }
    Ok(endpoints.into_iter().map(|endpoint| (name.clone(), endpoint, *weight)).collect())
}

/// Labels that say of a service of the file what the file says. Without names they are about the
/// service that they name, or else about the one that chose the container.
fn overruled(candidate: &Candidate<'_>, config: &Config) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for (service, terms) in candidate.about() {
        if !config.services.iter().any(|known| known.name == *service) {
            continue;
        }
        let scope = if candidate.labels.several {
            format!("weir.services.{service}.")
        } else {
            "weir.".to_owned()
        };
        let said = said(terms).into_iter().filter(|(_, given)| *given);
        refusals.extend(said.map(|(label, _)| Refusal::FileDecides {
            service: service.clone(),
            label: format!("{scope}{label}"),
        }));
    }
    refusals
}

/// What labels say of a service, and not of the container in it.
fn said(terms: &Terms) -> [(&'static str, bool); 8] {
    let published = matches!(terms.wanted, Some(Wanted::Publish(_)));
    [
        ("listen", terms.wanted.is_some() && !published),
        ("publish", published),
        ("policy", terms.policy.is_some()),
        ("affinity", terms.affinity.is_some()),
        ("sources", terms.sources.is_some()),
        ("health.*", terms.health.is_some()),
        ("report.*", terms.report.is_some()),
        ("scale.*", terms.scale.is_some()),
    ]
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
        for (service, endpoint, _) in &places {
            let refusal = refused.get(service).cloned();
            let refusal = refusal.or_else(|| self.obstacle(service, *endpoint));
            refusals.extend(refusal.filter(|refusal| !refusals.contains(refusal)));
        }
        let fresh: BTreeSet<&Endpoint> = places
            .iter()
            .map(|(_, end, _)| end)
            .filter(|end| !self.endpoints.contains(end))
            .collect();
        if self.endpoints.len() + fresh.len() > admit::to_usize(self.limit) {
            refusals.push(Refusal::NoRoom { what: "backends", limit: self.limit });
        }
        if !refusals.is_empty() {
            return Verdict::Refused(refusals);
        }
        let container = candidate.container;
        let held = held(container);
        for (service, endpoint, weight) in &places {
            let at = self.index.get(service).and_then(|at| self.services.get_mut(*at));
            if let Some(service) = at {
                let (endpoint, weight) = (*endpoint, *weight);
                service.backends.push(BackendSpec { endpoint, weight, cgroup: None });
            }
            self.endpoints.insert(*endpoint);
            let incarnation = container.incarnation();
            let network = network_at(container, endpoint.address);
            let name = container.title();
            let pid = container.pid;
            let home = container.home.as_ref().map(|home| home.name.clone());
            let provided = Provided { container: name, incarnation, held, network, pid, home };
            self.backends.insert(*endpoint, provided);
        }
        let places = places.into_iter().map(|(service, endpoint, _)| (service, endpoint)).collect();
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
                let (id, name) = (container.id.clone(), container.title());
                Some(Finding { id, name, verdict })
            })
            .collect();
        containers.sort_by(|one, other| one.name.cmp(&other.name));
        let (services, backends) = (self.services, self.backends);
        Discovered { services, backends, containers, ..Discovered::default() }
    }
}

/// What the network is in which a container has an address.
fn network_at(container: &Inspected, address: IpAddr) -> NetworkKind {
    let has = |one: &&Addresses| {
        one.v4.map(IpAddr::from) == Some(address) || one.v6.map(IpAddr::from) == Some(address)
    };
    container.networks.values().find(has).map_or(NetworkKind::default(), |one| one.kind)
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
