//! Which ports of a container are published, and at which doors of the host.

use std::{collections::BTreeMap, net::IpAddr};

use super::inspected::{Binding, Inspected};
use crate::{
    config::labels::{Terms, Wanted},
    model::{HostPorts, Listen, PortRange, Protocol, Publish},
};

/// A port of a container; 0 is the one that was dialled.
pub(super) type PortKey = (Protocol, u16);

/// Where a service is dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Door {
    /// One address; an unspecified one stands for all of its family, `None` for all.
    pub(super) address: Option<IpAddr>,
    /// The ports.
    pub(super) ports: HostPorts,
    /// Whether the engine has the port of the host for this.
    pub(super) by_engine: bool,
}

impl Door {
    pub(super) const fn of_listen(listen: Listen) -> Self {
        Self {
            address: Some(listen.address),
            ports: HostPorts::Fixed(listen.ports),
            by_engine: false,
        }
    }
}

/// The ports of a container that its labels publish, or those that it was created with.
pub(super) fn ports(container: &Inspected, terms: &Terms) -> BTreeMap<PortKey, Vec<Door>> {
    let exposed = || container.exposed.iter().copied().filter_map(automatic);
    let mut ports = match &terms.wanted {
        Some(Wanted::Listen(_)) => return BTreeMap::new(),
        Some(Wanted::Publish(list)) => {
            collect(list.iter().map(|publish| Binding { publish: *publish, by_engine: false }))
        }
        Some(Wanted::Auto) => match terms.port {
            // A port that somebody names needs no image that exposes it.
            Some(port) if !exposed().any(|one| one.publish.container.first() == port) => {
                collect(automatic((port, Protocol::Tcp)))
            }
            Some(_) | None => collect(exposed()),
        },
        None => {
            let mut ports = collect(container.bindings.iter().copied());
            for (key, doors) in collect(exposed().filter(|_| container.publish_all)) {
                ports.entry(key).or_insert(doors);
            }
            ports
        }
    };
    ports.retain(|(_, port), _| terms.port.is_none_or(|only| only == *port || *port == 0));
    ports
}

fn automatic((port, protocol): (u16, Protocol)) -> Option<Binding> {
    let (host, container) = (HostPorts::Auto, PortRange::new(port, port)?);
    let publish = Publish { address: None, host, container, protocol };
    Some(Binding { publish, by_engine: false })
}

fn collect(bindings: impl IntoIterator<Item = Binding>) -> BTreeMap<PortKey, Vec<Door>> {
    let mut ports: BTreeMap<PortKey, Vec<Door>> = BTreeMap::new();
    for (key, door) in bindings.into_iter().flat_map(doors) {
        let doors = ports.entry(key).or_default();
        if !doors.contains(&door) {
            doors.push(door);
        }
    }
    ports
}

/// The doors to the ports of a binding. Ports that keep their numbers are one range, and a packet
/// keeps the port that it has.
fn doors(Binding { publish, by_engine }: Binding) -> Vec<(PortKey, Door)> {
    let Publish { address, host, container, protocol } = publish;
    let door = |ports| Door { address, ports, by_engine };
    if host == HostPorts::Fixed(container) && !container.is_single() {
        return vec![((protocol, 0), door(host))];
    }
    let each = (container.first()..=container.last()).zip(0..);
    each.filter_map(|(port, at)| {
        let ports = match host {
            HostPorts::Within(_) | HostPorts::Auto => host,
            HostPorts::Fixed(range) => {
                let host = range.first().checked_add(at)?;
                HostPorts::Fixed(PortRange::new(host, host)?)
            }
        };
        Some(((protocol, port), door(ports)))
    })
    .collect()
}
