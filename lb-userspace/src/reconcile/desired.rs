//! What the maps should say: configuration, discovery, health and weights, merged.

use std::collections::BTreeMap;

use ipnet::IpNet;
use lb_common::abi::{address::Address, backend::way, service::SCAN_MAX, settings::Settings};

use crate::model::{Endpoint, FlowLimits, Forward, Listen, Policy, ServiceName};

/// The desired state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Counts the desired states.
    pub generation: u32,
    /// Timeouts, hairpin addresses and ticks per second; the planner fills in the rest.
    pub settings: Settings,
    /// The services; their order decides who is served first when room is short.
    pub services: Vec<DesiredService>,
    /// All backends of all services.
    pub backends: BTreeMap<Endpoint, BackendEntry>,
    /// Whether echo requests for the VIPs are answered.
    pub pings: bool,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredService {
    /// Its name.
    pub name: ServiceName,
    /// What it listens on. A listen address is served by the backends of its family; with
    /// [`Forward::FullNat`] by those of the other one, if it has none.
    pub listens: Vec<Listen>,
    /// How it chooses.
    pub policy: Policy,
    /// How packets reach its backends.
    pub forward: Forward,
    /// Its backends, each once; ties go to the earlier one.
    pub backends: Vec<DesiredBackend>,
    /// How long a client keeps its backend, in jiffies; 0: not at all.
    pub affinity_ticks: u32,
    /// Who may connect; empty: everybody.
    pub sources: Vec<IpNet>,
    /// How many may.
    pub rates: Rates,
}

/// Limits of new flows, as the dataplane keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Time between new flows, in nanoseconds; 0: no limit.
    pub flow_interval_ns: u32,
    /// The same for those of one source.
    pub source_interval_ns: u32,
    /// How long what was not used is saved up, in microseconds.
    pub burst_us: u32,
}

impl From<FlowLimits> for Rates {
    fn from(limits: FlowLimits) -> Self {
        let FlowLimits { new_flows, per_source, burst } = limits;
        if new_flows.or(per_source).is_none() {
            return Self::default();
        }
        let interval = |rate: Option<u32>| rate.map_or(0, |rate| 1_000_000_000 / rate.max(1));
        let burst_us = u32::try_from(burst.as_micros()).unwrap_or(u32::MAX);
        let (flow_interval_ns, source_interval_ns) = (interval(new_flows), interval(per_source));
        Self { flow_interval_ns, source_interval_ns, burst_us }
    }
}

/// A backend's part in a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DesiredBackend {
    /// Which one.
    pub endpoint: Endpoint,
    /// Effective weight; 0 takes no new flows of this service.
    pub weight: u32,
    /// What it can do relative to the service's others, as far as its load tells; otherwise its
    /// weight.
    pub capacity: u32,
}

/// A backend as all its services see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendEntry {
    /// Whether it is healthy and not drained.
    pub takes_new: bool,
    /// Whether it fails its probes: then its datagram flows choose again, which have no other way
    /// to find out.
    pub is_down: bool,
    /// How packets reach it.
    pub link: Link,
}

/// The way to a backend. The default is the host's stack: slow, always correct.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// One of [`way`].
    pub way: u8,
    /// Interface of the way out.
    pub ifindex: u32,
    /// Next hop's MAC address.
    pub dst_mac: [u8; 6],
    /// MAC address of the way out.
    pub src_mac: [u8; 6],
    /// This host's address towards the backend.
    pub source: Address,
    /// Largest packet that the way out takes, in bytes.
    pub mtu: u32,
}

const _: () = assert!(way::STACK == 0, "the default link is the stack");

/// The capacities of the backends of these services: the largest in any of them, at least 1.
pub(super) fn capacities<'a>(
    services: impl Iterator<Item = &'a DesiredService>,
) -> BTreeMap<Endpoint, u32> {
    let mut capacities = BTreeMap::new();
    for service in services {
        // Who looks at all backends has the capacities in its table.
        let many = service.backends.len() > SCAN_MAX as usize;
        let learned = many && service.policy == Policy::Adaptive;
        for backend in &service.backends {
            let capacity = if learned { backend.capacity } else { backend.weight };
            let largest = capacities.entry(backend.endpoint).or_insert(1);
            *largest = capacity.max(*largest);
        }
    }
    capacities
}
