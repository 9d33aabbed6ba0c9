//! What the kernel's stacks at both ends make of fragments, ICMP errors and resets that passed Weir.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    os::fd::{AsRawFd as _, OwnedFd},
    time::Duration,
};

use etherparse::{Icmpv4Header, Icmpv4Type, PacketBuilder, icmpv4};
use lb_userspace::{
    daemon::{self, background::Background},
    lab::{LabPlan, Topology, vip_v4, vip_v6},
    model::{Attach, Config, Policy, Protocol, Unserved},
};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, sendto, socket,
};

use super::world::{PORT, World, eventually, plan};

/// Port of the datagram service's backends.
const SERVER: u16 = 5353;

/// One backend, asked by datagrams.
fn datagrams(config: &mut Config) {
    let service = &mut config.services[0];
    service.backends.truncate(2);
    for listen in &mut service.listens {
        listen.protocol = Protocol::Udp;
    }
    for backend in &mut service.backends {
        (backend.endpoint.protocol, backend.endpoint.port) = (Protocol::Udp, SERVER);
    }
}

/// A client of each family, with its VIP and where its backend listens.
fn pairs(world: &World) -> [(UdpSocket, SocketAddr, SocketAddr); 2] {
    let backend = &world.lab.backends()[0];
    [
        ("198.18.0.2:0", IpAddr::V4(vip_v4(1)), IpAddr::V4(backend.v4)),
        ("[fd00:18::2]:0", IpAddr::V6(vip_v6(1)), IpAddr::V6(backend.v6)),
    ]
    .map(|(from, vip, server)| {
        let client = world.lab.client().in_netns(|| UdpSocket::bind(from)).unwrap().unwrap();
        let vip = SocketAddr::new(vip, PORT);
        client.connect(vip).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        (client, vip, SocketAddr::new(server, SERVER))
    })
}

fn serve(world: &World, at: SocketAddr) -> UdpSocket {
    let bind = || UdpSocket::bind(at);
    let server = world.lab.backends()[0].netns.in_netns(bind).unwrap().unwrap();
    server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    server
}

#[test]
fn datagrams_larger_than_a_frame_pass_both_ways() {
    for (attach, topology) in [
        (Attach::Tc, Topology::Bridge),
        (Attach::Tc, Topology::Remote),
        (Attach::XdpGeneric, Topology::Remote),
    ] {
        let plan = LabPlan { checksum_offload: attach == Attach::Tc, ..plan(topology) };
        let world = World::with(plan, attach, Policy::RoundRobin, datagrams);
        let large: Vec<u8> = (0..4000_u32).map(|n| (n % 251) as u8).collect();
        for (client, vip, at) in pairs(&world) {
            let server = serve(&world, at);
            let case = format!("{attach:?} {topology:?} {vip}");
            for _ in 0..3 {
                client.send(&large).unwrap();
                let mut bytes = [0; 8000];
                let (length, asker) = server.recv_from(&mut bytes).expect(&case);
                assert_eq!(asker, client.local_addr().unwrap(), "{case}");
                assert!(bytes[..length] == large[..], "{case}: {length} bytes arrived");
                server.send_to(&bytes[..length], asker).unwrap();
                let length = client.recv(&mut bytes).expect(&case);
                assert!(bytes[..length] == large[..], "{case}: {length} bytes came back");
            }
        }
    }
}

#[test]
fn a_client_hears_that_nobody_listens_at_the_backend() {
    let world = World::with(plan(Topology::Bridge), Attach::Tc, Policy::RoundRobin, datagrams);
    for (client, vip, _) in pairs(&world) {
        client.send(b"anybody?").unwrap();
        // The socket is connected to the VIP: an error about any other address is not its own.
        let error = client.recv(&mut [0; 64]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{vip}: {error}");
    }
}

/// Sends an ICMP message from the client's namespace.
fn send_icmp(world: &World, to: IpAddr, message: &[u8]) {
    let (family, protocol) = match to {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    let open = || socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol);
    let raw: OwnedFd = world.lab.client().in_netns(open).unwrap().unwrap();
    let to = SockaddrStorage::from(SocketAddr::new(to, 0));
    let sent = sendto(raw.as_raw_fd(), message, &to, MsgFlags::empty()).unwrap();
    assert_eq!(sent, message.len());
}

/// What a router on the way to the client says of a packet from the VIP that was too large for it.
fn too_big(vip: SocketAddr, client: SocketAddr, mtu: u16) -> Vec<u8> {
    let payload = [0; 1400];
    let mut quoted = Vec::new();
    let message = match (vip.ip(), client.ip()) {
        (IpAddr::V4(vip_v4), IpAddr::V4(client_v4)) => {
            let builder = PacketBuilder::ipv4(vip_v4.octets(), client_v4.octets(), 60);
            builder.udp(vip.port(), client.port()).write(&mut quoted, &payload).unwrap();
            let about = icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: mtu };
            quoted.truncate(520);
            Icmpv4Header::with_checksum(Icmpv4Type::DestinationUnreachable(about), &quoted)
                .to_bytes()
                .to_vec()
        }
        (IpAddr::V6(vip_v6), IpAddr::V6(client_v6)) => {
            let builder = PacketBuilder::ipv6(vip_v6.octets(), client_v6.octets(), 60);
            builder.udp(vip.port(), client.port()).write(&mut quoted, &payload).unwrap();
            quoted.truncate(1200);
            // The kernel fills the checksum in.
            [&[2, 0, 0, 0, 0, 0][..], &mtu.to_be_bytes()].concat()
        }
        _ => unreachable!("of one family"),
    };
    [message, quoted].concat()
}

#[test]
fn a_backend_hears_of_narrow_links_on_the_way_to_its_client() {
    let world = World::with(plan(Topology::Bridge), Attach::Tc, Policy::RoundRobin, datagrams);
    for (client, vip, at) in pairs(&world) {
        let server = serve(&world, at);
        client.send(b"send me much").unwrap();
        let mut bytes = [0; 64];
        let (_, asker) = server.recv_from(&mut bytes).unwrap();
        server.send_to(b"here", asker).unwrap();
        client.recv(&mut bytes).unwrap();
        send_icmp(&world, vip.ip(), &too_big(vip, asker, 1300));
        let route = || {
            let mut ip = world.lab.backends()[0].netns.command("ip");
            let output = ip.args(["route", "get", &asker.ip().to_string()]).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        eventually(&format!("{vip}: {}", route()), || route().contains("mtu 1300"));
    }
}

/// Connects to the VIPs from the client's namespace.
fn connect(world: &World) -> Vec<io::Result<TcpStream>> {
    let dial = |vip: &SocketAddr| TcpStream::connect_timeout(vip, Duration::from_millis(700));
    let vips = World::vips();
    let connect = || vips.iter().map(dial).collect();
    world.lab.client().in_netns(connect).unwrap()
}

#[test]
fn who_connects_to_nobody_is_told_unless_that_is_not_wanted() {
    for (unserved, expected) in
        [(Unserved::Reset, ErrorKind::ConnectionRefused), (Unserved::Drop, ErrorKind::TimedOut)]
    {
        for checksum_offload in [true, false] {
            let plan = LabPlan { checksum_offload, ..plan(Topology::Bridge) };
            let world = World::with(plan, Attach::Tc, Policy::RoundRobin, |config| {
                config.services[0].backends.clear();
                config.unserved = unserved;
            });
            for result in connect(&world) {
                let error = result.expect_err("nobody is there");
                assert_eq!(error.kind(), expected, "{unserved:?} {checksum_offload}: {error}");
            }
        }
    }
}

#[test]
fn who_sends_datagrams_to_nobody_is_told_unless_that_is_not_wanted() {
    let told = Some(ErrorKind::ConnectionRefused);
    for (attach, checksum_offload, unserved, expected) in [
        (Attach::Tc, true, Unserved::Reset, told),
        (Attach::Tc, false, Unserved::Reset, told),
        (Attach::XdpGeneric, false, Unserved::Reset, told),
        (Attach::Tc, true, Unserved::Drop, None),
    ] {
        let plan = LabPlan { checksum_offload, ..plan(Topology::Remote) };
        let world = World::with(plan, attach, Policy::RoundRobin, |config| {
            datagrams(config);
            config.services[0].backends.clear();
            config.unserved = unserved;
        });
        for (client, vip, _) in pairs(&world) {
            // Without a payload, shorter and longer than what is quoted, of odd length, and in pieces.
            for length in [0, 1, 64, 333, 1400, 3000] {
                let case = format!("{attach:?} {checksum_offload} {unserved:?} {vip} {length}");
                let wait = Duration::from_millis(if expected.is_some() { 5000 } else { 200 });
                client.set_read_timeout(Some(wait)).unwrap();
                client.send(&vec![7; length]).expect(&case);
                let error = client.recv(&mut [0; 64]).expect_err(&case);
                let silent = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                let kind = (!silent).then(|| error.kind());
                assert_eq!(kind, expected, "{case}: {error}");
            }
        }
    }
}

/// Every link of the laboratory takes frames of 9,000 bytes.
fn widen(world: &World) {
    let backends = world.lab.backends().iter().map(|backend| &backend.netns);
    let places = [world.lab.client(), world.lab.lb()].into_iter().chain(world.lab.switch());
    for netns in places.chain(backends) {
        let links = netns.command("ip").args(["-o", "link"]).output().unwrap().stdout;
        let links = String::from_utf8(links).unwrap();
        let name = |line: &str| line.split([':', '@']).nth(1).map(|name| name.trim().to_owned());
        for link in links.lines().filter_map(name).filter(|name| name != "lo") {
            let arguments = ["link", "set", "dev", &link, "mtu", "9000"];
            assert!(netns.command("ip").args(arguments).status().unwrap().success(), "{link}");
        }
    }
}

#[test]
fn jumbo_frames_pass_both_ways() {
    for (attach, topology) in [
        (Attach::Tc, Topology::Bridge),
        (Attach::Tc, Topology::Remote),
        (Attach::XdpGeneric, Topology::Remote),
    ] {
        let plan = LabPlan { checksum_offload: attach == Attach::Tc, ..plan(topology) };
        let mut world = World::with(plan, attach, Policy::RoundRobin, datagrams);
        world.daemon.take().unwrap().finish().unwrap();
        widen(&world);
        world.start();
        for (client, vip, at) in pairs(&world) {
            let server = serve(&world, at);
            for length in [1, 3000, 8900] {
                let case = format!("{attach:?} {topology:?} {vip} {length}");
                let sent: Vec<u8> = (0..length).map(|n: u32| (n % 251) as u8).collect();
                client.send(&sent).unwrap();
                let mut bytes = [0; 9000];
                let (got, asker) = server.recv_from(&mut bytes).expect(&case);
                assert!(bytes[..got] == sent[..], "{case}: {got} bytes arrived");
                server.send_to(&bytes[..got], asker).unwrap();
                let got = client.recv(&mut bytes).expect(&case);
                assert!(bytes[..got] == sent[..], "{case}: {got} bytes came back");
            }
        }
    }
}

#[test]
fn native_xdp_says_that_it_takes_no_jumbo_frames() {
    let mut world = World::with(plan(Topology::Remote), Attach::Xdp, Policy::RoundRobin, datagrams);
    world.daemon.take().unwrap().finish().unwrap();
    widen(&world);
    let options = daemon::Options { config: world.config.clone(), file: None, bpffs: None };
    let Err(error) = Background::start(world.lab.lb(), options) else { panic!("attached") };
    let error = format!("{error:#}");
    assert!(error.contains("up0") && error.contains("a smaller MTU"), "{error}");
    let links = world.lab.lb().command("ip").args(["-d", "link"]).output().unwrap().stdout;
    assert!(!String::from_utf8_lossy(&links).contains("prog/"), "a program was left");
}
