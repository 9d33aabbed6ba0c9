//! How many replicas there are: once a second the offered load of every service with `scale` goes
//! into its bucket, at the end of each bucket `autoscale` decides, and what the executor has to do
//! for the decision is begun. Nothing here waits: what takes time is a task, and its outcome is
//! looked for at the next tick.

mod act;
mod command;
mod make;
mod report;
mod sight;

use std::{collections::BTreeMap, time::Instant};

use tokio::sync::mpsc;
use tracing::{debug, info};

use self::{
    act::{Outcome, Trade},
    sight::{Pods, Sight},
};
use super::{Daemon, capacities::Who};
use crate::{
    autoscale::{Autoscaler, Buckets, Decision, Observation, Offered},
    model::{Endpoint, Scale, Service, ServiceName},
};

/// The scalers of all services.
#[derive(Debug)]
pub(super) struct Scalers {
    services: BTreeMap<ServiceName, Scaling>,
    tell: mpsc::UnboundedSender<(ServiceName, Outcome)>,
    outcomes: mpsc::UnboundedReceiver<(ServiceName, Outcome)>,
}

impl Default for Scalers {
    fn default() -> Self {
        let (tell, outcomes) = mpsc::unbounded_channel();
        Self { services: BTreeMap::new(), tell, outcomes }
    }
}

/// The scaler of one service.
#[derive(Debug)]
struct Scaling {
    scale: Scale,
    mind: Option<Autoscaler>,
    offered: Offered<Who>,
    /// The id whose flows are counted: another one's counters say nothing.
    id: Option<u32>,
    pods: Pods,
    /// How many were asked for; nobody has while it is not known how many there are.
    asked: Option<u32>,
    last: Option<Last>,
    trade: Trade,
}

/// The last decision.
#[derive(Debug)]
struct Last {
    at: Instant,
    decision: Decision,
    offered: Option<f64>,
    capacity: Option<f64>,
}

impl Scaling {
    fn new(scale: &Scale) -> Self {
        Self {
            scale: scale.clone(),
            mind: mind(scale),
            offered: Offered::new(Buckets::new(scale.bucket)),
            id: None,
            pods: Pods::default(),
            asked: None,
            last: None,
            trade: Trade::default(),
        }
    }

    /// Takes other settings. What there is, and what is under way, is the same; returns whom nobody
    /// drains any more.
    fn follow(&mut self, now: Instant, scale: &Scale) -> Vec<String> {
        if self.scale == *scale {
            return Vec::new();
        }
        if self.scale.bucket != scale.bucket {
            self.offered = Offered::new(Buckets::new(scale.bucket));
        }
        let other = self.scale.executor != scale.executor || self.scale.dry_run != scale.dry_run;
        let released = if other { self.trade.release() } else { Vec::new() };
        self.mind = mind(scale);
        if let (Some(mind), Some(asked)) = (&mut self.mind, self.asked) {
            mind.begin(now, asked);
        }
        self.scale = scale.clone();
        released
    }

    /// Takes what is seen now, and decides where a bucket ends. Says whether the number changes.
    fn look(&mut self, name: &ServiceName, sight: &Sight<'_>) -> Option<Decision> {
        let now = sight.now;
        // How many there are is not known before the engine has spoken.
        let (live, up) = sight.count(name, &self.trade);
        let (live, mind) = (live?, self.mind.as_mut()?);
        let mut current = *self.asked.get_or_insert_with(|| {
            let asked = live.clamp(self.scale.min, self.scale.max);
            mind.begin(now, asked);
            asked
        });
        let seen = sight.service(name)?;
        if self.id != Some(seen.id) {
            self.id = Some(seen.id);
            self.offered = Offered::new(Buckets::new(self.scale.bucket));
        }
        self.pods.look(now, sight, name);
        if self.scale.start_time.is_none()
            && let Some(start) = self.trade.fleet.start_time()
        {
            mind.learn_start(start);
        }
        let mut changed = None;
        for rate in self.offered.read(now, seen.flows, &seen.readings) {
            // What nobody serves is not seen: the dataplane turns it away.
            let offered = rate.filter(|_| up > 0);
            let capacity = self.scale.capacity.map(f64::from);
            let capacity = capacity.or_else(|| sight.capacity(name));
            let pods = self.pods.told(sight, name);
            let observation = Observation { current, offered, capacity, pods: pods.as_deref() };
            let decision = mind.decide(now, &observation);
            self.asked = Some(decision.desired);
            let before = std::mem::replace(&mut current, decision.desired);
            if decision.desired != before {
                changed = Some(decision.clone());
            }
            self.last = Some(Last { at: now, decision, offered, capacity });
        }
        changed
    }
}

/// The algorithm; a configuration that was validated has no mistakes in it.
fn mind(scale: &Scale) -> Option<Autoscaler> {
    let mistakes = |mistakes: &Vec<_>| tracing::error!(?mistakes, "no scaler");
    Autoscaler::new(scale).inspect_err(mistakes).ok()
}

impl Daemon {
    /// One tick of all scalers.
    pub(super) fn scale(&mut self) {
        let now = Instant::now();
        for (name, released) in self.scalers.follow(now, &self.state.config.services) {
            if !self.scalers.services.contains_key(&name) {
                self.tell(&subject(&name), Ok(()));
            }
            let ends = |id: &String| self.sight().endpoints(&name, id);
            let ends = released.iter().flat_map(ends).map(|end| (end, false)).collect();
            self.drain_as_ordered(ends);
        }
        if self.scalers.services.is_empty() {
            return;
        }
        self.scalers.hear(now);
        let seen = self.seen();
        self.tell("scale", seen.as_ref().map(|_| ()).map_err(|error| anyhow::anyhow!("{error:#}")));
        let Ok(seen) = seen else { return };
        let sight = Sight {
            now,
            state: &self.state,
            capacities: &self.capacities,
            containers: &self.containers,
            seen,
        };
        let (orders, troubles) = self.scalers.tick(&sight);
        self.drain_as_ordered(orders);
        for (name, trouble) in troubles {
            let result = trouble.map_or(Ok(()), |trouble| Err(anyhow::anyhow!("{trouble}")));
            self.tell(&subject(&name), result);
        }
    }

    fn drain_as_ordered(&mut self, orders: Vec<(Endpoint, bool)>) {
        if orders.is_empty() {
            return;
        }
        for (endpoint, drained) in orders {
            self.state.drain(endpoint, drained);
        }
        self.state.generation = self.state.generation.wrapping_add(1);
        self.reconcile_or_tell();
    }
}

/// What the troubles of a service begin with.
fn subject(name: &ServiceName) -> String {
    format!("scale {name}")
}

type Orders = Vec<(Endpoint, bool)>;
type Troubles = Vec<(ServiceName, Option<String>)>;

impl Scalers {
    /// Takes the services that are scaled. Returns those that are not any more or are so in another
    /// way, with whom nobody drains any more.
    fn follow(&mut self, now: Instant, services: &[Service]) -> Vec<(ServiceName, Vec<String>)> {
        let scaled: BTreeMap<&ServiceName, &Scale> = services
            .iter()
            .filter_map(|service| Some((&service.name, service.scale.as_deref()?)))
            .collect();
        let mut others = Vec::new();
        for (name, scaling) in &mut self.services {
            if !scaled.contains_key(name) {
                others.push((name.clone(), scaling.trade.release()));
            }
        }
        self.services.retain(|name, _| scaled.contains_key(name));
        for (name, scale) in scaled {
            let new = || Scaling::new(scale);
            let scaling = self.services.entry(name.clone()).or_insert_with(new);
            let released = scaling.follow(now, scale);
            if !released.is_empty() {
                others.push((name.clone(), released));
            }
        }
        others
    }

    /// Takes the outcomes of what was begun.
    fn hear(&mut self, now: Instant) {
        while let Ok((name, outcome)) = self.outcomes.try_recv() {
            if let Some(scaling) = self.services.get_mut(&name) {
                scaling.trade.hear(now, &name, outcome);
            }
        }
    }

    fn tick(&mut self, sight: &Sight<'_>) -> (Orders, Troubles) {
        let (mut orders, mut troubles) = (Vec::new(), Vec::new());
        for (name, scaling) in &mut self.services {
            if let Some(decision) = scaling.look(name, sight) {
                info!(service = %name, dry_run = scaling.scale.dry_run, "replicas {decision}");
            } else if let Some(last) = scaling.last.as_ref().filter(|last| last.at == sight.now) {
                debug!(service = %name, "replicas {}", last.decision);
            }
            if let Some(desired) = scaling.asked {
                let reason = scaling.last.as_ref().map(|last| last.decision.reason.to_string());
                let job = act::Job {
                    name,
                    scale: &scaling.scale,
                    desired,
                    reason: reason.unwrap_or_default(),
                    tell: &self.tell,
                };
                orders.extend(scaling.trade.act(&job, sight));
            }
            troubles.push((name.clone(), scaling.trade.trouble(sight.now)));
        }
        (orders, troubles)
    }
}
