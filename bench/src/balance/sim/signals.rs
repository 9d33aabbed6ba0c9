//! The eyes and the hand of the controllers: tallies of a tick become samples, decisions become
//! weights.

use std::{collections::BTreeMap, time::Duration};

use lb_userspace::load::{
    Controller, Decision, Settings,
    classic::{Classic, Mix},
    sample::{Failures, Host, Reading, Sample, Traffic},
};

use super::{
    policy::{Basis, Chooser, Pick, Policy, Sight},
    server::{Server, Tally},
};

/// Seconds between ticks.
pub(crate) const TICK_S: f64 = 1.0;

/// Whoever gives a policy its weights.
#[derive(Clone, Debug)]
pub(crate) enum Mind {
    /// Nobody: they stay.
    Fixed,
    /// Somebody who knows the speeds.
    Oracle,
    /// The control law.
    Law(Box<Controller<usize>>, Sight),
    /// The literature's.
    Mix(Classic<usize>),
}

impl Mind {
    /// The mind of a policy; gives the first weights.
    pub(crate) fn new(policy: Policy, servers: &[Server], chooser: &mut Chooser) -> Self {
        match policy.basis() {
            Basis::Equal => Self::Fixed,
            Basis::Configured => {
                know_speeds(servers, chooser);
                Self::Fixed
            }
            Basis::True => {
                know_speeds(servers, chooser);
                Self::Oracle
            }
            Basis::Law(sight) => Self::Law(Box::new(Controller::new(Settings::default())), sight),
            Basis::Mix { cpu_only } => {
                let half = Mix::new([0.5, 0.0, 0.5, 0.0]).unwrap_or_default();
                Self::Mix(Classic::new(if cpu_only { Mix::CPU } else { half }))
            }
        }
    }

    /// A tick of the controller; the decision if there is one.
    pub(crate) fn tick(
        &mut self,
        now_s: f64,
        servers: &mut [Server],
        chooser: &mut Chooser,
    ) -> Option<Decision<usize>> {
        let tallies = servers.iter_mut().map(|server| {
            server.advance(now_s);
            (std::mem::take(&mut server.tally), server.spec.cpu_part, server.spec.cores)
        });
        let tallies: Vec<(Tally, f64, f64)> = tallies.collect();
        let samples = |sight| {
            let of = |(tally, cpu_part, cores): &(Tally, f64, f64)| {
                sample(tally, *cpu_part, *cores, sight)
            };
            tallies.iter().map(of).enumerate().collect::<BTreeMap<usize, Sample>>()
        };
        match self {
            Self::Fixed | Self::Oracle => None,
            Self::Law(controller, sight) => {
                let decision = controller.tick(Duration::from_secs_f64(now_s), &samples(*sight));
                let verdicts = || decision.backends.values();
                let weights: Vec<u16> = verdicts().map(|verdict| verdict.capacity).collect();
                // Whoever compares queues draws candidates by capacity.
                let shares: Vec<f64> = if chooser.pick() == Pick::Hash {
                    verdicts().map(|verdict| verdict.share).collect()
                } else {
                    weights.iter().copied().map(f64::from).collect()
                };
                chooser.set(weights, &shares);
                Some(decision)
            }
            Self::Mix(classic) => {
                let weights: Vec<u16> = classic.tick(&samples(Sight::Host)).into_values().collect();
                let shares: Vec<f64> = weights.iter().copied().map(f64::from).collect();
                chooser.set(weights, &shares);
                None
            }
        }
    }

    /// A server has another speed; only an oracle notices.
    pub(crate) fn speed_changed(&self, servers: &[Server], chooser: &mut Chooser) {
        match self {
            Self::Oracle => know_speeds(servers, chooser),
            Self::Fixed | Self::Law(..) | Self::Mix(_) => {}
        }
    }
}

fn know_speeds(servers: &[Server], chooser: &mut Chooser) {
    let speeds: Vec<f64> = servers.iter().map(|it| it.spec.speed * it.spec.cores).collect();
    let largest = speeds.iter().copied().fold(0.0, f64::max);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and the largest of the type"
    )]
    let weights = speeds.iter().map(|speed| (speed / largest * 65535.0).max(1.0) as u16);
    chooser.set(weights.collect(), &speeds);
}

/// What a tick shows of a server.
fn sample(tally: &Tally, cpu_part: f64, cores: f64, sight: Sight) -> Sample {
    #[expect(clippy::cast_precision_loss, reason = "turns of a tick are few")]
    let ended = tally.ended as f64;
    let busy = tally.busy_s / TICK_S;
    let cpu = Some(Reading::fresh(cpu_part * busy));
    let io = Some(Reading::fresh((1.0 - cpu_part) * busy));
    let cores = Some(cores);
    let host = match sight {
        Sight::Host => Host { cpu, io, cores, ..Host::default() },
        Sight::Cpu => Host { cpu, cores, ..Host::default() },
        Sight::Queue => Host::default(),
    };
    let traffic = Traffic {
        turns_per_s: ended / TICK_S,
        in_flight: tally.in_flight_s / TICK_S,
        first_byte_s: (tally.ended > 0).then(|| tally.waited_s / ended),
        handshake_s: None,
        attempts: tally.ended,
        failures: Failures { reset: tally.failed, ..Failures::default() },
    };
    Sample { traffic, host, ..Sample::default() }
}
