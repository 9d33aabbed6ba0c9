//! What the dataplane does when nobody tells it of capacities any more.

use std::{
    fs,
    time::{Duration, Instant},
};

use lb_userspace::{
    demo::{client::Load, server::ServerProfile, tally::LoadReport},
    lab::Topology,
    model::{Attach, Policy},
};
use nix::sys::signal::Signal;

use super::{
    process::Process,
    world::{World, eventually, plan},
};

/// How long the last capacities count: `SILENCE_MAX_S` of the pipeline.
const SILENCE_MAX: Duration = Duration::from_secs(10);

fn load(world: &World, load: Load) -> LoadReport {
    let load = Load { vips: World::vips()[..1].to_vec(), ..load };
    load.start(Some(world.lab.client())).unwrap().finish().unwrap()
}

/// Who serves a client that asks when nobody else does.
fn alone(world: &World) -> String {
    let one_by_one = Load { connections: 1, max_requests: 10, ..Load::default() };
    let report = load(world, one_by_one);
    assert_eq!(report.failures(), 0, "{report:?}");
    let most = report.per_backend.iter().max_by_key(|(_, served)| **served).unwrap();
    most.0.clone()
}

/// Of idle backends the one with the largest capacity is chosen, or, without a controller, the one
/// with the largest weight. Here they are not the same.
#[test]
fn weights_count_ten_seconds_after_the_daemon_was_killed() {
    let profile = |index: usize| {
        let service_time = Duration::from_millis([16, 8, 4][index]);
        ServerProfile { service_time, slots: 1 }
    };
    let plan = plan(Topology::Bridge);
    let world = World::serving(plan, Attach::Tc, Policy::Adaptive, profile, |_| {});
    let mut process = Process::instead(world, "off");
    process.write_config(4);
    let text = fs::read_to_string(process.path("weir.yaml")).unwrap();
    let text = text.replace("weighted-round-robin", "adaptive");
    fs::write(process.path("new.yaml"), text).unwrap();
    fs::rename(process.path("new.yaml"), process.path("weir.yaml")).unwrap();
    let adaptive = || process.weir(&["services"]).stdout;
    eventually("the policy is in force", || {
        String::from_utf8_lossy(&adaptive()).contains("adaptive")
    });
    let rate = Some(200.0);
    let duration = Duration::from_secs(15);
    load(&process.world, Load { connections: 64, rate, duration, ..Load::default() });
    assert_eq!(alone(&process.world), "b3", "the fastest");
    process.signal(Signal::SIGKILL);
    let killed = Instant::now();
    assert_eq!(alone(&process.world), "b3", "its last words count");
    assert!(killed.elapsed() < SILENCE_MAX, "too slow to tell");
    std::thread::sleep(SILENCE_MAX + Duration::from_secs(1));
    assert_eq!(alone(&process.world), "b1", "the one with the largest weight");
}
