//! What containers change: the configuration in force, and flows that lose their end.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use lb_common::abi::backend::{Backend, backend_state};
use tracing::{info, warn};

use super::{Daemon, ports::Ports};
use crate::{
    config::Loaded,
    docker::{self, Discovered, Finding, Follower, Inspected, Link, State, Verdict, View},
    maps::{LbMaps as _, Write},
    metrics::DockerMetrics,
    model::{Config, Endpoint},
};

/// How long a start waits for the engine's first answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The containers of this host, and what they were made to be.
#[derive(Debug)]
pub(super) struct Containers {
    /// What the file says, without them.
    pub(super) given: Loaded,
    pub(super) follower: Option<Follower>,
    pub(super) view: View,
    /// Since when the link has been as it is.
    pub(super) since: Instant,
    pub(super) discovered: Discovered,
    /// The host's part in published ports.
    pub(super) ports: Ports,
}

/// Containers that run.
#[derive(Debug, Default)]
struct Alive {
    incarnations: BTreeSet<String>,
    addresses: BTreeSet<IpAddr>,
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    File,
    Containers,
}

impl Containers {
    pub(super) fn new(given: Loaded, now: Instant) -> Self {
        let follower = given.docker.socket.as_deref().map(Follower::start);
        let (discovered, ports) = Default::default();
        Self { given, follower, view: View::default(), since: now, discovered, ports }
    }

    /// Waits for another view; for ever where containers are not followed.
    pub(super) async fn changed(&mut self) {
        match &mut self.follower {
            Some(follower) => follower.changed().await,
            None => std::future::pending().await,
        }
    }

    /// Takes the latest view.
    fn look(&mut self, now: Instant) {
        let Some(follower) = &mut self.follower else { return };
        let view = follower.view();
        if view.link != self.view.link {
            self.since = now;
        }
        self.view = view;
    }

    /// Takes what another file says. Containers of another engine are other containers.
    fn replace(&mut self, given: Loaded, now: Instant) {
        if given.docker.socket != self.given.docker.socket {
            self.follower = given.docker.socket.as_deref().map(Follower::start);
            self.view = View::default();
            self.since = now;
        }
        self.given = given;
    }

    /// Reads who had which automatic port.
    fn open_ports(&mut self) {
        let (ports, result) = Ports::open(self.given.docker.state.as_deref());
        self.ports = ports;
        if let Err(error) = result {
            warn!("{error:#}: automatic ports are chosen anew");
        }
    }

    /// Who has processes, and the addresses that lead to them; `None` if nobody has asked.
    fn alive(&self) -> Option<Alive> {
        if self.view.link == Link::Connecting {
            return None;
        }
        let mut alive = Alive::default();
        let runs = |one: &&Inspected| !matches!(one.state, State::Still(_));
        for container in self.view.containers.iter().filter(runs) {
            alive.incarnations.insert(container.incarnation());
            for addresses in container.networks.values() {
                alive.addresses.extend(addresses.v4.map(IpAddr::from));
                alive.addresses.extend(addresses.v6.map(IpAddr::from));
            }
        }
        Some(alive)
    }
}

impl Daemon {
    /// Waits for the first word of the engine: what an earlier daemon left in the maps must not be
    /// taken away because nobody has asked yet.
    pub(super) async fn meet_engine(&mut self) {
        if self.containers.follower.is_some() {
            // Without an answer in time the containers come later.
            drop(tokio::time::timeout(PATIENCE, self.containers.changed()).await);
        }
        self.containers.look(Instant::now());
        self.tell_link();
        self.containers.open_ports();
        if let Err(error) = self.look_at_addresses().await {
            tracing::debug!("the uplinks' addresses: {error:#}");
        }
        let discovered = self.discover();
        self.keep_ports(&discovered);
        self.state.replace(self.merged(&discovered), discovered.backends.clone(), false);
        self.log_verdicts(&discovered);
        self.containers.discovered = discovered;
    }

    /// Takes another view of the containers.
    pub(super) async fn containers_changed(&mut self) {
        self.containers.look(Instant::now());
        self.tell_link();
        let result = self.put_in_place(Cause::Containers).await;
        self.tell("containers", result);
    }

    /// Takes what another file says; `false` if it is the same.
    pub(super) async fn replace(&mut self, given: Loaded) -> anyhow::Result<bool> {
        if given == self.containers.given {
            return Ok(false);
        }
        self.state.check_replacement(&given.config)?;
        self.containers.replace(given, Instant::now());
        if !self.containers.ports.is_from(self.containers.given.docker.state.as_deref()) {
            self.containers.open_ports();
            self.look_at_addresses().await?;
        }
        self.put_in_place(Cause::File).await?;
        info!(generation = self.state.generation, "configuration reloaded");
        Ok(true)
    }

    fn discover(&self) -> Discovered {
        let Containers { given, view, ports, .. } = &self.containers;
        ports.with_host(|host| {
            docker::services_of(&view.containers, &given.config, &given.docker, host)
        })
    }

    /// Takes the addresses of the uplinks; says whether they are others than before.
    pub(super) async fn look_at_addresses(&mut self) -> anyhow::Result<bool> {
        if self.containers.follower.is_none() {
            return Ok(false);
        }
        let uplinks = self.uplinks().await?.into_iter().map(|(name, _)| name).collect();
        self.containers.ports.look(&uplinks)
    }

    /// Follows the addresses of the uplinks, which services may listen on.
    pub(super) async fn addresses_changed(&mut self) {
        let changed = self.look_at_addresses().await;
        // A link that is missing is told by who attaches to it.
        if changed.unwrap_or(false) {
            let result = self.put_in_place(Cause::Containers).await;
            self.tell("containers", result);
        }
    }

    /// Tries ports again that somebody had.
    pub(super) async fn try_ports_again(&mut self) {
        let misses = |finding: &Finding| match &finding.verdict {
            Verdict::Refused(why) => why.iter().any(docker::Refusal::may_pass),
            Verdict::Ignored(_) | Verdict::Still(_) | Verdict::Published { .. } => false,
        };
        if self.containers.discovered.containers.iter().any(misses) {
            let result = self.put_in_place(Cause::Containers).await;
            self.tell("containers", result);
        }
    }

    /// Keeps the ports that are needed and remembers who has which.
    fn keep_ports(&mut self, discovered: &Discovered) {
        let result = self.containers.ports.keep(&discovered.held, &discovered.leases);
        self.tell("ports", result.context("automatic ports may change when weir restarts"));
    }

    fn merged(&self, discovered: &Discovered) -> Config {
        Config { services: discovered.services.clone(), ..self.containers.given.config.clone() }
    }

    /// Makes the file and the containers be what is balanced. What takes no new flows is taken out
    /// first, before anything is asked of the kernel; what is new comes in when the way to it is
    /// known and the program is where its replies arrive.
    async fn put_in_place(&mut self, cause: Cause) -> anyhow::Result<()> {
        let discovered = self.discover();
        self.keep_ports(&discovered);
        self.log_verdicts(&discovered);
        let config = self.merged(&discovered);
        let old = std::mem::replace(&mut self.containers.discovered, discovered);
        let discovered = &self.containers.discovered;
        if config == self.state.config && discovered.backends == old.backends {
            return Ok(());
        }
        let settled = !matches!(self.containers.view.link, Link::Connecting);
        let lost = lost(&old, discovered, self.containers.alive().as_ref());
        let backends = discovered.backends.clone();
        let before = self.state.addresses().clone();
        self.state.replace(config, backends, settled);
        self.cut(&lost)?;
        if cause == Cause::Containers {
            self.reconcile()?;
        }
        let checks = self.state.health_checks();
        let mut others = checks.clone();
        // The next container at a place is probed at once.
        others.retain(|endpoint, _| !lost.contains(endpoint));
        self.checker.sync(&others);
        self.checker.sync(&checks);
        let same_places = lost.is_empty() && before == *self.state.addresses();
        if cause == Cause::Containers && same_places {
            return Ok(());
        }
        self.resolve().await?;
        self.nudge();
        self.attach().await?;
        self.reconcile()
    }

    /// Ends the flows of containers that have no processes any more. Their backends get another
    /// generation: the dataplane answers for what belongs to the old one, instead of sending it
    /// into nothing, or to the next container at the address.
    fn cut(&mut self, lost: &BTreeSet<Endpoint>) -> anyhow::Result<()> {
        for endpoint in lost {
            let Some(id) = self.observed.backend_of(endpoint) else { continue };
            let Some(old) = self.observed.backends.get(&id) else { continue };
            let value = Backend {
                generation: old.generation.wrapping_add(1),
                state: backend_state::CLOSED,
                ..*old
            };
            let write = Write::Backend { id, value };
            self.dataplane.maps.write(&write)?;
            self.observed.apply(&write);
        }
        Ok(())
    }

    /// The engine and its containers in numbers.
    pub(super) fn docker_metrics(&self) -> Option<DockerMetrics> {
        let Containers { view, follower, discovered, .. } = &self.containers;
        let connected = matches!(view.link, Link::Connected { .. });
        let is_held = |endpoint: &Endpoint| self.state.withheld(endpoint).is_some();
        Some(DockerMetrics::of(connected, follower.as_ref()?.counts(), discovered, is_held))
    }

    /// A lost engine is a problem; what was known of it stays in force.
    fn tell_link(&mut self) {
        let result = match (&self.containers.follower, &self.containers.view.link) {
            (Some(_), Link::Lost { why }) => Err(anyhow::anyhow!("{why}")),
            (Some(_), Link::Connecting | Link::Connected { .. }) | (None, _) => Ok(()),
        };
        self.tell("docker", result);
    }

    /// A line for each container whose verdict is another one.
    fn log_verdicts(&self, new: &Discovered) {
        let known = |finding: &Finding| self.containers.discovered.containers.contains(finding);
        for finding in new.containers.iter().filter(|finding| !known(finding)) {
            let name = finding.name.as_str();
            match &finding.verdict {
                Verdict::Ignored(why) => tracing::debug!(container = name, %why, "ignored"),
                Verdict::Still(state) => info!(container = name, state, "does not run"),
                Verdict::Refused(why) => {
                    warn!(container = name, "refused: {}", docker::Refusal::sentence(why));
                }
                Verdict::Published { held: Some(why), .. } => {
                    info!(container = name, %why, "gets no new flows");
                }
                Verdict::Published { places, held: None } => {
                    let places = places.iter().map(|(service, end)| format!("{service} {end}"));
                    let places: Vec<String> = places.collect();
                    info!(container = name, "published: {}", places.join(", "));
                }
            }
        }
    }
}

/// The backends whose container has ended, or left its address, or gave it to another one.
fn lost(old: &Discovered, new: &Discovered, alive: Option<&Alive>) -> BTreeSet<Endpoint> {
    let is_lost = |(endpoint, before): &(&Endpoint, &docker::Provided)| {
        let now = new.backends.get(endpoint);
        let replaced = now.is_some_and(|now| now.incarnation != before.incarnation);
        let ended = alive.is_some_and(|alive| {
            !alive.incarnations.contains(&before.incarnation)
                || !alive.addresses.contains(&endpoint.address)
        });
        replaced || ended
    };
    old.backends.iter().filter(is_lost).map(|(endpoint, _)| *endpoint).collect()
}
