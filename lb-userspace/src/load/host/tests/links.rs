//! Netlink's answers, as messages put together here.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::links::{LinkCounts, LinkReader, Progress, parse, request};

const SEQUENCE: u32 = 7;
const STATS: u16 = 92;

fn message(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap();
    let mut message = Vec::new();
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(2_u16.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend([0; 4]);
    message.extend(body);
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap();
    let mut attribute = Vec::new();
    attribute.extend(length.to_ne_bytes());
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

/// `struct if_stats_msg` and attributes.
fn stats(index: u32, attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(index.to_ne_bytes());
    body.extend([0; 4]);
    body.extend(attributes.concat());
    body
}

/// The beginning of `struct rtnl_link_stats64`.
fn counters(numbers: [u64; 4]) -> Vec<u8> {
    let mut value: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
    value.resize(200, 0);
    value
}

fn read(datagram: &[u8]) -> (Progress, Vec<LinkCounts>) {
    let mut found = Vec::new();
    let progress = parse(datagram, SEQUENCE, &mut |link| found.push(link));
    (progress, found)
}

const LINK: LinkCounts = LinkCounts {
    index: 5,
    received_packets: 1,
    sent_packets: 2,
    received_bytes: 30,
    sent_bytes: 40,
};

#[test]
fn counters_are_found_among_other_things() {
    let counts = attribute(1, &counters([1, 2, 30, 40]));
    let other = attribute(2, &[1, 2, 3]);
    let body = stats(5, &[other, counts]);
    let link = message(STATS, SEQUENCE, &body);
    let done = message(3, SEQUENCE, &[0; 4]);
    assert_eq!(read(&link), (Progress::More, vec![LINK]));
    assert_eq!(read(&[link.clone(), link.clone(), done].concat()), (Progress::Done, vec![LINK; 2]));
    // What came too late for the request before.
    let late = message(STATS, SEQUENCE - 1, &body);
    let late_end = message(3, SEQUENCE - 1, &[0; 4]);
    assert_eq!(read(&[late, late_end, link].concat()), (Progress::More, vec![LINK]));
}

#[test]
fn what_is_no_answer_is_none() {
    let body = stats(5, &[attribute(1, &counters([1, 2, 30, 40]))]);
    let link = message(STATS, SEQUENCE, &body);
    let mut short_header = link.clone();
    short_header[..4].copy_from_slice(&15_u32.to_ne_bytes());
    let mut long_header = link.clone();
    long_header[..4].copy_from_slice(&u32::MAX.to_ne_bytes());
    let mut no_header = link.clone();
    no_header[..4].copy_from_slice(&0_u32.to_ne_bytes());
    let error = |errno: i32| message(2, SEQUENCE, &errno.to_ne_bytes());
    let mut stuck = attribute(2, &[]);
    stuck[..2].copy_from_slice(&0_u16.to_ne_bytes());
    #[rustfmt::skip]
    let table = [
        ("nothing",                   Vec::new(),                             Progress::More),
        ("half a header",             link[..9].to_vec(),                     Progress::Malformed),
        ("half a message",            link[..60].to_vec(),                    Progress::Malformed),
        ("shorter than its header",   short_header,                           Progress::Malformed),
        ("longer than the datagram",  long_header,                            Progress::Malformed),
        ("of no length",              no_header,                              Progress::Malformed),
        ("another kind",              message(16, SEQUENCE, &body),           Progress::More),
        ("no counters",               message(STATS, SEQUENCE, &stats(5, &[])), Progress::More),
        ("counters cut short",        message(STATS, SEQUENCE, &stats(5, &[attribute(1, &[0; 31])])), Progress::More),
        ("an attribute of no length", message(STATS, SEQUENCE, &stats(5, &[stuck])), Progress::More),
        ("not even an index",         message(STATS, SEQUENCE, &[0; 6]),      Progress::More),
        ("refused",                   error(-95),                             Progress::Refused(95)),
        ("an acknowledgement",        error(0),                               Progress::Malformed),
        ("an error of no kind",       error(i32::MIN),                        Progress::Malformed),
        ("an error cut short",        message(2, SEQUENCE, &[1, 2]),          Progress::Malformed),
    ];
    for (name, datagram, progress) in table {
        assert_eq!(read(&datagram), (progress, Vec::new()), "{name}");
    }
}

#[test]
fn the_kernel_understands_the_request() {
    assert_eq!(request(SEQUENCE).len(), 28);
    let mut reader = LinkReader::open().unwrap();
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    reader.read(&mut before).unwrap();
    // Loopback is there in every namespace, and has index 1.
    assert_eq!(before[&1].index, 1);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(&[0; 1000], socket.local_addr().unwrap()).unwrap();
    reader.read(&mut after).unwrap();
    assert!(after[&1].sent_bytes >= before[&1].sent_bytes + 1000, "{before:?} {after:?}");
    assert!(after[&1].received_packets > before[&1].received_packets);
}

proptest! {
    #[test]
    fn any_bytes_are_read(mut datagram in prop::collection::vec(any::<u8>(), 0..400), place: bool) {
        if place && datagram.len() >= 16 {
            let length = u32::try_from(datagram.len()).unwrap();
            datagram[..4].copy_from_slice(&length.to_ne_bytes());
            datagram[4..6].copy_from_slice(&STATS.to_ne_bytes());
            datagram[8..12].copy_from_slice(&SEQUENCE.to_ne_bytes());
        }
        read(&datagram);
    }
}
