//! The configuration as the dataplane's tables have it. All that the model shares with the pipeline
//! is here, and nothing of it decides anything.

use std::net::IpAddr;

use lb_common::abi::{
    backend::{Backend, backend_state, way},
    service::{ListenKey, PAGE_SLOTS, RangeKey, Service, SourceKey, forward, select, service_flag},
    settings::{Settings, settings_flag},
};

use super::{
    config::{self, ANY, Config, Policy, State, Tunnel, Way},
    policy::turn_order,
};
use crate::table::world::World;

/// Pages of a service: its tables of both families are some pages apart.
const PAGES_EACH: u32 = 2;

pub fn world(config: &Config) -> World {
    let mut world = World { settings: settings(config), ..World::default() };
    for (id, backend) in &config.backends {
        world.backends.insert(*id, entry(backend));
        let ports = if backend.port == 0 { ANY } else { backend.port..=backend.port };
        for port in ports {
            set(&mut world.ports[usize::from(backend.udp)].backends, port);
        }
    }
    for service in config.services.values() {
        for v6 in [false, true] {
            let page = service.id * PAGES_EACH * 2 + PAGES_EACH * u32::from(v6);
            fill(&mut world, page, &rows(config, service, v6));
        }
        for (address, first, last) in &service.listens {
            listen(&mut world, config, service, (*address, *first, *last));
        }
        for (network, length) in &service.sources {
            let key = SourceKey { service: service.id.to_ne_bytes(), address: octets(*network) };
            let before = if network.is_ipv4() { 96 } else { 0 };
            let bits = SourceKey::BITS_BEFORE_ADDRESS + before + u32::from(*length);
            world.sources.insert((bits, key));
        }
    }
    world
}

fn settings(config: &Config) -> Settings {
    let times = config.timeouts;
    Settings {
        abi_version: lb_common::abi::ABI_VERSION,
        flags: settings_flag::RANGES | settings_flag::RESETS,
        tcp_new_ticks: times.tcp_new,
        tcp_established_ticks: times.tcp_established,
        tcp_half_closed_ticks: times.tcp_half_closed,
        tcp_closed_ticks: times.tcp_closed,
        udp_new_ticks: times.udp_new,
        udp_established_ticks: times.udp_established,
        hairpin_v4: config.hairpin.0.into(),
        hairpin_v6: config.hairpin.1.into(),
        ticks_per_second: 100,
        tunnel_v4: IpAddr::V4(config.tunnel.0).into(),
        tunnel_v4_mask: config.tunnel.1.to_be(),
        gue_port: config.gue_port.to_be(),
        source_port_first: config.ports.first,
        source_ports: config.ports.count,
        ..Settings::default()
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    lb_common::abi::address::Address::from(address).octets()
}

fn set(words: &mut [u64], port: u16) {
    words[usize::from(port) / 64] |= 1 << (port % 64);
}

fn number(udp: bool) -> u8 {
    if udp { 17 } else { 6 }
}

fn entry(backend: &config::Backend) -> Backend {
    let (way, ifindex) = match backend.way {
        Way::Stack => (way::STACK, 0),
        Way::Inside(link) => (way::PEER, link),
        Way::Link(link) => (way::LINK, link),
    };
    Backend {
        address: backend.address.into(),
        port: backend.port.to_be(),
        state: match backend.state {
            State::Absent => backend_state::ABSENT,
            State::Up => backend_state::UP,
            State::Closed => backend_state::CLOSED,
            State::Down => backend_state::DOWN,
        },
        way,
        generation: backend.generation,
        capacity: backend.capacity,
        ifindex,
        dst_mac: backend.macs.0,
        src_mac: backend.macs.1,
        protocol: u32::from(number(backend.udp)),
        source: backend.source.into(),
        mtu: u32::from(backend.mtu),
    }
}

/// The slots of a service's table: backends, or rows of a backend and what it weighs.
fn rows(config: &Config, service: &config::Service, v6: bool) -> Vec<u32> {
    let listed = service.of_family(config, v6);
    let capacity = |id: &u32| config.backends[id].capacity;
    match service.policy {
        Policy::LeastConnections | Policy::ShortestDelay => {
            listed.iter().flat_map(|(id, weight)| [*id, *weight]).collect()
        }
        Policy::Adaptive => {
            listed.iter().flat_map(|(id, weight)| [*id, capacity(id), *weight]).collect()
        }
        Policy::Maglev
        | Policy::SourceHash
        | Policy::Turn
        | Policy::Random
        | Policy::TwoChoices
        | Policy::FourChoices
        | Policy::AdaptiveFour => turn_order(&listed),
    }
}

fn fill(world: &mut World, page: u32, rows: &[u32]) {
    for (number, slots) in (page..).zip(rows.chunks(PAGE_SLOTS as usize)) {
        let page = world.pages.entry(number).or_default();
        page.slots.0[..slots.len()].copy_from_slice(slots);
    }
}

fn listen(
    world: &mut World,
    config: &Config,
    service: &config::Service,
    (address, first, last): (IpAddr, u16, u16),
) {
    let v6 = address.is_ipv6();
    let usable = service.of_family(config, v6).len();
    let width = match service.policy {
        Policy::LeastConnections | Policy::ShortestDelay => 2,
        Policy::Adaptive => 3,
        Policy::Maglev
        | Policy::SourceHash
        | Policy::Turn
        | Policy::Random
        | Policy::TwoChoices
        | Policy::FourChoices
        | Policy::AdaptiveFour => 1,
    };
    let flag = |on: bool, flag: u8| if on { flag } else { 0 };
    let value = Service {
        id: service.id,
        select: select_of(service.policy),
        flags: flag(!service.sources.is_empty(), service_flag::SOURCES)
            | flag(service.affinity.is_some(), service_flag::AFFINITY)
            | flag(service.counts_requests, service_flag::TURNS),
        usable: usable as u16,
        table_page: service.id * PAGES_EACH * 2 + PAGES_EACH * u32::from(v6),
        table_len: rows(config, service, v6).len() as u32 / width,
        affinity_ticks: service.affinity.unwrap_or(0),
        hash_seed: service.id * 77,
        forward: match (service.direct, service.tunnel) {
            (_, Some(Tunnel::Ip)) => forward::IPIP,
            (_, Some(Tunnel::Udp)) => forward::GUE,
            (true, None) => forward::DSR,
            (false, None) if service.full_nat => forward::FULL_NAT,
            (false, None) => forward::NAT,
        },
        ..Service::default()
    };
    let protocol = number(service.udp);
    for port in first..=last {
        set(&mut world.ports[usize::from(service.udp)].services, port);
    }
    if first == last {
        let key = ListenKey { address: address.into(), port: first.to_be(), protocol, zero: 0 };
        world.listens.insert(key, value);
        return;
    }
    // Ranges of the test are one prefix each.
    let bits = 16 - (last - first + 1).trailing_zeros();
    let port = first.to_be_bytes();
    let key = RangeKey { protocol, address: octets(address), port, zero: 0 };
    world.ranges.insert((RangeKey::BITS_BEFORE_PORT + bits, key), value);
}

fn select_of(policy: Policy) -> u8 {
    match policy {
        Policy::Maglev => select::HASH_FLOW,
        Policy::SourceHash => select::HASH_SOURCE,
        Policy::Turn => select::TURN,
        Policy::Random => select::RANDOM,
        Policy::LeastConnections => select::SCAN_LEAST,
        Policy::ShortestDelay => select::SCAN_DELAY,
        Policy::TwoChoices => select::SAMPLE_TWO,
        Policy::FourChoices => select::SAMPLE_FOUR,
        Policy::Adaptive => select::SCAN_REQUESTS,
        Policy::AdaptiveFour => select::SAMPLE_REQUESTS,
    }
}
