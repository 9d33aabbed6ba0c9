//! What is printed, as values: for people and for scripts the same.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::placement::{Dimension, Method, Outcome, Unplaced, input::Input};

/// A method and what it came to.
pub(super) struct Run {
    pub(super) method: Method,
    pub(super) outcome: Outcome,
    pub(super) elapsed_ms: Option<f64>,
}

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) method: Method,
    pub(super) seed: u64,
    pub(super) iterations: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) elapsed_ms: Option<f64>,
    pub(super) replicas: usize,
    pub(super) assignment: Vec<Assigned>,
    pub(super) unplaced: Vec<Unplaced>,
    pub(super) nodes: Vec<NodeUse>,
    pub(super) objective: f64,
    pub(super) terms: Vec<Term>,
    /// All methods that were tried, the chosen one among them.
    pub(super) comparison: Vec<Compared>,
}

/// A replica and its node.
#[derive(Debug, Serialize)]
pub(super) struct Assigned {
    pub(super) replica: String,
    pub(super) workload: String,
    pub(super) service: String,
    pub(super) node: String,
}

/// A node and what is used of it.
#[derive(Debug, Serialize)]
pub(super) struct NodeUse {
    pub(super) node: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) zone: Option<String>,
    pub(super) replicas: usize,
    /// By dimension.
    pub(super) uses: BTreeMap<&'static str, Use>,
}

/// How much of a dimension is used: in millicores, bytes, bits or operations a second.
#[derive(Debug, Serialize)]
pub(super) struct Use {
    pub(super) used: u64,
    pub(super) capacity: u64,
    pub(super) utilisation: f64,
}

/// A term of the objective.
#[derive(Debug, Serialize)]
pub(super) struct Term {
    pub(super) name: &'static str,
    pub(super) value: f64,
    pub(super) adds: f64,
}

/// A method in the comparison.
#[derive(Debug, Serialize)]
pub(super) struct Compared {
    pub(super) method: Method,
    pub(super) objective: f64,
    pub(super) unplaced: usize,
    pub(super) deviation: f64,
    pub(super) peak: f64,
    pub(super) concentration: f64,
    pub(super) iterations: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) elapsed_ms: Option<f64>,
    /// No other method is better.
    pub(super) best: bool,
}

impl Report {
    pub(super) fn new(input: &Input, method: Method, seed: u64, runs: &[Run]) -> Self {
        let chosen = runs.iter().find(|run| run.method == method);
        let outcome = chosen.map(|run| &run.outcome);
        let mut report = Self {
            method,
            seed,
            iterations: outcome.map_or(0, |it| it.iterations),
            elapsed_ms: chosen.and_then(|run| run.elapsed_ms),
            replicas: input.problem.replicas(),
            assignment: Vec::new(),
            unplaced: Vec::new(),
            nodes: Vec::new(),
            objective: 0.0,
            terms: Vec::new(),
            comparison: runs.iter().map(|run| compared(run, runs)).collect(),
        };
        if let Some(outcome) = outcome {
            report.assignment = assignment(input, outcome);
            report.unplaced.clone_from(&outcome.unplaced);
            report.nodes = nodes(input, outcome);
            report.objective = outcome.score.objective();
            let term = |(name, value, adds)| Term { name, value, adds };
            report.terms = outcome.score.terms().map(term).into();
        }
        report
    }
}

fn compared(run: &Run, runs: &[Run]) -> Compared {
    let score = &run.outcome.score;
    Compared {
        method: run.method,
        objective: score.objective(),
        unplaced: score.unplaced,
        deviation: score.deviation,
        peak: score.peak,
        concentration: score.concentration,
        iterations: run.outcome.iterations,
        elapsed_ms: run.elapsed_ms,
        best: !runs.iter().any(|other| other.outcome.score.beats(score)),
    }
}

fn assignment(input: &Input, outcome: &Outcome) -> Vec<Assigned> {
    let problem = &input.problem;
    let placed = outcome.homes.iter().enumerate();
    let assigned = placed.filter_map(|(item, home)| {
        let workload = input.workloads.get(problem.workload(item)?)?;
        Some(Assigned {
            replica: problem.replica_name(item).to_owned(),
            workload: workload.name.clone(),
            service: workload.service().to_owned(),
            node: problem.node_name((*home)?).to_owned(),
        })
    });
    assigned.collect()
}

fn nodes(input: &Input, outcome: &Outcome) -> Vec<NodeUse> {
    let problem = &input.problem;
    let used = problem.used(&outcome.homes);
    let nodes = input.nodes.iter().zip(&used).enumerate();
    let node_use = nodes.map(|(index, (node, used))| {
        let utilisation = problem.utilisation(index, used);
        let of = |dimension: Dimension| {
            let d = dimension.index();
            let (used, capacity) = (used[d], node.capacity[d]);
            (dimension.name(), Use { used, capacity, utilisation: utilisation[d] })
        };
        NodeUse {
            node: node.name.clone(),
            zone: node.zone.clone(),
            replicas: outcome.homes.iter().filter(|home| **home == Some(index)).count(),
            uses: problem.dimensions().map(of).collect(),
        }
    });
    node_use.collect()
}
