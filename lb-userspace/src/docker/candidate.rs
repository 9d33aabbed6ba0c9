//! Which containers are meant for Weir, and for which services.

use super::{
    inspected::{Inspected, State},
    verdict::{Ignored, Refusal, Verdict},
};
use crate::{
    config::labels::{self, Labels},
    model::{Docker, ServiceName},
};

/// What Compose calls the service of a container.
const COMPOSE_SERVICE: &str = "com.docker.compose.service";

/// A running container that is meant for Weir.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    pub(super) container: &'a Inspected,
    pub(super) labels: Labels,
    /// The service that its labels name.
    pub(super) named: Option<ServiceName>,
    /// The services it belongs to, each once.
    pub(super) memberships: Vec<Membership>,
}

/// A container's part in a service.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) service: ServiceName,
    /// The port that somebody named.
    pub(super) port: Option<u16>,
    /// The network that somebody named.
    pub(super) network: Option<String>,
}

/// The candidate, or what becomes of a container that is none.
pub(super) fn candidate<'a>(
    container: &'a Inspected,
    docker: &Docker,
) -> Result<Candidate<'a>, Verdict> {
    let labels = labels::read(&container.labels)
        .map_err(|mistakes| Verdict::Refused(mistakes.into_iter().map(Refusal::Label).collect()))?;
    let chosen: Vec<_> = docker
        .selectors
        .iter()
        .filter(|(_, selector)| selector.label.matches(&container.labels))
        .collect();
    match (labels.enable, chosen.is_empty(), labels.any) {
        (Some(false), _, _) => return Err(Verdict::Ignored(Ignored::Disabled)),
        (None, true, true) => return Err(Verdict::Ignored(Ignored::NotEnabled)),
        (None, true, false) => return Err(Verdict::Ignored(Ignored::Unlabelled)),
        (Some(true), _, _) | (None, false, _) => {}
    }
    if let State::Still(word) = &container.state {
        return Err(Verdict::Still(word.clone()));
    }
    let named = match labels.enable {
        Some(true) => Some(name(container, &labels)?),
        Some(false) | None => None,
    };
    let own = named.iter().map(|service| Membership {
        service: service.clone(),
        port: labels.port,
        network: labels.network.clone(),
    });
    let mut memberships: Vec<Membership> = own.collect();
    for (service, selector) in chosen {
        let port = labels.port.or(selector.port);
        let network = labels.network.clone().or_else(|| selector.network.clone());
        match memberships.iter_mut().find(|membership| membership.service == *service) {
            Some(known) => (known.port, known.network) = (port, network),
            None => memberships.push(Membership { service: service.clone(), port, network }),
        }
    }
    Ok(Candidate { container, labels, named, memberships })
}

/// The service of a container: as it says, as Compose says, or its own name.
fn name(container: &Inspected, labels: &Labels) -> Result<ServiceName, Verdict> {
    if let Some(service) = &labels.service {
        return Ok(service.clone());
    }
    let text = container.labels.get(COMPOSE_SERVICE).unwrap_or(&container.name);
    ServiceName::new(text).ok_or_else(|| Verdict::Refused(vec![Refusal::Name(text.clone())]))
}
