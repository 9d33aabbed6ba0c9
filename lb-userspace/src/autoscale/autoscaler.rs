//! What decides about one service, as configured: Weir's scaler, or the algorithm of Kubernetes on
//! the same figures.

use std::time::{Duration, Instant};

use super::{
    Decision, Hpa, Observation, Reason, Scaler, Settings, SettingsError,
    decide::{Demand, wanted},
    hpa, replicas_for,
};
use crate::model::{Algorithm, Scale};

/// An algorithm with its memory.
#[derive(Clone, Debug)]
pub enum Autoscaler {
    /// Load and forecast.
    Weir(Box<Scaler>),
    /// The last value of load and utilisation.
    Hpa(Box<Settings>, Hpa),
}

impl Autoscaler {
    /// The one that is configured; all mistakes of its settings otherwise.
    pub fn new(scale: &Scale) -> Result<Self, Vec<SettingsError>> {
        let settings = Settings::from(scale);
        match scale.algorithm {
            Algorithm::Weir(_) => Ok(Self::Weir(Box::new(Scaler::new(settings)?))),
            Algorithm::Hpa => {
                let mistakes = settings.mistakes();
                if !mistakes.is_empty() {
                    return Err(mistakes);
                }
                let Settings { min, max, behaviour, .. } = settings.clone();
                Ok(Self::Hpa(Box::new(settings), Hpa::with(min, max, behaviour)))
            }
        }
    }

    /// Somebody has asked for so many already: that is remembered as a recommendation of this
    /// moment, so that a new mind takes nothing away at once.
    pub fn begin(&mut self, now: Instant, current: u32) {
        match self {
            Self::Weir(scaler) => scaler.begin(now, current),
            Self::Hpa(_, hpa) => hpa.begin(now, current),
        }
    }

    /// Takes another time that replicas need until they answer.
    pub fn learn_start(&mut self, start: Duration) {
        match self {
            Self::Weir(scaler) => scaler.learn_start(start),
            Self::Hpa(settings, _) => settings.start = start,
        }
    }

    /// Decides at the end of each bucket.
    pub fn decide(&mut self, now: Instant, observation: &Observation<'_>) -> Decision {
        match self {
            Self::Weir(scaler) => scaler.decide(now, observation),
            Self::Hpa(settings, hpa) => by_hpa(settings, hpa, now, observation),
        }
    }
}

fn by_hpa(
    settings: &Settings,
    hpa: &mut Hpa,
    now: Instant,
    observation: &Observation<'_>,
) -> Decision {
    let current = observation.current;
    let demand = demand(settings, observation);
    let (wanted, reason) = wanted(settings, now, observation, demand.as_ref());
    let known = !matches!(reason, Reason::Blind | Reason::Unmeasured { .. });
    let desired = hpa.decide(now, current, known.then_some(wanted));
    let reason = if desired == wanted { reason } else { held(settings, current, wanted, desired) };
    let expected = demand.map(|demand| demand.expected);
    Decision { current, desired, reason, expected, outlook: None }
}

/// What the load of the moment asks for.
fn demand(settings: &Settings, observation: &Observation<'_>) -> Option<Demand> {
    let (offered, capacity) = (observation.offered?, observation.capacity?);
    let (current, each) = (observation.current, capacity * settings.target);
    let wanted = hpa::by_load(offered, each, current, settings.tolerance)?;
    let reason = if wanted == current && replicas_for(offered, each) != wanted {
        Reason::Tolerance { ratio: offered / (each * f64::from(current)) }
    } else {
        Reason::Load { offered, capacity }
    };
    Some(Demand { wanted, reason, expected: offered })
}

/// Why it is another number than the one that was wanted.
fn held(settings: &Settings, current: u32, wanted: u32, desired: u32) -> Reason {
    let Settings { min, max, .. } = *settings;
    if wanted > desired && desired == max {
        Reason::Max { wanted }
    } else if wanted < desired && desired == min {
        Reason::Min { wanted }
    } else if wanted < current {
        Reason::Window { wanted, window: settings.behaviour.down.window }
    } else {
        Reason::Rate { wanted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaler(fields: &str) -> Autoscaler {
        let text = format!("services: [{{ name: a, listen: [198.18.0.1:80], scale: {fields} }}]\n");
        let config = crate::config::parse("weir.yaml", &text).unwrap().config;
        Autoscaler::new(config.services[0].scale.as_ref().unwrap()).unwrap()
    }

    /// Loads of one bucket after the other for replicas that can take 100, and what is said.
    fn said(scaler: &mut Autoscaler, loads: &[Option<f64>]) -> Vec<String> {
        let start = Instant::now();
        let (mut said, mut current) = (Vec::new(), 2);
        for (offered, bucket) in loads.iter().zip(1..) {
            let now = start + Duration::from_secs(15) * bucket;
            let (offered, capacity) = (*offered, Some(100.0));
            let seen = Observation { current, offered, capacity, pods: None };
            let decision = scaler.decide(now, &seen);
            current = decision.desired;
            said.push(decision.to_string());
        }
        said
    }

    #[test]
    fn kubernetes_looks_at_the_last_value_and_says_why() {
        let mut hpa = scaler("{ min: 2, max: 9, target: 100%, algorithm: hpa }");
        let loads = [210.0, 310.0, 2000.0, 2000.0, 150.0].map(Some);
        assert_eq!(
            said(&mut hpa, &loads),
            [
                "keep 2: the load is 1.05 times what the replicas are for, near enough",
                "from 2 to 4: 310.0 requests/s are offered, a replica can take 100.0",
                "from 4 to 8: 20 are wanted, more than may change at once",
                "from 8 to 9: 20 are wanted, more than the maximum",
                "keep 9: 2 are wanted, but not for all of the last 300 s",
            ]
        );
    }

    #[test]
    fn what_is_not_known_takes_nothing_away() {
        for algorithm in ["hpa", "weir"] {
            let fields = format!("{{ max: 9, algorithm: {algorithm} }}");
            let said = said(&mut scaler(&fields), &[None, Some(f64::NAN), Some(-1.0)]);
            let blind = "keep 2: neither what the load needs nor utilisation is known";
            assert_eq!(said, [blind; 3], "{algorithm}");
        }
    }

    #[test]
    fn only_a_forecast_is_ahead_of_the_load() {
        let ramp: Vec<_> = (0..12).map(|k| Some(100.0 * 1.12_f64.powi(k))).collect();
        let all = |fields: &str| said(&mut scaler(fields), &ramp).join("\n");
        let grey = all("{ max: 50 }");
        assert!(grey.contains("are expected in 90 s"), "{grey}");
        for calm in ["{ max: 50, forecast: none }", "{ max: 50, algorithm: hpa }"] {
            assert!(!all(calm).contains("expected"), "{calm}");
        }
    }

    #[test]
    fn a_new_mind_takes_nothing_away_at_once() {
        let idle =
            Observation { current: 8, offered: Some(10.0), capacity: Some(100.0), pods: None };
        for algorithm in ["hpa", "weir"] {
            let mut scaler = scaler(&format!("{{ max: 9, algorithm: {algorithm} }}"));
            let start = Instant::now();
            scaler.begin(start, 8);
            for (second, desired) in [(15, 8), (299, 8), (300, 1)] {
                let decision = scaler.decide(start + Duration::from_secs(second), &idle);
                assert_eq!(decision.desired, desired, "{algorithm} at {second}: {decision}");
            }
        }
    }

    #[test]
    fn too_many_and_too_few_are_put_right() {
        let seen = |current| Observation { current, offered: None, capacity: None, pods: None };
        for algorithm in ["hpa", "weir"] {
            let mut scaler = scaler(&format!("{{ min: 2, max: 4, algorithm: {algorithm} }}"));
            let now = Instant::now();
            for (current, desired) in [(9, 4), (1, 2), (3, 3)] {
                assert_eq!(scaler.decide(now, &seen(current)).desired, desired, "{algorithm}");
            }
        }
    }
}
