//! Backends that see an address and a port of the balancer, and need no route to clients.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread::JoinHandle,
    time::Duration,
};

use lb_userspace::{
    admin::{
        Request,
        report::{FlowsReport, ServiceReport, StatusReport},
    },
    lab::{Lab, LabPlan, Topology, vip_v4},
    model::{Attach, Config, Forward, Policy, PortRange, Protocol},
};
use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    signal::Signal,
};

use super::{
    crowd::{Call, Crowd},
    direct::{ip, out_of_reach},
    process::Process,
    site::noise,
    world::{BACKEND_PORT, World, eventually, plan},
};

const HOOKS: [(Attach, Topology); 5] = [
    (Attach::Tc, Topology::Bridge),
    (Attach::Tc, Topology::Routed),
    (Attach::Tc, Topology::Remote),
    (Attach::Xdp, Topology::Remote),
    (Attach::XdpGeneric, Topology::Remote),
];

fn full_nat(config: &mut Config) {
    config.services[0].forward = Forward::FullNat;
}

/// Backends know nobody but their own link.
fn without_routes(lab: &Lab) {
    for backend in lab.backends() {
        ip(&backend.netns, "route del default");
        ip(&backend.netns, "-6 route del default");
    }
}

fn world(plan: LabPlan, attach: Attach, change: impl FnOnce(&mut Config)) -> World {
    let world = World::with(plan, attach, Policy::RoundRobin, change);
    without_routes(&world.lab);
    world
}

fn dial(world: &World, vip: SocketAddr, patience: Duration) -> std::io::Result<TcpStream> {
    let connect = || TcpStream::connect_timeout(&vip, patience);
    world.lab.client().in_netns(connect).unwrap()
}

fn flows(world: &World) -> FlowsReport {
    world.ask(&Request::Flows { limit: 100_000, service: None })
}

/// What backends see of the flows: their own end, and the balancer's.
fn seen(world: &World) -> Vec<(SocketAddr, SocketAddr)> {
    flows(world).flows.iter().map(|flow| (flow.backend, flow.source.unwrap())).collect()
}

#[test]
fn backends_without_a_route_to_clients_answer_them() {
    for (attach, topology) in HOOKS {
        let case = format!("{attach:?} {topology:?}");
        // The same with the destination translated only: answers find no way.
        let plain = world(plan(topology), attach, |_| {});
        for vip in World::vips() {
            let error = dial(&plain, vip, Duration::from_millis(400)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{case}: {vip}: {error}");
        }
        drop(plain);
        let world = world(plan(topology), attach, full_nat);
        let report = world.load(300);
        assert_eq!((report.answered(), report.failures()), (300, 0), "{case}: {report:?}");
        assert_eq!(report.from_vip, 300, "{case}");
        assert_eq!(report.per_backend.len(), 3, "{case}: {report:?}");
        let services: Vec<ServiceReport> = world.ask(&Request::Services);
        assert_eq!(services[0].forward, Forward::FullNat, "{case}");
        let seen = seen(&world);
        let own = ["198.18.10.1", "fd00:18:10::1"].map(|own| own.parse::<IpAddr>().unwrap());
        assert!(seen.iter().all(|(_, source)| own.contains(&source.ip())), "{case}: {seen:?}");
        let ports = PortRange::SOURCES;
        assert!(seen.iter().all(|(_, source)| ports.contains(source.port())), "{case}: {seen:?}");
        assert_eq!(seen.len(), seen.iter().collect::<BTreeSet<_>>().len(), "{case}");
    }
}

fn of_family(config: &mut Config, v6: bool) {
    full_nat(config);
    config.services[0].backends.retain(|backend| backend.endpoint.address.is_ipv6() == v6);
}

#[test]
fn a_family_without_backends_is_served_by_those_of_the_other() {
    for (attach, topology) in HOOKS {
        for v6 in [false, true] {
            let case = format!("{attach:?} {topology:?}, backends of IPv6: {v6}");
            let world = world(plan(topology), attach, |config| of_family(config, v6));
            let report = world.load(200);
            assert_eq!((report.answered(), report.failures()), (200, 0), "{case}: {report:?}");
            assert_eq!(report.from_vip, 200, "{case}");
            assert_eq!(report.per_backend.len(), 3, "{case}: {report:?}");
            let clients: BTreeSet<bool> =
                flows(&world).flows.iter().map(|flow| flow.client.is_ipv6()).collect();
            assert_eq!(clients.len(), 2, "{case}");
            assert!(
                seen(&world)
                    .iter()
                    .all(|(backend, source)| { backend.is_ipv6() == v6 && source.is_ipv6() == v6 })
            );
        }
    }
}

/// Sends much both ways, with and without checksums that are left to the link.
#[test]
fn large_transfers_are_whole() {
    for ((attach, topology), crossed) in HOOKS.into_iter().flat_map(|it| [(it, false), (it, true)])
    {
        let checksum_offload = attach == Attach::Tc;
        let plan = LabPlan { checksum_offload, ..plan(topology) };
        let change = |config: &mut Config| {
            full_nat(config);
            let service = &mut config.services[0];
            service.backends.truncate(2);
            for backend in &mut service.backends {
                backend.endpoint.port = BACKEND_PORT + 1;
            }
        };
        let body = noise(4 << 20);
        for (index, vip) in World::vips().into_iter().enumerate() {
            let world = world(plan, attach, |config| {
                change(config);
                if crossed {
                    config.services[0].backends.remove(index);
                }
            });
            let backend = &world.lab.backends()[0];
            let both = [IpAddr::V4(backend.v4), backend.v6.into()];
            let at = both[index ^ usize::from(crossed)];
            let bind = || TcpListener::bind((at, BACKEND_PORT + 1));
            let listener = backend.netns.in_netns(bind).unwrap().unwrap();
            let length = body.len();
            let echo = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut all = vec![0; length];
                stream.read_exact(&mut all).unwrap();
                stream.write_all(&all).unwrap();
            });
            let mut client = dial(&world, vip, Duration::from_secs(5)).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            client.write_all(&body).unwrap();
            let mut back = Vec::new();
            client.read_to_end(&mut back).unwrap();
            echo.join().unwrap();
            assert!(back == body, "{attach:?} {topology:?} {vip} {at}: {} bytes", back.len());
        }
    }
}

#[test]
fn datagrams_and_their_fragments_come_back() {
    for (attach, topology) in HOOKS {
        let world = world(plan(topology), attach, |config| {
            full_nat(config);
            let service = &mut config.services[0];
            service.backends.truncate(2);
            for listen in &mut service.listens {
                listen.protocol = Protocol::Udp;
            }
            for backend in &mut service.backends {
                backend.endpoint.protocol = Protocol::Udp;
            }
        });
        let backend = &world.lab.backends()[0];
        let families = [
            ("198.18.0.2:0", IpAddr::V4(backend.v4)),
            ("[fd00:18::2]:0", { IpAddr::V6(backend.v6) }),
        ];
        for (vip, (from, at)) in World::vips().into_iter().zip(families) {
            let case = format!("{attach:?} {topology:?} {vip}");
            let bind = || UdpSocket::bind((at, BACKEND_PORT));
            let server = backend.netns.in_netns(bind).unwrap().unwrap();
            let dial = || {
                let client = UdpSocket::bind(from).unwrap();
                client.connect(vip).unwrap();
                client
            };
            let clients = world.lab.client().in_netns(|| [dial(), dial()]).unwrap();
            for socket in clients.iter().chain([&server]) {
                socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            }
            for length in [8, 9, 4000, 10] {
                // Both ask before either is answered.
                let mut askers = Vec::new();
                let mut bytes = [0; 8000];
                for (index, client) in clients.iter().enumerate() {
                    client.send(&noise(length + index)).unwrap();
                    let (arrived, asker) = server.recv_from(&mut bytes).unwrap();
                    assert!(bytes[..arrived] == noise(length + index)[..], "{case}: {arrived}");
                    assert!(PortRange::SOURCES.contains(asker.port()), "{case}: {asker}");
                    askers.push((asker, arrived));
                }
                assert_ne!(askers[0].0, askers[1].0, "{case}");
                for (asker, arrived) in askers {
                    server.send_to(&noise(arrived), asker).unwrap();
                }
                for (index, client) in clients.iter().enumerate() {
                    let arrived = client.recv(&mut bytes).unwrap();
                    assert_eq!(arrived, length + index, "{case}");
                }
            }
        }
    }
}

/// A world with one backend that takes connections, and keeps them.
fn keeping(attach: Attach, ports: PortRange) -> (World, JoinHandle<()>) {
    let world = world(plan(Topology::Remote), attach, |config| {
        full_nat(config);
        config.source_ports = ports;
        config.timeouts.tcp_closed = Duration::from_millis(500);
        config.timeouts.tcp_half_closed = Duration::from_millis(500);
        config.admin.http = Some("127.0.0.1:9090".parse().unwrap());
        let service = &mut config.services[0];
        service.backends.truncate(1);
        service.listens.truncate(1);
        service.backends[0].endpoint.port = BACKEND_PORT + 1;
    });
    let backend = &world.lab.backends()[0];
    let bind = || TcpListener::bind((backend.v4, BACKEND_PORT + 1));
    let listener = backend.netns.in_netns(bind).unwrap().unwrap();
    let accept = std::thread::spawn(move || {
        let mut open = Vec::new();
        while let Ok((mut stream, peer)) = listener.accept() {
            // Everybody is told whom the backend sees; the last one is nobody's.
            if stream.write_all(format!("{peer}\n").as_bytes()).is_err() {
                return;
            }
            let mut last = [0];
            stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
            if stream.read(&mut last).is_ok_and(|length| length == 1) {
                return;
            }
            open.push(stream);
        }
    });
    (world, accept)
}

fn told(stream: &mut TcpStream) -> SocketAddr {
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut bytes = Vec::new();
    let mut byte = [0];
    while stream.read_exact(&mut byte).is_ok() && byte != *b"\n" {
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap().parse().unwrap()
}

/// Lets the backend's thread end.
fn release(world: &World, thread: JoinHandle<()>) {
    let vip = World::vips()[0];
    let mut last = dial(world, vip, Duration::from_secs(5)).unwrap();
    last.write_all(b"x").unwrap();
    thread.join().unwrap();
}

#[test]
fn thousands_of_connections_to_one_backend_have_a_port_each() {
    const COUNT: usize = 4_000;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    // Four of five ports will be taken.
    let (world, thread) = keeping(Attach::Tc, PortRange::new(20_000, 24_999).unwrap());
    let vip = World::vips()[0];
    let mut open: Vec<TcpStream> =
        (0..COUNT).map(|_| dial(&world, vip, Duration::from_secs(20)).unwrap()).collect();
    let peers: BTreeSet<SocketAddr> = open.iter_mut().map(told).collect();
    assert_eq!(peers.len(), COUNT);
    let by_client: BTreeMap<SocketAddr, SocketAddr> =
        flows(&world).flows.iter().map(|flow| (flow.client, flow.source.unwrap())).collect();
    assert_eq!(by_client.len(), COUNT);
    for stream in &open {
        assert!(peers.contains(&by_client[&stream.local_addr().unwrap()]));
    }
    drop(open);
    release(&world, thread);
}

fn dropped_without_a_port(world: &World) -> u64 {
    let metrics = ["-sS", "http://127.0.0.1:9090/metrics"];
    let output = world.lab.lb().command("curl").args(metrics).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.contains("\"no-port\"")).unwrap();
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[test]
fn who_finds_no_port_is_counted_and_gets_one_when_another_is_done() {
    for attach in [Attach::Tc, Attach::Xdp] {
        let (world, thread) = keeping(attach, PortRange::new(20_000, 20_003).unwrap());
        let vip = World::vips()[0];
        let mut open: Vec<TcpStream> =
            (0..4).map(|_| dial(&world, vip, Duration::from_secs(5)).unwrap()).collect();
        let ports: BTreeSet<u16> = open.iter_mut().map(|stream| told(stream).port()).collect();
        assert_eq!(ports, BTreeSet::from([20_000, 20_001, 20_002, 20_003]), "{attach:?}");
        assert_eq!(dropped_without_a_port(&world), 0, "{attach:?}");
        let error = dial(&world, vip, Duration::from_millis(400)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{attach:?}: {error}");
        assert!(dropped_without_a_port(&world) > 0, "{attach:?}");
        // One resets its connection; its port is free when the sweep has found it.
        let gone = open.pop().unwrap();
        nix::sys::socket::setsockopt(&gone, nix::sys::socket::sockopt::Linger, &{
            nix::libc::linger { l_onoff: 1, l_linger: 0 }
        })
        .unwrap();
        drop(gone);
        let mut next = dial(&world, vip, Duration::from_secs(30)).unwrap();
        assert!(ports.contains(&told(&mut next).port()), "{attach:?}");
        drop((open, next));
        eventually("ports are free again", || flows(&world).total == 0);
        release(&world, thread);
    }
}

#[test]
fn a_narrow_link_behind_the_balancer_is_told_to_the_client() {
    for attach in [Attach::Tc, Attach::Xdp] {
        let world = World::with(plan(Topology::Remote), attach, Policy::RoundRobin, |config| {
            full_nat(config);
            let service = &mut config.services[0];
            service.listens.truncate(1);
            service.backends.truncate(1);
            service.backends[0].endpoint.address = "198.18.77.2".parse().unwrap();
        });
        // The first backend is the router to the second, over a link that takes less.
        let [router, far, ..] = world.lab.backends() else { panic!("three backends") };
        let inside = far.netns.name();
        ip(&router.netns, &format!("link add narrow type veth peer name far0 netns {inside}"));
        for (netns, link, host) in [(&router.netns, "narrow", 1), (&far.netns, "far0", 2)] {
            ip(netns, &format!("addr add 198.18.77.{host}/24 dev {link}"));
            ip(netns, &format!("link set {link} up"));
        }
        // The far end takes more than its router sends: it would tell TCP.
        ip(&router.netns, "link set narrow mtu 1300");
        let forward = ["-qw", "net.ipv4.ip_forward=1"];
        assert!(router.netns.command("sysctl").args(forward).status().unwrap().success());
        ip(&far.netns, "route del default");
        ip(&far.netns, "route add 198.18.10.1/32 via 198.18.77.1");
        // It has a foot in the first network, too, which is not the way back.
        ip(&far.netns, "link set eth0 down");
        ip(world.lab.lb(), &format!("route add 198.18.77.0/24 via {}", router.v4));
        let bind = || TcpListener::bind(("198.18.77.2", BACKEND_PORT));
        let listener = far.netns.in_netns(bind).unwrap().unwrap();
        eventually("the way is known", || out_of_reach(&world)[0].is_none());
        let body = noise(1 << 20);
        let length = body.len();
        let sink = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut all = vec![0; length];
            stream.read_exact(&mut all).unwrap();
            stream.write_all(b"done").unwrap();
            all
        });
        let vip = World::vips()[0];
        let mut client = dial(&world, vip, Duration::from_secs(5)).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        client.write_all(&body).unwrap();
        let mut answer = [0; 4];
        client.read_exact(&mut answer).unwrap();
        assert!(sink.join().unwrap() == body, "{attach:?}");
        let mut route = world.lab.client().command("ip");
        let output = route.args(["route", "get", &vip.ip().to_string()]).output().unwrap();
        let route = String::from_utf8(output.stdout).unwrap();
        assert!(route.contains("mtu 1300"), "{attach:?}: {route}");
    }
}

#[test]
fn what_stands_in_the_way_of_full_nat_is_told() {
    let world = World::with(plan(Topology::Remote), Attach::Tc, Policy::RoundRobin, |config| {
        full_nat(config);
        config.services[0].backends[0].endpoint.address = "198.18.0.1".parse().unwrap();
    });
    let needs = "forward: full-nat needs the MAC address of its next hop; stack: ";
    let told = out_of_reach(&world);
    assert_eq!(told[0], Some(format!("{needs}198.18.0.1: an address of this host")));
    assert_eq!(told[1..], [const { None }; 5]);
    let problems = || world.ask::<StatusReport>(&Request::Status).problems.join("\n");
    assert_eq!(problems(), "");
    let range = ["-qw", "net.ipv4.ip_local_port_range=30000 60999"];
    assert!(world.lab.lb().command("sysctl").args(range).status().unwrap().success());
    eventually("the ports overlap", || {
        problems().contains("10000-32767 overlap with the ports of this host's own connections")
    });
    let range = ["-qw", "net.ipv4.ip_local_port_range=32768 60999"];
    assert!(world.lab.lb().command("sysctl").args(range).status().unwrap().success());
    eventually("and no more", || problems().is_empty());
}

/// A daemon whose backends know nobody, with clients that call over kept connections and fresh ones.
fn nobody_notices(happens: impl FnOnce(&mut Process)) {
    const CALLS: usize = 300;
    let mut process = Process::new();
    "    forward: full-nat\n".clone_into(&mut process.more_services);
    process.write_config(2);
    let mode = || String::from_utf8(process.weir(&["services"]).stdout).unwrap();
    eventually("the mode is in force", || mode().contains("full-nat"));
    without_routes(&process.world.lab);
    let crowd = Crowd::start(process.world.lab.client());
    crowd.wait_for(CALLS);
    happens(&mut process);
    crowd.wait_for(CALLS);
    let text = String::from_utf8(process.weir(&["flows"]).stdout).unwrap();
    let calls = crowd.finish();
    let failed: Vec<&Call> = calls.iter().filter(|call| call.answer.is_err()).collect();
    assert!(failed.is_empty(), "{} of {}: {failed:?}", failed.len(), calls.len());
    assert!(text.contains("SOURCE") && text.contains("198.18.10.1:"), "{text}");
}

#[test]
fn nobody_notices_a_reload() {
    nobody_notices(|process| {
        for weight in [5, 3, 7] {
            let before = process.status()["generation"].as_u64();
            process.write_config(weight);
            eventually("in force", || process.status()["generation"].as_u64() > before);
            std::thread::sleep(Duration::from_millis(300));
        }
    });
}

#[test]
fn nobody_notices_that_the_daemon_is_killed() {
    nobody_notices(|process| {
        process.signal(Signal::SIGKILL);
        std::thread::sleep(Duration::from_millis(500));
        process.start();
    });
}

#[test]
fn flows_keep_the_mode_that_they_began_with() {
    let mut process = Process::new();
    let get = |process: &Process| process.world.curl(&format!("http://{}/", vip_v4(1)));
    let connect = || TcpStream::connect(World::vips()[0]);
    let mut kept = process.world.lab.client().in_netns(connect).unwrap().unwrap();
    kept.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut ask = |what: &str| {
        kept.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut bytes = [0; 4096];
        let length = kept.read(&mut bytes).unwrap();
        assert!(bytes[..length].starts_with(b"HTTP/1.1 200"), "{what}");
    };
    ask("translated");
    "    forward: full-nat\n".clone_into(&mut process.more_services);
    process.write_config(2);
    let mode = || String::from_utf8(process.weir(&["services"]).stdout).unwrap();
    eventually("full NAT is in force", || mode().contains("full-nat"));
    ask("as before");
    assert!(get(&process).status.success());
    process.more_services = String::new();
    process.write_config(3);
    let mode = || String::from_utf8(process.weir(&["services"]).stdout).unwrap();
    eventually("and not any more", || !mode().contains("full-nat"));
    ask("still as before");
    assert!(get(&process).status.success());
}
