//! Where a container is reached: its network, its addresses, its port.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    inspected::{Addresses, Inspected, NetworkKind, NetworkMode, State},
    verdict::Refusal,
};
use crate::model::{Endpoint, Listen, Protocol, ServiceName};

/// Containers by id.
pub(super) type ById<'a> = BTreeMap<&'a str, &'a Inspected>;

/// What is around a container.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    /// All containers.
    pub(super) all: &'a ById<'a>,
    /// The addresses of the uplinks.
    pub(super) host: &'a [IpAddr],
}

/// The addresses of a container in `network`, or in the only one that it is in.
pub(super) fn addresses(
    container: &Inspected,
    network: Option<&str>,
    around: Around<'_>,
) -> Result<Addresses, Refusal> {
    match &container.mode {
        NetworkMode::None => Err(Refusal::NetworkNone),
        NetworkMode::Host => host_addresses(container, around.host),
        NetworkMode::Networks => own_addresses(container, network),
        NetworkMode::Container(name) => {
            let owner = owner(container, name, around.all)?;
            match owner.mode {
                NetworkMode::None => Err(Refusal::NetworkNone),
                NetworkMode::Host => host_addresses(owner, around.host),
                NetworkMode::Networks => own_addresses(owner, network),
                NetworkMode::Container(_) => Err(Refusal::OwnerShares(owner.name.clone())),
            }
        }
    }
}

/// Who has the host's own stack is reached at the addresses of the uplinks, the first of each family.
fn host_addresses(container: &Inspected, host: &[IpAddr]) -> Result<Addresses, Refusal> {
    if let Some(home) = &container.home {
        return Err(Refusal::NetworkHostElsewhere(home.name.clone()));
    }
    let v4 = host.iter().find_map(|address| match address {
        IpAddr::V4(v4) => Some(*v4),
        IpAddr::V6(_) => None,
    });
    let v6 = host.iter().find_map(|address| match address {
        IpAddr::V6(v6) => Some(*v6),
        IpAddr::V4(_) => None,
    });
    let addresses = Addresses { v4, v6, kind: NetworkKind::default() };
    if addresses.is_empty() { Err(Refusal::NetworkHost) } else { Ok(addresses) }
}

fn own_addresses(container: &Inspected, network: Option<&str>) -> Result<Addresses, Refusal> {
    let connected: Vec<(&String, &Addresses)> =
        container.networks.iter().filter(|(_, addresses)| !addresses.is_empty()).collect();
    let names = || connected.iter().map(|(name, _)| (*name).clone()).collect::<Vec<_>>();
    match (network, &connected[..]) {
        (Some(wanted), _) => {
            let found = connected.iter().find(|(name, _)| *name == wanted);
            let missing = || Refusal::NotInNetwork { wanted: wanted.to_owned(), there: names() };
            found.map(|(_, addresses)| **addresses).ok_or_else(missing)
        }
        (None, []) => Err(Refusal::NoAddress),
        (None, [(_, addresses)]) => Ok(**addresses),
        (None, [_, _, ..]) => Err(Refusal::SeveralNetworks(names())),
    }
}

/// The container whose network this one shares. After a restart of the owner, the other one sits
/// in a namespace that leads nowhere.
pub(super) fn owner<'a>(
    container: &Inspected,
    name: &str,
    all: &ById<'a>,
) -> Result<&'a Inspected, Refusal> {
    let is_it = |other: &&Inspected| other.name == name && other.home == container.home;
    let by_name = || all.values().copied().find(is_it);
    let found = all.get(name).copied().or_else(by_name);
    let owner = found.filter(|owner| !matches!(owner.state, State::Still(_)));
    let owner = owner.ok_or_else(|| {
        let short = name.get(..12).unwrap_or(name);
        Refusal::OwnerGone(found.map_or(short, |owner| &owner.name).to_owned())
    })?;
    match (container.netns, owner.netns) {
        (Some(here), Some(there)) if here != there => {
            Err(Refusal::OwnerRestarted(owner.name.clone()))
        }
        (Some(_) | None, Some(_) | None) => Ok(owner),
    }
}

/// The port a container serves on: the one it was given, the only one that its image exposes, or
/// 0 to keep the destination port where only ranges are listened on.
pub(super) fn port(
    container: &Inspected,
    given: Option<u16>,
    listens: &[Listen],
) -> Result<u16, Refusal> {
    let protocol = listens.first().map_or(Protocol::Tcp, |listen| listen.protocol);
    if let Some(port) = given {
        return Ok(port);
    }
    if listens.iter().all(|listen| !listen.ports.is_single()) {
        return Ok(0);
    }
    let exposed = container.exposed.iter().filter(|(_, exposed)| *exposed == protocol);
    let mut ports: Vec<u16> = exposed.map(|(port, _)| *port).collect();
    ports.sort_unstable();
    match ports[..] {
        [port] => Ok(port),
        [] | [_, _, ..] => Err(Refusal::NoPort(ports, protocol)),
    }
}

/// One backend for each family that is listened on and that the container has an address of.
pub(super) fn endpoints(
    service: &ServiceName,
    listens: &[Listen],
    addresses: Addresses,
    port: u16,
) -> Result<Vec<Endpoint>, Refusal> {
    let protocol = listens.first().map_or(Protocol::Tcp, |listen| listen.protocol);
    let [wants_v4, wants_v6] =
        [true, false].map(|v4| listens.iter().any(|listen| listen.address.is_ipv4() == v4));
    let v4 = addresses.v4.filter(|_| wants_v4).map(Into::into);
    let v6 = addresses.v6.filter(|_| wants_v6).map(Into::into);
    let endpoints: Vec<Endpoint> = [v4, v6]
        .into_iter()
        .flatten()
        .map(|address| Endpoint { address, port, protocol })
        .collect();
    if endpoints.is_empty() {
        let family = if wants_v4 { "IPv4" } else { "IPv6" };
        return Err(Refusal::NoFamily(family, service.clone()));
    }
    Ok(endpoints)
}
