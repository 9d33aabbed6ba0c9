//! The experiments, what is measured in them, and what is to be reached.

use std::collections::BTreeMap;

use lb_userspace::load::{Class, sample::Resource};
use serde::Serialize;

use crate::{
    balance::sim::{
        Change, Outcome, Policy, SPEEDS, Scenario, ServerSpec, Trace, distance, parts, simulate,
    },
    report::{Bar, Better, Row},
};

/// What all policies are measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Setting {
    Load40,
    Load70,
    Load85,
    Load93,
    Antagonist,
    KeepAlive,
    Disk,
    Sinkhole,
    Lines,
}

impl Setting {
    const ALL: [Self; 9] = [
        Self::Load40,
        Self::Load70,
        Self::Load85,
        Self::Load93,
        Self::Antagonist,
        Self::KeepAlive,
        Self::Disk,
        Self::Sinkhole,
        Self::Lines,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Load40 => "load 40 %",
            Self::Load70 => "load 70 %",
            Self::Load85 => "load 85 %",
            Self::Load93 => "load 93 %",
            Self::Antagonist => "antagonist",
            Self::KeepAlive => "keep-alive",
            Self::Disk => "disk",
            Self::Sinkhole => "sinkhole",
            Self::Lines => "lines",
        }
    }

    fn scenario(self) -> Scenario {
        match self {
            Self::Load40 => Scenario::unequal(0.4),
            Self::Load70 => Scenario::unequal(0.7),
            Self::Load85 => Scenario::unequal(0.85),
            Self::Load93 => Scenario::unequal(0.93),
            Self::Antagonist => Scenario::antagonist(),
            Self::KeepAlive => Scenario::keep_alive(),
            Self::Disk => Scenario::disk(),
            Self::Sinkhole => Scenario::sinkhole(),
            Self::Lines => Scenario::lines(),
        }
    }
}

/// What one simulation says.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Figures {
    p50_ms: f64,
    p99_ms: f64,
    mean_ms: f64,
    error_share: f64,
    /// Only at a load of 70 %: the most requests a second within the bound of latency.
    throughput: Option<f64>,
}

impl Figures {
    fn of(outcome: &Outcome) -> Self {
        Self {
            p50_ms: outcome.quantile_ms(0.5),
            p99_ms: outcome.quantile_ms(0.99),
            mean_ms: outcome.mean_ms(),
            error_share: outcome.error_share(),
            throughput: None,
        }
    }
}

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    P99(Setting),
    Mean(Setting),
    Errors,
    Throughput,
}

impl Column {
    pub(crate) const ALL: [Self; 11] = [
        Self::P99(Setting::Load40),
        Self::P99(Setting::Load70),
        Self::P99(Setting::Load85),
        Self::P99(Setting::Load93),
        Self::P99(Setting::Antagonist),
        Self::P99(Setting::KeepAlive),
        Self::P99(Setting::Disk),
        Self::P99(Setting::Lines),
        Self::P99(Setting::Sinkhole),
        Self::Errors,
        Self::Throughput,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::P99(Setting::Load40) => "40 %",
            Self::P99(Setting::Load70) => "70 % E2",
            Self::P99(Setting::Load85) => "85 %",
            Self::P99(Setting::Load93) => "93 %",
            Self::P99(Setting::Antagonist) => "E3",
            Self::P99(Setting::KeepAlive) => "E4",
            Self::P99(Setting::Disk) => "E5",
            Self::P99(Setting::Sinkhole) => "E6",
            Self::P99(Setting::Lines) => "lines",
            Self::Mean(_) => "mean",
            Self::Errors => "errors",
            Self::Throughput => "E1",
        }
    }

    /// A figure in three to five characters.
    pub(crate) fn text(self, value: f64) -> String {
        match self {
            Self::Errors => format!("{:.1}%", 100.0 * value),
            Self::P99(_) | Self::Mean(_) if value >= 10_000.0 => format!("{:.0}k", value / 1e3),
            Self::P99(_) | Self::Mean(_) | Self::Throughput => format!("{value:.0}"),
        }
    }
}

/// Everything measured so far, a value a seed.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    figures: BTreeMap<(Policy, Setting), Vec<Figures>>,
}

impl Measured {
    /// Measures a policy in all settings.
    pub(crate) fn policy(&mut self, policy: Policy, seeds: &[u64]) {
        for setting in Setting::ALL {
            let scenario = setting.scenario();
            let figures = seeds.iter().map(|seed| {
                let mut figures = Figures::of(&simulate(&scenario, policy, *seed));
                if setting == Setting::Load70 {
                    figures.throughput = Some(throughput(policy, *seed));
                }
                figures
            });
            self.figures.insert((policy, setting), figures.collect());
        }
    }

    /// The figures of a policy by setting.
    pub(crate) fn of(&self, policy: Policy) -> impl Iterator<Item = (&'static str, &[Figures])> {
        let all = self.figures.iter().filter(move |((of, _), _)| *of == policy);
        all.map(|((_, setting), figures)| (setting.name(), figures.as_slice()))
    }

    /// What a column shows of a policy.
    pub(crate) fn values(&self, policy: Policy, column: Column) -> Vec<f64> {
        let figures = |setting| self.figures.get(&(policy, setting)).map_or(&[][..], Vec::as_slice);
        match column {
            Column::P99(setting) => figures(setting).iter().map(|it| it.p99_ms).collect(),
            Column::Mean(setting) => figures(setting).iter().map(|it| it.mean_ms).collect(),
            Column::Errors => figures(Setting::Sinkhole).iter().map(|it| it.error_share).collect(),
            Column::Throughput => {
                figures(Setting::Load70).iter().filter_map(|it| it.throughput).collect()
            }
        }
    }
}

/// The bound is ten times the 99th percentile of what round-robin shows without load.
const BOUND: f64 = 10.0;

/// Requests a second at the highest load whose 99th percentile stays within the bound.
fn throughput(policy: Policy, seed: u64) -> f64 {
    let p99 = |policy, load| {
        let scenario = Scenario { seconds: 160.0, warm_up_s: 40.0, ..Scenario::unequal(load) };
        simulate(&scenario, policy, seed).quantile_ms(0.99)
    };
    let bound = BOUND * p99(Policy::RoundRobin, 0.02);
    let (mut low, mut high) = (0.05, 1.05);
    for _ in 0..8 {
        let middle = f64::midpoint(low, high);
        if p99(policy, middle) <= bound {
            low = middle;
        } else {
            high = middle;
        }
    }
    Scenario::unequal(low).connections_per_s()
}

const fn at_most(must: f64) -> Bar {
    Bar { better: Better::Lower, must: Some(must), aim: None }
}

const fn at_least(must: f64) -> Bar {
    Bar { better: Better::Higher, must: Some(must), aim: None }
}

/// What is to be reached, a row a comparison.
pub(crate) fn target_rows(measured: &Measured) -> Vec<Row> {
    use Column::{Errors, Mean, P99, Throughput};
    use Policy::{
        Adaptive, AdaptiveCpu, AdaptiveOne, AdaptiveQueue, ClassicCpu, LeastConnections,
        LeastInFlight, Oracle, P2c, RoundRobin, ShortestDelay, Weighted, WeightedLeastConnections,
    };
    let ratio = |id, column, of: Policy, by: Policy, bar| {
        let what = format!("{} / {}", of.name(), by.name());
        Row::quotient(id, what, &measured.values(of, column), &measured.values(by, column), bar)
    };
    let errors = measured.values(Adaptive, Errors).iter().map(|it| 100.0 * it).collect::<Vec<_>>();
    let (load, slow) = (P99(Setting::Load70), P99(Setting::Antagonist));
    [
        ratio("E1", Throughput, Adaptive, RoundRobin, Some(at_least(2.1))),
        ratio("E1", Throughput, Adaptive, Oracle, Some(at_least(0.97))),
        ratio("E1", Throughput, Adaptive, Weighted, Some(at_least(1.0))),
        ratio("E2", load, Adaptive, LeastConnections, Some(at_most(0.80))),
        ratio("E2", load, Adaptive, P2c, Some(at_most(0.45))),
        ratio("E2", load, Adaptive, WeightedLeastConnections, None),
        ratio("E2", load, Adaptive, ShortestDelay, None),
        ratio("E2", load, Adaptive, Oracle, Some(at_most(1.05))),
        ratio("E2", load, Adaptive, AdaptiveOne, None),
        ratio("E2m", Mean(Setting::Load70), Adaptive, LeastConnections, Some(at_most(1.0))),
        ratio("E3", slow, Weighted, Adaptive, Some(at_least(50.0))),
        ratio("E3", slow, Adaptive, WeightedLeastConnections, Some(at_most(1.0))),
        ratio("E4", P99(Setting::KeepAlive), Adaptive, LeastConnections, Some(at_most(0.25))),
        ratio("E4", P99(Setting::KeepAlive), Adaptive, LeastInFlight, Some(at_most(0.85))),
        ratio("E5", P99(Setting::Disk), Adaptive, Oracle, Some(at_most(1.15))),
        ratio("E5", P99(Setting::Disk), AdaptiveCpu, Oracle, Some(at_most(1.15))),
        ratio("E5", P99(Setting::Disk), AdaptiveQueue, Oracle, None),
        ratio("E5", P99(Setting::Disk), ClassicCpu, Adaptive, Some(at_least(10.0))),
        Row::new("E6", "adaptive: failed requests, %", &errors, Some(at_most(0.5))),
        ratio("E6", Errors, Adaptive, LeastConnections, Some(at_most(0.25))),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Share of ticks and backends, after half a minute, in which the class is what it should be.
pub(crate) fn class_row(policy: Policy, slow: Class, seeds: &[u64]) -> Option<Row> {
    let right = |seed: &u64| {
        let trace = simulate(&Scenario::disk(), policy, *seed).trace;
        let classes = trace.iter().filter(|tick| tick.at_s >= 30.0).map(|tick| &tick.classes);
        // Servers 4 and 5 wait for their disk, the others compute.
        let verdicts = classes.flat_map(|classes| classes.iter().enumerate());
        let verdicts: Vec<bool> = verdicts
            .map(|(server, class)| {
                *class == if server >= 4 { slow } else { Class::Bound(Resource::Cpu) }
            })
            .collect();
        let right = verdicts.iter().filter(|right| **right).count();
        share(right, verdicts.len())
    };
    let shares: Vec<f64> = seeds.iter().map(right).collect();
    Row::new(
        "E5",
        format!("{}: classes that are right", policy.name()),
        &shares,
        Some(at_least(0.9)),
    )
}

#[expect(clippy::cast_precision_loss, reason = "counts of ticks")]
fn share(of: usize, all: usize) -> f64 {
    of as f64 / all as f64
}

/// Seconds until the server that fails gets nothing.
pub(crate) fn ejection_row(seeds: &[u64]) -> Option<Row> {
    let until = |seed: &u64| {
        let trace = simulate(&Scenario::sinkhole(), Policy::Adaptive, *seed).trace;
        trace.iter().find(|tick| tick.closed[2]).map_or(f64::INFINITY, |tick| tick.at_s)
    };
    let seconds: Vec<f64> = seeds.iter().map(until).collect();
    Row::new("E6", "s until the failing server is ejected", &seconds, Some(at_most(10.0)))
}

/// Seconds until capacities are right after a start or a step, by seed.
pub(crate) fn settling_rows(seeds: u64, first: u64) -> Vec<Row> {
    let settled = |load, step| {
        let all = (first..first.saturating_add(seeds)).map(|seed| settling_s(load, step, seed));
        all.collect::<Vec<f64>>()
    };
    let worst = |values: &[f64]| vec![values.iter().copied().fold(0.0, f64::max)];
    let row =
        |what, load, step| Row::new("E3", what, &worst(&settled(load, step)), Some(at_most(12.0)));
    [
        row("s to settle from equal weights, load 50 %, worst seed", 0.5, None),
        row("s to settle from equal weights, load 80 %, worst seed", 0.8, None),
        row("s to settle after a step, load 50 %, worst seed", 0.5, Some(60.0)),
        row("s to settle after a step, load 80 %, worst seed", 0.8, Some(60.0)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Capacities are right when what would have to move to the true ones, over five ticks, is less.
const SETTLED: f64 = 0.10;
const STEPPED: f64 = 0.4;

/// Seconds from the start, or from the step of the first server, until capacities are right.
pub(crate) fn settling_s(load: f64, step_at_s: Option<f64>, seed: u64) -> f64 {
    let changes = step_at_s.map(|at_s| Change { at_s, server: 0, speed: STEPPED });
    let scenario = Scenario {
        servers: SPEEDS.map(ServerSpec::of_speed).to_vec(),
        changes: changes.into_iter().collect(),
        seconds: 120.0,
        ..Scenario::unequal(load)
    };
    let outcome = simulate(&scenario, Policy::Adaptive, seed);
    let mut speeds = SPEEDS;
    if step_at_s.is_some() {
        speeds[0] = STEPPED;
    }
    let right = parts(&speeds);
    let since_s = step_at_s.unwrap_or(0.0);
    let after: Vec<_> = outcome.trace.iter().filter(|tick| tick.at_s > since_s).collect();
    let off = |ticks: &[&_]| {
        let all = ticks.iter().map(|tick: &&Trace| distance(&tick.parts, &right));
        all.sum::<f64>() / 5.0
    };
    let settled = after.windows(5).find(|ticks| off(ticks) <= SETTLED);
    settled.map_or(f64::INFINITY, |ticks| ticks[0].at_s - since_s)
}
