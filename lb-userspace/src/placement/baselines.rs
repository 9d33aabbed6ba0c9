//! What others do: one replica after the other goes to the node that a rule prefers, and stays.
//!
//! First fit and best fit decreasing pack (Coffman, Garey, Johnson, "Approximation algorithms for
//! bin packing: a survey", 1996); the dot product packs vectors (Panigrahy, Talwar, Uyeda, Wieder,
//! "Heuristics for vector bin packing", 2011, section 3); worst fit balances.

use super::{
    amount::DIMENSIONS,
    kubernetes::Scheduler,
    problem::{Homes, Problem},
    random::Random,
    search::Method,
    state::{State, Step},
};

/// Places everything by one of the methods that do not search.
pub(super) fn run(problem: &Problem, method: Method, seed: u64) -> Homes {
    let arrival: Vec<usize> = (0..problem.replicas()).collect();
    let decreasing = problem.decreasing();
    let state = match method {
        Method::Kubernetes => kubernetes(problem, &arrival, seed),
        Method::KubernetesSorted => kubernetes(problem, &decreasing, seed),
        Method::BestFit => greedy(problem, &decreasing, |state, item, node| {
            state.load_with(node, problem.request(item)).iter().sum()
        }),
        Method::DotProduct => greedy(problem, &decreasing, alignment),
        Method::WorstFit | Method::LocalSearch | Method::Ants | Method::AntColony => {
            worst_fit(problem, &decreasing)
        }
        // Of equals the first is taken.
        Method::FirstFit => greedy(problem, &decreasing, |_, _, _| 0.0),
    };
    state.homes().clone()
}

/// Each replica to the node whose fullest dimension it leaves lowest.
pub(super) fn worst_fit<'p>(problem: &'p Problem, order: &[usize]) -> State<'p> {
    greedy(problem, order, |state, item, node| {
        -state.load_with(node, problem.request(item)).into_iter().fold(0.0, f64::max)
    })
}

/// Each replica to the allowed node with the highest value, the first one of equals.
fn greedy<'p>(
    problem: &'p Problem,
    order: &[usize],
    value: impl Fn(&State<'p>, usize, usize) -> f64,
) -> State<'p> {
    let mut state = State::new(problem);
    for &item in order {
        let mut best: Option<(f64, Step)> = None;
        for &node in &problem.class(item).nodes {
            let step = Step::Put { item, node };
            if state.allows(step) {
                let value = value(&state, item, node);
                if best.is_none_or(|(highest, _)| value > highest) {
                    best = Some((value, step));
                }
            }
        }
        if let Some((_, step)) = best {
            state.apply(step);
        }
    }
    state
}

/// What is free times what is needed, both as parts of the node.
fn alignment(state: &State<'_>, item: usize, node: usize) -> f64 {
    let problem = state.problem;
    let needed = problem.utilisation(node, problem.request(item));
    let used = problem.utilisation(node, state.used(node));
    (0..DIMENSIONS).map(|d| (1.0 - used[d]) * needed[d]).sum()
}

/// Each replica to the node with the highest score, any one of equals.
pub(super) fn kubernetes<'p>(problem: &'p Problem, order: &[usize], seed: u64) -> State<'p> {
    let mut random = Random::new(seed, 0, 0);
    let mut state = State::new(problem);
    let mut scheduler = Scheduler::new(problem.nodes());
    for &item in order {
        let request = problem.request(item);
        let (mut best, mut equals) = (None, 0);
        for &node in &problem.class(item).nodes {
            let step = Step::Put { item, node };
            if !state.allows(step) {
                continue;
            }
            let capacity = &problem.machines[node].capacity;
            let score = scheduler.score(node, request, state.used(node), capacity);
            match best {
                Some((highest, _)) if score < highest => continue,
                Some((highest, _)) if score == highest => equals += 1,
                Some(_) | None => equals = 1,
            }
            // Each of the equals is left with the same probability.
            if random.below(equals) == 0 {
                best = Some((score, node));
            }
        }
        if let Some((_, node)) = best {
            scheduler.assume(node, request);
            state.apply(Step::Put { item, node });
        }
    }
    state
}
