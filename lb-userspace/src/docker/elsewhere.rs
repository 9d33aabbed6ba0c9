//! Containers of another host, at the ports that its engine publishes.

use std::net::IpAddr;

use super::{
    inspected::{Addresses, Inspected, NetworkMode},
    reach::{self, Around},
    verdict::Refusal,
};
use crate::{
    config::labels::{self, Wanted},
    model::{Docker, Listen, Protocol, Service},
};

/// The address and the port at which a container is reached whose host has this address.
pub(super) fn place(
    container: &Inspected,
    given: Option<u16>,
    listens: &[Listen],
    address: IpAddr,
    around: Around<'_>,
) -> Result<(Addresses, u16), Refusal> {
    let protocol = listens.first().map_or(Protocol::Tcp, |listen| listen.protocol);
    let own = reach::port(container, given, listens)?;
    if own == 0 {
        return Err(Refusal::RangeElsewhere(address));
    }
    let port = match &container.mode {
        NetworkMode::None => return Err(Refusal::NetworkNone),
        NetworkMode::Host => own,
        NetworkMode::Networks => published(container, own, protocol, address)?,
        NetworkMode::Container(name) => {
            let owner = reach::owner(container, name, around.all)?;
            published(owner, own, protocol, address)?
        }
    };
    Ok((Addresses::of(address), port))
}

/// The ports that replicas like a container have to be reached at, as far as anybody says.
#[must_use]
pub fn served(container: &Inspected, service: &Service, docker: &Docker) -> Vec<(u16, Protocol)> {
    let protocol = service.listens.first().map_or(Protocol::Tcp, |listen| listen.protocol);
    let terms = labels::read(&container.labels).map(|labels| labels.services).unwrap_or_default();
    let published = terms.iter().flat_map(|terms| match &terms.wanted {
        Some(Wanted::Publish(list)) => list.clone(),
        Some(Wanted::Listen(_) | Wanted::Auto) | None => Vec::new(),
    });
    let published = published.filter(|one| one.container.is_single());
    let chosen = docker.selectors.get(&service.name).and_then(|selector| selector.port);
    let named = terms.iter().filter_map(|terms| terms.port).chain(chosen);
    let mut ports: Vec<(u16, Protocol)> = named.map(|port| (port, protocol)).collect();
    ports.extend(published.map(|one| (one.container.first(), one.protocol)));
    ports.extend(&container.exposed);
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// The port of the host that leads to a port of the container.
fn published(
    container: &Inspected,
    port: u16,
    protocol: Protocol,
    address: IpAddr,
) -> Result<u16, Refusal> {
    let leads =
        |at: IpAddr| at == address || at.is_unspecified() && at.is_ipv4() == address.is_ipv4();
    let mut open = container
        .open
        .iter()
        .filter(|open| (open.port, open.protocol) == (port, protocol) && leads(open.address));
    open.next().map(|open| open.host).ok_or(Refusal::NotPublished { port, protocol, address })
}
