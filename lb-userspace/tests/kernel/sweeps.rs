//! What the controller's sweep takes away: flows that were idle for too long, each by how far it had come, and
//! those of a backend that is another one by now.

use lb_common::abi::{backend::backend_state, settings::Settings};
use lb_userspace::{
    dataplane::{Dataplane, testrun::Mode},
    maps::LbMaps as _,
};

use crate::{
    fill, load,
    table::{
        frame::{Frame, tcp, udp},
        world::World,
    },
};

/// A unit of idle limits, in ticks: no test takes as long.
const UNIT: u32 = 100_000;

/// A limit of its own for each state.
fn limits(settings: Settings) -> Settings {
    Settings {
        tcp_new_ticks: 2 * UNIT,
        tcp_established_ticks: 12 * UNIT,
        tcp_half_closed_ticks: 6 * UNIT,
        tcp_closed_ticks: UNIT,
        udp_new_ticks: 4 * UNIT,
        udp_established_ticks: 8 * UNIT,
        ..settings
    }
}

/// Flows, the limit of each in units, and their entries.
fn flows() -> Vec<(&'static str, Vec<Frame>, u32, u64)> {
    let (client, vip, backend) = ("198.18.0.2:40000", "198.18.1.1:80", "198.18.10.2:8080");
    let to = |flags| tcp(client, vip, flags);
    let from = |flags| tcp(backend, client, flags);
    let opened = vec![to("S"), from("SA"), to("A")];
    let and = |more: &[Frame]| [&opened, more].concat();
    let (client, vip, backend) = ("198.18.0.2:40001", "198.18.1.1:53", "198.18.10.2:5353");
    let (ask, answer) = (udp(client, vip), udp(backend, client));
    let v6 = |flags| tcp("[fd00:18::2]:40000", "[fd00:18:1::1]:80", flags);
    vec![
        ("a SYN", vec![to("S")], 2, 1),
        ("an answered SYN", vec![to("S"), from("SA")], 2, 1),
        ("an open connection", opened.clone(), 12, 2),
        ("one that its client has ended", and(&[to("FA")]), 6, 2),
        ("one that its backend has ended", and(&[from("FA")]), 6, 2),
        ("one that both have ended", and(&[to("FA"), from("FA")]), 1, 2),
        ("one that is reset", and(&[from("R")]), 1, 2),
        ("one datagram", vec![ask.clone()], 4, 1),
        ("datagrams that nobody answers", vec![ask.clone(), ask.clone()], 4, 2),
        ("datagrams with an answer", vec![ask.clone(), ask.clone(), answer], 8, 2),
        ("v6: an open connection", vec![v6("S"), v6("A")], 12, 2),
    ]
}

fn opened(frames: &[Frame]) -> (Dataplane, u32) {
    let mut dataplane = load();
    fill(&mut dataplane, World::new());
    for frame in frames {
        dataplane.test_run(Mode::Tc, &frame.build()).unwrap();
    }
    let now = dataplane.ticks().unwrap() & u64::from(u32::MAX);
    (dataplane, now.try_into().unwrap())
}

#[test]
fn flows_are_swept_by_how_far_they_have_come() {
    for (what, frames, limit, entries) in flows() {
        let (mut dataplane, now) = opened(&frames);
        let mut observed = dataplane.maps.snapshot().unwrap();
        observed.settings = limits(observed.settings);
        // Half a unit before and behind its limit.
        for (halves, expected) in [(0, 0), (limit * 2 - 1, 0), (limit * 2 + 1, entries), (99, 0)] {
            let later = now.wrapping_add(halves * (UNIT / 2));
            let removed = dataplane.sweep(&observed, later).unwrap();
            assert_eq!(removed, expected, "{what}, after {halves} halves");
        }
    }
}

#[test]
fn flows_of_what_was_a_backend_are_swept() {
    for (what, frames, _, entries) in flows() {
        let (mut dataplane, now) = opened(&frames);
        let observed = dataplane.maps.snapshot().unwrap();
        assert_eq!(dataplane.sweep(&observed, now).unwrap(), 0, "{what}");
        let mut drained = observed.clone();
        for backend in drained.backends.values_mut() {
            backend.state = backend_state::CLOSED;
        }
        assert_eq!(dataplane.sweep(&drained, now).unwrap(), 0, "{what}: drained");
        let mut anew = observed.clone();
        for backend in anew.backends.values_mut() {
            backend.generation += 1;
        }
        assert_eq!(dataplane.sweep(&anew, now).unwrap(), entries, "{what}: another backend");
        assert_eq!(dataplane.sweep(&anew, now).unwrap(), 0, "{what}: once");
    }
}
