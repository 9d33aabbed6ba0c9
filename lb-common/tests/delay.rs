//! The kernel compares delays, `(flows + 1) / weight`, by multiplying crosswise in 64 bits. That has to
//! be the order of the rational numbers, up to the largest counts and weights.

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
