//! A cluster to place things on.

use lb_userspace::placement::{Amounts, Node, Problem, Workload};

/// A cluster, its name and its seed.
pub(super) struct Instance {
    pub(super) name: &'static str,
    pub(super) seed: u64,
    pub(super) problem: Problem,
}

impl Instance {
    pub(super) fn new(
        name: &'static str,
        seed: u64,
        nodes: &[Node],
        workloads: &[Workload],
    ) -> Result<Self, String> {
        let problem = Problem::new(nodes, workloads).map_err(|mistakes| {
            mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        })?;
        Ok(Self { name, seed, problem })
    }
}

/// Counts what is requested, up to a part of what there is.
pub(super) struct Filling {
    capacity: Amounts,
    requested: Amounts,
    percent: u64,
}

impl Filling {
    pub(super) fn new(nodes: &[Node], percent: u64) -> Self {
        let capacity =
            std::array::from_fn(|d| nodes.iter().map(|node| node.capacity[d]).sum::<u64>());
        Self { capacity, requested: Amounts::default(), percent }
    }

    /// Takes a request unless that would be more than the part in any dimension.
    pub(super) fn take(&mut self, request: &Amounts, replicas: u32) -> bool {
        let more: Amounts =
            std::array::from_fn(|d| self.requested[d] + request[d] * u64::from(replicas));
        let fits = more.iter().zip(&self.capacity).all(|(requested, capacity)| {
            u128::from(*requested) * 100 <= u128::from(*capacity) * u128::from(self.percent)
        });
        if fits {
            self.requested = more;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_filled_up_to_its_part() {
        let node = Node { capacity: [100, 1000, 0, 0], ..Node::default() };
        let mut filling = Filling::new(&[node.clone(), node], 50);
        assert!(!filling.take(&[101, 1, 0, 0], 1));
        assert!(filling.take(&[50, 500, 0, 0], 1));
        assert!(!filling.take(&[1, 501, 0, 0], 1));
        assert!(!filling.take(&[26, 1, 0, 0], 2));
        assert!(filling.take(&[25, 250, 0, 0], 2));
        assert!(!filling.take(&[0, 1, 0, 0], 1));
    }
}
