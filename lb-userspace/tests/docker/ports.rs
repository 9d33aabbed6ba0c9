//! Published ports: what `-p` and `-P` and the labels mean, at the addresses of the host.

use std::{
    fs,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::process::CommandExt as _,
    path::PathBuf,
};

use lb_userspace::{
    dataplane::sockets::cgroup_root,
    lab::{LB_V4, UPLINK},
};
use nix::sys::signal::Signal;

use super::world::{World, eventually};

const ENABLE: &str = "--label=weir.enable=true";
const WEB: &str = "--label=weir.service=web";
const FAIR: &str = "--label=weir.policy=round-robin";

fn at(address: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::new(address.into(), port)
}

fn wait_published(world: &World, names: &[&str]) {
    for name in names {
        eventually(&format!("{name} is published: {}", world.log()), || {
            world.verdict(name).0 == "published"
        });
    }
}

#[test]
fn a_port_of_docker_run_is_balanced_before_docker_sees_it() {
    let world = World::new("");
    world.engine.run("server", "r1", &[ENABLE, WEB, FAIR, "-p", "8088:8080"]);
    wait_published(&world, &["r1"]);
    assert_eq!(world.service("web").0, ["198.18.0.1:8088/tcp"]);
    let report = world.load_at(at(LB_V4, 8088), 60);
    assert_eq!((report.failures(), report.from_vip), (0, 60), "{report:?}");
    assert_eq!(world.service("web").1, 60, "every flow was Weir's");

    // A replica that Docker publishes nowhere, and one at a port of its own.
    world.engine.run("server", "r2", &[ENABLE, WEB]);
    world.engine.run("server", "r3", &[ENABLE, WEB, "-p", "198.18.0.1:8090-8099:8080"]);
    wait_published(&world, &["r2", "r3"]);
    assert_eq!(world.service("web").0, ["198.18.0.1:8088/tcp", "198.18.0.1:8090/tcp"]);
    for port in [8088, 8090] {
        let report = world.load_at(at(LB_V4, port), 60);
        assert_eq!((report.failures(), report.per_backend.len()), (0, 3), "{report:?}");
    }
}

#[test]
fn replicas_publish_one_port_and_several_ports_are_several_services() {
    let world = World::new("");
    let publish = "--label=weir.publish=8088:8080, 198.18.1.1:9090:9090";
    for name in ["r1", "r2", "r3"] {
        world.engine.run("server", name, &[ENABLE, WEB, FAIR, publish, "-ePORT=8080,9090"]);
    }
    wait_published(&world, &["r1", "r2", "r3"]);
    assert_eq!(world.service("web.8080").0, ["198.18.0.1:8088/tcp"]);
    for place in [at(LB_V4, 8088), at(Ipv4Addr::new(198, 18, 1, 1), 9090)] {
        let report = world.load_at(place, 90);
        assert_eq!((report.failures(), report.per_backend.len()), (0, 3), "{report:?}");
    }
    let listing = String::from_utf8(world.weir(&["docker", "ls"]).stdout).unwrap();
    assert!(listing.contains("198.18.0.1:8088/tcp +1"), "{listing}");

    // One container in two services, by their names.
    let labels = [
        "--label=weir.services.shop.publish=8188:8080",
        "--label=weir.services.admin.listen=198.18.1.2:80",
        "--label=weir.services.admin.port=9090",
        "-ePORT=8080,9090",
    ];
    world.engine.run("server", "both", &[&[ENABLE][..], &labels].concat());
    wait_published(&world, &["both"]);
    for place in [at(LB_V4, 8188), at(Ipv4Addr::new(198, 18, 1, 2), 80)] {
        assert_eq!(world.load_at(place, 30).per_backend["both"], 30, "{place}");
    }
}

#[test]
fn an_automatic_port_outlives_containers_and_daemons() {
    let world = World::new("");
    let run = |name: &str| world.engine.run("server", name, &[ENABLE, WEB, "-P"]);
    run("r1");
    wait_published(&world, &["r1"]);
    let (listens, _) = world.service("web");
    let [listen] = &listens[..] else { panic!("{listens:?}") };
    let address: SocketAddr = listen.strip_suffix("/tcp").unwrap().parse().unwrap();
    assert_eq!(address.ip(), IpAddr::from(LB_V4));
    assert!(address.port() >= 49_153, "{address}");
    assert_eq!(world.load_at(address, 30).failures(), 0);
    let same = |world: &World| {
        wait_published(world, &["r1"]);
        assert_eq!(world.service("web").0, listens);
        assert_eq!(world.load_at(address, 30).failures(), 0);
    };
    // Docker's own port is another one each time.
    world.engine.docker(&["restart", "-t", "0", "r1"]);
    same(&world);
    world.engine.docker(&["rm", "-f", "r1"]);
    eventually("it is gone", || world.service("web").0.is_empty());
    run("r1");
    same(&world);
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        world.end(signal);
        world.start();
        same(&world);
    }
    let text = fs::read_to_string(world.path("ports.json")).unwrap();
    assert!(text.contains(&format!("\"web 8080/tcp\": {}", address.port())), "{text}");
}

#[test]
fn a_port_that_a_process_has_is_named_and_taken_when_it_is_free() {
    let world = World::new("");
    let listener = world.lab.lb().in_netns(|| std::net::TcpListener::bind("0.0.0.0:8088"));
    let listener = listener.unwrap().unwrap();
    world.engine.run("server", "r1", &[ENABLE, WEB, "--label=weir.publish=8088:8080"]);
    world.engine.run("server", "r2", &[ENABLE, "--label=weir.publish=8089:8080"]);
    wait_published(&world, &["r2"]);
    let why = "service web wants port 8088/tcp of this host, which another process has";
    assert_eq!(world.verdict("r1"), ("refused".to_owned(), why.to_owned()));
    let status = String::from_utf8(world.weir(&["status"]).stdout).unwrap();
    assert!(status.contains(&format!("container r1 refused: {why}")), "{status}");
    assert_eq!(world.load_at(at(LB_V4, 8089), 30).failures(), 0);
    drop(listener);
    wait_published(&world, &["r1"]);
    assert_eq!(world.load_at(at(LB_V4, 8088), 30).failures(), 0);
    // It is nobody else's as long as it is published.
    let bind = || world.lab.lb().in_netns(|| std::net::TcpListener::bind("0.0.0.0:8088")).unwrap();
    assert!(bind().is_err());
    world.engine.docker(&["rm", "-f", "r1"]);
    eventually("it is free", || bind().is_ok());
}

#[test]
fn the_addresses_of_the_uplink_are_followed() {
    let world = World::new("");
    world.engine.run("server", "r1", &[ENABLE, WEB, "--label=weir.publish=8088:8080"]);
    wait_published(&world, &["r1"]);
    let address = |word: &str| {
        let mut command = world.lab.lb().command("ip");
        command.args(["addr", word, "198.18.0.77/24", "dev", UPLINK]);
        assert!(command.status().unwrap().success());
    };
    let two = ["198.18.0.1:8088/tcp", "198.18.0.77:8088/tcp"];
    address("add");
    eventually("both addresses are listened on", || world.service("web").0 == two);
    assert_eq!(world.load_at(at(Ipv4Addr::new(198, 18, 0, 77), 8088), 30).from_vip, 30);
    let report = world.while_loaded_at_address(at(LB_V4, 8088), || {
        address("del");
        eventually("one address is left", || world.service("web").0 == two[..1]);
    });
    assert_eq!(report.failures(), 0, "{report:?}");
}

/// A child of the root of the cgroup2 hierarchy, which nobody else is in.
struct Cgroup(PathBuf);

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn processes_of_the_host_reach_it_on_loopback_and_nobody_else_does() {
    let world = World::new("");
    let cgroup = Cgroup(cgroup_root().unwrap().join(format!("weir-docker-{}", std::process::id())));
    fs::create_dir(&cgroup.0).unwrap();
    world.balance_cgroup(&cgroup.0);
    let local = "--label=weir.publish=127.0.0.1:8088:8080";
    world.engine.run("server", "r1", &[ENABLE, "--label=weir.service=local", local]);
    world.engine.run("server", "r2", &[ENABLE, WEB, "--label=weir.publish=8089:8080"]);
    wait_published(&world, &["r1", "r2"]);
    let status = || String::from_utf8(world.weir(&["status"]).stdout).unwrap();
    let name = cgroup.0.display().to_string();
    eventually("processes are balanced", || status().contains(&name));
    for (address, expected) in
        [("127.0.0.1:8088", "r1"), ("127.0.0.1:8089", "r2"), ("198.18.0.1:8089", "r2")]
    {
        let members = fs::File::options().write(true).open(cgroup.0.join("cgroup.procs")).unwrap();
        let program = world.path("rootfs/server");
        let mut command = world.lab.lb().command(program.to_str().unwrap());
        // SAFETY: between fork and exec the closure makes one system call on a descriptor that it
        // keeps open; it allocates nothing and takes no lock.
        unsafe { command.pre_exec(move || (&members).write_all(b"0")) };
        let output = command.args(["get", address]).output().unwrap();
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(answer.contains(&format!("X-Backend: {expected}")), "{address}: {output:?}");
    }
    // A packet with such a destination may be sent from elsewhere.
    let explain = ["explain", "tcp", "198.18.0.2:40000", "127.0.0.1:8088"];
    let output = world.weir(&explain);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("source-denied"), "{output:?}");
}
