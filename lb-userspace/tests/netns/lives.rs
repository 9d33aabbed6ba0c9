//! What the kernel's stacks at both ends make of lives that few connections have: a request in the SYN, one side
//! that has forgotten, a port that is used again at once.

use std::{
    collections::BTreeSet,
    fs, io,
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    time::Duration,
};

use lb_userspace::{
    lab::{Netns, Topology, vip_v4, vip_v6},
    model::{Attach, Policy},
};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage, sendto, setsockopt, socket,
    sockopt,
};

use super::{
    crowd::Connection,
    world::{PORT, World, plan},
};

/// Only a broken test waits so long.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where servers of a test's own listen.
const OWN_PORT: u16 = 9090;
/// A packet to there gets lost.
const LOST: &str = "blackhole";

fn vips() -> [SocketAddr; 2] {
    [IpAddr::V4(vip_v4(1)), IpAddr::V6(vip_v6(1))].map(|vip| SocketAddr::new(vip, PORT))
}

fn route(netns: &Netns, verb: &str, to: IpAddr) {
    let family = if to.is_ipv4() { "-4" } else { "-6" };
    let arguments = [family, "route", verb, LOST, &to.to_string()];
    assert!(netns.command("ip").args(arguments).status().unwrap().success(), "{verb} {to}");
}

/// Ends a connection so that the other end hears nothing of it.
fn forget(netns: &Netns, stream: TcpStream, other: IpAddr) {
    route(netns, "add", other);
    let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&stream, sockopt::Linger, &at_once).unwrap();
    drop(stream);
    route(netns, "del", other);
}

#[test]
fn a_port_is_used_again_at_once() {
    for (attach, topology) in
        [(Attach::Tc, Topology::Bridge), (Attach::XdpGeneric, Topology::Remote)]
    {
        let world = World::new(topology, attach, Policy::RoundRobin);
        for vip in vips() {
            let mut answered = BTreeSet::new();
            // Whoever says that the connection ends rests in TIME_WAIT: here the server.
            for round in 0..30 {
                let call = || {
                    let mut connection = Connection::open(vip, 7000)?;
                    let name = connection.ask(false)?;
                    connection.into_stream().read_to_end(&mut Vec::new())?;
                    Ok(name)
                };
                let name: io::Result<String> = world.lab.client().in_netns(call).unwrap();
                answered.insert(name.unwrap_or_else(|error| panic!("{vip}, {round}: {error}")));
            }
            assert_eq!(answered.len(), 3, "{attach:?} {vip}: each time a connection of its own");
        }
    }
}

#[test]
fn a_client_that_has_forgotten_its_connection_gets_another_one() {
    let world = World::new(Topology::Bridge, Attach::Tc, Policy::RoundRobin);
    let client = world.lab.client();
    for vip in vips() {
        let open = || Connection::open(vip, 7001);
        let mut connection = client.in_netns(open).unwrap().unwrap();
        let name = connection.ask(true).unwrap();
        forget(client, connection.into_stream(), vip.ip());
        // The backend says what it knows of, the client resets that, and says its SYN again.
        let mut connection = client.in_netns(open).unwrap().unwrap();
        connection.ask(true).unwrap_or_else(|error| panic!("{vip}, after {name}: {error}"));
    }
}

/// One backend of the test's own for each family.
fn own_server(world: &World, v6: bool) -> TcpListener {
    let backend = &world.lab.backends()[0];
    let address = if v6 { IpAddr::V6(backend.v6) } else { IpAddr::V4(backend.v4) };
    let bind = || TcpListener::bind((address, OWN_PORT));
    backend.netns.in_netns(bind).unwrap().unwrap()
}

fn own_servers(attach: Attach, backends: usize) -> World {
    let topology = if attach == Attach::Tc { Topology::Bridge } else { Topology::Remote };
    World::with(plan(topology), attach, Policy::RoundRobin, |config| {
        let service = &mut config.services[0];
        service.backends.truncate(backends * 2);
        for backend in &mut service.backends {
            backend.endpoint.port = OWN_PORT;
        }
    })
}

#[test]
fn a_client_of_a_backend_that_has_forgotten_is_told() {
    let world = own_servers(Attach::Tc, 1);
    for vip in vips() {
        let server = own_server(&world, vip.is_ipv6());
        let dial = || TcpStream::connect_timeout(&vip, PATIENCE);
        let mut client = world.lab.client().in_netns(dial).unwrap().unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(b"x").unwrap();
        let (mut stream, asker) = server.accept().unwrap();
        stream.read_exact(&mut [0]).unwrap();
        forget(&world.lab.backends()[0].netns, stream, asker.ip());
        client.write_all(b"y").unwrap();
        let error = client.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{vip}: {error}");
        // From the same port, as its own stack has forgotten it, too.
        let port = client.local_addr().unwrap().port();
        drop(client);
        let open = || Connection::open(vip, port);
        let again = world.lab.client().in_netns(open).unwrap().unwrap();
        assert_eq!(server.accept().unwrap().1.port(), port, "{vip}");
        drop(again);
    }
}

/// A counter of a namespace's TCP.
fn counter(netns: &Netns, name: &str) -> u64 {
    let read = || fs::read_to_string("/proc/thread-self/net/netstat");
    let text = netns.in_netns(read).unwrap().unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let mut pairs = names.split(' ').zip(values.split(' '));
    pairs.find(|(of, _)| *of == name).unwrap().1.parse().unwrap()
}

/// Fast open in a namespace, for clients and for all who listen.
fn allow_fast_open(netns: &Netns) {
    let write = || fs::write("/proc/sys/net/ipv4/tcp_fastopen", "1027");
    netns.in_netns(write).unwrap().unwrap();
}

/// Sends a byte with the SYN, if the client has a cookie for that, and reads one.
fn ask_fast(netns: &Netns, vip: SocketAddr) -> io::Result<u8> {
    let call = || {
        let family = if vip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let stream =
            TcpStream::from(socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?);
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let fast = MsgFlags::from_bits_retain(libc::MSG_FASTOPEN);
        sendto(stream.as_raw_fd(), b"?", &SockaddrStorage::from(vip), fast)?;
        let mut answer = [0];
        (&stream).read_exact(&mut answer)?;
        Ok(answer[0])
    };
    netns.in_netns(call).unwrap()
}

/// Answers one byte by another until its listener ends.
fn serve(server: TcpListener, name: u8) {
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = server.accept() {
            let mut byte = [0];
            if stream.read_exact(&mut byte).is_ok() && byte == *b"." {
                return;
            }
            let _ = stream.write_all(&[name]);
        }
    });
}

#[test]
fn a_request_in_the_syn_is_answered() {
    for attach in [Attach::Tc, Attach::XdpGeneric] {
        let world = own_servers(attach, 1);
        let (client, server) = (world.lab.client(), &world.lab.backends()[0].netns);
        allow_fast_open(client);
        allow_fast_open(server);
        for vip in vips() {
            serve(own_server(&world, vip.is_ipv6()), b'!');
            let begun = counter(client, "TCPFastOpenActive");
            // The first one brings the cookie.
            for _ in 0..6 {
                assert_eq!(ask_fast(client, vip).unwrap(), b'!', "{attach:?} {vip}");
            }
            let sent = counter(client, "TCPFastOpenActive") - begun;
            assert_eq!(sent, 5, "{attach:?} {vip}: taken with the SYN");
        }
        assert_eq!(counter(server, "TCPFastOpenPassive"), 10, "{attach:?}");
        for v6 in [false, true] {
            let address = &world.lab.backends()[0];
            let at = if v6 { IpAddr::V6(address.v6) } else { IpAddr::V4(address.v4) };
            let end = || TcpStream::connect((at, OWN_PORT))?.write_all(b".");
            server.in_netns(end).unwrap().unwrap();
        }
    }
}
