//! A laboratory in network namespaces: a client, a balancer and backends as separate network stacks
//! of one machine.
//!
//! `weir demo`, the tests that need real packets and the bench all build their networks here.
//! Nothing touches the links, addresses or routes of the namespace that the caller lives in, and
//! everything is taken down when the [`Lab`] is dropped, also by a panic. Names carry the process
//! id, so that labs of several processes stand side by side and [`reap_stale`] finds what a killed
//! one left behind.

mod blueprint;
mod build;
mod error;
mod netns;
mod offload;
mod plan;
mod settle;
mod stale;
mod worker;

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::atomic::{AtomicU32, Ordering},
};

use self::blueprint::Blueprint;
pub use self::{
    error::LabError,
    netns::Netns,
    plan::{
        BACKENDS_MAX, BRIDGE, CLIENT_LINK, CLIENT_V4, CLIENT_V6, DOWNLINK, LB_MAC, LB_V4, LB_V6,
        LabPlan, Mac, Topology, UPLINK, vip_v4, vip_v6,
    },
    stale::reap_stale,
    worker::Worker,
};

/// The namespaces of a laboratory, alive as long as the value.
#[derive(Debug)]
pub struct Lab {
    // Namespaces are dropped in this order: the balancer goes after those who talk through it.
    client: Netns,
    backends: Vec<LabBackend>,
    switch: Option<Netns>,
    lb: Netns,
}

/// A backend's place in the laboratory.
#[derive(Debug)]
pub struct LabBackend {
    /// Its namespace; the link in it is `eth0`.
    pub netns: Netns,
    /// IPv4 address.
    pub v4: Ipv4Addr,
    /// IPv6 address, configured if the plan says so.
    pub v6: Ipv6Addr,
    /// MAC address of its `eth0`.
    pub mac: Mac,
    /// Name of the other end of its link: in the balancer, or in the switch if the plan is remote.
    pub host_link: String,
}

impl Lab {
    /// Builds a laboratory whose namespaces are called `<prefix>-<pid>-<number>-<role>`.
    pub fn new(prefix: &str, plan: LabPlan) -> Result<Self, LabError> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if prefix.is_empty() || prefix.len() > 64 || prefix.contains(['/', '.']) {
            return Err(LabError::Prefix(prefix.to_owned()));
        }
        if plan.backends > BACKENDS_MAX {
            return Err(LabError::TooManyBackends(plan.backends));
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let stem = stale::stem(prefix, std::process::id(), number);
        let lab = Self::create(&stem, plan)?;
        let blueprint = Blueprint::draw(plan);
        build::build(&blueprint, &|role| lab.netns(role))?;
        settle::settle(lab.backends.iter().map(|backend| &backend.netns).chain([&lab.client]))?;
        Ok(lab)
    }

    fn create(stem: &str, plan: LabPlan) -> Result<Self, LabError> {
        let netns = |role: blueprint::Role| Netns::create(&format!("{stem}-{role}"));
        let backends = (1..=plan.backends)
            .map(|n| {
                Ok(LabBackend {
                    netns: netns(blueprint::Role::Backend(n))?,
                    v4: plan::backend_v4(n),
                    v6: plan::backend_v6(n),
                    mac: plan::backend_mac(n),
                    host_link: plan::host_link(n),
                })
            })
            .collect::<Result<_, LabError>>()?;
        let switch = match plan.topology {
            Topology::Remote => Some(netns(blueprint::Role::Switch)?),
            Topology::Bridge | Topology::Routed => None,
        };
        let client = netns(blueprint::Role::Client)?;
        Ok(Self { client, backends, switch, lb: netns(blueprint::Role::Lb)? })
    }

    /// Where clients run.
    #[must_use]
    pub fn client(&self) -> &Netns {
        &self.client
    }

    /// Where the balancer runs: [`UPLINK`] leads to the client.
    #[must_use]
    pub fn lb(&self) -> &Netns {
        &self.lb
    }

    /// Where the servers run.
    #[must_use]
    pub fn backends(&self) -> &[LabBackend] {
        &self.backends
    }

    /// The switch of [`Topology::Remote`].
    #[must_use]
    pub fn switch(&self) -> Option<&Netns> {
        self.switch.as_ref()
    }

    fn netns(&self, role: blueprint::Role) -> Option<&Netns> {
        match role {
            blueprint::Role::Client => Some(&self.client),
            blueprint::Role::Lb => Some(&self.lb),
            blueprint::Role::Switch => self.switch.as_ref(),
            blueprint::Role::Backend(n) => {
                Some(&self.backends.get(usize::from(n).checked_sub(1)?)?.netns)
            }
        }
    }
}
