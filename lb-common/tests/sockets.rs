//! What becomes of the calls of this host's processes, on the host's tables.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use lb_common::{
    abi::{
        address::Address,
        backend::{Backend, backend_state},
        service::{ListenKey, Service, SourceKey, select, service_flag},
        settings::Settings,
    },
    pipeline::{
        socket::{Answer, Call, connect, name, send},
        verdict::Reason,
    },
    tables::MemoryTables,
};

const TCP: u8 = 6;
const UDP: u8 = 17;
/// Backends 1 and 2 of the services over IPv4, 3 of those over IPv6; 4 keeps the client's port.
const BACKENDS: [(u32, &str, u16); 4] = [
    (1, "198.18.10.2", 8080),
    (2, "198.18.10.3", 8080),
    (3, "fd00:18:10::2", 8080),
    (4, "198.18.10.4", 0),
];

fn address(text: &str) -> Address {
    text.parse::<std::net::Ipv6Addr>().map_or_else(
        |_| text.parse::<std::net::IpAddr>().unwrap().into(),
        |v6| Address::from_v6(v6.octets()),
    )
}

fn tables() -> MemoryTables {
    let settings =
        Settings { udp_established_ticks: 1000, ticks_per_second: 100, ..Settings::default() };
    let mut tables = MemoryTables { settings, ..MemoryTables::default() };
    for (id, ip, port) in BACKENDS {
        let backend = Backend {
            address: address(ip),
            port: port.to_be(),
            state: backend_state::UP,
            generation: 1,
            capacity: 1,
            ..Backend::default()
        };
        tables.backends.insert(id, backend);
    }
    tables.backend_ports.extend([(TCP, 8080), (UDP, 8080), (UDP, 90)]);
    let services: [(u32, &str, u16, u8, &[u32]); 7] = [
        (1, "198.18.1.1", 80, TCP, &[1, 2]),
        (2, "198.18.1.1", 80, UDP, &[1, 2]),
        (3, "fd00:18:1::1", 80, TCP, &[3]),
        (4, "198.18.1.1", 81, TCP, &[]),
        (5, "198.18.1.1", 82, TCP, &[1]),
        (6, "fd00:18:1::1", 82, TCP, &[3]),
        (7, "198.18.1.1", 90, UDP, &[4]),
    ];
    for (id, ip, port, protocol, slots) in services {
        let sources = if port == 82 { service_flag::SOURCES } else { 0 };
        let service = Service {
            id,
            select: select::TURN,
            flags: sources,
            usable: slots.len().try_into().unwrap(),
            table_page: id,
            table_len: slots.len().try_into().unwrap(),
            ..Service::default()
        };
        tables.pages.insert(id, slots.to_vec());
        tables.service_ports.insert((protocol, port));
        let key = ListenKey { address: address(ip), port: port.to_be(), protocol, zero: 0 };
        tables.listens.insert(key, service);
    }
    tables
}

fn call(protocol: u8, destination: &str, port: u16) -> Call {
    let address = address(destination);
    let source = if address.is_v4() { Address::from_v4_word(0) } else { Address::default() };
    Call { cookie: 7, source, address, port: port.to_be(), protocol, now: 5000 }
}

fn to(answer: Answer) -> (Reason, Address, u16) {
    (answer.reason, answer.address, u16::from_be(answer.port))
}

fn flows(tables: &MemoryTables, service: u32) -> u64 {
    tables.service_traffic.borrow().get(&service).map_or(0, |traffic| traffic.flows)
}

#[test]
fn a_connection_goes_to_a_backend_and_its_peer_is_called_by_the_vip() {
    let rows = [
        ("198.18.1.1", "198.18.10.2", "198.18.10.3", 1),
        // From an IPv6 socket.
        ("::ffff:198.18.1.1", "198.18.10.2", "198.18.10.3", 1),
        ("fd00:18:1::1", "fd00:18:10::2", "fd00:18:10::2", 3),
    ];
    for (vip, first, second, service) in rows {
        let tables = tables();
        let dialled = call(TCP, vip, 80);
        assert_eq!(to(connect(&tables, &dialled)), (Reason::Forwarded, address(first), 8080));
        let other = Call { cookie: 8, ..dialled };
        assert_eq!(to(connect(&tables, &other)), (Reason::Forwarded, address(second), 8080));
        let named = name(&tables, &call(TCP, first, 8080));
        assert_eq!(named, Some((address(vip), 80_u16.to_be())));
        assert_eq!(flows(&tables, service), 2);
        assert!(tables.flows.borrow().is_empty(), "nothing would end an open flow");
        assert!(tables.conns.borrow().is_empty());
    }
}

#[test]
fn whatever_is_no_service_is_left_alone_and_not_counted() {
    let rows = [
        (TCP, "198.18.1.1", 8080, Reason::NotService),
        (TCP, "198.18.1.9", 80, Reason::NoListener),
        (UDP, "198.18.1.1", 81, Reason::NotService),
        (TCP, "198.18.10.2", 8080, Reason::NotService),
        (TCP, "fd00:18:1::1", 81, Reason::NoListener),
    ];
    let tables = tables();
    for (protocol, destination, port, reason) in rows {
        let call = call(protocol, destination, port);
        assert_eq!(connect(&tables, &call).reason, reason, "{destination} {port}");
        assert_eq!(send(&tables, &call).reason, reason, "{destination} {port}");
    }
    assert!(tables.sockets.borrow().is_empty());
    assert!(tables.reasons.borrow().is_empty());
}

#[test]
fn a_service_that_cannot_serve_refuses() {
    let tables = tables();
    assert_eq!(connect(&tables, &call(TCP, "198.18.1.1", 81)).reason, Reason::NoBackend);
    assert_eq!(tables.reasons.borrow()[&Reason::NoBackend], 1);
    assert_eq!(flows(&tables, 4), 0);
}

#[test]
fn a_socket_is_not_led_to_the_other_family() {
    let mut tables = tables();
    tables.pages.insert(1, vec![3, 3]);
    tables.pages.insert(3, vec![1]);
    for vip in ["198.18.1.1", "fd00:18:1::1"] {
        let refused = connect(&tables, &call(TCP, vip, 80));
        assert_eq!(refused.reason, Reason::NotTranslated, "{vip}");
    }
    assert_eq!((flows(&tables, 1), flows(&tables, 3)), (0, 0));
    assert_eq!(tables.reasons.borrow()[&Reason::NotTranslated], 2);
}

#[test]
fn an_allow_list_knows_an_unbound_socket_by_the_loopback_address() {
    let rows = [
        ("198.18.1.1", "0.0.0.0", "198.18.0.0", 15, false),
        ("198.18.1.1", "0.0.0.0", "127.0.0.0", 8, true),
        ("198.18.1.1", "198.18.0.9", "198.18.0.0", 15, true),
        ("198.18.1.1", "203.0.113.9", "198.18.0.0", 15, false),
        ("198.18.1.1", "203.0.113.9", "127.0.0.0", 8, false),
        ("fd00:18:1::1", "::", "fd00::", 8 - 96, false),
        ("fd00:18:1::1", "::", "::1", 128 - 96, true),
        ("fd00:18:1::1", "fd00:18::9", "fd00::", 8 - 96, true),
    ];
    for (vip, source, network, bits, allowed) in rows {
        let mut tables = tables();
        for service in [5_u32, 6] {
            let service = service.to_ne_bytes();
            let key = SourceKey { service, address: address(network).octets() };
            let bits = u32::try_from(96 + bits).unwrap();
            tables.sources.insert((SourceKey::BITS_BEFORE_ADDRESS + bits, key));
        }
        let call = Call { source: address(source), ..call(TCP, vip, 82) };
        let reason = if allowed { Reason::Forwarded } else { Reason::SourceDenied };
        assert_eq!(connect(&tables, &call).reason, reason, "{source} in {network}");
        assert_eq!(tables.reasons.borrow().contains_key(&Reason::SourceDenied), !allowed);
    }
}

#[test]
fn a_sockets_datagrams_keep_their_backend() {
    let tables = tables();
    let call = call(UDP, "198.18.1.1", 80);
    let first = send(&tables, &call);
    assert_eq!(to(first), (Reason::Forwarded, address("198.18.10.2"), 8080));
    for now in [5001, 5099, 5100, 6100, 7100] {
        assert_eq!(send(&tables, &Call { now, ..call }), first, "{now}");
    }
    // Round-robin: another socket has the next one, and this one still its own.
    let other = send(&tables, &Call { cookie: 8, ..call });
    assert_eq!(to(other), (Reason::Forwarded, address("198.18.10.3"), 8080));
    assert_eq!(flows(&tables, 2), 2);
    let answered = Call { address: first.address, port: first.port, ..call };
    assert_eq!(name(&tables, &answered), Some((call.address, call.port)));
    assert_eq!(name(&tables, &Call { cookie: 9, ..answered }), None, "a socket of its own");
    assert_eq!(name(&tables, &Call { port: 8081, ..answered }), None);
    assert_eq!(name(&tables, &Call { address: other.address, ..answered }), None);
}

#[test]
fn datagrams_move_when_their_backend_is_gone_or_down_or_the_socket_was_silent() {
    type Change = fn(&mut Backend);
    let rows: [(&str, Change, u32, bool); 6] = [
        ("gone", |backend| backend.state = backend_state::ABSENT, 1, true),
        ("down", |backend| backend.state = backend_state::DOWN, 1, true),
        ("another one with its id", |backend| backend.generation = 2, 1, true),
        ("drained", |backend| backend.state = backend_state::CLOSED, 1, false),
        ("silent", |_| {}, 1001, true),
        ("silent, but not for long", |_| {}, 1000, false),
    ];
    for (description, change, later, moves) in rows {
        let mut tables = tables();
        let call = call(UDP, "198.18.1.1", 80);
        let first = send(&tables, &call);
        change(tables.backends.get_mut(&1).unwrap());
        let next = send(&tables, &Call { now: call.now + later, ..call });
        assert_eq!(next.reason, Reason::Forwarded, "{description}");
        assert_eq!(next.address != first.address, moves, "{description}");
        let named = name(&tables, &Call { address: next.address, port: next.port, ..call });
        assert_eq!(named, Some((call.address, call.port)), "{description}");
    }
}

#[test]
fn a_remembered_backend_is_found_again_after_its_way_back_was_forgotten() {
    let tables = tables();
    let call = call(UDP, "198.18.1.1", 80);
    let first = send(&tables, &call);
    tables.sockets.borrow_mut().retain(|key, _| key.address == call.address);
    send(&tables, &Call { now: call.now + 100, ..call });
    let named = name(&tables, &Call { address: first.address, port: first.port, ..call });
    assert_eq!(named, Some((call.address, call.port)));
}

#[test]
fn a_backend_without_a_port_keeps_the_one_that_was_dialled() {
    let tables = tables();
    let answer = send(&tables, &call(UDP, "198.18.1.1", 90));
    assert_eq!(to(answer), (Reason::Forwarded, address("198.18.10.4"), 90));
}
