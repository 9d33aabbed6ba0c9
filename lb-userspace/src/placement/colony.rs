//! Ants: a max-min ant system (Stützle, Hoos, "MAX-MIN Ant System", 2000) whose ants choose as in
//! an ant colony system (Dorigo, Gambardella, 1997, equation 1), with local search.
//!
//! An ant places one replica after the other, the large ones first. It prefers nodes by *trails*,
//! what good placements had in common, and by *sight*, what looks good now. After each round the
//! trails fade, and the best placement strengthens its own. The limits of the trails keep every
//! choice possible; without progress they begin anew.
//!
//! Ants of one iteration know nothing of each other, and each has random numbers of its own: any
//! number of threads comes to the same result.

use super::{
    amount::Dimension,
    baselines,
    local_search::{descend, polish, repair},
    problem::{Homes, Problem},
    random::Random,
    search::{Budget, Found, Method, Progress, Search, parallel},
    state::{State, Step},
    trails::Trails,
};

/// Ants of one iteration.
const ANTS: usize = 16;
/// How often an ant takes what looks best instead of drawing lots.
const GREEDINESS: f64 = 0.7;
/// Random steps of local search for each ant.
const ANT_TRIES: usize = 60;
/// Every so many iterations the best of all strengthens its trails instead of the iteration's.
const ELITE_EVERY: u32 = 5;
/// Iterations without progress before the trails begin anew.
const PATIENCE: u32 = 15;
/// What remains of the time is for the last descent.
const ANTS_PART: f64 = 0.95;

/// Searches; answers the best and the number of iterations.
pub(super) fn run(
    problem: &Problem,
    search: &Search<'_>,
    watch: &mut dyn FnMut(&Progress),
) -> (Homes, u32) {
    let colony = Colony { problem, search, local: search.method == Method::AntColony };
    let mut best = colony.beginning();
    let mut trails = Trails::new(problem, &best);
    let ants_budget = search.budget.until(if colony.local { ANTS_PART } else { 1.0 });
    let (mut iteration, mut idle) = (0, 0);
    while ants_budget.allows(iteration + 1) {
        let Some(found) = colony.iteration(&trails, iteration + 1, &ants_budget) else {
            break;
        };
        iteration += 1;
        idle = if best.improve(&found) { 0 } else { idle + 1 };
        let elite = iteration % ELITE_EVERY == 0;
        trails.update(if elite { &best } else { &found }, &best);
        if idle >= PATIENCE {
            trails.reset();
            idle = 0;
        }
        watch(&Progress { iterations: iteration, best: best.score });
    }
    if colony.local {
        best.improve(&colony.descent(&best, 0, 1, &search.budget));
    }
    (best.homes, iteration)
}

struct Colony<'a> {
    problem: &'a Problem,
    search: &'a Search<'a>,
    local: bool,
}

impl Colony<'_> {
    /// The better one of two greedy placements: nothing worse is ever answered.
    fn beginning(&self) -> Found {
        let order = self.problem.decreasing();
        let starts = parallel(self.search.threads, 2, |number| {
            let state = match number {
                0 => baselines::worst_fit(self.problem, &order),
                _ => baselines::kubernetes(self.problem, &order, self.search.seed),
            };
            let start = Found::of(&state);
            if self.local { self.descent(&start, 0, number, &self.search.budget) } else { start }
        });
        starts.into_iter().reduce(better).unwrap_or_else(|| Found::of(&State::new(self.problem)))
    }

    /// The best that the ants of one iteration find; nothing if time is over.
    ///
    /// The best ant goes down, and beside it a scout: an ant that follows no trail and places replicas
    /// in any order. Trails that lead to a good valley hide the next one.
    fn iteration(&self, trails: &Trails, iteration: u32, budget: &Budget<'_>) -> Option<Found> {
        let ants = parallel(self.search.threads, ANTS, |ant| {
            self.ant(Some(trails), iteration, ant, budget)
        });
        let mut ants = ants.into_iter().collect::<Option<Vec<Found>>>()?;
        // Stable: of equals, the first ant is the first.
        ants.sort_by(|a, b| a.score.order(&b.score));
        let best = ants.into_iter().next()?;
        if !self.local {
            return Some(best);
        }
        let descents = parallel(self.search.threads, 2, |number| {
            if number == 0 {
                return Some(self.descent(&best, iteration, ANTS, budget));
            }
            let scout = self.ant(None, iteration, ANTS + 1, budget)?;
            Some(self.descent(&scout, iteration, ANTS + 2, budget))
        });
        let descents = descents.into_iter().collect::<Option<Vec<Found>>>()?;
        descents.into_iter().reduce(better)
    }

    fn descent(&self, from: &Found, iteration: u32, number: usize, budget: &Budget<'_>) -> Found {
        let mut random = Random::new(self.search.seed, u64::from(iteration), number as u64);
        let mut state = State::from_homes(self.problem, &from.homes);
        repair(&mut state, budget);
        descend(&mut state, &mut random, budget);
        Found::of(&state)
    }

    /// One ant's way; nothing if time ends before it does.
    fn ant(
        &self,
        trails: Option<&Trails>,
        iteration: u32,
        ant: usize,
        budget: &Budget<'_>,
    ) -> Option<Found> {
        let mut random = Random::new(self.search.seed, u64::from(iteration), ant as u64);
        let mut order = self.problem.decreasing();
        match trails {
            Some(_) => disturb(&mut order, &mut random),
            None => random.shuffle(&mut order),
        }
        let mut state = State::new(self.problem);
        let mut appeals = Vec::new();
        for item in order {
            if budget.is_spent() {
                return None;
            }
            look(&state, trails, item, &mut appeals);
            if let Some(node) = choose(&appeals, &mut random) {
                state.apply(Step::Put { item, node });
            }
        }
        repair(&mut state, budget);
        if self.local {
            polish(&mut state, &mut random, ANT_TRIES);
        }
        Some(Found::of(&state))
    }
}

/// The better one, the first one of equals.
fn better(one: Found, other: Found) -> Found {
    if other.score.beats(&one.score) { other } else { one }
}

/// Swaps a tenth of the neighbours in an order.
fn disturb(order: &mut [usize], random: &mut Random) {
    for _ in 0..order.len() / 10 {
        let first = random.below(order.len() - 1);
        order.swap(first, first + 1);
    }
}

/// The appeal of each node that a replica may go to: trail times the cube of sight.
fn look(state: &State<'_>, trails: Option<&Trails>, item: usize, appeals: &mut Vec<(f64, usize)>) {
    let class = state.problem.items[item].class;
    let allowed = state.problem.classes[class]
        .nodes
        .iter()
        .filter(|&&node| state.allows(Step::Put { item, node }));
    let trail = |node| trails.map_or(1.0, |trails| trails.at(class, node));
    appeals.clear();
    appeals.extend(allowed.map(|&node| {
        let sight = sight(state, item, node);
        (trail(node) * sight * sight * sight, node)
    }));
}

/// How good a node looks for a replica: empty, not above the average of any dimension, even in
/// processor and memory, without others of the service.
fn sight(state: &State<'_>, item: usize, node: usize) -> f64 {
    /// Keeps the quotient finite.
    const LEAST: f64 = 0.01;
    let problem = state.problem;
    let class = problem.class(item);
    let load = state.load_with(node, &class.request);
    let mut against = LEAST;
    for (load, average) in load.iter().zip(&problem.average) {
        against += 0.5 * load * load + (load - average).max(0.0);
    }
    against += 0.25 * (load[Dimension::Cpu.index()] - load[Dimension::Memory.index()]).abs();
    let same = state.counts().on(&problem.services[class.service], node);
    1.0 / (against + 0.15 * f64::from(same))
}

/// The greatest appeal, or one drawn by appeal.
fn choose(appeals: &[(f64, usize)], random: &mut Random) -> Option<usize> {
    let greatest = appeals.iter().copied().reduce(|a, b| if b.0 > a.0 { b } else { a })?;
    if random.unit() < GREEDINESS {
        return Some(greatest.1);
    }
    let mut drawn = random.unit() * appeals.iter().map(|(appeal, _)| appeal).sum::<f64>();
    for (appeal, node) in appeals {
        drawn -= appeal;
        if drawn < 0.0 {
            return Some(*node);
        }
    }
    Some(greatest.1)
}
