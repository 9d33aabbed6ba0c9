//! What the maps say, with what a plan asks of it at hand: to change one service of ten thousand,
//! nobody must look at all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    ops::{Bound, Deref, Range},
};

use lb_common::abi::service::Service;

use super::{ids, keys::Key};
use crate::{
    maps::{Snapshot, Write, snapshot::page_span},
    model::{Endpoint, Protocol},
};

/// Pages of the largest table that any policy builds, and more: a corrupt entry names no others.
const SPAN_MAX: u32 = 1024;

/// A snapshot that is kept right write by write, and what follows from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    snapshot: Snapshot,
    /// Backends that are not absent.
    ids: BTreeSet<(Endpoint, u32)>,
    /// How many listen addresses name a page.
    named: BTreeMap<u32, u32>,
    /// Pages that lost a name or were written since the last execution began.
    unnamed: BTreeSet<u32>,
    written: BTreeSet<u32>,
    /// Pages that nobody has named since the last execution.
    left: BTreeSet<u32>,
    /// Whether the last plan was carried out to its end, and nothing has changed since.
    in_place: bool,
}

impl From<Snapshot> for Observed {
    fn from(snapshot: Snapshot) -> Self {
        let mut observed = Self::default();
        for (id, backend) in &snapshot.backends {
            observed.ids.extend(ids::endpoint(backend).map(|endpoint| (endpoint, *id)));
        }
        for service in snapshot.services() {
            observed.rename(None, Some(service));
        }
        Self { snapshot, ..observed }
    }
}

impl Deref for Observed {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

impl Observed {
    /// Does to this picture what `write` does to the maps.
    pub fn apply(&mut self, write: &Write) {
        self.in_place = false;
        match write {
            Write::Backend { id, value } => {
                let old = self.snapshot.backends.get(id).and_then(ids::endpoint);
                let new = ids::endpoint(value);
                if old != new {
                    old.map(|endpoint| self.ids.remove(&(endpoint, *id)));
                    self.ids.extend(new.map(|endpoint| (endpoint, *id)));
                }
            }
            Write::Page { index, .. } => {
                self.written.insert(*index);
            }
            Write::Listen(key, service) => self.rename_key(Key::Exact(*key), Some(service)),
            Write::RemoveListen(key) => self.rename_key(Key::Exact(*key), None),
            Write::Range(prefix, service) => self.rename_key(Key::Range(*prefix), Some(service)),
            Write::RemoveRange(prefix) => self.rename_key(Key::Range(*prefix), None),
            Write::Settings(_)
            | Write::Ports { .. }
            | Write::Source(_)
            | Write::RemoveSource(_) => {}
        }
        self.snapshot.apply(write);
    }

    fn rename_key(&mut self, key: Key, new: Option<&Service>) {
        let old = self.published(&key).copied();
        self.rename(old.as_ref(), new);
    }

    /// Counts the names of pages anew when one service entry takes the place of another.
    fn rename(&mut self, old: Option<&Service>, new: Option<&Service>) {
        let (old, new) = (old.map_or(0..0, span), new.map_or(0..0, span));
        if old == new {
            return;
        }
        for page in new {
            *self.named.entry(page).or_default() += 1;
        }
        for page in old {
            let Some(names) = self.named.get_mut(&page) else { continue };
            *names -= 1;
            if *names == 0 {
                self.named.remove(&page);
                self.unnamed.insert(page);
            }
        }
    }

    /// Begins an execution: its plan knows which pages were left before.
    pub(super) fn begin(&mut self) {
        self.left.clear();
    }

    /// Ends an execution. Pages without a name are no part of the picture.
    pub(super) fn end(&mut self, complete: bool) {
        self.left = std::mem::take(&mut self.unnamed);
        self.left.retain(|page| !self.named.contains_key(page));
        let written = std::mem::take(&mut self.written);
        for page in written.iter().chain(&self.left) {
            if !self.named.contains_key(page) {
                self.snapshot.pages.remove(page);
            }
        }
        self.in_place = complete;
    }

    pub(super) const fn is_in_place(&self) -> bool {
        self.in_place
    }

    /// What is published under a key.
    pub(super) fn published(&self, key: &Key) -> Option<&Service> {
        match key {
            Key::Exact(key) => self.snapshot.listens.get(key),
            Key::Range(prefix) => self.snapshot.ranges.get(prefix),
        }
    }

    /// Pages that services name.
    pub(super) fn named_pages(&self) -> impl Iterator<Item = u32> {
        self.named.keys().copied()
    }

    /// How many they are.
    pub(super) fn named_count(&self) -> usize {
        self.named.len()
    }

    pub(super) fn is_named(&self, page: u32) -> bool {
        self.named.contains_key(&page)
    }

    /// Pages that services named before the last execution and do not name now.
    pub(super) fn left_pages(&self) -> impl Iterator<Item = u32> {
        self.left.iter().copied()
    }

    /// The ids of a backend: one, if it is there.
    pub(super) fn ids_of(&self, endpoint: &Endpoint) -> impl Iterator<Item = u32> {
        self.ids.range((*endpoint, 0)..=(*endpoint, u32::MAX)).map(|(_, id)| *id)
    }

    /// The id of a backend.
    #[must_use]
    pub fn backend_of(&self, endpoint: &Endpoint) -> Option<u32> {
        self.ids_of(endpoint).next()
    }

    /// How many backends there are.
    #[must_use]
    pub fn present_count(&self) -> usize {
        self.ids.len()
    }

    /// The addresses of all backends, each once.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        distinct(|after| {
            let next = self.ids.range((after, Bound::Unbounded)).next();
            next.map(|(endpoint, _)| endpoint.address)
        })
    }
}

/// Addresses one after the other, by a search for the first entry behind all of the last one's.
fn distinct(
    first_after: impl Fn(Bound<(Endpoint, u32)>) -> Option<IpAddr>,
) -> impl Iterator<Item = IpAddr> {
    std::iter::successors(first_after(Bound::Unbounded), move |address| {
        let last = Endpoint { address: *address, port: u16::MAX, protocol: Protocol::Udp };
        first_after(Bound::Excluded((last, u32::MAX)))
    })
}

fn span(service: &Service) -> Range<u32> {
    let Range { start, end } = page_span(service);
    start..end.min(start.saturating_add(SPAN_MAX))
}

#[cfg(test)]
mod tests {
    use lb_common::abi::{
        backend::{Backend, backend_state},
        service::{ListenKey, select},
    };

    use super::*;

    fn backend(address: &str, port: u16) -> Backend {
        let address: IpAddr = address.parse().unwrap();
        let state = backend_state::UP;
        let protocol = u32::from(Protocol::Tcp.number());
        Backend {
            address: address.into(),
            port: port.to_be(),
            state,
            protocol,
            ..Backend::default()
        }
    }

    fn write(id: u32, value: Backend) -> Write {
        Write::Backend { id, value }
    }

    #[test]
    fn backends_are_found_by_what_they_are() {
        let mut observed = Observed::default();
        let rows = [("198.18.10.2", 80), ("198.18.10.2", 81), ("fd00::1", 80), ("198.18.10.3", 80)];
        for (id, (address, port)) in (1..).zip(rows) {
            observed.apply(&write(id, backend(address, port)));
        }
        let endpoint = |n: usize| {
            let (address, port) = rows[n];
            Endpoint { address: address.parse().unwrap(), port, protocol: Protocol::Tcp }
        };
        assert_eq!([0, 1, 2, 3].map(|n| observed.backend_of(&endpoint(n))), [1, 2, 3, 4].map(Some));
        let addresses: Vec<String> = observed.addresses().map(|it| it.to_string()).collect();
        assert_eq!(addresses, ["198.18.10.2", "198.18.10.3", "fd00::1"]);
        // Another one under the id, and one that goes and leaves its generation.
        observed.apply(&write(1, backend("198.18.10.9", 80)));
        observed.apply(&write(4, Backend { generation: 3, ..Backend::default() }));
        assert_eq!([0, 3].map(|n| observed.backend_of(&endpoint(n))), [None, None]);
        assert_eq!(observed.present_count(), 3);
        assert_eq!(Observed { in_place: false, ..Observed::from((*observed).clone()) }, observed);
    }

    fn service(first: u32, pages: u32) -> Service {
        let (select, table_len) = (select::TURN, pages * 256);
        Service { id: 1, select, table_page: first, table_len, ..Service::default() }
    }

    fn listen(port: u16) -> ListenKey {
        ListenKey { port, ..ListenKey::default() }
    }

    #[test]
    fn a_page_is_left_when_its_last_name_goes_and_none_has_come() {
        let mut observed = Observed::default();
        let run = |observed: &mut Observed, writes: &[Write]| {
            observed.begin();
            for write in writes {
                observed.apply(write);
            }
            observed.end(true);
            observed.left_pages().collect::<Vec<_>>()
        };
        let page = |index| Write::Page { index, page: Box::default() };
        let both = [
            page(0),
            page(1),
            Write::Listen(listen(1), service(0, 2)),
            Write::Listen(listen(2), service(0, 2)),
        ];
        assert!(run(&mut observed, &both).is_empty());
        let one = [page(2), Write::Listen(listen(1), service(2, 1))];
        assert!(run(&mut observed, &one).is_empty(), "the other one names them still");
        assert_eq!(observed.named_pages().collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(run(&mut observed, &[Write::RemoveListen(listen(2))]), [0, 1]);
        assert_eq!(observed.pages.keys().copied().collect::<Vec<_>>(), [2]);
        // Withdrawn and published again in one plan, and a page that was written in vain.
        let again =
            [Write::RemoveListen(listen(1)), page(7), Write::Listen(listen(3), service(2, 1))];
        assert!(run(&mut observed, &again).is_empty());
        assert_eq!(observed.pages.keys().copied().collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_corrupt_entry_names_a_bounded_number_of_pages() {
        let corrupt = Service { table_len: u32::MAX, ..service(3, 1) };
        let mut observed = Observed::default();
        observed.apply(&Write::Listen(listen(1), corrupt));
        assert_eq!(observed.named_count(), SPAN_MAX as usize);
        observed.apply(&Write::RemoveListen(listen(1)));
        assert_eq!(observed.named_count(), 0);
    }
}
