//! What the daemon does to the host: find ways, attach, write maps, sweep.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use lb_common::abi::backend::way;
use tracing::{debug, info, warn};

use super::Daemon;
use crate::{
    chain::one_line,
    dataplane::{AttachError, Hook},
    model::{Attach, Interfaces, Limits},
    reconcile::{self, PlanInput},
    table,
};

/// How long a start waits for the neighbours of its backends.
const PATIENCE: Duration = Duration::from_millis(600);
const PATIENCE_STEP: Duration = Duration::from_millis(30);

/// Links by index, the hook to be on, and their names.
type Places = BTreeMap<(u32, Hook), String>;

impl Daemon {
    /// Finds the ways to all backends, also to those that left and keep their flows: the program
    /// must stay where their replies arrive.
    pub(super) async fn resolve(&mut self) -> anyhow::Result<()> {
        let mut addresses = self.state.addresses().clone();
        addresses.extend(self.observed.addresses());
        let mut ways = self.links.resolve(&addresses).await?;
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
        let ways = self.state.wanted_ways().map(|(_, resolved)| resolved);
        self.state.hook = super::hook::suitable(self.state.config.attach, ways);
        if self.state.hook == Hook::Xdp
            && let Some(interface) = self.veth_uplink().await?
        {
            self.mind_checksums(&interface);
        }
        // Under XDP some ways are not open.
        if self.state.hook == Hook::Xdp { self.resolve().await } else { Ok(()) }
    }

    /// The first uplink that is one end of a veth pair.
    async fn veth_uplink(&self) -> anyhow::Result<Option<String>> {
        let (uplinks, veths) = (self.uplinks().await?, self.links.veths().await?);
        Ok(uplinks.into_iter().find(|(_, ifindex)| veths.contains(ifindex)).map(|(name, _)| name))
    }

    /// Senders at the other end of a veth leave checksums to the link, and XDP cannot complete them:
    /// the backends would drop what they get.
    fn mind_checksums(&mut self, interface: &str) {
        if self.state.config.attach == Attach::Auto {
            info!(interface, "one end of a veth pair: taking TC, which completes checksums");
            self.state.hook = Hook::Tc;
        } else {
            let senders = "what senders at its other end leave to the link has no checksum in XDP";
            let problem = anyhow::anyhow!("{interface} is one end of a veth pair: {senders}");
            self.tell("attach: xdp", Err(problem.context("use attach: auto or tc")));
        }
    }

    /// Makes the kernel look for the neighbours it does not know.
    pub(super) fn nudge(&self) {
        for (address, resolved) in self.state.wanted_ways() {
            if resolved.unresolved {
                self.links.nudge(*address);
            }
        }
    }

    /// Attaches the program wherever packets of clients and replies of backends arrive, and takes
    /// it off everywhere else. Where `auto` cannot have XDP on one of these links, all get TC.
    pub(super) async fn attach(&mut self) -> anyhow::Result<()> {
        let uplinks = self.uplinks().await?;
        let mut places = self.places(&uplinks);
        match self.attach_to(&places) {
            Err(
                error @ (AttachError::Unsupported { .. }
                | AttachError::Refused { .. }
                | AttachError::Taken { .. }),
            ) if self.state.config.attach == Attach::Auto && self.state.hook == Hook::Xdp => {
                warn!(why = %error, "native XDP is not to be had, taking TC");
                self.state.hook = Hook::Tc;
                // Ways that XDP does not have may be open to TC.
                self.resolve().await?;
                places = self.places(&uplinks);
                self.attach_to(&places)?;
            }
            result => result?,
        }
        self.attach_host_clients()?;
        self.dataplane.retain(|ifindex, hook| places.contains_key(&(ifindex, hook)))?;
        Ok(())
    }

    /// Where the program has to be, with the links' names.
    fn places(&self, uplinks: &[(String, u32)]) -> Places {
        let hook = self.state.hook;
        let uplinks = uplinks.iter().map(|(name, ifindex)| ((*ifindex, hook), name.clone()));
        let ways = self.state.ways().values().filter_map(|resolved| {
            let place = match resolved.veth {
                Some(veth) => (veth, Hook::Tc),
                None if resolved.way == way::LINK => (resolved.ifindex, hook),
                None => return None,
            };
            Some((place, self.names.get(&place.0)?.clone()))
        });
        let mut places: Places = uplinks.chain(ways).collect();
        // Clients may be behind each of them, and what this host's own processes answer leaves there.
        if self.state.ways().values().any(|resolved| resolved.of_host) {
            let egress = |((link, _), name): (&(u32, Hook), &String)| {
                ((*link, Hook::TcEgress), name.clone())
            };
            let egress: Vec<_> = places.iter().map(egress).collect();
            places.extend(egress);
        }
        places
    }

    fn attach_to(&mut self, places: &Places) -> Result<(), AttachError> {
        for ((ifindex, hook), name) in places {
            let attached = self.dataplane.attached();
            if !attached.iter().any(|(_, index, there)| index == ifindex && there == hook) {
                self.dataplane.attach(name, *ifindex, *hook)?;
                info!(interface = name, %hook, "attached");
            }
        }
        Ok(())
    }

    /// The uplinks with their indices.
    pub(super) async fn uplinks(&self) -> anyhow::Result<Vec<(String, u32)>> {
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
        self.state.update();
        let flows = self.dataplane.open_flows(self.memory.closing());
        let input = PlanInput {
            desired: &self.state.wanted.desired,
            observed: &self.observed,
            memory: &self.memory,
            flows: &flows,
            now: Instant::now(),
            drain: self.state.config.drain,
            limits: room(self.state.config.limits),
            build: table::build,
            scope: self.state.wanted.scope(),
        };
        let plan = reconcile::plan(&input).context("the configuration does not fit")?;
        self.memory = plan.next.clone();
        for step in &plan.steps {
            debug!(why = step.why, "step");
        }
        reconcile::execute(&plan, &mut self.dataplane.maps, &mut self.observed)?;
        self.state.wanted.is_in_place();
        let desperate: Vec<String> =
            self.state.last_resorts().into_iter().map(ToString::to_string).collect();
        let said = if desperate.is_empty() {
            Ok(())
        } else {
            let names = desperate.join(", ");
            Err(anyhow::anyhow!("all backends fail their checks and all are tried: {names}"))
        };
        self.tell("health", said);
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
        let removed = self.dataplane.sweep(&self.observed, now as u32)?;
        debug!(removed, "idle flows removed");
        Ok(())
    }

    /// Says so where policies have to wait for the end of a flood.
    pub(super) fn look_for_floods(&mut self) -> anyhow::Result<()> {
        #[expect(clippy::cast_possible_truncation, reason = "gates are stamped with the low half")]
        let now = self.dataplane.ticks()? as u32;
        for (protocol, datagrams) in [("TCP", false), ("UDP", true)] {
            if self.dataplane.maps.is_pressed(datagrams, now)? {
                bail!(
                    "too many first packets of {protocol} stay unanswered: a hash chooses backends"
                );
            }
        }
        Ok(())
    }

    /// Keeps one line a subject of what does not work, for `weir status`; logs changes.
    pub(super) fn tell(&mut self, subject: &str, result: anyhow::Result<()>) {
        let prefix = format!("{subject}: ");
        let had = self.problems.iter().position(|problem| problem.starts_with(&prefix));
        let problem = result.err().map(|error| format!("{prefix}{}", one_line(&error)));
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
