//! The kernel compares delays, `(flows + 1) / weight`, and what a request costs all, `(requests + ½)
//! / capacity`, by multiplying crosswise in 64 bits. That has to be the order of the rational
//! numbers, up to the largest counts and weights.

#![expect(clippy::unwrap_used, reason = "a test ends where its own arithmetic fails")]

use std::{cell::RefCell, collections::BTreeMap};

use lb_common::{
    abi::{
        address::Address,
        backend::{Backend, backend_state},
        service::{Service, select as way},
        settings::Settings,
    },
    pipeline::{Flow, flow_key::FlowKey, select::select},
    tables::MemoryTables,
};
use proptest::prelude::*;

/// Whom the pipeline chooses among backends with so many flows and such weights.
fn chosen(backends: &[(u64, u32)]) -> u32 {
    let ids = || 1_u32..;
    let up = |id| (id, Backend { state: backend_state::UP, capacity: 1, ..Backend::default() });
    let pairs = ids().zip(backends).flat_map(|(id, (_, weight))| [id, *weight]);
    let tables = MemoryTables {
        pages: BTreeMap::from([(0, pairs.collect())]),
        backends: ids().take(backends.len()).map(up).collect(),
        flows: RefCell::new(ids().zip(backends).map(|(id, (flows, _))| (id, *flows)).collect()),
        ..MemoryTables::default()
    };
    let table_len = u32::try_from(backends.len()).unwrap();
    let service = Service { id: 1, select: way::SCAN_DELAY, table_len, ..Service::default() };
    let nowhere = (Address::default(), 0);
    let (key, settings) = (FlowKey::new(false, nowhere, nowhere, 6), Settings::default());
    select(
        &tables,
        &Flow { key: &key, settings: &settings, now: 0, tcp_flags: 0, payload: false },
        &service,
        false,
    )
}

/// The first of the smallest delays, compared without any limit of size.
fn smallest(backends: &[(u64, u32)]) -> u32 {
    let mut best = 0;
    for (index, (flows, weight)) in backends.iter().enumerate() {
        let (best_flows, best_weight) = backends[best];
        let (this, other) = (u128::from(flows + 1), u128::from(best_flows + 1));
        if this * u128::from(best_weight) < other * u128::from(*weight) {
            best = index;
        }
    }
    u32::try_from(best).unwrap() + 1
}

#[test]
fn all_small_delays_are_ordered() {
    for flows in 0..12 {
        for weight in 1..12 {
            for other_flows in 0..12 {
                for other_weight in 1..12 {
                    let backends = [(flows, weight), (other_flows, other_weight)];
                    assert_eq!(chosen(&backends), smallest(&backends), "{backends:?}");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn large_delays_are_ordered_without_overflow(
        backends in prop::collection::vec(
            (
                prop_oneof![0..200_u64, 0..u64::from(u32::MAX), Just(u64::from(u32::MAX))],
                prop_oneof![1..200_u32, 1..=65535_u32, Just(65535)],
            ),
            1..=32,
        ),
    ) {
        prop_assert_eq!(chosen(&backends), smallest(&backends));
    }
}

/// Whom the pipeline chooses among backends with so many requests in flight and such capacities.
fn chosen_by_requests(backends: &[(u64, u32)], seed: u32) -> (u64, u32) {
    let ids = || 1_u32..;
    let up = |id| (id, Backend { state: backend_state::UP, capacity: 1, ..Backend::default() });
    // The weights, which count without a controller, say the opposite.
    let row = |(id, (_, capacity)): (u32, &(u64, u32))| [id, *capacity, 65_536 - *capacity];
    let tables = MemoryTables {
        pages: BTreeMap::from([(0, ids().zip(backends).flat_map(row).collect())]),
        backends: ids().take(backends.len()).map(up).collect(),
        requests: RefCell::new(ids().zip(backends).map(|(id, (count, _))| (id, *count)).collect()),
        ..MemoryTables::default()
    };
    tables.seed.set(seed);
    let table_len = u32::try_from(backends.len()).unwrap();
    let service = Service { id: 1, select: way::SCAN_REQUESTS, table_len, ..Service::default() };
    let nowhere = (Address::default(), 0);
    let (key, settings) = (FlowKey::new(false, nowhere, nowhere, 6), Settings::default());
    let flow = Flow { key: &key, settings: &settings, now: 0, tcp_flags: 0, payload: false };
    backends[usize::try_from(select(&tables, &flow, &service, false)).unwrap() - 1]
}

/// Whether nobody's `(requests + 1/2) / capacity` is smaller, compared without any limit of size.
fn is_least((requests, capacity): (u64, u32), backends: &[(u64, u32)]) -> bool {
    let cost = |requests: u64| 2 * u128::from(requests) + 1;
    backends.iter().all(|(others, other)| {
        cost(requests) * u128::from(*other) <= cost(*others) * u128::from(capacity)
    })
}

#[test]
fn all_small_costs_of_requests_are_ordered() {
    for requests in 0..10 {
        for capacity in 1..10 {
            for other_requests in 0..10 {
                for other_capacity in 1..10 {
                    let backends = [(requests, capacity), (other_requests, other_capacity)];
                    let chosen = chosen_by_requests(&backends, 7);
                    assert!(is_least(chosen, &backends), "{chosen:?} of {backends:?}");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn large_costs_of_requests_are_ordered_without_overflow(
        backends in prop::collection::vec(
            (
                prop_oneof![0..200_u64, 0..u64::from(u32::MAX), Just(u64::from(u32::MAX))],
                prop_oneof![1..200_u32, 1..=65535_u32, Just(65535)],
            ),
            1..=32,
        ),
        seed in 1..u32::MAX,
    ) {
        let chosen = chosen_by_requests(&backends, seed);
        prop_assert!(is_least(chosen, &backends), "{chosen:?} of {backends:?}");
    }
}
