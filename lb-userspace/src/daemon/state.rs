//! What the daemon knows and wants: configuration, overrides, health and ways, and the desired
//! state that follows from them. No I/O.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Instant,
};

use anyhow::bail;
use lb_common::abi::backend::way;

use super::{
    capacities::{Learned, Who},
    reports::Reports,
    wanted::Wanted,
};
use crate::{
    admin::{names::BackendName, report::BackendState},
    dataplane::{Hook, links::Resolved},
    docker::{Held, Provided},
    health::HealthState,
    load::report::Report,
    model::{AllDown, Config, Endpoint, HealthCheck, Service, ServiceName},
    reconcile::{DesiredBackend, DesiredService},
};

/// Everything that decides.
#[derive(Debug)]
pub(super) struct State {
    pub(super) config: Config,
    pub(super) generation: u32,
    pub(super) ticks_per_second: u32,
    drained: BTreeSet<Endpoint>,
    weights: BTreeMap<(ServiceName, Endpoint), u16>,
    /// What live load says of the backends of services that balance by it.
    learned: BTreeMap<ServiceName, BTreeMap<Endpoint, Learned>>,
    health: BTreeMap<Endpoint, HealthState>,
    /// What the backends say of themselves.
    pub(super) reports: Reports,
    /// The backends that are containers.
    provided: BTreeMap<Endpoint, Provided>,
    /// Containers that were started a moment ago and have not answered their check yet.
    unproven: BTreeSet<Endpoint>,
    ways: BTreeMap<IpAddr, Resolved>,
    /// The hook of the uplinks.
    pub(super) hook: Hook,
    pub(super) wanted: Wanted,
}

impl State {
    pub(super) fn new(config: Config, ticks_per_second: u32, generation: u32) -> Self {
        let mut state = Self {
            config,
            generation,
            ticks_per_second,
            drained: BTreeSet::new(),
            weights: BTreeMap::new(),
            learned: BTreeMap::new(),
            health: BTreeMap::new(),
            reports: Reports::default(),
            provided: BTreeMap::new(),
            unproven: BTreeSet::new(),
            ways: BTreeMap::new(),
            hook: Hook::Tc,
            wanted: Wanted::default(),
        };
        state.follow_config();
        state
    }

    /// Refuses what cannot change while the dataplane is loaded.
    pub(super) fn check_replacement(&self, config: &Config) -> anyhow::Result<()> {
        if config.limits != self.config.limits {
            bail!("limits cannot change while weir runs: restart it to change them");
        }
        if config.admin != self.config.admin {
            bail!("admin addresses cannot change while weir runs: restart it to change them");
        }
        if config.runs_programs() && !self.config.runs_programs() {
            bail!(
                "no program may be run by a weir that was started without one: restart it for \
                 `scale.executor: command`"
            );
        }
        Ok(())
    }

    /// Takes another configuration and the backends in it that are containers. What is known of
    /// an earlier container at a place says nothing about the next one: its health, its drain, the
    /// way to it. `settled`: containers that appear were started a moment ago.
    pub(super) fn replace(
        &mut self,
        config: Config,
        provided: BTreeMap<Endpoint, Provided>,
        settled: bool,
    ) {
        let old = std::mem::replace(&mut self.provided, provided);
        let fresh: Vec<Endpoint> = self
            .provided
            .iter()
            .filter(|(end, new)| old.get(end).is_none_or(|o| o.incarnation != new.incarnation))
            .map(|(endpoint, _)| *endpoint)
            .collect();
        for endpoint in fresh {
            self.health.remove(&endpoint);
            self.drained.remove(&endpoint);
            self.reports.forget(&endpoint);
            self.ways.remove(&endpoint.address);
            if settled {
                self.unproven.insert(endpoint);
            }
        }
        self.config = config;
        self.follow_config();
    }

    /// Forgets what is about backends that are gone; drained ones stay drained over a reload.
    fn follow_config(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.want_anew();
        let checks = self.health_checks();
        self.health.retain(|endpoint, _| checks.contains_key(endpoint));
        for (endpoint, check) in &checks {
            self.health.entry(*endpoint).or_insert_with(|| HealthState::new(check));
        }
        self.unproven.retain(|endpoint| {
            checks.contains_key(endpoint) && self.provided.contains_key(endpoint)
        });
        let wanted = &self.wanted;
        let asked = super::reports::asked(&self.config);
        self.reports.retain(|endpoint| wanted.has(endpoint), &asked);
        self.drained.retain(|endpoint| wanted.has(endpoint));
        let services = self.config.services.iter();
        let services: BTreeMap<_, _> = services.map(|service| (&service.name, service)).collect();
        self.learned
            .retain(|name, _| services.get(name).is_some_and(|service| service.follows_load()));
        self.weights.retain(|(name, endpoint), _| {
            services.get(name).is_some_and(|service| {
                service.backends.iter().any(|backend| backend.endpoint == *endpoint)
            })
        });
    }

    /// The services that balance by live load.
    pub(super) fn followed(&self) -> impl Iterator<Item = &Service> {
        self.config.services.iter().filter(|service| service.follows_load())
    }

    /// Takes what live load says.
    pub(super) fn learn(&mut self, told: BTreeMap<ServiceName, BTreeMap<Endpoint, Learned>>) {
        for (name, learned) in told {
            let before = self.learned.entry(name).or_default();
            let ends = before.keys().chain(learned.keys());
            for endpoint in ends.filter(|end| before.get(end) != learned.get(end)) {
                self.wanted.touch(*endpoint);
            }
            *before = learned;
        }
    }

    /// What live load says of a backend in a service.
    pub(super) fn learned(&self, service: &ServiceName, endpoint: &Endpoint) -> Option<Learned> {
        self.learned.get(service)?.get(endpoint).copied()
    }

    /// The process of a backend that is a container of this host.
    pub(super) fn process(&self, endpoint: &Endpoint) -> Option<u32> {
        self.provided.get(endpoint)?.pid
    }

    /// A backend, and which one of those that are one after the other at its address.
    pub(super) fn who(&self, endpoint: &Endpoint) -> Who {
        (*endpoint, self.provided.get(endpoint).map(|provided| provided.incarnation.clone()))
    }

    /// All backends of all services.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = Endpoint> {
        self.wanted.endpoints()
    }

    /// All backends' addresses.
    pub(super) const fn addresses(&self) -> &BTreeSet<IpAddr> {
        self.wanted.addresses()
    }

    /// What is to be probed. A backend of several services is probed as the first one says.
    pub(super) fn health_checks(&self) -> BTreeMap<Endpoint, HealthCheck> {
        let mut checks = BTreeMap::new();
        for service in &self.config.services {
            let Some(check) = &service.health else { continue };
            for backend in &service.backends {
                checks.entry(backend.endpoint).or_insert_with(|| check.clone());
            }
        }
        checks
    }

    /// Takes a probe's result; says whether the backend is healthy if that changed.
    pub(super) fn probed(
        &mut self,
        endpoint: Endpoint,
        result: Result<(), String>,
        now: Instant,
    ) -> Option<bool> {
        let proven = result.is_ok() && self.unproven.remove(&endpoint);
        let changed = self.health.get_mut(&endpoint)?.observe(result, now);
        let healthy = changed.or(proven.then_some(true))?;
        self.wanted.touch(endpoint);
        Some(healthy)
    }

    /// Takes what a backend said of itself; says whether other traffic follows from it.
    pub(super) fn reported(
        &mut self,
        endpoint: Endpoint,
        said: Result<Report, String>,
        now: Instant,
    ) -> bool {
        let changed = self.reports.take(now, endpoint, said);
        if changed {
            self.wanted.touch(endpoint);
        }
        changed
    }

    pub(super) fn health_text(&self, endpoint: &Endpoint) -> String {
        let checked =
            || self.health.get(endpoint).map_or_else(|| "not checked".to_owned(), HealthState::why);
        let provided = self.provided.get(endpoint);
        let name = provided.map_or_else(String::new, |it| format!("{}: ", it.container));
        self.withheld(endpoint).map_or_else(checked, |(_, why)| format!("{name}{why}"))
    }

    pub(super) fn backend_state(&self, endpoint: &Endpoint) -> BackendState {
        let healthy = self.health.get(endpoint).is_none_or(HealthState::healthy);
        match self.withheld(endpoint) {
            _ if self.drained.contains(endpoint) => BackendState::Drained,
            Some((state, _)) => state,
            None if healthy => BackendState::Up,
            None => BackendState::Down,
        }
    }

    /// Whether somebody, or the scaler, has drained a backend.
    pub(super) fn is_drained(&self, endpoint: &Endpoint) -> bool {
        self.drained.contains(endpoint)
    }

    /// Why a backend gets no new flows, whatever its check says: its agent's word, or, of a
    /// container, what the engine and the links say. The stack is no way into a
    /// container: the host's own rules for Docker may refuse the packets, and its replies would
    /// pass no program of ours.
    pub(super) fn withheld(&self, endpoint: &Endpoint) -> Option<(BackendState, String)> {
        let word = self.reports.word(endpoint);
        let Some(provided) = self.provided.get(endpoint) else { return word };
        let way = self.ways.get(&endpoint.address);
        let by_stack = |way: &Resolved| way.way == way::STACK && way.veth.is_none() && !way.of_host;
        let lost = way.is_none_or(|way| way.unresolved || by_stack(way));
        match provided.held {
            Some(held @ Held::Stopping) => Some((BackendState::Drained, held.to_string())),
            Some(held) => Some((BackendState::Down, held.to_string())),
            None if lost => {
                let why = way.map_or("not looked for yet", |way| way.why.as_str());
                let hint = provided.network.hint().map(|hint| format!("; {hint}"));
                let hint = hint.unwrap_or_default();
                Some((BackendState::Down, format!("the way to it is not known: {why}{hint}")))
            }
            None if self.unproven.contains(endpoint) => {
                let why = self.health.get(endpoint).map_or_else(String::new, HealthState::why);
                Some((BackendState::Down, format!("has not passed its check yet: {why}")))
            }
            None => word,
        }
    }

    /// Backends that a name on the command line means.
    pub(super) fn named(&self, name: &BackendName) -> Vec<Endpoint> {
        self.endpoints().filter(|endpoint| name.matches(endpoint)).collect()
    }

    pub(super) fn drain(&mut self, endpoint: Endpoint, drained: bool) {
        self.wanted.touch(endpoint);
        if drained {
            self.drained.insert(endpoint);
        } else {
            self.drained.remove(&endpoint);
        }
    }

    /// Sets a weight until the daemon ends; `None` returns to the configured one.
    pub(super) fn set_weight(
        &mut self,
        service: &ServiceName,
        endpoint: Endpoint,
        weight: Option<u16>,
    ) {
        self.wanted.touch(endpoint);
        let key = (service.clone(), endpoint);
        match weight {
            Some(weight) => self.weights.insert(key, weight),
            None => self.weights.remove(&key),
        };
    }

    pub(super) fn weight(&self, service: &ServiceName, endpoint: Endpoint, configured: u16) -> u16 {
        if self.weights.is_empty() {
            return configured;
        }
        self.weights.get(&(service.clone(), endpoint)).copied().unwrap_or(configured)
    }

    pub(super) fn ways(&self) -> &BTreeMap<IpAddr, Resolved> {
        &self.ways
    }

    pub(super) fn set_ways(&mut self, ways: BTreeMap<IpAddr, Resolved>) {
        let old = std::mem::replace(&mut self.ways, ways);
        let both: BTreeSet<_> = old.keys().chain(self.ways.keys()).collect();
        for address in both.into_iter().filter(|end| old.get(end) != self.ways.get(end)) {
            self.wanted.touch_address(*address);
        }
    }

    /// The ways to the backends of the configuration; others only keep their flows.
    pub(super) fn wanted_ways(&self) -> impl Iterator<Item = (&IpAddr, &Resolved)> {
        let wanted = self.addresses();
        self.ways.iter().filter(move |(address, _)| wanted.contains(address))
    }

    /// Whether some backend's next hop may still be found.
    pub(super) fn has_unresolved(&self) -> bool {
        let ways = &self.ways;
        self.addresses().iter().any(|end| ways.get(end).is_none_or(|way| way.unresolved))
    }

    /// Whether nothing but a failed check speaks against a backend.
    fn only_fails(&self, endpoint: &Endpoint) -> bool {
        let held = self.provided.get(endpoint).and_then(|provided| provided.held);
        let withheld = match held {
            Some(Held::Unhealthy) => self.reports.word(endpoint).is_some(),
            Some(_) | None => self.withheld(endpoint).is_some(),
        };
        self.backend_state(endpoint) == BackendState::Down && !withheld
    }

    /// Backends that a service tries although they fail their checks: all of its family do.
    pub(super) fn last_resort(&self, service: &Service) -> Vec<Endpoint> {
        if service.health.as_ref().is_some_and(|check| check.all_down == AllDown::Refuse) {
            return Vec::new();
        }
        let mut tried = Vec::new();
        for v6 in [false, true] {
            let counts = |spec: &&crate::model::BackendSpec| {
                let weight = self.weight(&service.name, spec.endpoint, spec.weight.get());
                weight > 0 && spec.endpoint.address.is_ipv6() == v6
            };
            let family = service.backends.iter().filter(counts).map(|spec| spec.endpoint);
            let family: Vec<_> = family.collect();
            if family.iter().all(|end| self.backend_state(end) != BackendState::Up) {
                tried.extend(family.into_iter().filter(|end| self.only_fails(end)));
            }
        }
        tried
    }

    /// A service as it is wanted.
    pub(super) fn service(&self, service: &Service) -> DesiredService {
        let tried = self.last_resort(service);
        let backend = |spec: &crate::model::BackendSpec| {
            let endpoint = spec.endpoint;
            // What another service tries for want of better is none of this one's business.
            let down = self.backend_state(&endpoint) == BackendState::Down;
            let weight = self.weight(&service.name, endpoint, spec.weight.get());
            let weight = if down && !tried.contains(&endpoint) { 0 } else { weight };
            let learned = self.learned(&service.name, &endpoint);
            let weight = if learned.is_some_and(|it| it.ejected) { 0 } else { weight };
            let weight = if self.out_of_reach(service, &endpoint).is_some() { 0 } else { weight };
            let capacity = learned.map_or(0, |it| it.capacity);
            DesiredBackend { endpoint, weight: u32::from(weight), capacity: u32::from(capacity) }
        };
        let mut backends: Vec<_> = service.backends.iter().map(backend).collect();
        self.reports.scale(&mut backends);
        for backend in backends.iter_mut().filter(|backend| backend.capacity == 0) {
            backend.capacity = backend.weight;
        }
        DesiredService {
            name: service.name.clone(),
            listens: service.listens.clone(),
            policy: service.policy,
            forward: service.forward,
            backends,
            affinity_ticks: service.affinity.map_or(0, |time| self.ticks(time)),
            sources: service.sources.clone(),
            rates: service.limits.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::docker::NetworkKind;

    const FILE: &str = "services:
  - name: web
    listen: [198.18.0.1:80]
    health: { tcp: true, rise: 1, fall: 1 }
    backends: [{ address: 198.18.10.2:80 }, { address: 198.18.10.3:80 }]
";

    fn config() -> Config {
        config::parse("weir.yaml", FILE).unwrap().config
    }

    fn endpoint(last: u8) -> Endpoint {
        config().services[0].backends[usize::from(last) - 2].endpoint
    }

    /// The second backend is a container.
    fn provided(start: &str, held: Option<Held>) -> BTreeMap<Endpoint, Provided> {
        let (container, incarnation) = ("web-1".to_owned(), start.to_owned());
        let network = NetworkKind::Bridge;
        let provided = Provided { container, incarnation, held, network, pid: None, home: None };
        [(endpoint(3), provided)].into()
    }

    fn way_to(unresolved: bool) -> Resolved {
        Resolved {
            way: way::PEER,
            ifindex: 7,
            dst_mac: [0; 6],
            src_mac: [0; 6],
            veth: Some(7),
            on_link: true,
            mtu: 1500,
            source: None,
            of_host: false,
            unresolved,
            why: "veth7".to_owned(),
        }
    }

    fn known(state: &mut State) {
        let ways = [2, 3].map(|last| (endpoint(last).address, way_to(false)));
        state.set_ways(ways.into());
    }

    fn told(state: &State) -> (BackendState, String) {
        (state.backend_state(&endpoint(3)), state.health_text(&endpoint(3)))
    }

    #[test]
    fn a_container_waits_for_the_way_to_it_and_others_do_not() {
        let mut state = State::new(config(), 250, 0);
        state.replace(config(), provided("1", None), false);
        assert_eq!(state.backend_state(&endpoint(2)), BackendState::Up);
        let why = "web-1: the way to it is not known: not looked for yet";
        assert_eq!(told(&state), (BackendState::Down, why.to_owned()));
        assert!(state.has_unresolved());
        let way = [(endpoint(3).address, way_to(true))];
        state.set_ways(way.into());
        let why = "web-1: the way to it is not known: veth7";
        assert_eq!(told(&state), (BackendState::Down, why.to_owned()));
        let mut macvlan = provided("1", None);
        for provided in macvlan.values_mut() {
            provided.network = NetworkKind::Macvlan;
        }
        state.replace(config(), macvlan, false);
        let (_, why) = told(&state);
        assert!(why.contains("known: veth7; its network is a macvlan, which"), "{why}");
        let stack = Resolved { way: way::STACK, veth: None, ..way_to(false) };
        state.set_ways([(endpoint(3).address, stack.clone())].into());
        assert_eq!(told(&state).0, BackendState::Down);
        state.set_ways([(endpoint(3).address, Resolved { of_host: true, ..stack })].into());
        assert_eq!(told(&state).0, BackendState::Up);
        known(&mut state);
        assert_eq!(told(&state), (BackendState::Up, "not probed yet".to_owned()));
        assert!(!state.has_unresolved());
    }

    #[test]
    fn what_holds_a_container_back_is_said() {
        for (held, expected) in [
            (Held::Paused, BackendState::Down),
            (Held::Unhealthy, BackendState::Down),
            (Held::Starting, BackendState::Down),
            (Held::Stopping, BackendState::Drained),
        ] {
            let mut state = State::new(config(), 250, 0);
            state.replace(config(), provided("1", Some(held)), false);
            known(&mut state);
            assert_eq!(told(&state), (expected, format!("web-1: {held}")));
            state.update();
            let takes_new = |last| state.wanted.desired.backends[&endpoint(last)].takes_new;
            assert!(takes_new(2) && !takes_new(3), "{held}");
        }
    }

    /// Who takes new flows, and with which weight in the service.
    fn takers(state: &mut State) -> [(bool, u32); 2] {
        state.update();
        assert_eq!(state.wanted.desired, state.desired(), "piece by piece and anew");
        let desired = &state.wanted.desired;
        let [service] = &desired.services[..] else { panic!("{:?}", desired.services) };
        [0, 1].map(|at| {
            let DesiredBackend { endpoint, weight, .. } = service.backends[at];
            (desired.backends[&endpoint].takes_new, weight)
        })
    }

    fn fails(state: &mut State, last: u8) {
        state.probed(endpoint(last), Err("refused".to_owned()), Instant::now());
    }

    #[test]
    fn when_all_fail_all_are_tried_and_it_is_said() {
        let mut state = State::new(config(), 250, 0);
        fails(&mut state, 2);
        assert_eq!(takers(&mut state), [(false, 0), (true, 1)]);
        assert!(state.last_resorts().is_empty());
        fails(&mut state, 3);
        assert_eq!(takers(&mut state), [(true, 1), (true, 1)]);
        assert_eq!(state.last_resorts(), [&state.config.services[0].name]);
        state.probed(endpoint(2), Ok(()), Instant::now());
        assert_eq!(takers(&mut state), [(true, 1), (false, 0)]);
        assert!(state.last_resorts().is_empty());
    }

    #[test]
    fn what_is_drained_or_held_or_weighs_nothing_is_no_last_resort() {
        let mut state = State::new(config(), 250, 0);
        fails(&mut state, 2);
        state.drain(endpoint(3), true);
        assert_eq!(takers(&mut state), [(true, 1), (false, 1)]);
        state.drain(endpoint(3), false);
        state.set_weight(&state.config.services[0].name.clone(), endpoint(3), Some(0));
        assert_eq!(takers(&mut state)[0], (true, 1), "a backend without weight serves nobody");
        let mut state = State::new(config(), 250, 0);
        state.replace(config(), provided("1", Some(Held::Paused)), false);
        known(&mut state);
        fails(&mut state, 2);
        assert_eq!(takers(&mut state), [(true, 1), (false, 0)]);
    }

    #[test]
    fn a_service_may_refuse_instead() {
        let file = FILE.replace("rise: 1", "rise: 1, all-down: refuse");
        let config = config::parse("weir.yaml", &file).unwrap().config;
        let mut state = State::new(config, 250, 0);
        fails(&mut state, 2);
        fails(&mut state, 3);
        assert_eq!(takers(&mut state), [(false, 0), (false, 0)]);
        assert!(state.last_resorts().is_empty());
    }

    #[test]
    fn a_container_that_just_started_passes_its_check_first() {
        let now = Instant::now();
        let mut state = State::new(config(), 250, 0);
        // One that was there before the daemon counts as healthy until it is known not to be.
        for (start, settled, expected) in
            [("1", false, BackendState::Up), ("2", true, BackendState::Down)]
        {
            state.replace(config(), provided(start, None), settled);
            known(&mut state);
            assert_eq!(told(&state).0, expected, "{start}");
        }
        assert_eq!(told(&state).1, "web-1: has not passed its check yet: not probed yet");
        assert_eq!(state.probed(endpoint(3), Ok(()), now), Some(true));
        assert_eq!(told(&state), (BackendState::Up, "answers".to_owned()));
        assert_eq!(state.probed(endpoint(3), Ok(()), now), None);
    }

    #[test]
    fn the_next_container_at_an_address_inherits_nothing() {
        let now = Instant::now();
        let mut state = State::new(config(), 250, 0);
        state.replace(config(), provided("1", None), false);
        known(&mut state);
        state.drain(endpoint(3), true);
        state.probed(endpoint(3), Err("refused".to_owned()), now);
        // The same container again keeps all of it.
        state.replace(config(), provided("1", None), true);
        assert_eq!(state.backend_state(&endpoint(3)), BackendState::Drained);
        state.drain(endpoint(3), false);
        assert_eq!(told(&state), (BackendState::Down, "refused".to_owned()));
        state.drain(endpoint(3), true);
        state.replace(config(), provided("2", None), false);
        assert!(!state.ways().contains_key(&endpoint(3).address));
        known(&mut state);
        assert_eq!(told(&state), (BackendState::Up, "not probed yet".to_owned()));
    }
}
