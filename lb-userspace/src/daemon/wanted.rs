//! The desired state, brought up to date where what it is made of has changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::state::State;
use crate::{
    admin::report::BackendState,
    model::{Endpoint, Ping, ServiceName},
    reconcile::{BackendEntry, Changes, Desired, Scope},
};

/// What is wanted, and where that is not in the maps yet.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) desired: Desired,
    /// The services that a backend is in, by their places in the configuration.
    users: BTreeMap<Endpoint, Vec<usize>>,
    /// All backends' addresses.
    addresses: BTreeSet<IpAddr>,
    /// The backends that a service tries although they fail, where there are any.
    tried: BTreeMap<usize, Vec<Endpoint>>,
    /// What the desired state is to be looked at for again.
    touched: BTreeSet<Endpoint>,
    /// What has changed in it since it was in place.
    changes: Changes,
    /// Whether the configuration is another one since then.
    anew: bool,
}

impl Wanted {
    /// Something that a backend's entry, or its part in its services, is made of changed.
    pub(super) fn touch(&mut self, endpoint: Endpoint) {
        self.touched.insert(endpoint);
    }

    /// The same for all backends at an address.
    pub(super) fn touch_address(&mut self, address: IpAddr) {
        let first = Endpoint { address, port: 0, protocol: crate::model::Protocol::Tcp };
        let here = self.users.range(first..).take_while(|(end, _)| end.address == address);
        self.touched.extend(here.map(|(endpoint, _)| *endpoint));
    }

    /// What a plan has to look at.
    pub(super) const fn scope(&self) -> Scope<'_> {
        if self.anew { Scope::All } else { Scope::Only(&self.changes) }
    }

    /// All of it is in the maps.
    pub(super) fn is_in_place(&mut self) {
        self.anew = false;
        self.changes = Changes::default();
    }

    /// Whether some service tries a backend that fails.
    pub(super) fn is_tried(&self, endpoint: &Endpoint) -> bool {
        let users = self.users.get(endpoint).into_iter().flatten();
        users.filter_map(|at| self.tried.get(at)).flatten().any(|tried| tried == endpoint)
    }

    /// All backends' addresses.
    pub(super) const fn addresses(&self) -> &BTreeSet<IpAddr> {
        &self.addresses
    }

    /// All backends.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = Endpoint> {
        self.users.keys().copied()
    }

    pub(super) fn has(&self, endpoint: &Endpoint) -> bool {
        self.users.contains_key(endpoint)
    }
}

impl State {
    /// Begins anew with another configuration.
    pub(super) fn want_anew(&mut self) {
        let mut wanted = Wanted { anew: true, ..Wanted::default() };
        for (at, service) in self.config.services.iter().enumerate() {
            for spec in &service.backends {
                wanted.users.entry(spec.endpoint).or_default().push(at);
            }
        }
        wanted.addresses = wanted.users.keys().map(|endpoint| endpoint.address).collect();
        self.wanted = wanted;
    }

    /// Brings the desired state up to date.
    pub(super) fn update(&mut self) {
        if self.wanted.anew {
            self.wanted.tried = self.all_tried();
            self.wanted.touched.clear();
            self.wanted.desired = self.desired();
            return;
        }
        self.wanted.desired.generation = self.generation;
        let touched = std::mem::take(&mut self.wanted.touched);
        let affected = self.affected(touched);
        for endpoint in &affected {
            if self.wanted.has(endpoint) {
                let entry = self.entry(*endpoint);
                self.wanted.desired.backends.insert(*endpoint, entry);
            }
        }
        let services = self.services_of(&affected);
        for at in &services {
            if let Some(service) = self.config.services.get(*at) {
                self.wanted.desired.services[*at] = self.service(service);
            }
        }
        self.wanted.changes.services.extend(services);
        self.wanted.changes.backends.extend(affected);
    }

    /// The desired state, made anew. It needs to be known whom services try.
    pub(super) fn desired(&self) -> Desired {
        Desired {
            generation: self.generation,
            settings: self.settings(),
            services: self.config.services.iter().map(|service| self.service(service)).collect(),
            backends: self.endpoints().map(|endpoint| (endpoint, self.entry(endpoint))).collect(),
            pings: self.config.ping == Ping::Answer,
        }
    }

    /// A backend as all its services see it.
    fn entry(&self, endpoint: Endpoint) -> BackendEntry {
        let state = self.backend_state(&endpoint);
        let takes_new = state == BackendState::Up || self.wanted.is_tried(&endpoint);
        let is_down = state == BackendState::Down && !takes_new;
        BackendEntry { takes_new, is_down, link: self.link(endpoint.address) }
    }

    fn all_tried(&self) -> BTreeMap<usize, Vec<Endpoint>> {
        let services = self.config.services.iter().enumerate();
        let tried = services.map(|(at, service)| (at, self.last_resort(service)));
        tried.filter(|(_, tried)| !tried.is_empty()).collect()
    }

    /// These backends, and the others of services that now try other ones.
    fn affected(&mut self, touched: BTreeSet<Endpoint>) -> BTreeSet<Endpoint> {
        let mut affected = touched;
        for at in self.services_of(&affected) {
            let Some(service) = self.config.services.get(at) else { continue };
            let tried = self.last_resort(service);
            let before = self.wanted.tried.get(&at).map_or(&[][..], Vec::as_slice);
            if before == tried {
                continue;
            }
            affected.extend(service.backends.iter().map(|spec| spec.endpoint));
            if tried.is_empty() {
                self.wanted.tried.remove(&at);
            } else {
                self.wanted.tried.insert(at, tried);
            }
        }
        affected
    }

    fn services_of(&self, endpoints: &BTreeSet<Endpoint>) -> BTreeSet<usize> {
        let users = endpoints.iter().filter_map(|endpoint| self.wanted.users.get(endpoint));
        users.flatten().copied().collect()
    }

    /// The services that try backends although all of them fail.
    pub(super) fn last_resorts(&self) -> Vec<&ServiceName> {
        let at = self.wanted.tried.keys();
        at.filter_map(|at| self.config.services.get(*at)).map(|service| &service.name).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use lb_common::abi::backend::way;
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{config, daemon::capacities::Learned, dataplane::links::Resolved};

    /// Backends 2 and 3 are in two services.
    const FILE: &str = "services:
  - name: web
    listen: [198.18.0.1:80]
    health: { tcp: true, rise: 1, fall: 1 }
    backends: [{ address: 198.18.10.2:80 }, { address: 198.18.10.3:80 }]
  - name: shop
    listen: [198.18.0.2:80]
    health: { tcp: true, rise: 1, fall: 1, all-down: refuse }
    backends: [{ address: 198.18.10.3:80 }, { address: 198.18.10.4:80, weight: 3 }]
  - name: game
    listen: [198.18.0.3:80]
    health: { tcp: true, rise: 1, fall: 1 }
    backends: [{ address: 198.18.10.4:80 }, { address: 198.18.10.2:80 }]
  - name: one
    listen: [198.18.0.4:80]
    backends: [{ address: 198.18.10.5:80 }]
";

    /// What may happen to a backend.
    #[derive(Clone, Debug)]
    enum Event {
        Drain(bool),
        Weight(Option<u16>),
        Probe(bool),
        Learn(u16, bool),
        Way(u32),
        Reload,
        /// What is wanted is put in place.
        Settle,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            1 => any::<bool>().prop_map(Event::Drain),
            1 => proptest::option::of(0..3_u16).prop_map(Event::Weight),
            3 => any::<bool>().prop_map(Event::Probe),
            1 => (0..3_u16, any::<bool>()).prop_map(|(of, ejected)| Event::Learn(of, ejected)),
            1 => (0..3_u32).prop_map(Event::Way),
            1 => Just(Event::Reload),
            3 => Just(Event::Settle),
        ]
    }

    fn way_to(ifindex: u32) -> Resolved {
        Resolved {
            way: way::PEER,
            ifindex,
            dst_mac: [0; 6],
            src_mac: [0; 6],
            veth: None,
            of_host: false,
            on_link: true,
            mtu: 1500,
            source: None,
            unresolved: false,
            why: String::new(),
        }
    }

    fn happen(state: &mut State, event: &Event, endpoint: Endpoint, service: usize) {
        let name = state.config.services[service].name.clone();
        match *event {
            Event::Drain(drained) => state.drain(endpoint, drained),
            Event::Weight(weight) => state.set_weight(&name, endpoint, weight),
            Event::Probe(answers) => {
                let result = if answers { Ok(()) } else { Err("refused".to_owned()) };
                state.probed(endpoint, result, Instant::now());
            }
            Event::Learn(capacity, ejected) => {
                let learned = [(endpoint, Learned { capacity, ejected })].into();
                state.learn([(name, learned)].into());
            }
            Event::Way(ifindex) => {
                let mut ways = state.ways().clone();
                ways.insert(endpoint.address, way_to(ifindex));
                state.set_ways(ways);
            }
            Event::Reload => state.replace(state.config.clone(), BTreeMap::new(), true),
            Event::Settle => {
                state.update();
                state.wanted.is_in_place();
            }
        }
    }

    /// What differs is what the scope says, and every service that has to do with it.
    fn check_scope(before: &Desired, state: &State) {
        let (after, Scope::Only(changes)) = (&state.wanted.desired, state.wanted.scope()) else {
            return;
        };
        for (endpoint, entry) in &after.backends {
            let changed = before.backends.get(endpoint) != Some(entry);
            assert!(!changed || changes.backends.contains(endpoint), "{endpoint}");
        }
        for (at, (old, new)) in before.services.iter().zip(&after.services).enumerate() {
            for (old, new) in old.backends.iter().zip(&new.backends) {
                let changed = old != new;
                assert!(!changed || changes.backends.contains(&new.endpoint), "{at} {new:?}");
            }
            let concerned = |backend: &crate::reconcile::DesiredBackend| {
                changes.backends.contains(&backend.endpoint)
            };
            let has_to_do = new.backends.iter().any(concerned);
            assert!(!has_to_do || changes.services.contains(&at), "{at}");
        }
    }

    proptest! {
        #[test]
        fn piece_by_piece_is_what_it_would_be_anew(
            events in vec((event(), 0..4_usize, 0..4_usize), 1..40)
        ) {
            let config = config::parse("weir.yaml", FILE).unwrap().config;
            let mut state = State::new(config, 250, 0);
            let endpoints: Vec<Endpoint> = state.endpoints().collect();
            let mut in_place = Desired::default();
            for (event, backend, service) in events {
                happen(&mut state, &event, endpoints[backend], service);
                state.update();
                prop_assert_eq!(&state.wanted.tried, &state.all_tried());
                prop_assert_eq!(&state.wanted.desired, &state.desired());
                if matches!(event, Event::Settle) {
                    in_place = state.wanted.desired.clone();
                }
                check_scope(&in_place, &state);
            }
        }
    }
}
