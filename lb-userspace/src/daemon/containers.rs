//! What containers change: the configuration in force, and flows that lose their end.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use lb_common::abi::backend::{Backend, backend_state};
use tracing::{info, warn};

use super::{
    Daemon,
    engines::{Alive, Engines},
    ports::Ports,
};
use crate::{
    config::Loaded,
    docker::{self, Discovered, Finding, Link, Verdict},
    maps::{LbMaps as _, Write},
    metrics::DockerMetrics,
    model::{Config, Endpoint},
};

/// How long a start waits for the engines' first answers.
const PATIENCE: Duration = Duration::from_secs(5);

/// The containers of all hosts, and what they were made to be.
#[derive(Debug)]
pub(super) struct Containers {
    /// What the file says, without them.
    pub(super) given: Loaded,
    pub(super) engines: Engines,
    pub(super) discovered: Discovered,
    /// The host's part in published ports.
    pub(super) ports: Ports,
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    File,
    Containers,
}

impl Containers {
    pub(super) fn new(given: Loaded, now: Instant) -> Self {
        let engines = Engines::start(&given.docker, now);
        let (discovered, ports) = Default::default();
        Self { given, engines, discovered, ports }
    }

    /// Reads who had which automatic port.
    fn open_ports(&mut self) {
        let (ports, result) = Ports::open(self.given.docker.state.as_deref());
        self.ports = ports;
        if let Err(error) = result {
            warn!("{error:#}: automatic ports are chosen anew");
        }
    }
}

impl Daemon {
    /// Waits for the first word of the engines: what an earlier daemon left in the maps must not be
    /// taken away because nobody has asked yet.
    pub(super) async fn meet_engine(&mut self) {
        let engines = &mut self.containers.engines;
        let all = async {
            while !engines.have_spoken() {
                engines.changed().await;
                engines.look(Instant::now());
            }
        };
        // Without an answer in time the containers come later.
        drop(tokio::time::timeout(PATIENCE, all).await);
        engines.look(Instant::now());
        self.tell_links();
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
        self.containers.engines.look(Instant::now());
        self.tell_links();
        let result = self.put_in_place(Cause::Containers).await;
        self.tell("containers", result);
    }

    /// Takes what another file says; `false` if it is the same.
    pub(super) async fn replace(&mut self, given: Loaded) -> anyhow::Result<bool> {
        if given == self.containers.given {
            return Ok(false);
        }
        self.state.check_replacement(&given.config)?;
        let gone = self.containers.engines.replace(&given.docker, Instant::now());
        self.containers.given = given;
        for subject in gone {
            self.tell(&subject, Ok(()));
        }
        if !self.containers.ports.is_from(self.containers.given.docker.state.as_deref()) {
            self.containers.open_ports();
            self.look_at_addresses().await?;
        }
        self.put_in_place(Cause::File).await?;
        info!(generation = self.state.generation, "configuration reloaded");
        Ok(true)
    }

    fn discover(&self) -> Discovered {
        let Containers { given, engines, ports, .. } = &self.containers;
        ports.with_host(|host| {
            docker::services_of(engines.containers(), &given.config, &given.docker, host)
        })
    }

    /// Takes the addresses of the uplinks; says whether they are others than before.
    pub(super) async fn look_at_addresses(&mut self) -> anyhow::Result<bool> {
        if self.containers.engines.is_empty() {
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
        let settled = self.containers.engines.have_spoken();
        let lost = lost(&old, discovered, &self.containers.engines.alive());
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

    /// The engines and their containers in numbers.
    pub(super) fn docker_metrics(&self) -> Option<DockerMetrics> {
        let Containers { engines, discovered, .. } = &self.containers;
        if engines.is_empty() {
            return None;
        }
        let is_held = |endpoint: &Endpoint| self.state.withheld(endpoint).is_some();
        Some(DockerMetrics::of(engines.metrics(), engines.counts(), discovered, is_held))
    }

    /// A lost engine is a problem; what was known of it stays in force.
    fn tell_links(&mut self) {
        let told = |one: &super::engines::Watched| {
            let result = match &one.view.link {
                Link::Lost { why } => Err(anyhow::anyhow!("{why}")),
                Link::Connecting | Link::Connected { .. } => Ok(()),
            };
            (one.subject(), result)
        };
        let all: Vec<_> = self.containers.engines.iter().map(told).collect();
        for (subject, result) in all {
            self.tell(&subject, result);
        }
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
fn lost(old: &Discovered, new: &Discovered, alive: &Alive) -> BTreeSet<Endpoint> {
    let is_lost = |(endpoint, before): &(&Endpoint, &docker::Provided)| {
        let now = new.backends.get(endpoint);
        let replaced = now.is_some_and(|now| now.incarnation != before.incarnation);
        replaced || alive.has_lost(endpoint, before)
    };
    old.backends.iter().filter(is_lost).map(|(endpoint, _)| *endpoint).collect()
}
