//! Samples of Alibaba's openb cluster: 30 of its 1,523 nodes, and of its 9,420 pods as many as
//! make them so full. The lists have no services: each pod is its own.

use std::{fs::File, path::Path};

use anyhow::{Context as _, Result};
use lb_userspace::placement::{Amounts, Node, Workload};

use super::instance::{Filling, Instance};
use crate::shuffle::Shuffle;

/// Names and fillings in percent.
pub(super) const LEVELS: [(&str, u64); 3] =
    [("openb 30 nodes 60%", 60), ("openb 30 nodes 85%", 85), ("openb 30 nodes 95%", 95)];

const NODES: &str = "openb_node_list_all_node.csv";
const PODS: &str = "openb_pod_list_cpu250.csv";
const SAMPLE: usize = 30;
/// So many pods in a row that are too large: the cluster is full.
const REFUSALS_MAX: usize = 50;

/// Both lists: names, and what nodes have and pods need.
pub(super) struct Lists {
    nodes: Vec<(String, Amounts)>,
    pods: Vec<(String, Amounts)>,
}

/// Reads the lists; `None` if they are not there.
pub(super) fn read(data: &Path) -> Result<Option<Lists>> {
    let (nodes, pods) = (data.join(NODES), data.join(PODS));
    if !nodes.exists() || !pods.exists() {
        return Ok(None);
    }
    Ok(Some(Lists { nodes: list(&nodes)?, pods: list(&pods)? }))
}

/// The first three columns of both lists: name, millicores, mebibytes.
fn list(path: &Path) -> Result<Vec<(String, Amounts)>> {
    let name = || path.display().to_string();
    let file = File::open(path).with_context(name)?;
    let mut rows = Vec::new();
    for row in csv::Reader::from_reader(file).deserialize() {
        let (name, cpu, memory_mib): (String, u64, u64) = first(row).with_context(name)?;
        rows.push((name, [cpu, memory_mib << 20, 0, 0]));
    }
    Ok(rows)
}

fn first(row: csv::Result<Vec<String>>) -> Result<(String, u64, u64)> {
    let row = row?;
    let cell = |index: usize| row.get(index).with_context(|| format!("column {index} is missing"));
    let number = |index| -> Result<u64> {
        let text = cell(index)?;
        text.parse().with_context(|| format!("{text:?} is no number"))
    };
    Ok((cell(0)?.clone(), number(1)?, number(2)?))
}

impl Lists {
    pub(super) fn sample(&self, name: &'static str, percent: u64, seed: u64) -> Result<Instance> {
        let mut shuffle = Shuffle::new(seed);
        let nodes: Vec<Node> = shuffle
            .order(self.nodes.len())
            .into_iter()
            .take(SAMPLE)
            .map(|index| {
                let (name, capacity) = self.nodes[index].clone();
                Node { name, capacity, ..Node::default() }
            })
            .collect();
        let suits = |request: &Amounts| {
            nodes.iter().any(|node| request.iter().zip(&node.capacity).all(|(r, c)| r <= c))
        };
        let mut filling = Filling::new(&nodes, percent);
        let (mut workloads, mut refusals) = (Vec::new(), 0);
        for index in shuffle.order(self.pods.len()) {
            let (name, request) = self.pods[index].clone();
            if !suits(&request) {
                continue;
            }
            if filling.take(&request, 1) {
                workloads.push(Workload { name, replicas: 1, request, ..Workload::default() });
                refusals = 0;
            } else {
                refusals += 1;
            }
            if refusals == REFUSALS_MAX {
                break;
            }
        }
        Instance::new(name, seed, &nodes, &workloads).map_err(anyhow::Error::msg)
    }
}
