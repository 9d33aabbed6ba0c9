//! What the maps should say: configuration, discovery, health and weights, merged.

use std::collections::BTreeMap;

use ipnet::IpNet;
use lb_common::abi::{address::Address, backend::way, service::SCAN_MAX, settings::Settings};

use crate::model::{Endpoint, Forward, Listen, Policy, ServiceName};

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
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredService {
    /// Its name.
    pub name: ServiceName,
    /// What it listens on. A listen address is served by the backends of its family.
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

impl Desired {
    /// A backend's capacity: its largest in any service, at least 1.
    pub(super) fn capacities(&self) -> BTreeMap<Endpoint, u32> {
        let mut capacities: BTreeMap<_, _> = self.backends.keys().map(|key| (*key, 1)).collect();
        for service in &self.services {
            // Who looks at all backends has the capacities in its table.
            let many = service.backends.len() > SCAN_MAX as usize;
            let learned = many && service.policy == Policy::Adaptive;
            for backend in &service.backends {
                let capacity = if learned { backend.capacity } else { backend.weight };
                capacities.entry(backend.endpoint).and_modify(|max| *max = capacity.max(*max));
            }
        }
        capacities
    }
}
