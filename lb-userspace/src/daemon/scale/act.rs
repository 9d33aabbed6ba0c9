//! What is done about a decision: nothing, a program, or containers made and taken away.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use tokio::sync::mpsc::UnboundedSender;
use tracing::{info, warn};

use super::{command::Hook, make::Made, sight::Sight};
use crate::{
    autoscale::{
        Fleet, Replica, Rules, Settings, Standing,
        fleet::{Removal, Step},
    },
    chain::one_line,
    docker,
    model::{Endpoint, Executor, Scale, ServiceName, Template},
};

/// Of the time that replicas need to start, how much is too much.
const PATIENCE: u32 = 3;

/// What came of something that was begun.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A container of this name was made.
    Created(String, Result<String, String>),
    /// A container of this id and name was taken away.
    Removed(String, String, Result<(), String>),
    /// The program was told so many.
    Ran(u32, Result<(), String>),
}

/// A decision, and where outcomes are told.
pub(super) struct Job<'a> {
    pub(super) name: &'a ServiceName,
    pub(super) scale: &'a Scale,
    pub(super) desired: u32,
    pub(super) reason: String,
    pub(super) tell: &'a UnboundedSender<(ServiceName, Outcome)>,
}

/// The executor of a service, and what it has under way.
#[derive(Debug, Default)]
pub(super) struct Trade {
    pub(super) fleet: Fleet,
    pub(super) hook: Hook,
    /// What is being made.
    pub(super) made: Made,
    /// The endpoints of those on the way out that were ordered to take no new flows.
    ordered: BTreeSet<Endpoint>,
    /// What would be done, if it was meant.
    pub(super) would: Vec<String>,
    /// Why nothing can be done at the moment.
    blocked: Option<String>,
}

impl Trade {
    /// Another executor begins. Returns who was on the way out: nobody would see to them.
    pub(super) fn release(&mut self) -> Vec<String> {
        (self.hook, self.would, self.blocked) = <_>::default();
        self.fleet.release()
    }

    /// Whether a container is on its way out.
    pub(super) fn drains(&self, id: &str) -> bool {
        self.fleet.drains(id)
    }

    /// How long a replica may take as usual. What was learned never makes anybody impatient.
    fn start_time(&self, scale: &Scale) -> Duration {
        let learned = || self.fleet.start_time().unwrap_or_default().max(Settings::START);
        scale.start_time.unwrap_or_else(learned)
    }

    /// Whether somebody wants a container to stay.
    pub(super) fn keeps(&self, id: &str) -> bool {
        self.fleet.keeps(id)
    }

    /// What does not work.
    pub(super) fn trouble(&self, now: Instant) -> Option<String> {
        let own = || self.fleet.trouble(now).or_else(|| self.hook.trouble(now));
        self.blocked.clone().or_else(own)
    }

    pub(super) fn hear(&mut self, now: Instant, service: &ServiceName, outcome: Outcome) {
        match outcome {
            Outcome::Created(name, result) => {
                let host = self.made.end(now, &name, result.as_ref().ok());
                match &result {
                    Ok(_) => info!(%service, container = name, host, "replica made"),
                    Err(error) => warn!(%service, container = name, host, "no replica: {error}"),
                }
                self.fleet.created(now, result);
            }
            Outcome::Removed(id, name, result) => {
                match &result {
                    Ok(()) => info!(%service, container = name, "replica taken away"),
                    Err(error) => warn!(%service, container = name, "replica stays: {error}"),
                }
                self.fleet.removed(now, &id, result);
            }
            Outcome::Ran(desired, result) => {
                if let Err(error) = &result {
                    warn!(%service, desired, "the command failed: {error}");
                }
                self.hook.ran(now, desired, result);
            }
        }
    }

    /// Begins what has to be done. Returns who is to be drained, and who is not any more.
    pub(super) fn act(&mut self, job: &Job<'_>, sight: &Sight<'_>) -> Vec<(Endpoint, bool)> {
        self.would.clear();
        self.blocked = None;
        match &job.scale.executor {
            Executor::Advise => Vec::new(),
            Executor::Command { program, arguments, timeout } => {
                let replicas = sight.replicas(job.name, self);
                let live =
                    |one: &&Replica| matches!(one.standing, Standing::Healthy | Standing::Starting);
                let current = u32::try_from(replicas.iter().filter(live).count());
                let current = current.unwrap_or(u32::MAX);
                if self.hook.is_due(sight.now, current, job.desired) {
                    if job.scale.dry_run {
                        self.would.push(format!("would run {}", program.display()));
                    } else {
                        self.hook.begin();
                        super::command::spawn(job, current, (program, arguments), *timeout);
                    }
                }
                Vec::new()
            }
            Executor::Docker { template } => self.containers(job, sight, template.as_ref()),
        }
    }

    fn containers(
        &mut self,
        job: &Job<'_>,
        sight: &Sight<'_>,
        template: Option<&Template>,
    ) -> Vec<(Endpoint, bool)> {
        match sight.engine() {
            Ok(true) => {}
            Ok(false) => return Vec::new(),
            Err(why) => {
                self.blocked = Some(format!("replicas stay as they are: {why}"));
                return Vec::new();
            }
        }
        self.made.look(sight.now, sight.containers.engines.containers());
        let mut orders = self.watch_the_drained(job, sight);
        let replicas = sight.leavers_last(job.name, self, job.desired);
        let names: BTreeMap<&str, &str> =
            replicas.iter().map(|one| (one.id.as_str(), one.name.as_str())).collect();
        let rules = Rules {
            desired: job.desired,
            patience: self.start_time(job.scale) * PATIENCE,
            drain: sight.state.config.drain,
            frozen: sight.misses_engines(),
        };
        let name_of = |id: &str| names.get(id).copied().unwrap_or_default().to_owned();
        if job.scale.dry_run {
            let steps = self.fleet.clone().plan(sight.now, &rules, &replicas);
            self.would = steps.iter().map(|step| would(step, &name_of)).collect();
            return Vec::new();
        }
        for step in self.fleet.plan(sight.now, &rules, &replicas) {
            match step {
                Step::Create => self.create(job, sight, template),
                Step::Drain(id) => {
                    info!(service = %job.name, container = name_of(&id), "replica drained");
                    let ends = sight.endpoints(job.name, &id);
                    self.ordered.extend(&ends);
                    orders.extend(ends.into_iter().map(|end| (end, true)));
                }
                Step::Undrain(id) => {
                    info!(service = %job.name, container = name_of(&id), "replica kept");
                    let ends = sight.endpoints(job.name, &id);
                    orders.extend(ends.into_iter().map(|end| (end, false)));
                }
                Step::Remove(id, why) => Self::remove(job, sight, &id, name_of(&id), &why),
            }
        }
        orders
    }

    /// Drains what has appeared of those on the way out, and lets those go on that somebody has
    /// undrained by hand.
    fn watch_the_drained(&mut self, job: &Job<'_>, sight: &Sight<'_>) -> Vec<(Endpoint, bool)> {
        let leaving: Vec<(String, Vec<Endpoint>)> =
            self.fleet.leaving().map(|id| (id.clone(), sight.endpoints(job.name, id))).collect();
        let all: BTreeSet<Endpoint> = leaving.iter().flat_map(|(_, ends)| ends).copied().collect();
        self.ordered.retain(|end| all.contains(end));
        let mut orders = Vec::new();
        for (id, ends) in leaving {
            let undrained =
                |end: &&Endpoint| self.ordered.contains(*end) && !sight.state.is_drained(end);
            let kept = ends.iter().any(|end| undrained(&end));
            if kept {
                info!(service = %job.name, container = id, "replica undrained by hand: it stays");
                self.fleet.keep(&id);
            } else {
                self.ordered.extend(&ends);
            }
            let wrong = ends.into_iter().filter(|end| sight.state.is_drained(end) == kept);
            orders.extend(wrong.map(|end| (end, !kept)));
        }
        orders
    }

    fn create(&mut self, job: &Job<'_>, sight: &Sight<'_>, template: Option<&Template>) {
        let order = match self.order(job.name, sight, template) {
            Ok(order) => order,
            Err(why) => return self.fleet.created(sight.now, Err(why)),
        };
        self.made.begin(&order);
        let (tell, service) = (job.tell.clone(), job.name.clone());
        tokio::spawn(async move {
            let made = docker::create(&order).await;
            let made = made.map_err(|error| one_line(&error.into()));
            // A daemon that has ended needs no answer.
            drop(tell.send((service, Outcome::Created(order.name, made))));
        });
    }

    fn remove(job: &Job<'_>, sight: &Sight<'_>, id: &str, name: String, why: &Removal) {
        info!(service = %job.name, container = name, "replica goes: {why}");
        let engines = &sight.containers.engines;
        let found = engines.containers().iter().find(|one| one.id == id);
        let host = found.and_then(|one| engines.of(one)).map(|one| one.host.clone());
        let (tell, service, id) = (job.tell.clone(), job.name.clone(), id.to_owned());
        tokio::spawn(async move {
            let gone = match host {
                Some(host) => docker::remove(&host, &id, &name).await,
                // Somebody else was faster.
                None => Ok(()),
            };
            let gone = gone.map_err(|error| one_line(&error.into()));
            // A daemon that has ended needs no answer.
            drop(tell.send((service, Outcome::Removed(id, name, gone))));
        });
    }
}

/// A step in the words of a dry run.
fn would(step: &Step, name_of: &impl Fn(&str) -> String) -> String {
    match step {
        Step::Create => "would make a replica".to_owned(),
        Step::Drain(id) => format!("would drain {}", name_of(id)),
        Step::Undrain(id) => format!("would keep {}", name_of(id)),
        Step::Remove(id, why) => format!("would take {} away: {why}", name_of(id)),
    }
}
