//! Who gets an address that two services want.

use std::{collections::BTreeMap, net::IpAddr};

use super::verdict::Refusal;
use crate::model::{Config, Endpoint, Listen, PortRange, Protocol, Service, ServiceName};

/// Splits the services into those that get what they want and the reasons of the others: the file
/// first, then whoever has the oldest container.
pub(super) fn admit(
    wanted: Vec<Service>,
    config: &Config,
) -> (Vec<Service>, BTreeMap<ServiceName, Refusal>) {
    let mut taken = Taken::of(&config.services);
    let statics: Vec<Endpoint> =
        config.services.iter().flat_map(|service| &service.backends).map(|b| b.endpoint).collect();
    let (mut admitted, mut refused) = (Vec::new(), BTreeMap::new());
    for service in wanted {
        let room = config.services.len() + admitted.len() < to_usize(config.limits.services);
        let obstacle = obstacle(&service, &taken, &statics);
        let full = Refusal::NoRoom { what: "services", limit: config.limits.services };
        if let Some(refusal) = obstacle.or((!room).then_some(full)) {
            refused.insert(service.name, refusal);
        } else {
            taken.add(&service);
            admitted.push(service);
        }
    }
    (admitted, refused)
}

pub(super) fn to_usize(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

fn obstacle(service: &Service, taken: &Taken, statics: &[Endpoint]) -> Option<Refusal> {
    service.listens.iter().find_map(|listen| {
        let (listen, service) = (*listen, service.name.clone());
        if let Some((_, holder)) = taken.by(listen) {
            return Some(Refusal::Taken { service, listen, holder: holder.clone() });
        }
        let endpoint = *statics.iter().find(|endpoint| covers(listen, **endpoint))?;
        Some(Refusal::ListenIsBackend { service, listen, endpoint })
    })
}

fn covers(listen: Listen, endpoint: Endpoint) -> bool {
    let Endpoint { address, port, protocol } = endpoint;
    let of_it = (listen.address, listen.protocol) == (address, protocol);
    // A backend without a port is asked on many.
    of_it && (port == 0 || (listen.ports.first()..=listen.ports.last()).contains(&port))
}

/// What is listened on, by VIP, protocol and first port; no two of them overlap.
#[derive(Debug, Default)]
pub(super) struct Taken(BTreeMap<(IpAddr, Protocol, u16), (Listen, ServiceName)>);

impl Taken {
    /// What the services listen on.
    pub(super) fn of<'a>(services: impl IntoIterator<Item = &'a Service>) -> Self {
        let mut taken = Self::default();
        for service in services {
            taken.add(service);
        }
        taken
    }

    fn add(&mut self, service: &Service) {
        for listen in &service.listens {
            let Listen { address, ports, protocol } = *listen;
            self.0.insert((address, protocol, ports.first()), (*listen, service.name.clone()));
        }
    }

    /// Who listens on one of these ports.
    fn by(&self, listen: Listen) -> Option<&(Listen, ServiceName)> {
        let Listen { address, ports, protocol } = listen;
        let key = |port| (address, protocol, port);
        let (_, near) = self.0.range(key(0)..=key(ports.last())).next_back()?;
        near.0.ports.overlaps(ports).then_some(near)
    }

    /// Who listens where a backend serves.
    pub(super) fn at(&self, endpoint: Endpoint) -> Option<&(Listen, ServiceName)> {
        let Endpoint { address, port, protocol } = endpoint;
        let (first, last) = if port == 0 { (1, u16::MAX) } else { (port, port) };
        self.by(Listen { address, ports: PortRange::new(first, last)?, protocol })
    }
}
