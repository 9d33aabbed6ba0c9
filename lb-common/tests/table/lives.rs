//! Rows of connections that live otherwise than most: data in the SYN, ends that cross, one side that has
//! forgotten, ports that are used again; and frames with two tags.

use lb_common::pipeline::verdict::{Action, Reason};

use super::{
    Expected, Row,
    frame::{CLIENT_MAC, Frame, LOCAL_MAC, tcp},
    world::{BACKEND_MAC, BRIDGE_MAC, UPLINK, VETH},
};

const TO_BACKEND: Option<([u8; 6], [u8; 6])> = Some((BRIDGE_MAC, BACKEND_MAC));
const TO_CLIENT: Option<([u8; 6], [u8; 6])> = Some((LOCAL_MAC, CLIENT_MAC));

/// All rows, in the order in which they run.
pub fn lives() -> Vec<Row> {
    let family = |ends: Ends| [fast_open(&ends), ends_that_cross(&ends), half_open(&ends)].concat();
    [family(V4), family(V6), two_tags(), half_a_tag()].concat()
}

/// A service, its backend and a client without its port.
struct Ends {
    client: &'static str,
    vip: &'static str,
    backend: &'static str,
}

const V4: Ends = Ends { client: "198.18.0.2", vip: "198.18.1.1:80", backend: "198.18.10.2:8080" };
const V6: Ends =
    Ends { client: "[fd00:18::2]", vip: "[fd00:18:1::1]:80", backend: "[fd00:18:10::2]:8080" };

fn row(
    description: &'static str,
    input: Vec<u8>,
    reason: Reason,
    (action, ifindex): (Action, u32),
    bytes: Vec<u8>,
) -> Row {
    Row { description, input, expected: Expected { reason, action, ifindex, bytes } }
}

impl Ends {
    fn client(&self, port: u16) -> String {
        format!("{}:{port}", self.client)
    }

    /// A client's packet, which goes to the backend.
    fn to(&self, what: &'static str, port: u16, flags: &'static str, data: &'static [u8]) -> Row {
        let client = self.client(port);
        let frame = tcp(&client, self.vip, flags).payload(data);
        let sent = frame.clone().sent(&client, self.backend, TO_BACKEND);
        let out = (Action::RedirectPeer, VETH);
        row(what, frame.build(), Reason::Forwarded, out, sent.build())
    }

    /// The backend's, which goes back.
    fn from(&self, what: &'static str, port: u16, flags: &'static str, data: &'static [u8]) -> Row {
        let client = self.client(port);
        let frame = tcp(self.backend, &client, flags).from_mac(BACKEND_MAC).payload(data);
        let sent = frame.clone().sent(self.vip, &client, TO_CLIENT);
        let out = (Action::Transmit, UPLINK);
        row(what, frame.build(), Reason::Replied, out, sent.build())
    }

    /// The backend's, which is nobody's.
    fn strange(&self, what: &'static str, port: u16, flags: &'static str, why: Reason) -> Row {
        let frame = tcp(self.backend, &self.client(port), flags).from_mac(BACKEND_MAC).build();
        row(what, frame.clone(), why, (Action::Pass, 0), frame)
    }

    fn opened(&self, port: u16) -> Vec<Row> {
        vec![
            self.to("a connection", port, "S", b""),
            self.from("is answered", port, "SA", b""),
            self.to("and open", port, "A", b""),
        ]
    }
}

/// RFC 7413: the request is in the SYN, and the answer may be there before the handshake ends.
fn fast_open(ends: &Ends) -> Vec<Row> {
    const PORT: u16 = 45_000;
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
    vec![
        ends.to("fast open: a SYN with a request", PORT, "S", REQUEST),
        ends.to("fast open: the same again", PORT, "S", REQUEST),
        ends.to("fast open: without the request, which something on the way eats", PORT, "S", b""),
        ends.from("fast open: the request is acknowledged", PORT, "SA", b""),
        ends.from("fast open: the answer comes before the client's ACK", PORT, "A", b"HTTP/1.1"),
        ends.to("fast open: that ends the handshake", PORT, "A", b""),
        ends.to("fast open: another request", PORT, "A", REQUEST),
        ends.from("fast open: another answer", PORT, "A", b"HTTP/1.1"),
        ends.to("fast open: a SYN-ACK with data in its answer", PORT + 1, "S", REQUEST),
        ends.from("fast open: has its data", PORT + 1, "SA", b"HTTP/1.1"),
        ends.to("fast open: a client that says all at once", PORT + 2, "SF", REQUEST),
        ends.from("fast open: hears all at once", PORT + 2, "SFA", b"HTTP/1.1"),
    ]
}

/// RFC 9293, figure 13: both sides send a FIN before they see the other's.
fn ends_that_cross(ends: &Ends) -> Vec<Row> {
    const PORT: u16 = 45_010;
    let crossed = |port, client_first| {
        let of = |client| {
            if client {
                ends.to("crossing: the client has no more", port, "FA", b"")
            } else {
                ends.from("crossing: neither has the backend", port, "FA", b"")
            }
        };
        let fins = vec![of(client_first), of(!client_first)];
        [
            ends.opened(port),
            fins,
            vec![
                ends.to("crossing: the client acknowledges", port, "A", b""),
                ends.from("crossing: the backend does", port, "A", b""),
                ends.from("crossing: its FIN, as the ACK was lost", port, "FA", b""),
                ends.to("crossing: again, then", port, "A", b""),
            ],
        ]
        .concat()
    };
    let again = vec![
        ends.to("crossing: the port is used again", PORT, "S", b""),
        ends.from("crossing: answered", PORT, "SA", b""),
        ends.to("crossing: and open", PORT, "A", b""),
        ends.from("crossing: it reaches the client", PORT, "A", b"hello"),
    ];
    [crossed(PORT, true), crossed(PORT + 1, false), again].concat()
}

/// RFC 9293, 3.5.1: one side has forgotten the connection, the other has not.
fn half_open(ends: &Ends) -> Vec<Row> {
    const CLIENT: u16 = 45_020;
    const BACKEND: u16 = 45_021;
    let client_forgot = vec![
        ends.to("half-open: the client begins anew, on an open flow", CLIENT, "S", b""),
        ends.from("half-open: the backend tells what it knows of", CLIENT, "A", b""),
        ends.to("half-open: nothing, says the client", CLIENT, "R", b""),
        ends.to("half-open: and tries again", CLIENT, "S", b""),
        ends.from("half-open: the backend is ready", CLIENT, "SA", b""),
        ends.to("half-open: so they go on", CLIENT, "A", b"data"),
        ends.from("half-open: both ways", CLIENT, "A", b"data"),
    ];
    let backend_forgot = vec![
        ends.to("half-open: data for who has forgotten", BACKEND, "A", b"data"),
        ends.from("half-open: is refused", BACKEND, "R", b""),
        ends.to("half-open: the rest of it goes after it", BACKEND, "A", b"data"),
        ends.from("half-open: and is refused", BACKEND, "R", b""),
        ends.strange("half-open: not so an answer to no SYN", BACKEND, "SA", Reason::StaleReply),
        ends.strange("half-open: after that the flow is gone", BACKEND, "R", Reason::NoListener),
        ends.to("half-open: the client begins anew", BACKEND, "S", b""),
        ends.from("half-open: and is answered", BACKEND, "SA", b""),
    ];
    [ends.opened(CLIENT), client_forgot, ends.opened(BACKEND), backend_forgot].concat()
}

/// A tag of 802.1ad and one of 802.1Q.
const TAGS: &[u8] = &[0x88, 0xa8, 0x20, 7, 0x81, 0, 0, 5];

fn with_tags(bytes: &[u8]) -> Vec<u8> {
    [&bytes[..12], TAGS, &bytes[12..]].concat()
}

fn tagged(
    what: &'static str,
    frame: &Frame,
    reason: Reason,
    out: (Action, u32),
    sent: &Frame,
) -> Row {
    row(what, with_tags(&frame.build()), reason, out, with_tags(&sent.build()))
}

fn two_tags() -> Vec<Row> {
    let (client, vip, backend) = ("198.18.0.2:45030", "198.18.1.2:80", "198.18.10.5:8080");
    let stays = |what, flags, data| {
        let frame = tcp(client, vip, flags).payload(data);
        let sent = frame.clone().sent(client, backend, TO_BACKEND);
        tagged(what, &frame, Reason::Forwarded, (Action::Transmit, UPLINK), &sent)
    };
    let mut rows = vec![
        stays("two tags: a SYN stays on its link", "S", b""),
        stays("two tags: so does the ACK", "A", b""),
        stays("two tags: and data", "A", b"data"),
    ];
    for Ends { client, vip, backend } in [V4, V6] {
        let client = format!("{client}:45031");
        let to = |what, flags| {
            let frame = tcp(&client, vip, flags);
            let sent = frame.clone().sent(&client, backend, None);
            tagged(what, &frame, Reason::Forwarded, (Action::Pass, VETH), &sent)
        };
        let from = |what, flags| {
            let frame = tcp(backend, &client, flags);
            let sent = frame.clone().sent(vip, &client, None);
            tagged(what, &frame, Reason::Replied, (Action::Pass, 0), &sent)
        };
        rows.push(to("two tags: to another link, through the stack", "S"));
        rows.push(from("two tags: and back", "SA"));
        rows.push(to("two tags: established", "A"));
        rows.push(from("two tags: an answer", "A"));
        rows.push(to("two tags: the end", "FA"));
    }
    let nobody = with_tags(&tcp(client, "198.18.1.9:80", "S").build());
    let not_ip = [&[0; 12][..], TAGS, &[0x08, 0x06], &[0; 46]].concat();
    let three = [&nobody[..12], &[0x81, 0, 0, 9], &nobody[12..]].concat();
    for (what, bytes, reason) in [
        ("two tags: for nobody", nobody, Reason::NoListener),
        ("two tags: ARP", not_ip, Reason::NotIp),
        ("two tags and one more", three, Reason::TooManyHeaders),
    ] {
        rows.push(row(what, bytes.clone(), reason, (Action::Pass, 0), bytes));
    }
    rows
}

/// Frames that end in or behind a tag. A test run takes them as long as there is something behind the
/// link layer.
fn half_a_tag() -> Vec<Row> {
    let whole = with_tags(&tcp("198.18.0.2:45032", V4.vip, "S").build());
    [
        ("two tags: half of the first", 16),
        ("two tags: nothing behind the first", 18),
        ("two tags: half of the second", 20),
        ("two tags: nothing behind them", 22),
        ("two tags: half of a header behind them", 41),
    ]
    .map(|(what, length)| {
        let bytes = whole[..length].to_vec();
        row(what, bytes.clone(), Reason::Malformed, (Action::Pass, 0), bytes)
    })
    .into()
}
