//! Rows of services whose packets are not translated: backends have the VIP and answer by themselves.

use lb_common::pipeline::verdict::{Action, Reason};

use super::{
    Expected, Row,
    frame::{CLIENT_MAC, Frame, LOCAL_MAC, tcp, udp},
    pieces::{Icmp, Message, fragments, quote},
    world::{BACKEND_MAC, BRIDGE_MAC, OTHER_LINK, UPLINK, VETH},
};

const TO_BACKEND: Option<([u8; 6], [u8; 6])> = Some((BRIDGE_MAC, BACKEND_MAC));
const LINK: (Action, u32) = (Action::Redirect, OTHER_LINK);
const PEER: (Action, u32) = (Action::RedirectPeer, VETH);
const BACK: (Action, u32) = (Action::Transmit, UPLINK);

/// All rows, in the order in which they run.
pub fn direct() -> Vec<Row> {
    [connections(), datagrams(), errors(), not_sent(), not_ours()].concat()
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

/// The packet a hop later, addresses and ports as they were.
fn unchanged(frame: &Frame) -> Frame {
    let (source, destination) = (frame.source.to_string(), frame.destination.to_string());
    frame.clone().sent(&source, &destination, TO_BACKEND)
}

fn goes(description: &'static str, frame: Frame, to: (Action, u32)) -> Row {
    row(description, frame.build(), Reason::Forwarded, to, unchanged(&frame).build())
}

fn stays(description: &'static str, input: Vec<u8>, reason: Reason, action: Action) -> Row {
    row(description, input.clone(), reason, (action, 0), input)
}

fn connections() -> Vec<Row> {
    let to = |flags| tcp("198.18.0.2:43000", "198.18.1.4:80", flags);
    let v6 = |flags| tcp("[fd00:18::2]:43000", "[fd00:18:1::4]:80", flags);
    let own = |flags| tcp("198.18.10.8:43000", "198.18.1.4:80", flags);
    vec![
        goes("direct: SYN", to("S"), LINK),
        goes("direct: the same SYN again", to("S"), LINK),
        goes("direct: ACK of an answer that nobody here saw", to("A"), LINK),
        goes("direct: data", to("A").payload(b"GET / HTTP/1.1\r\n\r\n"), LINK),
        goes("direct: data again", to("A").payload(b"odd"), LINK),
        goes("direct: IP options", to("A").options(), LINK),
        goes("direct: from another router", to("A").from_mac([2, 0, 0, 0, 0, 9]), LINK),
        goes("direct: FIN", to("FA"), LINK),
        goes("direct: ACK after the FIN", to("A"), LINK),
        goes("direct: the port is used again", to("S"), LINK),
        goes("direct: RST", to("R"), LINK),
        goes("direct: and again", to("S"), LINK),
        goes("direct, v6: SYN", v6("S"), PEER),
        goes("direct, v6: ACK", v6("A"), PEER),
        goes("direct, v6: data", v6("A").payload(b"GET"), PEER),
        goes("direct, v6: a hop-by-hop header", v6("A").options(), PEER),
        goes("direct: a backend that calls its own service", own("S"), LINK),
    ]
}

fn datagrams() -> Vec<Row> {
    let client = "198.18.0.2:43001";
    let to = udp(client, "198.18.1.4:53").payload(b"a datagram that is cut into two, at the end");
    let [first, later] = fragments(&to, 31);
    let [sent_first, sent_later] = fragments(&unchanged(&to), 31);
    vec![
        goes("direct: a datagram", to.clone(), BACK),
        goes("direct: the next one", to, BACK),
        row("direct: a first fragment", first, Reason::Forwarded, BACK, sent_first),
        row("direct: the later one", later, Reason::Forwarded, BACK, sent_later),
    ]
}

/// What routers say of the backend's answers reaches the backend.
fn errors() -> Vec<Row> {
    let answer = udp("198.18.1.4:53", "198.18.0.2:43001");
    let icmp = |macs, hops| Icmp {
        macs,
        source: "198.18.0.99",
        destination: "198.18.1.4",
        hops,
        message: Message::TooBig(1300),
        quoted: quote(&answer, 100),
    };
    let arrives = icmp((CLIENT_MAC, LOCAL_MAC), 64).build();
    let leaves = icmp((BRIDGE_MAC, BACKEND_MAC), 63).build();
    vec![row("direct: an answer was too large", arrives, Reason::IcmpError, BACK, leaves)]
}

fn not_sent() -> Vec<Row> {
    let (client, vip) = ("198.18.0.2:43002", "198.18.1.5:80");
    let drop = Action::Drop;
    let to = |flags| tcp("198.18.0.2:43003", "198.18.1.4:80", flags);
    let (tagged, gone) = (to("S").vlan(5).build(), (Action::Drop, OTHER_LINK));
    vec![
        stays("direct: no next hop, SYN", tcp(client, vip, "S").build(), Reason::NoWay, drop),
        stays("direct: no next hop, ACK", tcp(client, vip, "A").build(), Reason::NoWay, drop),
        stays("direct: no next hop, data", tcp(client, vip, "A").build(), Reason::NoWay, drop),
        row("direct: a tag only the stack takes off", tagged.clone(), Reason::NoWay, gone, tagged),
        stays("direct: the last hop", to("A").hops(1).build(), Reason::HopLimit, Action::Pass),
    ]
}

/// Replies that come by here all the same are the stack's to route.
fn not_ours() -> Vec<Row> {
    let (client, vip, own) = ("198.18.0.2:43000", "198.18.1.4:80", "198.18.10.8:80");
    let pass = |what, frame: Frame| {
        stays(what, frame.from_mac(BACKEND_MAC).build(), Reason::NoListener, Action::Pass)
    };
    vec![
        pass("direct: SYN-ACK from the VIP", tcp(vip, client, "SA")),
        pass("direct: an answer from the VIP", tcp(vip, client, "A").payload(b"200")),
        pass("direct: a datagram from the VIP", udp("198.18.1.4:53", "198.18.0.2:43001")),
        pass("direct: an answer from the backend's own address", tcp(own, client, "SA")),
    ]
}
