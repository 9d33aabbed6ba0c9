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
fn auto_takes_tc_where_senders_leave_checksums_to_a_veth() {
    for topology in [Topology::Bridge, Topology::Remote] {
        let plan = LabPlan { checksum_offload: true, gro: true, ..plan(topology) };
        let world = World::with(plan, Attach::Auto, Policy::RoundRobin, |_| {});
        let status: StatusReport = world.ask(&Request::Status);
        let uplink = status.attach.iter().find(|attached| attached.interface == "up0").unwrap();
        assert_eq!(uplink.hook, "tc", "{topology:?}");
        let report = world.load(90);
        assert_eq!((report.answered(), report.failures()), (90, 0), "{topology:?}: {report:?}");
    }
}

#[test]
fn xdp_on_a_veth_is_said_to_lose_what_is_left_to_the_link() {
    let plan = LabPlan { gro: true, ..plan(Topology::Remote) };
    let world = World::with(plan, Attach::Xdp, Policy::RoundRobin, |_| {});
    let status: StatusReport = world.ask(&Request::Status);
    assert!(status.problems.iter().any(|problem| problem.contains("up0 is one end")), "{status:?}");
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
