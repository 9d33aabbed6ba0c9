//! The scores by which the Kubernetes scheduler spreads load by default: least allocated and
//! balanced allocation, weight 1 each, on processor and memory, with its integer division
//! (`pkg/scheduler/framework/plugins/noderesources`). Its other scores are equal for all nodes
//! here, or taints, images and preferences that this model does not have.

use super::amount::{Amounts, Dimension, real};

/// The highest score of a plugin.
const SCORE_MAX: u64 = 100;
/// What least allocated takes a pod for that requests no processor.
const CPU_ASSUMED: u64 = 100;
/// What it takes a pod for that requests no memory.
const MEMORY_ASSUMED: u64 = 200 << 20;

/// The dimensions that the default configuration looks at.
const SCORED: [usize; 2] = [Dimension::Cpu.index(), Dimension::Memory.index()];

/// What the scheduler remembers of each node beyond what is requested there.
#[derive(Clone, Debug)]
pub(super) struct Scheduler {
    /// By node: requests, with something for those who request nothing.
    assumed: Vec<[u64; 2]>,
}

impl Scheduler {
    pub(super) fn new(nodes: usize) -> Self {
        Self { assumed: vec![[0; 2]; nodes] }
    }

    /// The sum of the scores of a node for a pod that is not on it.
    pub(super) fn score(
        &self,
        node: usize,
        request: &Amounts,
        used: &Amounts,
        capacity: &Amounts,
    ) -> u64 {
        let capacity = SCORED.map(|d| capacity[d]);
        let [cpu, memory] = nonzero(request);
        let [assumed_cpu, assumed_memory] = self.assumed[node];
        let least = least_allocated([assumed_cpu + cpu, assumed_memory + memory], capacity);
        // Pods without any request are not scored, lest they all come to one node.
        if SCORED.iter().all(|&d| request[d] == 0) {
            return least;
        }
        least + balanced_allocation(SCORED.map(|d| used[d] + request[d]), capacity)
    }

    /// Counts a pod that was placed.
    pub(super) fn assume(&mut self, node: usize, request: &Amounts) {
        for (assumed, more) in self.assumed[node].iter_mut().zip(nonzero(request)) {
            *assumed += more;
        }
    }
}

fn nonzero(request: &Amounts) -> [u64; 2] {
    let or = |amount, assumed| if amount == 0 { assumed } else { amount };
    [or(request[SCORED[0]], CPU_ASSUMED), or(request[SCORED[1]], MEMORY_ASSUMED)]
}

/// The mean of what remains free in percent, both divisions rounded down.
pub(super) fn least_allocated(requested: [u64; 2], capacity: [u64; 2]) -> u64 {
    let free = |(requested, capacity): (u64, u64)| match capacity.checked_sub(requested) {
        Some(free) if capacity > 0 => free * SCORE_MAX / capacity,
        Some(_) | None => 0,
    };
    requested.into_iter().zip(capacity).map(free).sum::<u64>() / 2
}

/// 100 less the standard deviation of the fractions in percent, rounded down.
pub(super) fn balanced_allocation(requested: [u64; 2], capacity: [u64; 2]) -> u64 {
    let fraction = |d: usize| (real(requested[d]) / real(capacity[d])).min(1.0);
    let fractions = match capacity {
        // Of one fraction there is no deviation.
        [0, _] | [_, 0] => [0.0; 2],
        [_, _] => [fraction(0), fraction(1)],
    };
    let deviation = ((fractions[0] - fractions[1]) / 2.0).abs();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 50 and 100"
    )]
    let score = ((1.0 - deviation) * real(SCORE_MAX)) as u64;
    score
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn scores_are_those_worked_out_by_hand() {
        #[rustfmt::skip]
        let table = [
            // requested with the pod, capacity, least allocated, balanced allocation
            ([0, 0],              [4000, 10_000],     100, 100),
            // (25 + 50) / 2 = 37; fractions 3/4 and 1/2 are 1/8 from their mean: 87.5
            ([3000, 5000],        [4000, 10_000],      37,  87),
            // (50 + 50) / 2; equal fractions
            ([3000, 5000],        [6000, 10_000],      50, 100),
            // 1 * 100 / 3 = 33, 2 * 100 / 3 = 66, 99 / 2 = 49; 2/3 and 1/3: 83.3
            ([2, 1],              [3, 3],              49,  83),
            // (0 + 99) / 2, both divisions down
            ([4000, 1],           [4000, 10_000],      49,  50),
            // more than there is: nothing for this one, and a fraction of 1
            ([5000, 5000],        [4000, 10_000],      25,  75),
            ([5000, 20_000],      [4000, 10_000],       0, 100),
            // no capacity, no score; one fraction has no deviation
            ([0, 5000],           [0, 10_000],         25, 100),
            ([7, 7],              [0, 0],               0, 100),
            // 32 cores, 256 GiB: 48 * 100 / 100, 80
            ([16_500, 50 * GIB],  [32_000, 256 * GIB], 64,  83),
        ];
        for (requested, capacity, least, balanced) in table {
            assert_eq!(least_allocated(requested, capacity), least, "{requested:?} {capacity:?}");
            assert_eq!(balanced_allocation(requested, capacity), balanced, "{requested:?}");
        }
    }

    #[test]
    fn the_largest_amounts_do_not_overflow() {
        let all = super::super::amount::AMOUNT_MAX;
        assert_eq!(least_allocated([1, 1], [all, all]), 99);
        assert_eq!(least_allocated([all, all], [all, all]), 0);
    }

    #[test]
    fn a_pod_without_requests_counts_as_a_small_one_and_is_not_balanced() {
        let (capacity, nothing) = ([1000, 1000 << 20, 0, 0], [0; 4]);
        let mut scheduler = Scheduler::new(2);
        // 900 of 1000 and 800 of 1000 MiB remain: (90 + 80) / 2.
        assert_eq!(scheduler.score(0, &nothing, &nothing, &capacity), 85);
        scheduler.assume(0, &nothing);
        assert_eq!(scheduler.score(0, &nothing, &nothing, &capacity), 70);
        assert_eq!(scheduler.score(1, &nothing, &nothing, &capacity), 85);
        // Only processor: 100 MiB short of a fifth are assumed; 500 / 1000 beside 0 / 1000: 75.
        assert_eq!(scheduler.score(1, &[500, 0, 0, 0], &nothing, &capacity), 65 + 75);
    }

    #[test]
    fn processor_and_memory_alone_are_scored() {
        let scheduler = Scheduler::new(1);
        let (request, capacity) = ([500, 500 << 20, 9, 9], [1000, 1000 << 20, 9, 9]);
        assert_eq!(scheduler.score(0, &request, &[0; 4], &capacity), 150);
    }
}
