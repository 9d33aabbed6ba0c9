//! Backends that have the VIP themselves and answer clients past the balancer.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use lb_userspace::{
    admin::{
        Request,
        report::{BackendReport, BackendState, ServiceReport},
    },
    demo::server::{Server, ServerProfile},
    lab::{BRIDGE, Lab, Netns, Topology, UPLINK},
    model::{Attach, BackendSpec, Config, Endpoint, Forward, Policy, Protocol, Weight},
};

use super::{
    site::noise,
    world::{PORT, World, eventually, plan},
};

/// The client on a link of its own to the switch: what backends send there passes no balancer.
const BYPASS: [&str; 2] = ["198.18.10.250", "fd00:18:10::250"];

pub(crate) fn ip(netns: &Netns, arguments: &str) {
    let output = netns.command("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

/// Packets keep their port, so backends need none.
fn direct(config: &mut Config) {
    let service = &mut config.services[0];
    service.forward = Forward::Dsr;
    for backend in &mut service.backends {
        backend.endpoint.port = PORT;
    }
}

/// Gives every backend the VIPs.
pub(crate) fn give_vips(lab: &Lab) {
    for backend in lab.backends() {
        for vip in World::vips() {
            let (bits, more) = if vip.is_ipv4() { (32, "") } else { (128, " nodad") };
            ip(&backend.netns, &format!("addr add {}/{bits} dev lo{more}", vip.ip()));
        }
    }
}

/// A server on the VIPs of every backend.
pub(crate) fn serve(lab: &Lab) -> Vec<Server> {
    give_vips(lab);
    let profile = ServerProfile { service_time: Duration::ZERO, slots: 64 };
    let of = |(index, backend): (usize, &lb_userspace::lab::LabBackend)| {
        let name = format!("b{}", index + 1);
        let start = |vip| Server::start(Some(&backend.netns), vip, &name, profile).unwrap();
        World::vips().into_iter().map(start).collect::<Vec<_>>()
    };
    lab.backends().iter().enumerate().flat_map(of).collect()
}

/// Leads the backends' answers past the balancer.
pub(crate) fn bypass(lab: &Lab) {
    let (client, switch) = (lab.client(), lab.switch().unwrap());
    let near = client.name();
    ip(switch, &format!("link add by0 type veth peer name by1 netns {near}"));
    ip(switch, &format!("link set by0 up master {BRIDGE}"));
    ip(client, "link set by1 up");
    for (address, bits) in BYPASS.iter().zip([24, 64]) {
        ip(client, &format!("addr add {address}/{bits} dev by1"));
    }
    for backend in lab.backends() {
        ip(&backend.netns, "route add 198.18.0.0/24 via 198.18.10.250");
        ip(&backend.netns, "-6 route add fd00:18::/64 via fd00:18:10::250");
    }
}

/// Bytes that left by a link.
pub(crate) fn sent_by(netns: &Netns, link: &str) -> u64 {
    let output = netns.command("ip").args(["-s", "-j", "link", "show", link]).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    report.pointer("/0/stats64/tx/bytes").unwrap().as_u64().unwrap()
}

fn backends(world: &World) -> Vec<BackendReport> {
    world.ask(&Request::Backends)
}

const HOOKS: [(Attach, Topology); 4] = [
    (Attach::Tc, Topology::Bridge),
    (Attach::Tc, Topology::Remote),
    (Attach::Xdp, Topology::Remote),
    (Attach::XdpGeneric, Topology::Remote),
];

#[test]
fn backends_with_the_vip_answer_past_the_balancer() {
    for (attach, topology) in HOOKS {
        let case = format!("{attach:?} {topology:?}");
        let world = World::with(plan(topology), attach, Policy::RoundRobin, direct);
        let servers = serve(&world.lab);
        if topology == Topology::Remote {
            bypass(&world.lab);
        }
        let before = sent_by(world.lab.lb(), UPLINK);
        let report = world.load(300);
        assert_eq!((report.answered(), report.failures()), (300, 0), "{case}: {report:?}");
        assert_eq!(report.from_vip, 300, "{case}");
        assert_eq!(report.per_backend.len(), 3, "{case}: {report:?}");
        if topology == Topology::Remote {
            let sent = sent_by(world.lab.lb(), UPLINK) - before;
            assert!(sent < 5_000, "{case}: {sent} bytes to the client");
        }
        for backend in backends(&world) {
            assert!(backend.packets_in > 0 && backend.packets_out == 0, "{case}: {backend:?}");
        }
        let services: Vec<ServiceReport> = world.ask(&Request::Services);
        assert_eq!(services[0].forward, Forward::Dsr, "{case}");
        drop(servers);
    }
}

#[test]
fn connections_count_until_their_clients_have_no_more_to_say() {
    let world = World::with(plan(Topology::Remote), Attach::Tc, Policy::Adaptive, direct);
    let servers = serve(&world.lab);
    bypass(&world.lab);
    let dial = |vip: SocketAddr| {
        let connect = || TcpStream::connect_timeout(&vip, Duration::from_secs(3));
        world.lab.client().in_netns(connect).unwrap().unwrap()
    };
    let open: Vec<TcpStream> =
        World::vips().into_iter().flat_map(|vip| [vip; 3]).map(dial).collect();
    // Open connections are all the load that can be seen; the weights are 4, 2 and 1.
    let loads = || backends(&world).iter().map(|b| (b.flows, b.requests)).collect::<Vec<_>>();
    let expected = [(2, 2), (1, 1), (0, 0)].repeat(2);
    eventually(&format!("by weight: {:?}", loads()), || loads() == expected);
    drop(open);
    eventually("all have ended", || loads() == [(0, 0); 6]);
    drop(servers);
}

#[test]
fn large_transfers_are_whole_and_only_what_clients_send_passes() {
    for attach in [Attach::Tc, Attach::Xdp] {
        let world = World::with(plan(Topology::Remote), attach, Policy::RoundRobin, |config| {
            direct(config);
            config.services[0].backends.truncate(2);
        });
        give_vips(&world.lab);
        bypass(&world.lab);
        let body = noise(4 << 20);
        for vip in World::vips() {
            let bind = || TcpListener::bind(vip);
            let listener = world.lab.backends()[0].netns.in_netns(bind).unwrap().unwrap();
            let length = body.len();
            let echo = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut all = vec![0; length];
                stream.read_exact(&mut all).unwrap();
                stream.write_all(&all).unwrap();
            });
            let before = sent_by(world.lab.lb(), UPLINK);
            let connect = || TcpStream::connect(vip);
            let mut client = world.lab.client().in_netns(connect).unwrap().unwrap();
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            client.write_all(&body).unwrap();
            let mut back = Vec::new();
            client.read_to_end(&mut back).unwrap();
            echo.join().unwrap();
            assert!(back == body, "{attach:?} {vip}: {} bytes came back", back.len());
            let sent = sent_by(world.lab.lb(), UPLINK) - before;
            assert!(sent < 5_000, "{attach:?} {vip}: {sent} bytes to the client");
        }
    }
}

#[test]
fn datagrams_reach_the_vip_and_fragments_do() {
    let world = World::with(plan(Topology::Remote), Attach::Tc, Policy::Maglev, |config| {
        direct(config);
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
    bypass(&world.lab);
    for (vip, from) in World::vips().into_iter().zip(["198.18.0.2:0", "[fd00:18::2]:0"]) {
        let bind = || UdpSocket::bind(vip);
        let server = world.lab.backends()[0].netns.in_netns(bind).unwrap().unwrap();
        let client = world.lab.client().in_netns(|| UdpSocket::bind(from)).unwrap().unwrap();
        client.connect(vip).unwrap();
        for socket in [&server, &client] {
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        }
        for length in [8, 4000] {
            client.send(&noise(length)).unwrap();
            let mut bytes = [0; 8000];
            let (arrived, asker) = server.recv_from(&mut bytes).unwrap();
            assert_eq!(asker, client.local_addr().unwrap(), "the client's own address is seen");
            server.send_to(&bytes[..arrived], asker).unwrap();
            let arrived = client.recv(&mut bytes).unwrap();
            assert!(bytes[..arrived] == noise(length)[..], "{vip}: {arrived} of {length} bytes");
        }
    }
}

/// What a service says of its backends that it cannot reach.
pub(crate) fn out_of_reach(world: &World) -> Vec<Option<String>> {
    let services: Vec<ServiceReport> = world.ask(&Request::Services);
    let told = |share: &lb_userspace::admin::report::ShareReport| {
        assert_eq!(share.out_of_reach.is_some(), share.state != BackendState::Up, "{share:?}");
        assert_eq!(share.out_of_reach.is_some(), share.share == 0.0, "{share:?}");
        share.out_of_reach.clone()
    };
    services[0].backends.iter().map(told).collect()
}

#[test]
fn who_cannot_be_reached_unchanged_gets_nothing_and_it_is_said() {
    let world = World::with(plan(Topology::Remote), Attach::Tc, Policy::RoundRobin, |config| {
        direct(config);
        let more = |address: &str| BackendSpec {
            endpoint: Endpoint {
                address: address.parse().unwrap(),
                port: PORT,
                protocol: Protocol::Tcp,
            },
            weight: Weight::DEFAULT,
            cgroup: None,
        };
        let backends = &mut config.services[0].backends;
        // The balancer itself, nobody, and somebody behind the client.
        backends.extend(["198.18.0.1", "198.18.10.99", "198.18.0.77"].map(more));
    });
    let servers = serve(&world.lab);
    bypass(&world.lab);
    let told = out_of_reach(&world);
    let needs = "forward: dsr needs the MAC address of its next hop; stack: ";
    let expected = [
        format!("{needs}198.18.0.1: an address of this host"),
        format!("{needs}neighbour 198.18.10.99 not resolved yet"),
        format!("{needs}neighbour 198.18.0.77 not resolved yet"),
    ];
    assert_eq!(told[..6], [const { None }; 6]);
    assert_eq!(told[6..], expected.map(Some));
    // None of the connections goes to them.
    let report = world.load(60);
    assert_eq!((report.answered(), report.failures()), (60, 0), "{report:?}");
    // A route that leads through a router, and the backend's own link is no neighbour any more.
    let router = world.lab.backends()[1].v4;
    ip(world.lab.lb(), &format!("route add 198.18.10.2/32 via {router}"));
    let why = "it is behind a router (dn0)";
    eventually("the router is seen", || {
        out_of_reach(&world)[0].as_ref().is_some_and(|told| told.contains(why))
    });
    let report = world.load(60);
    assert_eq!((report.answered(), report.failures()), (60, 0), "{report:?}");
    ip(world.lab.lb(), "route del 198.18.10.2/32");
    eventually("it is back", || out_of_reach(&world)[0].is_none());
    drop(servers);
}

#[test]
fn nobody_answers_for_backends_without_the_vip() {
    let world = World::with(plan(Topology::Remote), Attach::Tc, Policy::RoundRobin, direct);
    for vip in World::vips() {
        let connect = || TcpStream::connect_timeout(&vip, Duration::from_millis(400));
        let error = world.lab.client().in_netns(connect).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{vip}: {error}");
    }
}
