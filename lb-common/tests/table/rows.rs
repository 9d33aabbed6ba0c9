//! The rows.

use lb_common::pipeline::verdict::{Action, Reason};

use super::{
    Expected, Row,
    corners::corners,
    direct::direct,
    frame::{CLIENT_MAC, Frame, LOCAL_MAC, tcp, udp},
    full_nat::full_nat,
    guards::guards,
    lives::lives,
    nobody::nobody,
    translated::translated,
    tunnels::tunnels,
    world::{BACKEND_MAC, BRIDGE_MAC, OTHER_LINK, UPLINK, VETH},
};

const TO_BACKEND: Option<([u8; 6], [u8; 6])> = Some((BRIDGE_MAC, BACKEND_MAC));
const TO_CLIENT: Option<([u8; 6], [u8; 6])> = Some((LOCAL_MAC, CLIENT_MAC));

const VIP: &str = "198.18.1.1:80";
const BACKEND: &str = "198.18.10.2:8080";
const VIP6: &str = "[fd00:18:1::1]:80";
const BACKEND6: &str = "[fd00:18:10::2]:8080";

/// A packet that is forwarded or replied to.
fn goes(
    description: &'static str,
    input: Frame,
    reason: Reason,
    (action, ifindex): (Action, u32),
    output: Frame,
) -> Row {
    let expected = Expected { reason, action, ifindex, bytes: output.build() };
    Row { description, input: input.build(), expected }
}

/// Bytes that end where they are, unchanged.
fn bytes_stay(description: &'static str, input: Vec<u8>, reason: Reason, action: Action) -> Row {
    let expected = Expected { reason, action, ifindex: 0, bytes: input.clone() };
    Row { description, input, expected }
}

fn stays(description: &'static str, input: Frame, reason: Reason, action: Action) -> Row {
    bytes_stay(description, input.build(), reason, action)
}

/// All rows, in the order in which they run.
pub fn rows() -> Vec<Row> {
    [
        tcp_v4(),
        tcp_v6(),
        datagrams(),
        ways(),
        not_ours(),
        refused(),
        handshakes(),
        endings(),
        corners(),
        direct(),
        guards(),
        lives(),
        nobody(),
        tunnels(),
        full_nat(),
        translated(),
    ]
    .concat()
}

fn tcp_v4() -> Vec<Row> {
    let peer = (Action::RedirectPeer, VETH);
    let back = (Action::Transmit, UPLINK);
    let client = "198.18.0.2:40000";
    let to = |flags| tcp(client, VIP, flags);
    let from = |flags| tcp(BACKEND, client, flags).from_mac(BACKEND_MAC);
    vec![
        stays("a reply nobody asked for is not ours", from("SA"), Reason::NoListener, Action::Pass),
        goes(
            "SYN goes to the backend",
            to("S"),
            Reason::Forwarded,
            peer,
            to("S").sent(client, BACKEND, TO_BACKEND),
        ),
        goes(
            "the same SYN again goes to the same backend",
            to("S"),
            Reason::Forwarded,
            peer,
            to("S").sent(client, BACKEND, TO_BACKEND),
        ),
        goes(
            "SYN-ACK comes from the VIP",
            from("SA"),
            Reason::Replied,
            back,
            from("SA").sent(VIP, client, TO_CLIENT),
        ),
        goes(
            "ACK ends the handshake",
            to("A"),
            Reason::Forwarded,
            peer,
            to("A").sent(client, BACKEND, TO_BACKEND),
        ),
        goes(
            "data",
            to("A").payload(b"GET / HTTP/1.1\r\n\r\n"),
            Reason::Forwarded,
            peer,
            to("A").payload(b"GET / HTTP/1.1\r\n\r\n").sent(client, BACKEND, TO_BACKEND),
        ),
        goes(
            "data of odd length",
            to("A").payload(b"odd"),
            Reason::Forwarded,
            peer,
            to("A").payload(b"odd").sent(client, BACKEND, TO_BACKEND),
        ),
        goes(
            "an answer",
            from("A").payload(b"HTTP/1.1 200 OK\r\n\r\n"),
            Reason::Replied,
            back,
            from("A").payload(b"HTTP/1.1 200 OK\r\n\r\n").sent(VIP, client, TO_CLIENT),
        ),
        goes(
            "IP options",
            to("A").options(),
            Reason::Forwarded,
            peer,
            to("A").options().sent(client, BACKEND, TO_BACKEND),
        ),
        goes(
            "the client's packets come from another router",
            to("A").from_mac([2, 0, 0, 0, 0, 9]),
            Reason::Forwarded,
            peer,
            to("A").sent(client, BACKEND, TO_BACKEND),
        ),
        goes(
            "and the replies go there",
            from("A"),
            Reason::Replied,
            back,
            from("A").sent(VIP, client, Some((LOCAL_MAC, [2, 0, 0, 0, 0, 9]))),
        ),
        stays("the last hop is the stack's", to("A").hops(1), Reason::HopLimit, Action::Pass),
        stays("no hop left", to("A").hops(0), Reason::HopLimit, Action::Pass),
        stays("a reply at its last hop", from("A").hops(1), Reason::HopLimit, Action::Pass),
    ]
}

fn tcp_v6() -> Vec<Row> {
    let peer = (Action::RedirectPeer, VETH);
    let back = (Action::Transmit, UPLINK);
    let client = "[fd00:18::2]:40000";
    let to = |flags| tcp(client, VIP6, flags);
    let from = |flags| tcp(BACKEND6, client, flags).from_mac(BACKEND_MAC);
    vec![
        goes(
            "v6: SYN",
            to("S"),
            Reason::Forwarded,
            peer,
            to("S").sent(client, BACKEND6, TO_BACKEND),
        ),
        goes(
            "v6: SYN-ACK",
            from("SA"),
            Reason::Replied,
            back,
            from("SA").sent(VIP6, client, TO_CLIENT),
        ),
        goes(
            "v6: ACK",
            to("A"),
            Reason::Forwarded,
            peer,
            to("A").sent(client, BACKEND6, TO_BACKEND),
        ),
        goes(
            "v6: data",
            to("A").payload(b"GET"),
            Reason::Forwarded,
            peer,
            to("A").payload(b"GET").sent(client, BACKEND6, TO_BACKEND),
        ),
        goes(
            "v6: a hop-by-hop header",
            to("A").options(),
            Reason::Forwarded,
            peer,
            to("A").options().sent(client, BACKEND6, TO_BACKEND),
        ),
        goes(
            "v6: an answer",
            from("A").payload(b"200"),
            Reason::Replied,
            back,
            from("A").payload(b"200").sent(VIP6, client, TO_CLIENT),
        ),
        stays("v6: the last hop is the stack's", to("A").hops(1), Reason::HopLimit, Action::Pass),
    ]
}

fn datagrams() -> Vec<Row> {
    let link = (Action::Redirect, OTHER_LINK);
    let back = (Action::Transmit, UPLINK);
    let (client, vip, backend) = ("198.18.0.2:40001", "198.18.1.1:53", "198.18.10.2:5353");
    let to = || udp(client, vip);
    let from = || udp(backend, client).from_mac(BACKEND_MAC);
    let (client6, vip6, backend6) =
        ("[fd00:18::2]:41", "[fd00:18:1::1]:53", "[fd00:18:10::2]:5353");
    let without_checksum = |frame: Frame| {
        let mut bytes = frame.build();
        bytes[14 + 20 + 6..14 + 20 + 8].fill(0);
        bytes
    };
    let no_checksum = Row {
        description: "a datagram without a checksum keeps none",
        input: without_checksum(to()),
        expected: Expected {
            reason: Reason::Forwarded,
            action: Action::Redirect,
            ifindex: OTHER_LINK,
            bytes: without_checksum(to().sent(client, backend, TO_BACKEND)),
        },
    };
    vec![
        goes(
            "a datagram opens a flow",
            to(),
            Reason::Forwarded,
            link,
            to().sent(client, backend, TO_BACKEND),
        ),
        goes(
            "another before it is answered",
            to(),
            Reason::Forwarded,
            link,
            to().sent(client, backend, TO_BACKEND),
        ),
        goes("its answer", from(), Reason::Replied, back, from().sent(vip, client, TO_CLIENT)),
        goes(
            "an empty datagram",
            to().payload(b""),
            Reason::Forwarded,
            link,
            to().payload(b"").sent(client, backend, TO_BACKEND),
        ),
        no_checksum,
        goes(
            "v6: a datagram",
            udp(client6, vip6),
            Reason::Forwarded,
            link,
            udp(client6, vip6).sent(client6, backend6, TO_BACKEND),
        ),
        goes(
            "v6: its answer",
            udp(backend6, client6).from_mac(BACKEND_MAC),
            Reason::Replied,
            back,
            udp(backend6, client6).sent(vip6, client6, TO_CLIENT),
        ),
        goes(
            "a port of a range keeps its number",
            udp(client, "198.18.1.1:27010"),
            Reason::Forwarded,
            (Action::Pass, 0),
            udp(client, "198.18.1.1:27010").sent(client, "198.18.10.3:27010", None),
        ),
        stays(
            "a port before the range",
            udp(client, "198.18.1.1:27007"),
            Reason::NotService,
            Action::Pass,
        ),
        stays(
            "a port behind the range",
            udp(client, "198.18.1.1:27016"),
            Reason::NotService,
            Action::Pass,
        ),
    ]
}

fn ways() -> Vec<Row> {
    let client = "198.18.0.2:40002";
    let (vip, backend) = ("198.18.1.2:80", "198.18.10.5:8080");
    let hairpin = "198.19.0.8:40003";
    let own = tcp("198.18.10.2:40003", VIP, "S");
    vec![
        goes(
            "a backend on the uplink's own link",
            tcp(client, vip, "S"),
            Reason::Forwarded,
            (Action::Transmit, UPLINK),
            tcp(client, vip, "S").sent(client, backend, TO_BACKEND),
        ),
        goes(
            "a tagged frame stays on its link",
            tcp(client, vip, "S").vlan(5),
            Reason::Forwarded,
            (Action::Transmit, UPLINK),
            tcp(client, vip, "S").vlan(5).sent(client, backend, TO_BACKEND),
        ),
        goes(
            "a tagged frame to another link goes through the stack",
            tcp("198.18.0.2:40004", VIP, "S").vlan(5),
            Reason::Forwarded,
            (Action::Pass, VETH),
            tcp("198.18.0.2:40004", VIP, "S").vlan(5).sent("198.18.0.2:40004", BACKEND, None),
        ),
        goes(
            "and so do the replies",
            tcp(BACKEND, "198.18.0.2:40004", "SA"),
            Reason::Replied,
            (Action::Pass, 0),
            tcp(BACKEND, "198.18.0.2:40004", "SA").sent(VIP, "198.18.0.2:40004", None),
        ),
        goes(
            "a backend that calls its own VIP sees another client",
            own.clone(),
            Reason::Forwarded,
            (Action::RedirectPeer, VETH),
            own.sent(hairpin, BACKEND, TO_BACKEND),
        ),
        goes(
            "and its answer comes back to itself",
            tcp(BACKEND, hairpin, "SA"),
            Reason::Replied,
            (Action::Transmit, UPLINK),
            tcp(BACKEND, hairpin, "SA").sent(VIP, "198.18.10.2:40003", TO_CLIENT),
        ),
    ]
}

fn not_ours() -> Vec<Row> {
    let client = "198.18.0.2:40005";
    let pass = Action::Pass;
    let mut rows = vec![
        stays("another port", tcp(client, "198.18.1.1:9", "S"), Reason::NotService, pass),
        stays("another address", tcp(client, "198.18.1.9:80", "S"), Reason::NoListener, pass),
        stays("another protocol on the same port", udp(client, VIP), Reason::NotService, pass),
        stays(
            "a backend's port, an unknown flow",
            tcp(BACKEND, "198.18.0.77:1", "A"),
            Reason::NoListener,
            pass,
        ),
    ];
    let syn = tcp(client, VIP, "S").build();
    let change = |at: usize, bytes: &[u8]| {
        let mut frame = syn.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let syn6 = tcp("[fd00:18::2]:7", VIP6, "S").build();
    let change6 = |at: usize, bytes: &[u8]| {
        let mut frame = syn6.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let ends: [(&'static str, Vec<u8>, Reason); 14] = [
        ("ARP", change(12, &[0x08, 0x06]), Reason::NotIp),
        ("an LLC frame", change(12, &[0x00, 0x26]), Reason::NotIp),
        ("ICMP", change(23, &[1]), Reason::Icmp),
        ("GRE", change(23, &[47]), Reason::NotTransport),
        ("a fragment without a first one", change(20, &[0x00, 0x10]), Reason::Fragment),
        ("version 5", change(14, &[0x55]), Reason::Malformed),
        ("a header of 16 bytes", change(14, &[0x44]), Reason::Malformed),
        ("a header longer than the packet says", change(14, &[0x4f]), Reason::Malformed),
        ("a total length of 0", change(16, &[0, 0]), Reason::Malformed),
        ("a total length without the TCP header", change(16, &[0, 39]), Reason::Malformed),
        ("three tags", three_tags(&syn), Reason::TooManyHeaders),
        ("v6: version 4", change6(14, &[0x40]), Reason::Malformed),
        ("v6: ICMPv6", change6(20, &[58]), Reason::Icmp),
        ("v6: no next header", change6(20, &[59]), Reason::NotTransport),
    ];
    rows.extend(ends.map(|(what, bytes, reason)| bytes_stay(what, bytes, reason, pass)));
    rows
}

fn three_tags(frame: &[u8]) -> Vec<u8> {
    let tag = [0x81, 0x00, 0x00, 0x05];
    [&frame[..12], &tag, &tag, &tag, &frame[12..]].concat()
}

fn refused() -> Vec<Row> {
    let client = "198.18.0.2:40006";
    let drop = Action::Drop;
    let allowed = tcp(client, "198.18.1.1:82", "S");
    vec![
        stays(
            "a source that is not allowed",
            tcp("198.18.9.2:1", "198.18.1.1:82", "S"),
            Reason::SourceDenied,
            drop,
        ),
        goes(
            "a source that is allowed",
            allowed.clone(),
            Reason::Forwarded,
            (Action::RedirectPeer, VETH),
            allowed.sent(client, BACKEND, TO_BACKEND),
        ),
    ]
}

/// Handshakes whose entry in the table is the client's alone, and those that need two.
fn handshakes() -> Vec<Row> {
    let peer = (Action::RedirectPeer, VETH);
    let back = (Action::Transmit, UPLINK);
    let forth = |what, client: &str, vip: &str, flags: &'static str| {
        let to = tcp(client, vip, flags);
        goes(what, to.clone(), Reason::Forwarded, peer, to.sent(client, BACKEND, TO_BACKEND))
    };
    let reply = |what, client: &str, vip: &str, flags: &'static str| {
        let from = tcp(BACKEND, client, flags).from_mac(BACKEND_MAC);
        goes(what, from.clone(), Reason::Replied, back, from.sent(vip, client, TO_CLIENT))
    };
    let (other, refused, short, midway) =
        ("198.18.0.2:40008", "198.18.0.2:40009", "198.18.0.2:40010", "198.18.0.2:40011");
    let second = "198.18.1.1:82";
    vec![
        forth("a second service with the same backend", other, second, "S"),
        reply("answers from the address that was asked", other, second, "SA"),
        forth("and its handshake ends", other, second, "A"),
        reply("and goes on", other, second, "A"),
        forth("a connection that is refused", refused, VIP, "S"),
        reply("by the backend", refused, VIP, "RA"),
        forth("is tried again", refused, VIP, "S"),
        reply("and accepted", refused, VIP, "SA"),
        forth("a client that opens", short, VIP, "S"),
        reply("is answered", short, VIP, "SA"),
        reply("a second time", short, VIP, "SA"),
        forth("and has nothing to say", short, VIP, "FA"),
        reply("and hears so", short, VIP, "FA"),
        forth("a connection that was there before", midway, VIP, "A"),
        reply("goes on", midway, VIP, "A"),
        forth("both ways", midway, VIP, "A"),
        stays(
            "v6: an IPv4-mapped address is not that of IPv4",
            tcp("[::ffff:198.18.0.2]:40012", "[::ffff:198.18.1.1]:80", "S"),
            Reason::NoListener,
            Action::Pass,
        ),
    ]
}

fn endings() -> Vec<Row> {
    let peer = (Action::RedirectPeer, VETH);
    let back = (Action::Transmit, UPLINK);
    let client = "198.18.0.2:40007";
    let to = |flags| tcp(client, VIP, flags);
    let from = |flags| tcp(BACKEND, client, flags).from_mac(BACKEND_MAC);
    let forth = |what, flags| {
        goes(what, to(flags), Reason::Forwarded, peer, to(flags).sent(client, BACKEND, TO_BACKEND))
    };
    let reply = |what, flags| {
        goes(what, from(flags), Reason::Replied, back, from(flags).sent(VIP, client, TO_CLIENT))
    };
    vec![
        forth("open", "S"),
        reply("answered", "SA"),
        forth("established", "A"),
        forth("the client has no more", "FA"),
        reply("the backend acknowledges", "A"),
        reply("the backend has no more", "FA"),
        forth("the last acknowledgement still goes", "A"),
        forth("the port is used again", "S"),
        reply("and answered", "SA"),
        forth("and established", "A"),
        reply("the backend resets", "RA"),
        // The client connects past the VIP, with the same port to the same backend: the answer to
        // that must not be rewritten, or the balancer hijacks a connection that is not its own.
        stays(
            "a SYN-ACK of a connection past the VIP",
            from("SA"),
            Reason::StaleReply,
            Action::Pass,
        ),
        stays("and its data", from("A"), Reason::NoListener, Action::Pass),
    ]
}
