//! The programs in the kernel against the model: what `lb-common/tests/differential.rs` does with the
//! host's tables, where time stands still and all packets come by one link.
//!
//! `WEIR_MODEL_KERNEL_PACKETS` says how many packets are tried, `WEIR_MODEL_SEED` with which seed.

use lb_common::pipeline::verdict::Reason;
use lb_userspace::{
    dataplane::{
        Dataplane,
        testrun::{Mode, Outcome as Run},
    },
    maps::{LbMaps as _, Prefix, Write},
    model::Limits,
};

use crate::{
    load_with,
    model::{
        Fate, Outcome,
        balancer::{Arrival, Balancer, Clock},
        config::{Config, Way},
        frame,
        tables::world,
        traffic::{Event, Source, beginning},
    },
};

/// The loopback, which test runs come by.
const LINK: u32 = 1;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Fills the maps, and takes away what the configuration before had.
fn write(dataplane: &mut Dataplane, config: &Config) {
    let before = dataplane.maps.snapshot().unwrap();
    let mut world = world(config);
    // What is remembered for seconds outlasts a long run on any kernel.
    world.settings.ticks_per_second = 1 << 12;
    let mut writes = Vec::new();
    let gone = before.listens.keys().filter(|key| !world.listens.contains_key(key));
    writes.extend(gone.map(|key| Write::RemoveListen(*key)));
    let gone = before.ranges.keys().filter(|at| !world.ranges.contains_key(&(at.bits, at.key)));
    writes.extend(gone.map(|at| Write::RemoveRange(*at)));
    let prefix = |(bits, key)| Prefix { bits, key };
    let sources: std::collections::BTreeSet<_> =
        world.sources.iter().copied().map(prefix).collect();
    writes.extend(before.sources.difference(&sources).map(|at| Write::RemoveSource(*at)));
    for write in &writes {
        dataplane.maps.write(write).unwrap();
    }
    crate::fill(dataplane, world);
}

/// What the kernel was told. Both redirects look alike to it, and TC has no other way out.
fn outcome(mode: Mode, run: Run) -> Outcome {
    let fate = match (mode, run.returned) {
        (Mode::Xdp, 1) | (Mode::Tc, 2) => Fate::Drop,
        (Mode::Xdp, 2) | (Mode::Tc, -1) => Fate::Pass,
        (Mode::Xdp, 3) => Fate::Return,
        (Mode::Xdp, 4) | (Mode::Tc, 7) => Fate::Link(run.trace.ifindex),
        other => panic!("the kernel was told {other:?}"),
    };
    let reason = Reason::from_number(run.trace.reason).unwrap().name();
    let (service, backend) = (run.trace.service, run.trace.backend);
    Outcome { reason, fate, service, backend, bytes: run.bytes }
}

/// A fate as the kernel tells it.
fn told(mode: Mode, fate: Fate) -> Fate {
    match fate {
        Fate::Inside(link) => Fate::Link(link),
        Fate::Return if mode == Mode::Tc => Fate::Link(LINK),
        Fate::Pass | Fate::Drop | Fate::Return | Fate::Link(_) => fate,
    }
}

/// What needs a controller is left out: nothing beats in this test, and where a backend becomes another
/// one its counters begin anew, which is for the sweep to set right.
fn alone(mut config: Config) -> Config {
    config.heartbeat = false;
    for backend in config.backends.values_mut() {
        backend.generation = 1;
    }
    for service in config.services.values_mut() {
        service.affinity = service.affinity.map(|_| 1 << 20);
    }
    // In TC the kernel makes no room behind a tag in the frame, where it never is but in test runs.
    let wrapped = beginning(true).services.into_values().filter(|service| service.tunnel.is_some());
    for (id, _) in wrapped.flat_map(|service| service.backends) {
        let way = &mut config.backends.get_mut(&id).unwrap().way;
        if matches!(way, Way::Link(LINK) | Way::Inside(LINK)) {
            *way = Way::Link(9);
        }
    }
    config
}

/// Whether a test run takes such a frame: none without something behind the link layer, and as an
/// skb none that ends before the addresses of what it says it is.
fn takes(mode: Mode, frame: &[u8]) -> bool {
    let least = match (mode, frame.get(12..14)) {
        (Mode::Tc, Some([0x08, 0x00])) => 34,
        (Mode::Tc, Some([0x86, 0xdd])) => 54,
        _ => 15,
    };
    frame.len() >= least
}

fn run(mode: Mode) {
    let packets = number("WEIR_MODEL_KERNEL_PACKETS", 10_000);
    let seed = number("WEIR_MODEL_SEED", 1);
    let config = alone(beginning(true));
    let mut dataplane = load_with(Limits { conns: 1 << 18, embryos: 1 << 16, ..Limits::default() });
    write(&mut dataplane, &config);
    let (mut model, mut source) = (Balancer::new(config.clone()), Source::new(seed, config));
    let mut done = 0;
    while done < packets {
        let at = format!("{mode:?}, WEIR_MODEL_SEED={seed}, packet {done}");
        match source.next() {
            Event::Time(_) => {}
            Event::Change(config) => {
                let config = alone(*config);
                write(&mut dataplane, &config);
                model.reconfigure(config);
            }
            Event::Frame(frame, _) if !takes(mode, &frame) || model.cannot_tell(&frame) => {}
            Event::Frame(frame, _) => {
                one(mode, &mut dataplane, (&mut model, &mut source), &frame, &at);
                done += 1;
                if done % 16 == 0 {
                    compare_loads(mode, &dataplane, &model, &at);
                }
            }
        }
    }
    compare_loads(mode, &dataplane, &model, "at the end");
}

fn compare_loads(mode: Mode, dataplane: &Dataplane, model: &Balancer, at: &str) {
    let ids: Vec<u32> = model.config.backends.keys().copied().collect();
    let readings = dataplane.readings(ids.iter().copied()).unwrap();
    for id in ids {
        let load = readings[&id].load;
        let expected = (model.flows_of(id), model.requests_of(id));
        assert_eq!((load.flows, load.requests), expected, "{mode:?}: {at}: load of backend {id}");
    }
}

fn one(
    mode: Mode,
    dataplane: &mut Dataplane,
    (model, source): (&mut Balancer, &mut Source),
    input: &[u8],
    at: &str,
) {
    let actual = outcome(mode, dataplane.test_run(mode, input).unwrap());
    // The kernel's clock runs: whether there was a token is its to say.
    let clock = Clock::Told(matches!(actual.fate, Fate::Return | Fate::Link(LINK)));
    let arrival = Arrival { bytes: input, link: LINK, now: 0, micros: 0, clock };
    let mut expected = model.take(&arrival, &actual).unwrap_or_else(|why| panic!("{at}: {why}"));
    expected.fate = told(mode, expected.fate);
    // A message that could not be made has cut its packet, which is dropped.
    if mode == Mode::Tc && actual.fate == Fate::Drop {
        expected.bytes.clone_from(&actual.bytes);
    }
    if let Err(why) = frame::agree(input, &expected, &actual) {
        panic!("{at}: {why}\nframe {input:02x?}\nmodel {expected:02x?}\nkernel {actual:02x?}");
    }
    if actual.reason == "forwarded" {
        source.delivered(&actual.bytes);
    }
}

#[test]
fn xdp_does_what_the_model_says() {
    run(Mode::Xdp);
}

#[test]
fn tc_does_what_the_model_says() {
    run(Mode::Tc);
}
