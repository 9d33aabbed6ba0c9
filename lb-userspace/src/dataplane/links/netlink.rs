//! Questions to the kernel, and its answers as the values of [`super::tables`].

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the kernel's lists of attributes are long and open"
)]

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use futures_util::{TryStream, TryStreamExt as _};
use rtnetlink::{
    Error, Handle, RouteMessageBuilder,
    packet_route::{
        AddressFamily,
        link::{InfoKind, LinkAttribute, LinkInfo, LinkLayerType, LinkMessage},
        neighbour::{
            NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
        },
        route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType, RouteVia},
    },
};

use super::{
    LinkError,
    tables::{Link, Mac, Peer, Route, Tables},
};

pub(super) async fn tables(netlink: &Handle) -> Result<Tables, LinkError> {
    let mut tables = Tables { links: links(netlink).await?, ..Tables::default() };
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let request = netlink.neighbours().get().set_address_family(family);
        for message in all("neighbours", request.execute()).await? {
            tables.neighbours.extend(neighbour(&message));
        }
    }
    let request = netlink.neighbours().get().set_address_family(AddressFamily::Bridge);
    for message in all("bridge ports", request.execute()).await? {
        if let Some((bridge, mac, port)) = bridge_port(&message) {
            tables.ports.entry((bridge, mac)).or_default().insert(port);
        }
    }
    Ok(tables)
}

pub(super) async fn links(netlink: &Handle) -> Result<BTreeMap<u32, Link>, LinkError> {
    let messages = all("links", netlink.link().get().execute()).await?;
    Ok(messages.iter().map(|message| (message.header.index, link(message))).collect())
}

/// The far end of a veth, asked for in its own namespace.
pub(super) async fn peer(netlink: &Handle, peer: Peer) -> Result<LinkMessage, LinkError> {
    let mut request = netlink.link().get().match_index(peer.ifindex);
    request.message_mut().attributes.push(LinkAttribute::IfNetnsId(peer.netns));
    first("the far end of a veth", request.execute()).await
}

/// What the kernel would do with a packet to the address.
pub(super) async fn route(netlink: &Handle, address: IpAddr) -> Result<Route, LinkError> {
    let message = match address {
        IpAddr::V4(v4) => RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(v4, 32).build(),
        IpAddr::V6(v6) => {
            RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(v6, 128).build()
        }
    };
    match first("a route", netlink.route().get(message).execute()).await {
        Ok(message) => Ok(way(&message, address)),
        // The kernel tells by its error that there is no route, or one that refuses.
        Err(LinkError { source: Error::NetlinkError(error), .. }) => {
            Ok(Route::Nowhere(error.to_io().to_string()))
        }
        Err(error) => Err(error),
    }
}

/// The links of all default routes, best metric first.
pub(super) async fn default_routes(netlink: &Handle) -> Result<Vec<u32>, LinkError> {
    let mut found = Vec::new();
    for message in [
        RouteMessageBuilder::<Ipv4Addr>::new().build(),
        RouteMessageBuilder::<Ipv6Addr>::new().build(),
    ] {
        let routes = all("routes", netlink.route().get(message).execute()).await?;
        found.extend(routes.iter().flat_map(default_route));
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, link)| link).collect())
}

async fn all<S, T>(what: &'static str, answers: S) -> Result<Vec<T>, LinkError>
where
    S: TryStream<Ok = T, Error = Error>,
{
    answers.try_collect().await.map_err(|source| LinkError { what, source })
}

async fn first<S, T>(what: &'static str, answers: S) -> Result<T, LinkError>
where
    S: TryStream<Ok = T, Error = Error>,
{
    let mut answers = all(what, answers).await?;
    // Exactly one answer belongs to such a request; none means that the connection ended.
    answers.pop().ok_or(LinkError { what, source: Error::RequestFailed })
}

fn link(message: &LinkMessage) -> Link {
    let kind = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.iter().find_map(|info| match info {
            LinkInfo::Kind(kind) => Some(kind),
            _ => None,
        }),
        _ => None,
    });
    Link {
        name: name(message).unwrap_or_default(),
        mac: mac(message),
        mtu: mtu(message).unwrap_or_default(),
        bridge: kind == Some(&InfoKind::Bridge),
        peer: (kind == Some(&InfoKind::Veth)).then(|| far_end(message)).flatten(),
    }
}

pub(super) fn name(message: &LinkMessage) -> Option<String> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })
}

fn mtu(message: &LinkMessage) -> Option<u32> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    })
}

pub(super) fn mac(message: &LinkMessage) -> Option<Mac> {
    if message.header.link_layer_type != LinkLayerType::Ether {
        return None;
    }
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(bytes) => Mac::try_from(bytes.as_slice()).ok(),
        _ => None,
    })
}

/// A far end in the same namespace has no number of a namespace.
fn far_end(message: &LinkMessage) -> Option<Peer> {
    let netns = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkNetNsId(netns) => Some(*netns),
        _ => None,
    })?;
    let ifindex = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Link(ifindex) => Some(*ifindex),
        _ => None,
    })?;
    Some(Peer { netns, ifindex })
}

fn neighbour(message: &NeighbourMessage) -> Option<((u32, IpAddr), Mac)> {
    match message.header.state {
        NeighbourState::Reachable
        | NeighbourState::Stale
        | NeighbourState::Delay
        | NeighbourState::Probe
        | NeighbourState::Permanent => {}
        _ => return None,
    }
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => Some(IpAddr::V4(*v4)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => Some(IpAddr::V6(*v6)),
        _ => None,
    })?;
    Some(((message.header.ifindex, address), lladdr(message)?))
}

/// Permanent entries are addresses of the bridge and of its ports themselves.
fn bridge_port(message: &NeighbourMessage) -> Option<(u32, Mac, u32)> {
    let own = message.header.flags.contains(NeighbourFlags::Own);
    if own || message.header.state == NeighbourState::Permanent {
        return None;
    }
    let bridge = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Controller(bridge) => Some(*bridge),
        _ => None,
    })?;
    Some((bridge, lladdr(message)?, message.header.ifindex))
}

fn lladdr(message: &NeighbourMessage) -> Option<Mac> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => Mac::try_from(bytes.as_slice()).ok(),
        _ => None,
    })
}

fn way(message: &RouteMessage, address: IpAddr) -> Route {
    match message.header.kind {
        RouteType::Unicast => {}
        RouteType::Local => return Route::Host,
        other => return Route::Nowhere(format!("the route's type is {other:?}")),
    }
    let link = message.attributes.iter().find_map(outgoing);
    let gateway = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(v4))
        | RouteAttribute::Via(RouteVia::Inet(v4)) => Some(IpAddr::V4(*v4)),
        RouteAttribute::Gateway(RouteAddress::Inet6(v6))
        | RouteAttribute::Via(RouteVia::Inet6(v6)) => Some(IpAddr::V6(*v6)),
        _ => None,
    });
    let encapsulated =
        message.attributes.iter().any(|attribute| matches!(attribute, RouteAttribute::Encap(_)));
    match link {
        Some(_) if encapsulated => Route::Nowhere("the route encapsulates".to_owned()),
        Some(link) => {
            Route::Out { link, next_hop: gateway.unwrap_or(address), source: source(message) }
        }
        None => Route::Nowhere("the route names no link".to_owned()),
    }
}

fn source(message: &RouteMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::PrefSource(RouteAddress::Inet(v4)) => Some(IpAddr::V4(*v4)),
        RouteAttribute::PrefSource(RouteAddress::Inet6(v6)) => Some(IpAddr::V6(*v6)),
        _ => None,
    })
}

fn outgoing(attribute: &RouteAttribute) -> Option<u32> {
    match attribute {
        RouteAttribute::Oif(link) => Some(*link),
        _ => None,
    }
}

/// Metric and link of each next hop of a default route.
fn default_route(message: &RouteMessage) -> Vec<(u32, u32)> {
    let header = &message.header;
    let main = header.table == RouteHeader::RT_TABLE_MAIN;
    if !main || header.destination_prefix_length != 0 || header.kind != RouteType::Unicast {
        return Vec::new();
    }
    let metric = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Priority(metric) => Some(*metric),
        _ => None,
    });
    let links = message.attributes.iter().flat_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => hops.iter().map(|hop| hop.interface_index).collect(),
        other => outgoing(other).into_iter().collect::<Vec<_>>(),
    });
    links.map(|link| (metric.unwrap_or_default(), link)).collect()
}
