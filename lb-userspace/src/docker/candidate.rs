//! Which containers are meant for Weir, and for which services.

use super::{
    inspected::{Inspected, State},
    verdict::{Ignored, Refusal, Verdict},
};
use crate::{
    config::labels::{self, Labels, Terms},
    model::{Docker, Selector, ServiceName, Weight},
};

/// What Compose and Swarm call the service of a container.
const SERVICE_LABELS: [&str; 2] = ["com.docker.compose.service", "com.docker.swarm.service.name"];

/// A running container that is meant for Weir.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    pub(super) container: &'a Inspected,
    pub(super) labels: Labels,
    /// The services that its labels name, in the order of its labels; none if it is not enabled.
    pub(super) named: Vec<ServiceName>,
    /// The services of the configuration that choose it.
    chosen: Vec<(&'a ServiceName, &'a Selector)>,
}

/// A container's part in a service.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) service: ServiceName,
    /// The port that somebody named.
    pub(super) port: Option<u16>,
    /// The network that somebody named.
    pub(super) network: Option<String>,
    /// Its share of the new flows.
    pub(super) weight: Weight,
}

/// The candidate, or what becomes of a container that is none.
pub(super) fn candidate<'a>(
    container: &'a Inspected,
    docker: &'a Docker,
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
        Some(true) => names(container, &labels)?,
        Some(false) | None => Vec::new(),
    };
    Ok(Candidate { container, labels, named, chosen })
}

impl Candidate<'_> {
    /// The services it belongs to, each once: those that its labels make it part of, and those that
    /// choose it.
    pub(super) fn memberships(&self, own: Vec<Membership>) -> Vec<Membership> {
        let mut memberships = own;
        for (service, selector) in &self.chosen {
            let terms = self.terms(service);
            let port = terms.and_then(|terms| terms.port).or(selector.port);
            let network = self.labels.network.clone().or_else(|| selector.network.clone());
            let weight = terms.and_then(|terms| terms.weight).unwrap_or(Weight::DEFAULT);
            let is_known = |membership: &&mut Membership| membership.service == **service;
            if let Some(known) = memberships.iter_mut().find(is_known) {
                (known.port, known.network) = (port, network);
            } else {
                let service = (*service).clone();
                memberships.push(Membership { service, port, network, weight });
            }
        }
        memberships
    }

    /// The services that its labels are about, with what they say.
    pub(super) fn about(&self) -> impl Iterator<Item = (&ServiceName, &Terms)> {
        let chosen = self.chosen.iter().map(|(service, _)| *service).take(1);
        let chosen = chosen.filter(|_| self.named.is_empty());
        self.named.iter().chain(chosen).zip(&self.labels.services)
    }

    /// What its labels say of a service: those of a single service are about any.
    fn terms(&self, service: &ServiceName) -> Option<&Terms> {
        match &self.labels.services[..] {
            [only] if !self.labels.several => Some(only),
            list => list.iter().find(|terms| terms.name.as_ref() == Some(service)),
        }
    }
}

/// The services of a container: as it says, as Compose or Swarm says, or its own name.
fn names(container: &Inspected, labels: &Labels) -> Result<Vec<ServiceName>, Verdict> {
    let name = |terms: &Terms| match &terms.name {
        Some(service) => Ok(service.clone()),
        None => name(container),
    };
    labels.services.iter().map(name).collect()
}

fn name(container: &Inspected) -> Result<ServiceName, Verdict> {
    let given = SERVICE_LABELS.iter().find_map(|label| container.labels.get(*label));
    let text = given.unwrap_or(&container.name);
    ServiceName::new(text).ok_or_else(|| Verdict::Refused(vec![Refusal::Name(text.clone())]))
}
