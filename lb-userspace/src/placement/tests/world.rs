//! Clusters to try things on, and rules checked without the code under test.

use proptest::prelude::*;

use crate::placement::{Budget, Homes, Method, Node, Outcome, Problem, Search, Workload, place};

pub(super) const MIB: u64 = 1 << 20;

/// `name cores GiB`, then optionally `zone` and one label `key=value`.
pub(super) fn node(line: &str) -> Node {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |index: usize| words[index].parse::<u64>().unwrap();
    let label = words.get(4).and_then(|label| label.split_once('='));
    Node {
        name: words[0].to_owned(),
        capacity: [number(1) * 1000, number(2) * 1024 * MIB, 0, 0],
        zone: words.get(3).filter(|zone| **zone != "-").map(|zone| (*zone).to_owned()),
        labels: label.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect(),
    }
}

/// `name replicas millicores MiB`, then optionally `avoid=..`, `select=key:value`, `spread=N` and
/// `service=..`.
pub(super) fn workload(line: &str) -> Workload {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |index: usize| words[index].parse::<u64>().unwrap();
    let mut workload = Workload {
        name: words[0].to_owned(),
        replicas: u32::try_from(number(1)).unwrap(),
        request: [number(2), number(3) * MIB, 0, 0],
        ..Workload::default()
    };
    for word in &words[4..] {
        match word.split_once('=').unwrap() {
            ("avoid", name) => workload.avoid = [name.to_owned()].into(),
            ("select", pair) => {
                let (key, value) = pair.split_once(':').unwrap();
                workload.selector = [(key.to_owned(), value.to_owned())].into();
            }
            ("spread", skew) => workload.spread = Some(skew.parse().unwrap()),
            ("service", name) => workload.service = Some(name.to_owned()),
            other => panic!("{other:?}"),
        }
    }
    workload
}

/// A cluster and what is to run on it.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) nodes: Vec<Node>,
    pub(super) workloads: Vec<Workload>,
}

impl Site {
    pub(super) fn new(nodes: &[&str], workloads: &[&str]) -> Self {
        Self {
            nodes: nodes.iter().map(|line| node(line)).collect(),
            workloads: workloads.iter().map(|line| workload(line)).collect(),
        }
    }

    pub(super) fn problem(&self) -> Problem {
        Problem::new(&self.nodes, &self.workloads).unwrap()
    }

    /// Of each replica, the workload.
    fn workloads(&self) -> impl Iterator<Item = &Workload> {
        self.workloads.iter().flat_map(|it| std::iter::repeat_n(it, it.replicas as usize))
    }

    /// What a placement breaks.
    pub(super) fn breaches(&self, homes: &Homes) -> Vec<String> {
        let placed: Vec<(&Workload, &Node)> = self
            .workloads()
            .zip(homes)
            .filter_map(|(workload, home)| home.map(|node| (workload, &self.nodes[node])))
            .collect();
        let mut found = Vec::new();
        for node in &self.nodes {
            let here = placed.iter().filter(|(_, home)| home.name == node.name);
            let here: Vec<&Workload> = here.map(|(workload, _)| *workload).collect();
            for d in 0..4 {
                if here.iter().map(|it| it.request[d]).sum::<u64>() > node.capacity[d] {
                    found.push(format!("{} overflows in {d}", node.name));
                }
            }
            for (index, one) in here.iter().enumerate() {
                if one.selector.iter().any(|(key, value)| node.labels.get(key) != Some(value)) {
                    found.push(format!("{} was not selected by {}", node.name, one.name));
                }
                for other in here[..index].iter().filter(|other| self.avoids(one, other)) {
                    found.push(format!("{} beside {} on {}", one.name, other.name, node.name));
                }
            }
        }
        found.extend(self.workloads.iter().filter_map(|it| self.uneven(it, &placed)));
        found
    }

    fn avoids(&self, one: &Workload, other: &Workload) -> bool {
        let says = |a: &str, b: &str| {
            self.workloads.iter().any(|it| it.service() == a && it.avoid.contains(b))
        };
        says(one.service(), other.service()) || says(other.service(), one.service())
    }

    fn uneven(&self, workload: &Workload, placed: &[(&Workload, &Node)]) -> Option<String> {
        let skew = workload.spread? as usize;
        let service = |it: &Workload| it.service() == workload.service();
        let takes = |it: &Workload, node: &Node| {
            it.selector.iter().all(|(key, value)| node.labels.get(key) == Some(value))
        };
        let eligible = self
            .nodes
            .iter()
            .filter(|node| self.workloads.iter().any(|it| service(it) && takes(it, node)));
        let zones: std::collections::BTreeSet<_> =
            eligible.filter_map(|node| node.zone.as_ref()).collect();
        let mine: Vec<_> = placed.iter().filter(|(it, _)| service(it)).collect();
        if mine.iter().any(|(_, node)| node.zone.is_none()) {
            return Some(format!("{} is in no zone", workload.name));
        }
        let counts = zones
            .iter()
            .map(|zone| mine.iter().filter(|it| it.1.zone.as_ref() == Some(zone)).count());
        let (least, most) = (counts.clone().min().unwrap_or(0), counts.max().unwrap_or(0));
        (most - least > skew).then(|| format!("{} has {least} and {most}", workload.name))
    }
}

pub(super) fn solve(problem: &Problem, method: Method, seed: u64, iterations: u32) -> Outcome {
    let search = Search { method, seed, threads: 1, budget: Budget::iterations(iterations) };
    place(problem, &search, &mut |_| {})
}

/// Small clusters with all kinds of rules, some of which cannot be kept.
pub(super) fn sites() -> impl Strategy<Value = Site> {
    let node = (1_u64..=8, 1_u64..=8, prop::option::of(0..3_u8), any::<bool>(), 0..3_u64);
    let workload = (
        (0_u64..2500, 0_u64..2500, 1_u32..=4, 0..3_u64),
        prop::option::weighted(0.3, 0..4_usize),
        prop::option::weighted(0.3, 0..4_usize),
        prop::option::weighted(0.2, 1..3_u32),
        prop::bool::weighted(0.2),
    );
    let nodes = prop::collection::vec(node, 1..7);
    let workloads = prop::collection::vec(workload, 4..9);
    (nodes, workloads).prop_map(|(nodes, workloads)| Site {
        nodes: nodes
            .into_iter()
            .enumerate()
            .map(|(index, (cores, gib, zone, fast, network))| Node {
                name: format!("n{index}"),
                capacity: [cores * 1000, gib << 30, network * 1000, 0],
                zone: zone.map(|zone| format!("z{zone}")),
                labels: fast.then(|| ("disk".to_owned(), "fast".to_owned())).into_iter().collect(),
            })
            .collect(),
        workloads: workloads
            .into_iter()
            .enumerate()
            .map(|(index, ((cpu, mib, replicas, network), service, avoid, spread, fast))| {
                Workload {
                    name: format!("w{index}"),
                    // The first four are in no other service, so whoever is avoided exists.
                    service: service.filter(|_| index > 3).map(|it| format!("w{it}")),
                    replicas,
                    request: [cpu, mib * MIB, network * 100, 0],
                    selector: fast
                        .then(|| ("disk".to_owned(), "fast".to_owned()))
                        .into_iter()
                        .collect(),
                    avoid: avoid.map(|it| format!("w{it}")).into_iter().collect(),
                    spread,
                }
            })
            .collect(),
    })
}

/// So many cases, and no files about failures.
pub(super) fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}
