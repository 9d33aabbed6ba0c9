//! TCP and UDP as the kernel's own sockets speak them.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use lb_userspace::{
    lab::{LabPlan, Topology, vip_v4, vip_v6},
    model::{
        Attach, BackendSpec, Endpoint, FlowLimits, Forward, Listen, Policy, PortRange, Protocol,
        Service, ServiceName, Weight,
    },
};

use super::world::{BACKEND_PORT, PORT, World, plan};

fn curl_both(world: &World) {
    for url in [format!("http://{}/", vip_v4(1)), format!("http://[{}]/", vip_v6(1))] {
        let output = world.curl(&url);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(text.starts_with("HTTP/1.1 200"), "{url}: {text} {errors}");
        assert!(text.contains("X-Backend: b"), "{url}: {text}");
    }
}

#[test]
fn curl_reaches_the_backends_over_both_families() {
    for topology in [Topology::Bridge, Topology::Routed, Topology::Remote] {
        curl_both(&World::new(topology, Attach::Tc, Policy::RoundRobin));
    }
}

#[test]
fn without_forwarding_in_the_kernel_containers_are_reached_all_the_same() {
    let plan = LabPlan { forwarding: false, ..plan(Topology::Bridge) };
    curl_both(&World::with(plan, Attach::Tc, Policy::RoundRobin, |_| {}));
}

#[test]
fn checksums_left_to_the_link_arrive_right() {
    for checksum_offload in [false, true] {
        let plan = LabPlan { checksum_offload, ..plan(Topology::Bridge) };
        let world = World::with(plan, Attach::Tc, Policy::RoundRobin, |_| {});
        let report = world.load(200);
        assert_eq!((report.answered(), report.failures()), (200, 0), "{checksum_offload}");
    }
}

#[test]
fn a_large_transfer_both_ways_is_whole() {
    let world = World::new(Topology::Bridge, Attach::Tc, Policy::RoundRobin);
    let size = 8_000_000;
    let backend = &world.lab.backends()[0];
    let at = SocketAddr::new(IpAddr::V4(backend.v4), BACKEND_PORT + 1);
    drop(world);
    let world = World::with(plan(Topology::Bridge), Attach::Tc, Policy::RoundRobin, |config| {
        let service = &mut config.services[0];
        service.backends.truncate(1);
        service.listens.truncate(1);
        service.backends[0].endpoint.port = BACKEND_PORT + 1;
    });
    let listener =
        world.lab.backends()[0].netns.in_netns(|| TcpListener::bind(at)).unwrap().unwrap();
    let echo = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut all = Vec::new();
        let mut reader = stream.try_clone().unwrap();
        reader.read_to_end(&mut all).unwrap();
        stream.write_all(&all).unwrap();
    });
    let connect = || TcpStream::connect((vip_v4(1), PORT));
    let mut stream = world.lab.client().in_netns(connect).unwrap().unwrap();
    let sent: Vec<u8> = (0_u32..size).map(|n| (n % 251) as u8).collect();
    stream.write_all(&sent).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    echo.join().unwrap();
    assert!(received == sent, "{} bytes came back", received.len());
}

fn udp_service(
    world: &mut lb_userspace::model::Config,
    address: IpAddr,
    ports: PortRange,
    port: u16,
) {
    let endpoint = Endpoint { address, port, protocol: Protocol::Udp };
    let listen = Listen { address: IpAddr::V4(vip_v4(2)), ports, protocol: Protocol::Udp };
    world.services.push(Service {
        name: ServiceName::new("udp").unwrap(),
        listens: vec![listen],
        policy: Policy::Maglev,
        forward: Forward::Nat,
        backends: vec![BackendSpec { endpoint, weight: Weight::DEFAULT, cgroup: None }],
        health: None,
        report: None,
        affinity: None,
        sources: Vec::new(),
        scale: None,
        limits: FlowLimits::default(),
    });
}

/// Sends a datagram to `to` and returns who answered and what.
fn ask(socket: &UdpSocket, to: SocketAddr) -> (SocketAddr, Vec<u8>) {
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.send_to(b"question", to).unwrap();
    let mut answer = [0; 64];
    let (length, from) = socket.recv_from(&mut answer).unwrap();
    (from, answer[..length].to_vec())
}

#[test]
fn datagrams_and_a_port_range_come_back_from_the_vip() {
    let backend = "198.18.10.2".parse().unwrap();
    let range = PortRange::new(27000, 27100).unwrap();
    let world = World::with(plan(Topology::Bridge), Attach::Tc, Policy::Maglev, |config| {
        udp_service(config, backend, range, 0);
    });
    for port in [27000, 27050, 27100] {
        let bind = || UdpSocket::bind((backend, port));
        let server = world.lab.backends()[0].netns.in_netns(bind).unwrap().unwrap();
        let answering = std::thread::spawn(move || {
            let mut question = [0; 64];
            let (length, from) = server.recv_from(&mut question).unwrap();
            server.send_to(&question[..length], from).unwrap();
        });
        let client = world.lab.client().in_netns(|| UdpSocket::bind("198.18.0.2:0"));
        let vip = SocketAddr::new(IpAddr::V4(vip_v4(2)), port);
        assert_eq!(ask(&client.unwrap().unwrap(), vip), (vip, b"question".to_vec()));
        answering.join().unwrap();
    }
}

#[test]
fn a_container_of_this_host_and_a_backend_itself_may_call_the_vip() {
    let world = World::new(Topology::Bridge, Attach::Tc, Policy::RoundRobin);
    let backend = &world.lab.backends()[0];
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..6 {
        let url = format!("http://{}/", vip_v4(1));
        let mut curl = backend.netns.command("curl");
        let output = curl.args(["-sS", "-i", "--max-time", "3", &url]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(text.starts_with("HTTP/1.1 200"), "{text} {errors}");
        let line = text.lines().find(|line| line.starts_with("X-Backend")).unwrap();
        seen.insert(line.to_owned());
    }
    // Round-robin: the caller itself was among the three that answered.
    assert_eq!(seen.len(), 3, "{seen:?}");
}
