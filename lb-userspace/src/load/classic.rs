//! What the literature calls dynamic load balancing: a linear mix of utilisations, by which weights
//! go up or down a little each time. Here as the baseline to compare with.
//!
//! The mix and the feedback are those of Zhang, "Linux Virtual Server for scalable network
//! services" (Ottawa Linux Symposium 2000) and the dynamic feedback scheduling described
//! there: `w += A ∛(0.95 - load)`, between the static weight and ten times that. It needs
//! utilisations: a backend without them keeps its weight.

use std::{collections::BTreeMap, time::Duration};

use super::{
    controller::scaled,
    sample::{Resource, Sample, Standing},
};

/// How much each utilisation counts. They sum to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mix {
    parts: [f64; Resource::ALL.len()],
}

impl Default for Mix {
    /// The parts most often found: mostly CPU and memory.
    fn default() -> Self {
        Self { parts: [0.4, 0.3, 0.2, 0.1] }
    }
}

impl Mix {
    /// Only the CPU.
    pub const CPU: Self = Self { parts: [1.0, 0.0, 0.0, 0.0] };

    /// Parts of cpu, memory, io and network; `None` unless they are not negative and sum to 1.
    #[must_use]
    pub fn new(parts: [f64; Resource::ALL.len()]) -> Option<Self> {
        let whole: f64 = parts.iter().sum();
        (parts.iter().all(|part| *part >= 0.0) && (whole - 1.0).abs() < 1e-6)
            .then_some(Self { parts })
    }

    /// The mixed load of a backend; `None` if nothing is known of it. What is unknown counts as
    /// idle, as it does in the literature.
    #[must_use]
    pub fn load(&self, sample: &Sample) -> Option<f64> {
        let used = Resource::ALL.map(|it| sample.host.utilisation(it, STALE));
        used.iter().flatten().next()?;
        Some(self.parts.iter().zip(used).map(|(part, used)| part * used.unwrap_or(0.0)).sum())
    }
}

const STALE: Duration = Duration::from_secs(3);
/// The load that all should have.
const WANTED: f64 = 0.95;
/// Size of a step ("A"), for static weights in units of [`UNIT`].
const GAIN: f64 = 5.0;
const UNIT: f64 = 100.0;
/// A weight never exceeds so many times the static one.
const RANGE: f64 = 10.0;

/// The weights of one service.
#[derive(Clone, Debug)]
pub struct Classic<Id> {
    mix: Mix,
    weights: BTreeMap<Id, f64>,
}

impl<Id: Ord + Clone> Classic<Id> {
    /// Static weights at first.
    #[must_use]
    pub const fn new(mix: Mix) -> Self {
        Self { mix, weights: BTreeMap::new() }
    }

    /// One step; weights from 1 to 65535, 0 for backends that get no new flows.
    pub fn tick(&mut self, samples: &BTreeMap<Id, Sample>) -> BTreeMap<Id, u16> {
        self.weights.retain(|id, _| samples.contains_key(id));
        for (id, sample) in samples {
            let base = UNIT * f64::from(sample.weight.get());
            let weight = self.weights.entry(id.clone()).or_insert(base);
            let step = self.mix.load(sample).map_or(0.0, |load| GAIN * (WANTED - load).cbrt());
            *weight = (*weight + step).clamp(base, RANGE * base);
        }
        let serving = |sample: &Sample| sample.standing == Standing::Serving;
        let open = samples.values().zip(self.weights.values());
        let weights = open.map(|(sample, weight)| if serving(sample) { *weight } else { 0.0 });
        let weights = scaled(&weights.collect::<Vec<f64>>());
        samples.keys().cloned().zip(weights).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::sample::{Host, Reading};
    use crate::model::Weight;

    fn sample(weight: u16, cpu: f64, io: f64) -> Sample {
        let known = |value: f64| (!value.is_nan()).then(|| Reading::fresh(value));
        Sample {
            weight: Weight::new(weight).unwrap(),
            host: Host { cpu: known(cpu), io: known(io), ..Host::default() },
            ..Sample::default()
        }
    }

    #[test]
    fn the_mix_has_to_sum_to_one() {
        #[rustfmt::skip]
        let table = [
            ([1.0, 0.0, 0.0, 0.0],      true),
            ([0.25, 0.25, 0.25, 0.25],  true),
            ([0.5, 0.0, 0.0, 0.0],      false),
            ([0.6, 0.6, 0.0, 0.0],      false),
            ([1.5, -0.5, 0.0, 0.0],     false),
            ([f64::NAN, 1.0, 0.0, 0.0], false),
        ];
        for (parts, valid) in table {
            assert_eq!(Mix::new(parts).is_some(), valid, "{parts:?}");
        }
    }

    #[test]
    fn the_load_is_linear_and_blind_to_what_is_unknown() {
        #[rustfmt::skip]
        let table = [
            (0.5,      1.0,      Some(0.4 * 0.5 + 0.2)),
            (0.5,      f64::NAN, Some(0.2)),
            (f64::NAN, f64::NAN, None),
        ];
        for (cpu, io, expected) in table {
            let got = Mix::default().load(&sample(1, cpu, io));
            assert_eq!(got.is_some(), expected.is_some());
            let distance = got.unwrap_or(0.0) - expected.unwrap_or(0.0);
            assert!(distance.abs() < 1e-12, "{cpu} {io}: {got:?}");
        }
    }

    #[test]
    fn weights_move_towards_idle_backends_within_their_range() {
        let mut classic = Classic::new(Mix::CPU);
        let samples = BTreeMap::from([
            ("idle", sample(1, 0.0, 0.0)),
            ("busy", sample(1, 1.0, 0.0)),
            ("blind", sample(1, f64::NAN, f64::NAN)),
            ("drained", sample(0, 0.0, 0.0)),
        ]);
        let first = classic.tick(&samples);
        assert!(first["idle"] > first["busy"]);
        assert!(first["busy"] > 60_000, "one step is small: {first:?}");
        let last = (0..1000).map(|_| classic.tick(&samples)).last().unwrap();
        assert_eq!((last["idle"], last["busy"], last["blind"]), (65535, 6554, 6554));
        assert_eq!(last["drained"], 0);
    }

    #[test]
    fn a_backend_that_left_is_forgotten() {
        let mut classic = Classic::new(Mix::CPU);
        let both = BTreeMap::from([(1, sample(1, 0.0, 0.0)), (2, sample(1, 1.0, 0.0))]);
        let one = BTreeMap::from([(2, sample(1, 1.0, 0.0))]);
        for _ in 0..100 {
            classic.tick(&both);
        }
        assert_eq!(classic.tick(&one), BTreeMap::from([(2, 65535)]));
        assert!(classic.tick(&both)[&1] > 60_000);
    }
}
