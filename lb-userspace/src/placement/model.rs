//! What is placed where, as a user describes it, and what can be wrong with the description.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::amount::{Amounts, Dimension};

/// The most replicas of all workloads together.
pub const REPLICAS_MAX: usize = 100_000;
/// The most nodes.
pub const NODES_MAX: usize = 10_000;

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name, unique.
    pub name: String,
    /// What it has.
    pub capacity: Amounts,
    /// Where it stands: what fails together.
    pub zone: Option<String>,
    /// What selectors look at.
    pub labels: BTreeMap<String, String>,
}

/// Replicas that need the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// Its name, unique.
    pub name: String,
    /// The service its replicas answer for; the workload's own name if there is none.
    pub service: Option<String>,
    /// How many there are.
    pub replicas: u32,
    /// What each of them needs.
    pub request: Amounts,
    /// Labels that a node must have.
    pub selector: BTreeMap<String, String>,
    /// Services that must not be on the same node; its own for one replica a node.
    pub avoid: BTreeSet<String>,
    /// By how many the replicas of the service may differ between any two zones.
    pub spread: Option<u32>,
}

impl Workload {
    /// The service it belongs to.
    #[must_use]
    pub fn service(&self) -> &str {
        self.service.as_deref().unwrap_or(&self.name)
    }
}

/// What is wrong with a description, by the index of the node or the workload.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Mistake {
    /// There is nowhere to place anything.
    #[error("there are no nodes")]
    NoNodes,
    /// There is nothing to place.
    #[error("there are no workloads")]
    NoWorkloads,
    /// More nodes than [`NODES_MAX`].
    #[error("{count} nodes are more than {NODES_MAX}")]
    TooManyNodes {
        /// So many.
        count: usize,
    },
    /// More replicas than [`REPLICAS_MAX`].
    #[error("{count} replicas are more than {REPLICAS_MAX}")]
    TooManyReplicas {
        /// So many.
        count: usize,
    },
    /// A node without a name.
    #[error("a node needs a name")]
    NamelessNode {
        /// Which one.
        node: usize,
    },
    /// A workload without a name.
    #[error("a workload needs a name")]
    NamelessWorkload {
        /// Which one.
        workload: usize,
    },
    /// Two nodes have one name.
    #[error("there is another node \"{name}\"")]
    DuplicateNode {
        /// The second of them.
        node: usize,
        /// Their name.
        name: String,
    },
    /// Two workloads have one name, or one is called as a replica of the other.
    #[error("there is another workload or replica \"{name}\"")]
    DuplicateWorkload {
        /// The second of them.
        workload: usize,
        /// Their name.
        name: String,
    },
    /// A node without processor or memory: its utilisation is not defined.
    #[error("node \"{name}\" has no {}", dimension.name())]
    NoCapacity {
        /// Which one.
        node: usize,
        /// Its name.
        name: String,
        /// What it lacks.
        dimension: Dimension,
    },
    /// A workload of no replicas.
    #[error("workload \"{name}\" has 0 replicas: at least 1")]
    NoReplicas {
        /// Which one.
        workload: usize,
        /// Its name.
        name: String,
    },
    /// A service that nobody belongs to.
    #[error("workload \"{name}\" avoids \"{service}\", which is no service here")]
    UnknownService {
        /// Which one.
        workload: usize,
        /// Its name.
        name: String,
        /// What it avoids.
        service: String,
    },
    /// A spread that only multiples of the zones could keep.
    #[error("workload \"{name}\" has a spread of 0: at least 1")]
    ZeroSpread {
        /// Which one.
        workload: usize,
        /// Its name.
        name: String,
    },
}

/// The line of a description that a mistake is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The nodes as a whole.
    Nodes,
    /// The workloads as a whole.
    Workloads,
    /// A node, and its field.
    Node(usize, &'static str),
    /// A workload, and its field.
    Workload(usize, &'static str),
}

impl Mistake {
    /// Where it is.
    #[must_use]
    pub const fn subject(&self) -> Subject {
        match self {
            Self::NoNodes | Self::TooManyNodes { .. } => Subject::Nodes,
            Self::NoWorkloads | Self::TooManyReplicas { .. } => Subject::Workloads,
            Self::NamelessNode { node } | Self::DuplicateNode { node, .. } => {
                Subject::Node(*node, "name")
            }
            Self::NoCapacity { node, dimension, .. } => Subject::Node(*node, dimension.name()),
            Self::NamelessWorkload { workload } | Self::DuplicateWorkload { workload, .. } => {
                Subject::Workload(*workload, "name")
            }
            Self::NoReplicas { workload, .. } => Subject::Workload(*workload, "replicas"),
            Self::UnknownService { workload, .. } => Subject::Workload(*workload, "avoid"),
            Self::ZeroSpread { workload, .. } => Subject::Workload(*workload, "spread"),
        }
    }
}

/// Every mistake in the nodes and the workloads.
pub(super) fn mistakes(nodes: &[Node], workloads: &[Workload]) -> Vec<Mistake> {
    let mut found = Vec::new();
    if nodes.is_empty() {
        found.push(Mistake::NoNodes);
    }
    if workloads.is_empty() {
        found.push(Mistake::NoWorkloads);
    }
    if nodes.len() > NODES_MAX {
        found.push(Mistake::TooManyNodes { count: nodes.len() });
    }
    let count = workloads.iter().map(|it| it.replicas as usize).sum();
    if count > REPLICAS_MAX {
        found.push(Mistake::TooManyReplicas { count });
        return found;
    }
    found.extend(node_mistakes(nodes));
    found.extend(workload_mistakes(workloads));
    found
}

fn node_mistakes(nodes: &[Node]) -> Vec<Mistake> {
    let (mut found, mut names) = (Vec::new(), BTreeSet::new());
    for (node, Node { name, capacity, .. }) in nodes.iter().enumerate() {
        let name = || name.clone();
        if name().is_empty() {
            found.push(Mistake::NamelessNode { node });
        } else if !names.insert(name()) {
            found.push(Mistake::DuplicateNode { node, name: name() });
        }
        for dimension in [Dimension::Cpu, Dimension::Memory] {
            if capacity[dimension.index()] == 0 {
                found.push(Mistake::NoCapacity { node, name: name(), dimension });
            }
        }
    }
    found
}

fn workload_mistakes(workloads: &[Workload]) -> Vec<Mistake> {
    let services: BTreeSet<&str> = workloads.iter().map(Workload::service).collect();
    let (mut found, mut names) = (Vec::new(), BTreeSet::new());
    for (index, workload) in workloads.iter().enumerate() {
        let name = || workload.name.clone();
        if workload.name.is_empty() {
            found.push(Mistake::NamelessWorkload { workload: index });
        } else {
            let taken = replica_names(workload).find(|it| !names.insert(it.clone()));
            found.extend(taken.map(|name| Mistake::DuplicateWorkload { workload: index, name }));
        }
        if workload.replicas == 0 {
            found.push(Mistake::NoReplicas { workload: index, name: name() });
        }
        if workload.spread == Some(0) {
            found.push(Mistake::ZeroSpread { workload: index, name: name() });
        }
        for service in workload.avoid.iter().filter(|it| !services.contains(it.as_str())) {
            let service = service.clone();
            found.push(Mistake::UnknownService { workload: index, name: name(), service });
        }
    }
    found
}

/// What its replicas are called: as the workload if there is one, else `name/1`, `name/2`, ...
pub(super) fn replica_names(workload: &Workload) -> impl Iterator<Item = String> {
    let Workload { name, replicas, .. } = workload;
    let many = *replicas > 1;
    let numbered = move |number| if many { format!("{name}/{number}") } else { name.clone() };
    (1..=(*replicas).max(1)).map(numbered)
}
