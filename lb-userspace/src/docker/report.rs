//! The containers as they are told to people.

use super::{
    discover::{Discovered, Finding},
    follow::{Link, View},
    inspected::{Inspected, State},
    verdict::{Refusal, Verdict},
};
use crate::{
    admin::report::{ContainerReport, ContainerVerdict, DockerReport, HostReport},
    model::{DockerHost, Endpoint, EngineAddress, Service},
    placement::Dimension,
};

/// A host with containers, as it is known.
#[derive(Clone, Copy, Debug)]
pub struct HostView<'a> {
    /// The host.
    pub host: &'a DockerHost,
    /// What its engine has said.
    pub view: &'a View,
    /// Seconds since the link has been as it is.
    pub since_s: u64,
}

/// What became of the containers of all hosts. `withheld` says why a backend gets no new flows,
/// where somebody knows.
pub fn report(
    hosts: &[HostView<'_>],
    discovered: &Discovered,
    withheld: impl Fn(&Endpoint) -> Option<String>,
) -> DockerReport {
    let here = hosts.iter().find(|one| one.host.reach.is_none());
    let socket = here.and_then(|one| match &one.host.engine {
        EngineAddress::Unix(path) => Some(path.clone()),
        EngineAddress::Tls(_) => None,
    });
    let api = here.and_then(|one| match &one.view.link {
        Link::Connected { api } => Some(api.clone()),
        Link::Connecting | Link::Lost { .. } => None,
    });
    let error = here.and_then(|one| trouble(&one.view.link));
    let alone = hosts.iter().all(|one| one.host.reach.is_none());
    DockerReport {
        socket,
        connected: error.is_none(),
        since_s: here.map_or(0, |one| one.since_s),
        api,
        error,
        hosts: hosts.iter().filter(|_| !alone).map(host).collect(),
        containers: discovered
            .containers
            .iter()
            .map(|one| container(one, &discovered.services, &withheld))
            .collect(),
    }
}

/// Why an engine does not answer.
fn trouble(link: &Link) -> Option<String> {
    match link {
        Link::Connecting => Some("it has not answered yet".to_owned()),
        Link::Connected { .. } => None,
        Link::Lost { why } => Some(why.clone()),
    }
}

fn host(HostView { host, view, since_s }: &HostView<'_>) -> HostReport {
    let error = trouble(&view.link);
    let runs = |one: &&Inspected| !matches!(one.state, State::Still(_));
    let [cpu, memory] =
        [(host.cpu, Dimension::Cpu), (host.memory, Dimension::Memory)].map(|(given, dimension)| {
            let has = view.machine.map(|machine| machine[dimension.index()]);
            given.or(has).map(|amount| dimension.show(amount))
        });
    HostReport {
        name: host.name.clone(),
        engine: host.engine.to_string(),
        connected: error.is_none(),
        since_s: *since_s,
        error,
        running: view.containers.iter().filter(runs).count(),
        cpus: cpu,
        memory,
        zone: host.zone.clone(),
    }
}

fn container(
    finding: &Finding,
    all: &[Service],
    withheld: &impl Fn(&Endpoint) -> Option<String>,
) -> ContainerReport {
    let (verdict, why) = match &finding.verdict {
        Verdict::Ignored(why) => (ContainerVerdict::Ignored, why.to_string()),
        Verdict::Still(word) => (ContainerVerdict::Still, word.clone()),
        Verdict::Refused(all) => (ContainerVerdict::Refused, Refusal::sentence(all)),
        Verdict::Published { held: None, places } => {
            match places.iter().find_map(|(_, endpoint)| withheld(endpoint)) {
                Some(why) => (ContainerVerdict::Held, why),
                None => (ContainerVerdict::Published, String::new()),
            }
        }
        Verdict::Published { held: Some(why), .. } => (ContainerVerdict::Held, why.to_string()),
    };
    let (mut services, mut listens, mut endpoints) = (Vec::new(), Vec::new(), Vec::new());
    if let Verdict::Published { places, .. } = &finding.verdict {
        services = places.iter().map(|(service, _)| service.to_string()).collect();
        endpoints =
            places.iter().map(|(_, end)| format!("{end}/{}", end.protocol)).collect::<Vec<_>>();
        let is_one = |service: &&Service| places.iter().any(|(name, _)| *name == service.name);
        let dialled = all.iter().filter(is_one).flat_map(|service| &service.listens);
        listens = dialled.map(ToString::to_string).collect();
        services.dedup();
        endpoints.dedup();
    }
    let (name, id) = (finding.name.clone(), finding.id.clone());
    ContainerReport { name, id, verdict, services, listens, endpoints, why }
}
