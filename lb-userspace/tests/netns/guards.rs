//! What a service does for itself: limits of new flows, answers to pings.

use std::{
    net::{IpAddr, SocketAddr, TcpStream},
    os::fd::{AsRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use etherparse::{IcmpEchoHeader, Icmpv4Header, Icmpv4Type};
use lb_userspace::{
    admin::{Request, report::ServiceReport},
    lab::{LabPlan, Topology},
    model::{Attach, FlowLimits, Ping, Policy},
};
use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, recvfrom,
        sendto, setsockopt, socket, sockopt,
    },
    time::TimeVal,
};

use super::world::{World, plan};

const IPV4: usize = 20;
const PAYLOAD: &[u8] = b"are you there?";

/// Whether the VIP answers a ping from the client's namespace.
fn answers(world: &World, vip: IpAddr) -> bool {
    let echo = IcmpEchoHeader { id: 4711, seq: 1 };
    let (family, protocol, request, answer, skip) = match vip {
        IpAddr::V4(_) => {
            let header = Icmpv4Header::with_checksum(Icmpv4Type::EchoRequest(echo), PAYLOAD);
            let request = [&header.to_bytes()[..], PAYLOAD].concat();
            (AddressFamily::Inet, SockProtocol::Icmp, request, 0, IPV4)
        }
        IpAddr::V6(_) => {
            // The kernel fills the checksum in.
            let [id, seq] = [echo.id.to_be_bytes(), echo.seq.to_be_bytes()];
            let request = [&[128, 0, 0, 0], &id[..], &seq[..], PAYLOAD].concat();
            (AddressFamily::Inet6, SockProtocol::IcmpV6, request, 129, 0)
        }
    };
    let open = || socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol);
    let raw: OwnedFd = world.lab.client().in_netns(open).unwrap().unwrap();
    setsockopt(&raw, sockopt::ReceiveTimeout, &TimeVal::new(0, 200_000)).unwrap();
    let to = SockaddrStorage::from(SocketAddr::new(vip, 0));
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        sendto(raw.as_raw_fd(), &request, &to, MsgFlags::empty()).unwrap();
        let mut bytes = [0; 256];
        let Ok((length, from)) = recvfrom::<SockaddrStorage>(raw.as_raw_fd(), &mut bytes) else {
            continue;
        };
        let message = bytes.get(skip..length).unwrap_or_default();
        let from = from.unwrap();
        let sender = match vip {
            IpAddr::V4(_) => from.as_sockaddr_in().map(|it| IpAddr::V4(it.ip())),
            IpAddr::V6(_) => from.as_sockaddr_in6().map(|it| IpAddr::V6(it.ip())),
        };
        if sender == Some(vip) && message.first() == Some(&answer) {
            assert_eq!(message[4..], request[4..], "{vip}");
            return true;
        }
    }
    false
}

#[test]
fn vips_answer_pings_unless_that_is_left_to_the_host() {
    for (attach, topology, ping) in [
        (Attach::Tc, Topology::Bridge, Ping::Answer),
        (Attach::XdpGeneric, Topology::Remote, Ping::Answer),
        (Attach::Tc, Topology::Bridge, Ping::Pass),
    ] {
        let plan = LabPlan { checksum_offload: attach == Attach::Tc, ..plan(topology) };
        let world = World::with(plan, attach, Policy::RoundRobin, |config| config.ping = ping);
        for vip in World::vips() {
            let answered = answers(&world, vip.ip());
            assert_eq!(answered, ping == Ping::Answer, "{attach:?} {ping:?} {vip}");
        }
    }
}

#[test]
fn a_source_gets_as_many_connections_as_its_limit_says() {
    for (per_source, new_flows) in [(Some(1), None), (None, Some(1))] {
        let world = World::with(plan(Topology::Bridge), Attach::Tc, Policy::RoundRobin, |config| {
            let burst = Duration::from_secs(3);
            config.services[0].limits = FlowLimits { new_flows, per_source, burst };
        });
        let vip = World::vips()[0];
        let (begun, mut taken) = (Instant::now(), Vec::new());
        for _ in 0..12 {
            let dial = || TcpStream::connect_timeout(&vip, Duration::from_millis(100));
            taken.extend(world.lab.client().in_netns(dial).unwrap().ok());
        }
        // Three that were saved up, and one; then one a second, and a SYN that came again.
        let most = 4 + begun.elapsed().as_secs() + 1;
        let case = format!("{per_source:?} {new_flows:?}: {} of 12", taken.len());
        assert!((4..=most).contains(&(taken.len() as u64)), "{case}");
        let [web] = &world.ask::<Vec<ServiceReport>>(&Request::Services)[..] else { panic!() };
        assert!(web.refused_total >= 12 - most, "{case}, {} refused", web.refused_total);
    }
}
