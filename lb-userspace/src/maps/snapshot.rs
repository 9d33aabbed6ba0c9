//! What a write does to a snapshot, and which pages and backends a service names.
//!
//! The same few functions serve the twin in memory, the executor that keeps its picture of the
//! kernel right, and whoever reads the kernel's maps back: only pages that a service names belong
//! to a [`Snapshot`].

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use lb_common::abi::{
    address::Address,
    backend::{Backend, backend_state},
    service::{ListenKey, PAGE_SLOTS, Page, RangeKey, Service, select},
};

use super::{Prefix, Snapshot, Write};
use crate::model::{Endpoint, Listen, Protocol};

impl Snapshot {
    /// Does to this picture what `write` does to the maps.
    pub fn apply(&mut self, write: &Write) {
        match write {
            Write::Settings(settings) => self.settings = *settings,
            Write::Ports { index, set } => {
                if let Some(ports) = self.ports.get_mut(*index as usize) {
                    ports.clone_from(set);
                }
            }
            Write::Backend { id, value } if *value == Backend::default() => {
                self.backends.remove(id);
            }
            Write::Backend { id, value } => {
                self.backends.insert(*id, *value);
            }
            Write::Page { index, page } => {
                self.pages.insert(*index, page.clone());
            }
            Write::Listen(key, service) => {
                self.listens.insert(*key, *service);
            }
            Write::RemoveListen(key) => {
                self.listens.remove(key);
            }
            Write::Range(prefix, service) => {
                self.ranges.insert(*prefix, *service);
            }
            Write::RemoveRange(prefix) => {
                self.ranges.remove(prefix);
            }
            Write::Source(prefix) => {
                self.sources.insert(*prefix);
            }
            Write::RemoveSource(prefix) => {
                self.sources.remove(prefix);
            }
        }
    }

    /// All published entries, each as often as it has keys.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.listens.values().chain(self.ranges.values())
    }

    /// The id of the service that is published under a listen address.
    #[must_use]
    pub fn service_of(&self, listen: &Listen) -> Option<u32> {
        let (address, protocol) = (Address::from(listen.address), listen.protocol.number());
        let port = listen.ports.first().to_be();
        let exact = self.listens.get(&ListenKey { address, port, protocol, zero: 0 });
        let in_range = || {
            let wanted = (protocol, address.octets());
            let of_listen = |prefix: &&Prefix<RangeKey>| {
                let first = u16::from_be_bytes(prefix.key.port);
                (prefix.key.protocol, prefix.key.address) == wanted
                    && (listen.ports.first()..=listen.ports.last()).contains(&first)
            };
            self.ranges.keys().find(of_listen).and_then(|prefix| self.ranges.get(prefix))
        };
        exact.or_else(in_range).map(|service| service.id)
    }

    /// All backends that are not absent, with their ids.
    pub fn present_backends(&self) -> impl Iterator<Item = (u32, Endpoint)> {
        let present = self.backends.iter().filter(|(_, b)| b.state != backend_state::ABSENT);
        present.filter_map(|(id, backend)| {
            let number = u8::try_from(backend.protocol).ok()?;
            let (address, port) = (backend.address.into(), u16::from_be(backend.port));
            Some((*id, Endpoint { address, port, protocol: Protocol::from_number(number)? }))
        })
    }

    /// The id of a backend.
    #[must_use]
    pub fn backend_of(&self, endpoint: &Endpoint) -> Option<u32> {
        self.present_backends().find(|(_, there)| there == endpoint).map(|(id, _)| id)
    }

    /// Drops the pages that no service names: the kernel's array never forgets them, a snapshot
    /// does not count them.
    pub fn forget_unnamed_pages(&mut self) {
        let named: BTreeSet<(u32, u32)> = self
            .services()
            .map(page_span)
            .filter(|span| !span.is_empty())
            .map(|span| (span.start, span.end))
            .collect();
        let mut kept = BTreeMap::new();
        for (first, end) in named {
            for (index, page) in self.pages.range(first..end) {
                kept.entry(*index).or_insert_with(|| page.clone());
            }
        }
        self.pages = kept;
    }

    /// The words of a service's table, as far as its pages are known.
    pub fn table_words(&self, service: &Service) -> impl Iterator<Item = u32> {
        page_span(service)
            .map_while(|index| self.pages.get(&index))
            .flat_map(|page| page.slots.0)
            .take(words(service) as usize)
    }

    /// Ids of the backends in a service's table.
    #[must_use]
    pub fn table_backends(&self, service: &Service) -> BTreeSet<u32> {
        let stride = row_words(service) as usize;
        self.table_words(service).step_by(stride).collect()
    }
}

impl Write {
    /// Name of the map that it changes.
    #[must_use]
    pub const fn map(&self) -> &'static str {
        match self {
            Self::Settings(_) => "SETTINGS",
            Self::Ports { .. } => "PORTS",
            Self::Backend { .. } => "BACKENDS",
            Self::Page { .. } => "PAGES",
            Self::Listen(..) | Self::RemoveListen(_) => "LISTEN",
            Self::Range(..) | Self::RemoveRange(_) => "LISTEN_RANGE",
            Self::Source(_) | Self::RemoveSource(_) => "SOURCES",
        }
    }
}

/// Pages that a service's table occupies.
#[must_use]
pub const fn page_span(service: &Service) -> Range<u32> {
    let count = words(service).div_ceil(PAGE_SLOTS);
    service.table_page..service.table_page.saturating_add(count)
}

/// Cuts a table into pages, the last one filled up with 0, which is nobody's id.
#[must_use]
pub fn paginate(entries: &[u32]) -> Vec<Box<Page>> {
    let cut = |chunk: &[u32]| {
        let mut page = Box::<Page>::default();
        for (slot, entry) in page.slots.0.iter_mut().zip(chunk) {
            *slot = *entry;
        }
        page
    };
    entries.chunks(PAGE_SLOTS as usize).map(cut).collect()
}

/// Words of a service's table.
const fn words(service: &Service) -> u32 {
    service.table_len.saturating_mul(row_words(service))
}

/// Words of a slot: its first is a backend id, what follows in the scanning policies are weights.
const fn row_words(service: &Service) -> u32 {
    match service.select {
        select::SCAN_LEAST | select::SCAN_DELAY => 2,
        select::SCAN_REQUESTS => 3,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use lb_common::abi::service::ListenKey;

    use super::*;

    #[test]
    fn a_table_spans_whole_pages_and_rows_take_several_words() {
        let rows = [
            ("no table", select::TURN, 0, 0),
            ("one slot", select::TURN, 1, 1),
            ("a full page", select::HASH_FLOW, 256, 1),
            ("one slot more", select::HASH_FLOW, 257, 2),
            ("32 pairs", select::SCAN_LEAST, 32, 1),
            ("129 pairs", select::SCAN_DELAY, 129, 2),
            ("85 triples", select::SCAN_REQUESTS, 85, 1),
            ("86 triples", select::SCAN_REQUESTS, 86, 2),
        ];
        for (what, select, table_len, pages) in rows {
            let service = Service { select, table_len, table_page: 7, ..Service::default() };
            assert_eq!(page_span(&service), 7..7 + pages, "{what}");
        }
    }

    #[test]
    fn a_corrupt_length_neither_panics_nor_wraps() {
        let service = Service { table_page: u32::MAX, table_len: u32::MAX, ..Service::default() };
        assert!(page_span(&service).is_empty());
        let snapshot =
            Snapshot { listens: [(ListenKey::default(), service)].into(), ..Default::default() };
        assert!(snapshot.table_backends(&service).is_empty());
    }

    #[test]
    fn weights_are_not_taken_for_backends() {
        let service = Service { select: select::SCAN_LEAST, table_len: 2, ..Service::default() };
        let mut snapshot = Snapshot::default();
        for page in paginate(&[4, 100, 6, 200]) {
            snapshot.apply(&Write::Page { index: 0, page });
        }
        assert_eq!(snapshot.table_backends(&service), BTreeSet::from([4, 6]));
    }

    #[test]
    fn only_named_pages_survive() {
        let service = Service { table_page: 1, table_len: 2, ..Service::default() };
        let mut snapshot = Snapshot::default();
        for index in 0..3 {
            snapshot.apply(&Write::Page { index, page: Box::default() });
        }
        snapshot.apply(&Write::Listen(ListenKey::default(), service));
        snapshot.forget_unnamed_pages();
        assert_eq!(snapshot.pages.keys().copied().collect::<Vec<_>>(), [1]);
        snapshot.apply(&Write::RemoveListen(ListenKey::default()));
        snapshot.forget_unnamed_pages();
        assert_eq!(snapshot, Snapshot::default());
    }
}
