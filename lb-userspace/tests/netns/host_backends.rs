//! Backends that are processes of the balancer's own host: their replies meet no hook on their way in.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use lb_userspace::{
    admin::{Request, report::StatusReport},
    demo::server::{Server, ServerProfile},
    lab::{LB_V4, LB_V6, LabPlan, Topology, vip_v4, vip_v6},
    model::{Attach, BackendSpec, Config, Endpoint, Policy, Protocol, Weight},
};

use super::{
    site::noise,
    world::{BACKEND_PORT, PORT, World, plan},
};

/// Not that of the containers: a port of the host is one for all of them.
const HOST_PORT: u16 = 8090;

fn of_host() -> [BackendSpec; 2] {
    [IpAddr::V4(LB_V4), IpAddr::V6(LB_V6)].map(|address| BackendSpec {
        endpoint: Endpoint { address, port: HOST_PORT, protocol: Protocol::Tcp },
        weight: Weight::DEFAULT,
        cgroup: None,
    })
}

/// A process of the host serves beside the containers.
fn join(config: &mut Config) {
    config.services[0].backends.extend(of_host());
}

fn serve(world: &World) -> Vec<Server> {
    let profile = ServerProfile { service_time: Duration::ZERO, slots: 64 };
    let listen = [IpAddr::V4(LB_V4), IpAddr::V6(LB_V6)];
    listen
        .map(|address| {
            let at = SocketAddr::new(address, HOST_PORT);
            Server::start(Some(world.lab.lb()), at, "host", profile).unwrap()
        })
        .into()
}

fn hooks(world: &World) -> Vec<(String, String)> {
    let status: StatusReport = world.ask(&Request::Status);
    status.attach.into_iter().map(|attached| (attached.interface, attached.hook)).collect()
}

#[test]
fn a_process_of_the_host_serves_beside_containers_and_machines() {
    for (attach, topology, gro, checksum_offload) in [
        (Attach::Tc, Topology::Bridge, false, true),
        (Attach::Tc, Topology::Bridge, false, false),
        (Attach::Tc, Topology::Remote, false, true),
        (Attach::Xdp, Topology::Remote, true, false),
        (Attach::XdpGeneric, Topology::Remote, false, false),
    ] {
        let case = format!("{attach:?} {topology:?} offload {checksum_offload}");
        let plan = LabPlan { gro, checksum_offload, ..plan(topology) };
        let world = World::with(plan, attach, Policy::RoundRobin, join);
        let servers = serve(&world);
        let report = world.load(400);
        assert_eq!((report.answered(), report.failures()), (400, 0), "{case}: {report:?}");
        assert_eq!(report.from_vip, 400, "{case}");
        assert_eq!(report.per_backend.get("host"), Some(&100), "{case}: {report:?}");
        drop(servers);
    }
}

#[test]
fn a_container_reaches_the_host_by_the_vip() {
    let world = World::with(plan(Topology::Bridge), Attach::Tc, Policy::RoundRobin, join);
    let servers = serve(&world);
    for host in [vip_v4(1).to_string(), format!("[{}]", vip_v6(1))] {
        let mut curl = world.lab.backends()[0].netns.command("curl");
        // Round-robin: each of the four backends of a family has its turn.
        let url = format!("http://{host}/?[1-4]");
        let fresh = ["-sS", "-i", "-H", "Connection: close", "--max-time", "3", &url];
        let output = curl.args(fresh).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(text.matches("HTTP/1.1 200").count(), 4, "{host}: {text} {output:?}");
        assert_eq!(text.matches("X-Backend: host").count(), 1, "{host}: {text}");
    }
    drop(servers);
}

#[test]
fn large_answers_of_the_host_arrive_whole() {
    let world = World::with(plan(Topology::Bridge), Attach::Tc, Policy::RoundRobin, |config| {
        config.services[0].backends = of_host().into();
    });
    let body = noise(8 << 20);
    for (host, vip) in [(IpAddr::V4(LB_V4), vip_v4(1).into()), (LB_V6.into(), vip_v6(1).into())] {
        let bind = || TcpListener::bind((host, HOST_PORT));
        let listener = world.lab.lb().in_netns(bind).unwrap().unwrap();
        let sent = body.clone();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&sent).unwrap();
        });
        let connect = || TcpStream::connect(SocketAddr::new(vip, PORT));
        let mut client = world.lab.client().in_netns(connect).unwrap().unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        server.join().unwrap();
        assert!(received == body, "{host}: {} bytes arrived", received.len());
    }
}

#[test]
fn datagrams_of_the_host_come_back_from_the_vip() {
    let world = World::with(plan(Topology::Bridge), Attach::Tc, Policy::Maglev, |config| {
        let service = &mut config.services[0];
        for listen in &mut service.listens {
            listen.protocol = Protocol::Udp;
        }
        service.backends = of_host().into();
        for backend in &mut service.backends {
            backend.endpoint.protocol = Protocol::Udp;
        }
    });
    for (host, vip, from) in [
        (IpAddr::V4(LB_V4), IpAddr::V4(vip_v4(1)), "198.18.0.2:0"),
        (IpAddr::V6(LB_V6), IpAddr::V6(vip_v6(1)), "[fd00:18::2]:0"),
    ] {
        let server =
            world.lab.lb().in_netns(|| UdpSocket::bind((host, HOST_PORT))).unwrap().unwrap();
        let client = world.lab.client().in_netns(|| UdpSocket::bind(from)).unwrap().unwrap();
        for socket in [&server, &client] {
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        }
        // One that fits into a frame, and one that does not.
        for length in [8, 4000] {
            client.send_to(&noise(length), (vip, 80)).unwrap();
            let mut bytes = [0; 8000];
            let (arrived, asker) = server.recv_from(&mut bytes).unwrap();
            assert_eq!(asker, client.local_addr().unwrap(), "the client's own address is seen");
            server.send_to(&bytes[..arrived], asker).unwrap();
            let (arrived, answerer) = client.recv_from(&mut bytes).unwrap();
            assert_eq!(answerer, SocketAddr::new(vip, 80));
            assert!(bytes[..arrived] == noise(length)[..], "{vip}: {arrived} of {length} bytes");
        }
        // Nobody is there any more: the host's own stack says so, in the name of the VIP.
        drop(server);
        client.connect((vip, 80)).unwrap();
        client.send(b"anybody?").unwrap();
        let error = client.recv(&mut [0; 64]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{vip}: {error}");
    }
}

#[test]
fn what_the_host_says_to_others_is_left_alone() {
    let world = World::with(plan(Topology::Bridge), Attach::Tc, Policy::RoundRobin, |config| {
        config.services[0].backends = of_host().into();
    });
    let servers = serve(&world);
    assert_eq!(world.load(20).failures(), 0);
    // The backend's own port, past the VIP, and one that no service knows.
    let profile = ServerProfile { service_time: Duration::ZERO, slots: 64 };
    let other = SocketAddr::new(IpAddr::V4(LB_V4), HOST_PORT + 1);
    let other = Server::start(Some(world.lab.lb()), other, "other", profile).unwrap();
    for (at, name) in [
        (format!("{LB_V4}:{HOST_PORT}"), "host"),
        (format!("[{LB_V6}]:{HOST_PORT}"), "host"),
        (format!("{LB_V4}:{}", HOST_PORT + 1), "other"),
    ] {
        let output = world.curl(&format!("http://{at}/"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(&format!("X-Backend: {name}")), "{at}: {output:?}");
    }
    drop((servers, other));
}

#[test]
fn only_who_has_such_backends_pays_for_them() {
    let egress =
        |world: &World| hooks(world).into_iter().filter(|(_, hook)| hook == "tc-egress").count();
    let world = World::new(Topology::Bridge, Attach::Tc, Policy::RoundRobin);
    assert_eq!(egress(&world), 0, "{:?}", hooks(&world));
    let mut world = World::with(plan(Topology::Bridge), Attach::Tc, Policy::RoundRobin, join);
    // The uplink, and each container's link: clients may be behind all of them.
    assert_eq!(egress(&world), 4, "{:?}", hooks(&world));
    world.daemon.take().unwrap().finish().unwrap();
    world.config.services[0].backends.retain(|backend| backend.endpoint.port == BACKEND_PORT);
    world.start();
    assert_eq!(egress(&world), 0, "{:?}", hooks(&world));
}
