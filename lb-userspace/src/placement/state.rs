//! A placement under construction: what a step would make of the objective, without looking at
//! the other nodes, and whether the rules allow it.
//!
//! Kept beside the placement, with `c_d` the average utilisation: `sum_k (u_kd - c_d)` and
//! `sum_k (u_kd - c_d)^2` for each dimension, the sum of the gaps, and the three fullest nodes (a
//! step changes at most two, so the maximum of the others is one of three). Distances from `c_d`
//! instead of utilisations keep the variance exact when it is small.

use super::{
    amount::{Amounts, DIMENSIONS, count},
    cost::{Score, gap},
    counts::{Changes, Counts},
    problem::{Class, Homes, Problem, minus, plus, within},
};

/// A change of a placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A replica goes to a node, from another one or from nowhere.
    Put { item: usize, node: usize },
    /// Two replicas change places. One of them may have none: it takes the other one's.
    Swap { one: usize, other: usize },
}

/// A placement, and the sums of its objective.
#[derive(Clone, Debug)]
pub(super) struct State<'p> {
    pub(super) problem: &'p Problem,
    homes: Homes,
    used: Vec<Amounts>,
    /// The utilisation of each node.
    loads: Vec<[f64; DIMENSIONS]>,
    counts: Counts,
    sums: Sums,
    /// The fullest nodes with their highest utilisation, the fullest first.
    fullest: [(f64, usize); 3],
}

/// What the objective is made of.
#[derive(Clone, Copy, Debug)]
struct Sums {
    distance: [f64; DIMENSIONS],
    square: [f64; DIMENSIONS],
    gap: f64,
    unplaced: usize,
}

/// No node: when there are fewer than three.
const NOBODY: (f64, usize) = (0.0, usize::MAX);

impl<'p> State<'p> {
    /// Nothing is placed.
    pub(super) fn new(problem: &'p Problem) -> Self {
        let nodes = problem.machines.len();
        let mut sums = Sums {
            distance: [0.0; DIMENSIONS],
            square: [0.0; DIMENSIONS],
            gap: 0.0,
            unplaced: problem.items.len(),
        };
        // Empty nodes are as far from the average as the average is from nothing.
        for (d, average) in problem.average.iter().enumerate() {
            sums.distance[d] = -average * count(nodes);
            sums.square[d] = average * average * count(nodes);
        }
        Self {
            problem,
            homes: vec![None; problem.items.len()],
            used: vec![[0; DIMENSIONS]; nodes],
            loads: vec![[0.0; DIMENSIONS]; nodes],
            counts: Counts::new(problem),
            sums,
            fullest: [NOBODY; 3],
        }
    }

    /// A placement that keeps the rules.
    pub(super) fn from_homes(problem: &'p Problem, homes: &Homes) -> Self {
        let mut state = Self::new(problem);
        for (item, home) in homes.iter().enumerate() {
            if let Some(node) = *home {
                state.apply(Step::Put { item, node });
            }
        }
        state
    }

    pub(super) fn homes(&self) -> &Homes {
        &self.homes
    }

    pub(super) fn home(&self, item: usize) -> Option<usize> {
        self.homes[item]
    }

    pub(super) fn used(&self, node: usize) -> &Amounts {
        &self.used[node]
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(super) fn unplaced(&self) -> impl Iterator<Item = usize> {
        (0..self.homes.len()).filter(|&item| self.homes[item].is_none())
    }

    /// The utilisation of a node with something more on it.
    pub(super) fn load_with(&self, node: usize, request: &Amounts) -> [f64; DIMENSIONS] {
        self.problem.utilisation(node, &plus(&self.used[node], request))
    }

    /// Whether the rules allow a step.
    pub(super) fn allows(&self, step: Step) -> bool {
        match step {
            Step::Put { item, node } => {
                let class = self.problem.class(item);
                class.suits[node]
                    && self.has_room(node, &class.request, &[0; DIMENSIONS])
                    && self.counts.allows_put(self.problem, class.service, self.homes[item], node)
            }
            Step::Swap { one, other } => {
                let (a, b) = (self.homes[one], self.homes[other]);
                let (of_one, of_other) = (self.problem.class(one), self.problem.class(other));
                let fits = |comes: &Class, goes: &Class, node: Option<usize>| {
                    node.is_none_or(|node| {
                        comes.suits[node] && self.has_room(node, &comes.request, &goes.request)
                    })
                };
                let services = [(of_one.service, a), (of_other.service, b)];
                fits(of_one, of_other, b)
                    && fits(of_other, of_one, a)
                    && self.counts.allows_swap(self.problem, services)
            }
        }
    }

    /// Whether a node has room for something when something else has left.
    pub(super) fn has_room(&self, node: usize, comes: &Amounts, goes: &Amounts) -> bool {
        let used = plus(&minus(&self.used[node], goes), comes);
        within(&used, &self.problem.machines[node].capacity)
    }

    /// The score as it is.
    pub(super) fn score(&self) -> Score {
        self.scored(&self.sums, self.fullest[0].0, self.counts.excess())
    }

    /// The objective as a step would make it, which the rules must allow.
    pub(super) fn objective_after(&self, step: Step) -> f64 {
        let excess = self.counts.excess_after(self.problem, &self.count_changes(step));
        let mut sums = self.sums;
        let mut peak = 0.0_f64;
        let exchanges = self.exchanges(step);
        for (node, more) in exchanges.iter().flatten() {
            let (before, inverse) = (&self.loads[*node], &self.problem.machines[*node].inverse);
            let after = std::array::from_fn(|d| before[d] + more[d] * inverse[d]);
            sums.replace(before, &after, &self.problem.average);
            peak = after.iter().copied().fold(peak, f64::max);
        }
        let changed = |node| exchanges.iter().flatten().any(|&(other, _)| other == node);
        let others = self.fullest.iter().find(|(_, node)| !changed(*node));
        let peak = others.map_or(peak, |(load, _)| peak.max(*load));
        sums.unplaced -= self.newly_placed(step);
        self.scored(&sums, peak, excess).objective()
    }

    /// Takes a step, which the rules must allow.
    pub(super) fn apply(&mut self, step: Step) {
        let count_changes = self.count_changes(step);
        self.counts.apply(self.problem, &count_changes);
        self.sums.unplaced -= self.newly_placed(step);
        for (node, used) in self.changes(step).into_iter().flatten() {
            self.set_used(node, used);
        }
        match step {
            Step::Put { item, node } => self.homes[item] = Some(node),
            Step::Swap { one, other } => self.homes.swap(one, other),
        }
    }

    fn set_used(&mut self, node: usize, used: Amounts) {
        let after = self.problem.utilisation(node, &used);
        self.sums.replace(&self.loads[node], &after, &self.problem.average);
        self.used[node] = used;
        self.loads[node] = after;
        let peak = after.iter().copied().fold(0.0, f64::max);
        if self.fullest.iter().any(|&(load, other)| other == node && peak < load) {
            self.find_fullest();
        } else {
            insert(&mut self.fullest, (peak, node));
        }
    }

    fn find_fullest(&mut self) {
        self.fullest = [NOBODY; 3];
        for (node, load) in self.loads.iter().enumerate() {
            insert(&mut self.fullest, (load.iter().copied().fold(0.0, f64::max), node));
        }
    }

    fn newly_placed(&self, step: Step) -> usize {
        match step {
            Step::Put { item, .. } => usize::from(self.homes[item].is_none()),
            Step::Swap { .. } => 0,
        }
    }

    /// What comes to the nodes that a step changes, less what goes.
    fn exchanges(&self, step: Step) -> [Option<(usize, [f64; DIMENSIONS])>; 2] {
        match step {
            Step::Put { item, node } => {
                let home = self.homes[item];
                let needs = &self.problem.class(item).needs;
                let moves = home != Some(node);
                let left = home.filter(|_| moves).map(|home| (home, needs.map(|it| -it)));
                [left, moves.then_some((node, *needs))]
            }
            Step::Swap { one, other } => {
                let needs = |item: usize| &self.problem.class(item).needs;
                let (first, second) = (needs(one), needs(other));
                let more: [f64; DIMENSIONS] = std::array::from_fn(|d| second[d] - first[d]);
                let (a, b) = (self.homes[one], self.homes[other]);
                if a == b {
                    return [None, None];
                }
                [a.map(|a| (a, more)), b.map(|b| (b, more.map(|it| -it)))]
            }
        }
    }

    /// What would be used on the nodes that a step changes.
    fn changes(&self, step: Step) -> [Option<(usize, Amounts)>; 2] {
        match step {
            Step::Put { item, node } if self.homes[item] == Some(node) => [None, None],
            Step::Put { item, node } => {
                let request = self.problem.request(item);
                let left = self.homes[item].map(|it| (it, minus(&self.used[it], request)));
                [left, Some((node, plus(&self.used[node], request)))]
            }
            Step::Swap { one, other } => {
                let exchange = |node: usize, goes: usize, comes: usize| {
                    let less = minus(&self.used[node], self.problem.request(goes));
                    (node, plus(&less, self.problem.request(comes)))
                };
                let (a, b) = (self.homes[one], self.homes[other]);
                if a == b {
                    return [None, None];
                }
                [a.map(|a| exchange(a, one, other)), b.map(|b| exchange(b, other, one))]
            }
        }
    }

    /// The service, the old and the new node of each replica that moves.
    fn count_changes(&self, step: Step) -> Changes {
        let service = |item| self.problem.class(item).service;
        match step {
            Step::Put { item, node } => [Some((service(item), self.homes[item], Some(node))), None],
            Step::Swap { one, other } if service(one) == service(other) => [None, None],
            Step::Swap { one, other } => {
                let (a, b) = (self.homes[one], self.homes[other]);
                [Some((service(one), a, b)), Some((service(other), b, a))]
            }
        }
    }

    fn scored(&self, sums: &Sums, peak: f64, excess: f64) -> Score {
        let nodes = count(self.problem.machines.len());
        let deviation = |&d: &usize| {
            let mean = sums.distance[d] / nodes;
            (sums.square[d] / nodes - mean * mean).max(0.0).sqrt()
        };
        let dimensions = &self.problem.dimensions;
        Score {
            deviation: dimensions.iter().map(deviation).sum::<f64>() / count(dimensions.len()),
            gap: sums.gap / nodes,
            peak,
            concentration: excess / count(self.problem.services.len()),
            unplaced: sums.unplaced,
        }
    }
}

impl Sums {
    /// Takes a node's load away and adds another one. With `b` and `a` their distances from the
    /// average, `a^2 - b^2` is `(a - b) (a + b)`.
    fn replace(
        &mut self,
        before: &[f64; DIMENSIONS],
        after: &[f64; DIMENSIONS],
        average: &[f64; DIMENSIONS],
    ) {
        for d in 0..DIMENSIONS {
            let more = after[d] - before[d];
            self.distance[d] += more;
            self.square[d] += more * (after[d] + before[d] - 2.0 * average[d]);
        }
        self.gap += gap(after) - gap(before);
    }
}

/// Puts a node among the fullest where it belongs, once.
fn insert(fullest: &mut [(f64, usize); 3], (load, node): (f64, usize)) {
    let known = fullest.iter().position(|&(_, other)| other == node);
    let place = known.unwrap_or(fullest.len() - 1);
    if known.is_none() && fullest[place].0 >= load {
        return;
    }
    fullest[place] = (load, node);
    fullest[..=place].sort_by(|a, b| b.0.total_cmp(&a.0));
}
