//! The table of packets on the host's tables, and what holds for every packet.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod table;

use lb_common::{
    abi::{
        backend::{Backend, backend_state},
        service::{ListenKey, SourceKey, select, service_flag},
        settings::settings_flag,
    },
    packet::SlicePacket,
    pipeline::{
        enter, process, track, unusual,
        verdict::{Action, Reason, Verdict},
    },
    tables::{MemoryTables, Signal},
};
use table::{
    Expected, compare,
    frame::{tcp, udp},
    nobody::tagged,
    pieces::{fragments, reset},
    rows::rows,
    turns::{Known, stories},
    world::{UPLINK, World, address},
};

fn tables(world: World) -> MemoryTables {
    world.memory()
}

fn run(tables: &MemoryTables, bytes: &mut Vec<u8>) -> Verdict {
    process(&mut SlicePacket { bytes, ingress: UPLINK }, tables, 1000)
}

#[test]
fn every_row_of_the_table() {
    let tables = tables(World::new());
    for row in rows() {
        let mut bytes = row.input.clone();
        let verdict = run(&tables, &mut bytes);
        let Verdict { reason, action, ifindex, .. } = verdict;
        compare("host", &row, &Expected { reason, action, ifindex, bytes });
    }
}

/// What the host's tables know of a backend.
fn known(tables: &MemoryTables, backend: u32) -> Known {
    let count = |wanted: Signal| {
        let signals = tables.signals.borrow();
        let of = signals.iter().filter(|(id, signal, _)| *id == backend && *signal == wanted);
        of.count() as u64
    };
    Known {
        requests: tables.requests.borrow().get(&backend).copied().unwrap_or(0),
        first_bytes: count(Signal::FirstByte),
        handshakes: count(Signal::Handshake),
        refused: count(Signal::Refused),
        reset: count(Signal::Reset),
        repeated: count(Signal::Repeated),
    }
}

#[test]
fn every_turn_of_the_table() {
    for story in stories() {
        let tables = tables(World::new());
        for turn in &story.turns {
            run(&tables, &mut turn.frame.build());
            let at = format!("{}: {}", story.name, turn.description);
            assert_eq!(known(&tables, story.backend), turn.known, "{at}");
        }
    }
}

#[test]
fn other_services_do_not_count_turns() {
    for story in stories() {
        let mut world = World::new();
        for service in world.listens.values_mut() {
            service.flags = 0;
        }
        let tables = tables(world);
        for turn in &story.turns {
            run(&tables, &mut turn.frame.build());
            assert_eq!(known(&tables, story.backend), Known::default(), "{}", turn.description);
        }
    }
}

#[test]
fn times_run_from_the_first_payload_to_the_first_answer() {
    let tables = tables(World::new());
    let [story, ..] = &stories()[..] else { panic!("no stories") };
    for (turn, step) in story.turns.iter().zip(1_u32..) {
        // The clock wraps on the way.
        tables.clock_us.set((u32::MAX - 100_000).wrapping_add(step * 10_000));
        run(&tables, &mut turn.frame.build());
    }
    // SYN to SYN and to SYN-ACK; the first part of the request to the first part of the answer, twice; and
    // from the last request to the last answer.
    let expected = [
        (Signal::Repeated, 10_000),
        (Signal::Handshake, 20_000),
        (Signal::FirstByte, 30_000),
        (Signal::FirstByte, 10_000),
        (Signal::FirstByte, 10_000),
    ];
    let signals: Vec<_> = tables.signals.borrow().iter().map(|(_, s, us)| (*s, *us)).collect();
    assert_eq!(signals, expected);
}

#[test]
fn the_least_loaded_for_its_capacity_is_chosen_and_weights_count_without_a_controller() {
    // Backend and requests in flight, capacity, weight.
    let loads = [(1, 3, 400, 1), (5, 1, 150, 9), (8, 0, 40, 1)];
    let mut world = World::new();
    let spare = Backend { port: 9090_u16.to_be(), ..world.backends[&1] };
    world.backends.insert(8, spare);
    let key =
        ListenKey { address: address("198.18.1.3"), port: 80_u16.to_be(), protocol: 6, zero: 0 };
    let service = world.listens.get_mut(&key).unwrap();
    (service.table_len, service.usable) = (3, 3);
    let page = &mut world.pages.get_mut(&service.table_page).unwrap().slots.0;
    for (row, (id, _, capacity, weight)) in page.chunks_mut(3).zip(loads) {
        row.copy_from_slice(&[id, capacity, weight]);
    }
    let mut tables = tables(world);
    // Halves by capacity: 7/400, 3/150, 1/40: the first; by weight 7/1, 3/9, 1/1: the second.
    for (silence, expected) in [(0, 1), (1000, 1), (1001, 5)] {
        for (id, requests, ..) in loads {
            tables.requests.borrow_mut().insert(id, requests);
        }
        tables.conns.borrow_mut().clear();
        tables.heartbeat = 1000_u32.wrapping_sub(silence);
        let verdict = run(&tables, &mut tcp("198.18.0.2:40000", "198.18.1.3:80", "S").build());
        assert_eq!(verdict.backend, expected, "{silence} ticks of silence");
    }
    // A backend that takes no new flows is none, however idle.
    tables.requests.borrow_mut().extend(loads.map(|(id, requests, ..)| (id, requests)));
    tables.heartbeat = 1000;
    tables.conns.borrow_mut().clear();
    tables.backends.get_mut(&1).unwrap().state = backend_state::CLOSED;
    let verdict = run(&tables, &mut tcp("198.18.0.2:40000", "198.18.1.3:80", "S").build());
    assert_eq!(verdict.backend, 5, "3/150 before 1/40");
}

#[test]
fn equals_share() {
    let mut world = World::new();
    let spare = Backend { port: 9090_u16.to_be(), ..world.backends[&1] };
    world.backends.insert(8, spare);
    let key =
        ListenKey { address: address("198.18.1.3"), port: 80_u16.to_be(), protocol: 6, zero: 0 };
    let service = world.listens.get_mut(&key).unwrap();
    (service.table_len, service.usable) = (2, 2);
    let page = &mut world.pages.get_mut(&service.table_page).unwrap().slots.0;
    page[..6].copy_from_slice(&[1, 7, 1, 8, 7, 1]);
    let tables = tables(world);
    let mut chosen = std::collections::BTreeMap::<u32, u32>::new();
    for _ in 0..200 {
        tables.requests.borrow_mut().clear();
        tables.conns.borrow_mut().clear();
        let mut syn = tcp("198.18.0.2:40000", "198.18.1.3:80", "S").build();
        *chosen.entry(run(&tables, &mut syn).backend).or_default() += 1;
    }
    // A fair coin leaves 60 to 140 once in fifty million times; the seed is fixed.
    assert!((60..=140).contains(&chosen[&1]) && chosen[&1] + chosen[&8] == 200, "{chosen:?}");
}

#[test]
fn the_first_stage_decides_what_the_second_would() {
    let (tables, mut shortcuts) = (tables_once(), 0);
    for row in rows() {
        let (mut first, mut second) = (row.input.clone(), row.input.clone());
        let mut packet = SlicePacket { bytes: &mut first, ingress: UPLINK };
        let verdict = enter::enter(&mut packet, &tables, 1000);
        if verdict.is_final() {
            let mut packet = SlicePacket { bytes: &mut second, ingress: UPLINK };
            let mut other = unusual::unusual(&mut packet, &tables, 1000);
            if other.action == Action::Track {
                other = track::track(&mut packet, &tables, 1000);
            }
            assert_eq!((verdict, first), (other, second), "{}", row.description);
            shortcuts += usize::from(matches!(verdict.reason, Reason::Forwarded | Reason::Replied));
        } else {
            run(&tables, &mut second);
        }
    }
    assert!(shortcuts >= 8, "{shortcuts} rows are of established flows");
}

#[test]
fn a_syn_that_comes_again_takes_no_turn() {
    let mut tables = tables_once();
    let spare = Backend { address: address("198.18.10.9"), ..tables.backends[&1] };
    tables.backends.insert(31, spare);
    tables.pages.insert(1, vec![1, 31]);
    for service in tables.listens.values_mut().filter(|service| service.id == 1) {
        (service.select, service.table_len) = (select::TURN, 2);
    }
    let mut turns = Vec::new();
    for port in 41000..41004 {
        for _ in 0..2 {
            let mut syn = tcp(&format!("198.18.0.2:{port}"), "198.18.1.1:80", "S").build();
            assert_eq!(run(&tables, &mut syn).reason, Reason::Forwarded);
            turns.push(destination(&syn)[3]);
        }
    }
    assert_eq!(turns, [2, 2, 9, 9, 2, 2, 9, 9]);
}

#[test]
fn a_port_that_is_used_again_is_decided_anew() {
    let (client, vip) = ("198.18.0.2:41000", "198.18.1.1:80");
    let [first, second] = ["198.18.10.2:8080", "198.18.10.9:8080"];
    let to = |flags| (tcp(client, vip, flags), Reason::Forwarded);
    let from = |backend, flags| (tcp(backend, client, flags), Reason::Replied);
    let opened = || vec![to("S"), from(first, "SA"), to("A")];
    // What ends the first flow, and whether the next SYN is another one's.
    let ends = [
        ("nothing", vec![], false),
        ("the client's FIN", vec![to("FA")], true),
        ("the backend's FIN", vec![from(first, "FA")], true),
        ("both, and the last ACK", vec![from(first, "FA"), to("FA"), from(first, "A")], true),
        ("both at once", vec![to("FA"), from(first, "FA"), to("A"), from(first, "A")], true),
        ("the client's reset", vec![to("R")], true),
        ("the backend's reset", vec![from(first, "RA")], true),
    ];
    for (what, end, anew) in ends {
        let mut tables = tables_once();
        let spare = Backend { address: address("198.18.10.9"), ..tables.backends[&1] };
        tables.backends.insert(31, spare);
        tables.pages.insert(1, vec![1, 31]);
        for service in tables.listens.values_mut().filter(|service| service.id == 1) {
            (service.select, service.table_len) = (select::TURN, 2);
        }
        for (frame, reason) in [opened(), end].concat() {
            assert_eq!(run(&tables, &mut frame.build()).reason, reason, "{what}: {frame:?}");
        }
        // The SYN may come again, and its answer; one flow is open then.
        let (backend, other) = if anew { (second, first) } else { (first, second) };
        for _ in 0..2 {
            let mut syn = tcp(client, vip, "S").build();
            assert_eq!(run(&tables, &mut syn).reason, Reason::Forwarded, "{what}");
            assert_eq!(destination(&syn)[3], if anew { 9 } else { 2 }, "{what}");
        }
        let rest =
            [from(backend, "SA"), to("A"), from(backend, "A"), from(backend, "FA"), to("FA")];
        let open = |tables: &MemoryTables| tables.flows.borrow().values().sum::<u64>();
        assert_eq!(open(&tables), 1, "{what}");
        // What the other backend still has to say is for nobody.
        for flags in ["A", "FA", "R"] {
            let verdict = run(&tables, &mut tcp(other, client, flags).build());
            assert_eq!(verdict.reason, Reason::NoListener, "{what}: {flags}");
        }
        for (frame, reason) in rest {
            assert_eq!(run(&tables, &mut frame.build()).reason, reason, "{what}: {frame:?}");
        }
        assert_eq!(open(&tables), 0, "{what}");
    }
}

#[test]
fn an_ipv4_mapped_client_is_in_no_allow_list_of_ipv4() {
    let mut tables = tables_once();
    let key =
        ListenKey { address: address("fd00:18:1::1"), port: 80_u16.to_be(), protocol: 6, zero: 0 };
    let flags = tables.listens[&key].flags | service_flag::SOURCES | service_flag::AFFINITY;
    tables.listens.get_mut(&key).unwrap().flags = flags;
    let service = tables.listens[&key].id.to_ne_bytes();
    for (net, bits) in [("198.18.0.0", 96 + 24), ("fd00:18::", 32)] {
        let source = SourceKey { service, address: address(net).octets() };
        tables.sources.insert((SourceKey::BITS_BEFORE_ADDRESS + bits, source));
    }
    for (client, reason) in [
        ("[fd00:18::2]:40000", Reason::Forwarded),
        ("[fd00:99::2]:40000", Reason::SourceDenied),
        ("[::ffff:198.18.0.2]:40000", Reason::NoListener),
    ] {
        let mut syn = tcp(client, "[fd00:18:1::1]:80", "S").build();
        assert_eq!(run(&tables, &mut syn).reason, reason, "{client}");
    }
}

#[test]
fn a_connection_of_the_backends_own_is_no_answer_to_a_handshake() {
    let (client, vip, backend) = ("198.18.0.2:40200", "198.18.1.1:80", "198.18.10.2:8080");
    let tables = tables_once();
    assert_eq!(run(&tables, &mut tcp(client, vip, "S").build()).reason, Reason::Forwarded);
    for (frame, reason) in [
        (tcp(backend, client, "S"), Reason::NoListener),
        (tcp(backend, client, "S").options(), Reason::NoListener),
        (tcp(backend, client, "S").vlan(5), Reason::NoListener),
        (tcp(backend, client, "SA").options(), Reason::Replied),
    ] {
        assert_eq!(run(&tables, &mut frame.build()).reason, reason, "{frame:?}");
    }
}

#[test]
fn a_backend_that_ends_its_side_during_the_handshake_has_ended_it() {
    let (client, vip, backend) = ("198.18.0.2:40201", "198.18.1.1:80", "198.18.10.2:8080");
    let tables = tables_once();
    for (frame, reason) in [
        (tcp(client, vip, "S"), Reason::Forwarded),
        (tcp(backend, client, "FA"), Reason::Replied),
        (tcp(client, vip, "A"), Reason::Forwarded),
        (tcp(client, vip, "FA"), Reason::Forwarded),
    ] {
        assert_eq!(run(&tables, &mut frame.build()).reason, reason, "{frame:?}");
    }
    assert_eq!(tables.flows.borrow()[&1], 0, "both sides have ended");
}

#[test]
fn a_connection_past_the_vip_is_not_hijacked() {
    let (client, vip, backend) = ("198.18.0.2:40202", "198.18.1.1:80", "198.18.10.2:8080");
    let mut tables = tables_once();
    tables.settings.tcp_new_ticks = 100;
    // The client of an established flow dies without a word, comes back, and calls the backend itself.
    for (now, frame, reason) in [
        (1000, tcp(client, vip, "S"), Reason::Forwarded),
        (1001, tcp(backend, client, "SA"), Reason::Replied),
        (1002, tcp(client, vip, "A"), Reason::Forwarded),
        (1003, tcp(backend, client, "A"), Reason::Replied),
        // The ACK was lost: the backend says it again.
        (1100, tcp(backend, client, "SA"), Reason::Replied),
        (1101, tcp(backend, client, "SA"), Reason::StaleReply),
        (1101, tcp(backend, client, "A"), Reason::NoListener),
        (1102, tcp(client, vip, "S"), Reason::Forwarded),
        (1103, tcp(backend, client, "SA"), Reason::Replied),
    ] {
        let mut bytes = frame.build();
        let before = bytes.clone();
        let mut packet = SlicePacket { bytes: &mut bytes, ingress: UPLINK };
        assert_eq!(process(&mut packet, &tables, now).reason, reason, "{now}: {frame:?}");
        let goes = matches!(reason, Reason::Forwarded | Reason::Replied);
        assert_eq!(bytes == before, !goes, "{now}: {frame:?}");
    }
}

#[test]
fn packets_of_a_flow_without_an_entry_find_the_same_backend() {
    // Whether a flood is on, and which packet of a connection comes first.
    for (pressed, first) in [(true, "S"), (false, "A"), (false, "FA"), (true, "A")] {
        for policy in [select::TURN, select::RANDOM, select::SAMPLE_FOUR, select::SCAN_LEAST] {
            let mut tables = tables_once();
            let spare = Backend { address: address("198.18.10.9"), ..tables.backends[&1] };
            tables.backends.insert(31, spare);
            let scanned = policy == select::SCAN_LEAST;
            tables.pages.insert(1, if scanned { vec![1, 1, 31, 1] } else { vec![1, 31] });
            for service in tables.listens.values_mut().filter(|service| service.id == 1) {
                (service.select, service.table_len) = (policy, 2);
                service.flags = service_flag::AFFINITY;
                service.affinity_ticks = if pressed && first == "S" { 1000 } else { 0 };
            }
            tables.settings.pressure = 10;
            tables.gates.borrow_mut()[0].level = if pressed { 11 } else { 0 };
            tables.gates.borrow_mut()[0].since = 1000;
            let mut chosen = std::collections::BTreeSet::new();
            for host in 2..42 {
                let client = format!("198.18.0.{host}:41000");
                let backends = [first, "A", "A"].map(|flags| {
                    tables.conns.borrow_mut().clear();
                    if flags == "S" {
                        tables.affinities.borrow_mut().clear();
                    }
                    let mut frame = tcp(&client, "198.18.1.1:80", flags).build();
                    assert_eq!(run(&tables, &mut frame).reason, Reason::Forwarded);
                    if flags == "S" {
                        assert!(tables.affinities.borrow().is_empty(), "a flood is remembered");
                    }
                    destination(&frame)[3]
                });
                let case = format!("{pressed} {first} {policy} {client}");
                assert_eq!([backends[0]; 3], backends, "{case}");
                chosen.insert(backends[0]);
            }
            assert_eq!(chosen.len(), 2, "{pressed} {first} {policy}");
        }
    }
}

/// The destination of an IPv4 frame.
fn destination(frame: &[u8]) -> [u8; 4] {
    frame[30..34].try_into().unwrap()
}

#[test]
fn a_backend_that_fails_its_probes_keeps_connections_and_loses_datagrams() {
    const SPARE: u32 = 30;
    let mut tables = tables_once();
    let (client, old, new) = ("198.18.0.2:40100", [198, 18, 10, 2], [198, 18, 10, 9]);
    let packets = || {
        let datagram = udp(client, "198.18.1.1:53").build();
        [
            tcp(client, "198.18.1.1:80", "S").build(),
            tcp(client, "198.18.1.1:80", "A").build(),
            datagram,
        ]
    };
    for mut packet in packets() {
        assert_eq!(run(&tables, &mut packet).reason, Reason::Forwarded);
        assert_eq!(destination(&packet), old);
    }
    for (service, backend) in [(1, 1), (3, 3)] {
        let spare = SPARE + backend;
        let copy = tables.backends[&backend];
        tables.backends.insert(spare, Backend { address: address("198.18.10.9"), ..copy });
        tables.backends.insert(backend, Backend { state: backend_state::DOWN, ..copy });
        tables.pages.insert(service, vec![spare]);
    }
    let [_, mut data, mut datagram] = packets();
    for (packet, goes_to) in [(&mut data, old), (&mut datagram, new)] {
        assert_eq!(run(&tables, packet).reason, Reason::Forwarded);
        assert_eq!(destination(packet), goes_to);
    }
}

/// A world whose flow from this client has lost its backend.
fn bereft(client: &str) -> MemoryTables {
    let mut tables = tables_once();
    for flags in ["S", "A"] {
        let mut packet = tcp(client, "198.18.1.1:80", flags).build();
        assert_eq!(run(&tables, &mut packet).reason, Reason::Forwarded);
    }
    tables.backends.get_mut(&1).unwrap().state = backend_state::ABSENT;
    tables
}

#[test]
fn who_goes_on_with_a_backend_that_is_gone_is_told() {
    let client = "198.18.0.2:40200";
    let to = |flags| tcp(client, "198.18.1.1:80", flags);
    for frame in [to("A"), to("A").payload(b"more"), to("FA"), to("A").options()] {
        let tables = bereft(client);
        let mut bytes = frame.build();
        let verdict = run(&tables, &mut bytes);
        assert_eq!((verdict.reason, verdict.action), (Reason::BackendGone, Action::Transmit));
        if !frame.options {
            // The sequence number is the one that the client waits for.
            assert_eq!(bytes, reset(&frame, 77, None), "{frame:?}");
        }
        // The flow has ended, and nobody else serves: the client is told again.
        let again = run(&tables, &mut frame.build());
        assert_eq!(
            (again.reason, again.action),
            (Reason::NoBackend, Action::Transmit),
            "{frame:?}"
        );
    }
}

#[test]
fn resets_are_not_answered_and_nothing_is_where_nobody_wants_it() {
    let client = "198.18.0.2:40200";
    let (data, over) =
        (tcp(client, "198.18.1.1:80", "A"), tcp(client, "198.18.1.1:80", "RA").build());
    let silent = || {
        let mut tables = bereft(client);
        tables.settings.flags &= !settings_flag::RESETS;
        tables
    };
    let nobody = tcp(client, "198.18.1.1:81", "S").build();
    let datagram = udp(client, "198.18.1.1:54").build();
    for (tables, before, reason) in [
        (bereft(client), over, Reason::BackendGone),
        (silent(), data.build(), Reason::BackendGone),
        (silent(), nobody, Reason::NoBackend),
        (silent(), datagram, Reason::NoBackend),
    ] {
        let mut after = before.clone();
        let verdict = run(&tables, &mut after);
        assert_eq!((verdict.reason, verdict.action, after), (reason, Action::Drop, before));
    }
}

#[test]
fn datagrams_for_nobody_are_answered_at_a_rate() {
    // Whether a datagram is answered so many milliseconds after the one before.
    let answered = |tables: &MemoryTables, source: String, vip: &str, pause_ms: u64| {
        tables.clock_ns.set(tables.clock_ns.get() + pause_ms * 1_000_000);
        let verdict = run(tables, &mut udp(&source, vip).build());
        assert_eq!(verdict.reason, Reason::NoBackend);
        verdict.action == Action::Transmit
    };
    for (vip, of_one, of_many) in [
        ("198.18.1.1:54", "198.18.7.7:1", "198.18.X.Y:1"),
        // A host has many addresses.
        ("[fd00:18:1::1]:54", "[fd00:18:7::Y]:1", "[fd00:18:X:Y::1]:1"),
    ] {
        let tables = tables_once();
        tables.clock_ns.set(1 << 40);
        let name = |of: &str, n: u64| {
            of.replace('X', &(n / 250).to_string()).replace('Y', &(n % 250).to_string())
        };
        let count = |tries: u64, of: &str, pause_ms: u64| {
            let ok = |n: &u64| answered(&tables, name(of, *n), vip, pause_ms);
            (0..tries).filter(ok).count()
        };
        for (what, tries, of, pause_ms, expected) in [
            ("a burst of one source, and the one that is always there", 100, of_one, 0, 11),
            ("ten a second", 1000, of_one, 1, 10),
            ("others are told meanwhile", 40, of_many, 0, 40),
            ("what is left of what all of them have", 1000, of_many, 0, 10),
            ("a thousand a second", 2000, of_many, 1, 2000),
            ("a silence", 1, of_many, 60_000, 1),
            ("and no more than a burst", 1000, of_many, 0, 50),
        ] {
            assert_eq!(count(tries, of, pause_ms), expected, "{vip}: {what}");
        }
    }
}

#[test]
fn datagrams_for_nobody_are_answered_from_tagged_links() {
    let tables = tables_once();
    for row in tagged() {
        let mut bytes = row.input.clone();
        let Verdict { reason, action, ifindex, .. } = run(&tables, &mut bytes);
        compare("host", &row, &Expected { reason, action, ifindex, bytes });
    }
}

#[test]
fn fragments_of_a_packet_are_remembered_for_thirty_seconds() {
    let frame = udp("198.18.0.2:40300", "198.18.1.1:53").payload(b"longer than the first fragment");
    let [mut first, later] = fragments(&frame, 5);
    let tables = tables_once();
    let at = |bytes: &mut Vec<u8>, now| {
        process(&mut SlicePacket { bytes, ingress: UPLINK }, &tables, now).reason
    };
    let hertz = tables.settings.ticks_per_second;
    assert_eq!(at(&mut first, 1000), Reason::Forwarded);
    assert_eq!(at(&mut later.clone(), 1000 + 30 * hertz), Reason::Forwarded);
    assert_eq!(at(&mut later.clone(), 1001 + 30 * hertz), Reason::Fragment);
    // A flow that is gone is not opened by the rest of a packet.
    tables.conns.borrow_mut().clear();
    assert_eq!(at(&mut later.clone(), 1000), Reason::Fragment);
    assert!(tables.conns.borrow().is_empty());
}

#[test]
fn turns_of_one_family_are_none_of_the_others() {
    let mut tables = tables_once();
    let spare = Backend { address: address("198.18.10.9"), ..tables.backends[&1] };
    tables.backends.insert(31, spare);
    tables.pages.insert(1, vec![1, 31]);
    let web = |listen: &ListenKey| listen.protocol == 6 && listen.port == 80_u16.to_be();
    for (listen, service) in &mut tables.listens {
        if web(listen) && [1, 2].contains(&service.id) {
            // One service for both families; each has its own table.
            (service.id, service.select) = (1, select::TURN);
            service.table_len = if listen.address.is_v4() { 2 } else { 1 };
        }
    }
    let mut turns = Vec::new();
    for port in 41000..41004 {
        let mut v6 = tcp(&format!("[fd00:18::2]:{port}"), "[fd00:18:1::1]:80", "S").build();
        assert_eq!(run(&tables, &mut v6).reason, Reason::Forwarded);
        let mut v4 = tcp(&format!("198.18.0.2:{port}"), "198.18.1.1:80", "S").build();
        assert_eq!(run(&tables, &mut v4).reason, Reason::Forwarded);
        turns.push(destination(&v4)[3]);
    }
    assert_eq!(turns, [2, 9, 2, 9]);
}

#[test]
fn no_truncation_of_any_row_changes_anything_or_panics() {
    let tables = tables_once();
    for row in rows() {
        // Without its last header byte a frame is no TCP or UDP any more.
        for length in 0..row.input.len().min(14 + 20 + 7) {
            let mut bytes = row.input[..length].to_vec();
            let before = bytes.clone();
            run(&tables, &mut bytes);
            assert_eq!(bytes, before, "{}: {length} bytes", row.description);
        }
    }
}

fn tables_once() -> MemoryTables {
    tables(World::new())
}

mod properties {
    use etherparse::SlicedPacket;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_end_with_a_reason(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let before = bytes.clone();
            let verdict = run(&tables_once(), &mut bytes);
            prop_assert_eq!(bytes, before);
            prop_assert!(Reason::ALL.contains(&verdict.reason));
        }

        #[test]
        fn one_wrong_byte_never_panics(at in 0_usize..60, value: u8, row in 0_usize..40) {
            let rows = rows();
            let mut bytes = rows[row % rows.len()].input.clone();
            let at = at % bytes.len();
            bytes[at] = value;
            run(&tables_once(), &mut bytes);
        }

        #[test]
        fn checksums_verify_from_scratch_and_the_way_back_is_the_inverse(
            port in 1024_u16..60000,
            host in 1_u8..250,
            is_udp: bool,
            v6: bool,
        ) {
            let tables = tables_once();
            let (client, vip, backend) = match (v6, is_udp) {
                (false, false) => (format!("198.18.0.{host}:{port}"), "198.18.1.1:80", "198.18.10.2:8080"),
                (false, true) => (format!("198.18.0.{host}:{port}"), "198.18.1.1:53", "198.18.10.2:5353"),
                (true, false) => (format!("[fd00:18::{host:x}]:{port}"), "[fd00:18:1::1]:80", "[fd00:18:10::2]:8080"),
                (true, true) => (format!("[fd00:18::{host:x}]:{port}"), "[fd00:18:1::1]:53", "[fd00:18:10::2]:5353"),
            };
            let build = |from: &str, to: &str, flags: &'static str| if is_udp { udp(from, to) } else { tcp(from, to, flags) };
            let mut forth = build(&client, vip, "S").payload(b"payload").build();
            prop_assert_eq!(run(&tables, &mut forth).reason, Reason::Forwarded);
            check_sums(&forth);
            let mut back = build(backend, &client, "SA").payload(b"payload").build();
            prop_assert_eq!(run(&tables, &mut back).reason, Reason::Replied);
            check_sums(&back);
            let mut direct = build(vip, &client, "SA").payload(b"payload").hops(63).build();
            direct[..12].copy_from_slice(&back[..12]);
            prop_assert_eq!(back, direct);
        }
    }

    /// Checksums as an independent parser computes them.
    fn check_sums(frame: &[u8]) {
        let packet = SlicedPacket::from_ethernet(frame).unwrap();
        let transport = packet.transport.unwrap();
        let net = packet.net.unwrap();
        let (expected, actual) = match (&net, &transport) {
            (etherparse::NetSlice::Ipv4(ip), etherparse::TransportSlice::Tcp(tcp)) => {
                let header = ip.header().to_header();
                assert_eq!(header.calc_header_checksum(), header.header_checksum);
                let sum = tcp.to_header().calc_checksum_ipv4(&header, tcp.payload()).unwrap();
                (sum, tcp.checksum())
            }
            (etherparse::NetSlice::Ipv4(ip), etherparse::TransportSlice::Udp(udp)) => {
                let header = ip.header().to_header();
                assert_eq!(header.calc_header_checksum(), header.header_checksum);
                let sum = udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap();
                (sum, udp.checksum())
            }
            (etherparse::NetSlice::Ipv6(ip), etherparse::TransportSlice::Tcp(tcp)) => {
                let header = ip.header().to_header();
                let sum = tcp.to_header().calc_checksum_ipv6(&header, tcp.payload()).unwrap();
                (sum, tcp.checksum())
            }
            (etherparse::NetSlice::Ipv6(ip), etherparse::TransportSlice::Udp(udp)) => {
                let header = ip.header().to_header();
                let sum = udp.to_header().calc_checksum_ipv6(&header, udp.payload()).unwrap();
                (sum, udp.checksum())
            }
            _ => panic!("neither TCP nor UDP"),
        };
        assert_eq!(expected, actual);
    }
}
