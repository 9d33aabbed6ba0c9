//! Drain, death, allow lists, affinity: what happens to flows when things change.

use std::time::Duration;

use lb_userspace::{
    admin::{
        Request,
        report::{BackendReport, BackendState, Done, StatusReport},
    },
    demo::client::Load,
    lab::Topology,
    model::{AllDown, Attach, HealthCheck, Policy, Probe},
};

use super::world::{World, eventually, plan};

/// A load that goes on while something happens.
fn while_loaded(
    world: &World,
    keep_alive: bool,
    happens: impl FnOnce(),
) -> lb_userspace::demo::tally::LoadReport {
    let load = Load {
        vips: World::vips(),
        connections: 8,
        rate: Some(400.0),
        keep_alive,
        duration: Duration::from_secs(3),
        ..Load::default()
    };
    let run = load.start(Some(world.lab.client())).unwrap();
    let mut snapshots = run.snapshots();
    eventually("the load runs", || snapshots.has_changed().unwrap_or(true));
    snapshots.mark_unchanged();
    happens();
    run.finish().unwrap()
}

#[test]
fn a_drained_backend_keeps_its_connections_and_gets_no_new_ones() {
    let world = World::new(Topology::Bridge, Attach::Tc, Policy::RoundRobin);
    let report = while_loaded(&world, true, || {
        for index in [0, 1] {
            let name = world.backend(index).parse().unwrap();
            let _: Done = world.ask(&Request::Drain { backend: name });
        }
    });
    assert_eq!(report.failures(), 0, "{report:?}");
    let fresh = world.load(60);
    assert_eq!(fresh.failures(), 0);
    // IPv6 backends were not drained: IPv4 requests all went to the third.
    assert!(fresh.per_backend["b3"] >= 30, "{fresh:?}");
    let name = world.backend(0).parse().unwrap();
    let _: Done = world.ask(&Request::Undrain { backend: name });
    let again = world.load(60);
    assert!(again.per_backend["b1"] >= 20, "{again:?}");
}

#[test]
fn weights_change_while_requests_run_and_none_fails() {
    let world = World::new(Topology::Bridge, Attach::Tc, Policy::WeightedRoundRobin);
    let report = while_loaded(&world, false, || {
        for weight in [10, 1, 50, 0, 3] {
            let request = Request::Weight {
                service: "web".to_owned(),
                backend: world.backend(0).parse().unwrap(),
                weight: Some(weight),
            };
            let _: Done = world.ask(&request);
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    assert_eq!(report.failures(), 0, "{report:?}");
}

#[test]
fn a_backend_that_dies_is_taken_out_and_brought_back() {
    let mut world = World::with(plan(Topology::Bridge), Attach::Tc, Policy::RoundRobin, |config| {
        config.services[0].health = Some(HealthCheck {
            probe: Probe::Http { path: "/healthz".to_owned() },
            interval: Duration::from_millis(100),
            timeout: Duration::from_millis(90),
            rise: 2,
            fall: 2,
            port: None,
            all_down: AllDown::Try,
        });
    });
    let state = |world: &World, address: &str| {
        let backends: Vec<BackendReport> = world.ask(&Request::Backends);
        let found = backends.into_iter().find(|backend| backend.endpoint.contains(address));
        found.unwrap().state
    };
    assert_eq!(world.load(90).failures(), 0);
    let (v4, v6) = ("198.18.10.2", "fd00:18:10::2");
    let address = world.servers[0].address();
    drop(world.servers.drain(..2));
    eventually("b1 is down", || {
        [v4, v6].iter().all(|address| state(&world, address) == BackendState::Down)
    });
    let without = world.load(90);
    assert_eq!(without.failures(), 0, "{without:?}");
    assert!(!without.per_backend.contains_key("b1"), "{without:?}");
    let netns = &world.lab.backends()[0].netns;
    let profile = lb_userspace::demo::server::ServerProfile::default();
    let back =
        lb_userspace::demo::server::Server::start(Some(netns), address, "b1", profile).unwrap();
    eventually("b1 is up", || state(&world, v4) == BackendState::Up);
    assert!(world.load(90).per_backend.contains_key("b1"));
    drop(back);
}

#[test]
fn a_check_that_is_wrong_about_all_backends_costs_nothing() {
    let world = World::with(plan(Topology::Bridge), Attach::Tc, Policy::RoundRobin, |config| {
        config.services[0].health = Some(HealthCheck {
            // Nobody listens there.
            probe: Probe::Tcp,
            port: Some(1),
            interval: Duration::from_millis(100),
            timeout: Duration::from_millis(90),
            rise: 2,
            fall: 2,
            all_down: AllDown::Try,
        });
    });
    eventually("status says that all backends fail", || {
        let status: StatusReport = world.ask(&Request::Status);
        status.problems.iter().any(|problem| problem.contains("all are tried: web"))
    });
    let report = world.load(90);
    assert_eq!((report.answered(), report.failures()), (90, 0), "{report:?}");
    assert_eq!(report.per_backend.len(), 3, "{report:?}");
}

#[test]
fn only_allowed_sources_connect() {
    let world = World::with(plan(Topology::Bridge), Attach::Tc, Policy::RoundRobin, |config| {
        config.services[0].sources = vec!["198.18.99.0/24".parse().unwrap()];
    });
    let output = world.curl(&format!("http://{}/", lb_userspace::lab::vip_v4(1)));
    assert!(!output.status.success(), "{output:?}");
    let world = World::with(plan(Topology::Bridge), Attach::Tc, Policy::RoundRobin, |config| {
        config.services[0].sources = vec!["198.18.0.0/24".parse().unwrap()];
    });
    let output = world.curl(&format!("http://{}/", lb_userspace::lab::vip_v4(1)));
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_client_with_affinity_keeps_its_backend() {
    let world = World::with(plan(Topology::Bridge), Attach::Tc, Policy::RoundRobin, |config| {
        config.services[0].affinity = Some(Duration::from_secs(60));
    });
    let report = world.load(60);
    assert_eq!(report.failures(), 0);
    // One client address a family.
    assert!(report.per_backend.len() <= 2, "{report:?}");
}
