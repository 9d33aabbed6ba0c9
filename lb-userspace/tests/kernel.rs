//! The programs in the kernel: the verifier takes them, and every packet of the table that the
//! host's tables know ends alike in XDP and in TC, byte for byte; and so do random ones that the model
//! knows.

#![allow(clippy::panic, clippy::print_stdout, clippy::unwrap_used, reason = "a test may")]

#[path = "kernel/against_model.rs"]
mod against_model;
#[path = "kernel/million.rs"]
mod million;
#[path = "../../lb-common/tests/model/mod.rs"]
mod model;
#[path = "kernel/sweeps.rs"]
mod sweeps;
#[path = "../../lb-common/tests/table/mod.rs"]
mod table;
#[path = "kernel/writes.rs"]
mod writes;

use std::time::Instant;

use lb_common::{
    abi::service::ListenKey,
    pipeline::verdict::{Action, Reason},
};
use lb_userspace::{
    dataplane::{
        Dataplane, LoadOptions,
        testrun::{Mode, Outcome},
    },
    maps::{LbMaps as _, Prefix, Write},
    model::Limits,
};
use table::{
    Expected, Row, compare,
    frame::{tcp, udp},
    nobody::tagged,
    rows::rows,
    turns::{Known, stories},
    world::{World, address},
};

/// Verified instructions that a program may cost.
const VERIFIED_MAX: u32 = 100_000;
/// Bytes of machine code a program: what an instruction cache has room for beside the rest.
const JITED_MAX: u32 = 12 << 10;

fn load() -> Dataplane {
    load_with(Limits { conns: 4096, embryos: 8192, ..Limits::default() })
}

fn load_with(limits: Limits) -> Dataplane {
    Dataplane::load(&LoadOptions { limits, bpffs: None, trace: true }).unwrap()
}

fn fill(dataplane: &mut Dataplane, world: World) {
    let mut writes = vec![Write::Settings(world.settings)];
    writes.extend((0..).zip(world.ports).map(|(index, set)| Write::Ports { index, set }));
    writes.extend(world.backends.into_iter().map(|(id, value)| Write::Backend { id, value }));
    writes.extend(world.pages.into_iter().map(|(index, page)| Write::Page { index, page }));
    writes.extend(world.listens.into_iter().map(|(key, service)| Write::Listen(key, service)));
    let ranges = world.ranges.into_iter();
    writes.extend(ranges.map(|((bits, key), service)| Write::Range(Prefix { bits, key }, service)));
    let sources = world.sources.into_iter();
    writes.extend(sources.map(|(bits, key)| Write::Source(Prefix { bits, key })));
    for write in &writes {
        dataplane.maps.write(write).unwrap();
    }
}

/// What the kernel was told, in the pipeline's words; both redirects look alike to the kernel.
fn action(mode: Mode, row: &Row, outcome: &Outcome) -> Action {
    let expected = row.expected.action;
    match (mode, outcome.returned) {
        (Mode::Xdp, 1) | (Mode::Tc, 2) => Action::Drop,
        (Mode::Xdp, 2) | (Mode::Tc, -1) => Action::Pass,
        (Mode::Xdp, 3) => Action::Transmit,
        (Mode::Xdp, 4) if expected != Action::Transmit => expected,
        (Mode::Tc, 7) => expected,
        other => panic!("{}: the kernel was told {other:?}", row.description),
    }
}

fn run_table(mode: Mode, rows: &[Row]) {
    let mut dataplane = load();
    fill(&mut dataplane, World::new());
    for row in rows {
        let outcome = dataplane.test_run(mode, &row.input).unwrap();
        let actual = Expected {
            reason: Reason::from_number(outcome.trace.reason).unwrap(),
            action: action(mode, row, &outcome),
            ifindex: outcome.trace.ifindex,
            bytes: outcome.bytes.clone(),
        };
        compare(&format!("{mode:?}"), row, &actual);
    }
}

#[test]
fn every_row_of_the_table_through_xdp() {
    run_table(Mode::Xdp, &rows());
    run_table(Mode::Xdp, &tagged());
}

#[test]
fn every_row_of_the_table_through_tc() {
    run_table(Mode::Tc, &rows());
}

#[test]
fn datagrams_for_nobody_are_answered_at_a_rate() {
    for mode in [Mode::Xdp, Mode::Tc] {
        let mut dataplane = load();
        fill(&mut dataplane, World::new());
        let begun = Instant::now();
        let datagram = udp("198.18.0.2:40000", "198.18.1.1:54").build();
        let mut answered = 0;
        for _ in 0..500 {
            let outcome = dataplane.test_run(mode, &datagram).unwrap();
            assert_eq!(outcome.trace.reason, Reason::NoBackend as u32);
            answered += u128::from(outcome.bytes != datagram);
        }
        // A burst, and ten a second.
        let most = 12 + begun.elapsed().as_millis() / 100;
        assert!((11..=most).contains(&answered), "{mode:?}: {answered} of {most}");
    }
}

/// What the maps know of a backend.
fn known(dataplane: &Dataplane, backend: u32) -> Known {
    let readings = dataplane.readings(std::iter::once(backend)).unwrap();
    let (load, signals) = (readings[&backend].load, readings[&backend].signals);
    let sum = |histogram: &[u32]| histogram.iter().map(|count| u64::from(*count)).sum();
    Known {
        requests: load.requests,
        first_bytes: sum(&signals.first_bytes),
        handshakes: sum(&signals.handshakes),
        refused: signals.refused,
        reset: signals.reset,
        repeated: signals.repeated,
    }
}

fn run_stories(mode: Mode) {
    for story in stories() {
        let mut dataplane = load();
        fill(&mut dataplane, World::new());
        for turn in &story.turns {
            dataplane.test_run(mode, &turn.frame.build()).unwrap();
            let at = format!("{mode:?}: {}: {}", story.name, turn.description);
            assert_eq!(known(&dataplane, story.backend), turn.known, "{at}");
        }
    }
}

#[test]
fn every_turn_of_the_table_through_xdp() {
    run_stories(Mode::Xdp);
}

#[test]
fn every_turn_of_the_table_through_tc() {
    run_stories(Mode::Tc);
}

#[test]
fn the_sweep_counts_requests_again() {
    let (client, vip, backend) = ("198.18.0.2:40000", "198.18.1.3:80", "198.18.10.2:8080");
    let (mut dataplane, world) = (load(), World::new());
    fill(&mut dataplane, world);
    let observed = dataplane.maps.snapshot().unwrap();
    let steps = [
        (tcp(client, vip, "S"), 1),
        (tcp(backend, client, "SA"), 1),
        (tcp(client, vip, "A"), 0),
        (tcp(client, vip, "A").payload(b"x"), 1),
        (tcp(backend, client, "A").payload(b"y"), 0),
    ];
    for (frame, expected) in steps {
        dataplane.test_run(Mode::Tc, &frame.build()).unwrap();
        for wrong in [0, 1, 7, -1] {
            dataplane.maps.correct_load(1, wrong, wrong);
            let now = dataplane.ticks().unwrap() & u64::from(u32::MAX);
            dataplane.sweep(&observed, now.try_into().unwrap()).unwrap();
            let load = dataplane.readings(std::iter::once(1)).unwrap()[&1].load;
            assert_eq!((load.flows, load.requests), (1, expected));
        }
    }
}

#[test]
fn the_programs_stay_within_the_verifiers_budget() {
    let mut dataplane = load();
    let refused = dataplane.load_sockets();
    assert!(refused.is_empty(), "{refused:?}");
    let sizes = dataplane.program_sizes().unwrap();
    assert_eq!(sizes.len(), 42, "all but the clock");
    for size in sizes {
        println!("{}: {} verified, {} bytes of machine code", size.name, size.verified, size.jited);
        assert!(size.verified < VERIFIED_MAX, "{}: {}", size.name, size.verified);
        assert!(size.jited < JITED_MAX, "{}: {}", size.name, size.jited);
    }
}

#[test]
fn the_tables_have_room_for_as_many_as_the_limits_say() {
    let limits = Limits { backends: 40_000, services: 9_000, ..Limits::default() };
    let options = LoadOptions { limits, bpffs: None, trace: false };
    let mut dataplane = Dataplane::load(&options).unwrap();
    let [mut backend] = World::new().backends.values().take(1).copied().collect::<Vec<_>>()[..]
    else {
        panic!("no backend")
    };
    backend.generation = 3;
    let write = Write::Backend { id: limits.backends, value: backend };
    dataplane.maps.write(&write).unwrap();
    let readings = dataplane.readings(std::iter::once(limits.backends)).unwrap();
    assert_eq!(readings[&limits.backends].load.flows, 0);
    assert!(
        dataplane.maps.write(&Write::Backend { id: limits.backends + 1, value: backend }).is_err()
    );
}

#[test]
fn entries_of_flows_take_as_much_memory_as_the_manual_says() {
    let limits = Limits { conns: 1 << 18, embryos: 1 << 15, ..Limits::default() };
    let _dataplane = load_with(limits);
    let mut seen = 0;
    for entry in std::fs::read_dir("/proc/self/fdinfo").unwrap().flatten() {
        let Ok(text) = std::fs::read_to_string(entry.path()) else { continue };
        let field = |name: &str| -> Option<u32> {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').trim().parse().ok()
        };
        // BPF_MAP_TYPE_LRU_HASH with a flow's entry as its value.
        let (Some(9), Some(64), Some(key), Some(entries), Some(bytes)) = (
            field("map_type"),
            field("value_size"),
            field("key_size"),
            field("max_entries"),
            field("memlock"),
        ) else {
            continue;
        };
        let each = f64::from(bytes) / f64::from(entries);
        println!("{entries} entries with keys of {key} bytes: {each:.1} bytes each");
        // The table has a little of its own beside.
        assert!(each.round() <= if key == 16 { 144.0 } else { 168.0 }, "{each} bytes");
        seen += 1;
    }
    assert!(seen >= 4, "{seen} tables of flows");
}

#[test]
fn what_is_written_is_read_back() {
    let mut dataplane = load();
    let world = World::new();
    let (backends, listens) = (world.backends.clone(), world.listens.clone());
    fill(&mut dataplane, world);
    let snapshot = dataplane.maps.snapshot().unwrap();
    assert_eq!(snapshot.backends, backends);
    assert_eq!(snapshot.listens, listens);
    let gone = *listens.keys().next().unwrap();
    dataplane.maps.write(&Write::RemoveListen(gone)).unwrap();
    dataplane.maps.write(&Write::RemoveListen(gone)).unwrap();
    assert!(!dataplane.maps.snapshot().unwrap().listens.contains_key(&gone));
}

#[test]
fn a_handshake_leads_back_for_as_long_as_its_service_is_there() {
    let (client, vip, backend) = ("198.18.0.2:40000", "198.18.1.1:80", "198.18.10.2:8080");
    let (syn, answer) = (tcp(client, vip, "S").build(), tcp(backend, client, "SA").build());
    let (mut dataplane, world) = (load(), World::new());
    fill(&mut dataplane, world);
    let observed = dataplane.maps.snapshot().unwrap();
    let reason = |dataplane: &mut Dataplane, packet: &[u8]| {
        let now = dataplane.ticks().unwrap() & u64::from(u32::MAX);
        dataplane.sweep(&observed, now.try_into().unwrap()).unwrap();
        Reason::from_number(dataplane.test_run(Mode::Tc, packet).unwrap().trace.reason).unwrap()
    };
    assert_eq!(reason(&mut dataplane, &answer), Reason::NoListener);
    assert_eq!(reason(&mut dataplane, &syn), Reason::Forwarded);
    assert_eq!(reason(&mut dataplane, &answer), Reason::Replied);
    let listen =
        ListenKey { address: address("198.18.1.1"), port: 80_u16.to_be(), protocol: 6, zero: 0 };
    dataplane.maps.write(&Write::RemoveListen(listen)).unwrap();
    assert_eq!(reason(&mut dataplane, &answer), Reason::NoListener);
}

#[test]
fn ticks_pass_at_a_rate_a_kernel_may_have() {
    let mut dataplane = load();
    assert!([100, 250, 300, 1000].contains(&dataplane.ticks_per_second().unwrap()));
}

#[test]
fn a_bpf_filesystem_that_is_not_mounted_is_named() {
    let options =
        LoadOptions { limits: Limits::default(), bpffs: Some("/tmp".into()), trace: false };
    let Err(error) = Dataplane::load(&options) else { panic!("loaded") };
    assert!(error.to_string().contains("mount -t bpf bpf /tmp"), "{error}");
}
