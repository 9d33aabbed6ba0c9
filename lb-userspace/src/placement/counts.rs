//! How many replicas of a service are on each node and in each zone: for the rules about
//! neighbours and zones, and for the share that the loss of one node would take.

use super::{
    cost::excess,
    problem::{Problem, Service},
};

/// The service, the old and the new node of each replica that moves.
pub(super) type Changes = [Option<(usize, Option<usize>, Option<usize>)>; 2];

/// Replicas by service and place.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    nodes: usize,
    zones: usize,
    /// By counted service and node.
    by_node: Vec<u32>,
    /// By counted service and zone.
    by_zone: Vec<u32>,
    /// By counted service: how many nodes have so many replicas.
    nodes_with: Vec<Vec<u32>>,
    /// By counted service: the most replicas on one node.
    most: Vec<u32>,
    /// The sum of what each service adds to `A`.
    excess: f64,
}

impl Counts {
    pub(super) fn new(problem: &Problem) -> Self {
        let (nodes, zones, counted) = (problem.machines.len(), problem.zones, problem.counted);
        let few = u32::try_from(nodes).unwrap_or(u32::MAX);
        let services = problem.services.iter().filter(|it| it.counted.is_some());
        let nodes_with = services.map(|service| {
            let mut with = vec![0; service.replicas + 1];
            with[0] = few;
            with
        });
        Self {
            nodes,
            zones,
            by_node: vec![0; counted * nodes],
            by_zone: vec![0; counted * zones],
            nodes_with: nodes_with.collect(),
            most: vec![0; counted],
            excess: 0.0,
        }
    }

    /// Replicas of a service on a node; 0 for services that are not counted.
    pub(super) fn on(&self, service: &Service, node: usize) -> u32 {
        service.counted.map_or(0, |row| self.by_node[row * self.nodes + node])
    }

    /// The sum of what each service adds to `A`.
    pub(super) fn excess(&self) -> f64 {
        self.excess
    }

    /// The same as some changes would make it: one for each service at most.
    pub(super) fn excess_after(&self, problem: &Problem, changes: &Changes) -> f64 {
        let more = changes.iter().flatten().map(|&(service, from, to)| {
            let service = &problem.services[service];
            let Some(row) = service.counted.filter(|_| from != to) else { return 0.0 };
            let now = self.most[row];
            let at = |node: usize| self.by_node[row * self.nodes + node];
            let alone =
                from.is_some_and(|node| at(node) == now) && self.nodes_with[row][now as usize] == 1;
            let left = if alone { now - 1 } else { now };
            let most = to.map_or(left, |node| left.max(at(node) + 1));
            if most == now { 0.0 } else { part(service, most) - part(service, now) }
        });
        self.excess + more.sum::<f64>()
    }

    pub(super) fn apply(&mut self, problem: &Problem, changes: &Changes) {
        self.excess = self.excess_after(problem, changes);
        for &(service, from, to) in changes.iter().flatten() {
            let Some(row) = problem.services[service].counted else { continue };
            for (node, comes) in [(from, false), (to, true)] {
                let Some(node) = node else { continue };
                self.change(row, node, comes);
                if let Some(zone) = problem.machines[node].zone {
                    step(&mut self.by_zone[row * self.zones + zone], comes);
                }
            }
        }
    }

    fn change(&mut self, row: usize, node: usize, comes: bool) {
        let number = &mut self.by_node[row * self.nodes + node];
        let with = &mut self.nodes_with[row];
        with[*number as usize] -= 1;
        step(number, comes);
        with[*number as usize] += 1;
        let most = &mut self.most[row];
        if *number > *most {
            *most = *number;
        } else if with[*most as usize] == 0 {
            *most -= 1;
        }
    }

    /// Whether neighbours and zones allow a replica of a service to come to a node.
    pub(super) fn allows_put(
        &self,
        problem: &Problem,
        service: usize,
        from: Option<usize>,
        to: usize,
    ) -> bool {
        let service = &problem.services[service];
        self.neighbours_allow(problem, service, to, None)
            && self.zones_allow(problem, service, from, Some(to))
    }

    /// Whether they allow that replicas of two services change places.
    pub(super) fn allows_swap(
        &self,
        problem: &Problem,
        [(one, a), (other, b)]: [(usize, Option<usize>); 2],
    ) -> bool {
        let comes = |service: &Service, node: Option<usize>, left| {
            node.is_none_or(|node| self.neighbours_allow(problem, service, node, Some(left)))
        };
        let (first, second) = (&problem.services[one], &problem.services[other]);
        one == other
            || comes(first, b, other)
                && comes(second, a, one)
                && self.zones_allow(problem, first, a, b)
                && self.zones_allow(problem, second, b, a)
    }

    /// Whether nobody on the node is avoided, when a replica of one service has left it.
    pub(super) fn neighbours_allow(
        &self,
        problem: &Problem,
        service: &Service,
        node: usize,
        left: Option<usize>,
    ) -> bool {
        service.avoid.iter().all(|&avoided| {
            self.on(&problem.services[avoided], node) == u32::from(left == Some(avoided))
        })
    }

    /// Whether no two zones differ by more than the service allows, when a replica has moved.
    pub(super) fn zones_allow(
        &self,
        problem: &Problem,
        service: &Service,
        from: Option<usize>,
        to: Option<usize>,
    ) -> bool {
        let Some(spread) = &service.spread else { return true };
        let zone = |node: usize| problem.machines[node].zone;
        let (left, came) = (from.and_then(zone), to.and_then(zone));
        if to.is_some() && came.is_none() {
            return false;
        }
        if left == came {
            return true;
        }
        let row = service.counted.map(|row| row * self.zones);
        let after = spread.zones.iter().map(|&other| {
            let number = row.map_or(0, |row| self.by_zone[row + other]);
            number + u32::from(came == Some(other)) - u32::from(left == Some(other))
        });
        let (least, most) =
            after.fold((u32::MAX, 0), |(least, most), it| (least.min(it), most.max(it)));
        most - least.min(most) <= spread.skew
    }
}

fn part(service: &Service, most: u32) -> f64 {
    excess(most, service.replicas, service.share_min)
}

const fn step(number: &mut u32, comes: bool) {
    if comes {
        *number += 1;
    } else {
        *number -= 1;
    }
}
