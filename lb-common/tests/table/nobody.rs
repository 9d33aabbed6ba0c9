//! Rows of datagrams for services that have nobody to serve them.

use lb_common::pipeline::verdict::{Action, Reason};

use super::{
    Expected, Row,
    frame::{CLIENT_MAC, Frame, LOCAL_MAC, udp},
    pieces::{Icmp, Message, atomic, fragments, quote},
    world::UPLINK,
};

const BACK: (Action, u32) = (Action::Transmit, UPLINK);
const ETHERNET: usize = 14;
/// Bytes that are quoted at most.
const MOST: usize = 128;
const VIP: &str = "198.18.1.1:54";
const VIP6: &str = "[fd00:18:1::1]:54";

/// All rows, in the order in which they run.
pub fn nobody() -> Vec<Row> {
    [told_v4(), told_v6(), from_nobody(), to_many()].concat()
}

fn row(description: &'static str, input: Vec<u8>, action: (Action, u32), bytes: Vec<u8>) -> Row {
    let (reason, (action, ifindex)) = (Reason::NoBackend, action);
    Row { description, input, expected: Expected { reason, action, ifindex, bytes } }
}

/// A message about a frame, of which whole words are quoted.
fn message(frame: &Frame, mut quoted: Vec<u8>) -> Vec<u8> {
    quoted.truncate(quoted.len().min(MOST) & !3);
    let name = |at: std::net::SocketAddr| -> &'static str { at.ip().to_string().leak() };
    let (source, destination) = (name(frame.destination), name(frame.source));
    let (macs, message) = ((LOCAL_MAC, CLIENT_MAC), Message::PortUnreachable);
    Icmp { macs, source, destination, hops: 64, message, quoted }.build()
}

fn told(what: &'static str, frame: &Frame) -> Row {
    row(what, frame.build(), BACK, message(frame, quote(frame, MOST)))
}

fn silent(what: &'static str, input: Vec<u8>) -> Row {
    row(what, input.clone(), (Action::Drop, 0), input)
}

/// The same rows with tags. Not for TC, where the kernel keeps the first tag beside the frame and makes no
/// room behind one in it.
pub fn tagged() -> Vec<Row> {
    let tags: [(&str, &[u8]); 3] = [
        ("a tag", &[0x81, 0, 0, 5]),
        ("one of 802.1ad", &[0x88, 0xa8, 0, 6]),
        ("two", &[0x88, 0xa8, 0, 6, 0x81, 0, 0, 5]),
    ];
    let frames = [udp("198.18.0.8:40000", VIP), udp("[fd00:18:5::2]:40000", VIP6).payload(LONG)];
    let of = |(what, tags): (&'static str, &[u8])| {
        frames.clone().map(|frame| {
            let tag = |bytes: Vec<u8>| [&bytes[..12], tags, &bytes[12..]].concat();
            let row = told(what, &frame);
            let expected = Expected { bytes: tag(row.expected.bytes), ..row.expected };
            Row { input: tag(row.input), expected, ..row }
        })
    };
    tags.into_iter().flat_map(of).collect()
}

/// Longer than what is quoted.
const LONG: &[u8] = &[b'x'; 400];

fn told_v4() -> Vec<Row> {
    let from = |client| udp(client, VIP);
    let none = from("198.18.0.12:40000");
    let mut no_checksum = none.build();
    no_checksum[40..42].fill(0);
    let padded = from("198.18.0.13:40000");
    let fragment = from("198.18.0.14:40000").payload(b"a datagram that is cut into two");
    let [first, later] = fragments(&fragment, 77);
    let expected = passed(Reason::Fragment, &later);
    vec![
        told("a datagram to a service without backends", &from("198.18.0.2:40000")),
        told("with a payload of whole words", &from("198.18.0.2:40001").payload(b"12345678")),
        told("without a payload", &from("198.18.0.2:40002").payload(b"")),
        told("with one that is too long to be quoted", &from("198.18.0.3:40000").payload(LONG)),
        told("with IP options", &from("198.18.0.4:40000").options()),
        told("with IP options, and long", &from("198.18.0.5:40000").options().payload(LONG)),
        told("at its last hop", &from("198.18.0.6:40000").hops(1)),
        told("to a service whose backend is drained", &udp("198.18.0.7:40000", "198.18.1.1:55")),
        row("without a checksum", no_checksum.clone(), BACK, {
            message(&none, no_checksum[ETHERNET..].to_vec())
        }),
        row("in a frame that is padded", [padded.build(), vec![0; 13]].concat(), BACK, {
            message(&padded, quote(&padded, MOST))
        }),
        row("the first fragment", first.clone(), BACK, {
            message(&fragment, first[ETHERNET..].to_vec())
        }),
        Row { expected, ..silent("a later one is not answered", later) },
        left_to_the_link(),
    ]
}

fn passed(reason: Reason, bytes: &[u8]) -> Expected {
    Expected { reason, action: Action::Pass, ifindex: 0, bytes: bytes.to_vec() }
}

/// A checksum that the link is to finish: the message covers what the link will write.
fn left_to_the_link() -> Row {
    let frame = udp("198.18.0.15:40000", VIP).payload(b"12345678");
    let mut partial = frame.build();
    let word = |bytes: &[u8]| u32::from(bytes[0]) << 8 | u32::from(bytes[1]);
    let sum = partial[26..34].chunks(2).map(word).sum::<u32>() + 17 + 16;
    let seed = (((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes();
    partial[40..42].copy_from_slice(&seed);
    // The whole of it is quoted, so that what the link writes is what was there.
    let mut bytes = message(&frame, quote(&frame, MOST));
    let check = ETHERNET + 28 + 26;
    bytes[check..check + 2].copy_from_slice(&seed);
    row("a checksum that is left to the link", partial, BACK, bytes)
}

fn told_v6() -> Vec<Row> {
    let from = |client| udp(client, VIP6);
    let whole = from("[fd00:18:6::2]:40000");
    let long = from("[fd00:18:7::2]:40000").payload(LONG);
    let [first, _] = fragments(&long, 78);
    vec![
        told("v6: a datagram to a service without backends", &from("[fd00:18:2::2]:40000")),
        told("v6: without a payload", &from("[fd00:18:2::2]:40001").payload(b"")),
        told("v6: too long to be quoted", &from("[fd00:18:3::2]:40000").payload(LONG)),
        told("v6: with a hop-by-hop header", &from("[fd00:18:4::2]:40000").options()),
        row("v6: an atomic fragment", atomic(&whole), BACK, {
            message(&whole, atomic(&whole)[ETHERNET..].to_vec())
        }),
        row("v6: the first fragment", first.clone(), BACK, {
            message(&long, first[ETHERNET..].to_vec())
        }),
    ]
}

/// Sources that are not those of one host: RFC 1122, 3.2.2; RFC 4443, 2.4 (e).
fn from_nobody() -> Vec<Row> {
    let v4 = [
        ("from the unspecified address", "0.0.0.0:40000"),
        ("from this network", "0.1.2.3:40000"),
        ("from the loopback", "127.0.0.1:40000"),
        ("from a group", "224.0.0.5:40000"),
        ("from what was reserved", "240.0.0.1:40000"),
        ("from everybody", "255.255.255.255:40000"),
    ]
    .map(|(what, client)| silent(what, udp(client, VIP).build()));
    let v6 = [
        ("v6: from the unspecified address", "[::]:40000"),
        ("v6: from the loopback", "[::1]:40000"),
        ("v6: from an address of IPv4", "[::198.18.0.2]:40000"),
        ("v6: from a group", "[ff02::1]:40000"),
    ]
    .map(|(what, client)| silent(what, udp(client, VIP6).build()));
    let what = "v6: from a mapped address";
    let mapped = udp("[::ffff:198.18.0.2]:40000", VIP6).build();
    let expected = passed(Reason::NoListener, &mapped);
    [v4.to_vec(), v6.to_vec(), vec![Row { expected, ..silent(what, mapped) }]].concat()
}

/// Destinations that are not those of one host, at either layer.
fn to_many() -> Vec<Row> {
    let by_mac = |first: u8, frame: Frame| {
        let mut bytes = frame.build();
        bytes[..6].fill(first);
        bytes
    };
    let (client, client6) = ("198.18.0.16:40000", "[fd00:18:8::2]:40000");
    vec![
        silent("in a frame for everybody", by_mac(0xff, udp(client, VIP))),
        silent("in a frame for a group", by_mac(0x01, udp(client, VIP))),
        silent("v6: in a frame for a group", by_mac(0x33, udp(client6, VIP6))),
        silent("to a group", udp(client, "224.0.0.18:54").build()),
        silent("to everybody", udp(client, "255.255.255.255:54").build()),
        silent("v6: to a group", udp(client6, "[ff02::12]:54").build()),
    ]
}
