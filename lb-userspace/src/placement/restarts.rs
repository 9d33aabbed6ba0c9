//! Local search alone, given the same time: worst fit, then down; then the same from worst fit in
//! random order, as often as the budget allows.

use super::{
    baselines,
    local_search::{descend, repair},
    problem::{Homes, Problem},
    random::Random,
    search::{Budget, Found, Progress, Search, parallel},
};

/// Descents of one iteration: they can go on side by side.
const DESCENTS: usize = 2;

/// Searches; answers the best and the number of iterations.
pub(super) fn run(
    problem: &Problem,
    search: &Search<'_>,
    watch: &mut dyn FnMut(&Progress),
) -> (Homes, u32) {
    let mut first = baselines::worst_fit(problem, &problem.decreasing());
    repair(&mut first, &search.budget);
    let mut random = Random::new(search.seed, 0, 0);
    descend(&mut first, &mut random, &search.budget);
    let mut best = Found::of(&first);
    let mut iteration = 0;
    while search.budget.allows(iteration + 1) {
        iteration += 1;
        let descent = |number: usize| {
            let random = Random::new(search.seed, u64::from(iteration), number as u64);
            restart(problem, random, &search.budget)
        };
        for found in parallel(search.threads, DESCENTS, descent) {
            best.improve(&found);
        }
        watch(&Progress { iterations: iteration, best: best.score });
    }
    (best.homes, iteration)
}

/// Down from worst fit in random order.
pub(super) fn restart(problem: &Problem, mut random: Random, budget: &Budget<'_>) -> Found {
    let mut order: Vec<usize> = (0..problem.replicas()).collect();
    random.shuffle(&mut order);
    let mut state = baselines::worst_fit(problem, &order);
    repair(&mut state, budget);
    descend(&mut state, &mut random, budget);
    Found::of(&state)
}
