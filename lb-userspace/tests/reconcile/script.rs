//! The little language of the scenario files: one event a line.
//!
//! ```text
//! service NAME listen=L,L policy=P backends=ADDRESS:PORT[*WEIGHT],... [affinity=TICKS] [sources=NET,...] [per-source=NS]
//! remove NAME
//! down ENDPOINT | up ENDPOINT           ENDPOINT without protocol: of all protocols
//! link ENDPOINT IFINDEX
//! flows ID COUNT
//! pings on | off
//! after SECONDS
//! ```

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use lb_common::abi::backend::way;
use lb_userspace::{
    model::{Endpoint, Forward, Listen, Policy, PortRange, Protocol, ServiceName},
    reconcile::{DesiredBackend, DesiredService, Link, Rates},
};

use crate::world::World;

/// Performs the event of one line.
pub(crate) fn perform(world: &mut World, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["service", name, rest @ ..] => put(world, service(name, rest)),
        ["remove", name] => world.desired.services.retain(|s| s.name.as_str() != *name),
        ["down", endpoint] => {
            change(world, endpoint, |entry| (entry.takes_new, entry.is_down) = (false, true));
        }
        ["up", endpoint] => {
            change(world, endpoint, |entry| (entry.takes_new, entry.is_down) = (true, false));
        }
        ["link", endpoint, ifindex] => change(world, endpoint, |entry| {
            let (dst_mac, src_mac) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
            entry.link = Link {
                way: way::LINK,
                ifindex: ifindex.parse().unwrap(),
                dst_mac,
                src_mac,
                ..Link::default()
            };
        }),
        ["flows", id, count] => {
            world.flows.insert(id.parse().unwrap(), count.parse().unwrap());
        }
        ["pings", answered] => world.desired.pings = *answered == "on",
        ["after", seconds] => world.advance(Duration::from_secs(seconds.parse().unwrap())),
        _ => panic!("no such event: {line}"),
    }
    keep_known_backends(world);
}

fn put(world: &mut World, service: DesiredService) {
    for backend in &service.backends {
        let entry = world.desired.backends.entry(backend.endpoint);
        entry.or_default().takes_new = true;
    }
    match world.desired.services.iter_mut().find(|old| old.name == service.name) {
        Some(old) => *old = service,
        None => world.desired.services.push(service),
    }
}

fn change(
    world: &mut World,
    endpoint: &str,
    change: impl Fn(&mut lb_userspace::reconcile::BackendEntry),
) {
    let matching = world.desired.backends.iter_mut().filter(|(e, _)| e.to_string() == endpoint);
    assert!(matching.map(|(_, entry)| change(entry)).count() > 0, "no backend {endpoint}");
}

fn keep_known_backends(world: &mut World) {
    let named: BTreeSet<Endpoint> = world
        .desired
        .services
        .iter()
        .flat_map(|service| service.backends.iter().map(|backend| backend.endpoint))
        .collect();
    world.desired.backends.retain(|endpoint, _| named.contains(endpoint));
}

fn service(name: &str, words: &[&str]) -> DesiredService {
    let value = |key: &str| words.iter().find_map(|word| word.strip_prefix(key));
    let list = |key| value(key).unwrap_or("").split(',').filter(|part| !part.is_empty());
    let listens: Vec<Listen> = list("listen=").map(listen).collect();
    let protocol = listens[0].protocol;
    let policy = Policy::ALL.into_iter().find(|policy| Some(policy.name()) == value("policy="));
    let forward = Forward::ALL.into_iter().find(|mode| Some(mode.name()) == value("forward="));
    DesiredService {
        forward: forward.unwrap_or_default(),
        name: ServiceName::new(name).unwrap(),
        listens,
        policy: policy.unwrap(),
        backends: list("backends=").map(|text| backend(text, protocol)).collect(),
        affinity_ticks: value("affinity=").map_or(0, |ticks| ticks.parse().unwrap()),
        sources: list("sources=").map(|net| net.parse().unwrap()).collect(),
        rates: Rates {
            source_interval_ns: value("per-source=").map_or(0, |ns| ns.parse().unwrap()),
            ..Rates::default()
        },
    }
}

/// `198.18.0.1:80/tcp` or `198.18.0.1:27000-27100/udp`
pub(crate) fn listen(text: &str) -> Listen {
    let (place, protocol) = text.rsplit_once('/').unwrap();
    let (address, ports) = place.rsplit_once(':').unwrap();
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    Listen {
        address: address.trim_matches(['[', ']']).parse().unwrap(),
        ports: PortRange::new(first.parse().unwrap(), last.parse().unwrap()).unwrap(),
        protocol: if protocol == "udp" { Protocol::Udp } else { Protocol::Tcp },
    }
}

/// `198.18.10.2:8080*3`
fn backend(text: &str, protocol: Protocol) -> DesiredBackend {
    let (place, weight) = text.split_once('*').unwrap_or((text, "1"));
    let place: SocketAddr = place.parse().unwrap();
    let endpoint = Endpoint { address: place.ip(), port: place.port(), protocol };
    let weight = weight.parse().unwrap();
    DesiredBackend { endpoint, weight, capacity: weight }
}
