//! Services that are made of labels, and who gets an address that two of them want.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{
    candidate::{Candidate, Membership},
    published::{self, Door, PortKey},
    verdict::Refusal,
};
use crate::{
    config::labels::{Terms, Wanted},
    model::{
        Config, FlowLimits, Forward, HostPorts, Listen, Policy, PortRange, Protocol, Service,
        ServiceName, Weight,
    },
};

/// A service that labels make, before the host has given it its ports.
#[derive(Debug)]
pub(super) struct Draft {
    /// The service without backends; its listen addresses are those of the labels, in which an
    /// unspecified one stands for all, and an automatic port is any.
    pub(super) service: Service,
    /// The service that labels name: it may publish several ports, and then is several.
    pub(super) of: ServiceName,
    /// The port of its containers; 0 where they differ or keep the one that was dialled.
    pub(super) port: u16,
    /// Where it is dialled.
    pub(super) doors: Vec<Door>,
}

impl Draft {
    /// All its listen addresses have one protocol.
    pub(super) fn protocol(&self) -> Protocol {
        self.service.listens.first().map_or(Protocol::Tcp, |listen| listen.protocol)
    }
}

/// What labels make of the containers.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    /// Services, in the order of their oldest container.
    pub(super) services: Vec<Draft>,
    /// The parts of the containers in them, by container.
    pub(super) memberships: BTreeMap<usize, Vec<Membership>>,
    /// What stands against a container.
    pub(super) refusals: BTreeMap<usize, Vec<Refusal>>,
}

/// A container of a service, with its place among the candidates.
type Member<'a> = (usize, &'a Candidate<'a>, &'a Terms);

/// The services that the labels of the candidates make. Where containers differ, the one that was
/// made last decides: a rolling replacement ends with what the new containers say. A service that
/// listens nowhere is missing.
pub(super) fn services(candidates: &[Candidate<'_>], config: &Config) -> Drafts {
    let in_file: BTreeSet<&ServiceName> =
        config.services.iter().map(|service| &service.name).collect();
    let mut drafts = Drafts::default();
    let mut order: Vec<&ServiceName> = Vec::new();
    let mut members: BTreeMap<&ServiceName, Vec<Member<'_>>> = BTreeMap::new();
    for (at, candidate) in candidates.iter().enumerate() {
        for (name, terms) in candidate.named.iter().zip(&candidate.labels.services) {
            if in_file.contains(name) {
                let membership = membership(name, terms.port, candidate, terms);
                drafts.memberships.entry(at).or_default().push(membership);
                continue;
            }
            if !members.contains_key(name) {
                order.push(name);
            }
            members.entry(name).or_default().push((at, candidate, terms));
        }
    }
    for name in order {
        if let Some(members) = members.get(name) {
            define(name, members, &in_file, &mut drafts);
        }
    }
    drafts
}

fn membership(
    service: &ServiceName,
    port: Option<u16>,
    candidate: &Candidate<'_>,
    terms: &Terms,
) -> Membership {
    Membership {
        service: service.clone(),
        port,
        network: candidate.labels.network.clone(),
        weight: terms.weight.unwrap_or(Weight::DEFAULT),
    }
}

fn define(
    name: &ServiceName,
    members: &[Member<'_>],
    in_file: &BTreeSet<&ServiceName>,
    drafts: &mut Drafts,
) {
    let newest_first = || members.iter().rev();
    let says = newest_first().find(|(_, _, terms)| terms.wanted.is_some());
    let ports = match says {
        Some((_, _, Terms { wanted: Some(Wanted::Listen(listens)), .. })) => {
            let door = |listen: &Listen| Door {
                by_engine: engine_has(members, *listen),
                ..Door::of_listen(*listen)
            };
            let doors = listens.iter().map(door).collect();
            let service = service(name, listens.clone(), members);
            drafts.services.push(Draft { service, of: name.clone(), port: 0, doors });
            for (at, candidate, terms) in members {
                let membership = membership(name, terms.port, candidate, terms);
                drafts.memberships.entry(*at).or_default().push(membership);
            }
            return;
        }
        Some((_, candidate, terms)) => published::ports(candidate.container, terms),
        None => union(members),
    };
    let refusal = match says {
        Some((_, _, Terms { wanted: Some(Wanted::Auto), .. })) => Refusal::NothingExposed,
        Some(_) | None => Refusal::NoListen,
    };
    if ports.is_empty() {
        for (at, _, _) in members {
            drafts.refusals.entry(*at).or_default().push(refusal(name.clone()));
        }
    }
    // Each of the services would start containers for itself.
    let scaled = members.iter().filter(|(_, _, terms)| terms.scale.is_some() && ports.len() > 1);
    for (at, _, _) in scaled {
        let refusal = Refusal::ScaleOfSeveral(name.clone());
        drafts.refusals.entry(*at).or_default().push(refusal);
    }
    publish(name, &ports, members, in_file, drafts);
}

/// What all containers of a service were created with: each port of the host leads to all of them.
fn union(members: &[Member<'_>]) -> BTreeMap<PortKey, Vec<Door>> {
    let mut union: BTreeMap<PortKey, Vec<Door>> = BTreeMap::new();
    for (_, candidate, terms) in members {
        for (key, doors) in published::ports(candidate.container, terms) {
            let known = union.entry(key).or_default();
            let new = doors.into_iter().filter(|door| !known.contains(door));
            known.extend(new.collect::<Vec<_>>());
        }
    }
    union
}

/// A service for each port: its backends serve there. One port is the service that is named,
/// several have the port in their names.
fn publish(
    name: &ServiceName,
    ports: &BTreeMap<PortKey, Vec<Door>>,
    members: &[Member<'_>],
    in_file: &BTreeSet<&ServiceName>,
    drafts: &mut Drafts,
) {
    let own: Vec<BTreeMap<PortKey, Vec<Door>>> = members
        .iter()
        .map(|(_, candidate, terms)| published::ports(candidate.container, terms))
        .collect();
    for (key, doors) in ports {
        let (protocol, port) = *key;
        let joins = |own: &BTreeMap<PortKey, Vec<Door>>| own.is_empty() || own.contains_key(key);
        let joined = members.iter().zip(&own).filter(|(_, own)| joins(own));
        match derived(name, *key, ports.len() == 1, in_file) {
            Err(refusal) => joined.for_each(|((at, ..), _)| {
                drafts.refusals.entry(*at).or_default().push(refusal.clone());
            }),
            Ok(derived) => {
                joined.for_each(|((at, candidate, terms), _)| {
                    let port = Some(port).filter(|port| *port != 0);
                    let membership = membership(&derived, port, candidate, terms);
                    drafts.memberships.entry(*at).or_default().push(membership);
                });
                let listens = doors.iter().flat_map(|door| nominal(door, protocol)).collect();
                let service = service(&derived, listens, members);
                let known = |door: &Door| {
                    let has = |listen: Listen| engine_has(members, listen);
                    let by_engine = door.by_engine || nominal(door, protocol).into_iter().any(has);
                    Door { by_engine, ..*door }
                };
                let (of, doors) = (name.clone(), doors.iter().map(known).collect());
                drafts.services.push(Draft { service, of, port, doors });
            }
        }
    }
    for ((at, ..), own) in members.iter().zip(own) {
        if !own.is_empty() && !ports.is_empty() && !ports.keys().any(|key| own.contains_key(key)) {
            drafts.refusals.entry(*at).or_default().push(Refusal::OtherPorts(name.clone()));
        }
    }
}

/// Whether the engine has the port of the host already, for a container of the service itself.
fn engine_has(members: &[Member<'_>], listen: Listen) -> bool {
    let bindings = members.iter().flat_map(|(_, candidate, _)| &candidate.container.bindings);
    bindings.filter(|binding| binding.by_engine).any(|binding| match binding.publish.host {
        HostPorts::Fixed(ports) => {
            binding.publish.protocol == listen.protocol
                && ports.contains(listen.ports.first())
                && ports.contains(listen.ports.last())
        }
        HostPorts::Within(_) | HostPorts::Auto => false,
    })
}

/// The service of one port: the one that is named, or `NAME.80`, `NAME.53-udp`, and `NAME.range` for
/// the ports that keep their numbers.
fn derived(
    name: &ServiceName,
    (protocol, port): PortKey,
    only: bool,
    in_file: &BTreeSet<&ServiceName>,
) -> Result<ServiceName, Refusal> {
    if only {
        return Ok(name.clone());
    }
    let port = if port == 0 { "range".to_owned() } else { port.to_string() };
    let text = match protocol {
        Protocol::Tcp => format!("{name}.{port}"),
        Protocol::Udp => format!("{name}.{port}-udp"),
    };
    let service = ServiceName::new(&text).ok_or(Refusal::Name(text))?;
    if in_file.contains(&service) {
        return Err(Refusal::FileDecides { service, label: "weir.publish".to_owned() });
    }
    Ok(service)
}

/// What a door listens on before the host is asked.
fn nominal(door: &Door, protocol: Protocol) -> Vec<Listen> {
    let all = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let addresses = door.address.map_or_else(|| all.to_vec(), |address| vec![address]);
    // An automatic port is one port, whichever.
    let any = PortRange::new(1, 1);
    let ports = match door.ports {
        HostPorts::Fixed(ports) => Some(ports),
        HostPorts::Within(_) | HostPorts::Auto => any,
    };
    let listen = |address| Some(Listen { address, ports: ports?, protocol });
    addresses.into_iter().filter_map(listen).collect()
}

fn service(name: &ServiceName, listens: Vec<Listen>, members: &[Member<'_>]) -> Service {
    let newest_first = || members.iter().rev().map(|(_, _, terms)| terms);
    Service {
        name: name.clone(),
        listens,
        policy: newest_first().find_map(|terms| terms.policy).unwrap_or(Policy::Adaptive),
        forward: Forward::Nat,
        backends: Vec::new(),
        health: newest_first().find_map(|terms| terms.health.clone()),
        report: newest_first().find_map(|terms| terms.report.clone()),
        affinity: newest_first().find_map(|terms| terms.affinity),
        sources: newest_first().find_map(|terms| terms.sources.clone()).unwrap_or_default(),
        scale: newest_first().find_map(|terms| terms.scale.clone()).map(Box::new),
        limits: FlowLimits::default(),
    }
}
