//! What comes from outside, spoiled: configuration, labels of containers, requests and answers of the
//! admin socket, captures, frames as text. Nothing may panic or go on for ever, and what is taken has to
//! hold what it promises. `PROPTEST_CASES` says how often each is tried.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::collections::BTreeMap;

use lb_userspace::{
    admin::{
        protocol::{Request, parse_request, parse_response},
        report::Done,
    },
    config::{labels, parse},
    pcap::{
        CaptureWriter, FRAME_BYTES_MAX, FRAME_BYTES_MIN, Frame, read_capture, read_hex, to_hex,
    },
};
use proptest::prelude::*;

/// One thing that goes wrong with a text.
#[derive(Clone, Debug)]
enum Harm {
    Flip(usize, u8),
    Cut(usize),
    Drop(usize, usize),
    Twice(usize, usize),
    Insert(usize, &'static [u8]),
}

/// What parsers take notice of.
const PIECES: [&[u8]; 18] = [
    b"\n",
    b"\0",
    b"\"",
    b"{",
    b"}",
    b"[",
    b":",
    b",",
    b"- ",
    b"0",
    b"-1",
    b"18446744073709551616",
    b"\xff\xff\xff\xff",
    b"\\u0000",
    b"null",
    b"::ffff:1.2.3.4",
    b"/tcp",
    b"1e999",
];

fn harms() -> impl Strategy<Value = Vec<Harm>> {
    let place = || 0_usize..1 << 16;
    let harm = prop_oneof![
        (place(), any::<u8>()).prop_map(|(at, value)| Harm::Flip(at, value)),
        place().prop_map(Harm::Cut),
        (place(), 1_usize..40).prop_map(|(at, length)| Harm::Drop(at, length)),
        (place(), 1_usize..40).prop_map(|(at, length)| Harm::Twice(at, length)),
        (place(), prop::sample::select(&PIECES[..])).prop_map(|(at, it)| Harm::Insert(at, it)),
    ];
    prop::collection::vec(harm, 0..6)
}

fn spoil(text: &[u8], harms: &[Harm]) -> Vec<u8> {
    let mut text = text.to_vec();
    for harm in harms {
        let at = |place: usize| place % (text.len() + 1);
        match harm {
            Harm::Flip(place, value) => {
                let at = at(*place);
                text.get_mut(at).into_iter().for_each(|byte| *byte ^= value);
            }
            Harm::Cut(place) => text.truncate(at(*place)),
            Harm::Drop(place, length) => {
                let (from, len) = (at(*place), text.len());
                text.drain(from..(from + length).min(len));
            }
            Harm::Twice(place, length) => {
                let (from, len) = (at(*place), text.len());
                let part = text[from..(from + length).min(len)].to_vec();
                text.splice(from..from, part);
            }
            Harm::Insert(place, piece) => {
                let at = at(*place);
                text.splice(at..at, piece.iter().copied());
            }
        }
    }
    text
}

const REQUESTS: [&str; 6] = [
    r#"{"request":"status"}"#,
    r#"{"request":"flows","limit":7,"service":"web"}"#,
    r#"{"request":"drain","backend":"198.18.10.2:53/udp"}"#,
    r#"{"request":"weight","service":"dns","backend":"198.18.10.2:53/udp","weight":3}"#,
    r#"{"request":"explain","protocol":"tcp","source":"[fd00:18::2]:7","destination":"[fd00:18::1]:80"}"#,
    r#"{"request":"reload"}"#,
];

const ANSWERS: [&str; 3] = [
    r#"{"ok":true,"data":{"text":"done"}}"#,
    r#"{"ok":false,"error":"no such backend"}"#,
    r#"{"ok":true,"data":null}"#,
];

const LABELS: [(&str, &str); 12] = [
    ("weir.enable", "true"),
    ("weir.service", "web"),
    ("weir.listen", "198.18.0.1:80/tcp,[fd00:18::1]:80"),
    ("weir.publish", "127.0.0.1:8000-8010:80-90/udp,53"),
    ("weir.port", "8080"),
    ("weir.weight", "1000"),
    ("weir.policy", "adaptive"),
    ("weir.affinity", "3h"),
    ("weir.sources", "198.18.0.0/15,fd00::/8"),
    ("weir.health.http", "/healthz?a=b"),
    ("weir.health.interval", "1m30s"),
    ("weir.services.a.b.listen", "auto"),
];

fn capture() -> Vec<u8> {
    let mut writer = CaptureWriter::new(Vec::new()).unwrap();
    for length in [14, 60, 61, 1514] {
        writer.write(&vec![7; length]).unwrap();
    }
    writer.finish().unwrap()
}

/// A pcapng file: a section, an interface of Ethernet, a packet.
fn capture_ng() -> Vec<u8> {
    let mut file = Vec::new();
    let mut block = |kind: u32, body: &[u8]| {
        let length = (u32::try_from(body.len()).unwrap() + 12).to_le_bytes();
        file.extend([&kind.to_le_bytes()[..], &length, body, &length].concat());
    };
    block(
        0x0a0d_0d0a,
        &[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255],
    );
    block(1, &[1, 0, 0, 0, 0, 0, 4, 0]);
    let head =
        [[0_u32; 3].map(u32::to_le_bytes).concat(), [60_u32; 2].map(u32::to_le_bytes).concat()];
    block(6, &[head.concat(), vec![9; 60]].concat());
    file
}

/// Frames of any reader: in order, of a length that a program can be given, and none after an error.
fn check<E>(
    frames: impl Iterator<Item = Result<Frame, E>>,
    bytes: usize,
) -> Result<(), TestCaseError> {
    let mut last = 0;
    let mut ended = false;
    for frame in frames {
        prop_assert!(!ended, "something follows an error");
        let Ok(frame) = frame else {
            ended = true;
            continue;
        };
        prop_assert!(frame.number > last && frame.number <= bytes as u64);
        prop_assert!((FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&frame.bytes.len()));
        prop_assert!(frame.bytes.len() <= bytes);
        last = frame.number;
    }
    Ok(())
}

/// A message for one line of a terminal.
fn is_one_line(message: &str) -> bool {
    !message.is_empty() && message.chars().all(|c| !c.is_control())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_spoiled_configuration_is_read_or_its_mistakes_are_told(harms in harms()) {
        let text = spoil(include_bytes!("../../examples/weir.yaml"), &harms);
        let text = String::from_utf8_lossy(&text);
        if let Err(mistakes) = parse("weir.yaml", &text) {
            prop_assert!(!mistakes.list().is_empty());
            prop_assert!(mistakes.render(false).chars().all(|c| c == '\n' || !c.is_control()));
        }
    }

    #[test]
    fn spoiled_labels_are_read_or_their_mistakes_are_told(
        chosen in prop::collection::vec((0..LABELS.len(), harms(), harms()), 0..8),
    ) {
        let mut all = BTreeMap::new();
        for (index, of_name, of_value) in chosen {
            let (name, value) = LABELS[index];
            let few = &of_name[..of_name.len() / 4];
            let name = String::from_utf8_lossy(&spoil(name.as_bytes(), few)).into_owned();
            let value = String::from_utf8_lossy(&spoil(value.as_bytes(), &of_value)).into_owned();
            all.insert(name, value);
        }
        if let Err(mistakes) = labels::read(&all) {
            prop_assert!(!mistakes.is_empty());
            prop_assert!(mistakes.iter().all(|message| is_one_line(message)), "{mistakes:?}");
        }
    }

    #[test]
    fn a_request_that_is_taken_is_the_one_that_was_sent(
        index in 0..REQUESTS.len(),
        harms in harms(),
    ) {
        let line = spoil(REQUESTS[index].as_bytes(), &harms);
        match parse_request(&line) {
            Ok(request) => {
                let again = serde_json::to_vec(&request).unwrap();
                prop_assert_eq!(parse_request(&again).unwrap(), request);
            }
            Err(message) => prop_assert!(is_one_line(&message), "{message:?}"),
        }
    }

    #[test]
    fn a_spoiled_answer_is_data_an_error_or_none(index in 0..ANSWERS.len(), harms in harms()) {
        let line = spoil(ANSWERS[index].as_bytes(), &harms);
        if let Err(message) = parse_response::<Done>(&line) {
            prop_assert!(is_one_line(&message), "{message:?}");
        }
    }

    #[test]
    fn a_spoiled_capture_gives_frames_and_then_at_most_one_error(ng: bool, harms in harms()) {
        let file = spoil(&if ng { capture_ng() } else { capture() }, &harms);
        if let Ok(frames) = read_capture(&file[..]) {
            check(frames, file.len())?;
        }
    }

    #[test]
    fn spoiled_frames_as_text_are_read_or_told(harms in harms()) {
        let text = format!("# two\n{}\n\n{}\n", to_hex(&[1; 14]), to_hex(&[0xab; 60]));
        let text = spoil(text.as_bytes(), &harms);
        check(read_hex(&text[..]), text.len())?;
    }

    #[test]
    fn no_bytes_are_a_request_by_chance(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(!matches!(parse_request(&bytes), Ok(Request::Metrics | Request::Health)));
        check(read_hex(&bytes[..]), bytes.len())?;
        if let Ok(frames) = read_capture(&bytes[..]) {
            check(frames, bytes.len())?;
        }
    }
}

#[test]
fn what_is_spoiled_here_is_right_to_begin_with() {
    assert!(parse("weir.yaml", include_str!("../../examples/weir.yaml")).is_ok());
    let count = |file: &[u8]| read_capture(file).unwrap().flatten().count();
    assert_eq!((count(&capture()), count(&capture_ng())), (4, 1));
    assert!(REQUESTS.iter().all(|line| parse_request(line.as_bytes()).is_ok()));
    assert!(ANSWERS[..2].iter().all(|line| parse_response::<Done>(line.as_bytes()).is_ok()));
    let of = |pair: &(&str, &str)| BTreeMap::from([(pair.0.to_owned(), pair.1.to_owned())]);
    for pair in &LABELS {
        // Some labels ask for others; none of them is unknown or out of its range.
        let told = labels::read(&of(pair)).err().unwrap_or_default().concat();
        assert!(!told.contains("unknown"), "{pair:?}: {told}");
    }
}
