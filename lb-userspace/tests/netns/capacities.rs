//! Capacities found from live load.

use std::time::Duration;

use lb_userspace::{
    admin::{
        Request,
        report::{Explanation, ServiceReport},
    },
    demo::{client::Load, server::ServerProfile, tally::LoadReport},
    lab::Topology,
    model::{Attach, Policy, Protocol, Weight},
};

use super::world::{World, plan};

/// Backends of equal weights that take so many milliseconds a request, one at a time.
fn unequal(times_ms: [u64; 3]) -> World {
    let profile = |index: usize| {
        let service_time = Duration::from_millis(times_ms[index]);
        ServerProfile { service_time, slots: 1 }
    };
    World::serving(plan(Topology::Bridge), Attach::Tc, Policy::Adaptive, profile, |config| {
        for backend in &mut config.services[0].backends {
            backend.weight = Weight::DEFAULT;
        }
    })
}

/// Open-loop requests over IPv4.
fn load(world: &World, rate: f64, seconds: u64) -> LoadReport {
    let load = Load {
        vips: World::vips()[..1].to_vec(),
        connections: 64,
        rate: Some(rate),
        max_requests: 10_000,
        duration: Duration::from_secs(seconds),
        ..Load::default()
    };
    load.start(Some(world.lab.client())).unwrap().finish().unwrap()
}

/// The parts of b1, b2 and b3 in the traffic over IPv4, as the daemon means them to be.
fn shares(world: &World) -> [f64; 3] {
    let services: Vec<ServiceReport> = world.ask(&Request::Services);
    let of_ipv4 = services[0].backends.iter().filter(|it| !it.endpoint.starts_with('['));
    of_ipv4.map(|backend| backend.share).collect::<Vec<_>>().try_into().unwrap()
}

#[test]
fn the_capacities_of_unequal_backends_are_found() {
    let world = unequal([4, 8, 16]);
    let before = shares(&world);
    assert!(before.iter().all(|share| (share - 1.0 / 3.0).abs() < 1e-3), "{before:?}");
    // They are as 4 to 2 to 1. A machine that does other things meanwhile may need longer to see it.
    let found = (0..4).any(|_| {
        let report = load(&world, 250.0, 15);
        assert_eq!(report.failures(), 0, "{report:?}");
        let [fast, middle, slow] = shares(&world);
        eprintln!("shares {fast} {middle} {slow}");
        fast > middle && middle > slow && fast > 2.0 * slow
    });
    assert!(found);
    let explained = explain(&world);
    assert!(explained.contains("requests in flight for its capacity"), "{explained}");
}

#[test]
fn a_backend_that_fails_fast_gets_nothing_for_a_while() {
    let world = unequal([2, 2, 2]);
    // Its port is closed: the kernel refuses, faster than the others answer.
    let broken = &world.lab.backends()[0];
    let mut nft = broken.netns.command("nft");
    let rules = "add table ip weir; add chain ip weir in { type filter hook input priority 0; }; \
                 add rule ip weir in tcp dport 8080 reject with tcp reset";
    assert!(nft.arg(rules).status().unwrap().success());
    let report = load(&world, 100.0, 8);
    let services: Vec<ServiceReport> = world.ask(&Request::Services);
    let told = services[0].backends[0].load.as_ref().unwrap();
    assert!(told.text.contains("ejected for"), "{}", told.text);
    // A machine that does other things meanwhile may need longer to see that the others are alike.
    let found = (0..4).any(|_| {
        let [broken, others @ ..] = shares(&world);
        let found = broken == 0.0 && others.iter().all(|share| *share > 0.3);
        if !found {
            eprintln!("shares {broken} {others:?}");
            load(&world, 100.0, 8);
        }
        found
    });
    assert!(found);
    // It had its turns until it was out, and none afterwards.
    let failed = report.failures() as f64 / report.requests as f64;
    assert!(failed > 0.0 && failed < 0.34, "{report:?}");
}

fn explain(world: &World) -> String {
    let request = Request::Explain {
        protocol: Protocol::Tcp,
        source: "198.18.0.2:41000".parse().unwrap(),
        destination: World::vips()[0],
    };
    world.ask::<Explanation>(&request).text
}
