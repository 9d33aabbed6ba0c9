//! The objective: what makes one placement better than another.
//!
//! With `u_kd` the utilisation of node `k` in dimension `d`:
//!
//! ```text
//! F = mean_d std_k(u_kd) + 1/2 mean_k |u_k,cpu - u_k,memory|/2 + 1/10 max u + 1/2 A + 1/20 unplaced
//! ```
//!
//! `A` is the mean, over the services, of the share of its replicas on its fullest node less the
//! least share possible: what the loss of one node costs beyond need. Standard deviations are those
//! of a population. A service with replicas unplaced could have a share below the least one; it
//! counts as 0, or leaving replicas out would pay.
//!
//! Placements are compared by the number of unplaced replicas before `F`: an empty cluster is
//! perfectly balanced.

use std::cmp::Ordering;

use serde::Serialize;

use super::{
    amount::{DIMENSIONS, Dimension, count},
    problem::{Homes, Problem},
};

/// Weight of the gap between processor and memory.
const GAP_WEIGHT: f64 = 0.5;
/// Weight of the fullest node.
const PEAK_WEIGHT: f64 = 0.1;
/// Weight of what the loss of one node costs.
const CONCENTRATION_WEIGHT: f64 = 0.5;
/// Weight of each replica that has no place.
const UNPLACED_WEIGHT: f64 = 0.05;

/// The objective by term, before their weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Score {
    /// Standard deviation of the nodes' utilisation, mean over the dimensions.
    pub deviation: f64,
    /// Half the difference of processor and memory utilisation, mean over the nodes.
    pub gap: f64,
    /// The highest utilisation.
    pub peak: f64,
    /// `A`.
    pub concentration: f64,
    /// Replicas without a place.
    pub unplaced: usize,
}

impl Score {
    /// `F`.
    #[must_use]
    pub fn objective(&self) -> f64 {
        self.terms().iter().map(|(_, _, weighted)| weighted).sum()
    }

    /// Each term: its name, its value, and what it adds to the objective.
    #[must_use]
    pub fn terms(&self) -> [(&'static str, f64, f64); 5] {
        let term = |name, value: f64, weight: f64| (name, value, value * weight);
        [
            term("deviation", self.deviation, 1.0),
            term("gap", self.gap, GAP_WEIGHT),
            term("peak", self.peak, PEAK_WEIGHT),
            term("concentration", self.concentration, CONCENTRATION_WEIGHT),
            term("unplaced", count(self.unplaced), UNPLACED_WEIGHT),
        ]
    }

    /// Which is better, the lesser one: fewer unplaced replicas, then the lower objective.
    #[must_use]
    pub fn order(&self, other: &Self) -> Ordering {
        let objectives = || self.objective().total_cmp(&other.objective());
        self.unplaced.cmp(&other.unplaced).then_with(objectives)
    }

    /// Whether it is better.
    #[must_use]
    pub fn beats(&self, other: &Self) -> bool {
        self.order(other) == Ordering::Less
    }
}

/// The score of a placement, by its definition.
#[must_use]
pub fn score(problem: &Problem, homes: &Homes) -> Score {
    let used = problem.used(homes);
    let utilisation = |(node, used)| problem.utilisation(node, used);
    let loads: Vec<[f64; DIMENSIONS]> = used.iter().enumerate().map(utilisation).collect();
    let deviations =
        problem.dimensions.iter().map(|&d| deviation(loads.iter().map(move |it| it[d])));
    let peak = loads.iter().flatten().copied().fold(0.0, f64::max);
    Score {
        deviation: deviations.sum::<f64>() / count(problem.dimensions.len()),
        gap: loads.iter().map(gap).sum::<f64>() / count(loads.len()),
        peak,
        concentration: concentration(problem, homes),
        unplaced: homes.iter().filter(|home| home.is_none()).count(),
    }
}

/// Half the difference of processor and memory utilisation of a node.
pub(super) fn gap(load: &[f64; DIMENSIONS]) -> f64 {
    (load[Dimension::Cpu.index()] - load[Dimension::Memory.index()]).abs() / 2.0
}

/// What the fullest node adds to `A`, not yet divided by the number of services.
pub(super) fn excess(fullest: u32, replicas: usize, share_min: f64) -> f64 {
    (f64::from(fullest) / count(replicas) - share_min).max(0.0)
}

fn deviation(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let number = count(values.clone().count());
    let mean = values.clone().sum::<f64>() / number;
    (values.map(|value| (value - mean) * (value - mean)).sum::<f64>() / number).sqrt()
}

fn concentration(problem: &Problem, homes: &Homes) -> f64 {
    let nodes = problem.machines.len();
    let mut counts = vec![0_u32; problem.services.len() * nodes];
    for (item, home) in homes.iter().enumerate() {
        if let Some(node) = home {
            counts[problem.class(item).service * nodes + node] += 1;
        }
    }
    let shares = problem.services.iter().zip(counts.chunks(nodes)).map(|(service, counts)| {
        let fullest = counts.iter().copied().max().unwrap_or(0);
        excess(fullest, service.replicas, service.share_min)
    });
    shares.sum::<f64>() / count(problem.services.len())
}
