//! Made-up clusters: services of one to eight replicas on nodes of three kinds, the last kind of
//! cluster with rules.

use anyhow::Result;
use lb_userspace::placement::{Node, Workload};

use super::instance::{Filling, Instance};
use crate::shuffle::Shuffle;

/// A kind of cluster.
pub(super) struct Kind {
    name: &'static str,
    nodes: usize,
    percent: u64,
    /// Zones, labels, neighbours.
    rules: bool,
}

/// What is compared.
pub(super) const KINDS: [Kind; 4] = [
    Kind { name: "synthetic 20 nodes 85%", nodes: 20, percent: 85, rules: false },
    Kind { name: "synthetic 20 nodes 95%", nodes: 20, percent: 95, rules: false },
    Kind { name: "synthetic 20, rules 80%", nodes: 20, percent: 80, rules: true },
    Kind { name: "synthetic 100 nodes 85%", nodes: 100, percent: 85, rules: false },
];

/// The cluster that threads are timed on.
pub(super) const TIMED: Kind =
    Kind { name: "synthetic 40 nodes 85%", nodes: 40, percent: 85, rules: false };

/// Millicores and gibibytes of a node.
const SIZES: [(u64, u64); 3] = [(8_000, 32), (16_000, 32), (16_000, 64)];
/// Millicores and mebibytes of a request.
const CPUS: [u64; 6] = [250, 500, 750, 1000, 2000, 3000];
const MEMORIES: [u64; 6] = [512, 1024, 2048, 3072, 4096, 8192];
const ZONES: usize = 3;
const REFUSALS_MAX: usize = 20;

pub(super) fn cluster(kind: &Kind, seed: u64) -> Result<Instance> {
    let mut random = Shuffle::new(seed);
    let nodes: Vec<Node> = (0..kind.nodes).map(|index| node(kind, index, &mut random)).collect();
    let mut filling = Filling::new(&nodes, kind.percent);
    let (mut workloads, mut refusals) = (Vec::new(), 0);
    while refusals < REFUSALS_MAX {
        let workload = workload(kind, workloads.len(), &mut random);
        if filling.take(&workload.request, workload.replicas) {
            workloads.push(workload);
            refusals = 0;
        } else {
            refusals += 1;
        }
    }
    Instance::new(kind.name, seed, &nodes, &workloads).map_err(anyhow::Error::msg)
}

fn node(kind: &Kind, index: usize, random: &mut Shuffle) -> Node {
    let (cpu, gib) = SIZES[random.below(SIZES.len())];
    let fast = kind.rules && random.below(2) == 0;
    Node {
        name: format!("node-{index}"),
        capacity: [cpu, gib << 30, 0, 0],
        zone: kind.rules.then(|| format!("zone-{}", index % ZONES)),
        labels: fast.then(|| ("disk".to_owned(), "fast".to_owned())).into_iter().collect(),
    }
}

fn workload(kind: &Kind, index: usize, random: &mut Shuffle) -> Workload {
    let name = format!("service-{index}");
    let replicas = [1, 1, 2, 2, 3, 4, 6, 8][random.below(8)];
    let request = [CPUS[random.below(6)], MEMORIES[random.below(6)] << 20, 0, 0];
    let mut one_in = |chances: usize| kind.rules && random.below(chances) == 0;
    let (spread, alone, fast) = (one_in(3), one_in(6), one_in(6));
    Workload {
        replicas,
        request,
        service: None,
        selector: fast.then(|| ("disk".to_owned(), "fast".to_owned())).into_iter().collect(),
        avoid: alone.then(|| name.clone()).into_iter().collect(),
        spread: spread.then_some(1),
        name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_tells_the_cluster() {
        for kind in &KINDS {
            let replicas = |seed| cluster(kind, seed).unwrap().problem.replicas();
            assert_eq!(replicas(1), replicas(1));
            assert!((2..9).any(|seed| replicas(seed) != replicas(1)), "{}", kind.name);
        }
    }
}
