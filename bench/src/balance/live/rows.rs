//! What is to be reached, a row a comparison. A ratio is of two runs of the same round: the same
//! requests at the same moments.

use super::{
    Results,
    experiments::{Experiment, FAILING, Setting, WAITING_FROM},
    record::Figures,
    run::Run,
    watch::Tick,
    way::Way,
};
use crate::{
    balance::sim::distance,
    report::{Bar, Better, Row},
};

const fn at_most(must: f64) -> Bar {
    Bar { better: Better::Lower, must: Some(must), aim: None }
}

const fn at_least(must: f64) -> Bar {
    Bar { better: Better::Higher, must: Some(must), aim: None }
}

type Value = fn(&Run, &Setting) -> f64;

/// All rows of what was measured.
pub(super) fn rows(results: &Results) -> Vec<Row> {
    use Experiment::{E1, E2, E3, E4, E5, E6, E7, E8};
    use Way::{
        Adaptive, AdaptiveBlind, AdaptiveMaglev, Classic, LeastConnections, Maglev, P2c,
        RoundRobin, Weighted, WeightedLeastConnections,
    };
    let ratio = |experiment: Experiment, name: &str, value: Value, of: Way, by: Way, bar| {
        let what = format!("{name}: {} / {}", of.name(), by.name());
        let [of, by] = [of, by].map(|way| results.values(experiment, way, value));
        Row::quotient(experiment.id(), what, &of, &by, bar)
    };
    let one = |experiment: Experiment, what: &str, way: Way, value: Value, bar| {
        let what = format!("{what}: {}", way.name());
        Row::new(experiment.id(), what, &results.values(experiment, way, value), bar)
    };
    let against = |experiment, of, by, bar| ratio(experiment, "p99", p99, of, by, bar);
    [
        ratio(E1, "requests/s", rate, Adaptive, RoundRobin, Some(at_least(2.0))),
        ratio(E1, "requests/s", rate, Adaptive, Weighted, Some(at_least(1.0))),
        ratio(E1, "requests/s", rate, Adaptive, LeastConnections, None),
        ratio(E1, "requests/s", rate, Adaptive, P2c, None),
        against(E2, Adaptive, LeastConnections, Some(at_most(0.85))),
        against(E2, Adaptive, P2c, Some(at_most(0.55))),
        against(E2, Adaptive, WeightedLeastConnections, Some(at_most(0.9))),
        against(E2, Adaptive, Weighted, None),
        against(E2, Adaptive, Classic, None),
        against(E2, AdaptiveBlind, LeastConnections, None),
        against(E2, AdaptiveMaglev, Weighted, None),
        ratio(E2, "mean", mean, Adaptive, LeastConnections, Some(at_most(1.0))),
        against(E3, Weighted, Adaptive, Some(at_least(10.0))),
        against(E3, Adaptive, WeightedLeastConnections, Some(at_most(1.0))),
        one(E3, "s until capacities are right again", Adaptive, settling_s, Some(at_most(12.0))),
        against(E4, Adaptive, LeastConnections, Some(at_most(0.4))),
        against(E4, Adaptive, P2c, None),
        against(E5, Classic, Adaptive, Some(at_least(10.0))),
        against(E5, Classic, AdaptiveBlind, None),
        against(E5, Adaptive, LeastConnections, None),
        one(E5, "share of classes that are right", Adaptive, right_classes, Some(at_least(0.9))),
        ratio(E6, "failed", failed, Adaptive, LeastConnections, Some(at_most(0.25))),
        one(
            E6,
            "s until the failing backend is ejected",
            Adaptive,
            ejection_s,
            Some(at_most(10.0)),
        ),
        one(E7, "broken connections of 5,000", Maglev, broken, Some(at_most(0.0))),
        one(E8, "requests lost, % of all", Adaptive, lost_percent, Some(at_most(0.0))),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn figure(run: &Run, setting: &Setting, of: fn(&Figures) -> f64) -> f64 {
    run.figures(setting).as_ref().map_or(f64::NAN, of)
}

pub(super) fn p99(run: &Run, setting: &Setting) -> f64 {
    figure(run, setting, |figures| figures.p99_ms)
}

pub(super) fn p50(run: &Run, setting: &Setting) -> f64 {
    figure(run, setting, |figures| figures.p50_ms)
}

pub(super) fn mean(run: &Run, setting: &Setting) -> f64 {
    figure(run, setting, |figures| figures.mean_ms)
}

pub(super) fn failed(run: &Run, setting: &Setting) -> f64 {
    figure(run, setting, |figures| figures.failed_share)
}

pub(super) fn rate(run: &Run, _: &Setting) -> f64 {
    run.requests_per_s.unwrap_or(f64::NAN)
}

/// Capacities are right when what would have to move to the true ones is less, over five seconds.
const SETTLED: f64 = 0.10;
const SETTLED_TICKS: usize = 10;

fn settling_s(run: &Run, setting: &Setting) -> f64 {
    let Some(slow) = setting.slow else { return f64::NAN };
    let right = setting.right_parts();
    let during = |tick: &&Tick| tick.at_s >= slow.from_s && tick.at_s < slow.to_s;
    let during: Vec<&Tick> = run.ticks.iter().filter(during).collect();
    let off = |ticks: &[&Tick]| {
        let sum: f64 = ticks.iter().map(|tick| distance(&tick.parts, &right)).sum();
        sum / share_of(SETTLED_TICKS)
    };
    let settled = during.windows(SETTLED_TICKS).find(|ticks| off(ticks) <= SETTLED);
    settled.map_or(f64::INFINITY, |ticks| ticks[0].at_s - slow.from_s)
}

fn right_classes(run: &Run, setting: &Setting) -> f64 {
    let later = run.ticks.iter().filter(|tick| tick.at_s >= setting.warm_up_s);
    let classes = later.flat_map(|tick| tick.classes.iter().enumerate());
    let verdicts: Vec<bool> = classes
        .map(|(backend, class)| match class.as_str() {
            "io" | "latency-bound" => backend >= WAITING_FROM,
            "cpu" => backend < WAITING_FROM,
            _ => false,
        })
        .collect();
    share_of(verdicts.iter().filter(|right| **right).count()) / share_of(verdicts.len())
}

fn ejection_s(run: &Run, _: &Setting) -> f64 {
    let ejected = |tick: &&Tick| tick.ejected.get(FAILING).is_some_and(|ejected| *ejected);
    run.ticks.iter().find(ejected).map_or(f64::INFINITY, |tick| tick.at_s)
}

fn broken(run: &Run, _: &Setting) -> f64 {
    share_of(run.records.iter().filter(|record| !record.is_answered()).count())
}

fn lost_percent(run: &Run, setting: &Setting) -> f64 {
    100.0 * broken(run, setting) / share_of(run.records.len())
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn share_of(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(at_s: f64, parts: [f64; 6]) -> Tick {
        let classes = ["cpu", "cpu", "cpu", "light", "io", "cpu"].map(String::from);
        Tick { at_s, parts: parts.into(), classes: classes.into(), ejected: vec![at_s > 7.0; 6] }
    }

    fn run(ticks: Vec<Tick>) -> Run {
        Run { records: Vec::new(), ticks, requests_per_s: None }
    }

    #[test]
    fn capacities_settle_when_they_stay_right() {
        let setting = Experiment::E3.setting();
        let right: [f64; 6] = setting.right_parts().try_into().unwrap();
        let wrong = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let seen = |settles_at_s: f64| {
            let at = |half: u32| 0.5 * f64::from(half);
            let tick = |at_s| tick(at_s, if at_s < settles_at_s { wrong } else { right });
            run((0..120).map(|half| tick(at(half))).collect())
        };
        // One wrong tick in ten does not matter much, two do.
        let settled = settling_s(&seen(26.0), &setting);
        assert!((5.0..=6.0).contains(&settled), "{settled}");
        assert!(settling_s(&seen(99.0), &setting).is_infinite());
        assert!(settling_s(&seen(26.0), &Experiment::E2.setting()).is_nan());
    }

    #[test]
    fn classes_and_ejection_are_read_from_what_the_daemon_says() {
        let setting = Experiment::E5.setting();
        let run = run((0..80).map(|second| tick(f64::from(second), [0.1; 6])).collect());
        // The fourth is no cpu, the sixth waits for a device.
        assert!((right_classes(&run, &setting) - 4.0 / 6.0).abs() < 1e-9);
        assert!((ejection_s(&run, &setting) - 8.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_measured_is_no_row() {
        assert!(rows(&Results::default()).is_empty());
    }
}
