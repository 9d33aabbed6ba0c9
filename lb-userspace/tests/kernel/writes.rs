//! Series of writes, which the kernel gets in batches.

use lb_common::abi::{
    backend::Backend,
    service::{ListenKey, Service},
};
use lb_userspace::{
    dataplane::Dataplane,
    maps::{LbMaps as _, Snapshot, Write},
    model::Limits,
};

use super::load;

/// Writes of every kind, so many that the kernel gets them in batches.
fn many_writes() -> Vec<Write> {
    let backend = |id: u32| {
        let port = u16::try_from(id).unwrap();
        Write::Backend {
            id,
            value: Backend { port, state: 1, generation: id, ..Backend::default() },
        }
    };
    let page = |index: u32| Write::Page { index, page: Box::default() };
    let listen = |port: u16| {
        let service =
            Service { id: 1, table_page: u32::from(port), table_len: 1, ..Service::default() };
        Write::Listen(ListenKey { port, protocol: 6, ..ListenKey::default() }, service)
    };
    let withdrawn =
        |port| Write::RemoveListen(ListenKey { port, protocol: 6, ..ListenKey::default() });
    let mut writes: Vec<Write> = (1..=2000).map(backend).chain((0..500).map(page)).collect();
    writes.extend((0..500).map(listen).chain((0..100).map(withdrawn)));
    // Others under the ids, and one alone.
    writes.extend((1..=1000).map(|id| backend(id + 1000)));
    writes.push(backend(9));
    writes
}

#[test]
fn series_of_writes_do_what_each_alone_does() {
    let writes = many_writes();
    let (mut at_once, mut one_by_one) = (load(), load());
    at_once.maps.write_all(&writes.iter().collect::<Vec<_>>()).unwrap();
    for write in &writes {
        one_by_one.maps.write(write).unwrap();
    }
    let mut expected = Snapshot::default();
    for write in &writes {
        expected.apply(write);
    }
    expected.forget_unnamed_pages();
    for dataplane in [&at_once, &one_by_one] {
        let found = dataplane.maps.snapshot().unwrap();
        assert_eq!(
            (found.backends, found.listens),
            (expected.backends.clone(), expected.listens.clone())
        );
        assert_eq!(found.pages, expected.pages);
    }
}

#[test]
fn a_series_stops_where_a_write_alone_would() {
    let mut dataplane = load();
    let limit = Limits::default().backends;
    let backend = Backend { state: 1, generation: 1, ..Backend::default() };
    let ids = (1..=50).chain([limit + 7]).chain(60..=70);
    let writes: Vec<Write> = ids.map(|id| Write::Backend { id, value: backend }).collect();
    let stopped = dataplane.maps.write_all(&writes.iter().collect::<Vec<_>>()).unwrap_err();
    assert_eq!(stopped.done, 50);
    assert_eq!(stopped.source.to_string().split(':').next(), Some("map BACKENDS"));
    let found = dataplane.maps.snapshot().unwrap().backends;
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), (1..=50).collect::<Vec<_>>());
}

#[test]
fn another_backend_under_an_id_begins_at_zero_in_a_series_too() {
    let mut dataplane = load();
    let write = |dataplane: &mut Dataplane, generation| {
        let value = Backend { state: 1, generation, ..Backend::default() };
        let writes: Vec<Write> = (1..=100).map(|id| Write::Backend { id, value }).collect();
        dataplane.maps.write_all(&writes.iter().collect::<Vec<_>>()).unwrap();
        // So many that they are read at once, too.
        let readings = dataplane.readings(1..=100).unwrap();
        [1, 100].map(|id| readings[&id].load.flows)
    };
    assert_eq!(write(&mut dataplane, 1), [0, 0]);
    dataplane.maps.correct_load(100, 5, 5);
    assert_eq!(write(&mut dataplane, 1), [0, 5]);
    assert_eq!(write(&mut dataplane, 2), [0, 0]);
}
