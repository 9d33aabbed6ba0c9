//! The laboratory and the demo's own server and client, on real network namespaces.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use lb_userspace::{
    demo::{
        client::Load,
        server::{Server, ServerProfile},
    },
    lab::{Lab, LabPlan, Topology, Worker, reap_stale},
};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};

const PREFIX: &str = "weirtest";
const PORT: u16 = 8080;

fn plan(topology: Topology) -> LabPlan {
    LabPlan { topology, ..LabPlan::default() }
}

/// One server per backend, listening on both families, called one, two, three.
fn servers(lab: &Lab) -> Vec<Server> {
    let any: SocketAddr = "[::]:8080".parse().unwrap();
    let profile = ServerProfile { service_time: Duration::ZERO, slots: 4 };
    let backends = lab.backends().iter().zip(["one", "two", "three"]);
    backends.map(|(b, name)| Server::start(Some(&b.netns), any, name, profile).unwrap()).collect()
}

/// Both addresses of every backend.
fn addresses(lab: &Lab) -> Vec<SocketAddr> {
    let both = lab.backends().iter().flat_map(|b| [IpAddr::V4(b.v4), IpAddr::V6(b.v6)]);
    both.map(|address| SocketAddr::new(address, PORT)).collect()
}

fn curl(lab: &Lab, address: SocketAddr) -> String {
    let mut command = lab.client().command("curl");
    let output =
        command.args(["-sS", "-g", "-m", "3", "-D", "-"]).arg(format!("http://{address}/"));
    let output = output.output().unwrap();
    assert!(output.status.success(), "{address}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn namespaces() -> String {
    let output = Command::new("ip").args(["netns", "list"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn links() -> String {
    let output = Command::new("ip").args(["-o", "link"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn names(lab: &Lab) -> Vec<String> {
    let inner = [lab.client(), lab.lb()].into_iter().chain(lab.switch());
    let all = inner.chain(lab.backends().iter().map(|b| &b.netns));
    all.map(|netns| netns.name().to_owned()).collect()
}

fn assert_gone(names: &[String]) {
    let (namespaces, links) = (namespaces(), links());
    for name in names {
        assert!(!namespaces.contains(name), "{name} in {namespaces}");
        assert!(!Path::new("/run/netns").join(name).exists(), "{name}");
    }
    assert!(!links.contains("veth1@") && !links.contains("up0@"), "{links}");
}

#[test]
fn every_topology_carries_both_families() {
    for topology in [Topology::Bridge, Topology::Routed, Topology::Remote] {
        let lab = Lab::new(PREFIX, plan(topology)).unwrap();
        let names = names(&lab);
        assert!(names.iter().all(|name| namespaces().contains(name)), "{names:?}");
        let servers = servers(&lab);
        for (n, address) in addresses(&lab).into_iter().enumerate() {
            let reply = curl(&lab, address);
            let wanted = format!("X-Backend: {}\r\n", servers[n / 2].name());
            assert!(reply.contains(&wanted), "{topology:?} {address}: {reply}");
        }
        drop(servers);
        drop(lab);
        assert_gone(&names);
    }
}

#[test]
fn a_load_is_counted_by_backend_and_family() {
    for (keep_alive, rate) in [(false, None), (true, None), (true, Some(2_000.0))] {
        let lab = Lab::new(PREFIX, plan(Topology::Bridge)).unwrap();
        let servers = servers(&lab);
        let load = Load {
            vips: addresses(&lab),
            connections: 6,
            rate,
            keep_alive,
            duration: Duration::from_secs(20),
            max_requests: 600,
            ..Load::default()
        };
        let report = load.start(Some(lab.client())).unwrap().finish().unwrap();
        assert_eq!((report.requests, report.failures()), (600, 0), "{:?}", report.failed);
        assert_eq!((report.ipv4, report.ipv6, report.from_vip), (300, 300, 600));
        for server in &servers {
            assert_eq!(report.per_backend.get(server.name()), Some(&200), "{}", server.name());
            assert_eq!(server.requests(), 200);
        }
    }
}

#[test]
fn a_load_on_nobody_fails_and_ends() {
    let lab = Lab::new(PREFIX, plan(Topology::Bridge)).unwrap();
    let load = Load { vips: addresses(&lab), max_requests: 60, ..Load::default() };
    let report = load.start(Some(lab.client())).unwrap().finish().unwrap();
    assert_eq!((report.requests, report.answered(), report.failures()), (60, 0, 60));
    for failure in report.failed.keys() {
        assert_eq!(failure.to_string(), "connect: connection refused");
    }
    for bad in [
        Load::default(),
        Load { vips: addresses(&lab), connections: 0, ..Load::default() },
        Load { vips: addresses(&lab), rate: Some(0.0), ..Load::default() },
        Load { vips: addresses(&lab), rate: Some(f64::NAN), ..Load::default() },
    ] {
        assert!(bad.clone().start(None).is_err(), "{bad:?}");
    }
}

#[test]
fn without_forwarding_nothing_gets_through() {
    let plan = LabPlan { forwarding: false, ..LabPlan::default() };
    let lab = Lab::new(PREFIX, plan).unwrap();
    let _servers = servers(&lab);
    let load = Load {
        vips: addresses(&lab),
        max_requests: 12,
        timeout: Duration::from_millis(300),
        ..Load::default()
    };
    let report = load.start(Some(lab.client())).unwrap().finish().unwrap();
    assert_eq!((report.answered(), report.failures()), (0, 12));
}

#[test]
fn offloads_are_as_planned() {
    for (gro, checksum_offload) in [(true, false), (false, true)] {
        let plan = LabPlan { gro, checksum_offload, ..LabPlan::default() };
        let lab = Lab::new(PREFIX, plan).unwrap();
        for (netns, link) in [(lab.client(), "up-c"), (&lab.backends()[0].netns, "eth0")] {
            let output = netns.command("ethtool").args(["-k", link]).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let on = |on| if on { "on" } else { "off" };
            let gro = format!("generic-receive-offload: {}\n", on(gro));
            let tx = format!("tx-checksumming: {}\n", on(checksum_offload));
            assert!(text.contains(&gro) && text.contains(&tx), "{link}: {text}");
        }
    }
}

#[test]
fn a_panic_leaves_nothing_behind() {
    let (told, names_of_it) = std::sync::mpsc::channel();
    let outcome = std::thread::spawn(move || {
        let lab = Lab::new(PREFIX, plan(Topology::Remote)).unwrap();
        let _servers = servers(&lab);
        let mut sleeper = lab.lb().command("sleep");
        let sleeper = sleeper.arg("1000").stdin(Stdio::null()).spawn().unwrap();
        told.send((names(&lab), sleeper)).unwrap();
        panic!("on purpose");
    })
    .join();
    assert!(outcome.is_err());
    let (names, mut sleeper) = names_of_it.recv().unwrap();
    assert_gone(&names);
    assert!(!sleeper.wait().unwrap().success(), "what ran inside was killed");
}

#[test]
fn a_panic_inside_a_namespace_reaches_the_caller() {
    let lab = Lab::new(PREFIX, LabPlan { backends: 0, ..LabPlan::default() }).unwrap();
    let inside = std::panic::AssertUnwindSafe(|| lab.lb().in_netns(|| panic!("on purpose")));
    assert!(std::panic::catch_unwind(inside).is_err());
}

#[test]
fn leftovers_of_the_dead_are_reaped_and_those_of_the_living_are_not() {
    let lab = Lab::new(PREFIX, LabPlan { backends: 0, ..LabPlan::default() }).unwrap();
    let mut ended = Command::new("true").spawn().unwrap();
    let dead = ended.id();
    ended.wait().unwrap();
    let prefix = format!("{PREFIX}-reap");
    let stale = format!("{prefix}-{dead}-0-b1");
    let stranger = format!("{prefix}-{dead}-0-other");
    for name in [&stale, &stranger] {
        assert!(Command::new("ip").args(["netns", "add", name]).status().unwrap().success());
    }
    assert_eq!(reap_stale(&prefix).unwrap(), std::slice::from_ref(&stale));
    assert_eq!(reap_stale(PREFIX).unwrap(), Vec::<String>::new());
    assert!(namespaces().contains(&stranger), "another's name is left alone");
    assert!(namespaces().contains(lab.lb().name()));
    assert_gone(&[stale]);
    assert!(Command::new("ip").args(["netns", "del", &stranger]).status().unwrap().success());
}

#[test]
fn what_cannot_be_built_says_so() {
    for prefix in ["", "a/b", "..", &"x".repeat(65)] {
        assert!(Lab::new(prefix, LabPlan::default()).is_err(), "{prefix:?}");
    }
    let crowd = LabPlan { backends: 251, ..LabPlan::default() };
    assert!(Lab::new(PREFIX, crowd).unwrap_err().to_string().contains("251"));
}

#[test]
fn the_caller_stays_where_it_was() {
    let own = || fs::read_link("/proc/thread-self/ns/net").unwrap();
    let before = own();
    let lab = Lab::new(PREFIX, plan(Topology::Bridge)).unwrap();
    let inside = lab.client().in_netns(own).unwrap();
    let worker = Worker::spawn(Some(lab.client()), "where", move || async move { own() }).unwrap();
    assert_eq!(worker.finish().unwrap(), inside);
    assert_ne!(inside, before);
    assert_eq!(own(), before);
}

/// The first `ip netns add` of a machine mounts the directory of names over itself, which hides
/// what was mounted in it before and makes it undeletable.
#[test]
fn the_first_ip_netns_add_does_not_hide_the_laboratory() {
    std::thread::spawn(|| {
        // As on a machine that never saw `ip netns add`, for this thread and its children only.
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        while umount2("/run/netns", MntFlags::MNT_DETACH).is_ok() {}

        let lab = Lab::new(PREFIX, LabPlan { backends: 0, ..LabPlan::default() }).unwrap();
        let names = names(&lab);
        let other = format!("{PREFIX}-first-{}", std::process::id());
        let ip = |verb| Command::new("ip").args(["netns", verb, &other]).status().unwrap();
        assert!(ip("add").success());
        drop(lab);
        assert!(ip("del").success());
        assert_gone(&names);
    })
    .join()
    .unwrap();
}
