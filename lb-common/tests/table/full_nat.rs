//! Rows of services whose backends see an address and a port of the balancer. There is one such port, so
//! that it is known which one a flow gets.

use lb_common::pipeline::verdict::{Action, Reason};

use super::{
    Expected, Row,
    frame::{CLIENT_MAC, Frame, LOCAL_MAC, tcp, udp},
    pieces::{Icmp, Message, fragments, quote, quote_least},
    world::{BACKEND_MAC, BRIDGE_MAC, OTHER_LINK, UPLINK, VETH},
};

const TO_BACKEND: Option<([u8; 6], [u8; 6])> = Some((BRIDGE_MAC, BACKEND_MAC));
const TO_CLIENT: Option<([u8; 6], [u8; 6])> = Some((LOCAL_MAC, CLIENT_MAC));
const LINK: (Action, u32) = (Action::Redirect, OTHER_LINK);
const PEER: (Action, u32) = (Action::RedirectPeer, VETH);
const BACK: (Action, u32) = (Action::Transmit, UPLINK);
const DROPPED: (Action, u32) = (Action::Drop, OTHER_LINK);
const LONG: &[u8] = b"a datagram that is cut into two, of which only one has ports";

/// All rows, in the order in which they run.
pub fn full_nat() -> Vec<Row> {
    [connection(), errors_v4(), ends(), connection_v6(), datagrams(), not_sent()].concat()
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

fn goes(what: &'static str, input: &Frame, way: (Action, u32), output: &Frame) -> Row {
    row(what, input.build(), Reason::Forwarded, way, output.build())
}

fn returns(what: &'static str, input: &Frame, output: &Frame) -> Row {
    row(what, input.build(), Reason::Replied, BACK, output.build())
}

fn stays(description: &'static str, input: &Frame, reason: Reason, action: Action) -> Row {
    let bytes = input.build();
    row(description, bytes.clone(), reason, (action, 0), bytes)
}

/// A client, the VIP, the balancer's own end and the backend.
type Ends = (&'static str, &'static str, &'static str, &'static str);

const V4: Ends = ("198.18.0.2:45000", "198.18.1.50:80", "198.18.10.1:20000", "198.18.10.17:8080");
const V6: Ends =
    ("[fd00:18::2]:45000", "[fd00:18:1::50]:80", "[fd00:18:10::1]:20000", "[fd00:18:10::17]:8080");
const DATAGRAMS: Ends =
    ("198.18.0.2:45000", "198.18.1.50:53", "198.18.10.1:20000", "198.18.10.17:5353");

fn to((client, vip, ..): Ends, flags: &'static str) -> Frame {
    tcp(client, vip, flags)
}

fn from((_, _, own, backend): Ends, flags: &'static str) -> Frame {
    tcp(backend, own, flags).from_mac(BACKEND_MAC)
}

/// What a backend gets of a client's frame.
fn out(frame: Frame, (_, _, own, backend): Ends) -> Frame {
    frame.sent(own, backend, TO_BACKEND)
}

/// What a client gets of a backend's frame.
fn back(frame: Frame, (client, vip, ..): Ends) -> Frame {
    frame.sent(vip, client, TO_CLIENT)
}

/// The life of a connection until it has spoken.
fn life(ends: Ends, way: (Action, u32), [syn, ack, data]: [&'static str; 3]) -> Vec<Row> {
    let (ask, answer) = (to(ends, "A").payload(b"question"), from(ends, "A").payload(b"odd"));
    vec![
        goes(syn, &to(ends, "S"), way, &out(to(ends, "S"), ends)),
        goes("the same SYN again keeps its port", &to(ends, "S"), way, &out(to(ends, "S"), ends)),
        returns("SYN-ACK", &from(ends, "SA"), &back(from(ends, "SA"), ends)),
        goes(ack, &to(ends, "A"), way, &out(to(ends, "A"), ends)),
        goes(data, &ask, way, &out(ask.clone(), ends)),
        returns("the answer", &answer, &back(answer.clone(), ends)),
        returns("an answer with options", &answer.clone().options(), &{
            back(answer.clone().options(), ends)
        }),
        goes("a question with options", &ask.clone().options(), way, &out(ask.options(), ends)),
    ]
}

fn connection() -> Vec<Row> {
    let (_, vip, _, backend) = V4;
    let other = tcp("198.18.0.3:45000", vip, "S");
    let astray = tcp(backend, "198.18.10.1:20001", "SA").from_mac(BACKEND_MAC);
    let mut rows =
        vec![stays("an answer before the question", &from(V4, "SA"), Reason::NoListener, {
            Action::Pass
        })];
    rows.extend(life(V4, LINK, ["full NAT: SYN", "ACK", "data"]));
    rows.extend([
        stays("the only port is taken", &other, Reason::NoPort, Action::Drop),
        stays("still is", &other, Reason::NoPort, Action::Drop),
        stays("an answer to another port", &astray, Reason::NoListener, Action::Pass),
        stays("at its last hop", &to(V4, "A").hops(1), Reason::HopLimit, Action::Pass),
    ]);
    rows
}

fn errors_v4() -> Vec<Row> {
    let (client, vip, own, backend) = V4;
    let error = |source, destination, message, quoted| {
        let macs = (CLIENT_MAC, LOCAL_MAC);
        Icmp { macs, source, destination, hops: 64, message, quoted }
    };
    let sent = out(to(V4, "A").payload(LONG), V4);
    let as_asked = || to(V4, "A").payload(LONG).hops(63);
    let answer = |from: &str, to: &str| tcp(from, to, "A").payload(LONG);
    let narrow = error("198.18.10.77", "198.18.10.1", Message::TooBig(1300), quote(&sent, 100));
    let least = error("198.18.10.77", "198.18.10.1", Message::TimeExceeded, quote_least(&sent));
    let refused = error("198.18.10.17", "198.18.10.1", Message::PortUnreachable, quote(&sent, 100));
    let far = error("198.18.0.99", "198.18.1.50", Message::TooBig(1300), {
        quote(&answer(vip, client), 100)
    });
    let gone = error("198.18.0.2", "198.18.1.50", Message::PortUnreachable, {
        quote_least(&answer(vip, client))
    });
    let stranger = error("198.18.10.77", "198.18.10.1", Message::TimeExceeded, {
        quote(&tcp("198.18.10.1:20001", backend, "A"), 100)
    });
    let mut tagged = gone.build();
    tagged.splice(12..12, [0x81, 0, 0, 5]);
    let ends = Reason::IcmpError;
    let (to_client, to_backend) = ("198.18.0.2", "198.18.10.17");
    vec![
        row("a router on the way to the backend", narrow.build(), ends, BACK, {
            narrow.sent("198.18.10.77", to_client, TO_CLIENT, quote(&as_asked(), 100)).build()
        }),
        row("which quotes no more than it has to", least.build(), ends, BACK, {
            least.sent("198.18.10.77", to_client, TO_CLIENT, quote_least(&as_asked())).build()
        }),
        row("the backend itself is the VIP", refused.build(), ends, BACK, {
            refused.sent("198.18.1.50", to_client, TO_CLIENT, quote(&as_asked(), 100)).build()
        }),
        row("a router on the way to the client", far.build(), ends, LINK, {
            let quoted = quote(&answer(backend, own), 100);
            far.sent("198.18.0.99", to_backend, TO_BACKEND, quoted).build()
        }),
        row("the client itself is the balancer", gone.build(), ends, LINK, {
            let quoted = quote_least(&answer(backend, own));
            gone.sent("198.18.10.1", to_backend, TO_BACKEND, quoted).build()
        }),
        row(
            "an error about a port of nobody",
            stranger.build(),
            Reason::Icmp,
            (Action::Pass, 0),
            stranger.build(),
        ),
        row("a tagged error to another link", tagged.clone(), Reason::NoWay, DROPPED, tagged),
    ]
}

fn ends() -> Vec<Row> {
    let (_, vip, own, backend) = V4;
    let other: Ends = ("198.18.0.3:45000", vip, own, backend);
    let moved = Frame { macs: ([2, 0, 0, 0, 0, 9], LOCAL_MAC), ..to(V4, "A") };
    let to_moved = Some((LOCAL_MAC, [2, 0, 0, 0, 0, 9]));
    vec![
        goes("the client's packets come another way", &moved, LINK, &{
            moved.clone().sent(own, backend, TO_BACKEND)
        }),
        returns("and so do its answers", &from(V4, "A"), &{
            from(V4, "A").sent(vip, "198.18.0.2:45000", to_moved)
        }),
        goes("and back", &to(V4, "A"), LINK, &out(to(V4, "A"), V4)),
        goes("FIN", &to(V4, "FA"), LINK, &out(to(V4, "FA"), V4)),
        returns("the backend's FIN", &from(V4, "FA"), &back(from(V4, "FA"), V4)),
        goes("the last ACK", &to(V4, "A"), LINK, &out(to(V4, "A"), V4)),
        stays("a closed flow keeps its port", &to(other, "S"), Reason::NoPort, Action::Drop),
        goes("its client uses it again", &to(V4, "S"), LINK, &out(to(V4, "S"), V4)),
        returns("SYN-ACK", &from(V4, "SA"), &back(from(V4, "SA"), V4)),
        goes("RST", &to(V4, "R"), LINK, &out(to(V4, "R"), V4)),
        stays("and nobody else", &to(other, "S"), Reason::NoPort, Action::Drop),
    ]
}

fn connection_v6() -> Vec<Row> {
    let (client, vip, own, backend) = V6;
    let mut rows = life(V6, PEER, ["full NAT, v6: SYN", "v6: ACK", "v6: data"]);
    let sent = out(to(V6, "A").payload(LONG), V6);
    let macs = (CLIENT_MAC, LOCAL_MAC);
    let narrow = Icmp {
        macs,
        source: "fd00:18:10::77",
        destination: "fd00:18:10::1",
        hops: 64,
        message: Message::TooBig(1280),
        quoted: quote(&sent, 100),
    };
    let gone = Icmp {
        source: "fd00:18::2",
        destination: "fd00:18:1::50",
        message: Message::PortUnreachable,
        quoted: quote(&tcp(vip, client, "A").payload(LONG), 100),
        ..narrow.clone()
    };
    rows.extend([
        row("v6: a router on the way to the backend", narrow.build(), Reason::IcmpError, BACK, {
            let quoted = quote(&to(V6, "A").payload(LONG).hops(63), 100);
            narrow.sent("fd00:18:10::77", "fd00:18::2", TO_CLIENT, quoted).build()
        }),
        row("v6: the client itself is the balancer", gone.build(), Reason::IcmpError, PEER, {
            let quoted = quote(&tcp(backend, own, "A").payload(LONG), 100);
            gone.sent("fd00:18:10::1", "fd00:18:10::17", TO_BACKEND, quoted).build()
        }),
        stays("v6: the only port is taken", &tcp("[fd00:18::3]:1", vip, "S"), Reason::NoPort, {
            Action::Drop
        }),
    ]);
    rows
}

fn datagrams() -> Vec<Row> {
    let (client, vip, own, backend) = DATAGRAMS;
    let ask = udp(client, vip).payload(LONG);
    let answer = udp(backend, own).payload(LONG).from_mac(BACKEND_MAC);
    let [first, later] = fragments(&ask, 7);
    let [sent_first, sent_later] = fragments(&out(ask.clone(), DATAGRAMS), 7);
    let [answer_first, answer_later] = fragments(&answer, 9);
    let [back_first, back_later] = fragments(&back(answer.clone(), DATAGRAMS), 9);
    let (forwarded, replied) = (Reason::Forwarded, Reason::Replied);
    vec![
        goes("full NAT: a datagram", &ask, LINK, &out(ask.clone(), DATAGRAMS)),
        stays("of another client", &udp("198.18.0.3:1", vip), Reason::NoPort, Action::Drop),
        returns("the answer", &answer, &back(answer.clone(), DATAGRAMS)),
        goes("the next datagram", &ask, LINK, &out(ask.clone(), DATAGRAMS)),
        goes("and one more", &ask, LINK, &out(ask.clone(), DATAGRAMS)),
        returns("and its answer", &answer, &back(answer.clone(), DATAGRAMS)),
        row("a first fragment", first, forwarded, LINK, sent_first),
        row("the later one", later, forwarded, LINK, sent_later),
        row("a first fragment of an answer", answer_first, replied, BACK, back_first),
        row("the later one of it", answer_later, replied, BACK, back_later),
    ]
}

fn not_sent() -> Vec<Row> {
    let tagged = tcp("198.18.0.9:45000", "198.18.1.51:80", "S").vlan(5);
    let unknown = tcp("198.18.0.9:45000", "198.18.1.52:80", "S");
    let nowhere = tcp("198.18.0.9:45000", "198.18.1.53:80", "S");
    vec![
        stays("full NAT: a tagged frame to another link", &tagged, Reason::NoWay, Action::Drop),
        stays("the next hop is not known", &unknown, Reason::NoWay, Action::Drop),
        stays("no address of the balancer leads there", &nowhere, Reason::NoWay, Action::Drop),
    ]
}
