//! The controller as a whole: a table of lives, then what holds for any input.

mod lives;
mod properties;

use std::{collections::BTreeMap, time::Duration};

use super::{
    Controller, Decision, Settings,
    sample::{Failures, Host, Reading, Sample, Traffic, approximate},
};

/// A backend that serves so many turns a second at this utilisation of its CPU; one server, so
/// the queue is as long as it should be.
fn serving(turns_per_s: f64, cpu: f64) -> Sample {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
    let attempts = turns_per_s as u64;
    let in_flight = cpu / (1.0 - cpu).max(0.01);
    Sample {
        traffic: Traffic { turns_per_s, in_flight, attempts, ..Traffic::default() },
        host: Host { cpu: Some(Reading::fresh(cpu)), ..Host::default() },
        ..Sample::default()
    }
}

/// The same where every such share of turns fails.
fn failing(turns_per_s: f64, cpu: f64, share: f64) -> Sample {
    let mut sample = serving(turns_per_s, cpu);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
    let reset = (approximate(sample.traffic.attempts) * share).round() as u64;
    sample.traffic.failures = Failures { reset, ..Failures::default() };
    sample
}

/// The same, measured so long ago.
fn aged(mut sample: Sample, age_s: u64) -> Sample {
    if let Some(cpu) = &mut sample.host.cpu {
        cpu.age = Duration::from_secs(age_s);
    }
    sample
}

fn named(samples: &[Sample]) -> BTreeMap<usize, Sample> {
    samples.iter().cloned().enumerate().collect()
}

/// A controller and its clock, one tick a second.
struct Life {
    controller: Controller<usize>,
    now: Duration,
    publishes: usize,
}

impl Life {
    fn new() -> Self {
        let controller = Controller::new(Settings::default());
        Self { controller, now: Duration::from_secs(1000), publishes: 0 }
    }

    fn tick(&mut self, samples: &[Sample]) -> Decision<usize> {
        self.now += Duration::from_secs(1);
        let decision = self.controller.tick(self.now, &named(samples));
        self.publishes += usize::from(decision.publish);
        decision
    }

    fn ticks(&mut self, count: usize, samples: &[Sample]) -> Decision<usize> {
        (0..count).map(|_| self.tick(samples)).last().unwrap()
    }
}

fn capacities(decision: &Decision<usize>) -> Vec<f64> {
    decision.backends.values().map(|verdict| verdict.explanation.capacity).collect()
}

fn told(decision: &Decision<usize>) -> Vec<u16> {
    decision.backends.values().map(|verdict| verdict.capacity).collect()
}

fn guard(decision: &Decision<usize>, id: usize) -> String {
    decision.backends[&id].explanation.guard.to_string()
}

/// Whether two figures are the same within a part.
fn near(got: f64, expected: f64, part: f64) -> bool {
    (got - expected).abs() <= part * expected.abs()
}
