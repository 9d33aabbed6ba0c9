//! Rows of services whose backends are of the other address family.

use lb_common::pipeline::verdict::{Action, Reason};

use super::{
    Expected, Row,
    frame::{CLIENT_MAC, Frame, LOCAL_MAC, tcp, udp},
    pieces::{Icmp, Message, atomic, fragments, quote},
    world::{BACKEND_MAC, BRIDGE_MAC, OTHER_LINK, UPLINK, VETH},
};

const TO_BACKEND: Option<([u8; 6], [u8; 6])> = Some((BRIDGE_MAC, BACKEND_MAC));
const TO_CLIENT: Option<([u8; 6], [u8; 6])> = Some((LOCAL_MAC, CLIENT_MAC));
const LINK: (Action, u32) = (Action::Redirect, OTHER_LINK);
const PEER: (Action, u32) = (Action::RedirectPeer, VETH);
const BACK: (Action, u32) = (Action::Transmit, UPLINK);
const LONG: &[u8] = b"a datagram that is cut into two, of which only one has ports";

/// All rows, in the order in which they run.
pub fn translated() -> Vec<Row> {
    [connection(V6_TO_V4, LINK), connection(V4_TO_V6, PEER), datagrams(), dropped()].concat()
}

/// A client, the VIP, the balancer's own end and the backend.
type Ends = (&'static str, &'static str, &'static str, &'static str);

const V6_TO_V4: Ends =
    ("[fd00:18::2]:46000", "[fd00:18:1::60]:80", "198.18.10.1:20000", "198.18.10.21:8080");
const V4_TO_V6: Ends =
    ("198.18.0.2:46000", "198.18.1.60:80", "[fd00:18:10::1]:20000", "[fd00:18:10::22]:8080");

fn row(
    description: &'static str,
    input: &Frame,
    reason: Reason,
    (action, ifindex): (Action, u32),
    bytes: Vec<u8>,
) -> Row {
    Row { description, input: input.build(), expected: Expected { reason, action, ifindex, bytes } }
}

fn ends(description: &'static str, input: Vec<u8>, reason: Reason, action: Action) -> Row {
    let expected = Expected { reason, action, ifindex: 0, bytes: input.clone() };
    Row { description, input, expected }
}

fn goes(what: &'static str, frame: Frame, (_, _, own, backend): Ends, way: (Action, u32)) -> Row {
    let sent = frame.clone().sent(own, backend, TO_BACKEND);
    row(what, &frame, Reason::Forwarded, way, marked(&frame, &sent))
}

fn returns(what: &'static str, frame: Frame, (client, vip, ..): Ends) -> Row {
    let sent = frame.clone().sent(vip, client, TO_CLIENT);
    row(what, &frame, Reason::Replied, BACK, marked(&frame, &sent))
}

/// A frame that was translated: over IPv4 it may be fragmented, and its identification is what follows the
/// ports of the original.
fn marked(original: &Frame, sent: &Frame) -> Vec<u8> {
    let mut bytes = sent.build();
    if sent.source.is_ipv6() {
        return bytes;
    }
    let original = original.build();
    let at = 14 + 40 + 4;
    bytes[18] = original[at] ^ original[at + 2];
    bytes[19] = original[at + 1] ^ original[at + 3];
    bytes[20] = 0;
    bytes[24..26].fill(0);
    let words = bytes[14..34].chunks(2).map(|two| u32::from(u16::from_be_bytes([two[0], two[1]])));
    let sum: u32 = words.sum();
    let check = !((sum & 0xffff) + (sum >> 16)) as u16;
    bytes[24..26].copy_from_slice(&check.to_be_bytes());
    bytes
}

fn connection(at: Ends, way: (Action, u32)) -> Vec<Row> {
    let (client, vip, own, backend) = at;
    let to = |flags| tcp(client, vip, flags);
    let from = |flags| tcp(backend, own, flags).from_mac(BACKEND_MAC);
    vec![
        goes("between the families: SYN", to("S"), at, way),
        goes("the same SYN again", to("S"), at, way),
        returns("SYN-ACK", from("SA"), at),
        goes("ACK", to("A"), at, way),
        goes("a question", to("A").payload(b"GET / HTTP/1.1\r\n\r\n"), at, way),
        returns("an answer of odd length", from("A").payload(b"odd"), at),
        ends("a client's options", to("A").options().build(), Reason::NotTranslated, Action::Drop),
        ends("a backend's", from("A").options().build(), Reason::NotTranslated, Action::Drop),
        ends("at its last hop", to("A").hops(1).build(), Reason::HopLimit, Action::Pass),
        goes("with one hop more", to("A").hops(2), at, way),
        goes("FIN", to("FA"), at, way),
        returns("the backend's FIN", from("FA"), at),
        goes("the port is used again", to("S"), at, way),
        returns("SYN-ACK", from("SA"), at),
        goes("RST", to("R"), at, way),
    ]
}

fn datagrams() -> Vec<Row> {
    let six: Ends =
        ("[fd00:18::2]:46000", "[fd00:18:1::60]:53", "198.18.10.1:20000", "198.18.10.21:5353");
    let four: Ends =
        ("198.18.0.2:46000", "198.18.1.60:53", "[fd00:18:10::1]:20000", "[fd00:18:10::22]:5353");
    let ask = |at: Ends| udp(at.0, at.1);
    let answer = |at: Ends| udp(at.3, at.2).payload(LONG).from_mac(BACKEND_MAC);
    let dropped = |what, bytes: Vec<u8>| ends(what, bytes, Reason::NotTranslated, Action::Drop);
    let [first, later] = fragments(&ask(four).payload(LONG), 7);
    let [first6, later6] = fragments(&ask(six).payload(LONG), 7);
    let mut unchecked = ask(four).build();
    unchecked[14 + 20 + 6..][..2].fill(0);
    vec![
        goes("a datagram to IPv4", ask(six), six, BACK),
        returns("its answer", answer(six), six),
        goes("the next one", ask(six), six, BACK),
        goes("and one more", ask(six).payload(LONG), six, BACK),
        dropped("a first fragment", first6),
        dropped("the later one", later6),
        dropped("an atomic fragment", atomic(&ask(six))),
        goes("a datagram to IPv6", ask(four), four, LINK),
        returns("its answer", answer(four), four),
        dropped("a first fragment", first),
        dropped("the later one", later),
        dropped("a datagram without a checksum", unchecked),
        goes("an empty one", ask(four).payload(b""), four, LINK),
    ]
}

fn dropped() -> Vec<Row> {
    let (client, vip, own, backend) = V4_TO_V6;
    let open = tcp(client, vip, "S");
    let macs = (CLIENT_MAC, LOCAL_MAC);
    let narrow = Icmp {
        macs,
        source: "fd00:18:10::77",
        destination: "fd00:18:10::1",
        hops: 64,
        message: Message::TooBig(1280),
        quoted: quote(&tcp(own, backend, "A").payload(LONG), 100),
    };
    let gone = Icmp {
        source: "198.18.0.2",
        destination: "198.18.1.60",
        message: Message::PortUnreachable,
        quoted: quote(&tcp(vip, client, "A").payload(LONG), 100),
        ..narrow.clone()
    };
    let tagged = open.clone().vlan(5);
    let drop = Action::Drop;
    vec![
        goes("a connection to IPv6", open, V4_TO_V6, PEER),
        ends("an error on the way to the backend", narrow.build(), Reason::NotTranslated, drop),
        ends("an error on the way to the client", gone.build(), Reason::NotTranslated, drop),
        row("a tagged frame", &tagged, Reason::NoWay, (drop, VETH), tagged.build()),
    ]
}
