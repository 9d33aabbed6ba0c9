//! The table of turns: what packets do to the requests in flight of their backend, and what they
//! tell of it. All rows are of a service that counts turns.

use super::frame::{Frame, tcp, udp};

/// What is known of a backend after a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    pub requests: u64,
    pub first_bytes: u64,
    pub handshakes: u64,
    pub refused: u64,
    pub reset: u64,
    pub repeated: u64,
}

/// One packet.
#[derive(Clone, Debug)]
pub struct Turn {
    pub description: &'static str,
    pub frame: Frame,
    pub known: Known,
}

/// A story of one backend: begins with empty tables.
pub struct Story {
    pub name: &'static str,
    pub backend: u32,
    pub turns: Vec<Turn>,
}

/// Columns: requests, first bytes, handshakes, refused, reset, repeated.
fn story(name: &'static str, backend: u32, rows: Vec<(&'static str, Frame, [u64; 6])>) -> Story {
    let turns = rows.into_iter().map(|(description, frame, columns)| {
        let [requests, first_bytes, handshakes, refused, reset, repeated] = columns;
        let known = Known { requests, first_bytes, handshakes, refused, reset, repeated };
        Turn { description, frame, known }
    });
    Story { name, backend, turns: turns.collect() }
}

pub fn stories() -> Vec<Story> {
    vec![keep_alive(), refusals(), ends(), early_data(), datagrams(), sixth(), full_nat()]
}

const CLIENT: &str = "198.18.0.2:40000";
const OTHER: &str = "198.18.0.2:40001";
const VIP: &str = "198.18.1.3:80";
const BACKEND: &str = "198.18.10.2:8080";

fn asks(flags: &'static str) -> Frame {
    tcp(CLIENT, VIP, flags)
}

fn answers(flags: &'static str) -> Frame {
    tcp(BACKEND, CLIENT, flags)
}

fn keep_alive() -> Story {
    story(
        "a connection that is kept alive",
        1,
        vec![
            ("a handshake counts as a request", asks("S"), [1, 0, 0, 0, 0, 0]),
            ("the same SYN again is no other one", asks("S"), [1, 0, 0, 0, 0, 1]),
            ("SYN-ACK", answers("SA"), [1, 0, 1, 0, 0, 1]),
            ("an idle connection is no load", asks("A"), [0, 0, 1, 0, 0, 1]),
            ("an empty segment asks nothing", asks("A"), [0, 0, 1, 0, 0, 1]),
            ("a request", asks("A").payload(b"GET /"), [1, 0, 1, 0, 0, 1]),
            ("more of it", asks("A").payload(b" HTTP/1.1"), [1, 0, 1, 0, 0, 1]),
            ("an acknowledgement is no answer", answers("A"), [1, 0, 1, 0, 0, 1]),
            ("the answer", answers("A").payload(b"200"), [0, 1, 1, 0, 0, 1]),
            ("more of it", answers("A").payload(b" OK"), [0, 1, 1, 0, 0, 1]),
            ("the client acknowledges", asks("A"), [0, 1, 1, 0, 0, 1]),
            ("the next request", asks("A").payload(b"GET /"), [1, 1, 1, 0, 0, 1]),
            ("its answer", answers("A").payload(b"200"), [0, 2, 1, 0, 0, 1]),
            (
                "a request, and no more from this client",
                asks("FA").payload(b"x"),
                [1, 2, 1, 0, 0, 1],
            ),
            ("the last answer", answers("FA").payload(b"y"), [0, 3, 1, 0, 0, 1]),
            ("a late acknowledgement", asks("A"), [0, 3, 1, 0, 0, 1]),
        ],
    )
}

fn full_nat() -> Story {
    let asks = |flags| tcp("[fd00:18::2]:40000", "[fd00:18:1::70]:80", flags);
    let answers = |flags| tcp("198.18.10.25:8080", "198.18.10.1:20000", flags);
    story(
        "a connection by full NAT, to a backend of the other family",
        25,
        vec![
            ("a handshake counts as a request", asks("S"), [1, 0, 0, 0, 0, 0]),
            ("the same SYN again is no other one", asks("S"), [1, 0, 0, 0, 0, 1]),
            ("SYN-ACK", answers("SA"), [1, 0, 1, 0, 0, 1]),
            ("an idle connection is no load", asks("A"), [0, 0, 1, 0, 0, 1]),
            ("a request", asks("A").payload(b"GET /"), [1, 0, 1, 0, 0, 1]),
            ("an acknowledgement is no answer", answers("A"), [1, 0, 1, 0, 0, 1]),
            ("the answer", answers("A").payload(b"200"), [0, 1, 1, 0, 0, 1]),
            ("the next request", asks("A").payload(b"GET /"), [1, 1, 1, 0, 0, 1]),
            ("its backend gives up", answers("R"), [0, 1, 1, 0, 1, 1]),
        ],
    )
}

fn refusals() -> Story {
    let other = |flags| tcp(OTHER, VIP, flags);
    story(
        "a backend that refuses and gives up",
        1,
        vec![
            ("a client", asks("S"), [1, 0, 0, 0, 0, 0]),
            ("another one", other("S"), [2, 0, 0, 0, 0, 0]),
            ("refused", answers("RA"), [1, 0, 0, 1, 0, 0]),
            ("refused once", answers("RA"), [1, 0, 0, 1, 0, 0]),
            ("the other one is taken", tcp(BACKEND, OTHER, "SA"), [1, 0, 1, 1, 0, 0]),
            ("and asks", other("A").payload(b"x"), [1, 0, 1, 1, 0, 0]),
            ("reset in place of an answer", tcp(BACKEND, OTHER, "R"), [0, 0, 1, 1, 1, 0]),
            ("the refused one tries again", asks("S"), [1, 0, 1, 1, 1, 0]),
        ],
    )
}

fn ends() -> Story {
    story(
        "ends that are no answers",
        1,
        vec![
            ("SYN", asks("S"), [1, 0, 0, 0, 0, 0]),
            ("SYN-ACK", answers("SA"), [1, 0, 1, 0, 0, 0]),
            ("ACK", asks("A"), [0, 0, 1, 0, 0, 0]),
            ("a greeting without a request", answers("A").payload(b"220"), [0, 0, 1, 0, 0, 0]),
            ("a request", asks("A").payload(b"x"), [1, 0, 1, 0, 0, 0]),
            ("the backend closes without a word", answers("FA"), [0, 0, 1, 0, 1, 0]),
            ("and the client, with one", asks("FA").payload(b"y"), [1, 0, 1, 0, 1, 0]),
            ("the client is gone", asks("R"), [0, 0, 1, 0, 1, 0]),
        ],
    )
}

fn early_data() -> Story {
    story(
        "a request with the last packet of the handshake",
        1,
        vec![
            ("SYN", asks("S"), [1, 0, 0, 0, 0, 0]),
            ("SYN-ACK", answers("SA"), [1, 0, 1, 0, 0, 0]),
            ("ACK and request", asks("A").payload(b"x"), [1, 0, 1, 0, 0, 0]),
            ("the client gives up", asks("R"), [0, 0, 1, 0, 0, 0]),
        ],
    )
}

fn datagrams() -> Story {
    let (client, vip, backend) = (CLIENT, "198.18.1.3:53", "198.18.10.2:5353");
    story(
        "datagrams count until the first answer",
        3,
        vec![
            ("a question", udp(client, vip), [1, 0, 0, 0, 0, 0]),
            ("again", udp(client, vip), [1, 0, 0, 0, 0, 0]),
            ("the answer", udp(backend, client), [0, 1, 0, 0, 0, 0]),
            ("the next one is part of a stream", udp(client, vip), [0, 1, 0, 0, 0, 0]),
            ("and so is what comes back", udp(backend, client), [0, 1, 0, 0, 0, 0]),
        ],
    )
}

fn sixth() -> Story {
    let (client, vip) = ("[fd00:18::2]:40000", "[fd00:18:1::3]:80");
    let backend = "[fd00:18:10::2]:8080";
    story(
        "IPv6",
        2,
        vec![
            ("SYN", tcp(client, vip, "S"), [1, 0, 0, 0, 0, 0]),
            ("SYN-ACK", tcp(backend, client, "SA"), [1, 0, 1, 0, 0, 0]),
            ("ACK", tcp(client, vip, "A"), [0, 0, 1, 0, 0, 0]),
            ("a request", tcp(client, vip, "A").payload(b"x"), [1, 0, 1, 0, 0, 0]),
            ("with options", tcp(client, vip, "A").payload(b"x").options(), [1, 0, 1, 0, 0, 0]),
            ("the answer", tcp(backend, client, "A").payload(b"y"), [0, 1, 1, 0, 0, 0]),
        ],
    )
}
