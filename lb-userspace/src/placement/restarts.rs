//! Local search alone, given the same time: worst fit, then down; then the same from worst fit in
//! random order, as often as the budget allows.

use super::{
    baselines,
    local_search::{descend, repair},
    problem::{Homes, Problem},
    random::Random,
    search::{Found, Progress, Search, parallel},
};

/// Descents of one iteration: they can go on side by side.
pub(super) const DESCENTS: usize = 2;

/// Searches; answers the best and the number of iterations.
pub(super) fn run(
    problem: &Problem,
    search: &Search<'_>,
    watch: &mut dyn FnMut(&Progress),
) -> (Homes, u32) {
    let descent = |iteration: u32, number: usize| {
        let mut random = Random::new(search.seed, u64::from(iteration), number as u64);
        let mut order = problem.decreasing();
        if (iteration, number) != (0, 0) {
            random.shuffle(&mut order);
        }
        let mut state = baselines::worst_fit(problem, &order);
        repair(&mut state, &search.budget);
        descend(&mut state, &mut random, usize::MAX, &search.budget);
        Found::of(&state)
    };
    let mut best = descent(0, 0);
    let mut iteration = 0;
    while search.budget.allows(iteration + 1) {
        iteration += 1;
        for found in parallel(search.threads, DESCENTS, |number| descent(iteration, number)) {
            best.improve(&found);
        }
        watch(&Progress { iterations: iteration, best: best.score });
    }
    (best.homes, iteration)
}
