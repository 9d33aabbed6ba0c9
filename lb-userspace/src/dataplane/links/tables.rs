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
    /// The backend is the next hop itself: no router lies between.
    pub on_link: bool,
    /// Largest packet that the way out takes, in bytes; 0 with [`way::STACK`].
    pub mtu: u32,
    /// This host's address towards the backend, as the route says.
    pub source: Option<IpAddr>,
    /// An address of this host: its processes' replies arrive nowhere, they leave.
    pub of_host: bool,
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
    pub(super) mtu: u32,
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
    Out { link: u32, next_hop: IpAddr, source: Option<IpAddr> },
    Host,
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
    on_link: bool,
    mtu: u32,
    source: Option<IpAddr>,
}

/// Why only the stack can take the packets.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stuck {
    #[error("{0}: an address of this host")]
    Host(IpAddr),
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
            on_link: false,
            mtu: 0,
            source: None,
            of_host: matches!(stuck, Stuck::Host(_)),
            unresolved: matches!(stuck, Stuck::Neighbour(_) | Stuck::Port { .. }),
            why: format!("stack: {stuck}"),
        }
    }
}

impl Tables {
    pub(super) fn exit(&self, address: IpAddr, route: &Route) -> Result<Exit, Stuck> {
        let (link, next_hop, source) = match route {
            Route::Out { link, next_hop, source } => (*link, *next_hop, *source),
            Route::Host => return Err(Stuck::Host(address)),
            Route::Nowhere(why) => return Err(Stuck::Nowhere(format!("{address}: {why}"))),
        };
        let out = self.links.get(&link).ok_or(Stuck::LinkGone(link))?;
        let src_mac = out.mac.ok_or_else(|| Stuck::NoEthernet(out.name.clone()))?;
        let dst_mac = *self.neighbours.get(&(link, next_hop)).ok_or(Stuck::Neighbour(next_hop))?;
        let port = if out.bridge { self.port(link, &out.name, dst_mac)? } else { link };
        let mtu = self.links.get(&port).map_or(out.mtu, |port| port.mtu.min(out.mtu));
        let on_link = next_hop == address;
        Ok(Exit { link, port, dst_mac, src_mac, on_link, mtu, source })
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
            on_link: exit.on_link,
            mtu: exit.mtu,
            source: exit.source,
            of_host: false,
            unresolved: false,
            why: format!("{port}{place}"),
        }
    }
}

fn show(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUEST: Mac = [2, 0, 0, 0, 0, 9];
    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 10, 2));

    fn link(index: u32, kind: &str) -> (u32, Link) {
        let own = u8::try_from(index).unwrap();
        let link = Link {
            name: format!("{kind}{index}"),
            mac: (kind != "tun").then_some([2, 0, 0, 0, 1, own]),
            mtu: 1500 - 100 * index,
            bridge: kind == "br",
            peer: (kind == "veth").then_some(Peer { netns: 0, ifindex: 2 }),
        };
        (index, link)
    }

    /// The guest is a neighbour on every link, and behind ports of the bridges.
    fn tables() -> Tables {
        let kinds = ["br", "veth", "eth", "tun", "br", "br", "br", "br"]
            .into_iter()
            .zip(1..)
            .collect::<Vec<_>>();
        let ports = [(1, vec![2]), (6, vec![2, 3]), (7, vec![99]), (8, vec![3])];
        Tables {
            neighbours: kinds.iter().map(|(_, index)| ((*index, ADDRESS), GUEST)).collect(),
            links: kinds.into_iter().map(|(kind, index)| link(index, kind)).collect(),
            ports: ports.map(|(bridge, p)| ((bridge, GUEST), p.into_iter().collect())).into(),
        }
    }

    #[test]
    fn what_is_not_certain_is_the_stacks() {
        let stranger: IpAddr = "198.18.10.3".parse().unwrap();
        for (link, next_hop, unresolved, why) in [
            (2, stranger, true, "stack: neighbour 198.18.10.3 not resolved yet"),
            (4, ADDRESS, false, "stack: tun4 is no Ethernet"),
            (5, ADDRESS, true, "stack: br5 has not learned the port of 02:00:00:00:00:09 yet"),
            (6, ADDRESS, false, "stack: br6 knows 02:00:00:00:00:09 at several ports"),
            (7, ADDRESS, false, "stack: the route names link 99, which is gone"),
            (98, ADDRESS, false, "stack: the route names link 98, which is gone"),
        ] {
            let stuck =
                tables().exit(ADDRESS, &Route::Out { link, next_hop, source: None }).unwrap_err();
            let found = Resolved::from(stuck);
            assert_eq!((found.way, found.unresolved, found.why.as_str()), (0, unresolved, why));
            assert!(!found.of_host, "{why}");
        }
        let host = Resolved::from(tables().exit(ADDRESS, &Route::Host).unwrap_err());
        let why = "stack: 198.18.10.2: an address of this host";
        assert_eq!((host.way, host.why.as_str()), (way::STACK, why));
        assert!(host.of_host && !host.unresolved);
        let nowhere = tables().exit(ADDRESS, &Route::Nowhere("no".to_owned())).unwrap_err();
        assert_eq!(Resolved::from(nowhere).why, "stack: 198.18.10.2: no");
    }

    #[test]
    fn only_the_far_ends_own_address_is_a_peer() {
        for (link, far_end, way, ifindex, why) in [
            (1, Some(GUEST), way::PEER, 2, "veth2 on br1"),
            (1, Some([2; 6]), way::LINK, 2, "veth2 on br1"),
            (1, None, way::LINK, 2, "veth2 on br1"),
            (2, Some(GUEST), way::PEER, 2, "veth2"),
            (2, Some([2; 6]), way::LINK, 2, "veth2"),
            (3, None, way::LINK, 3, "eth3"),
            (8, None, way::LINK, 3, "eth3 on br8"),
        ] {
            let tables = tables();
            let exit = tables
                .exit(ADDRESS, &Route::Out { link, next_hop: ADDRESS, source: Some(ADDRESS) })
                .unwrap();
            let found = tables.leave(&exit, far_end);
            assert_eq!((found.way, found.ifindex, found.why.as_str()), (way, ifindex, why));
            let src_mac = tables.links[&link].mac.unwrap();
            assert_eq!((found.dst_mac, found.src_mac), (GUEST, src_mac));
            assert_eq!(found.veth, (way == way::PEER).then_some(2));
            assert_eq!(tables.peer(&exit).is_some(), ifindex == 2);
        }
    }
}
