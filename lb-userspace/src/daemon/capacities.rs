//! Capacities from live load: once a second what the backends show goes through the control law of
//! every service that balances by it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{Daemon, machines::Machines, state::State};
use crate::{
    admin::report::{BackendState, LoadReport, missing},
    dataplane::signals::Reading,
    load::{
        Controller, Decision, Explanation, Guard, Settings, Verdict,
        classic::{Classic, Mix},
        measure::Meter,
        sample::{Host, Sample, Standing, Traffic},
    },
    model::{BackendSpec, Endpoint, Policy, Service, ServiceName, Weight},
};

/// A backend over its whole life: the next container at its address is another one.
pub(super) type Who = (Endpoint, Option<String>);

/// What a service's load says of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Learned {
    /// Relative to the others of the service; 0 is not known.
    pub(super) capacity: u16,
    /// It fails so much that it gets no new flows for a while.
    pub(super) ejected: bool,
}

/// The control laws of all services, and what they decided last.
#[derive(Debug, Default)]
pub(super) struct Capacities {
    meters: BTreeMap<Who, Meter>,
    machines: Machines,
    services: BTreeMap<ServiceName, Followed>,
}

#[derive(Debug)]
struct Followed {
    policy: Policy,
    law: Law,
    decision: Option<Decision<Who>>,
}

#[derive(Debug)]
enum Law {
    Adaptive(Box<Controller<Who>>),
    /// The same law; a hash is told shares, since it asks no queue.
    Shares(Box<Controller<Who>>),
    Classic(Classic<Who>),
}

impl Followed {
    fn new(policy: Policy) -> Self {
        let controller = || Box::new(Controller::new(Settings::default()));
        let law = if policy == Policy::Classic {
            Law::Classic(Classic::new(Mix::default()))
        } else if policy == Policy::AdaptiveMaglev {
            Law::Shares(controller())
        } else {
            Law::Adaptive(controller())
        };
        Self { policy, law, decision: None }
    }

    /// What is to be told, if anything is.
    fn tick(
        &mut self,
        now: Duration,
        samples: &BTreeMap<Who, Sample>,
    ) -> Option<BTreeMap<Endpoint, Learned>> {
        match &mut self.law {
            Law::Adaptive(controller) => {
                let decision = self.decision.insert(controller.tick(now, samples));
                decision.publish.then(|| learned(decision, |verdict| verdict.capacity))
            }
            Law::Shares(controller) => {
                let decision = self.decision.insert(controller.tick(now, samples));
                decision.publish.then(|| learned(decision, |verdict| in_shares(verdict.share)))
            }
            Law::Classic(law) => Some(in_percent(law.tick(samples))),
        }
    }
}

/// A share in parts of 10,000, as fine as the largest tables.
fn in_shares(share: f64) -> u16 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 10,000")]
    let parts = (10_000.0 * share.clamp(0.0, 1.0)).ceil() as u16;
    parts
}

/// The weights of a turn order: in percent of the largest, or the order would be as long as they
/// are fine.
fn in_percent(weights: BTreeMap<Who, u16>) -> BTreeMap<Endpoint, Learned> {
    let percent = |weight: u16| (u32::from(weight) * 100).div_ceil(u32::from(u16::MAX));
    let learned = |weight| Learned {
        capacity: u16::try_from(percent(weight)).unwrap_or(100),
        ejected: false,
    };
    weights.into_iter().map(|((endpoint, _), weight)| (endpoint, learned(weight))).collect()
}

impl Capacities {
    /// One tick of all services; those whose capacities are to be told, with them.
    fn tick(
        &mut self,
        (now, started): (Instant, Instant),
        state: &State,
        readings: &BTreeMap<Endpoint, Reading>,
    ) -> BTreeMap<ServiceName, BTreeMap<Endpoint, Learned>> {
        let hosts = self.machines.look(now, state, readings.keys().copied());
        let (at, now) = (now, now.saturating_duration_since(started));
        let traffic = self.measure(now, state, readings);
        let followed: Vec<&Service> = state.followed().collect();
        let names: BTreeSet<&ServiceName> = followed.iter().map(|service| &service.name).collect();
        self.services.retain(|name, _| names.contains(name));
        let mut told = BTreeMap::new();
        for service in followed {
            let samples = samples((state, at), service, &traffic, &hosts);
            let new = || Followed::new(service.policy);
            let followed = self.services.entry(service.name.clone()).or_insert_with(new);
            if followed.policy != service.policy {
                *followed = new();
            }
            if let Some(learned) = followed.tick(now, &samples) {
                told.insert(service.name.clone(), learned);
            }
        }
        told
    }

    fn measure(
        &mut self,
        now: Duration,
        state: &State,
        readings: &BTreeMap<Endpoint, Reading>,
    ) -> BTreeMap<Who, Traffic> {
        let here: BTreeMap<Who, &Reading> =
            readings.iter().map(|(endpoint, it)| (state.who(endpoint), it)).collect();
        self.meters.retain(|who, _| here.contains_key(who));
        let measure = |(who, reading): (Who, &Reading)| {
            let meter = self.meters.entry(who.clone()).or_default();
            (who, meter.tick(now, &reading.load, &reading.signals))
        };
        here.into_iter().map(measure).collect()
    }

    /// What was decided about a backend of a service.
    pub(super) fn verdict(&self, service: &ServiceName, who: &Who) -> Option<&Verdict> {
        self.services.get(service)?.decision.as_ref()?.backends.get(who)
    }
}

fn samples(
    (state, at): (&State, Instant),
    service: &Service,
    traffic: &BTreeMap<Who, Traffic>,
    hosts: &BTreeMap<Who, Host>,
) -> BTreeMap<Who, Sample> {
    let sample = |spec: &BackendSpec| {
        let who = state.who(&spec.endpoint);
        let host = hosts.get(&who).cloned().unwrap_or_default();
        let reported = state.reports.reading(at, &spec.endpoint);
        let weight = state.weight(&service.name, spec.endpoint, spec.weight.get());
        let sample = Sample {
            standing: standing(state, &spec.endpoint),
            weight: Weight::new(weight).unwrap_or(spec.weight),
            traffic: traffic.get(&who).cloned().unwrap_or_default(),
            host: Host { reported, ..host },
        };
        (who, sample)
    };
    service.backends.iter().map(sample).collect()
}

fn standing(state: &State, endpoint: &Endpoint) -> Standing {
    match state.backend_state(endpoint) {
        BackendState::Up => Standing::Serving,
        BackendState::Drained | BackendState::Closing => Standing::Drained,
        BackendState::Down => Standing::Down,
    }
}

fn learned(decision: &Decision<Who>, part: fn(&Verdict) -> u16) -> BTreeMap<Endpoint, Learned> {
    let of = |((endpoint, _), verdict): (&Who, &Verdict)| {
        let ejected = matches!(verdict.explanation.guard, Guard::Ejected { .. });
        (*endpoint, Learned { capacity: part(verdict), ejected })
    };
    decision.backends.iter().map(of).collect()
}

impl Daemon {
    /// Looks after the capacities, and says that somebody does.
    pub(super) fn follow_load(&mut self) -> anyhow::Result<()> {
        let followed = self.state.followed().flat_map(|service| &service.backends);
        let followed: BTreeSet<Endpoint> = followed.map(|spec| spec.endpoint).collect();
        let present = self.observed.present_backends();
        let ids: BTreeMap<u32, Endpoint> =
            present.filter(|(_, endpoint)| followed.contains(endpoint)).collect();
        let readings = self.dataplane.readings(ids.keys().copied())?;
        let readings = readings.into_iter().map(|(id, reading)| (ids[&id], reading)).collect();
        let told = self.capacities.tick((Instant::now(), self.started), &self.state, &readings);
        self.state.learn(told);
        Ok(self.dataplane.beat()?)
    }

    /// What a service's load says of a backend, for people.
    pub(super) fn load_report(&self, service: &Service, endpoint: &Endpoint) -> Option<LoadReport> {
        let who = self.state.who(endpoint);
        let verdict = self.capacities.verdict(&service.name, &who)?;
        let Explanation { class, utilisation, explained, turns_per_s, .. } = verdict.explanation;
        let Explanation { in_flight, error_share, capacity, .. } = verdict.explanation;
        Some(LoadReport {
            class: class.name().to_owned(),
            utilisation,
            explained,
            turns_per_s,
            in_flight,
            error_share,
            capacity,
            reported: verdict.explanation.reported,
            text: [Some(verdict.explanation.to_string()), self.remarks(endpoint)]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join("; "),
        })
    }

    /// Why the host of a backend does not show its load, if it should.
    pub(super) fn no_figures(&self, endpoint: &Endpoint) -> Option<String> {
        let machines = &self.capacities.machines;
        machines.trouble(&self.state.who(endpoint)).map(ToOwned::to_owned)
    }

    /// The same in a sentence.
    pub(super) fn load_text(&self, service: &Service, endpoint: &Endpoint) -> String {
        let text = self.load_report(service, endpoint).map(|load| load.text);
        text.or_else(|| self.remarks(endpoint)).unwrap_or_default()
    }

    /// What its agent wants, and what is not known of a backend and could be, in a sentence.
    fn remarks(&self, endpoint: &Endpoint) -> Option<String> {
        let of_host = self.no_figures(endpoint).map(|why| missing(&why));
        let own = self.state.reports.trouble(endpoint).map(|why| format!("its report: {why}"));
        let percent = self.state.reports.percent(endpoint);
        let wanted = (percent != 100).then(|| format!("its agent asks for {percent} % of it"));
        let all: Vec<String> = [wanted, of_host, own].into_iter().flatten().collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// What limits a service.
    pub(super) fn class_of(&self, service: &Service) -> Option<String> {
        let decision = self.capacities.services.get(&service.name)?.decision.as_ref()?;
        Some(decision.class.name().to_owned())
    }
}
