//! Local search: a replica moves, or two change places, when that lowers the objective.

use super::{
    random::Random,
    search::Budget,
    state::{State, Step},
};

/// Less is rounding, and could go on for ever.
const GAIN_MIN: f64 = 1e-12;

/// Tries steps at random and takes those that gain.
pub(super) fn polish(state: &mut State<'_>, random: &mut Random, tries: usize) {
    let items = state.homes().len();
    let mut objective = state.score().objective();
    for _ in 0..tries {
        let item = random.below(items);
        let nodes = &state.problem.class(item).nodes;
        let step = if random.next() & 1 == 0 && !nodes.is_empty() {
            Step::Put { item, node: nodes[random.below(nodes.len())] }
        } else {
            Step::Swap { one: item, other: random.below(items) }
        };
        if let Some(better) = gain(state, step, objective) {
            state.apply(step);
            objective = better;
        }
    }
}

/// Goes down until no single step gains, or the budget is spent. Begins elsewhere for another state
/// of `random`.
///
/// A step that did not gain is tried again only when one of its nodes has changed since.
pub(super) fn descend(state: &mut State<'_>, random: &mut Random, budget: &Budget<'_>) {
    let mut order: Vec<usize> = (0..state.homes().len()).collect();
    let mut memory = Memory::new(state);
    let mut objective = state.score().objective();
    loop {
        random.shuffle(&mut order);
        let mut gained = false;
        for &item in &order {
            if budget.is_spent() {
                return;
            }
            if let Some((step, better)) = first_gain(state, random, &memory, item, objective) {
                memory.changed(state, step);
                state.apply(step);
                (objective, gained) = (better, true);
            } else {
                memory.settled[item] = memory.now;
            }
        }
        if !gained {
            return;
        }
    }
}

/// When nodes changed, and when replicas had no step that gains: in steps taken.
struct Memory {
    now: u32,
    changed: Vec<u32>,
    settled: Vec<u32>,
}

impl Memory {
    fn new(state: &State<'_>) -> Self {
        let (nodes, items) = (state.problem.nodes(), state.homes().len());
        Self { now: 1, changed: vec![1; nodes], settled: vec![0; items] }
    }

    fn changed(&mut self, state: &State<'_>, step: Step) {
        self.now += 1;
        let nodes = match step {
            Step::Put { item, node } => [state.home(item), Some(node)],
            Step::Swap { one, other } => [state.home(one), state.home(other)],
        };
        for node in nodes.into_iter().flatten() {
            self.changed[node] = self.now;
        }
    }

    /// Whether a replica may find something new there.
    fn is_news(&self, item: usize, home: Option<usize>) -> bool {
        home.is_none_or(|node| self.changed[node] > self.settled[item])
    }
}

/// The first step of a replica that gains, beginning anywhere.
fn first_gain(
    state: &State<'_>,
    random: &mut Random,
    memory: &Memory,
    item: usize,
    objective: f64,
) -> Option<(Step, f64)> {
    let nodes = &state.problem.class(item).nodes;
    let items = state.homes().len();
    if nodes.is_empty() {
        return None;
    }
    let (first_node, first_item) = (random.below(nodes.len()), random.below(items));
    let around = |first, count| (first..count).chain(0..first);
    let home_changed = memory.is_news(item, state.home(item));
    let is_news = |home| home_changed || memory.is_news(item, home);
    let targets = around(first_node, nodes.len()).map(|index| nodes[index]);
    let puts = targets.filter(|node| is_news(Some(*node))).map(|node| Step::Put { item, node });
    let others = around(first_item, items).filter(|other| is_news(state.home(*other)));
    let swaps = others.map(|other| Step::Swap { one: item, other });
    puts.chain(swaps).find_map(|step| gain(state, step, objective).map(|better| (step, better)))
}

/// The objective after a step that is allowed, changes something, and gains: a replica more is
/// worth any objective.
fn gain(state: &State<'_>, step: Step, objective: f64) -> Option<f64> {
    let (idle, more) = match step {
        Step::Put { item, node } => (state.home(item) == Some(node), state.home(item).is_none()),
        Step::Swap { one, other } => {
            let class = |item: usize| state.problem.items[item].class;
            (state.home(one) == state.home(other) || class(one) == class(other), false)
        }
    };
    if idle || !state.allows(step) {
        return None;
    }
    let after = state.objective_after(step);
    (more || after < objective - GAIN_MIN).then_some(after)
}

/// Places what has no place yet: where there is room, or where another replica makes room by
/// moving on.
pub(super) fn repair(state: &mut State<'_>, budget: &Budget<'_>) {
    let mut before = usize::MAX;
    // One that found its place may have made a zone ready for the next.
    while (1..before).contains(&state.unplaced().count()) {
        let unplaced: Vec<usize> = state.unplaced().collect();
        before = unplaced.len();
        for item in unplaced {
            if budget.is_spent() {
                return;
            }
            repair_one(state, item);
        }
    }
}

fn repair_one(state: &mut State<'_>, item: usize) {
    if let Some(step) = best_put(state, item) {
        state.apply(step);
    } else if let Some((makes_room, step)) = ejection(state, item) {
        state.apply(makes_room);
        // Rules about zones may forbid the second step after the first.
        if state.allows(step) {
            state.apply(step);
        }
    }
}

/// The allowed node that leaves the objective lowest.
pub(super) fn best_put(state: &State<'_>, item: usize) -> Option<Step> {
    let puts = state.problem.class(item).nodes.iter().map(|&node| Step::Put { item, node });
    let allowed = puts.filter(|step| state.allows(*step));
    let valued = allowed.map(|step| (state.objective_after(step), step));
    valued.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, step)| step)
}

/// A replica that can move on, so that another takes its place.
fn ejection(state: &State<'_>, item: usize) -> Option<(Step, Step)> {
    let problem = state.problem;
    let class = problem.class(item);
    (0..problem.items.len()).find_map(|other| {
        let node = state.home(other).filter(|&node| class.suits[node])?;
        let goes = problem.class(other);
        let service = &problem.services[class.service];
        let room = state.has_room(node, &class.request, &goes.request)
            && state.counts().neighbours_allow(problem, service, node, Some(goes.service));
        let makes_room = || {
            let targets = goes.nodes.iter().filter(|&&target| target != node);
            let steps = targets.map(|&target| Step::Put { item: other, node: target });
            steps
                .filter(|step| state.allows(*step))
                .min_by(|a, b| state.objective_after(*a).total_cmp(&state.objective_after(*b)))
        };
        let step = Step::Put { item, node };
        room.then(makes_room).flatten().map(|makes_room| (makes_room, step))
    })
}
