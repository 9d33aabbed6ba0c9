//! The loads that are scaled for: recorded traces, and flash crowds made from a seed.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use flate2::read::GzDecoder;

use crate::shuffle::Shuffle;

/// Steps of the simulation in a minute.
const STEPS_PER_MINUTE: usize = 4;
const STEP_SECONDS: f64 = 15.0;
const DAY_MINUTES: usize = 24 * 60;
/// Replicas that the largest load of a trace keeps busy.
const PEAK_REPLICAS: f64 = 40.0;
/// Requests a second before a flash crowd, and what a replica can take.
const CALM: f64 = 150.0;
const CROWD_CAPACITY: f64 = 50.0;
/// A crowd is so many times the calm load.
const CROWD: f64 = 12.0;

/// Requests a second in steps of 15 seconds.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) rates: Vec<f64>,
    /// What a replica can take.
    pub(crate) capacity: f64,
    /// The step in which a ramp has reached its top.
    pub(crate) top: Option<usize>,
}

/// Where the traces are unless somebody says otherwise.
pub(crate) fn data_directory() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    std::env::var_os("WEIR_DATA").map_or_else(beside, PathBuf::from)
}

/// Flash crowds: calm, an exponential ramp with a doubling time of 1.5 to 5 minutes, a plateau, a
/// decay at half the pace, calm; with the noise of independent arrivals.
pub(crate) fn flash_crowds(count: usize, seed: u64) -> Vec<Load> {
    let mut random = Shuffle::new(seed);
    let crowd = |_| {
        let doubling_steps = (1.5 + 3.5 * unit(&mut random)) * 60.0 / STEP_SECONDS;
        let ramp = CROWD.log2() * doubling_steps;
        let calm = 20 * STEPS_PER_MINUTE;
        let plateau = 20.0 * 60.0 / STEP_SECONDS;
        let mut rates = vec![CALM; calm];
        let mut at = 0.0;
        while at < ramp + plateau + 2.0 * ramp {
            let doublings = if at < ramp + plateau {
                at.min(ramp) / doubling_steps
            } else {
                (ramp - (at - ramp - plateau) / 2.0) / doubling_steps
            };
            rates.push(CALM * doublings.exp2());
            at += 1.0;
        }
        rates.extend(vec![CALM; calm]);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "some tens of steps"
        )]
        let top = calm + ramp.ceil() as usize;
        let rates = rates.into_iter().map(|rate| noisy(rate, &mut random)).collect();
        Load { rates, capacity: CROWD_CAPACITY, top: Some(top) }
    };
    (0..count).map(crowd).collect()
}

/// A trace that is scaled for.
pub(crate) struct Trace {
    pub(crate) name: &'static str,
    file: &'static str,
    /// The first minute of interest, by the first field of its line; the first line otherwise.
    from: Option<&'static str>,
    /// Minutes over which the counts are averaged.
    smooth: usize,
    /// What the counts are multiplied with.
    times: f64,
}

/// The traces, both for a week.
pub(crate) const TRACES: [Trace; 2] = [
    Trace {
        name: "WorldCup98, 23-29 June",
        file: "wc98_per_minute.csv.gz",
        from: Some("1998-06-23 00:00:00"),
        smooth: 1,
        times: 1.0,
    },
    // At its 48 requests a minute there is nothing to scale: its shape, for a larger site.
    Trace {
        name: "NASA July 95, x100",
        file: "nasa95_per_minute.csv.gz",
        from: None,
        smooth: 5,
        times: 100.0,
    },
];

impl Trace {
    /// The trace from a directory; none if it is not there.
    pub(crate) fn read(&self, data: &Path, days: usize, seed: u64) -> Result<Option<Load>> {
        let path = data.join(self.file);
        if !path.exists() {
            return Ok(None);
        }
        let cannot = || format!("cannot read {}", path.display());
        let file = File::open(&path).with_context(cannot)?;
        let lines = BufReader::new(GzDecoder::new(file)).lines();
        let mut minutes: Vec<(String, f64)> = Vec::new();
        for line in lines.skip(1) {
            let line = line.with_context(cannot)?;
            let (minute, count) = line.split_once(',').with_context(cannot)?;
            let count: f64 = count.trim().parse().with_context(cannot)?;
            match minutes.last_mut() {
                // A minute may have several lines.
                Some((last, sum)) if last == minute => *sum += count,
                Some(_) | None => minutes.push((minute.to_owned(), count)),
            }
        }
        let from = self.from.map_or(Some(0), |from| minutes.iter().position(|(it, _)| it == from));
        let from = from.with_context(|| format!("{} begins later", path.display()))?;
        let counts: Vec<f64> =
            minutes[from..].iter().take(days * DAY_MINUTES).map(|(_, count)| *count).collect();
        Ok(Some(self.load(&counts, seed)))
    }

    fn load(&self, counts: &[f64], seed: u64) -> Load {
        let mut random = Shuffle::new(seed);
        let smooth: Vec<f64> = (0..counts.len())
            .map(|at| {
                let near = &counts[at.saturating_sub(self.smooth - 1)..=at];
                self.times * near.iter().sum::<f64>() / length(near) / 60.0
            })
            .collect();
        let pairs = smooth.windows(2);
        let between = |pair: &[f64]| {
            let (from, to) = (pair[0], pair[1]);
            [0.0, 0.25, 0.5, 0.75].map(|part| (to - from).mul_add(part, from))
        };
        let rates: Vec<f64> =
            pairs.flat_map(between).map(|rate| noisy(rate, &mut random)).collect();
        let peak = rates.iter().copied().fold(0.0, f64::max);
        Load { rates, capacity: peak / PEAK_REPLICAS, top: None }
    }
}

fn length(values: &[f64]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "minutes of a trace")]
    let length = values.len() as f64;
    length
}

/// A number from 0 to 1.
fn unit(random: &mut Shuffle) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits are taken")]
    let unit = (random.next() >> 11) as f64 / (1_u64 << 53) as f64;
    unit
}

/// What a step counts when requests arrive independently at this rate: near enough to normal at
/// hundreds of requests.
fn noisy(rate: f64, random: &mut Shuffle) -> f64 {
    // Box and Muller, "A note on the generation of random normal deviates", 1958.
    let radius = (-2.0 * (1.0 - unit(random)).ln()).sqrt();
    let normal = radius * (std::f64::consts::TAU * unit(random)).cos();
    (rate + normal * (rate / STEP_SECONDS).sqrt()).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crowds_are_those_of_their_seed() {
        let [one, again, other] = [1, 1, 2].map(|seed| flash_crowds(3, seed));
        for (a, b) in one.iter().zip(&again) {
            assert_eq!(a.rates, b.rates);
        }
        assert_ne!(one[0].rates, other[0].rates);
        assert_ne!(one[0].rates.len(), one[1].rates.len());
    }

    #[test]
    fn a_crowd_is_twelve_times_the_calm() {
        for crowd in flash_crowds(12, 7) {
            let top = crowd.top.unwrap();
            let around = |at: usize| crowd.rates[at..at + 20].iter().sum::<f64>() / 20.0;
            assert!((around(0) / CALM - 1.0).abs() < 0.05);
            assert!((around(top) / CALM - CROWD).abs() < 0.2, "{}", around(top));
            assert!(crowd.rates[top - 10] < 0.95 * around(top));
            let minutes = (top - 80) / STEPS_PER_MINUTE;
            assert!((5..=18).contains(&minutes), "{minutes}");
            assert!((around(crowd.rates.len() - 20) / CALM - 1.0).abs() < 0.05);
        }
    }

    #[test]
    fn minutes_become_steps() {
        let trace = Trace { smooth: 2, times: 60.0 * 100.0, ..TRACES[1] };
        let load = trace.load(&[1.0, 3.0, 3.0], 1);
        assert_eq!(load.rates.len(), 8);
        for (rate, expected) in load.rates.iter().zip([100.0, 125.0, 150.0, 175.0, 200.0]) {
            assert!((rate - expected).abs() < 20.0, "{rate} {expected}");
        }
        let peak = load.rates.iter().copied().fold(0.0, f64::max);
        assert!((load.capacity * PEAK_REPLICAS - peak).abs() < 1e-9);
    }

    #[test]
    fn a_day_of_a_trace_has_all_its_steps() {
        for trace in &TRACES {
            let Some(load) = trace.read(&data_directory(), 1, 1).unwrap() else {
                println!("skipped: no {} in {}", trace.file, data_directory().display());
                continue;
            };
            assert_eq!(load.rates.len(), (DAY_MINUTES - 1) * STEPS_PER_MINUTE, "{}", trace.name);
            assert!(load.rates.iter().all(|rate| rate.is_finite() && *rate >= 0.0));
        }
    }

    #[test]
    fn a_trace_that_is_not_there_is_none() {
        for trace in &TRACES {
            assert!(trace.read(Path::new("/nowhere"), 7, 1).unwrap().is_none());
        }
    }
}
