//! Any frames, one after the other, through the pipeline: nothing is read or written beside them,
//! and every one of them ends for a named reason.

#![no_main]

#[path = "../../tests/table/world.rs"]
mod world;

use std::{collections::BTreeSet, sync::OnceLock};

use lb_common::{
    packet::SlicePacket,
    pipeline::{process, verdict::Action},
    tables::MemoryTables,
};
use libfuzzer_sys::fuzz_target;
use world::{UPLINK, World};

/// Longer frames have nothing that shorter ones have not.
const FRAME_MAX: usize = 512;

// Records of how long after the last frame (as a power of two), length, and frame.
fuzz_target!(|input: &[u8]| {
    let tables = tables();
    let (mut rest, mut now) = (input, 1000_u32);
    while let [wait, high, low, frame @ ..] = rest {
        now = now.wrapping_add((1 << (wait % 24)) - 1);
        let length = usize::from(u16::from_be_bytes([*high, *low])) % FRAME_MAX;
        let (frame, others) = frame.split_at(length.min(frame.len()));
        run(&tables, frame, now);
        rest = others;
    }
});

fn run(tables: &MemoryTables, frame: &[u8], now: u32) {
    // A heap buffer of exactly this size: whatever is beside it belongs to nobody.
    let mut bytes = frame.to_vec();
    let verdict = process(&mut SlicePacket { bytes: &mut bytes, ingress: UPLINK }, tables, now);
    match verdict.action {
        Action::Pass | Action::Transmit | Action::Redirect | Action::RedirectPeer => {}
        Action::Drop => assert_eq!(bytes, frame, "a dropped frame is not written: {verdict:?}"),
        Action::Track
        | Action::Open
        | Action::Unusual
        | Action::Icmp
        | Action::Refuse
        | Action::Limit
        | Action::Ping
        | Action::Settle
        | Action::Encap
        | Action::TooBig
        | Action::Unreachable => panic!("not decided: {verdict:?}"),
    }
}

/// The world of the table of packets.
fn tables() -> MemoryTables {
    static PORTS: OnceLock<[BTreeSet<(u8, u16)>; 2]> = OnceLock::new();
    let [service_ports, backend_ports] = PORTS.get_or_init(ports).clone();
    let world = World::new();
    let mut tables = MemoryTables { service_ports, backend_ports, ..MemoryTables::default() };
    tables.settings = world.settings;
    tables.listens = world.listens;
    tables.ranges = world.ranges;
    tables.sources = world.sources;
    tables.pages = world.pages.into_iter().map(|(n, page)| (n, page.slots.0.to_vec())).collect();
    tables.backends = world.backends;
    tables
}

/// The ports of services and of backends, each with its protocol.
fn ports() -> [BTreeSet<(u8, u16)>; 2] {
    let mut ports = [BTreeSet::new(), BTreeSet::new()];
    for (set, protocol) in World::new().ports.iter().zip([6, 17]) {
        for (words, ports) in [&set.services, &set.backends].into_iter().zip(&mut ports) {
            let is_set = |port: &u16| words[usize::from(*port) / 64] >> (port % 64) & 1 == 1;
            ports.extend((0..=u16::MAX).filter(is_set).map(|port| (protocol, port)));
        }
    }
    ports
}
