//! Capacities from live load: once a second what the backends show goes through the control law of
//! every service that balances by it.

use std::{collections::BTreeMap, time::Duration};

use super::{Daemon, state::State};
use crate::{
    admin::report::{BackendState, LoadReport},
    dataplane::signals::Reading,
    load::{
        Controller, Decision, Explanation, Guard, Settings, Verdict,
        measure::Meter,
        sample::{Host, Sample, Standing, Traffic},
    },
    model::{BackendSpec, Endpoint, Service, ServiceName, Weight},
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
    services: BTreeMap<ServiceName, Followed>,
}

#[derive(Debug)]
struct Followed {
    controller: Controller<Who>,
    decision: Option<Decision<Who>>,
}

impl Capacities {
    /// One tick of all services; those whose capacities are to be told, with them.
    fn tick(
        &mut self,
        now: Duration,
        state: &State,
        readings: &BTreeMap<Endpoint, Reading>,
    ) -> BTreeMap<ServiceName, BTreeMap<Endpoint, Learned>> {
        let traffic = self.measure(now, state, readings);
        let followed: Vec<&Service> = state.followed().collect();
        self.services.retain(|name, _| followed.iter().any(|service| service.name == *name));
        let mut told = BTreeMap::new();
        for service in followed {
            let samples = samples(state, service, &traffic);
            let entry = self.services.entry(service.name.clone());
            let followed = entry.or_insert_with(|| Followed {
                controller: Controller::new(Settings::default()),
                decision: None,
            });
            let decision = followed.controller.tick(now, &samples);
            if decision.publish {
                told.insert(service.name.clone(), learned(&decision));
            }
            followed.decision = Some(decision);
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

    fn verdict(&self, service: &ServiceName, who: &Who) -> Option<&Verdict> {
        self.services.get(service)?.decision.as_ref()?.backends.get(who)
    }
}

fn samples(
    state: &State,
    service: &Service,
    traffic: &BTreeMap<Who, Traffic>,
) -> BTreeMap<Who, Sample> {
    let sample = |spec: &BackendSpec| {
        let who = state.who(&spec.endpoint);
        let weight = state.weight(&service.name, spec.endpoint, spec.weight.get());
        let sample = Sample {
            standing: standing(state, &spec.endpoint),
            weight: Weight::new(weight).unwrap_or(spec.weight),
            traffic: traffic.get(&who).cloned().unwrap_or_default(),
            host: Host::default(),
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

fn learned(decision: &Decision<Who>) -> BTreeMap<Endpoint, Learned> {
    let of = |((endpoint, _), verdict): (&Who, &Verdict)| {
        let ejected = matches!(verdict.explanation.guard, Guard::Ejected { .. });
        (*endpoint, Learned { capacity: verdict.capacity, ejected })
    };
    decision.backends.iter().map(of).collect()
}

impl Daemon {
    /// Looks after the capacities, and says that somebody does.
    pub(super) fn follow_load(&mut self) -> anyhow::Result<()> {
        let followed = self.state.followed().flat_map(|service| &service.backends);
        let ids: BTreeMap<u32, Endpoint> = followed
            .filter_map(|spec| Some((self.backend_id(&spec.endpoint)?, spec.endpoint)))
            .collect();
        let readings = self.dataplane.readings(ids.keys().copied())?;
        let readings = readings.into_iter().map(|(id, reading)| (ids[&id], reading)).collect();
        let told = self.capacities.tick(self.started.elapsed(), &self.state, &readings);
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
            text: verdict.explanation.to_string(),
        })
    }

    /// What limits a service.
    pub(super) fn class_of(&self, service: &Service) -> Option<String> {
        let decision = self.capacities.services.get(&service.name)?.decision.as_ref()?;
        Some(decision.class.name().to_owned())
    }
}
