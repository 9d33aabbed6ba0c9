//! What good placements had in common: a trail for each class of replicas and node.

use super::{amount::count, problem::Problem, search::Found};

/// What a trail loses in each iteration.
const FADING: f64 = 0.1;
/// A perfect placement has an objective of 0, which cannot be divided by.
const OBJECTIVE_MIN: f64 = 1e-3;

/// Trails, within their limits.
#[derive(Clone, Debug)]
pub(super) struct Trails {
    nodes: usize,
    classes: Vec<usize>,
    /// By class and node.
    strength: Vec<f64>,
    least: f64,
    most: f64,
}

impl Trails {
    /// Half the limit, and the limit where the best so far has gone.
    pub(super) fn new(problem: &Problem, best: &Found) -> Self {
        let nodes = problem.machines.len();
        let classes = problem.items.iter().map(|item| item.class).collect();
        let strength = vec![0.0; problem.classes.len() * nodes];
        let mut trails = Self { nodes, classes, strength, least: 0.0, most: 0.0 };
        trails.limit(best);
        trails.strength.fill(trails.most / 2.0);
        trails.strengthen(best, trails.most);
        trails
    }

    pub(super) fn at(&self, class: usize, node: usize) -> f64 {
        self.strength[class * self.nodes + node]
    }

    /// All fade, those of one placement grow.
    pub(super) fn update(&mut self, placement: &Found, best: &Found) {
        self.limit(best);
        for strength in &mut self.strength {
            *strength = (*strength * (1.0 - FADING)).clamp(self.least, self.most);
        }
        self.strengthen(placement, 1.0 / worth(placement));
    }

    /// All begin anew.
    pub(super) fn reset(&mut self) {
        self.strength.fill(self.most);
    }

    /// Limits by the best placement (Stützle and Hoos, 2000, section 3.2).
    fn limit(&mut self, best: &Found) {
        self.most = 1.0 / (FADING * worth(best));
        self.least = self.most / (2.0 * count(self.nodes));
    }

    fn strengthen(&mut self, placement: &Found, more: f64) {
        for (class, home) in self.classes.iter().zip(&placement.homes) {
            if let Some(node) = home {
                let strength = &mut self.strength[class * self.nodes + node];
                *strength = (*strength + more).min(self.most);
            }
        }
    }
}

fn worth(placement: &Found) -> f64 {
    placement.score.objective().max(OBJECTIVE_MIN)
}
