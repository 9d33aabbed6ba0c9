//! Full NAT over the life of its entries: whose a port is, and when it is somebody else's.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod table;

use std::collections::BTreeMap;

use lb_common::{
    abi::{backend::backend_state, flow::conn_kind},
    packet::SlicePacket,
    pipeline::{
        process,
        verdict::{Action, Reason, Verdict},
    },
    tables::{MemoryTables, Stage, Tuple},
};
use table::{
    frame::{CLIENT_MAC, Frame, LOCAL_MAC, tcp, udp},
    pieces::{Icmp, Message, quote_least},
    world::{UPLINK, World, address},
};

const VIP: &str = "198.18.1.50:80";
const BACKEND: &str = "198.18.10.17:8080";
const OWN: &str = "198.18.10.1";

fn tables(first: u16, count: u32) -> MemoryTables {
    let mut world = World::new();
    (world.settings.source_port_first, world.settings.source_ports) = (first, count);
    (world.settings.tcp_closed_ticks, world.settings.udp_new_ticks) = (50, 100);
    world.memory()
}

fn at(tables: &MemoryTables, now: u32, frame: &Frame) -> (Verdict, Vec<u8>) {
    let mut bytes = frame.build();
    let verdict = process(&mut SlicePacket { bytes: &mut bytes, ingress: UPLINK }, tables, now);
    (verdict, bytes)
}

fn reason(tables: &MemoryTables, now: u32, frame: &Frame) -> Reason {
    at(tables, now, frame).0.reason
}

fn client(port: u16) -> String {
    format!("198.18.0.2:{port}")
}

/// The port that a client's packet leaves from.
fn sent_from(tables: &MemoryTables, now: u32, frame: &Frame) -> Option<u16> {
    let (verdict, bytes) = at(tables, now, frame);
    let port = u16::from_be_bytes([bytes[34], bytes[35]]);
    (verdict.reason == Reason::Forwarded).then_some(port)
}

/// The client that an answer to a port goes to.
fn answered(tables: &MemoryTables, now: u32, port: u16, flags: &'static str) -> Option<u16> {
    let frame = tcp(BACKEND, &format!("{OWN}:{port}"), flags).payload(b"x");
    let (verdict, bytes) = at(tables, now, &frame);
    let port = u16::from_be_bytes([bytes[36], bytes[37]]);
    (verdict.reason == Reason::Replied).then_some(port)
}

/// Establishes connections of clients; their ports of ours.
fn open(tables: &MemoryTables, clients: std::ops::Range<u16>) -> BTreeMap<u16, u16> {
    let mut ports = BTreeMap::new();
    for number in clients {
        let Some(port) = sent_from(tables, 1000, &tcp(&client(number), VIP, "S")) else { continue };
        assert_eq!(answered(tables, 1000, port, "SA"), Some(number));
        assert_eq!(sent_from(tables, 1000, &tcp(&client(number), VIP, "A")), Some(port));
        assert_eq!(ports.insert(port, number), None, "port {port} twice");
    }
    ports
}

/// The keys of entries of a kind.
fn keys(tables: &MemoryTables, kind: u8) -> Vec<(Stage, Tuple)> {
    let conns = tables.conns.borrow();
    conns.iter().filter(|(_, conn)| conn.kind == kind).map(|(key, _)| *key).collect()
}

#[test]
fn flows_to_one_backend_have_a_port_each_of_the_range() {
    // Where no more are wanted than are tried, none is missed; of many, nine tenths are easily found.
    for (first, count, wanted, least) in
        [(20_000, 32, 32, 32), (65_000, 536, 482, 475), (1, 1000, 800, 799)]
    {
        let tables = tables(first, count);
        let ports = open(&tables, 1000..1000 + wanted);
        assert!(ports.len() >= least, "{} of {wanted}", ports.len());
        let range = u32::from(first)..u32::from(first) + count;
        assert!(ports.keys().all(|port| range.contains(&u32::from(*port))), "{ports:?}");
        for (port, number) in ports {
            assert_eq!(answered(&tables, 1001, port, "A"), Some(number));
        }
    }
}

#[test]
fn another_backend_has_all_ports_to_itself() {
    let tables = tables(20_000, 1);
    let own = |frame: &Frame| sent_from(&tables, 1000, frame);
    assert_eq!(own(&tcp(&client(1), VIP, "S")), Some(20_000));
    assert_eq!(own(&tcp(&client(2), VIP, "S")), None);
    assert_eq!(own(&udp(&client(2), "198.18.1.50:53")), Some(20_000));
    let v6 = tcp("[fd00:18::2]:1", "[fd00:18:1::50]:80", "S");
    assert_eq!(reason(&tables, 1000, &v6), Reason::Forwarded);
}

#[test]
fn a_range_of_nothing_has_no_port() {
    let tables = tables(20_000, 0);
    assert_eq!(reason(&tables, 1000, &tcp(&client(1), VIP, "S")), Reason::NoPort);
    assert!(tables.conns.borrow().is_empty());
    assert_eq!(tables.flows.borrow().get(&17), None, "no flow is counted");
}

#[test]
fn where_no_entry_has_room_no_port_is_kept() {
    for room in 1..4 {
        let mut tables = tables(20_000, 100);
        tables.conns_max = room;
        // An entry of somebody else, so that all but one of them, or all, are missing.
        assert_eq!(
            reason(&tables, 1000, &tcp(&client(9), "198.18.1.1:80", "S")),
            Reason::Forwarded
        );
        let verdict = at(&tables, 1000, &tcp(&client(1), VIP, "S")).0;
        let expected = match room {
            1 => Reason::NoPort,
            2 => Reason::TableFull,
            _ => Reason::Forwarded,
        };
        assert_eq!(verdict.reason, expected, "{room}");
        assert_eq!(tables.conns.borrow().len(), if room == 3 { 3 } else { 1 }, "{room}");
        assert_eq!(verdict.action == Action::Drop, room != 3, "{room}");
    }
}

#[test]
fn a_flow_that_lost_its_port_never_uses_it_again() {
    // Whether the other flow is in the same table, and who speaks first.
    for (established, reply_first) in [(true, true), (true, false), (false, true), (false, false)] {
        let tables = tables(20_000, 1);
        assert_eq!(open(&tables, 1..2), BTreeMap::from([(20_000, 1)]));
        // The reply entry alone is evicted, and another client gets the port.
        let [key] = keys(&tables, conn_kind::REPLY)[..] else { panic!("one flow") };
        tables.conns.borrow_mut().remove(&key);
        if established {
            assert_eq!(open(&tables, 2..3), BTreeMap::from([(20_000, 2)]));
        } else {
            assert_eq!(sent_from(&tables, 1000, &tcp(&client(2), VIP, "S")), Some(20_000));
        }
        if reply_first {
            assert_eq!(answered(&tables, 1000, 20_000, "A"), Some(2));
        }
        let late = tcp(&client(1), VIP, "A").payload(b"late");
        let (verdict, _) = at(&tables, 1000, &late);
        assert_eq!((verdict.reason, verdict.action), (Reason::BackendGone, Action::Transmit));
        // The other one keeps it, whatever the first one goes on to do.
        assert_eq!(reason(&tables, 1000, &late), Reason::NoPort);
        assert_eq!(answered(&tables, 1000, 20_000, "A"), Some(2));
        let other = tcp(&client(2), VIP, "A").payload(b"x");
        assert_eq!(sent_from(&tables, 1000, &other), Some(20_000));
    }
}

/// What a client says about an answer that it did not want.
fn complaint(tables: &MemoryTables, number: u16) -> Reason {
    let quoted = quote_least(&tcp(VIP, &client(number), "A"));
    let message = Message::PortUnreachable;
    let (macs, hops) = ((CLIENT_MAC, LOCAL_MAC), 64);
    let (source, destination) = ("198.18.0.2", "198.18.1.50");
    let mut bytes = Icmp { macs, source, destination, hops, message, quoted }.build();
    process(&mut SlicePacket { bytes: &mut bytes, ingress: UPLINK }, tables, 1000).reason
}

#[test]
fn errors_of_a_client_that_lost_its_port_reach_nobody() {
    let mut tables = tables(20_000, 1);
    open(&tables, 1..2);
    assert_eq!(complaint(&tables, 1), Reason::IcmpError);
    let [key] = keys(&tables, conn_kind::REPLY)[..] else { panic!("one flow") };
    tables.conns.borrow_mut().remove(&key);
    open(&tables, 2..3);
    assert_eq!(complaint(&tables, 1), Reason::Icmp, "the connection at this port is another one's");
    assert_eq!(complaint(&tables, 2), Reason::IcmpError);
    tables.backends.get_mut(&17).unwrap().source = address("198.18.10.9");
    assert_eq!(complaint(&tables, 2), Reason::Icmp, "it never spoke from this address");
}

#[test]
fn an_answer_whose_clients_entry_is_gone_is_nobodys() {
    let tables = tables(20_000, 1);
    open(&tables, 1..2);
    let [key] = keys(&tables, conn_kind::FORWARD)[..] else { panic!("one flow") };
    tables.conns.borrow_mut().remove(&key);
    let answer = tcp(BACKEND, &format!("{OWN}:20000"), "A");
    assert_eq!(reason(&tables, 1000, &answer), Reason::StaleReply);
    assert!(tables.conns.borrow().is_empty(), "and the port is free");
    assert_eq!(open(&tables, 2..3).len(), 1);
}

#[test]
fn a_flow_lasts_while_either_side_speaks() {
    let vip = "198.18.1.50:53";
    let tables = tables(20_000, 1);
    let (ask, now) = (udp(&client(1), vip), 1000);
    assert_eq!(sent_from(&tables, now, &ask), Some(20_000));
    // It is never answered, and speaks more often than its entries may be idle.
    for step in 1..10 {
        assert_eq!(sent_from(&tables, now + step * 60, &ask), Some(20_000));
        let mut entries = 0;
        for conn in tables.conns.borrow().values() {
            assert_eq!(conn.last_seen, now + step * 60);
            entries += 1;
        }
        assert_eq!(entries, 2);
    }
    // Silence ends it, for its client, and others.
    let later = now + 10 * 60 + 101;
    assert_eq!(sent_from(&tables, later, &ask), Some(20_000), "a flow anew");
    assert_eq!(tables.conns.borrow().values().map(|conn| conn.created).min(), Some(later));
}

#[test]
fn when_the_source_changes_flows_end() {
    let mut tables = tables(20_000, 10);
    let ports = open(&tables, 1..4);
    let port = *ports.iter().find(|(_, client)| **client == 1).unwrap().0;
    tables.backends.get_mut(&17).unwrap().source = address("198.18.10.9");
    let late = tcp(&client(1), VIP, "A").payload(b"late");
    assert_eq!(reason(&tables, 1000, &late), Reason::BackendGone);
    assert_eq!(answered(&tables, 1000, port, "A"), None);
    // One flow has ended, and that once.
    assert_eq!(tables.flows.borrow().get(&17), Some(&2));
    let (verdict, bytes) = at(&tables, 1000, &tcp(&client(1), VIP, "S"));
    assert_eq!((verdict.reason, bytes[29]), (Reason::Forwarded, 9));
}

#[test]
fn a_backend_that_is_another_one_ends_them_too_and_its_port_is_free() {
    let mut tables = tables(20_000, 1);
    open(&tables, 1..2);
    tables.backends.get_mut(&17).unwrap().generation += 1;
    let late = tcp(&client(1), VIP, "A").payload(b"late");
    assert_eq!(reason(&tables, 1000, &late), Reason::BackendGone);
    assert!(tables.conns.borrow().is_empty());
    assert_eq!(open(&tables, 2..3).len(), 1);
    // One that is closed keeps its flows.
    tables.backends.get_mut(&17).unwrap().state = backend_state::CLOSED;
    assert!(sent_from(&tables, 1000, &tcp(&client(2), VIP, "A")).is_some());
    assert_eq!(reason(&tables, 1000, &tcp(&client(3), VIP, "S")), Reason::NoBackend);
}

#[test]
fn a_backend_may_call_itself() {
    let tables = tables(20_000, 10);
    let own = tcp("198.18.10.17:50000", VIP, "S");
    let port = sent_from(&tables, 1000, &own).unwrap();
    let (verdict, bytes) = at(&tables, 1000, &tcp(BACKEND, &format!("{OWN}:{port}"), "SA"));
    assert_eq!(verdict.reason, Reason::Replied);
    assert_eq!(bytes[26..34], [198, 18, 1, 50, 198, 18, 10, 17]);
}
