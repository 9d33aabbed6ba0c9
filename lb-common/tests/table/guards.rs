//! Rows of what a service does for itself: limits of new flows, answers to echo requests.

use lb_common::pipeline::verdict::{Action, Reason};

use super::{
    Expected, Row,
    frame::{CLIENT_MAC, LOCAL_MAC, tcp},
    pieces::{Icmp, Message},
    world::{BACKEND_MAC, BRIDGE_MAC, UPLINK, VETH},
};

const TO_BACKEND: Option<([u8; 6], [u8; 6])> = Some((BRIDGE_MAC, BACKEND_MAC));

/// All rows, in the order in which they run.
pub fn guards() -> Vec<Row> {
    [limits(), pings()].concat()
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

/// Two flows at once are allowed, and one every four seconds, both to a source and altogether.
fn limits() -> Vec<Row> {
    let goes = |what, client: &str, v6: bool, flags: &'static str| {
        let (vip, backend) = if v6 {
            ("[fd00:18:1::40]:80", "[fd00:18:10::2]:8080")
        } else {
            ("198.18.1.40:80", "198.18.10.2:8080")
        };
        let frame = tcp(client, vip, flags);
        let sent = frame.clone().sent(client, backend, TO_BACKEND).build();
        row(what, frame.build(), Reason::Forwarded, (Action::RedirectPeer, VETH), sent)
    };
    let v4 = |client: &str, flags| tcp(client, "198.18.1.40:80", flags).build();
    let v6 = |client: &str, flags| tcp(client, "[fd00:18:1::40]:80", flags).build();
    let (source, rate, drop) = (Reason::SourceLimited, Reason::RateLimited, Action::Drop);
    vec![
        goes("the first flow of a source", "198.18.0.2:43001", false, "S"),
        goes("is no new one when it comes again", "198.18.0.2:43001", false, "S"),
        goes("a second one", "198.18.0.2:43002", false, "S"),
        stays("a third one is too many", v4("198.18.0.2:43003", "S"), source, drop),
        stays(
            "also with options",
            tcp("198.18.0.2:43003", "198.18.1.40:80", "S").options().build(),
            source,
            drop,
        ),
        stays("also in the middle of one", v4("198.18.0.2:43004", "A"), source, drop),
        stays("others find none left", v4("198.18.0.3:43001", "S"), rate, drop),
        goes("those that are there go on", "198.18.0.2:43001", false, "A"),
        goes("and end", "198.18.0.2:43001", false, "FA"),
        stays(
            "a limit is no listener",
            v4("198.18.0.2:43005", "S").tap(|f| f[33] = 9),
            Reason::NoListener,
            Action::Pass,
        ),
        goes("v6: a source", "[fd00:18::2]:43001", true, "S"),
        goes("v6: its network is the same", "[fd00:18::3]:43001", true, "S"),
        stays("v6: whatever its address", v6("[fd00:18::4:5]:43001", "S"), source, drop),
        stays("v6: another network finds none left", v6("[fd00:19::2]:43001", "S"), rate, drop),
    ]
}

/// Changes bytes on the way.
trait Tap {
    fn tap(self, change: impl FnOnce(&mut Self)) -> Self;
}

impl Tap for Vec<u8> {
    fn tap(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

fn pings() -> Vec<Row> {
    let request = |source, destination| Icmp {
        macs: (CLIENT_MAC, LOCAL_MAC),
        source,
        destination,
        hops: 64,
        message: Message::Echo,
        quoted: b"as many bytes as it likes".to_vec(),
    };
    let answered = |what, request: Icmp| {
        let answer = Icmp {
            macs: (request.macs.1, request.macs.0),
            source: request.destination,
            destination: request.source,
            hops: 64,
            message: Message::EchoReply,
            quoted: request.quoted.clone(),
        };
        let back = (Action::Transmit, UPLINK);
        row(what, request.build(), Reason::Echo, back, answer.build())
    };
    let tag = |bytes: Vec<u8>| [&bytes[..12], &[0x81, 0, 0, 5], &bytes[12..]].concat();
    let v4 = request("198.18.0.2", "198.18.1.1");
    let v6 = request("fd00:18::2", "fd00:18:1::1");
    let tagged = answered("from a tagged link", v4.clone());
    let tagged = Row {
        input: tag(tagged.input),
        expected: Expected { bytes: tag(tagged.expected.bytes), ..tagged.expected },
        ..tagged
    };
    let left = |what, input| stays(what, input, Reason::Icmp, Action::Pass);
    vec![
        answered("a ping to a VIP", v4.clone()),
        answered("without a payload", Icmp { quoted: Vec::new(), ..v4.clone() }),
        answered("at its last hop", Icmp { hops: 1, ..v4.clone() }),
        tagged,
        answered("v6: a ping to a VIP", v6.clone()),
        left("a ping to somebody else", request("198.18.0.2", "198.18.1.9").build()),
        left("v6: a ping to somebody else", request("fd00:18::2", "fd00:18:1::9").build()),
        left("an answer to a ping", Icmp { message: Message::EchoReply, ..v4.clone() }.build()),
        left("another code", v4.build().tap(|frame| frame[35] = 1)),
        left("the first fragment of a ping", v4.build().tap(|frame| frame[20] = 0x20)),
        stays(
            "a later fragment of a ping",
            v4.build().tap(|frame| frame[21] = 1),
            Reason::Fragment,
            Action::Pass,
        ),
        left("half a header", v4.build().tap(|frame| frame.truncate(34 + 7))),
        left("v6: a request of the other family", v6.build().tap(|frame| frame[54] = 8)),
    ]
}
