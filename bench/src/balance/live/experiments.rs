//! The experiments: what happens to the backends, what is sent, and who is compared.

use std::time::Duration;

use clap::ValueEnum;

use super::{
    arrivals::{KEPT, Kind, MANY, SHORT},
    way::Way,
};
use crate::balance::sim::SPEEDS;

/// An experiment; bench/README.md tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Experiment {
    /// The most requests a second within a bound of latency
    E1,
    /// Latency at 70 % of what the backends can do
    E2,
    /// A backend loses 70 % of its speed for a while
    E3,
    /// Few busy connections among many idle ones
    E4,
    /// Two backends wait for a device
    E5,
    /// A backend fails half of its requests, fast
    E6,
    /// New weights every second under 5,000 connections
    E7,
    /// The controller dies
    E8,
}

impl Experiment {
    pub(super) const ALL: [Self; 8] =
        [Self::E1, Self::E2, Self::E3, Self::E4, Self::E5, Self::E6, Self::E7, Self::E8];

    pub(super) const fn id(self) -> &'static str {
        match self {
            Self::E1 => "E1",
            Self::E2 => "E2",
            Self::E3 => "E3",
            Self::E4 => "E4",
            Self::E5 => "E5",
            Self::E6 => "E6",
            Self::E7 => "E7",
            Self::E8 => "E8",
        }
    }

    pub(super) const fn ways(self) -> &'static [Way] {
        use Way::{
            Adaptive, AdaptiveBlind, AdaptiveMaglev, Classic, LeastConnections, Maglev, P2c,
            RoundRobin, Weighted, WeightedLeastConnections,
        };
        match self {
            Self::E1 => &[RoundRobin, Weighted, LeastConnections, P2c, Adaptive],
            Self::E2 => &[
                Weighted,
                LeastConnections,
                WeightedLeastConnections,
                P2c,
                Classic,
                AdaptiveMaglev,
                AdaptiveBlind,
                Adaptive,
            ],
            Self::E3 => &[Weighted, WeightedLeastConnections, Adaptive],
            Self::E4 | Self::E6 => &[LeastConnections, P2c, Adaptive],
            Self::E5 => &[Classic, LeastConnections, AdaptiveBlind, Adaptive],
            Self::E7 => &[Maglev],
            Self::E8 => &[Adaptive],
        }
    }

    pub(super) fn setting(self) -> Setting {
        let base = Setting::default();
        match self {
            Self::E1 => Setting { seconds: 12.0, warm_up_s: 3.0, ..base },
            Self::E2 => base,
            Self::E3 => {
                let slow = Slow { backend: 0, factor: 0.3, from_s: 20.0, to_s: 50.0 };
                Setting { seconds: 60.0, warm_up_s: 10.0, slow: Some(slow), ..base }
            }
            Self::E4 => Setting { kinds: KEPT, seconds: 35.0, warm_up_s: 15.0, ..base },
            Self::E5 => Setting { seconds: 60.0, warm_up_s: 30.0, device: true, ..base },
            Self::E6 => Setting { seconds: 40.0, warm_up_s: 0.0, failing: true, ..base },
            Self::E7 => Setting {
                kinds: MANY,
                // 5,000 connections come in the first five seconds.
                load: Load::PerSecond(8_000.0),
                arrive_s: Some(5.0),
                warm_up_s: 0.0,
                reweigh: true,
                ..base
            },
            Self::E8 => Setting {
                load: Load::Part(0.5),
                seconds: 40.0,
                warm_up_s: 8.0,
                dies_at_s: Some(15.0),
                ..base
            },
        }
    }
}

/// How much is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Load {
    /// A part of what the backends can do.
    Part(f64),
    /// Requests.
    PerSecond(f64),
}

/// A backend does less for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Slow {
    pub(crate) backend: usize,
    /// What is left of its speed.
    pub(crate) factor: f64,
    pub(crate) from_s: f64,
    pub(crate) to_s: f64,
}

/// What an experiment does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Setting {
    pub(crate) load: Load,
    pub(crate) kinds: &'static [Kind],
    pub(crate) seconds: f64,
    /// Connections come only so long, where they are to live longer.
    pub(crate) arrive_s: Option<f64>,
    /// What was due before does not count.
    pub(crate) warm_up_s: f64,
    pub(crate) slow: Option<Slow>,
    /// The two slowest backends wait for a device most of their time.
    pub(crate) device: bool,
    /// The third backend fails half of its requests.
    pub(crate) failing: bool,
    /// Weights change every second.
    pub(crate) reweigh: bool,
    /// When the daemon is killed.
    pub(crate) dies_at_s: Option<f64>,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            load: Load::Part(0.7),
            kinds: SHORT,
            seconds: 30.0,
            arrive_s: None,
            warm_up_s: 10.0,
            slow: None,
            device: false,
            failing: false,
            reweigh: false,
            dies_at_s: None,
        }
    }
}

/// What part of its work a backend that waits for a device does on its CPU.
const CPU_PART: f64 = 0.15;
/// The backend that fails.
pub(super) const FAILING: usize = 2;
/// The first of the backends that wait for a device.
pub(super) const WAITING_FROM: usize = 4;

impl Setting {
    /// The same in a few seconds, to see whether it works at all.
    pub(super) fn quick(self) -> Self {
        let slow = self.slow.map(|slow| Slow { from_s: 2.0, to_s: 4.0, ..slow });
        Self {
            seconds: 6.0,
            warm_up_s: self.warm_up_s.min(1.0),
            arrive_s: self.arrive_s.map(|_| 2.0),
            slow,
            dies_at_s: self.dies_at_s.map(|_| 2.0),
            ..self
        }
    }

    /// Requests a second.
    pub(super) fn requests_per_s(&self) -> f64 {
        match self.load {
            Load::Part(part) => part * super::site::capacity(),
            Load::PerSecond(rate) => rate,
        }
    }

    /// What was due from then on counts.
    pub(super) fn counts_from(&self) -> Duration {
        Duration::from_secs_f64(self.warm_up_s)
    }

    /// Options of a backend that may use so much of a CPU. A device is as fast as the CPU would be:
    /// what the backend can do stays the same, but for what limits it.
    pub(super) fn work_of(&self, backend: usize, cpus: f64) -> Vec<String> {
        let mut options = Vec::new();
        if self.device && backend >= WAITING_FROM {
            let device = (1.0 - CPU_PART) / cpus;
            options.extend(["--cpu".into(), CPU_PART.to_string()]);
            options.extend(["--device".into(), device.to_string()]);
        }
        if self.failing && backend == FAILING {
            options.extend(["--fail".into(), "0.5".into()]);
        }
        options
    }

    /// What each backend can do, of all that they can do, while one of them is slow.
    pub(super) fn right_parts(&self) -> Vec<f64> {
        let mut speeds = SPEEDS;
        if let Some(slow) = self.slow {
            speeds[slow.backend] *= slow.factor;
        }
        crate::balance::sim::parts(&speeds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adaptive_is_compared_wherever_policies_are() {
        for experiment in Experiment::ALL {
            let ways = experiment.ways();
            let alone = ways.len() == 1;
            assert!(alone || ways.contains(&Way::Adaptive), "{experiment:?}");
            let setting = experiment.setting();
            assert!(setting.warm_up_s < setting.seconds, "{experiment:?}");
            let quick = setting.quick();
            assert!(quick.warm_up_s < quick.seconds && quick.seconds < setting.seconds);
        }
    }

    #[test]
    fn what_happens_to_backends_is_told_to_them() {
        let disk = Experiment::E5.setting();
        assert!(disk.work_of(3, 0.1).is_empty());
        assert_eq!(disk.work_of(4, 0.05), ["--cpu", "0.15", "--device", "17"]);
        let sinkhole = Experiment::E6.setting();
        assert_eq!(sinkhole.work_of(FAILING, 0.1), ["--fail", "0.5"]);
        assert!(sinkhole.work_of(1, 0.2).is_empty());
    }
}
