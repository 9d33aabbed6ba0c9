//! Rows of what is neither a plain packet nor of a plain life: fragments, ICMP errors, resets.

use lb_common::pipeline::verdict::{Action, Reason};

use super::{
    Expected, Row,
    frame::{CLIENT_MAC, Frame, LOCAL_MAC, tcp, udp},
    pieces::{Icmp, Message, atomic, fragments, overlapping, quote, quote_least, reset},
    world::{BACKEND_MAC, BRIDGE_MAC, OTHER_LINK, UPLINK, VETH},
};

const TO_BACKEND: Option<([u8; 6], [u8; 6])> = Some((BRIDGE_MAC, BACKEND_MAC));
const TO_CLIENT: Option<([u8; 6], [u8; 6])> = Some((LOCAL_MAC, CLIENT_MAC));
const LINK: (Action, u32) = (Action::Redirect, OTHER_LINK);
const PEER: (Action, u32) = (Action::RedirectPeer, VETH);
const BACK: (Action, u32) = (Action::Transmit, UPLINK);

/// Longer than a first fragment holds, of odd length.
const LONG: &[u8] = b"a datagram that is cut into two, of which only one has ports";

/// All rows, in the order in which they run.
pub fn corners() -> Vec<Row> {
    [pieces_v4(), pieces_v6(), errors_v4(), errors_v6(), errors_about_nothing(), resets()].concat()
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

fn stays(description: &'static str, input: Vec<u8>, reason: Reason, action: Action) -> Row {
    row(description, input.clone(), reason, (action, 0), input)
}

fn pieces_v4() -> Vec<Row> {
    let (client, vip, backend) = ("198.18.0.2:42001", "198.18.1.1:53", "198.18.10.2:5353");
    let to = udp(client, vip).payload(LONG);
    let from = udp(backend, client).payload(LONG).from_mac(BACKEND_MAC);
    let [first, later] = fragments(&to, 7);
    let [sent_first, sent_later] = fragments(&to.clone().sent(client, backend, TO_BACKEND), 7);
    let [answer_first, answer_later] = fragments(&from, 9);
    let [back_first, back_later] = fragments(&from.clone().sent(vip, client, TO_CLIENT), 9);
    let [_, other] = fragments(&to, 8);
    let [_, elsewhere] = fragments(&udp("198.18.0.3:42001", vip).payload(LONG), 7);
    let [stray, stray_later] = fragments(&udp(client, "198.18.1.1:9").payload(LONG), 11);
    let mut dying = later.clone();
    dying[14 + 8] = 1;
    // The checksum makes up for the hops: 63 times 256 more.
    let check = u16::from_be_bytes([dying[24], dying[25]]);
    dying[24..26].copy_from_slice(&check.wrapping_add(63 << 8).to_be_bytes());
    let data = tcp(client, "198.18.1.1:80", "S").payload(LONG);
    let [cut, _] = fragments(&data, 12);
    let forwarded = Reason::Forwarded;
    vec![
        stays("a later fragment before the first", later.clone(), Reason::Fragment, Action::Pass),
        row("a first fragment opens a flow", first.clone(), forwarded, LINK, sent_first.clone()),
        row("the later one follows it", later.clone(), forwarded, LINK, sent_later.clone()),
        row("and once more", later.clone(), forwarded, LINK, sent_later.clone()),
        row(
            "one that overlaps, which the receiver judges",
            overlapping(&later),
            forwarded,
            LINK,
            overlapping(&sent_later),
        ),
        row("a first fragment of a known flow", first, forwarded, LINK, sent_first),
        row("fragments of an answer", answer_first, Reason::Replied, BACK, back_first),
        row("the rest of the answer", answer_later, Reason::Replied, BACK, back_later),
        stays("another identification", other, Reason::Fragment, Action::Pass),
        stays("another client", elsewhere, Reason::Fragment, Action::Pass),
        stays("a fragment for nobody", stray, Reason::NotService, Action::Pass),
        stays("and the rest of it", stray_later, Reason::Fragment, Action::Pass),
        stays("a later fragment at its last hop", dying, Reason::HopLimit, Action::Pass),
        stays("a fragment of half a TCP header", cut, Reason::Malformed, Action::Pass),
    ]
}

fn pieces_v6() -> Vec<Row> {
    let (client, vip, backend) =
        ("[fd00:18::2]:42001", "[fd00:18:1::1]:53", "[fd00:18:10::2]:5353");
    let to = udp(client, vip).payload(LONG);
    let sent = to.clone().sent(client, backend, TO_BACKEND);
    let from = udp(backend, client).payload(LONG).from_mac(BACKEND_MAC);
    let [first, later] = fragments(&to, 0x0102_0304);
    let [sent_first, sent_later] = fragments(&sent, 0x0102_0304);
    let [answer_first, answer_later] = fragments(&from, 9);
    let [back_first, back_later] = fragments(&from.clone().sent(vip, client, TO_CLIENT), 9);
    let whole = tcp("[fd00:18::2]:42002", "[fd00:18:1::1]:80", "S");
    let whole_sent = whole.clone().sent("[fd00:18::2]:42002", "[fd00:18:10::2]:8080", TO_BACKEND);
    let forwarded = Reason::Forwarded;
    let pass = Action::Pass;
    vec![
        stays("v6: a later fragment before the first", later.clone(), Reason::Fragment, pass),
        row("v6: a first fragment", first, forwarded, LINK, sent_first),
        row("v6: the later one", later.clone(), forwarded, LINK, sent_later.clone()),
        row(
            "v6: one that overlaps, which the receiver judges",
            overlapping(&later),
            forwarded,
            LINK,
            overlapping(&sent_later),
        ),
        row("v6: fragments of an answer", answer_first, Reason::Replied, BACK, back_first),
        row("v6: the rest of the answer", answer_later, Reason::Replied, BACK, back_later),
        row("v6: an atomic fragment", atomic(&whole), forwarded, PEER, atomic(&whole_sent)),
    ]
}

/// An error that arrives from the uplink or from the backend's side.
fn error(source: &'static str, destination: &'static str, message: Message) -> Icmp {
    let macs = (CLIENT_MAC, LOCAL_MAC);
    Icmp { macs, source, destination, hops: 64, message, quoted: Vec::new() }
}

fn about(error: Icmp, quoted: Vec<u8>) -> Icmp {
    Icmp { quoted, ..error }
}

fn errors_v4() -> Vec<Row> {
    let (client, vip, backend) = ("198.18.0.2:42010", "198.18.1.1:53", "198.18.10.2:5353");
    let open = udp(client, vip);
    let sent = open.clone().sent(client, backend, TO_BACKEND);
    let answer = udp(vip, client);
    let inner_answer = udp(backend, client);
    let refused =
        about(error("198.18.10.2", "198.18.0.2", Message::PortUnreachable), quote(&sent, 100));
    let as_asked = quote(&open.clone().hops(63), 100);
    let expired =
        about(error("198.18.10.77", "198.18.0.2", Message::TimeExceeded), quote_least(&sent));
    let expired_as_asked = quote_least(&open.clone().hops(63));
    let big = about(error("198.18.0.99", "198.18.1.1", Message::TooBig(1300)), quote(&answer, 100));
    let gone =
        about(error("198.18.0.2", "198.18.1.1", Message::PortUnreachable), quote_least(&answer));
    let error = Reason::IcmpError;
    vec![
        row("a flow of datagrams", open.build(), Reason::Forwarded, LINK, sent.build()),
        row(
            "the backend has nobody there: the VIP says so",
            refused.build(),
            error,
            BACK,
            refused.sent("198.18.1.1", "198.18.0.2", TO_CLIENT, as_asked).build(),
        ),
        row(
            "a router behind the balancer speaks for itself",
            expired.build(),
            error,
            BACK,
            expired.sent("198.18.10.77", "198.18.0.2", TO_CLIENT, expired_as_asked).build(),
        ),
        row(
            "a link to the client is too narrow: its backend hears it",
            big.build(),
            error,
            LINK,
            big.sent("198.18.0.99", "198.18.10.2", TO_BACKEND, quote(&inner_answer, 100)).build(),
        ),
        row(
            "the client has gone",
            gone.build(),
            error,
            LINK,
            gone.sent("198.18.0.2", "198.18.10.2", TO_BACKEND, quote_least(&inner_answer)).build(),
        ),
        stays(
            "an error at its last hop",
            Icmp { hops: 1, ..gone }.build(),
            Reason::HopLimit,
            Action::Pass,
        ),
    ]
}

fn errors_v6() -> Vec<Row> {
    let (client, vip, backend) =
        ("[fd00:18::2]:42010", "[fd00:18:1::1]:80", "[fd00:18:10::2]:8080");
    let open = tcp(client, vip, "S");
    let sent = open.clone().sent(client, backend, TO_BACKEND);
    let answer = |from: &str| tcp(from, client, "A").payload(LONG);
    let big =
        about(error("fd00:18::99", "fd00:18:1::1", Message::TooBig(1280)), quote(&answer(vip), 90));
    let early = about(
        error("fd00:18::99", "fd00:18:1::1", Message::TimeExceeded),
        quote_least(&answer(vip)),
    );
    let refused =
        about(error("fd00:18:10::2", "fd00:18::2", Message::PortUnreachable), quote(&sent, 100));
    let as_asked = quote(&open.clone().hops(63), 100);
    let error = Reason::IcmpError;
    vec![
        row("v6: a connection", open.build(), Reason::Forwarded, PEER, sent.build()),
        row(
            "v6: packet too big, the whole TCP header is quoted",
            big.build(),
            error,
            PEER,
            big.sent("fd00:18::99", "fd00:18:10::2", TO_BACKEND, quote(&answer(backend), 90))
                .build(),
        ),
        row(
            "v6: eight bytes of the TCP header are quoted",
            early.build(),
            error,
            PEER,
            early
                .sent("fd00:18::99", "fd00:18:10::2", TO_BACKEND, quote_least(&answer(backend)))
                .build(),
        ),
        row(
            "v6: the backend refuses by ICMP",
            refused.build(),
            error,
            BACK,
            refused.sent("fd00:18:1::1", "fd00:18::2", TO_CLIENT, as_asked).build(),
        ),
    ]
}

fn errors_about_nothing() -> Vec<Row> {
    let (client, vip, backend) = ("198.18.0.2:42010", "198.18.1.1:53", "198.18.10.2:5353");
    let sent = udp(client, backend).hops(63);
    let to_client = || error("198.18.10.2", "198.18.0.2", Message::PortUnreachable);
    let short = quote(&sent, 20 + 7);
    let [first, later] = fragments(&sent.clone().payload(LONG), 3).map(|f| f[14..].to_vec());
    let inner = about(to_client(), quote(&sent, 28)).build()[14..].to_vec();
    let stranger = udp("198.18.0.2:42011", backend);
    let forged = error("198.18.10.2", "198.18.0.3", Message::PortUnreachable);
    let mut redirect = about(to_client(), quote(&sent, 100)).build();
    redirect[34] = 5;
    let v4_in_v6 =
        about(error("fd00:18:10::2", "fd00:18::2", Message::TimeExceeded), short.clone());
    [
        ("an echo request", Icmp { message: Message::Echo, ..to_client() }.build()),
        ("an error about another flow", about(to_client(), quote(&stranger, 100)).build()),
        ("an error about what the VIP never sent", {
            about(error("198.18.0.9", "198.18.1.1", Message::TimeExceeded), {
                quote(&udp(vip, "198.18.0.77:1"), 100)
            })
            .build()
        }),
        ("an error to somebody else than who sent", about(forged, quote(&sent, 100)).build()),
        ("a quotation that ends in the ports", about(to_client(), short).build()),
        ("a quotation of nothing", to_client().build()),
        ("a quoted fragment", about(to_client(), first).build()),
        ("a quoted later fragment", about(to_client(), later).build()),
        ("a quoted ICMP error", about(to_client(), inner).build()),
        ("a redirect", redirect),
        ("v6: a quotation of another family", v4_in_v6.build()),
    ]
    .map(|(what, bytes)| stays(what, bytes, Reason::Icmp, Action::Pass))
    .into()
}

fn resets() -> Vec<Row> {
    let (nobody, drained) = ("198.18.1.1:81", "198.18.1.1:83");
    let client = "198.18.0.2:42020";
    let refused = |what, frame: Frame| {
        let answer = reset(&frame, 0, Some(1001));
        row(what, frame.build(), Reason::NoBackend, BACK, answer)
    };
    let tagged = tcp(client, nobody, "S").vlan(5);
    let mut answer = reset(&Frame { vlan: None, ..tagged.clone() }, 0, Some(1001));
    answer.splice(12..12, tagged.build()[12..16].to_vec());
    vec![
        refused("a connection to a service without backends", tcp(client, nobody, "S")),
        refused("at its last hop", tcp(client, nobody, "S").hops(1)),
        refused("with a payload of odd length", tcp(client, nobody, "S").payload(b"early")),
        refused("to a service whose backend is drained", tcp(client, drained, "S")),
        row("from a tagged link", tagged.build(), Reason::NoBackend, BACK, answer),
    ]
}
