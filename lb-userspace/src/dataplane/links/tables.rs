//! The decision: from the kernel's tables to a way out, as values.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use lb_common::abi::backend::way;

/// An Ethernet address.
pub(super) type Mac = [u8; 6];

/// How packets to an address leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// One of [`way`].
    pub way: u8,
    /// The interface of the way out; 0 with [`way::STACK`].
    pub ifindex: u32,
    /// Next hop's MAC address.
    pub dst_mac: [u8; 6],
    /// MAC address of the way out.
    pub src_mac: [u8; 6],
    /// The end on this side of a local container's veth: its replies arrive there.
    pub veth: Option<u32>,
    /// The kernel has not learned the neighbour or its port yet; a nudge may help.
    pub unresolved: bool,
    /// The answer in words, for people.
    pub why: String,
}

/// What the kernel knows, without routes.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) links: BTreeMap<u32, Link>,
    /// By link and address.
    pub(super) neighbours: BTreeMap<(u32, IpAddr), Mac>,
    /// The ports of a bridge behind which a MAC address was seen, in any VLAN.
    pub(super) ports: BTreeMap<(u32, Mac), BTreeSet<u32>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) name: String,
    /// Links that are no Ethernet have none.
    pub(super) mac: Option<Mac>,
    pub(super) bridge: bool,
    pub(super) peer: Option<Peer>,
}

/// The far end of a veth, in another namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    /// The namespace by the number it has in this one.
    pub(super) netns: i32,
    /// Its index there.
    pub(super) ifindex: u32,
}

/// What the routes say of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Out { link: u32, next_hop: IpAddr },
    Nowhere(String),
}

/// The way out of the namespace, before what is behind it is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exit {
    /// The link that the route names.
    link: u32,
    /// The link that the packets leave by: a port if the route names a bridge.
    pub(super) port: u32,
    dst_mac: Mac,
    src_mac: Mac,
}

/// Why only the stack can take the packets.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stuck {
    #[error("{0}")]
    Nowhere(String),
    #[error("the route names link {0}, which is gone")]
    LinkGone(u32),
    #[error("{0} is no Ethernet")]
    NoEthernet(String),
    #[error("neighbour {0} not resolved yet")]
    Neighbour(IpAddr),
    #[error("{bridge} has not learned the port of {mac} yet")]
    Port { bridge: String, mac: String },
    #[error("{bridge} knows {mac} at several ports")]
    Ports { bridge: String, mac: String },
}

impl From<Stuck> for Resolved {
    fn from(stuck: Stuck) -> Self {
        Self {
            way: way::STACK,
            ifindex: 0,
            dst_mac: [0; 6],
            src_mac: [0; 6],
            veth: None,
            unresolved: matches!(stuck, Stuck::Neighbour(_) | Stuck::Port { .. }),
            why: format!("stack: {stuck}"),
        }
    }
}

impl Tables {
    pub(super) fn exit(&self, address: IpAddr, route: &Route) -> Result<Exit, Stuck> {
        let (link, next_hop) = match route {
            Route::Out { link, next_hop } => (*link, *next_hop),
            Route::Nowhere(why) => return Err(Stuck::Nowhere(format!("{address}: {why}"))),
        };
        let out = self.links.get(&link).ok_or(Stuck::LinkGone(link))?;
        let src_mac = out.mac.ok_or_else(|| Stuck::NoEthernet(out.name.clone()))?;
        let dst_mac =
            *self.neighbours.get(&(link, next_hop)).ok_or(Stuck::Neighbour(next_hop))?;
        let port = if out.bridge { self.port(link, &out.name, dst_mac)? } else { link };
        Ok(Exit { link, port, dst_mac, src_mac })
    }

    fn port(&self, bridge: u32, name: &str, mac: Mac) -> Result<u32, Stuck> {
        let (name, text) = (name.to_owned(), show(mac));
        let mut ports = self.ports.get(&(bridge, mac)).into_iter().flatten();
        match (ports.next(), ports.next()) {
            (None, _) => Err(Stuck::Port { bridge: name, mac: text }),
            (Some(_), Some(_)) => Err(Stuck::Ports { bridge: name, mac: text }),
            (Some(port), None) if self.links.contains_key(port) => Ok(*port),
            (Some(port), None) => Err(Stuck::LinkGone(*port)),
        }
    }

    /// The far end of the veth that the packets leave by.
    pub(super) fn peer(&self, exit: &Exit) -> Option<Peer> {
        self.links.get(&exit.port)?.peer
    }

    /// The far end is the next hop only if the next hop's MAC address is its own. Otherwise there is
    /// a switch behind the veth, and packets must go through it.
    pub(super) fn leave(&self, exit: &Exit, peer_mac: Option<Mac>) -> Resolved {
        let local = peer_mac == Some(exit.dst_mac);
        let name = |index| self.links.get(&index).map_or("?", |link: &Link| link.name.as_str());
        let port = name(exit.port);
        let place =
            if exit.port == exit.link { String::new() } else { format!(" on {}", name(exit.link)) };
        Resolved {
            way: if local { way::PEER } else { way::LINK },
            ifindex: exit.port,
            dst_mac: exit.dst_mac,
            src_mac: exit.src_mac,
            veth: local.then_some(exit.port),
            unresolved: false,
            why: format!("{port}{place}"),
        }
    }
}

fn show(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
