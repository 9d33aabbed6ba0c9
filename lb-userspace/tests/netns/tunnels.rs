//! Backends that get packets inside packets, and unwrap them by `weir decap`.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::{ChildStdout, Stdio},
    time::Duration,
};

use lb_userspace::{
    admin::{Request, report::BackendReport},
    lab::{LabPlan, Netns, Topology, UPLINK},
    model::{Attach, Config, Forward, Policy, Protocol, Tunnel},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    direct::{bypass, give_vips, ip, out_of_reach, sent_by, serve},
    site::{Guarded, noise},
    world::{PORT, World, eventually, plan},
};

/// Where the balancer's tunnels come from.
const FROM: [&str; 4] = ["--from", "198.18.0.0/15", "--from", "fd00::/8"];

/// `weir decap` in a backend's namespace.
struct Unwrapping {
    process: Guarded,
    output: BufReader<ChildStdout>,
}

impl Unwrapping {
    fn start(netns: &Netns, arguments: &[&str]) -> Self {
        let mut weir = netns.command(env!("CARGO_BIN_EXE_weir"));
        weir.args(["decap", "--interface", "eth0"]).args(arguments);
        weir.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = Guarded(weir.spawn().unwrap());
        let mut output = BufReader::new(process.0.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "unwrapping what arrives by eth0\n");
        Self { process, output }
    }

    /// Ends it; what became of the packets.
    fn finish(mut self) -> BTreeMap<String, u64> {
        kill(Pid::from_raw(self.process.0.id().cast_signed()), Signal::SIGTERM).unwrap();
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        assert!(self.process.0.wait().unwrap().success(), "{text}");
        let row = |line: &str| {
            let (reason, count) = line.split_once(' ').unwrap();
            (reason.to_owned(), count.trim().parse().unwrap())
        };
        text.lines().skip(1).map(row).collect()
    }
}

fn unwrap_all(world: &World) -> Vec<Unwrapping> {
    let backends = world.lab.backends().iter();
    backends.map(|backend| Unwrapping::start(&backend.netns, &FROM)).collect()
}

fn tunnelled(forward: Forward) -> impl FnOnce(&mut Config) {
    move |config| {
        let service = &mut config.services[0];
        service.forward = forward;
        for backend in &mut service.backends {
            backend.endpoint.port = PORT;
        }
    }
}

const HOOKS: [(Attach, Topology); 4] = [
    (Attach::Tc, Topology::Bridge),
    (Attach::Tc, Topology::Remote),
    (Attach::Xdp, Topology::Remote),
    (Attach::XdpGeneric, Topology::Remote),
];

#[test]
fn backends_unwrap_what_they_get_and_answer_past_the_balancer() {
    for forward in [Forward::Ipip, Forward::Gue] {
        for (attach, topology) in HOOKS {
            let case = format!("{forward:?} {attach:?} {topology:?}");
            let change = tunnelled(forward);
            let world = World::with(plan(topology), attach, Policy::RoundRobin, change);
            let servers = serve(&world.lab);
            let unwrapping = unwrap_all(&world);
            if topology == Topology::Remote {
                bypass(&world.lab);
            }
            let before = sent_by(world.lab.lb(), UPLINK);
            let report = world.load(200);
            assert_eq!((report.answered(), report.failures()), (200, 0), "{case}: {report:?}");
            assert_eq!(report.from_vip, 200, "{case}");
            assert_eq!(report.per_backend.len(), 3, "{case}: {report:?}");
            if topology == Topology::Remote {
                let sent = sent_by(world.lab.lb(), UPLINK) - before;
                assert!(sent < 5_000, "{case}: {sent} bytes to the client");
            }
            let backends: Vec<BackendReport> = world.ask(&Request::Backends);
            for backend in backends {
                assert!(backend.packets_in > 0 && backend.packets_out == 0, "{case}: {backend:?}");
            }
            for counters in unwrapping.into_iter().map(Unwrapping::finish) {
                assert!(counters["unwrapped"] > 0, "{case}: {counters:?}");
                for dropped in ["malformed", "inner-elsewhere", "failed", "source-denied"] {
                    assert_eq!(counters[dropped], 0, "{case}: {counters:?}");
                }
            }
            drop(servers);
        }
    }
}

/// Sends much both ways; the client's route to the VIP afterwards.
fn transfer(world: &World, vip: SocketAddr, case: &str) -> String {
    let body = noise(2 << 20);
    let bind = || TcpListener::bind(vip);
    let listener = world.lab.backends()[0].netns.in_netns(bind).unwrap().unwrap();
    let length = body.len();
    let echo = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut all = vec![0; length];
        stream.read_exact(&mut all).unwrap();
        stream.write_all(&all).unwrap();
    });
    let mut client = world.lab.client().in_netns(|| TcpStream::connect(vip)).unwrap().unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    client.write_all(&body).unwrap();
    let mut back = Vec::new();
    client.read_to_end(&mut back).unwrap();
    echo.join().unwrap();
    assert!(back == body, "{case}: {} bytes came back", back.len());
    let mut route = world.lab.client().command("ip");
    let output = route.args(["route", "get", &vip.ip().to_string()]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

// In the driver a veth passes on what XDP sends back only when something else comes along, unless the far
// end runs an XDP program, too.

#[test]
fn who_sends_packets_that_do_not_fit_is_told_and_transfers_are_whole() {
    for (forward, limits) in [(Forward::Ipip, [1480, 1460]), (Forward::Gue, [1472, 1452])] {
        for (attach, checksum_offload) in [(Attach::XdpGeneric, false), (Attach::Tc, true)] {
            let plan = LabPlan { checksum_offload, ..plan(Topology::Remote) };
            let world = World::with(plan, attach, Policy::RoundRobin, |config| {
                tunnelled(forward)(config);
                config.services[0].backends.truncate(2);
            });
            give_vips(&world.lab);
            bypass(&world.lab);
            let unwrapping = unwrap_all(&world);
            for (vip, limit) in World::vips().into_iter().zip(limits) {
                let case = format!("{forward:?} {attach:?} {vip}");
                let route = transfer(&world, vip, &case);
                // Streams that the kernel cuts into packets at the end are cut smaller there.
                if attach == Attach::XdpGeneric {
                    assert!(route.contains(&format!("mtu {limit}")), "{case}: {route}");
                }
            }
            drop(unwrapping);
        }
    }
}

#[test]
fn datagrams_that_do_not_fit_are_told_and_fragments_of_them_arrive() {
    for (attach, checksum_offload) in [(Attach::Tc, true), (Attach::XdpGeneric, false)] {
        let plan = LabPlan { checksum_offload, ..plan(Topology::Remote) };
        let world = World::with(plan, attach, Policy::Maglev, |config| {
            tunnelled(Forward::Ipip)(config);
            let service = &mut config.services[0];
            service.backends.truncate(2);
            for listen in &mut service.listens {
                listen.protocol = Protocol::Udp;
            }
            for backend in &mut service.backends {
                backend.endpoint.protocol = Protocol::Udp;
            }
        });
        give_vips(&world.lab);
        let unwrapping = unwrap_all(&world);
        for (vip, from) in World::vips().into_iter().zip(["198.18.0.2:0", "[fd00:18::2]:0"]) {
            let case = format!("{attach:?} {vip}");
            let bind = || UdpSocket::bind(vip);
            let server = world.lab.backends()[0].netns.in_netns(bind).unwrap().unwrap();
            let client = world.lab.client().in_netns(|| UdpSocket::bind(from)).unwrap().unwrap();
            client.connect(vip).unwrap();
            server.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            let mut bytes = [0; 4000];
            client.send(&noise(1400)).unwrap();
            assert_eq!(server.recv(&mut bytes).expect(&case), 1400, "{case}");
            // As long as the client's link takes; it hears that less is taken further on, and cuts the next
            // one itself.
            let whole = 1500 - if vip.is_ipv4() { 28 } else { 48 };
            let mut arrives = || {
                drop(client.send(&noise(whole)));
                server.recv(&mut bytes).is_ok_and(|length| bytes[..length] == noise(whole)[..])
            };
            assert!(!arrives(), "{case}: it fits");
            assert!((0..3).any(|_| arrives()), "{case}: the client was not told");
        }
        drop(unwrapping);
    }
}

#[test]
fn a_backend_behind_a_router_is_reached() {
    let world = World::with(plan(Topology::Remote), Attach::Tc, Policy::RoundRobin, |config| {
        tunnelled(Forward::Gue)(config);
        config.tunnel = Tunnel {
            v4: Some("198.19.0.0/16".parse().unwrap()),
            v6: Some("fd00:99::/96".parse().unwrap()),
            gue_port: 6081,
        };
        let backends = &mut config.services[0].backends;
        backends.truncate(2);
        backends[0].endpoint.address = "198.18.20.3".parse().unwrap();
        backends[1].endpoint.address = "fd00:18:20::3".parse().unwrap();
    });
    let servers = serve(&world.lab);
    let [router, backend, ..] = world.lab.backends() else { panic!("three backends") };
    for (netns, family, address) in
        [(&router, "", router.v4.to_string()), (&router, "-6 ", router.v6.to_string())]
            .map(|(_, family, address)| (world.lab.lb(), family, address))
    {
        let to = if family.is_empty() { "198.18.20.0/24" } else { "fd00:18:20::/64" };
        ip(netns, &format!("{family}route add {to} via {address}"));
    }
    // The first backend is a router here.
    ip(&router.netns, &format!("route add 198.18.20.0/24 via {}", backend.v4));
    ip(&router.netns, &format!("-6 route add fd00:18:20::/64 via {}", backend.v6));
    let forward = || {
        for (path, value) in [("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")] {
            std::fs::write(format!("/proc/sys/net/{path}"), value).unwrap();
        }
    };
    router.netns.in_netns(forward).unwrap();
    ip(&backend.netns, "addr add 198.18.20.3/32 dev lo");
    ip(&backend.netns, "addr add fd00:18:20::3/128 dev lo nodad");
    let only = ["--from", "198.19.0.0/16", "--from", "fd00:99::/96", "--gue-port", "6081"];
    let unwrapping = Unwrapping::start(&backend.netns, &only);
    eventually("the router is known", || out_of_reach(&world) == [None, None]);
    let report = world.load(40);
    assert_eq!((report.answered(), report.failures()), (40, 0), "{report:?}");
    assert_eq!(report.per_backend.keys().collect::<Vec<_>>(), ["b2"]);
    assert!(unwrapping.finish()["unwrapped"] > 0);
    drop(servers);
}

/// Dials the VIPs in vain.
fn nobody_answers(world: &World, case: &str) {
    for vip in World::vips() {
        let connect = || TcpStream::connect_timeout(&vip, Duration::from_millis(400));
        let error = world.lab.client().in_netns(connect).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{case} {vip}: {error}");
    }
}

#[test]
fn tunnels_that_are_not_meant_so_stay_closed() {
    let world = World::with(plan(Topology::Remote), Attach::Tc, Policy::RoundRobin, |config| {
        tunnelled(Forward::Gue)(config);
        config.services[0].backends.truncate(2);
    });
    let backend = &world.lab.backends()[0];
    let elsewhere = ["--from", "198.19.0.0/16", "--from", "fd00:19::/32"];
    let other_port = [&FROM[..], &["--gue-port", "6081"]].concat();
    nobody_answers(&world, "nobody unwraps");
    // The backend does not have the VIP.
    let unwrapping = Unwrapping::start(&backend.netns, &FROM);
    nobody_answers(&world, "no VIP");
    let counters = unwrapping.finish();
    assert!(counters["inner-elsewhere"] > 0 && counters["unwrapped"] == 0, "{counters:?}");
    let servers = serve(&world.lab);
    for (what, arguments, reason) in [
        ("from elsewhere", &elsewhere[..], "source-denied"),
        ("another port", &other_port[..], "not-tunnel"),
    ] {
        let unwrapping = Unwrapping::start(&backend.netns, arguments);
        nobody_answers(&world, what);
        let counters = unwrapping.finish();
        assert!(counters[reason] > 0 && counters["unwrapped"] == 0, "{what}: {counters:?}");
    }
    // With the right one it works at once, and no more when that is gone.
    let unwrapping = Unwrapping::start(&backend.netns, &FROM);
    let report = world.load(20);
    assert_eq!((report.answered(), report.failures()), (20, 0), "{report:?}");
    assert!(unwrapping.finish()["unwrapped"] > 0);
    nobody_answers(&world, "it is taken off");
    drop(servers);
}

#[test]
fn a_wrong_place_is_named() {
    let world = World::new(Topology::Bridge, Attach::Tc, Policy::RoundRobin);
    let netns = &world.lab.backends()[0].netns;
    for (arguments, expected) in [
        (&["--interface", "eth7", "--from", "198.18.0.1/32"][..], "eth7: cannot attach"),
        (&["--interface", "eth0"][..], "--from <NET>"),
        (&["--from", "198.18.0.1/32"][..], "--interface <NAME>"),
        (&["--interface", "eth0", "--from", "nobody"][..], "invalid value 'nobody'"),
    ] {
        let mut weir = netns.command(env!("CARGO_BIN_EXE_weir"));
        let output = weir.arg("decap").args(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && errors.contains(expected), "{arguments:?}: {errors}");
    }
}
