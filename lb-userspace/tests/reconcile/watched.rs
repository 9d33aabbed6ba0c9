//! Maps that check the reconciler's invariants after every single write.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use lb_common::abi::{
    address::Address,
    backend::{Backend, backend_state},
    service::{PortSet, Service, forward, service_flag},
    settings::settings_flag,
};
use lb_userspace::{
    maps::{
        LbMaps, MapError, Snapshot, Write, dump::range_ports, memory::MemoryMaps,
        snapshot::page_span,
    },
    model::Limits,
    reconcile::GRACE,
};

#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) maps: MemoryMaps,
    pub(crate) now: Instant,
    /// When a page was last named by a service.
    named: BTreeMap<u32, Instant>,
    /// The highest generation that an id ever had.
    generations: BTreeMap<u32, u32>,
}

impl Watched {
    pub(crate) fn new(limits: Limits, now: Instant) -> Self {
        let (named, generations) = (BTreeMap::new(), BTreeMap::new());
        Self { maps: MemoryMaps::new(limits), now, named, generations }
    }

    fn check_before(&self, write: &Write) {
        let before = self.maps.snapshot().unwrap();
        match write {
            Write::Page { index, .. } => {
                let busy = self.named.get(index).filter(|last| self.now - **last < GRACE);
                assert!(busy.is_none(), "page {index} is written while a CPU may read it");
            }
            Write::Backend { id, value } => self.check_backend(&before, *id, value),
            Write::Settings(_)
            | Write::Ports { .. }
            | Write::Listen(..)
            | Write::RemoveListen(_)
            | Write::Range(..)
            | Write::RemoveRange(_)
            | Write::Source(_)
            | Write::RemoveSource(_) => {}
        }
    }

    fn check_backend(&self, before: &Snapshot, id: u32, new: &Backend) {
        assert!(id > 0, "backend 0 is nobody");
        let old = before.backends.get(&id).filter(|old| old.state != backend_state::ABSENT);
        let last = self.generations.get(&id).copied().unwrap_or(0);
        if new.state == backend_state::ABSENT {
            assert_eq!(new.generation, last, "the generation of {id} survives");
            assert!(old.is_some_and(|old| old.state == backend_state::CLOSED), "closed before");
            return;
        }
        match old {
            Some(old) => {
                let identity = |b: &Backend| (b.address, b.port, b.protocol, b.generation);
                assert_eq!(identity(old), identity(new), "backend {id} stays who it is");
            }
            None => assert!(new.generation > last, "a new user of id {id} has a new generation"),
        }
    }

    fn check_after(&mut self) {
        let snapshot = self.maps.snapshot().unwrap();
        check(&snapshot);
        for page in snapshot.pages.keys() {
            self.named.insert(*page, self.now);
        }
        self.generations.extend(snapshot.backends.iter().map(|(id, b)| (*id, b.generation)));
    }
}

impl LbMaps for Watched {
    fn write(&mut self, write: &Write) -> Result<(), MapError> {
        self.check_before(write);
        self.maps.write(write)?;
        self.check_after();
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot, MapError> {
        self.maps.snapshot()
    }
}

/// What holds at every moment.
fn check(snapshot: &Snapshot) {
    let exact = snapshot.listens.iter().map(|(key, service)| {
        let port = u16::from_be(key.port);
        (key.address, key.protocol, (port, port), service)
    });
    let ranges = snapshot.ranges.iter().map(|(prefix, service)| {
        let address = Address::from_v6(prefix.key.address);
        (address, prefix.key.protocol, range_ports(prefix), service)
    });
    let mut owners = BTreeMap::new();
    for (address, protocol, (first, last), service) in exact.chain(ranges) {
        check_table(snapshot, service, address.is_v4(), protocol);
        for page in page_span(service) {
            let owner = (service.id, address.is_v4(), page_span(service).start);
            assert_eq!(*owners.entry(page).or_insert(owner), owner, "page {page} has one owner");
        }
        let set = &snapshot.ports[usize::from(protocol == 17)];
        // Pings have no ports, and whoever is asked need not be able to serve.
        let is_ping = matches!(protocol, 1 | 58);
        assert!(!is_ping || service.table_len == 0 && first == 0, "a ping needs no table");
        let open = is_ping || (first..=last).all(|port| bit(&set.services, port));
        assert!(open, "ports {first}-{last} pass the pre-filter");
        let listed = snapshot.sources.iter().any(|s| s.key.service == service.id.to_ne_bytes());
        assert!(
            service.flags & service_flag::SOURCES == 0 || listed,
            "service {} has sources before it asks for them",
            service.id
        );
    }
    let findable = snapshot.settings.flags & settings_flag::RANGES != 0;
    assert!(findable || snapshot.ranges.is_empty(), "ranges are looked for");
    for backend in snapshot.backends.values() {
        let set: &PortSet = &snapshot.ports[usize::from(backend.protocol == 17)];
        let port = u16::from_be(backend.port);
        let open = port == 0 || bit(&set.backends, port);
        assert!(backend.state == backend_state::ABSENT || open, "answers pass the pre-filter");
    }
}

fn check_table(snapshot: &Snapshot, service: &Service, v4: bool, protocol: u8) {
    assert!(service.id > 0, "service 0 is nobody");
    let pages = page_span(service).filter(|page| snapshot.pages.contains_key(page)).count();
    assert_eq!(pages, page_span(service).len(), "the table is written: {service:?}");
    let ids: BTreeSet<u32> = snapshot.table_backends(service);
    assert!(usize::from(service.usable) >= ids.len(), "all of the table are usable: {service:?}");
    for id in ids {
        let backend = snapshot.backends.get(&id);
        let backend = backend.unwrap_or_else(|| panic!("slot names nobody: {id}"));
        assert_ne!(backend.state, backend_state::ABSENT, "slot names the absent {id}");
        let translated = service.forward == forward::FULL_NAT;
        let same = (backend.address.is_v4() == v4 || translated)
            && backend.protocol == u32::from(protocol);
        assert!(same, "backend {id} speaks another language than its client");
    }
}

fn bit(words: &[u64], port: u16) -> bool {
    words[usize::from(port) / 64] >> (port % 64) & 1 == 1
}
