//! What `weir decap` makes of what the balancer sends, and of what others do.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may")]

mod table;

use lb_common::{
    abi::address::Address,
    decap::{Class, Decap, Reason, unwrap},
    packet::SlicePacket,
    pipeline::verdict,
};
use table::{
    frame::{Frame, tcp, udp},
    tunnels::tunnels,
    world::address,
};

/// A host that has these addresses and takes tunnels from these.
struct Host {
    locals: Vec<Address>,
    peers: Vec<Address>,
}

impl Decap for Host {
    fn gue_port(&self) -> u16 {
        6080_u16.to_be()
    }

    fn is_local(&self, address: &Address) -> bool {
        self.locals.contains(address)
    }

    fn is_peer(&self, address: &Address) -> bool {
        let net = |peer: &Address| peer.words[..3] == address.words[..3];
        self.peers.iter().any(|peer| peer == address || peer.is_v4() && net(peer))
    }
}

const BACKENDS: [&str; 5] =
    ["198.18.10.12", "fd00:18:10::12", "198.18.10.14", "198.18.10.15", "fd00:18:10::16"];
const VIPS: [&str; 6] =
    ["198.18.1.7", "fd00:18:1::7", "198.18.1.8", "fd00:18:1::8", "198.18.1.29", "fd00:18:1::29"];

fn host() -> Host {
    let locals = BACKENDS.iter().chain(&VIPS).map(|text| address(text)).collect();
    Host { locals, peers: ["198.19.0.0", "fd00:18:10::1"].map(address).into() }
}

fn run(host: &Host, frame: &[u8]) -> (Reason, Vec<u8>) {
    let mut bytes = frame.to_vec();
    let reason = unwrap(&mut SlicePacket { bytes: &mut bytes, ingress: 1 }, host);
    (reason, bytes)
}

/// Frames as the balancer sends them, with what they carry.
fn sent() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let forwarded = |row: &table::Row| {
        matches!(row.expected.reason, verdict::Reason::Forwarded | verdict::Reason::IcmpError)
    };
    let rows = tunnels().into_iter().filter(forwarded);
    let carried = |row: table::Row| {
        let outer = row.expected.bytes;
        let mut inner = outer[..14].to_vec();
        // One hop less, as in the outer frame: its end is the packet.
        inner.extend(&outer[outer.len() - (row.input.len() - 14)..]);
        (row.description, outer, inner)
    };
    rows.map(carried).collect()
}

#[test]
fn what_the_balancer_wraps_is_what_comes_out() {
    let all = sent();
    assert!(all.len() > 25);
    for (what, outer, inner) in all {
        let (reason, bytes) = run(&host(), &outer);
        assert_eq!((reason, bytes), (Reason::Unwrapped, inner), "{what}");
    }
}

#[test]
fn whatever_is_cut_short_or_altered_stays_whole_or_is_opened_rightly() {
    for (what, outer, inner) in sent() {
        for length in 0..outer.len().min(140) {
            let (reason, bytes) = run(&host(), &outer[..length]);
            assert!(reason != Reason::Unwrapped || bytes[..] == inner[..bytes.len()], "{what}");
        }
        for at in 0..outer.len().min(110) {
            for bit in 0..8 {
                let mut spoilt = outer.clone();
                spoilt[at] ^= 1 << bit;
                let (reason, bytes) = run(&host(), &spoilt);
                let opened = reason == Reason::Unwrapped;
                assert_eq!(opened, bytes.len() != spoilt.len(), "{what}: bit {bit} of byte {at}");
            }
        }
    }
}

fn first(what: &str) -> Vec<u8> {
    sent().into_iter().find(|(name, ..)| *name == what).unwrap().1
}

#[test]
fn what_is_not_meant_so_stays_closed() {
    let (ipip, gue, v6) = (first("ipip: SYN"), first("gue: SYN"), first("ip6ip6: SYN"));
    let with = |frame: &[u8], at: usize, bytes: &[u8]| {
        let mut frame = frame.to_vec();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let plain = |frame: Frame| frame.build();
    let rows = [
        ("TCP", plain(tcp("198.18.0.2:1", "198.18.10.12:80", "S")), Reason::NotTunnel),
        ("UDP", plain(udp("198.19.0.2:1", "198.18.10.12:53")), Reason::NotTunnel),
        ("a tag", plain(tcp("198.18.0.2:1", "198.18.10.12:80", "S").vlan(5)), Reason::NotTunnel),
        ("options", with(&ipip, 14, &[0x46]), Reason::NotTunnel),
        ("a first fragment", with(&ipip, 20, &[0x20, 0]), Reason::NotTunnel),
        ("a later fragment", with(&ipip, 20, &[0, 1]), Reason::NotTunnel),
        ("another port", with(&gue, 36, &[0x17, 0xc1]), Reason::NotTunnel),
        ("another protocol inside IPv6", with(&v6, 20, &[4]), Reason::NotTunnel),
        ("to somebody else", with(&ipip, 30, &[198, 18, 10, 77]), Reason::NotHere),
        ("v6: to somebody else", with(&v6, 53, &[0x77]), Reason::NotHere),
        ("from a stranger", with(&v6, 37, &[9]), Reason::SourceDenied),
        ("IPv6 in a tunnel of IPv4", with(&ipip, 34, &[0x60]), Reason::Malformed),
        ("a short header inside", with(&ipip, 34, &[0x44]), Reason::Malformed),
        ("a header longer than its packet", with(&ipip, 36, &[0, 19]), Reason::Malformed),
        ("longer than the tunnel says", with(&ipip, 16, &[0, 59]), Reason::Malformed),
        ("v6: longer than the tunnel says", with(&v6, 18, &[0, 59]), Reason::Malformed),
        ("nothing inside", ipip[..34].to_vec(), Reason::Malformed),
        ("for somebody else", with(&ipip, 50, &[198, 18, 1, 99]), Reason::InnerElsewhere),
        ("v6: for somebody else", with(&v6, 93, &[0x99]), Reason::InnerElsewhere),
    ];
    for (what, frame, expected) in rows {
        let (reason, bytes) = run(&host(), &frame);
        assert_eq!((reason, bytes == frame), (expected, true), "{what}");
    }
}

#[test]
fn nobody_is_a_peer_unless_it_is_said() {
    let alone = Host { peers: Vec::new(), ..host() };
    for (what, outer, _) in sent() {
        assert_eq!(run(&alone, &outer).0, Reason::SourceDenied, "{what}");
    }
}

#[test]
fn reasons_are_in_the_order_of_their_numbers() {
    for (number, reason) in (0_u8..).zip(Reason::ALL) {
        assert_eq!(reason as u8, number, "{}", reason.name());
    }
    let passes = |reason: &&Reason| reason.class() == Class::Pass;
    assert_eq!(Reason::ALL.iter().filter(passes).count(), 3);
}
