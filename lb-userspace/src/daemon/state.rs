//! What the daemon knows and wants: configuration, overrides, health and ways, and the desired
//! state that follows from them. No I/O.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::bail;
use lb_common::abi::{ABI_VERSION, address::Address, backend::way, settings::Settings};

use crate::{
    admin::{names::BackendName, report::BackendState},
    dataplane::{Hook, links::Resolved},
    health::HealthState,
    model::{Attach, Config, Endpoint, HealthCheck, ServiceName},
    reconcile::{BackendEntry, Desired, DesiredBackend, DesiredService, Link},
};

/// Everything that decides.
#[derive(Debug)]
pub(super) struct State {
    pub(super) config: Config,
    pub(super) generation: u32,
    ticks_per_second: u32,
    drained: BTreeSet<Endpoint>,
    weights: BTreeMap<(ServiceName, Endpoint), u16>,
    health: BTreeMap<Endpoint, HealthState>,
    ways: BTreeMap<IpAddr, Resolved>,
    /// The hook of the uplinks.
    pub(super) hook: Hook,
}

impl State {
    pub(super) fn new(config: Config, ticks_per_second: u32, generation: u32) -> Self {
        let mut state = Self {
            config,
            generation,
            ticks_per_second,
            drained: BTreeSet::new(),
            weights: BTreeMap::new(),
            health: BTreeMap::new(),
            ways: BTreeMap::new(),
            hook: Hook::Tc,
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
        Ok(())
    }

    pub(super) fn replace(&mut self, config: Config) {
        self.config = config;
        self.follow_config();
    }

    /// Forgets what is about backends that are gone; drained ones stay drained over a reload.
    fn follow_config(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        let checks = self.health_checks();
        self.health.retain(|endpoint, _| checks.contains_key(endpoint));
        for (endpoint, check) in &checks {
            self.health.entry(*endpoint).or_insert_with(|| HealthState::new(check));
        }
        let endpoints = self.endpoints();
        self.drained.retain(|endpoint| endpoints.contains(endpoint));
        let services = &self.config.services;
        self.weights.retain(|(name, endpoint), _| {
            let service = services.iter().find(|service| service.name == *name);
            service.is_some_and(|service| {
                service.backends.iter().any(|backend| backend.endpoint == *endpoint)
            })
        });
    }

    /// All backends of all services.
    pub(super) fn endpoints(&self) -> BTreeSet<Endpoint> {
        let backends = self.config.services.iter().flat_map(|service| &service.backends);
        backends.map(|backend| backend.endpoint).collect()
    }

    /// All backends' addresses.
    pub(super) fn addresses(&self) -> BTreeSet<IpAddr> {
        self.endpoints().into_iter().map(|endpoint| endpoint.address).collect()
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
        self.health.get_mut(&endpoint)?.observe(result, now)
    }

    pub(super) fn health_text(&self, endpoint: &Endpoint) -> String {
        self.health.get(endpoint).map_or_else(|| "not checked".to_owned(), HealthState::why)
    }

    pub(super) fn backend_state(&self, endpoint: &Endpoint) -> BackendState {
        let healthy = self.health.get(endpoint).is_none_or(HealthState::healthy);
        if self.drained.contains(endpoint) {
            BackendState::Drained
        } else if healthy {
            BackendState::Up
        } else {
            BackendState::Down
        }
    }

    /// Backends that a name on the command line means.
    pub(super) fn named(&self, name: &BackendName) -> Vec<Endpoint> {
        self.endpoints().into_iter().filter(|endpoint| name.matches(endpoint)).collect()
    }

    pub(super) fn drain(&mut self, endpoint: Endpoint, drained: bool) {
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
        let key = (service.clone(), endpoint);
        match weight {
            Some(weight) => self.weights.insert(key, weight),
            None => self.weights.remove(&key),
        };
    }

    pub(super) fn weight(&self, service: &ServiceName, endpoint: Endpoint, configured: u16) -> u16 {
        self.weights.get(&(service.clone(), endpoint)).copied().unwrap_or(configured)
    }

    pub(super) fn ways(&self) -> &BTreeMap<IpAddr, Resolved> {
        &self.ways
    }

    pub(super) fn set_ways(&mut self, ways: BTreeMap<IpAddr, Resolved>) {
        self.ways = ways;
    }

    /// Whether some backend's next hop may still be found.
    pub(super) fn has_unresolved(&self) -> bool {
        self.ways.values().any(|resolved| resolved.unresolved)
    }

    /// The hook that suits the backends: TC keeps GRO and TSO for containers of this host; XDP is
    /// the shorter way to backends elsewhere.
    pub(super) fn suitable_hook(&self) -> Hook {
        let elsewhere =
            !self.ways.is_empty() && self.ways.values().all(|resolved| resolved.way == way::LINK);
        match self.config.attach {
            Attach::Xdp => Hook::Xdp,
            Attach::XdpGeneric => Hook::XdpGeneric,
            Attach::Auto if elsewhere => Hook::Xdp,
            Attach::Auto | Attach::Tc => Hook::Tc,
        }
    }

    fn link(&self, address: IpAddr) -> Link {
        let Some(resolved) = self.ways.get(&address) else { return Link::default() };
        let Resolved { way, ifindex, dst_mac, src_mac, .. } = *resolved;
        if way == way::STACK { Link::default() } else { Link { way, ifindex, dst_mac, src_mac } }
    }

    /// The desired state.
    pub(super) fn desired(&self) -> Desired {
        let entry = |endpoint: Endpoint| {
            let state = self.backend_state(&endpoint);
            let (takes_new, is_down) = (state == BackendState::Up, state == BackendState::Down);
            (endpoint, BackendEntry { takes_new, is_down, link: self.link(endpoint.address) })
        };
        Desired {
            generation: self.generation,
            settings: self.settings(),
            services: self.config.services.iter().map(|service| self.service(service)).collect(),
            backends: self.endpoints().into_iter().map(entry).collect(),
        }
    }

    fn service(&self, service: &crate::model::Service) -> DesiredService {
        let backend = |spec: &crate::model::BackendSpec| DesiredBackend {
            endpoint: spec.endpoint,
            weight: u32::from(self.weight(&service.name, spec.endpoint, spec.weight.get())),
        };
        DesiredService {
            name: service.name.clone(),
            listens: service.listens.clone(),
            policy: service.policy,
            backends: service.backends.iter().map(backend).collect(),
            affinity_ticks: service.affinity.map_or(0, |time| self.ticks(time)),
            sources: service.sources.clone(),
        }
    }

    fn settings(&self) -> Settings {
        let timeouts = &self.config.timeouts;
        Settings {
            abi_version: ABI_VERSION,
            tcp_new_ticks: self.ticks(timeouts.tcp_new),
            tcp_established_ticks: self.ticks(timeouts.tcp_established),
            tcp_half_closed_ticks: self.ticks(timeouts.tcp_half_closed),
            tcp_closed_ticks: self.ticks(timeouts.tcp_closed),
            udp_new_ticks: self.ticks(timeouts.udp_new),
            udp_established_ticks: self.ticks(timeouts.udp_established),
            hairpin_v4: Address::from_v4(self.config.hairpin.v4.octets()),
            hairpin_v6: Address::from_v6(self.config.hairpin.v6.octets()),
            ticks_per_second: self.ticks_per_second,
            ..Settings::default()
        }
    }

    /// A duration in ticks, at least one; at most half of what 32 bits hold, so that an age can
    /// be told from a time to come.
    fn ticks(&self, time: Duration) -> u32 {
        let ticks = time.as_millis() * u128::from(self.ticks_per_second) / 1000;
        u32::try_from(ticks).unwrap_or(u32::MAX).clamp(1, u32::MAX / 2)
    }
}
