//! The containers as they are told to people.

use std::path::Path;

use super::{
    discover::{Discovered, Finding},
    follow::Link,
    verdict::{Refusal, Verdict},
};
use crate::{
    admin::report::{ContainerReport, ContainerVerdict, DockerReport},
    model::{Endpoint, Service},
};

/// What became of the containers of an engine. `withheld` says why a backend gets no new flows,
/// where somebody knows.
pub fn report(
    socket: &Path,
    link: &Link,
    since_s: u64,
    discovered: &Discovered,
    withheld: impl Fn(&Endpoint) -> Option<String>,
) -> DockerReport {
    let (api, error) = match link {
        Link::Connecting => (None, Some("it has not answered yet".to_owned())),
        Link::Connected { api } => (Some(api.clone()), None),
        Link::Lost { why } => (None, Some(why.clone())),
    };
    DockerReport {
        socket: socket.to_owned(),
        connected: error.is_none(),
        since_s,
        api,
        error,
        containers: discovered
            .containers
            .iter()
            .map(|one| container(one, &discovered.services, &withheld))
            .collect(),
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
