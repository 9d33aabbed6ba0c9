//! Services, their pages, their sources and their ports: the writes between observed and laid out.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::{
    abi::service::{PortSet, Service, SourceKey},
    maps::{LISTENS_MAX, RANGES_MAX, SOURCES_MAX},
};

use super::{
    ids,
    keys::{Family, Key},
    layout::Layout,
    plan::{PlanInput, Stage, Step},
    ports::{self, Half, Surplus},
};
use crate::{
    maps::{Prefix, Snapshot, Write, dump},
    model::Protocol,
};

/// Writes of pages and services.
pub(super) fn steps(
    observed: &Snapshot,
    published: &BTreeMap<Key, Service>,
    layout: &Layout,
) -> Vec<Step> {
    let mut steps = Vec::new();
    for (index, (page, service)) in &layout.pages {
        if observed.pages.get(index) != Some(page) {
            let why = format!("service {service}: table, page {index}");
            let write = Write::Page { index: *index, page: page.clone() };
            steps.push(Step { stage: Stage::Tables, write, why });
        }
    }
    // By its ids a service is known again; a ping that is alone has taken one from it.
    let (pings, listens): (Vec<_>, Vec<_>) =
        layout.services.iter().partition(|(key, _)| key.is_ping());
    for (key, service) in listens.into_iter().chain(pings) {
        let old = published.get(key);
        if old != Some(service) {
            let why = format!("service {}: {}", name(layout, service.id), why(key, old, service));
            steps.push(Step { stage: Stage::Publish, write: key.publish(*service), why });
        }
    }
    steps
}

/// What nobody listens on any longer.
pub(super) fn withdrawals(published: &BTreeMap<Key, Service>, layout: &Layout) -> Vec<Step> {
    // Withdrawing comes last, so that a port that moves from one key to another is always served,
    // unless the map has no room for both keys.
    let union = || {
        published.keys().chain(layout.services.keys().filter(|key| !published.contains_key(key)))
    };
    let exact = union().filter(|key| matches!(key, Key::Exact(_))).count();
    let ranges = union().count() - exact;
    let gone = published.iter().filter(|(key, _)| !layout.services.contains_key(key));
    gone.map(|(key, old)| {
        let full = match key {
            Key::Exact(_) => exact > LISTENS_MAX as usize,
            Key::Range(_) => ranges > RANGES_MAX as usize,
        };
        let stage = if full { Stage::Clear } else { Stage::Withdraw };
        let place =
            if key.is_ping() { format!("pings of {}", key.address()) } else { key.to_string() };
        let why = format!("service {} leaves {place}", name(layout, old.id));
        Step { stage, write: key.withdraw(), why }
    })
    .collect()
}

/// Writes of sources.
pub(super) fn source_steps(
    observed: &Snapshot,
    published: &BTreeMap<Key, Service>,
    layout: &Layout,
) -> Vec<Step> {
    let mut steps = Vec::new();
    for source in layout.sources.difference(&observed.sources) {
        let service = name(layout, service_of(source));
        let why = format!("service {service}: {} may connect", dump::source_text(source));
        steps.push(Step { stage: Stage::Allow, write: Write::Source(*source), why });
    }
    let in_use: BTreeSet<u32> = published.values().map(|service| service.id).collect();
    let full = observed.sources.union(&layout.sources).count() > SOURCES_MAX as usize;
    for source in observed.sources.difference(&layout.sources) {
        let leftover = !in_use.contains(&service_of(source));
        let stage = if leftover || full { Stage::Clear } else { Stage::Forbid };
        let service = name(layout, service_of(source));
        let why = format!("service {service}: {} may not connect", dump::source_text(source));
        steps.push(Step { stage, write: Write::RemoveSource(*source), why });
    }
    steps
}

const fn service_of(source: &Prefix<SourceKey>) -> u32 {
    u32::from_ne_bytes(source.key.service)
}

fn name(layout: &Layout, id: u32) -> String {
    layout.names.get(&id).map_or_else(|| format!("number {id}"), ToString::to_string)
}

/// What is different about a service entry.
fn why(key: &Key, old: Option<&Service>, new: &Service) -> String {
    if key.is_ping() {
        return format!("answers pings of {}", key.address());
    }
    let Some(old) = old else {
        return format!("listens on {key}, usable backends: {}", new.usable);
    };
    let mut changes = Vec::new();
    if old.id != new.id {
        changes.push(format!("taken over from service number {}", old.id));
    }
    if old.select != new.select {
        let (old, new) = (dump::select_text(old.select), dump::select_text(new.select));
        changes.push(format!("{old} -> {new}"));
    }
    if old.usable != new.usable {
        changes.push(format!("usable backends {} -> {}", old.usable, new.usable));
    }
    if (old.table_page, old.table_len) != (new.table_page, new.table_len) {
        changes.push("new table".to_owned());
    }
    if (old.flags, old.affinity_ticks) != (new.flags, new.affinity_ticks) {
        changes.push("other affinity or sources".to_owned());
    }
    if old.forward != new.forward {
        changes.push(format!("forward {}", dump::forward_text(new.forward)));
    }
    let rates = |it: &Service| (it.flow_interval_ns, it.source_interval_ns, it.burst_us);
    if rates(old) != rates(new) {
        changes.push("other limits".to_owned());
    }
    format!("{key}: {}", changes.join(", "))
}

/// Writes of the pre-filter, and which of its bits are surplus.
pub(super) fn port_steps(
    input: &PlanInput<'_>,
    layout: &Layout,
) -> (Vec<Step>, [Option<Surplus>; 2]) {
    let mut steps = Vec::new();
    let mut surplus = [None, None];
    for (index, protocol) in [(0, Protocol::Tcp), (1, Protocol::Udp)] {
        let slot = index as usize;
        let old = &input.observed.ports[slot];
        let wanted = wanted_ports(input, layout, protocol);
        let before = input.memory.ports[slot].as_ref();
        let course = ports::course(old, wanted, before, input.now, input.drain);
        let mut step = |stage, set: &PortSet, why: String| {
            let write = Write::Ports { index, set: Box::new(*set) };
            steps.push(Step { stage, write, why });
        };
        if course.widened != *old {
            let more = ports::count(&course.widened) - ports::count(old);
            step(Stage::Widen, &course.widened, format!("{protocol}: ports added: {more}"));
        }
        // What waits may use ports that its desired state does not tell.
        if course.settled != course.widened && layout.waiting.is_empty() {
            let fewer = ports::count(&course.widened) - ports::count(&course.settled);
            step(Stage::Narrow, &course.settled, format!("{protocol}: ports taken away: {fewer}"));
        }
        surplus[slot] = course.surplus;
    }
    (steps, surplus)
}

/// The ports that packets of services and of their backends have.
fn wanted_ports(input: &PlanInput<'_>, layout: &Layout, protocol: Protocol) -> Box<PortSet> {
    let mut set = Box::<PortSet>::default();
    for key in layout.services.keys().filter(|key| key.protocol() == protocol.number()) {
        ports::insert(&mut set, Half::Services, key.ports());
    }
    let leaving = input.observed.backends.values().filter_map(ids::endpoint);
    for endpoint in input.desired.backends.keys().copied().chain(leaving) {
        if endpoint.protocol == protocol && endpoint.port != 0 {
            ports::insert(&mut set, Half::Backends, (endpoint.port, endpoint.port));
        }
    }
    // A backend without a port of its own answers from the port that the client asked for.
    for service in &input.desired.services {
        let portless = service.backends.iter().filter(|backend| backend.endpoint.port == 0);
        let families: BTreeSet<Family> =
            portless.map(|backend| Family::of(backend.endpoint.address)).collect();
        let answers = |family| {
            families.contains(&family) || !families.is_empty() && service.crosses_to(family)
        };
        for listen in service
            .listens
            .iter()
            .filter(|listen| listen.protocol == protocol && answers(Family::of(listen.address)))
        {
            let range = (listen.ports.first(), listen.ports.last());
            ports::insert(&mut set, Half::Backends, range);
        }
    }
    set
}
