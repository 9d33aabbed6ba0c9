//! Why a replica has no place: a count of nodes for each rule, as the Kubernetes scheduler tells.

use std::fmt;

use serde::Serialize;

use super::{
    amount::Dimension,
    problem::{Homes, Problem},
    state::{State, Step},
};

/// A replica without a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unplaced {
    /// Its index.
    #[serde(skip)]
    pub item: usize,
    /// Its name.
    pub replica: String,
    /// Why.
    pub reason: Reason,
}

/// What keeps a replica from all nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "why")]
pub enum Reason {
    /// No node has the labels of its selector.
    NoNodeSelected,
    /// It would not even fit if all nodes were empty.
    LargerThanEveryNode {
        /// What it needs most of, beside what nodes have.
        dimension: &'static str,
        /// What it needs.
        request: String,
        /// What the largest node that its selector takes has.
        largest: String,
    },
    /// Each node has something against it.
    NoNodeAvailable {
        /// Nodes without the labels.
        selector: usize,
        /// Nodes without room, by dimension: the first one that lacks.
        room: Vec<(&'static str, usize)>,
        /// Nodes with replicas that it avoids.
        neighbours: usize,
        /// Nodes in zones that have enough of its service, or in no zone.
        zones: usize,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNodeSelected => f.write_str("no node has the labels it selects"),
            Self::LargerThanEveryNode { dimension, request, largest } => {
                write!(f, "it needs {request} {dimension}, the largest node has {largest}")
            }
            Self::NoNodeAvailable { selector, room, neighbours, zones } => {
                let room = room.iter().map(|(name, nodes)| (format!("too little {name}"), *nodes));
                let rules = [
                    ("not selected".to_owned(), *selector),
                    ("with replicas it avoids".to_owned(), *neighbours),
                    ("in a zone with enough of them".to_owned(), *zones),
                ];
                let counted = room.chain(rules).filter(|(_, nodes)| *nodes > 0);
                let words: Vec<String> =
                    counted.map(|(why, nodes)| format!("{nodes} {why}")).collect();
                write!(f, "no node is left: {}", words.join(", "))
            }
        }
    }
}

/// All replicas without a place, with the reasons as they are at the end.
pub(super) fn unplaced(problem: &Problem, homes: &Homes) -> Vec<Unplaced> {
    if homes.iter().all(Option::is_some) {
        return Vec::new();
    }
    let state = State::from_homes(problem, homes);
    let named = |item| Unplaced {
        item,
        replica: problem.replica_name(item).to_owned(),
        reason: reason(&state, item),
    };
    state.unplaced().map(named).collect()
}

/// What keeps a replica from all nodes as they are.
pub(super) fn reason(state: &State<'_>, item: usize) -> Reason {
    let problem = state.problem;
    let class = problem.class(item);
    if !class.selected.contains(&true) {
        return Reason::NoNodeSelected;
    }
    if let Some(dimension) = too_large(problem, item) {
        let d = dimension.index();
        let selected = problem.machines.iter().zip(&class.selected).filter(|(_, taken)| **taken);
        let largest = selected.map(|(machine, _)| machine.capacity[d]).max().unwrap_or(0);
        return Reason::LargerThanEveryNode {
            dimension: dimension.name(),
            request: dimension.show(class.request[d]),
            largest: dimension.show(largest),
        };
    }
    let mut short = [0; super::amount::DIMENSIONS];
    let (mut selector, mut neighbours, mut zones) = (0, 0, 0);
    for (node, selected) in class.selected.iter().enumerate() {
        let service = &problem.services[class.service];
        if !selected {
            selector += 1;
        } else if let Some(d) = lacking(state, item, node) {
            short[d.index()] += 1;
        } else if !state.counts().neighbours_allow(problem, service, node, None) {
            neighbours += 1;
        } else if !state.allows(Step::Put { item, node }) {
            zones += 1;
        }
    }
    let room = Dimension::ALL.map(|d| (d.name(), short[d.index()]));
    let room = room.into_iter().filter(|(_, nodes)| *nodes > 0).collect();
    Reason::NoNodeAvailable { selector, room, neighbours, zones }
}

/// A dimension of which no selected node has enough.
fn too_large(problem: &Problem, item: usize) -> Option<Dimension> {
    let class = problem.class(item);
    Dimension::ALL.into_iter().find(|dimension| {
        let d = dimension.index();
        let enough = problem.machines.iter().map(|it| class.request[d] <= it.capacity[d]);
        !enough.zip(&class.selected).any(|(enough, selected)| enough && *selected)
    })
}

fn lacking(state: &State<'_>, item: usize, node: usize) -> Option<Dimension> {
    let problem = state.problem;
    let capacity = &problem.machines[node].capacity;
    Dimension::ALL.into_iter().find(|dimension| {
        let d = dimension.index();
        state.used(node)[d] + problem.request(item)[d] > capacity[d]
    })
}
