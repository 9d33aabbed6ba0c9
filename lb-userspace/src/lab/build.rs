//! Builds what the blueprint says, by netlink.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsRawFd as _,
    path::Path,
};

use nix::net::if_::if_nametoindex;
use rtnetlink::{
    Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    packet_route::{
        link::{InfoData, InfoVeth},
        route::{RouteMessage, RouteScope},
    },
};

use super::{
    LabError, Netns,
    blueprint::{Blueprint, End, Node, Role, Route, Sysctl},
    offload::{self, Offload},
    plan,
};

type Find<'a> = &'a (dyn Fn(Role) -> Option<&'a Netns> + Sync);

/// Builds everything into namespaces that exist and are empty.
pub(super) fn build(blueprint: &Blueprint, find: Find<'_>) -> Result<(), LabError> {
    for node in &blueprint.nodes {
        inside(find, node.role, async |netlink| prepare(netlink, node).await)?;
    }
    for [near, far] in &blueprint.veths {
        let Some(peer) = find(far.role) else { continue };
        inside(find, near.role, async |netlink| connect(netlink, near, far, peer).await)?;
    }
    for node in &blueprint.nodes {
        let here: Vec<&End> =
            blueprint.veths.iter().flatten().filter(|end| end.role == node.role).collect();
        inside(find, node.role, async |netlink| {
            // A route may lead over a link that comes later, so all links come first.
            for end in &here {
                raise(netlink, end).await?;
            }
            for end in node.bridge.iter().chain(here.iter().copied()) {
                address(netlink, end).await?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Runs the work on a thread in the namespace, with a netlink socket of that namespace.
fn inside<W>(find: Find<'_>, role: Role, work: W) -> Result<(), LabError>
where
    W: AsyncFnOnce(&Handle) -> Result<(), LabError> + Send,
{
    let Some(netns) = find(role) else { return Ok(()) };
    let failed = |source| LabError::Enter { name: netns.name().to_owned(), source };
    let outcome = netns.in_netns(|| {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        runtime.block_on(async {
            let (connection, netlink, _) = rtnetlink::new_connection().map_err(failed)?;
            // The runtime's end is the end of this task.
            drop(tokio::spawn(connection));
            work(&netlink).await
        })
    });
    outcome.map_err(failed)?
}

async fn prepare(netlink: &Handle, node: &Node) -> Result<(), LabError> {
    for sysctl in &node.sysctls {
        set_sysctl(*sysctl)?;
    }
    let up = LinkUnspec::new_with_index(index("lo")?).up().build();
    link("lo", "raise it", netlink.link().set(up).execute().await)?;
    if let Some(bridge) = &node.bridge {
        let message = LinkBridge::new(&bridge.link).address(bridge.mac.0.to_vec()).build();
        link(&bridge.link, "make the bridge", netlink.link().add(message).execute().await)?;
    }
    Ok(())
}

/// `/proc/sys/net` shows the namespace of the thread that opens it.
fn set_sysctl((key, value): Sysctl) -> Result<(), LabError> {
    fs::write(Path::new("/proc/sys").join(key), value).map_err(|source| LabError::Sysctl {
        key,
        value,
        source,
    })
}

/// Makes a veth with one end here and the other in the peer's namespace, so that no link ever
/// appears anywhere else.
async fn connect(netlink: &Handle, near: &End, far: &End, peer: &Netns) -> Result<(), LabError> {
    let far_end = LinkMessageBuilder::<LinkUnspec>::new()
        .name(far.link.clone())
        .address(far.mac.0.to_vec())
        .setns_by_fd(peer.file().as_raw_fd())
        .build();
    let message = LinkVeth::new(&near.link, &far.link)
        .address(near.mac.0.to_vec())
        .set_info_data(InfoData::Veth(InfoVeth::Peer(far_end)))
        .build();
    link(&near.link, "make the veth", netlink.link().add(message).execute().await)
}

/// Raises a link, then sets its offloads: GRO switched on while a veth is down does not make its
/// peer a target of XDP redirects.
async fn raise(netlink: &Handle, end: &End) -> Result<(), LabError> {
    let mut message = LinkUnspec::new_with_index(index(&end.link)?).up();
    if end.bridged {
        message = message.controller(index(plan::BRIDGE)?);
    }
    link(&end.link, "raise it", netlink.link().set(message.build()).execute().await)?;
    let switches = [(Offload::TxChecksum, end.checksum_offload), (Offload::Gro, end.gro)];
    for (what, on) in switches.iter().filter_map(|(what, on)| on.map(|on| (*what, on))) {
        offload::switch(&end.link, what, on).map_err(|source| LabError::Offload {
            link: end.link.clone(),
            what: what.name(),
            source,
        })?;
    }
    Ok(())
}

async fn address(netlink: &Handle, end: &End) -> Result<(), LabError> {
    let index = index(&end.link)?;
    for net in &end.addresses {
        let request = netlink.address().add(index, net.addr(), net.prefix_len());
        link(&end.link, "add an address", request.execute().await)?;
    }
    for route in &end.routes {
        let request = netlink.route().add(message(index, route));
        link(&end.link, "add a route", request.execute().await)?;
    }
    Ok(())
}

/// The two families differ in type and in nothing else.
fn message(index: u32, route: &Route) -> RouteMessage {
    let prefix_len = route.to.prefix_len();
    // What has no gateway is on the link itself.
    let scope = if route.via.is_some() { RouteScope::Universe } else { RouteScope::Link };
    match route.to.network() {
        IpAddr::V4(to) => {
            let builder = RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(to, prefix_len)
                .output_interface(index)
                .scope(scope);
            match route.via {
                Some(IpAddr::V4(via)) => builder.gateway(via).build(),
                Some(IpAddr::V6(via)) => builder.via(via).build(),
                None => builder.build(),
            }
        }
        IpAddr::V6(to) => {
            let builder = RouteMessageBuilder::<Ipv6Addr>::new()
                .destination_prefix(to, prefix_len)
                .output_interface(index);
            match route.via {
                Some(IpAddr::V6(via)) => builder.gateway(via).build(),
                Some(IpAddr::V4(_)) | None => builder.build(),
            }
        }
    }
}

fn index(link: &str) -> Result<u32, LabError> {
    if_nametoindex(link).map_err(|source| LabError::Index { link: link.to_owned(), source })
}

fn link(
    link: &str,
    what: &'static str,
    outcome: Result<(), rtnetlink::Error>,
) -> Result<(), LabError> {
    outcome.map_err(|source| LabError::Link { link: link.to_owned(), what, source })
}
