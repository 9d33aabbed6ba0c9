//! Where packets to a backend leave, asked of the kernel by netlink: route, neighbour, bridge
//! port, and whether a container's namespace is behind it. What cannot be found goes through the
//! stack, which is slow and always right.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    time::Duration,
};

use futures_util::{StreamExt as _, TryStreamExt as _};
use lb_common::abi::backend::way;
use rtnetlink::{
    Handle, MulticastGroup, RouteMessageBuilder, new_connection, new_multicast_connection,
    packet_route::{
        AddressFamily,
        link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage},
        neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
        route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType},
    },
};
use tokio::sync::mpsc;

/// How long a burst of changes is waited for.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// The port that a datagram goes to whose only purpose is the neighbour lookup (RFC 863).
const DISCARD: u16 = 9;

/// Why the kernel was not asked successfully.
#[derive(Debug, thiserror::Error)]
#[error("netlink: {0}")]
pub struct LinkError(#[from] rtnetlink::Error);

/// The way to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// One of [`way`].
    pub way: u8,
    /// Interface of the way out, 0 if there is none.
    pub ifindex: u32,
    /// Next hop's MAC address.
    pub dst_mac: [u8; 6],
    /// MAC address of the way out.
    pub src_mac: [u8; 6],
    /// Host-side veth of a container of this host: its replies arrive there.
    pub veth: Option<u32>,
    /// Whether the neighbour is only not known yet.
    pub may_resolve: bool,
    /// How it was found, or why not.
    pub why: String,
}

/// A netlink connection of the network namespace it was opened in.
#[derive(Debug)]
pub struct Links {
    handle: Handle,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Links {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Links {
    /// Opens a connection; it lives as long as the runtime.
    pub fn open() -> io::Result<Self> {
        let (connection, handle, _) = new_connection()?;
        Ok(Self { handle, task: tokio::spawn(connection) })
    }

    /// The ways to these addresses.
    pub async fn resolve(
        &self,
        addresses: &BTreeSet<IpAddr>,
    ) -> Result<BTreeMap<IpAddr, Resolved>, LinkError> {
        let picture = self.picture().await?;
        let mut ways = BTreeMap::new();
        for address in addresses {
            let resolved = match self.route(*address).await? {
                Some(route) => picture.resolve(*address, &route),
                None => Resolved::stack("no route"),
            };
            ways.insert(*address, resolved);
        }
        Ok(ways)
    }

    /// Links, neighbours and bridge ports, as they are now.
    async fn picture(&self) -> Result<Picture, LinkError> {
        let links: Vec<_> = self.handle.link().get().execute().try_collect().await?;
        let neighbours = self.handle.neighbours().get().execute();
        let neighbours: Vec<_> = neighbours.try_collect().await?;
        let ports = self.handle.neighbours().get().set_address_family(AddressFamily::Bridge);
        let ports: Vec<_> = ports.execute().try_collect().await?;
        Ok(Picture::new(&links, &neighbours, &ports))
    }

    async fn route(&self, address: IpAddr) -> Result<Option<RouteMessage>, LinkError> {
        let mut request = match address {
            IpAddr::V4(v4) => {
                RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(v4, 32).build()
            }
            IpAddr::V6(v6) => {
                RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(v6, 128).build()
            }
        };
        // The route as configured, with its prefix, not as worked out for this address.
        request.header.flags |= RouteFlags::FibMatch;
        match self.handle.route().get(request).execute().try_next().await {
            Ok(route) => Ok(route),
            // No route to it, or a route that says so.
            Err(rtnetlink::Error::NetlinkError(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the kernel look for the neighbour of an address.
    pub fn nudge(address: IpAddr) {
        let any: IpAddr = match address {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        if let Ok(socket) = UdpSocket::bind((any, 0)) {
            // The datagram need not arrive: looking for the way is all it is for.
            let _ = socket.send_to(&[], (address, DISCARD));
        }
    }

    /// The interfaces of the default routes.
    pub async fn default_interfaces(&self) -> Result<Vec<String>, LinkError> {
        let names = self.names().await?;
        let mut found = BTreeSet::new();
        let all = [
            RouteMessageBuilder::<Ipv4Addr>::new().build(),
            RouteMessageBuilder::<Ipv6Addr>::new().build(),
        ];
        for request in all {
            let routes: Vec<RouteMessage> =
                self.handle.route().get(request).execute().try_collect().await?;
            let default = |route: &&RouteMessage| {
                route.header.destination_prefix_length == 0
                    && route.header.kind == RouteType::Unicast
            };
            let oifs = routes.iter().filter(default).filter_map(way_out);
            found.extend(oifs.filter_map(|(oif, _)| names.get(&oif).cloned()));
        }
        Ok(found.into_iter().collect())
    }

    /// The index of an interface.
    pub async fn index_of(&self, name: &str) -> Result<Option<u32>, LinkError> {
        let names = self.names().await?;
        Ok(names.into_iter().find(|(_, there)| there == name).map(|(index, _)| index))
    }

    /// All interfaces' names, by index.
    pub async fn names(&self) -> Result<BTreeMap<u32, String>, LinkError> {
        let links: Vec<_> = self.handle.link().get().execute().try_collect().await?;
        Ok(links.iter().map(|link| (link.header.index, link_name(link))).collect())
    }
}

/// Tells about changes of links, neighbours and routes; a burst is told once. Whatever is lost
/// when the kernel's queue runs over is in the next full look anyway.
pub fn watch() -> io::Result<mpsc::Receiver<()>> {
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Neigh,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Route,
    ];
    let (connection, handle, mut messages) = new_multicast_connection(&groups)?;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let connection = tokio::spawn(connection);
        while messages.next().await.is_some() {
            tokio::time::sleep(DEBOUNCE).await;
            while let Ok(Some(_)) = tokio::time::timeout(Duration::ZERO, messages.next()).await {}
            if sender.send(()).await.is_err() {
                break;
            }
        }
        connection.abort();
        drop(handle);
    });
    Ok(receiver)
}

/// A link as far as it matters here.
#[derive(Clone, Debug, Default)]
struct Link {
    name: String,
    mac: [u8; 6],
    is_bridge: bool,
    leads_elsewhere: bool,
    is_loopback: bool,
}

/// What the kernel knows, in maps.
#[derive(Debug, Default)]
struct Picture {
    links: BTreeMap<u32, Link>,
    neighbours: BTreeMap<(u32, IpAddr), [u8; 6]>,
    ports: BTreeMap<(u32, [u8; 6]), u32>,
}

impl Picture {
    fn new(
        links: &[LinkMessage],
        neighbours: &[NeighbourMessage],
        ports: &[NeighbourMessage],
    ) -> Self {
        Self {
            links: links.iter().map(|link| (link.header.index, read_link(link))).collect(),
            neighbours: neighbours.iter().filter_map(read_neighbour).collect(),
            ports: ports.iter().filter_map(read_port).collect(),
        }
    }

    fn resolve(&self, address: IpAddr, route: &RouteMessage) -> Resolved {
        if route.header.kind != RouteType::Unicast {
            return Resolved::stack("an address of this host");
        }
        let Some((oif, gateway)) = way_out(route) else { return Resolved::stack("no interface") };
        let Some(link) = self.links.get(&oif).filter(|link| !link.is_loopback) else {
            return Resolved::stack("an address of this host");
        };
        let next_hop = gateway.unwrap_or(address);
        let Some(dst_mac) = self.neighbours.get(&(oif, next_hop)).copied() else {
            let why = format!("neighbour {next_hop} on {} is not known yet", link.name);
            return Resolved { may_resolve: true, ..Resolved::stack(&why) };
        };
        let mut why = String::new();
        let (ifindex, port) = if link.is_bridge {
            let Some(index) = self.ports.get(&(oif, dst_mac)) else {
                let why = format!("the port of {next_hop} on bridge {} is not known", link.name);
                return Resolved { may_resolve: true, ..Resolved::stack(&why) };
            };
            let Some(port) = self.links.get(index) else {
                return Resolved::stack("the bridge port is gone");
            };
            // Writing to a string cannot fail.
            let _ = write!(why, "{} on {}", port.name, link.name);
            (*index, port)
        } else {
            let _ = write!(why, "{next_hop} on {}", link.name);
            (oif, link)
        };
        // A veth into another namespace is a container's if it is a port of a bridge here, or if
        // nobody but this one address is behind it.
        let host_route = matches!(route.header.destination_prefix_length, 32 | 128);
        let alone = link.is_bridge || (host_route && gateway.is_none());
        let local = port.leads_elsewhere && alone;
        Resolved {
            way: if local { way::PEER } else { way::LINK },
            ifindex,
            dst_mac,
            src_mac: link.mac,
            veth: local.then_some(ifindex),
            may_resolve: false,
            why,
        }
    }
}

impl Resolved {
    fn stack(why: &str) -> Self {
        Self {
            way: way::STACK,
            ifindex: 0,
            dst_mac: [0; 6],
            src_mac: [0; 6],
            veth: None,
            may_resolve: false,
            why: why.to_owned(),
        }
    }
}

fn link_name(link: &LinkMessage) -> String {
    let name = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    });
    name.unwrap_or_default()
}

fn read_link(message: &LinkMessage) -> Link {
    let mut link = Link { name: link_name(message), ..Link::default() };
    let (mut is_veth, mut elsewhere) = (false, false);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Address(mac) => {
                link.mac = mac.as_slice().try_into().unwrap_or_default();
            }
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            LinkAttribute::LinkInfo(infos) => {
                link.is_bridge |= infos.contains(&LinkInfo::Kind(InfoKind::Bridge));
                is_veth |= infos.contains(&LinkInfo::Kind(InfoKind::Veth));
            }
            _ => {}
        }
    }
    link.leads_elsewhere = is_veth && elsewhere;
    link.is_loopback = link.name == "lo";
    link
}

fn mac_of(message: &NeighbourMessage) -> Option<[u8; 6]> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(mac) => mac.as_slice().try_into().ok(),
        _ => None,
    })
}

fn read_neighbour(message: &NeighbourMessage) -> Option<((u32, IpAddr), [u8; 6])> {
    let usable = matches!(
        message.header.state,
        NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
    );
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => Some(IpAddr::V4(*v4)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => Some(IpAddr::V6(*v6)),
        _ => None,
    })?;
    let mac = mac_of(message).filter(|_| usable)?;
    Some(((message.header.ifindex, address), mac))
}

/// An entry of a bridge's forwarding table: bridge and MAC address, port.
fn read_port(message: &NeighbourMessage) -> Option<((u32, [u8; 6]), u32)> {
    let bridge = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Controller(bridge) => Some(*bridge),
        _ => None,
    })?;
    // The bridge's and the ports' own addresses lead nowhere; they are permanent.
    let learned = message.header.state != NeighbourState::Permanent;
    let mac = mac_of(message).filter(|_| learned)?;
    Some(((bridge, mac), message.header.ifindex))
}

/// Interface and gateway of a route.
fn way_out(route: &RouteMessage) -> Option<(u32, Option<IpAddr>)> {
    let (mut oif, mut gateway) = (None, None);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => oif = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet(v4)) => gateway = Some(IpAddr::V4(*v4)),
            RouteAttribute::Gateway(RouteAddress::Inet6(v6)) => gateway = Some(IpAddr::V6(*v6)),
            _ => {}
        }
    }
    Some((oif?, gateway))
}
