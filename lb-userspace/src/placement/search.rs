//! What can be asked for: a method, a seed, a budget; and what comes back.

use std::{panic::resume_unwind, thread};

use serde::Serialize;

use super::{
    baselines, colony,
    cost::{Score, score},
    problem::{Homes, Problem},
    reasons::{Unplaced, unplaced},
    restarts,
    state::State,
};

/// How replicas are placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// As the Kubernetes scheduler scores nodes, replicas as they come.
    Kubernetes,
    /// The same, the largest replicas first.
    KubernetesSorted,
    /// Largest first, into the first node with room.
    FirstFit,
    /// Largest first, into the node that it fills most.
    BestFit,
    /// Largest first, to where what is free resembles most what is needed.
    DotProduct,
    /// Largest first, to where the fullest dimension stays lowest.
    WorstFit,
    /// Local search from many beginnings.
    LocalSearch,
    /// The ant system without local search.
    Ants,
    /// The ant system with local search.
    AntColony,
}

impl Method {
    /// All of them, the simple ones first.
    pub const ALL: [Self; 9] = [
        Self::Kubernetes,
        Self::KubernetesSorted,
        Self::FirstFit,
        Self::BestFit,
        Self::DotProduct,
        Self::WorstFit,
        Self::LocalSearch,
        Self::Ants,
        Self::AntColony,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::KubernetesSorted => "kubernetes-sorted",
            Self::FirstFit => "first-fit",
            Self::BestFit => "best-fit",
            Self::DotProduct => "dot-product",
            Self::WorstFit => "worst-fit",
            Self::LocalSearch => "local-search",
            Self::Ants => "ants",
            Self::AntColony => "ant-colony",
        }
    }

    /// Whether it goes on searching until its budget is spent.
    #[must_use]
    pub const fn searches(self) -> bool {
        matches!(self, Self::LocalSearch | Self::Ants | Self::AntColony)
    }
}

/// How long to search: whichever ends first.
#[derive(Clone, Copy)]
pub struct Budget<'a> {
    iterations: u32,
    spent: &'a (dyn Fn() -> f64 + Sync),
    limit: f64,
}

impl<'a> Budget<'a> {
    /// So many iterations, whatever time they take: the result is a function of the seed.
    #[must_use]
    pub fn iterations(iterations: u32) -> Self {
        Self { iterations, spent: &|| 0.0, limit: 1.0 }
    }

    /// At most so many iterations, and none after `spent`, the part of the time that is gone, has
    /// reached 1. The clock belongs to the caller.
    #[must_use]
    pub fn time(iterations: u32, spent: &'a (dyn Fn() -> f64 + Sync)) -> Self {
        Self { iterations, spent, limit: 1.0 }
    }

    /// The same, with some of the time kept for later.
    pub(super) fn until(&self, limit: f64) -> Self {
        Self { limit, ..*self }
    }

    /// Whether an iteration may begin.
    pub(super) fn allows(&self, iteration: u32) -> bool {
        iteration <= self.iterations && !self.is_spent()
    }

    /// Whether no time is left.
    pub(super) fn is_spent(&self) -> bool {
        (self.spent)() >= self.limit
    }
}

/// A method and what it is given.
#[derive(Clone, Copy)]
pub struct Search<'a> {
    /// How.
    pub method: Method,
    /// Decides everything that is random.
    pub seed: u64,
    /// How many threads may work; the result does not depend on it.
    pub threads: usize,
    /// How long.
    pub budget: Budget<'a>,
}

/// How far a search is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Iterations done.
    pub iterations: u32,
    /// The best that was found so far.
    pub best: Score,
}

/// A placement.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Where each replica is.
    pub homes: Homes,
    /// What it is worth.
    pub score: Score,
    /// How often the search went round; 0 for methods that do not search.
    pub iterations: u32,
    /// Replicas without a place, and why.
    pub unplaced: Vec<Unplaced>,
}

/// Places what can be placed. `watch` is told after each iteration.
pub fn place(problem: &Problem, search: &Search<'_>, watch: &mut dyn FnMut(&Progress)) -> Outcome {
    let (homes, iterations) = match search.method {
        Method::LocalSearch => restarts::run(problem, search, watch),
        Method::Ants | Method::AntColony => colony::run(problem, search, watch),
        Method::Kubernetes
        | Method::KubernetesSorted
        | Method::FirstFit
        | Method::BestFit
        | Method::DotProduct
        | Method::WorstFit => (baselines::run(problem, search.method, search.seed), 0),
    };
    let score = score(problem, &homes);
    let unplaced = unplaced(problem, &homes);
    Outcome { homes, score, iterations, unplaced }
}

/// What is best so far.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) score: Score,
    pub(super) homes: Homes,
}

impl Found {
    pub(super) fn of(state: &State<'_>) -> Self {
        Self { score: state.score(), homes: state.homes().clone() }
    }

    /// Takes over what is better; says whether it was.
    pub(super) fn improve(&mut self, other: &Self) -> bool {
        let better = other.score.beats(&self.score);
        if better {
            self.clone_from(other);
        }
        better
    }
}

/// Does a number of things on several threads; the results are in the order of their numbers.
pub(super) fn parallel<T: Send>(
    threads: usize,
    count: usize,
    work: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let threads = threads.clamp(1, count.max(1));
    let share = |first: usize| {
        let numbers = (first..count).step_by(threads);
        numbers.map(|number| (number, work(number))).collect::<Vec<_>>()
    };
    let mut results = thread::scope(|scope| {
        let others = (1..threads)
            .map(|first| {
                scope.spawn({
                    let share = &share;
                    move || share(first)
                })
            })
            .collect::<Vec<_>>();
        let mut results = share(0);
        for other in others {
            match other.join() {
                Ok(more) => results.extend(more),
                Err(panic) => resume_unwind(panic),
            }
        }
        results
    });
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_their_numbers() {
        for count in [0, 1, 2, 17] {
            for threads in [0, 1, 2, 5, 40] {
                let results = parallel(threads, count, |number| number * number);
                let expected: Vec<usize> = (0..count).map(|number| number * number).collect();
                assert_eq!(results, expected, "{threads} threads");
            }
        }
    }
}
