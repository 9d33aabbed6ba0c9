//! Slot tables: what a policy looks like to the dataplane. Pure.

mod maglev;
mod turns;

use lb_common::abi::service::{SCAN_MAX, select};

pub use maglev::table_size;

use crate::{
    model::Policy,
    reconcile::{BuiltTable, TableBackend},
};

/// Builds the table of a policy. Backends of weight 0 are left out.
#[must_use]
pub fn build(policy: Policy, backends: &[TableBackend]) -> BuiltTable {
    let backends: Vec<TableBackend> =
        backends.iter().filter(|backend| backend.weight > 0).copied().collect();
    let scannable = backends.len() <= SCAN_MAX as usize;
    match policy {
        Policy::Maglev => slots(select::HASH_FLOW, maglev::table(&backends)),
        Policy::SourceHash => slots(select::HASH_SOURCE, maglev::table(&backends)),
        Policy::P2c => slots(select::SAMPLE_TWO, maglev::table(&backends)),
        Policy::RoundRobin => slots(select::TURN, backends.iter().map(|b| b.id).collect()),
        Policy::WeightedRoundRobin => slots(select::TURN, turns::table(&backends)),
        Policy::Random => slots(select::RANDOM, turns::table(&backends)),
        Policy::LeastConnections if scannable => pairs(select::SCAN_LEAST, &backends, |_| 1),
        Policy::WeightedLeastConnections if scannable => {
            pairs(select::SCAN_LEAST, &backends, |backend| backend.weight)
        }
        Policy::ShortestDelay if scannable => {
            pairs(select::SCAN_DELAY, &backends, |backend| backend.weight)
        }
        Policy::LeastConnections | Policy::WeightedLeastConnections | Policy::ShortestDelay => {
            slots(select::SAMPLE_FOUR, maglev::table(&backends))
        }
    }
}

/// A table of one backend id a slot.
fn slots(select: u8, entries: Vec<u32>) -> BuiltTable {
    let len = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    BuiltTable { select, len, entries }
}

/// A table of pairs: backend id, weight.
fn pairs(
    select: u8,
    backends: &[TableBackend],
    weight: impl Fn(&TableBackend) -> u32,
) -> BuiltTable {
    let entries = backends.iter().flat_map(|backend| [backend.id, weight(backend)]).collect();
    BuiltTable { select, len: u32::try_from(backends.len()).unwrap_or(u32::MAX), entries }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Endpoint, Protocol};

    pub(super) fn backends(weights: &[u32]) -> Vec<TableBackend> {
        let backend = |(id, weight): (u32, &u32)| {
            let address = std::net::Ipv4Addr::from(0xc612_0a00 + id).into();
            let identity = Endpoint { address, port: 8080, protocol: Protocol::Tcp };
            TableBackend { id, identity, weight: *weight }
        };
        (1..).zip(weights).map(backend).collect()
    }

    #[test]
    fn every_policy_has_its_table() {
        let few = backends(&[2, 0, 1]);
        let rows = [
            (Policy::Maglev, select::HASH_FLOW, 251),
            (Policy::SourceHash, select::HASH_SOURCE, 251),
            (Policy::P2c, select::SAMPLE_TWO, 251),
            (Policy::RoundRobin, select::TURN, 2),
            (Policy::WeightedRoundRobin, select::TURN, 3),
            (Policy::Random, select::RANDOM, 3),
            (Policy::LeastConnections, select::SCAN_LEAST, 2),
            (Policy::WeightedLeastConnections, select::SCAN_LEAST, 2),
            (Policy::ShortestDelay, select::SCAN_DELAY, 2),
        ];
        for (policy, select, len) in rows {
            let table = build(policy, &few);
            assert_eq!((table.select, table.len), (select, len), "{policy:?}");
            let expected = if len == 2 && select != select::TURN { 4 } else { len as usize };
            assert_eq!(table.entries.len(), expected, "{policy:?}");
        }
    }

    #[test]
    fn scans_carry_weights_and_least_connections_ignores_them() {
        let few = backends(&[5, 3]);
        assert_eq!(build(Policy::ShortestDelay, &few).entries, [1, 5, 2, 3]);
        assert_eq!(build(Policy::WeightedLeastConnections, &few).entries, [1, 5, 2, 3]);
        assert_eq!(build(Policy::LeastConnections, &few).entries, [1, 1, 2, 1]);
    }

    #[test]
    fn beyond_the_scan_a_table_is_sampled() {
        let many = backends(&[1; SCAN_MAX as usize + 1]);
        for policy in
            [Policy::LeastConnections, Policy::WeightedLeastConnections, Policy::ShortestDelay]
        {
            assert_eq!(build(policy, &many).select, select::SAMPLE_FOUR, "{policy:?}");
        }
    }

    #[test]
    fn nobody_to_choose_is_an_empty_table() {
        for policy in Policy::ALL {
            assert_eq!(build(policy, &[]).len, 0, "{policy:?}");
            assert_eq!(build(policy, &backends(&[0, 0])).len, 0, "{policy:?}");
        }
    }
}
