//! A description that has no mistakes, made ready for search: names are indexes, and what cannot
//! change is computed once.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    amount::{Amounts, DIMENSIONS, Dimension, count, real},
    model::{Mistake, Node, Workload, mistakes, replica_names},
};

/// Where each replica is, by the index of both.
pub type Homes = Vec<Option<usize>>;

/// Nodes, and replicas to place on them.
#[derive(Clone, Debug)]
pub struct Problem {
    pub(super) machines: Vec<Machine>,
    pub(super) items: Vec<Item>,
    pub(super) classes: Vec<Class>,
    pub(super) services: Vec<Service>,
    pub(super) zones: usize,
    /// The dimensions that some node has.
    pub(super) dimensions: Vec<usize>,
    /// Requested by all, divided by what all nodes have: where a perfect balance would be. At most
    /// 1: more cannot be placed.
    pub(super) average: [f64; DIMENSIONS],
    /// The number of services whose replicas are counted by node.
    pub(super) counted: usize,
}

/// A node.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) name: String,
    pub(super) capacity: Amounts,
    /// Of each capacity; 0 where there is none.
    pub(super) inverse: [f64; DIMENSIONS],
    pub(super) zone: Option<usize>,
}

/// A replica.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) name: String,
    /// The index of its workload.
    pub(super) workload: usize,
    pub(super) class: usize,
    /// Its largest part of an average node: large ones are hard to place.
    pub(super) size: f64,
}

/// Replicas that no rule can tell apart.
#[derive(Clone, Debug)]
pub(super) struct Class {
    pub(super) request: Amounts,
    /// The request as floating point.
    pub(super) needs: [f64; DIMENSIONS],
    pub(super) service: usize,
    /// By node: whether the selector takes it.
    pub(super) selected: Vec<bool>,
    /// Nodes that the selector takes and that are large enough when they are empty.
    pub(super) nodes: Vec<usize>,
    /// By node: whether it is in `nodes`.
    pub(super) suits: Vec<bool>,
}

/// What replicas of one service share.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) replicas: usize,
    /// Its row among the services that are counted by node: a lone replica without rules needs no
    /// count.
    pub(super) counted: Option<usize>,
    /// Services that may not be on the same node, in both directions.
    pub(super) avoid: Vec<usize>,
    pub(super) spread: Option<Spread>,
    /// The least share of the replicas that the fullest node can have.
    pub(super) share_min: f64,
}

/// A limit for the difference between zones.
#[derive(Clone, Debug)]
pub(super) struct Spread {
    pub(super) skew: u32,
    /// Zones in which the selectors take a node.
    pub(super) zones: Vec<usize>,
}

impl Problem {
    /// Takes a description, or names everything that is wrong with it.
    pub fn new(nodes: &[Node], workloads: &[Workload]) -> Result<Self, Vec<Mistake>> {
        let mistakes = mistakes(nodes, workloads);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let zones: BTreeSet<&str> = nodes.iter().filter_map(|it| it.zone.as_deref()).collect();
        let zones: BTreeMap<&str, usize> = zones.into_iter().zip(0..).collect();
        let machines: Vec<Machine> = nodes.iter().map(|node| machine(node, &zones)).collect();
        let exists = |&d: &usize| machines.iter().any(|it| it.capacity[d] > 0);
        let dimensions = (0..DIMENSIONS).filter(exists).collect();
        let mut problem = Self {
            average: average(&machines, workloads),
            machines,
            items: Vec::new(),
            classes: Vec::new(),
            services: services(nodes.len(), workloads),
            zones: zones.len(),
            dimensions,
            counted: 0,
        };
        problem.number_counted();
        problem.add_items(nodes, workloads);
        problem.find_zones();
        Ok(problem)
    }

    /// The number of nodes.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.machines.len()
    }

    /// The number of replicas of all workloads.
    #[must_use]
    pub fn replicas(&self) -> usize {
        self.items.len()
    }

    /// The name of a node.
    #[must_use]
    pub fn node_name(&self, node: usize) -> &str {
        self.machines.get(node).map_or("", |it| &it.name)
    }

    /// The name of a replica.
    #[must_use]
    pub fn replica_name(&self, item: usize) -> &str {
        self.items.get(item).map_or("", |it| &it.name)
    }

    /// The workload that a replica is of, by its index.
    #[must_use]
    pub fn workload(&self, item: usize) -> Option<usize> {
        self.items.get(item).map(|it| it.workload)
    }

    /// The dimensions that some node has.
    pub fn dimensions(&self) -> impl Iterator<Item = Dimension> {
        self.dimensions.iter().filter_map(|&d| Dimension::ALL.get(d).copied())
    }

    /// What is used on each node.
    #[must_use]
    pub fn used(&self, homes: &Homes) -> Vec<Amounts> {
        let mut used = vec![[0; DIMENSIONS]; self.machines.len()];
        for (item, home) in homes.iter().enumerate() {
            if let Some(node) = home {
                used[*node] = plus(&used[*node], self.request(item));
            }
        }
        used
    }

    /// The part of a node that is used, by dimension; 0 of what it does not have.
    #[must_use]
    pub fn utilisation(&self, node: usize, used: &Amounts) -> [f64; DIMENSIONS] {
        let inverse = &self.machines[node].inverse;
        std::array::from_fn(|d| real(used[d]) * inverse[d])
    }

    pub(super) fn class(&self, item: usize) -> &Class {
        &self.classes[self.items[item].class]
    }

    pub(super) fn request(&self, item: usize) -> &Amounts {
        &self.class(item).request
    }

    /// Replicas from the largest to the smallest, equals as they came.
    pub(super) fn decreasing(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.items.len()).collect();
        order.sort_by(|&a, &b| self.items[b].size.total_cmp(&self.items[a].size));
        order
    }

    fn number_counted(&mut self) {
        for service in &mut self.services {
            if service.replicas > 1 || !service.avoid.is_empty() || service.spread.is_some() {
                service.counted = Some(self.counted);
                self.counted += 1;
            }
        }
    }

    fn add_items(&mut self, nodes: &[Node], workloads: &[Workload]) {
        let names = service_names(workloads);
        let mut known = BTreeMap::new();
        for (index, workload) in workloads.iter().enumerate() {
            let service = names[workload.service()];
            let key = (workload.request, service, &workload.selector);
            let class = *known.entry(key).or_insert_with(|| {
                self.classes.push(class(workload, service, nodes));
                self.classes.len() - 1
            });
            let size = self.size(&workload.request);
            let item = |name| Item { name, workload: index, class, size };
            let items = replica_names(workload).map(item);
            self.items.extend(items);
        }
    }

    fn size(&self, request: &Amounts) -> f64 {
        let nodes = count(self.machines.len());
        let part = |&d: &usize| {
            let capacity: f64 = self.machines.iter().map(|it| real(it.capacity[d])).sum();
            real(request[d]) * nodes / capacity
        };
        self.dimensions.iter().map(part).fold(0.0, f64::max)
    }

    /// A service has the zones that the selector of one of its replicas takes.
    fn find_zones(&mut self) {
        for (index, service) in self.services.iter_mut().enumerate() {
            let Some(spread) = &mut service.spread else { continue };
            let classes = self.classes.iter().filter(|class| class.service == index);
            let nodes = classes.flat_map(|class| class.selected.iter().zip(&self.machines));
            let zones = nodes.filter(|(selected, _)| **selected).filter_map(|(_, it)| it.zone);
            spread.zones = zones.collect::<BTreeSet<_>>().into_iter().collect();
        }
    }
}

/// The sum of two amounts: of what fits into nodes, so it cannot overflow.
pub(super) fn plus(one: &Amounts, other: &Amounts) -> Amounts {
    std::array::from_fn(|d| one[d].saturating_add(other[d]))
}

/// What remains of an amount.
pub(super) fn minus(one: &Amounts, other: &Amounts) -> Amounts {
    std::array::from_fn(|d| one[d].saturating_sub(other[d]))
}

/// Whether all of it fits.
pub(super) fn within(amounts: &Amounts, capacity: &Amounts) -> bool {
    amounts.iter().zip(capacity).all(|(amount, capacity)| amount <= capacity)
}

fn machine(node: &Node, zones: &BTreeMap<&str, usize>) -> Machine {
    let inverse = node.capacity.map(|amount| if amount == 0 { 0.0 } else { 1.0 / real(amount) });
    let zone = node.zone.as_deref().and_then(|name| zones.get(name).copied());
    Machine { name: node.name.clone(), capacity: node.capacity, inverse, zone }
}

fn average(machines: &[Machine], workloads: &[Workload]) -> [f64; DIMENSIONS] {
    std::array::from_fn(|d| {
        let capacity: f64 = machines.iter().map(|it| real(it.capacity[d])).sum();
        let replicas = workloads.iter().map(|it| real(it.request[d]) * f64::from(it.replicas));
        if capacity > 0.0 { (replicas.sum::<f64>() / capacity).min(1.0) } else { 0.0 }
    })
}

fn service_names(workloads: &[Workload]) -> BTreeMap<&str, usize> {
    let names: BTreeSet<&str> = workloads.iter().map(Workload::service).collect();
    names.into_iter().zip(0..).collect()
}

/// The services by name. Rules of several workloads of one service add up.
fn services(nodes: usize, workloads: &[Workload]) -> Vec<Service> {
    let names = service_names(workloads);
    let mut replicas = vec![0_usize; names.len()];
    let mut avoid = vec![BTreeSet::new(); names.len()];
    let mut skews: Vec<Option<u32>> = vec![None; names.len()];
    for workload in workloads {
        let service = names[workload.service()];
        replicas[service] += workload.replicas as usize;
        for other in workload.avoid.iter().filter_map(|name| names.get(name.as_str())) {
            avoid[service].insert(*other);
            avoid[*other].insert(service);
        }
        skews[service] = match (skews[service], workload.spread) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
    let rules = avoid.into_iter().zip(skews);
    let service = |(replicas, (avoid, skew)): (usize, (BTreeSet<usize>, Option<u32>))| Service {
        replicas,
        counted: None,
        avoid: avoid.into_iter().collect(),
        spread: skew.map(|skew| Spread { skew, zones: Vec::new() }),
        share_min: 1.0 / count(replicas.min(nodes)),
    };
    replicas.into_iter().zip(rules).map(service).collect()
}

fn class(workload: &Workload, service: usize, nodes: &[Node]) -> Class {
    let has = |node: &Node| {
        workload.selector.iter().all(|(key, value)| node.labels.get(key) == Some(value))
    };
    let selected: Vec<bool> = nodes.iter().map(has).collect();
    let large = nodes.iter().map(|node| within(&workload.request, &node.capacity));
    let suits: Vec<bool> = large.zip(&selected).map(|(large, taken)| large && *taken).collect();
    let suitable = (0..nodes.len()).filter(|&node| suits[node]).collect();
    let request = workload.request;
    Class { request, needs: request.map(real), service, selected, nodes: suitable, suits }
}
