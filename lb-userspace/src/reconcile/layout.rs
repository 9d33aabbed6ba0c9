//! Where every service's keys, tables and sources will be, worked out before anything is moved.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::{
    abi::service::{Page, Service, SourceKey, forward, service_flag},
    maps::{LISTENS_MAX, RANGES_MAX, SOURCES_MAX},
};

use super::{
    PlanError, PlanInput, Waiting,
    desired::{DesiredBackend, DesiredService, Rates},
    ids::Assigned,
    keys::{self, Family, Key},
    pages::FreePages,
    tables::{BuiltTable, TableBackend},
};
use crate::{
    maps::{
        Prefix, Snapshot,
        snapshot::{page_span, paginate},
    },
    model::{Endpoint, Forward, Limits, ServiceName},
};

/// The services as they will be.
#[derive(Default)]
pub(super) struct Layout {
    /// What will be published.
    pub(super) services: BTreeMap<Key, Service>,
    /// Who is behind a service id.
    pub(super) names: BTreeMap<u32, ServiceName>,
    /// Pages to write, each with its service.
    pub(super) pages: BTreeMap<u32, (Box<Page>, ServiceName)>,
    /// What will be allowed.
    pub(super) sources: BTreeSet<Prefix<SourceKey>>,
    /// Backends in the table of a service that stays as it is because it has to wait.
    pub(super) pinned: BTreeSet<u32>,
    /// What is not free yet.
    pub(super) waiting: Vec<Waiting>,
    /// Pages of all tables, where they are and where they would be.
    pub(super) pages_needed: usize,
}

/// What the services are laid out over.
pub(super) struct Ground<'a> {
    pub(super) input: &'a PlanInput<'a>,
    pub(super) published: &'a BTreeMap<Key, Service>,
    pub(super) backends: &'a BTreeMap<Endpoint, Assigned>,
    pub(super) free: FreePages<'a>,
}

/// Lays out these services, each with its id.
pub(super) fn lay_out<'a>(
    mut ground: Ground<'_>,
    services: impl Iterator<Item = (&'a DesiredService, Option<u32>)>,
) -> Result<Layout, PlanError> {
    let observed = ground.input.observed;
    let known = known_tables(ground.published);
    let mut layout = Layout::default();
    for (service, id) in services {
        let placed =
            id.ok_or_else(|| Waiting::ServiceId { service: service.name.clone() }).and_then(|id| {
                let built = build(&ground, service, id, &mut layout.waiting);
                layout.pages_needed += built.iter().map(|table| table.pages.len()).sum::<usize>();
                place(&mut ground.free, &known, observed, service, built)
            });
        match placed {
            Ok(placed) => layout.add(&ground, service, &placed)?,
            Err(waiting) => {
                layout.waiting.push(waiting);
                layout.hold(&ground, service, id);
            }
        }
    }
    Ok(layout)
}

/// An error if `needed` is more than the dataplane will ever hold.
pub(super) fn check(what: &'static str, needed: usize, limit: u32) -> Result<(), PlanError> {
    if needed > limit as usize {
        return Err(PlanError::TooMany { what, needed, limit });
    }
    Ok(())
}

/// The tables in use, by service id and family. While a publication is half done, a service has
/// an old and a new one.
type KnownTables = BTreeMap<(u32, Family), Vec<Service>>;

fn known_tables(published: &BTreeMap<Key, Service>) -> KnownTables {
    let mut known = KnownTables::new();
    for (key, service) in published {
        let tables = known.entry((service.id, key.family())).or_default();
        if tables.last() != Some(service) {
            tables.push(*service);
        }
    }
    known
}

/// The table of one family of a service.
#[expect(clippy::vec_box, reason = "a page moves on into a write and a snapshot, which box it")]
struct Built {
    id: u32,
    family: Family,
    usable: u16,
    table: BuiltTable,
    pages: Vec<Box<Page>>,
}

/// Builds the tables of a service, one for each family it listens on. A backend that waits for
/// an id is left out: the others serve meanwhile.
fn build(
    ground: &Ground<'_>,
    service: &DesiredService,
    id: u32,
    waiting: &mut Vec<Waiting>,
) -> Vec<Built> {
    let input = ground.input;
    let families: BTreeSet<Family> =
        service.listens.iter().map(|listen| Family::of(listen.address)).collect();
    let mut build_one = |family| {
        let mut list = Vec::new();
        let crosses = service.crosses_to(family);
        for DesiredBackend { endpoint, weight, capacity } in &service.backends {
            let entry = input.desired.backends.get(endpoint);
            let takes_new = *weight > 0 && entry.is_some_and(|entry| entry.takes_new);
            if !takes_new || (Family::of(endpoint.address) == family) == crosses {
                continue;
            }
            match ground.backends.get(endpoint) {
                Some(Assigned { id, .. }) => {
                    let (id, identity) = (*id, *endpoint);
                    let (weight, capacity) = (*weight, *capacity);
                    list.push(TableBackend { id, identity, weight, capacity });
                }
                None => waiting
                    .push(Waiting::Backend { service: service.name.clone(), backend: *endpoint }),
            }
        }
        // A service without a usable backend keeps its listens: the dataplane answers for it.
        let table = if list.is_empty() {
            BuiltTable::default()
        } else {
            (input.build)(service.policy, &list)
        };
        let usable = u16::try_from(list.len()).unwrap_or(u16::MAX);
        let pages = paginate(&table.entries);
        Built { id, family, usable, table, pages }
    };
    families.into_iter().map(&mut build_one).collect()
}

impl DesiredService {
    /// Whether a family is served by backends of the other one: with full NAT, if it has none of its own.
    pub(super) fn crosses_to(&self, family: Family) -> bool {
        let own = |backend: &DesiredBackend| Family::of(backend.endpoint.address) == family;
        self.forward == Forward::FullNat && !self.backends.iter().any(own)
    }
}

/// A table with its place.
struct Placed {
    built: Built,
    first_page: u32,
    /// Whether its pages are still to be written.
    fresh: bool,
}

/// Finds a place for the tables of a service: where they already are, or fresh pages.
fn place(
    free: &mut FreePages<'_>,
    known: &KnownTables,
    observed: &Snapshot,
    service: &DesiredService,
    built: Vec<Built>,
) -> Result<Vec<Placed>, Waiting> {
    let place_one = |built: Built| {
        if built.pages.is_empty() {
            return Ok(Placed { built, first_page: 0, fresh: false });
        }
        let candidates = known.get(&(built.id, built.family)).into_iter().flatten();
        let mut same = candidates.filter(|old| holds(observed, old, &built));
        if let Some(old) = same.next() {
            return Ok(Placed { built, first_page: old.table_page, fresh: false });
        }
        let needed = built.pages.len();
        let none = || Waiting::Pages { service: service.name.clone(), needed };
        let first_page = free.take(needed).ok_or_else(none)?;
        Ok(Placed { built, first_page, fresh: true })
    };
    built.into_iter().map(place_one).collect()
}

/// Whether the table of `old` is what `built` would be.
fn holds(observed: &Snapshot, old: &Service, built: &Built) -> bool {
    let span = page_span(old);
    old.table_len == built.table.len
        && span.len() == built.pages.len()
        && span.zip(&built.pages).all(|(index, page)| observed.pages.get(&index) == Some(page))
}

impl Layout {
    /// An error if all services are more than the dataplane will ever hold.
    pub(super) fn check(&self, limits: Limits) -> Result<(), PlanError> {
        check("pages of slot tables", self.pages_needed, limits.pages)?;
        let exact = self.services.keys().filter(|key| matches!(key, Key::Exact(_))).count();
        check("listen addresses", exact, LISTENS_MAX)?;
        check("prefixes of port ranges", self.services.len() - exact, RANGES_MAX)?;
        check("prefixes of sources", self.sources.len(), SOURCES_MAX)
    }

    /// Adds a service whose tables have their place.
    fn add(
        &mut self,
        ground: &Ground<'_>,
        service: &DesiredService,
        placed: &[Placed],
    ) -> Result<(), PlanError> {
        for Placed { built, first_page, fresh } in placed {
            let numbered = (*first_page..).zip(&built.pages).filter(|_| *fresh);
            let pages = numbered.map(|(index, page)| (index, (page.clone(), service.name.clone())));
            self.pages.extend(pages);
            self.names.insert(built.id, service.name.clone());
            self.sources.extend(service.sources.iter().map(|net| keys::source(built.id, net)));
        }
        for key in service.listens.iter().flat_map(Key::of) {
            let matching = placed.iter().find(|placed| placed.built.family == key.family());
            let Some(Placed { built, first_page, .. }) = matching else { continue };
            let fresh = entry(service, built, *first_page, ground.input.desired.generation);
            let old = ground.published.get(&key).copied();
            let same = old.filter(|old| Service { generation: old.generation, ..fresh } == *old);
            self.claim(key, same.unwrap_or(fresh), &service.name)?;
        }
        Ok(())
    }

    /// Keeps the tables of a service as they are observed, as far as it still listens there. Who
    /// may connect does not wait.
    fn hold(&mut self, ground: &Ground<'_>, service: &DesiredService, id: Option<u32>) {
        let input = ground.input;
        for key in service.listens.iter().flat_map(Key::of) {
            let Some(old) = ground.published.get(&key) else { continue };
            self.pinned.extend(input.observed.table_backends(old));
            self.names.entry(old.id).or_insert_with(|| service.name.clone());
            if Some(old.id) != id {
                self.services.insert(key, *old);
                let sources = input.observed.sources.iter();
                let own = sources.filter(|source| source.key.service == old.id.to_ne_bytes());
                self.sources.extend(own);
                continue;
            }
            let mut fresh = with_terms(*old, service);
            if old.forward == forward::FULL_NAT {
                // The table may have backends of the other family.
                fresh.forward = old.forward;
            }
            let generation = if fresh == *old { old.generation } else { input.desired.generation };
            self.services.insert(key, Service { generation, ..fresh });
            self.sources.extend(service.sources.iter().map(|net| keys::source(old.id, net)));
        }
    }

    /// Answers echo requests for the addresses of all services. An address that several have is the one's
    /// whose key comes first.
    pub(super) fn answer_pings(&mut self) {
        let mut pings = BTreeMap::new();
        for (key, service) in &self.services {
            let answer = Service { id: service.id, ..Service::default() };
            pings.entry(key.ping()).or_insert(answer);
        }
        self.services.extend(pings);
    }

    fn claim(&mut self, key: Key, new: Service, name: &ServiceName) -> Result<(), PlanError> {
        match self.services.insert(key, new) {
            Some(other) if other.id != new.id => Err(PlanError::Conflict {
                listen: key.to_string(),
                first: self.names.get(&other.id).map_or_else(String::new, ToString::to_string),
                second: name.to_string(),
            }),
            Some(_) | None => Ok(()),
        }
    }
}

/// What is published of a service under the keys of one family.
fn entry(service: &DesiredService, built: &Built, first_page: u32, generation: u32) -> Service {
    let entry = Service {
        id: built.id,
        select: built.table.select,
        usable: built.usable,
        table_page: first_page,
        table_len: built.table.len,
        generation,
        ..Service::default()
    };
    with_terms(entry, service)
}

/// An entry with what a service says of its clients, and of the way to its backends.
fn with_terms(entry: Service, service: &DesiredService) -> Service {
    let DesiredService { affinity_ticks, rates, .. } = *service;
    let Rates { flow_interval_ns, source_interval_ns, burst_us } = rates;
    let (flags, forward) = (flags(service), mode(service.forward));
    Service {
        flags,
        affinity_ticks,
        forward,
        flow_interval_ns,
        source_interval_ns,
        burst_us,
        ..entry
    }
}

const fn mode(forward: Forward) -> u8 {
    match forward {
        Forward::Nat => forward::NAT,
        Forward::Dsr => forward::DSR,
        Forward::Ipip => forward::IPIP,
        Forward::Gue => forward::GUE,
        Forward::FullNat => forward::FULL_NAT,
    }
}

fn flags(service: &DesiredService) -> u8 {
    let sources = if service.sources.is_empty() { 0 } else { service_flag::SOURCES };
    let affinity = if service.affinity_ticks == 0 { 0 } else { service_flag::AFFINITY };
    let turns = if service.policy.counts_requests() { service_flag::TURNS } else { 0 };
    let limited = if service.rates == Rates::default() { 0 } else { service_flag::LIMITED };
    sources | affinity | turns | limited
}
