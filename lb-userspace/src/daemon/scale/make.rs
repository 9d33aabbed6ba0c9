//! A further replica: after which container, on which host, under which name.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{super::engines::Watched, act::Trade, sight::Sight};
use crate::{
    docker::{self, Inspected, Making, Order, REPLICA_LABEL},
    model::{ServiceName, Template},
};

/// How long what was made may be unseen.
const UNSEEN_MAX: Duration = Duration::from_secs(10);

/// Names and hosts of what is being made.
#[derive(Debug, Default)]
pub(super) struct Made(BTreeMap<String, One>);

#[derive(Debug)]
struct One {
    host: String,
    /// Its id and when it was made, once it is.
    made: Option<(String, Instant)>,
}

impl Made {
    pub(super) fn begin(&mut self, order: &Order) {
        let host = order.to.name.clone();
        self.0.insert(order.name.clone(), One { host, made: None });
    }

    /// Something was made, or could not be. Returns the host.
    pub(super) fn end(&mut self, now: Instant, name: &str, id: Option<&String>) -> String {
        let Some(one) = self.0.get_mut(name) else { return String::new() };
        let host = one.host.clone();
        match id {
            Some(id) => one.made = Some((id.clone(), now)),
            None => drop(self.0.remove(name)),
        }
        host
    }

    /// Forgets what is seen by now.
    pub(super) fn look(&mut self, now: Instant, containers: &[Inspected]) {
        self.0.retain(|_, one| {
            let Some((id, at)) = &one.made else { return true };
            let seen = containers.iter().any(|container| container.id == *id);
            !seen && now.saturating_duration_since(*at) < UNSEEN_MAX
        });
    }

    fn hosts(&self) -> Vec<Making> {
        self.0.values().map(|one| Making { host: one.host.clone() }).collect()
    }
}

impl Trade {
    /// What a further replica would be, or why there can be none.
    pub(super) fn order(
        &self,
        service: &ServiceName,
        sight: &Sight<'_>,
        template: Option<&Template>,
    ) -> Result<Order, String> {
        let found = self.template(service, sight, template)?;
        let from = sight.containers.engines.of(found);
        let from = from.ok_or_else(|| format!("nobody knows the host of {}", found.title()))?;
        let docker = &sight.containers.given.docker;
        let to = if docker.has_hosts() {
            let to = sight.rooms(service).choose(service.as_str(), found, &self.made.hosts());
            to.map_err(|error| error.to_string())?.clone()
        } else {
            from.host.clone()
        };
        let configured = sight.state.config.services.iter().find(|one| one.name == *service);
        let ports = configured.map(|service| docker::served(found, service, docker));
        Ok(Order {
            from: from.host.clone(),
            to,
            template: found.id.clone(),
            service: service.as_str().to_owned(),
            name: self.free_name(service, sight.containers.engines.containers()),
            ports: ports.unwrap_or_default(),
        })
    }

    /// The container that replicas are made after; its engine has to answer.
    fn template<'a>(
        &self,
        service: &ServiceName,
        sight: &Sight<'a>,
        template: Option<&Template>,
    ) -> Result<&'a Inspected, String> {
        let engines = &sight.containers.engines;
        let reached = |one: &&Inspected| engines.of(one).is_some_and(Watched::is_connected);
        let mut all: Vec<&Inspected> = engines.containers().iter().filter(reached).collect();
        // The oldest one, rather one that was not made here.
        let is_own = |one: &Inspected| one.labels.contains_key(REPLICA_LABEL);
        all.sort_by_key(|one| (is_own(one), &one.created, &one.id));
        let replicas = sight.replicas(service, self);
        let fits = |one: &&Inspected| match template {
            Some(Template::Name(name)) => one.name == *name,
            Some(Template::Label(rule)) => rule.matches(&one.labels),
            None => replicas.iter().any(|replica| replica.id == one.id),
        };
        all.into_iter().find(fits).ok_or_else(|| {
            let what = match template {
                Some(Template::Name(name)) => format!("called {name}"),
                Some(Template::Label(rule)) => format!("with the label {rule}"),
                None => format!("of service {service}"),
            };
            let lost = if sight.misses_engines() { " on hosts whose engine answers" } else { "" };
            format!("there is no container {what}{lost} to make replicas after")
        })
    }

    /// The first name that nobody has, on any host.
    fn free_name(&self, service: &ServiceName, containers: &[Inspected]) -> String {
        let taken: BTreeSet<&str> = containers.iter().map(|one| one.name.as_str()).collect();
        let name = |number: u32| format!("{service}-weir-{number}");
        let is_free =
            |name: &String| !taken.contains(name.as_str()) && !self.made.0.contains_key(name);
        (1..=u32::MAX).map(name).find(is_free).unwrap_or_default()
    }
}
