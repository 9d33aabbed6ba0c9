//! From doors to listen addresses: what the host is and has, and who gets which port of it. No I/O.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{
    define::Draft,
    leases::{Leases, Lessor},
    published::Door,
    verdict::Refusal,
};
use crate::model::{Config, HostPorts, Listen, PortRange, Protocol, Service, ServiceName};

/// The host, as far as ports of it are concerned.
pub struct Host<'a> {
    /// The addresses of the uplinks.
    pub addresses: &'a [IpAddr],
    /// Who has which automatic port.
    pub leases: &'a Leases,
    /// Takes ports of the host, and says whether they are to be had: nobody else listens there, or
    /// they were taken before. The unspecified IPv6 address stands for all addresses.
    pub hold: &'a dyn Fn(Listen) -> bool,
}

/// The families in which a service has backends: IPv4, IPv6.
pub(super) type Families = [bool; 2];

/// Services with their listen addresses, and what stands against the others.
#[derive(Default)]
pub(super) struct Resolved {
    pub(super) services: Vec<Service>,
    pub(super) refused: BTreeMap<ServiceName, Refusal>,
    /// The ports of the host that are taken for each of them.
    pub(super) held: BTreeMap<ServiceName, BTreeSet<Listen>>,
    pub(super) leases: Leases,
}

/// Finds where the services listen. Ports that somebody names come first, then automatic ones.
pub(super) fn resolve(
    drafts: Vec<(Draft, Families)>,
    config: &Config,
    automatic: PortRange,
    host: &Host<'_>,
) -> Resolved {
    let named: Vec<(Protocol, PortRange)> = named(&drafts, config).collect();
    let is_free = |port: u16, protocol: Protocol| {
        let is_named =
            |(other, ports): &(Protocol, PortRange)| *other == protocol && ports.contains(port);
        !named.iter().any(is_named)
            && PortRange::new(port, port)
                .is_some_and(|ports| (host.hold)(Listen { address: ANY, ports, protocol }))
    };
    let claims = drafts.iter().flat_map(|(draft, _)| {
        draft.doors.iter().filter_map(|door| claim(draft, door, automatic)).map(|(claim, _)| claim)
    });
    let lessor = Lessor::new(host.leases.clone(), claims.collect(), &is_free);
    let mut resolver =
        Resolver { host, automatic, lessor, given: BTreeMap::new(), held: BTreeMap::new() };
    let mut resolved = Resolved::default();
    for (draft, families) in drafts {
        match resolver.listens(&draft, families) {
            Ok(listens) => resolved.services.push(finished(draft.service, listens)),
            Err(refusal) => drop(resolved.refused.insert(draft.service.name, refusal)),
        }
    }
    resolved.held = resolver.held;
    resolved.leases = resolver.lessor.finish();
    resolved
}

const ANY: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// Ports that are no automatic ones, whatever their address.
fn named<'a>(
    drafts: &'a [(Draft, Families)],
    config: &'a Config,
) -> impl Iterator<Item = (Protocol, PortRange)> + 'a {
    let of_file = config.services.iter().flat_map(|service| &service.listens);
    let of_labels = drafts.iter().flat_map(|(draft, _)| {
        draft.doors.iter().filter_map(|door| match door.ports {
            HostPorts::Fixed(ports) => Some((draft.protocol(), ports)),
            HostPorts::Within(_) | HostPorts::Auto => None,
        })
    });
    of_file.map(|listen| (listen.protocol, listen.ports)).chain(of_labels)
}

/// What an automatic port is asked for, and the range it is to be from.
fn claim(draft: &Draft, door: &Door, automatic: PortRange) -> Option<(String, PortRange)> {
    let (of, port, protocol) = (&draft.of, draft.port, draft.protocol());
    match door.ports {
        HostPorts::Fixed(_) => None,
        HostPorts::Auto => Some((format!("{of} {port}/{protocol}"), automatic)),
        HostPorts::Within(range) => Some((format!("{of} {range}:{port}/{protocol}"), range)),
    }
}

/// What is dialled on loopback alone is dialled by processes of this host: whoever sends such a
/// packet from elsewhere is none of its clients.
fn finished(service: Service, listens: Vec<Listen>) -> Service {
    let mut service = Service { listens, ..service };
    if service.listens.iter().all(|listen| listen.address.is_loopback()) {
        let loopback = ["127.0.0.0/8", "::1/128"];
        service.sources = loopback.iter().filter_map(|network| network.parse().ok()).collect();
    }
    service
}

struct Resolver<'a> {
    host: &'a Host<'a>,
    automatic: PortRange,
    lessor: Lessor<'a>,
    given: BTreeMap<String, u16>,
    held: BTreeMap<ServiceName, BTreeSet<Listen>>,
}

impl Resolver<'_> {
    fn listens(&mut self, draft: &Draft, families: Families) -> Result<Vec<Listen>, Refusal> {
        let mut listens = BTreeSet::new();
        let mut held = BTreeSet::new();
        for door in &draft.doors {
            let (ports, hold) = self.ports(draft, door)?;
            listens.extend(self.addresses(door, families).into_iter().map(|address| Listen {
                address,
                ports,
                protocol: draft.protocol(),
            }));
            held.extend(hold);
        }
        if listens.is_empty() {
            return Err(Refusal::NoHostAddress(draft.service.name.clone()));
        }
        self.held.insert(draft.service.name.clone(), held);
        Ok(listens.into_iter().collect())
    }

    /// The ports of a door, and what is held for it.
    fn ports(
        &mut self,
        draft: &Draft,
        door: &Door,
    ) -> Result<(PortRange, Option<Listen>), Refusal> {
        let (service, protocol) = (draft.service.name.clone(), draft.protocol());
        let any = door.address.filter(|address| !address.is_unspecified()).unwrap_or(ANY);
        if let HostPorts::Fixed(ports) = door.ports {
            let listen = Listen { address: any, ports, protocol };
            return match door.by_engine {
                true => Ok((ports, None)),
                false if (self.host.hold)(listen) => Ok((ports, Some(listen))),
                false => Err(Refusal::PortInUse { service, ports, protocol }),
            };
        }
        let Some((claim, range)) = claim(draft, door, self.automatic) else {
            return Err(Refusal::NoFreePort { service, range: self.automatic });
        };
        let known = self.given.get(&claim).copied();
        let port = known.or_else(|| self.lessor.port(&claim, protocol, range));
        let ports = port.and_then(|port| PortRange::new(port, port));
        let ports = ports.ok_or(Refusal::NoFreePort { service, range })?;
        self.given.insert(claim, ports.first());
        Ok((ports, Some(Listen { address: ANY, ports, protocol })))
    }

    /// The addresses of a door: those of the uplinks, and loopback for processes of the host.
    fn addresses(&self, door: &Door, families: Families) -> Vec<IpAddr> {
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let [v4, v6] = families;
        let mut all = loopback.iter().chain(self.host.addresses).copied().collect::<Vec<_>>();
        all.retain(|address| if address.is_ipv4() { v4 } else { v6 });
        match door.address {
            None => all,
            Some(any) if any.is_unspecified() => {
                all.retain(|address| address.is_ipv4() == any.is_ipv4());
                all
            }
            Some(address) => vec![address],
        }
    }
}
