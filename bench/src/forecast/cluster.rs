//! A simulated cluster: replicas that need time to start, and a scaler that sees it one step late.

use std::time::{Duration, Instant};

use lb_userspace::{
    autoscale::{Hpa, Observation, Pod, Sample, Scaler, Settings, hpa},
    forecast::{Method, Smoothing},
};
use serde::Serialize;

use super::load::Load;

/// A step, a bucket, a scrape and a sync.
const STEP: Duration = Duration::from_secs(15);
const REPLICAS_MIN: u32 = 2;
const REPLICAS_MAX: u32 = 1000;

/// A scaler under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Subject {
    /// The algorithm of Kubernetes on CPU.
    HpaCpu,
    /// The same on the offered load.
    HpaLoad,
    /// Our scaler without a forecast.
    Last,
    /// Our scaler with Holt's method, quick to follow.
    HoltQuick,
    /// The same, slower and calmer.
    HoltCalm,
    /// Our scaler with the grey model.
    Grey,
}

impl Subject {
    pub(crate) const ALL: [Self; 6] =
        [Self::HpaCpu, Self::HpaLoad, Self::Last, Self::HoltQuick, Self::HoltCalm, Self::Grey];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::HpaCpu => "HPA, CPU",
            Self::HpaLoad => "HPA, offered load",
            Self::Last => "Weir, no forecast",
            Self::HoltQuick => "Weir, Holt .8 .4",
            Self::HoltCalm => "Weir, Holt .5 .2",
            Self::Grey => "Weir, grey model",
        }
    }
}

/// What a run cost and what it missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Outcome {
    pub(crate) steps: f64,
    /// Steps with more load than capacity.
    pub(crate) violations: f64,
    pub(crate) requests: f64,
    pub(crate) lost: f64,
    pub(crate) pod_hours: f64,
    /// Changes of the number of replicas.
    pub(crate) actions: f64,
    /// Ramps, and seconds after their top until there was enough capacity.
    pub(crate) ramps: f64,
    pub(crate) late_seconds: f64,
}

impl Outcome {
    pub(crate) fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.violations += other.violations;
        self.requests += other.requests;
        self.lost += other.lost;
        self.pod_hours += other.pod_hours;
        self.actions += other.actions;
        self.ramps += other.ramps;
        self.late_seconds += other.late_seconds;
    }

    /// The mean of so many rounds; what is a share anyway stays.
    pub(crate) fn of_one(&self, rounds: f64) -> Self {
        let (pod_hours, actions) = (self.pod_hours / rounds, self.actions / rounds);
        Self { pod_hours, actions, ..*self }
    }
}

/// Runs a load through a cluster. `target` is in percent.
pub(crate) fn simulate(load: &Load, subject: Subject, target: u32, start: Duration) -> Outcome {
    let mut cluster = Cluster::new(load, subject, target, start);
    let mut outcome = Outcome::default();
    let mut enough_at = None;
    for (step, &rate) in load.rates.iter().enumerate() {
        cluster.start_ready();
        let capacity = f64::from(cluster.ready()) * load.capacity;
        outcome.steps += 1.0;
        outcome.violations += f64::from(u8::from(rate > capacity));
        outcome.requests += rate * STEP.as_secs_f64();
        outcome.lost += (rate - capacity).max(0.0) * STEP.as_secs_f64();
        outcome.pod_hours += f64::from(cluster.current()) * STEP.as_secs_f64() / 3600.0;
        if load.top.is_some_and(|top| step >= top) && rate <= capacity && enough_at.is_none() {
            enough_at = Some(step);
        }
        outcome.actions += f64::from(u8::from(cluster.end_step(rate, capacity)));
    }
    if let Some(top) = load.top {
        let end = enough_at.unwrap_or(load.rates.len());
        let late = u32::try_from(end - top).unwrap_or(u32::MAX);
        outcome.ramps = 1.0;
        outcome.late_seconds = f64::from(late) * STEP.as_secs_f64();
    }
    outcome
}

enum Mind {
    Cpu(Hpa, u64),
    Load(Hpa, f64),
    Weir(Box<Scaler>),
    /// Settings that the scaler refused: the number of replicas never changes.
    None,
}

struct Cluster {
    now: Instant,
    start: Duration,
    capacity: f64,
    pods: Vec<Pod>,
    mind: Mind,
    /// What the scaler will see a step later: load, and the pods with their use.
    seen: Option<(f64, Vec<Pod>)>,
}

impl Cluster {
    fn new(load: &Load, subject: Subject, target: u32, start: Duration) -> Self {
        // Replicas that run already began an hour ago.
        let began = Instant::now();
        let now = began + Duration::from_hours(1);
        let part = f64::from(target) / 100.0;
        let first = load.rates.first().copied().unwrap_or_default();
        let wanted = hpa::by_load(first, load.capacity * part, 0, 0.0).unwrap_or(REPLICAS_MIN);
        let pod = Pod { started: began, pending: false, ready: true, since: began, sample: None };
        let pods = vec![pod; wanted.clamp(REPLICAS_MIN, REPLICAS_MAX) as usize];
        let weir = |method| {
            let settings = Settings {
                min: REPLICAS_MIN,
                max: REPLICAS_MAX,
                target: part,
                method,
                start,
                ..Settings::default()
            };
            Scaler::new(settings).map_or(Mind::None, |scaler| Mind::Weir(Box::new(scaler)))
        };
        let holt = |level, trend| {
            Smoothing::new(level, trend).map_or(Mind::None, |it| weir(Method::Holt(it)))
        };
        let kubernetes = Hpa::new(REPLICAS_MIN, REPLICAS_MAX);
        let mind = match subject {
            Subject::HpaCpu => Mind::Cpu(kubernetes, target.into()),
            Subject::HpaLoad => Mind::Load(kubernetes, load.capacity * part),
            Subject::Last => weir(Method::Last),
            Subject::HoltQuick => holt(0.8, 0.4),
            Subject::HoltCalm => holt(0.5, 0.2),
            Subject::Grey => weir(Method::Grey),
        };
        Self { now, start, capacity: load.capacity, pods, mind, seen: None }
    }

    fn current(&self) -> u32 {
        u32::try_from(self.pods.len()).unwrap_or(u32::MAX)
    }

    fn ready(&self) -> u32 {
        u32::try_from(self.pods.iter().filter(|pod| pod.ready).count()).unwrap_or(u32::MAX)
    }

    fn start_ready(&mut self) {
        for pod in &mut self.pods {
            if !pod.ready && self.now >= pod.started + self.start {
                pod.ready = true;
                pod.since = self.now;
            }
        }
    }

    /// Time passes, the scaler decides, and its decision is carried out. Whether anything changed.
    fn end_step(&mut self, rate: f64, capacity: f64) -> bool {
        self.now += STEP;
        let used = if capacity > 0.0 { (rate / capacity).min(1.0) } else { 0.0 };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 1000"
        )]
        let milli = (used * 1000.0).round() as u64;
        for pod in &mut self.pods {
            let milli = if pod.ready { milli } else { 0 };
            pod.sample = Some(Sample { milli, at: self.now, window: STEP });
        }
        let before = self.seen.replace((rate, self.pods.clone()));
        let current = self.current();
        let Some((rate, pods)) = before else { return false };
        let desired = self.decide(current, rate, &pods);
        let (now, kept) = (self.now, desired as usize);
        // Those that started last go first.
        self.pods.truncate(kept);
        let new = Pod { started: now, pending: false, ready: false, since: now, sample: None };
        self.pods.resize(kept, new);
        current != desired
    }

    fn decide(&mut self, current: u32, rate: f64, pods: &[Pod]) -> u32 {
        let now = self.now;
        match &mut self.mind {
            Mind::Cpu(hpa, target) => {
                let proposal = hpa::by_utilisation(pods, now, current, *target, 0.1);
                hpa.decide(now, current, proposal.ok().map(|it| it.replicas))
            }
            Mind::Load(hpa, each) => {
                let proposal = hpa::by_load(rate, *each, current, 0.1);
                hpa.decide(now, current, proposal)
            }
            Mind::Weir(scaler) => {
                let observation = Observation {
                    current,
                    offered: Some(rate),
                    capacity: Some(self.capacity),
                    pods: Some(pods),
                };
                scaler.decide(now, &observation).desired
            }
            Mind::None => current,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn flat(rate: f64) -> Load {
        Load { rates: vec![rate; 240], capacity: 50.0, top: None }
    }

    #[test]
    fn a_flat_load_loses_nothing_and_costs_what_it_needs() {
        for subject in Subject::ALL {
            let outcome = simulate(&flat(400.0), subject, 80, MINUTE);
            assert!(outcome.lost.abs() < 1e-9 && outcome.actions <= 1.0, "{subject:?} {outcome:?}");
            assert!((outcome.pod_hours - 10.0).abs() < 0.6, "{subject:?} {outcome:?}");
        }
    }

    #[test]
    fn a_jump_is_lost_until_replicas_have_started() {
        let mut load = flat(80.0);
        load.rates[100..].fill(180.0);
        load.top = Some(100);
        for subject in Subject::ALL {
            let [short, long] =
                [30, 120].map(|start| simulate(&load, subject, 80, Duration::from_secs(start)));
            // One step until it is seen, one until that is acted upon.
            assert!(short.late_seconds >= 60.0, "{subject:?} {short:?}");
            assert!(long.late_seconds >= 150.0, "{subject:?} {long:?}");
            assert!(long.lost > short.lost && short.lost > 0.0, "{subject:?}");
        }
    }

    #[test]
    fn a_higher_target_is_cheaper_and_riskier() {
        for subject in Subject::ALL {
            for load in super::super::load::flash_crowds(2, 3) {
                let [low, high] = [50, 90].map(|target| simulate(&load, subject, target, MINUTE));
                assert!(low.pod_hours > high.pod_hours, "{subject:?}");
                assert!(low.violations <= high.violations, "{subject:?}");
            }
        }
    }
}
