//! What the daemon does to the host: find ways, attach, write maps, sweep.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use lb_common::abi::backend::way;
use tracing::{debug, info, warn};

use super::Daemon;
use crate::{
    dataplane::{AttachError, Hook},
    model::{Attach, Interfaces, Limits},
    reconcile::{self, PlanInput},
    table,
};

/// How long a start waits for the neighbours of its backends.
const PATIENCE: Duration = Duration::from_millis(600);
const PATIENCE_STEP: Duration = Duration::from_millis(30);

impl Daemon {
    /// Finds the ways to all backends.
    pub(super) async fn resolve(&mut self) -> anyhow::Result<()> {
        let mut ways = self.links.resolve(&self.state.addresses()).await?;
        if self.state.hook == Hook::Xdp {
            // A frame that XDP redirects into a veth is lost unless the other end polls for it.
            for resolved in ways.values_mut().filter(|resolved| resolved.way == way::PEER) {
                if !self.links.enable_gro_at_peer(resolved.ifindex).await.unwrap_or(false) {
                    resolved.way = way::STACK;
                    resolved.why.push_str("; GRO cannot be switched on at its other end");
                }
            }
        }
        self.names = self.links.names().await?;
        self.state.set_ways(ways);
        Ok(())
    }

    /// Finds the ways at the start, and gives the kernel a moment to find the neighbours.
    pub(super) async fn resolve_patiently(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        self.resolve().await?;
        while self.state.has_unresolved() && Instant::now() < deadline {
            self.nudge();
            tokio::time::sleep(PATIENCE_STEP).await;
            self.resolve().await?;
        }
        self.state.hook = self.state.suitable_hook();
        // Under XDP some ways are not open.
        if self.state.hook == Hook::Xdp { self.resolve().await } else { Ok(()) }
    }

    /// Makes the kernel look for the neighbours it does not know.
    pub(super) fn nudge(&self) {
        for (address, resolved) in self.state.ways() {
            if resolved.unresolved {
                self.links.nudge(*address);
            }
        }
    }

    /// Attaches the program wherever packets of clients and replies of backends arrive, and takes
    /// it off everywhere else.
    pub(super) async fn attach(&mut self) -> anyhow::Result<()> {
        let mut places = BTreeSet::new();
        for (name, ifindex) in self.uplinks().await? {
            places.insert(self.attach_uplink(&name, ifindex)?);
        }
        let hook = self.state.hook;
        for resolved in self.state.ways().values() {
            if let Some(veth) = resolved.veth {
                places.insert((veth, Hook::Tc));
            } else if resolved.way == way::LINK {
                places.insert((resolved.ifindex, hook));
            }
        }
        for (ifindex, hook) in &places {
            let Some(name) = self.names.get(ifindex).cloned() else { continue };
            let attached = self.dataplane.attached();
            if attached.iter().any(|(_, index, there)| index == ifindex && there == hook) {
                continue;
            }
            self.dataplane.attach(&name, *ifindex, *hook)?;
            info!(interface = name, %hook, "attached");
        }
        self.attach_host_clients()?;
        self.dataplane.retain(|ifindex, hook| places.contains(&(ifindex, hook)))?;
        Ok(())
    }

    /// Attaches an uplink; `auto` takes TC where the driver has no XDP.
    fn attach_uplink(&mut self, name: &str, ifindex: u32) -> anyhow::Result<(u32, Hook)> {
        let hook = self.state.hook;
        match self.dataplane.attach(name, ifindex, hook) {
            Err(AttachError::Unsupported { .. } | AttachError::Taken { .. })
                if self.state.config.attach == Attach::Auto && hook != Hook::Tc =>
            {
                warn!(interface = name, "native XDP is not to be had, taking TC");
                self.state.hook = Hook::Tc;
                self.dataplane.attach(name, ifindex, Hook::Tc)?;
                Ok((ifindex, Hook::Tc))
            }
            result => {
                result?;
                Ok((ifindex, hook))
            }
        }
    }

    /// The uplinks with their indices.
    async fn uplinks(&self) -> anyhow::Result<Vec<(String, u32)>> {
        let names = match &self.state.config.interfaces {
            Interfaces::Named(names) => names.clone(),
            Interfaces::Auto => self.links.default_interfaces().await?,
        };
        if names.is_empty() {
            bail!("no interface has a default route: name the uplinks in \"interfaces\"");
        }
        let mut uplinks = Vec::new();
        for name in names {
            let Some(ifindex) = self.links.index_of(&name).await? else {
                let known: Vec<_> = self.names.values().map(String::as_str).collect();
                bail!("there is no interface {name:?}; there are {}", known.join(", "));
            };
            uplinks.push((name, ifindex));
        }
        Ok(uplinks)
    }

    /// Makes a plan and carries it out.
    pub(super) fn reconcile(&mut self) -> anyhow::Result<()> {
        let desired = self.state.desired();
        let backends = self.observed.backends.keys().copied();
        let flows = self.dataplane.counters(std::iter::empty(), backends)?.flows;
        let input = PlanInput {
            desired: &desired,
            observed: &self.observed,
            memory: &self.memory,
            flows: &flows,
            now: Instant::now(),
            drain: self.state.config.drain,
            limits: room(self.state.config.limits),
            build: table::build,
        };
        let plan = reconcile::plan(&input).context("the configuration does not fit")?;
        self.memory = plan.next.clone();
        for step in &plan.steps {
            debug!(why = step.why, "step");
        }
        reconcile::execute(&plan, &mut self.dataplane.maps, &mut self.observed)?;
        Ok(())
    }

    /// Like [`reconcile`](Self::reconcile); a failure is told, and tried again at the next tick.
    pub(super) fn reconcile_or_tell(&mut self) {
        let result = self.reconcile();
        self.tell("maps", result);
    }

    /// Ends idle flows and corrects the backends' open flows.
    pub(super) fn sweep(&mut self) -> anyhow::Result<()> {
        let now = self.dataplane.ticks()?;
        // The programs stamp flows with the low half.
        #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
        let removed = self.dataplane.sweep(&self.observed.settings, now as u32)?;
        debug!(removed, "idle flows removed");
        Ok(())
    }

    /// Keeps one line a subject of what does not work, for `weir status`; logs changes.
    pub(super) fn tell(&mut self, subject: &str, result: anyhow::Result<()>) {
        let prefix = format!("{subject}: ");
        let had = self.problems.iter().position(|problem| problem.starts_with(&prefix));
        let problem = result.err().map(|error| format!("{prefix}{error:#}"));
        match (had, problem) {
            (None, None) => {}
            (Some(at), None) => {
                info!("{subject} works again");
                self.problems.remove(at);
            }
            (Some(at), Some(problem)) => self.problems[at] = problem,
            (None, Some(problem)) => {
                warn!("{problem}");
                self.problems.push(problem);
            }
        }
    }
}

/// Elements of the maps for so many services and backends: id 0 is nobody's, but has one.
pub(super) const fn room(limits: Limits) -> Limits {
    Limits { services: limits.services + 1, backends: limits.backends + 1, ..limits }
}
