//! ICMP to try: what hosts and routers on the way say of packets of flows.

use std::net::IpAddr;

use super::{
    frame, message,
    traffic::{Random, Source},
};

/// Those who speak for themselves.
const ROUTERS: [&str; 2] = ["198.18.0.99", "fd00:18::99"];
/// Errors, mostly, over IPv4 and over IPv6.
const KINDS: [u8; 8] = [3, 3, 11, 4, 12, 5, 0, 8];
const KINDS6: [u8; 8] = [1, 2, 3, 4, 1, 128, 133, 129];

impl Source {
    /// An error about what a service said to a client, or a client to a backend.
    pub(super) fn gossip(&mut self) -> Vec<u8> {
        let quoted = self.quoted();
        let Ok(about) = frame::read(&quoted) else { return quoted };
        let v6 = about.from.is_ipv6();
        let router: IpAddr = ROUTERS[usize::from(v6)].parse().unwrap();
        let random = &mut self.random;
        let from = if random.one_in(2) { about.to.ip() } else { router };
        let to = if random.one_in(16) { about.to.ip() } else { about.from.ip() };
        let most = random.of(&[8, 20, 27, 28, 40, 48, 60, 68, 100, 500]);
        let packet = &quoted[about.ip..(about.ip + most).min(quoted.len())];
        let kind = random.of(if v6 { &KINDS6 } else { &KINDS });
        let mut icmp = vec![kind, random.below(5) as u8, 0, 0];
        icmp.extend(random.of(&[[0; 4], [0, 0, 5, 0xdc], [1, 2, 3, 4]]));
        icmp.extend(packet);
        let mut frame = outer(random, from, to, &icmp);
        message::seal(&mut frame);
        if random.one_in(4) {
            frame.resize(frame.len().max(60), 0);
        }
        frame
    }

    fn quoted(&mut self) -> Vec<u8> {
        if self.random.one_in(2) && !self.went.is_empty() {
            let at = self.random.below(self.went.len() as u32) as usize;
            return self.went[at].clone();
        }
        if self.questions.is_empty() {
            return Vec::new();
        }
        let at = self.random.below(self.questions.len() as u32) as usize;
        let (client, vip, udp) = self.questions[at];
        self.build((vip, client, udp), frame::ACK)
    }
}

fn outer(random: &mut Random, from: IpAddr, to: IpAddr, icmp: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9];
    if random.one_in(20) {
        for _ in 0..=random.below(3) {
            frame.extend(random.of(&[[0x81, 0, 0, 5], [0x88, 0xa8, 0x20, 7]]));
        }
    }
    let hops = random.of(&[64, 64, 64, 255, 2, 64, 64, 64, 1, 64, 64, 0]);
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let options = if random.one_in(16) { random.below(11) as u8 } else { 0 };
            let length = 20 + usize::from(options) * 4 + icmp.len();
            let fragment = if random.one_in(40) { random.next() as u8 } else { 0x40 };
            frame.extend([8, 0, 0x45 + options, 0, (length >> 8) as u8, length as u8]);
            frame.extend([0, 9, fragment, 0, hops, 1, 0, 0]);
            frame.extend([from.octets(), to.octets()].concat());
            frame.extend(vec![1; usize::from(options) * 4]);
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let extension: &[u8] = if random.one_in(16) { &[58, 0, 1, 4, 0, 0, 0, 0] } else { &[] };
            let length = extension.len() + icmp.len();
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, (length >> 8) as u8, length as u8]);
            frame.extend([if extension.is_empty() { 58 } else { 60 }, hops]);
            frame.extend([from.octets(), to.octets()].concat());
            frame.extend(extension);
        }
        _ => panic!("two families in one packet"),
    }
    frame.extend(icmp);
    frame
}
