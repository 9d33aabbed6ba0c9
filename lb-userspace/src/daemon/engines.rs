//! The engines that are followed, each by itself: what one has said stays in force while it is away.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Instant,
};

use futures_util::future::select_all;

use crate::{
    docker::{Counts, Follower, HostView, Inspected, Link, State, View},
    metrics::HostMetrics,
    model::{Docker, DockerHost, Endpoint},
};

/// All engines, that of this host first.
#[derive(Debug)]
pub(super) struct Engines {
    list: Vec<Watched>,
    /// The containers of all hosts.
    containers: Vec<Inspected>,
}

/// An engine.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) host: DockerHost,
    follower: Follower,
    pub(super) view: View,
    /// Since when the link has been as it is.
    since: Instant,
}

/// Containers that run, and the addresses that lead to those of this host.
#[derive(Debug, Default)]
pub(super) struct Alive {
    /// The hosts whose engine has ever answered.
    known: BTreeSet<Option<String>>,
    incarnations: BTreeSet<String>,
    addresses: BTreeSet<IpAddr>,
}

impl Watched {
    fn start(host: &DockerHost, now: Instant) -> Self {
        let (follower, view) = (Follower::start(host), View::default());
        Self { host: host.clone(), follower, view, since: now }
    }

    pub(super) const fn is_connected(&self) -> bool {
        matches!(self.view.link, Link::Connected { .. })
    }

    /// How problems with it begin.
    pub(super) fn subject(&self) -> String {
        match self.host.reach {
            None => "docker".to_owned(),
            Some(_) => format!("docker {}", self.host.name),
        }
    }

    /// Where its containers are, as they know it.
    fn home(&self) -> Option<String> {
        self.host.reach.map(|_| self.host.name.clone())
    }
}

impl Engines {
    /// Begins to follow them.
    pub(super) fn start(docker: &Docker, now: Instant) -> Self {
        let list = docker.hosts.iter().map(|host| Watched::start(host, now)).collect();
        Self { list, containers: Vec::new() }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Watched> {
        self.list.iter()
    }

    pub(super) fn containers(&self) -> &[Inspected] {
        &self.containers
    }

    /// The one of a container.
    pub(super) fn of(&self, container: &Inspected) -> Option<&Watched> {
        let home = container.home.as_ref().map(|home| &home.name);
        self.list.iter().find(|one| one.home().as_ref() == home)
    }

    /// Whether each of them has answered, or is known not to.
    pub(super) fn have_spoken(&self) -> bool {
        self.list.iter().all(|one| one.view.link != Link::Connecting)
    }

    /// Waits for another view; for ever where containers are not followed.
    pub(super) async fn changed(&mut self) {
        if self.list.is_empty() {
            std::future::pending::<()>().await;
        }
        select_all(self.list.iter_mut().map(|one| Box::pin(one.follower.changed()))).await;
    }

    /// Takes the latest views.
    pub(super) fn look(&mut self, now: Instant) {
        for one in &mut self.list {
            let view = one.follower.view();
            if view.link != one.view.link {
                one.since = now;
            }
            one.view = view;
        }
        self.gather();
    }

    fn gather(&mut self) {
        let containers = self.list.iter().flat_map(|one| &one.view.containers);
        self.containers = containers.cloned().collect();
    }

    /// Follows what another file names. Containers of another engine are other containers. Returns
    /// the subjects that are no more.
    pub(super) fn replace(&mut self, docker: &Docker, now: Instant) -> Vec<String> {
        let before: Vec<String> = self.list.iter().map(Watched::subject).collect();
        let mut old = std::mem::take(&mut self.list);
        for host in &docker.hosts {
            let same = |one: &Watched| {
                let (one, other) = (&one.host, host);
                one.engine == other.engine && one.home() == other.home()
            };
            let one = match old.iter().position(same) {
                Some(at) => Watched { host: host.clone(), ..old.swap_remove(at) },
                None => Watched::start(host, now),
            };
            self.list.push(one);
        }
        self.gather();
        let there: BTreeSet<String> = self.list.iter().map(Watched::subject).collect();
        before.into_iter().filter(|subject| !there.contains(subject)).collect()
    }

    /// Who has processes.
    pub(super) fn alive(&self) -> Alive {
        let mut alive = Alive::default();
        for one in self.list.iter().filter(|one| one.view.link != Link::Connecting) {
            alive.known.insert(one.home());
        }
        let runs = |one: &&Inspected| !matches!(one.state, State::Still(_));
        for container in self.containers.iter().filter(runs) {
            alive.incarnations.insert(container.incarnation());
            if container.home.is_some() {
                continue;
            }
            for addresses in container.networks.values() {
                alive.addresses.extend(addresses.v4.map(IpAddr::from));
                alive.addresses.extend(addresses.v6.map(IpAddr::from));
            }
        }
        alive
    }

    /// Each as it is told.
    pub(super) fn views(&self) -> Vec<HostView<'_>> {
        let view = |one: &'_ Watched| one.since.elapsed().as_secs();
        let views = self.list.iter();
        views.map(|one| HostView { host: &one.host, view: &one.view, since_s: view(one) }).collect()
    }

    /// What came from all of them.
    pub(super) fn counts(&self) -> Counts {
        let sum = |sum: Counts, one: Counts| Counts {
            events: sum.events + one.events,
            lists: sum.lists + one.lists,
            last_event_s: sum.last_event_s.max(one.last_event_s),
        };
        self.list.iter().map(|one| one.follower.counts()).fold(Counts::default(), sum)
    }

    /// Each in numbers, by name.
    pub(super) fn metrics(&self) -> BTreeMap<String, HostMetrics> {
        let runs = |one: &&Inspected| !matches!(one.state, State::Still(_));
        let metrics = |one: &Watched| {
            let running = one.view.containers.iter().filter(runs).count();
            let running = u64::try_from(running).unwrap_or(u64::MAX);
            let metrics = HostMetrics { connected: one.is_connected(), running };
            (one.host.name.clone(), metrics)
        };
        self.list.iter().map(metrics).collect()
    }
}

impl Alive {
    /// Whether a backend's container has ended, or has left its address. What an engine has not told
    /// of has not.
    pub(super) fn has_lost(&self, endpoint: &Endpoint, backend: &crate::docker::Provided) -> bool {
        let here = backend.home.is_none();
        self.known.contains(&backend.home)
            && (!self.incarnations.contains(&backend.incarnation)
                || here && !self.addresses.contains(&endpoint.address))
    }
}
