//! Whether a service's packets reach a backend in the way that its forward mode wants.

use std::net::IpAddr;

use lb_common::abi::{address::Address, backend::way, settings::Settings};

use super::state::State;
use crate::{
    dataplane::links::Resolved,
    model::{Endpoint, Forward, Service, Tunnel},
    reconcile::Link,
};

impl State {
    /// The way to an address, for its backends' entries.
    pub(super) fn link(&self, address: IpAddr) -> Link {
        let Some(resolved) = self.ways().get(&address) else { return Link::default() };
        let Resolved { way, ifindex, dst_mac, src_mac, mtu, source, .. } = *resolved;
        if way == way::STACK {
            return Link::default();
        }
        let source = source.map_or_else(Address::default, Address::from);
        Link { way, ifindex, dst_mac, src_mac, source, mtu }
    }

    /// Why they do not.
    pub(super) fn out_of_reach(&self, service: &Service, endpoint: &Endpoint) -> Option<String> {
        if service.forward == Forward::Nat {
            return None;
        }
        let needs = |what: &str, why: &str| {
            let mode = service.forward.name();
            Some(format!("forward: {mode} needs {what}; {why}"))
        };
        let Some(way) = self.ways().get(&endpoint.address) else {
            return needs("the MAC address of its next hop", "not looked for yet");
        };
        if way.way == way::STACK {
            return needs("the MAC address of its next hop", &way.why);
        }
        if service.forward == Forward::FullNat {
            if way.source.is_none() {
                return needs("a source", "no address of this host leads there");
            }
        } else if service.forward.is_tunnel() {
            let tunnel = &self.config.tunnel;
            let named =
                if endpoint.address.is_ipv4() { tunnel.v4.is_some() } else { tunnel.v6.is_some() };
            if way.source.is_none() && !named {
                return needs("a source", "no address of this host leads there");
            }
        } else if !way.on_link {
            let link = &way.why;
            return needs("it on a link of this host", &format!("it is behind a router ({link})"));
        }
        None
    }
}

/// The settings with what tunnels need.
pub(super) fn with_tunnel(settings: Settings, tunnel: &Tunnel) -> Settings {
    let mut settings = Settings { gue_port: tunnel.gue_port.to_be(), ..settings };
    if let Some(network) = tunnel.v4 {
        settings.tunnel_v4 = Address::from_v4(network.network().octets());
        settings.tunnel_v4_mask = u32::from_ne_bytes(network.hostmask().octets());
    }
    if let Some(network) = tunnel.v6 {
        settings.tunnel_v6 = Address::from_v6(network.network().octets());
        let mask = network.hostmask().octets();
        let last = mask.last_chunk::<4>().copied().unwrap_or_default();
        settings.tunnel_v6_mask = u32::from_ne_bytes(last);
    }
    settings
}
