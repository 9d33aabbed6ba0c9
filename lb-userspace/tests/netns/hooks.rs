//! The hooks, and what is left on the host.

use lb_userspace::{
    admin::{
        Request,
        report::{BackendReport, StatusReport},
    },
    daemon::{self, background::Background},
    lab::{LabPlan, Topology},
    model::{Attach, Interfaces, Policy},
};

use super::world::{World, eventually, plan};

#[test]
fn remote_backends_are_reached_through_native_xdp() {
    // A veth hands redirected frames on only if its other end polls: GRO makes it.
    let plan = LabPlan { gro: true, ..plan(Topology::Remote) };
    let world = World::with(plan, Attach::Xdp, Policy::RoundRobin, |_| {});
    let status: StatusReport = world.ask(&Request::Status);
    assert!(status.attach.iter().all(|attached| attached.hook == "xdp"), "{status:?}");
    eventually("all neighbours are found", || {
        let backends: Vec<BackendReport> = world.ask(&Request::Backends);
        backends.iter().all(|backend| backend.way == "link")
    });
    let report = world.load(300);
    assert_eq!((report.answered(), report.failures()), (300, 0), "{report:?}");
}

#[test]
fn generic_xdp_reaches_remote_backends() {
    let world = World::new(Topology::Remote, Attach::XdpGeneric, Policy::RoundRobin);
    let report = world.load(300);
    assert_eq!((report.answered(), report.failures()), (300, 0), "{report:?}");
}

#[test]
fn auto_takes_tc_for_containers_and_xdp_for_machines() {
    for (topology, hook) in [(Topology::Bridge, "tc"), (Topology::Remote, "xdp")] {
        let world = World::new(topology, Attach::Auto, Policy::RoundRobin);
        let status: StatusReport = world.ask(&Request::Status);
        let uplink = status.attach.iter().find(|attached| attached.interface == "up0").unwrap();
        assert_eq!(uplink.hook, hook, "{topology:?}");
    }
}

#[test]
fn a_machine_that_does_not_answer_has_no_say_in_what_auto_takes() {
    let plan = LabPlan { gro: true, ..plan(Topology::Remote) };
    let world = World::with(plan, Attach::Auto, Policy::RoundRobin, |config| {
        let backends = &mut config.services[0].backends;
        let mut dead = backends[0];
        dead.endpoint.address = "198.18.10.99".parse().unwrap();
        backends.push(dead);
    });
    let status: StatusReport = world.ask(&Request::Status);
    let hooks: Vec<_> = status.attach.iter().map(|attached| attached.hook.as_str()).collect();
    assert_eq!(hooks, ["xdp", "xdp"], "{status:?}");
    let backends: Vec<BackendReport> = world.ask(&Request::Backends);
    let dead = backends.iter().find(|backend| backend.endpoint.contains("10.99")).unwrap();
    assert_eq!(dead.way, "stack", "{dead:?}");
}

/// What `ip` says of the programs on the balancer's interfaces.
fn programs(world: &World) -> String {
    let output = world.lab.lb().command("ip").args(["-d", "link"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| line.contains("prog/")).collect()
}

#[test]
fn nothing_is_left_on_the_interfaces() {
    let plan = LabPlan { gro: true, ..plan(Topology::Remote) };
    let mut world = World::with(plan, Attach::Xdp, Policy::RoundRobin, |_| {});
    assert!(programs(&world).contains("prog/xdp"), "{}", programs(&world));
    world.daemon.take().unwrap().finish().unwrap();
    assert_eq!(programs(&world), "");
    assert!(!world.config.admin.socket.exists());
}

#[test]
fn an_interface_that_does_not_exist_is_named_and_nothing_stays_attached() {
    let mut world = World::new(Topology::Bridge, Attach::Tc, Policy::RoundRobin);
    world.daemon.take().unwrap().finish().unwrap();
    let names = vec!["up0".to_owned(), "nowhere0".to_owned()];
    world.config.interfaces = Interfaces::Named(names);
    let options = daemon::Options { config: world.config.clone(), file: None, bpffs: None };
    let error = Background::start(world.lab.lb(), options).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("\"nowhere0\"") && text.contains("br0"), "{text}");
    assert!(!world.config.admin.socket.exists());
}

#[test]
fn two_daemons_do_not_share_a_socket() {
    let world = World::new(Topology::Bridge, Attach::Tc, Policy::RoundRobin);
    let options = daemon::Options { config: world.config.clone(), file: None, bpffs: None };
    assert!(Background::start(world.lab.lb(), options).is_err());
    let report = world.load(50);
    assert_eq!(report.failures(), 0, "the first daemon went on");
}
