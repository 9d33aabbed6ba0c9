//! One step at a time: where one more replica goes while all others stay.

use super::{
    Reason,
    problem::{Homes, Problem},
    reasons::reason,
    state::{State, Step},
};

/// Objectives that differ by less are the same: sums have been rounded.
pub const SAME: f64 = 1e-9;

/// The node on which a replica without a place leaves the lowest objective, the first of equals; or
/// what keeps it from all nodes. The others stay, even where they are more than a node has.
pub fn next(problem: &Problem, homes: &Homes, item: usize) -> Result<usize, Reason> {
    let state = State::from_homes(problem, homes);
    let allowed = (0..problem.nodes()).filter(|&node| state.allows(Step::Put { item, node }));
    let objective = |node| state.objective_after(Step::Put { item, node });
    let best = allowed.map(|node| (node, objective(node))).reduce(lower);
    best.map(|(node, _)| node).ok_or_else(|| reason(&state, item))
}

fn lower(best: (usize, f64), other: (usize, f64)) -> (usize, f64) {
    if other.1 < best.1 - SAME { other } else { best }
}
