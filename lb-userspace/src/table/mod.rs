//! Slot tables: what a policy becomes for the dataplane.

mod maglev;
mod turns;

use lb_common::abi::service::{SCAN_MAX, select};

use self::{maglev::maglev, turns::turns};
use crate::{
    model::Policy,
    reconcile::{BuiltTable, TableBackend},
};

/// Builds the table of a policy. Backends of weight 0 are left out; without any other the table is
/// empty and the service serves nobody.
#[must_use]
pub fn build(policy: Policy, backends: &[TableBackend]) -> BuiltTable {
    match policy {
        Policy::Adaptive => scan_requests(backends),
        Policy::AdaptiveMaglev => slots(select::HASH_FLOW, maglev(&by_capacity(backends))),
        Policy::Maglev => slots(select::HASH_FLOW, maglev(backends)),
        Policy::SourceHash => slots(select::HASH_SOURCE, maglev(backends)),
        Policy::RoundRobin => slots(select::TURN, turns(&equal(backends))),
        Policy::WeightedRoundRobin => slots(select::TURN, turns(backends)),
        Policy::Random => slots(select::RANDOM, turns(backends)),
        Policy::LeastConnections => scan(select::SCAN_LEAST, &equal(backends)),
        Policy::WeightedLeastConnections => scan(select::SCAN_LEAST, backends),
        Policy::ShortestDelay => scan(select::SCAN_DELAY, backends),
        Policy::P2c => slots(select::SAMPLE_TWO, maglev(backends)),
        Policy::Classic => slots(select::TURN, turns(&by_capacity(backends))),
    }
}

/// The same backends for the policies that know no shares.
fn equal(backends: &[TableBackend]) -> Vec<TableBackend> {
    backends.iter().map(|b| TableBackend { weight: b.weight.min(1), ..*b }).collect()
}

fn slots(select: u8, entries: Vec<u32>) -> BuiltTable {
    BuiltTable { select, len: length(entries.len()), entries }
}

/// Pairs of id and weight, or a table to sample once looking at everyone takes too long.
fn scan(select: u8, backends: &[TableBackend]) -> BuiltTable {
    let entries: Vec<u32> =
        backends.iter().filter(|b| b.weight > 0).flat_map(|b| [b.id, b.weight]).collect();
    let len = length(entries.len() / 2);
    if len > SCAN_MAX {
        return slots(select::SAMPLE_FOUR, maglev(backends));
    }
    BuiltTable { select, entries, len }
}

/// Those with weight, by what live load says of them.
fn by_capacity(backends: &[TableBackend]) -> Vec<TableBackend> {
    let usable = backends.iter().filter(|b| b.weight > 0);
    usable.map(|b| TableBackend { weight: b.capacity.max(1), ..*b }).collect()
}

/// Triples of id, capacity and weight, or a table to sample by capacity.
fn scan_requests(backends: &[TableBackend]) -> BuiltTable {
    let usable = || backends.iter().filter(|b| b.weight > 0);
    let len = length(usable().count());
    if len > SCAN_MAX {
        return slots(select::SAMPLE_REQUESTS, maglev(&by_capacity(backends)));
    }
    let entries = usable().flat_map(|b| [b.id, b.capacity.max(1), b.weight]).collect();
    BuiltTable { select: select::SCAN_REQUESTS, entries, len }
}

/// Tables end far below what a `u32` counts.
fn length(entries: usize) -> u32 {
    u32::try_from(entries).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Endpoint, Protocol},
        reconcile::TableBuilder,
    };

    /// Backends 1, 2, 3.. with these weights.
    pub(super) fn backends(weights: &[u32]) -> Vec<TableBackend> {
        (1..).zip(weights).map(|(id, &weight)| backend(id, weight)).collect()
    }

    /// Backend `id` at 198.18.x.x:80.
    pub(super) fn backend(id: u32, weight: u32) -> TableBackend {
        let [_, _, high, low] = id.to_be_bytes();
        let identity =
            Endpoint { address: [198, 18, high, low].into(), port: 80, protocol: Protocol::Tcp };
        TableBackend { id, identity, weight, capacity: weight.saturating_mul(10) }
    }

    const _: TableBuilder = build;

    #[test]
    fn each_policy_has_its_way_to_choose() {
        let few = backends(&[2, 0, 4]);
        let many = backends(&[2; SCAN_MAX as usize + 1]);
        #[rustfmt::skip]
        let table = [
            // policy, three backends: select, slots; too many to scan: select, slots
            (Policy::Adaptive,             select::SCAN_REQUESTS, 2, select::SAMPLE_REQUESTS, 4093),
            (Policy::AdaptiveMaglev,           select::HASH_FLOW,   251, select::HASH_FLOW,   4093),
            (Policy::Maglev,                   select::HASH_FLOW,   251, select::HASH_FLOW,   4093),
            (Policy::SourceHash,               select::HASH_SOURCE, 251, select::HASH_SOURCE, 4093),
            (Policy::RoundRobin,               select::TURN,          2, select::TURN,          33),
            (Policy::WeightedRoundRobin,       select::TURN,          3, select::TURN,          33),
            (Policy::Random,                   select::RANDOM,        3, select::RANDOM,        33),
            (Policy::LeastConnections,         select::SCAN_LEAST,    2, select::SAMPLE_FOUR, 4093),
            (Policy::WeightedLeastConnections, select::SCAN_LEAST,    2, select::SAMPLE_FOUR, 4093),
            (Policy::ShortestDelay,            select::SCAN_DELAY,    2, select::SAMPLE_FOUR, 4093),
            (Policy::P2c,                      select::SAMPLE_TWO,  251, select::SAMPLE_TWO,  4093),
            (Policy::Classic,                  select::TURN,          3, select::TURN,          33),
        ];
        for (policy, select_few, len_few, select_many, len_many) in table {
            let (few, many) = (build(policy, &few), build(policy, &many));
            assert_eq!((few.select, few.len), (select_few, len_few), "{policy:?}");
            assert_eq!((many.select, many.len), (select_many, len_many), "{policy:?}");
        }
    }

    #[test]
    fn entries_are_ids_or_rows() {
        let three = backends(&[2, 0, 4]);
        let table = [
            (Policy::RoundRobin, vec![1, 3]),
            (Policy::WeightedRoundRobin, vec![3, 1, 3]),
            (Policy::Random, vec![3, 1, 3]),
            (Policy::LeastConnections, vec![1, 1, 3, 1]),
            (Policy::WeightedLeastConnections, vec![1, 2, 3, 4]),
            (Policy::ShortestDelay, vec![1, 2, 3, 4]),
            (Policy::Adaptive, vec![1, 20, 2, 3, 40, 4]),
            (Policy::Classic, vec![3, 1, 3]),
        ];
        for (policy, entries) in table {
            assert_eq!(build(policy, &three).entries, entries, "{policy:?}");
        }
    }

    #[test]
    fn hashing_that_follows_load_goes_by_capacity() {
        let capacities = [6, 3];
        let mut unequal = backends(&[1, 1]);
        for (backend, capacity) in unequal.iter_mut().zip(capacities) {
            backend.capacity = capacity;
        }
        let built = build(Policy::AdaptiveMaglev, &unequal);
        assert_eq!(built.entries, maglev(&backends(&capacities)));
        assert_ne!(built.entries, build(Policy::Maglev, &unequal).entries);
    }

    #[test]
    fn without_weight_there_is_no_slot() {
        for policy in Policy::ALL {
            for nobody in [backends(&[]), backends(&[0]), backends(&[0; 40])] {
                let built = build(policy, &nobody);
                assert_eq!((built.len, built.entries), (0, vec![]), "{policy:?}");
            }
        }
    }

    #[test]
    fn a_backend_without_weight_changes_nothing() {
        for policy in Policy::ALL {
            let with = build(policy, &backends(&[3, 5, 0, 0]));
            assert_eq!(with, build(policy, &backends(&[3, 5])), "{policy:?}");
        }
    }

    #[test]
    fn exactly_scan_max_backends_are_still_scanned() {
        let mut weights = vec![1; SCAN_MAX as usize];
        weights.extend([0; 10]);
        let built = build(Policy::ShortestDelay, &backends(&weights));
        assert_eq!((built.select, built.len), (select::SCAN_DELAY, SCAN_MAX));
        assert_eq!(built.entries.len(), 2 * SCAN_MAX as usize);
    }

    #[test]
    fn a_sampled_policy_without_weights_ignores_them() {
        let mut weights = vec![1; 40];
        weights[7] = 1000;
        let built = build(Policy::LeastConnections, &backends(&weights));
        assert_eq!(built.entries, maglev(&backends(&[1; 40])));
    }
}
