//! Rows of services whose packets travel inside packets to their backends.

use std::net::{IpAddr, SocketAddr};

use etherparse::{IpFragOffset, IpNumber, Ipv4Header, Ipv6Header, ip_number};
use lb_common::pipeline::verdict::{Action, Reason};

use super::{
    Expected, Row,
    frame::{CLIENT_MAC, Frame, LOCAL_MAC, tcp, udp},
    pieces::{Icmp, Message, fragments, quote},
    world::{BACKEND_MAC, BRIDGE_MAC, OTHER_LINK, UPLINK, VETH},
};

const LINK: (Action, u32) = (Action::Redirect, OTHER_LINK);
const PEER: (Action, u32) = (Action::RedirectPeer, VETH);
const BACK: (Action, u32) = (Action::Transmit, UPLINK);
const ETHERNET: usize = 14;

/// All rows, in the order in which they run.
pub fn tunnels() -> Vec<Row> {
    [connections(), datagrams(), too_big(), not_sent()].concat()
}

fn row(
    description: &'static str,
    input: Vec<u8>,
    reason: Reason,
    (action, ifindex): (Action, u32),
    bytes: Vec<u8>,
) -> Row {
    Row { description, input, expected: Expected { reason, action, ifindex, bytes } }
}

/// What differs from flow to flow, as ADR 14 has it.
fn entropy(source: SocketAddr, destination: SocketAddr) -> u32 {
    let words = |ip: IpAddr| -> Vec<u32> {
        let bytes = match ip {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        bytes.chunks(4).map(|four| u32::from_le_bytes(four.try_into().unwrap())).collect()
    };
    let (from, to) = (words(source.ip()), words(destination.ip()));
    let addresses = match (&from[..], &to[..]) {
        ([from], [to]) => from ^ to.rotate_left(13),
        ([a, b, c, d], [e, f, g, h]) => {
            a ^ b ^ c ^ d.rotate_left(7) ^ e ^ f ^ g ^ h.rotate_left(13)
        }
        _ => panic!("two families in one packet"),
    };
    let port = |at: SocketAddr| u32::from(at.port().swap_bytes());
    let ports = port(source) << 16 | port(destination);
    let mut hash = addresses ^ ports.wrapping_mul(0x9e37_79b1);
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

/// The frame that carries the packet of another one: from its IP header on, with UDP or without.
fn carried(bytes: &[u8], flow: &Frame, backend: &str, gue: bool) -> Vec<u8> {
    let hash = entropy(flow.source, flow.destination);
    let inner = &bytes[ETHERNET..];
    let mut out = [BACKEND_MAC, BRIDGE_MAC].concat();
    out.extend(&bytes[12..14]);
    let udp = if gue { 8 } else { 0 };
    let number = |plain: IpNumber| if gue { ip_number::UDP } else { plain };
    let length = inner.len() + udp;
    match backend.parse().unwrap() {
        IpAddr::V4(to) => {
            // 15 bits of the source say which flow it is.
            let bits = hash.to_le_bytes();
            let from = [198, 19, 128 | bits[2] & 0x7f, bits[3]];
            let mut header =
                Ipv4Header::new(length as u16, 64, number(ip_number::IPV4), from, to.octets())
                    .unwrap();
            header.dont_fragment = true;
            header.fragment_offset = IpFragOffset::ZERO;
            header.header_checksum = header.calc_header_checksum();
            header.write(&mut out).unwrap();
        }
        IpAddr::V6(to) => Ipv6Header {
            flow_label: (hash & 0x000f_ffff).try_into().unwrap(),
            payload_length: length as u16,
            next_header: number(ip_number::IPV6),
            hop_limit: 64,
            source: "fd00:18:10::1".parse::<std::net::Ipv6Addr>().unwrap().octets(),
            destination: to.octets(),
            ..Default::default()
        }
        .write(&mut out)
        .unwrap(),
    }
    if gue {
        out.extend((0xc000 | hash as u16 & 0x3fff).to_be_bytes());
        out.extend(6080_u16.to_be_bytes());
        out.extend((length as u16).to_be_bytes());
        out.extend([0, 0]);
    }
    out.extend(inner);
    out
}

/// The packet with one hop less.
fn later(frame: &Frame) -> Frame {
    Frame { hop_limit: frame.hop_limit - 1, ..frame.clone() }
}

fn goes(what: &'static str, frame: Frame, backend: &str, gue: bool, to: (Action, u32)) -> Row {
    let sent = carried(&later(&frame).build(), &frame, backend, gue);
    row(what, frame.build(), Reason::Forwarded, to, sent)
}

fn stays(description: &'static str, input: Vec<u8>, reason: Reason, action: Action) -> Row {
    row(description, input.clone(), reason, (action, 0), input)
}

fn connections() -> Vec<Row> {
    let (v4, v6) = ("198.18.10.12", "fd00:18:10::12");
    let ipip = |flags| tcp("198.18.0.2:44000", "198.18.1.7:80", flags);
    let ip6ip6 = |flags| tcp("[fd00:18::2]:44000", "[fd00:18:1::7]:80", flags);
    let gue = |flags| tcp("198.18.0.2:44000", "198.18.1.8:80", flags);
    let gue6 = |flags| tcp("[fd00:18::2]:44000", "[fd00:18:1::8]:80", flags);
    let stays = |what, frame: Frame| stays(what, frame.build(), Reason::NoListener, Action::Pass);
    vec![
        goes("ipip: SYN", ipip("S"), v4, false, LINK),
        goes("ipip: the same SYN again", ipip("S"), v4, false, LINK),
        goes("ipip: ACK", ipip("A"), v4, false, LINK),
        goes("ipip: data", ipip("A").payload(b"GET / HTTP/1.1\r\n\r\n"), v4, false, LINK),
        goes("ipip: data again", ipip("A").payload(b"odd"), v4, false, LINK),
        goes("ipip: IP options", ipip("A").options(), v4, false, LINK),
        goes("ipip: FIN", ipip("FA"), v4, false, LINK),
        goes("ipip: the port is used again", ipip("S"), v4, false, LINK),
        goes("ipip: RST", ipip("R"), v4, false, LINK),
        goes("ip6ip6: SYN", ip6ip6("S"), v6, false, BACK),
        goes("ip6ip6: ACK", ip6ip6("A"), v6, false, BACK),
        goes("ip6ip6: data", ip6ip6("A").payload(b"GET"), v6, false, BACK),
        goes("ip6ip6: a hop-by-hop header", ip6ip6("A").options(), v6, false, BACK),
        goes("gue: SYN", gue("S"), v4, true, LINK),
        goes("gue: ACK", gue("A"), v4, true, LINK),
        goes("gue: data", gue("A").payload(b"odd"), v4, true, LINK),
        goes("gue, v6: SYN", gue6("S"), v6, true, BACK),
        goes("gue, v6: ACK", gue6("A"), v6, true, BACK),
        goes("gue, v6: data", gue6("A").payload(b"GET"), v6, true, BACK),
        stays("ipip: an answer that came by", tcp("198.18.1.7:80", "198.18.0.2:44000", "SA")),
    ]
}

fn datagrams() -> Vec<Row> {
    let (client, vip, backend) = ("198.18.0.2:44001", "198.18.1.7:53", "198.18.10.14");
    let to = udp(client, vip).payload(b"a datagram that is cut into two, at the end");
    let parts = fragments(&to, 41).into_iter().zip(fragments(&later(&to), 41));
    let mut rows = vec![goes("ipip: a datagram", to.clone(), backend, false, PEER)];
    for (what, (part, sent)) in ["ipip: a first fragment", "ipip: the later one"].iter().zip(parts)
    {
        rows.push(row(what, part, Reason::Forwarded, PEER, carried(&sent, &to, backend, false)));
    }
    // A router on the way to the client about an answer of the backend's, which the VIP sent.
    let icmp = |hops| Icmp {
        macs: (CLIENT_MAC, LOCAL_MAC),
        source: "198.18.0.99",
        destination: "198.18.1.7",
        hops,
        message: Message::TooBig(1300),
        quoted: quote(&udp(vip, client), 100),
    };
    let mut of_error = udp("198.18.0.99:0", "198.18.1.7:0");
    of_error.hop_limit = 63;
    let sent = carried(&icmp(63).build(), &of_error, backend, false);
    rows.push(row("ipip: an error", icmp(64).build(), Reason::IcmpError, PEER, sent));
    for (what, hops) in [("ipip: an error at its last hop", 1), ("ipip: an error without one", 0)] {
        rows.push(stays(what, icmp(hops).build(), Reason::HopLimit, Action::Pass));
    }
    rows
}

/// Longer than the tunnel leaves room for.
const LONG: &[u8] = &[b'x'; 300];
/// As long as there is room: 300 bytes, less two headers of IP and one of TCP.
const FITS: &[u8] = &[b'x'; 300 - 60];
const FITS_NOT: &[u8] = &[b'x'; 300 - 60 + 1];
/// The same over IPv6, with a UDP header.
const FITS6: &[u8] = &[b'x'; 300 - 108];
const FITS6_NOT: &[u8] = &[b'x'; 300 - 108 + 1];

fn told(what: &'static str, frame: Frame, mtu: u16, from: [&'static str; 2]) -> Row {
    let [source, destination] = from;
    let quoted = quote(&later(&frame), 128);
    let (macs, message) = ((LOCAL_MAC, CLIENT_MAC), Message::TooBig(mtu));
    let answer = Icmp { macs, source, destination, hops: 64, message, quoted };
    row(what, frame.build(), Reason::TooBig, BACK, answer.build())
}

fn too_big() -> Vec<Row> {
    let v4 = |flags| tcp("198.18.0.2:44002", "198.18.1.29:80", flags);
    let v6 = |flags| tcp("[fd00:18::2]:44002", "[fd00:18:1::29]:80", flags);
    let (from, from6) = (["198.18.1.29", "198.18.0.2"], ["fd00:18:1::29", "fd00:18::2"]);
    let (narrow, narrow6) = ("198.18.10.15", "fd00:18:10::16");
    let data = |payload| v4("A").payload(payload);
    let data6 = |payload| v6("A").payload(payload);
    // What is left to the link: the sum over the pseudo header, not yet turned over.
    let mut partial = data(LONG).build();
    let total = u32::from(partial[16]) << 8 | u32::from(partial[17]);
    let words = partial[26..34].chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
    let sum: u32 = words.sum::<u32>() + 6 + (total - 20);
    let sum = ((sum & 0xffff) + (sum >> 16)) as u16;
    partial[50..52].copy_from_slice(&sum.to_be_bytes());
    vec![
        goes("narrow: SYN", v4("S"), narrow, false, LINK),
        goes("narrow: ACK", v4("A"), narrow, false, LINK),
        goes("narrow: as much as fits", data(FITS), narrow, false, LINK),
        told("narrow: one byte more", data(FITS_NOT), 280, from),
        told("narrow: much more", data(LONG), 280, from),
        told("narrow: with options", data(LONG).options(), 280, from),
        goes("narrow: and less again", data(b"less"), narrow, false, LINK),
        goes("narrow, v6: SYN", v6("S"), narrow6, true, LINK),
        goes("narrow, v6: ACK", v6("A"), narrow6, true, LINK),
        goes("narrow, v6: as much as fits", data6(FITS6), narrow6, true, LINK),
        told("narrow, v6: one byte more", data6(FITS6_NOT), 252, from6),
        told("narrow, v6: with a hop-by-hop header", data6(LONG).options(), 252, from6),
        {
            // The link writes the checksum of the segment, and then the message's is right.
            let mut finished = later(&data(LONG)).build();
            let seed = partial[50..52].to_vec();
            let quoted = &mut finished[ETHERNET..ETHERNET + 128];
            quoted[36..38].copy_from_slice(&[0, 0]);
            let words = quoted[20..].chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
            let sum = words.sum::<u32>() + (u32::from(seed[0]) << 8 | u32::from(seed[1]));
            let sum = (sum & 0xffff) + (sum >> 16);
            let check = !(((sum & 0xffff) + (sum >> 16)) as u16);
            quoted[36..38].copy_from_slice(&check.to_be_bytes());
            let [source, destination] = from;
            let (macs, message) = ((LOCAL_MAC, CLIENT_MAC), Message::TooBig(280));
            let quoted = quoted.to_vec();
            let answer = Icmp { macs, source, destination, hops: 64, message, quoted };
            let mut bytes = answer.build();
            bytes[ETHERNET + 28 + 36..ETHERNET + 28 + 38].copy_from_slice(&seed);
            let what = "narrow: a checksum that is left to the link";
            row(what, partial, Reason::TooBig, BACK, bytes)
        },
    ]
}

fn not_sent() -> Vec<Row> {
    let (client, vip) = ("198.18.0.2:44003", "198.18.1.30:80");
    let to = |flags| tcp("198.18.0.2:44000", "198.18.1.8:80", flags);
    let drop = Action::Drop;
    vec![
        stays("gue: no next hop, SYN", tcp(client, vip, "S").build(), Reason::NoWay, drop),
        stays("gue: no next hop, ACK", tcp(client, vip, "A").build(), Reason::NoWay, drop),
        stays("gue: no next hop, data", tcp(client, vip, "A").build(), Reason::NoWay, drop),
        stays("gue: a tagged frame", to("A").vlan(5).build(), Reason::NoWay, drop),
        stays("gue: the last hop", to("A").hops(1).build(), Reason::HopLimit, Action::Pass),
    ]
}
