//! Frames on this side: the template that a driver varies, the frame that comes of it, and what
//! must have become of that frame after the program.

use std::net::{IpAddr, SocketAddr};

use super::layout::{FRAME_LEN, Plan, Variation, WORDS_AT, shape};

pub(crate) type Frame = [u8; FRAME_LEN];

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
/// TCP flags.
pub(crate) const SYN: u8 = 2;
pub(crate) const ACK: u8 = 16;

pub(crate) const LB_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(crate) const BACKEND_MAC: [u8; 6] = [2, 0, 0, 0, 10, 2];

/// One kind of packet. The client's address and port are those of the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) protocol: u8,
    /// 0 with UDP.
    pub(crate) tcp_flags: u8,
    /// The service the client sends to, or the backend that answers it.
    pub(crate) server: SocketAddr,
    pub(crate) is_reply: bool,
    /// A frame that is sent as it is.
    pub(crate) fixed: Option<Frame>,
}

impl Packet {
    pub(crate) const fn tcp(flags: u8, server: SocketAddr) -> Self {
        Self { protocol: TCP, tcp_flags: flags, server, is_reply: false, fixed: None }
    }

    pub(crate) const fn udp(server: SocketAddr) -> Self {
        Self { protocol: UDP, tcp_flags: 0, server, is_reply: false, fixed: None }
    }

    pub(crate) const fn reply(self, server: SocketAddr) -> Self {
        Self { server, is_reply: true, ..self }
    }

    const fn shape(&self) -> u32 {
        match (self.server, self.is_reply) {
            _ if self.fixed.is_some() => shape::FIXED,
            (SocketAddr::V4(_), false) => shape::CLIENT_V4,
            (SocketAddr::V4(_), true) => shape::REPLY_V4,
            (SocketAddr::V6(_), false) => shape::CLIENT_V6,
            (SocketAddr::V6(_), true) => shape::REPLY_V6,
        }
    }

    /// Where the network header ends.
    const fn transport(&self) -> usize {
        if self.server.is_ipv4() { 34 } else { 54 }
    }

    /// The frame without what tells the flows apart; its checksums hold for all of them.
    fn template(&self) -> Frame {
        if let Some(frame) = self.fixed {
            return frame;
        }
        let mut frame = [0; FRAME_LEN];
        put(&mut frame, 0, &LB_MAC);
        put(&mut frame, 6, if self.is_reply { &BACKEND_MAC } else { &CLIENT_MAC });
        let at = self.transport();
        let length = FRAME_LEN - at;
        match self.server.ip() {
            IpAddr::V4(server) => {
                put(&mut frame, 12, &[8, 0, 0x45, 0]);
                put16(&mut frame, 16, FRAME_LEN - 14);
                put(&mut frame, 20, &[0x40, 0, 64, self.protocol]);
                let (client_at, server_at) = if self.is_reply { (30, 26) } else { (26, 30) };
                put(&mut frame, client_at, &[198, 18, 0, 0]);
                put(&mut frame, server_at, &server.octets());
                let check = checksum(&frame[14..34], 0);
                put(&mut frame, 24, &check.to_be_bytes());
            }
            IpAddr::V6(server) => {
                put(&mut frame, 12, &[0x86, 0xdd, 0x60, 0]);
                put16(&mut frame, 18, length);
                put(&mut frame, 20, &[self.protocol, 64]);
                let (client_at, server_at) = if self.is_reply { (38, 22) } else { (22, 38) };
                put(&mut frame, client_at, &[0xfd, 0, 0, 0x18]);
                put(&mut frame, server_at, &server.octets());
            }
        }
        let server_port = if self.is_reply { at } else { at + 2 };
        put16(&mut frame, server_port, usize::from(self.server.port()));
        if self.protocol == TCP {
            put(&mut frame, at + 12, &[0x50, self.tcp_flags, 0xff, 0xff]);
        } else {
            put16(&mut frame, at + 4, length);
        }
        let check = transport_checksum(&frame);
        put(&mut frame, at + self.checksum_at(), &check.to_be_bytes());
        frame
    }

    const fn checksum_at(&self) -> usize {
        if self.protocol == TCP { 16 } else { 6 }
    }

    /// What a driver is told to send packets of consecutive flows, or scattered ones.
    pub(crate) fn plan(&self, flows: Flows) -> Plan {
        let frame = self.template();
        let (_, rest) = frame.split_at(WORDS_AT);
        let mut plan = Plan { shape: self.shape(), ..Plan::default() };
        plan.start = word(&frame[..8]);
        plan.start2 = u32::try_from(word(&frame[8..12])).unwrap_or_default();
        plan.start3 = u32::try_from(word(&frame[12..14])).unwrap_or_default();
        for (to, from) in plan.words.iter_mut().zip(rest.chunks(8)) {
            *to = word(from);
        }
        (plan.first, plan.flows) = match flows {
            Flows::Next(first) => (first, 0),
            Flows::Among(first, count) => (first, count),
        };
        plan
    }

    /// The frame of a flow.
    pub(crate) fn frame(&self, flow: u32) -> Frame {
        let mut frame = self.template();
        if self.fixed.is_some() {
            return frame;
        }
        let Variation { address, port, ident, filler } = Variation::of(flow);
        let at = self.transport();
        let (address_at, port_at) = match self.shape() {
            shape::CLIENT_V4 => (28, at),
            shape::REPLY_V4 => (32, at + 2),
            shape::CLIENT_V6 => (36, at),
            _ => (52, at + 2),
        };
        put(&mut frame, address_at, &address.to_be_bytes());
        put(&mut frame, port_at, &port.to_be_bytes());
        if self.server.is_ipv4() {
            put(&mut frame, 18, &ident.to_be_bytes());
        }
        put(&mut frame, FRAME_LEN - 2, &filler.to_be_bytes());
        frame
    }
}

/// Which flows the packets of a run belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flows {
    /// Every packet is of the next one, from this number on.
    Next(u32),
    /// This first number, and how many, in scattered order.
    Among(u32, u32),
}

/// The source and the destination of a frame, with their ports.
pub(crate) fn endpoints(frame: &Frame) -> [SocketAddr; 2] {
    let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let (addresses, at): ([IpAddr; 2], usize) = if frame[12] == 8 {
        let address = |at: usize| <[u8; 4]>::try_from(&frame[at..at + 4]).unwrap_or_default();
        ([address(26).into(), address(30).into()], 34)
    } else {
        let address = |at: usize| <[u8; 16]>::try_from(&frame[at..at + 16]).unwrap_or_default();
        ([address(22).into(), address(38).into()], 54)
    };
    let [source, destination] = addresses;
    [SocketAddr::new(source, port(at)), SocketAddr::new(destination, port(at + 2))]
}

/// Destination, then source MAC address.
pub(crate) fn macs(frame: &Frame) -> &[u8] {
    &frame[..12]
}

/// Whether the checksums of a frame are what its bytes add up to.
pub(crate) fn checksums_hold(frame: &Frame) -> bool {
    let header = frame[12] != 8 || checksum(&frame[14..34], 0) == 0;
    header && transport_checksum(frame) == 0
}

fn transport_checksum(frame: &Frame) -> u16 {
    let (addresses, at, protocol) =
        if frame[12] == 8 { (26..34, 34, frame[23]) } else { (22..54, 54, frame[20]) };
    let pseudo = u64::from(protocol) + (FRAME_LEN - at) as u64;
    let pseudo = pseudo + sum(&frame[addresses]);
    checksum(&frame[at..], pseudo)
}

/// RFC 1071, over whole 16-bit words.
fn checksum(bytes: &[u8], start: u64) -> u16 {
    let mut sum = start + sum(bytes);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

fn sum(bytes: &[u8]) -> u64 {
    let (words, _) = bytes.as_chunks::<2>();
    words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum()
}

/// Bytes as they lie in memory, as a number of this machine.
fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

fn put(frame: &mut Frame, at: usize, bytes: &[u8]) {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
}

fn put16(frame: &mut Frame, at: usize, value: usize) {
    let value = u16::try_from(value).unwrap_or_default();
    put(frame, at, &value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds() -> Vec<Packet> {
        let servers = ["198.18.1.1:80", "[fd00:18:1::1]:80"].map(|it| it.parse().unwrap());
        let one_way = servers.iter().flat_map(|server| {
            [Packet::tcp(SYN, *server), Packet::tcp(ACK, *server), Packet::udp(*server)]
        });
        one_way.flat_map(|packet| [packet, packet.reply(packet.server)]).collect()
    }

    #[test]
    fn checksums_of_every_flow_hold() {
        for packet in kinds() {
            for flow in [0, 1, 0xffff, 0x1_0000, 0x1234_5678, 0x7fff_ffff] {
                assert!(checksums_hold(&packet.frame(flow)), "{packet:?} {flow:#x}");
            }
        }
    }

    #[test]
    fn a_changed_byte_breaks_a_checksum() {
        for packet in kinds() {
            let frame = packet.frame(7);
            // From the addresses on, but for the last byte of the checksum itself.
            for at in 26..FRAME_LEN {
                let mut changed = frame;
                changed[at] ^= 1;
                assert!(!checksums_hold(&changed), "{packet:?} byte {at}");
            }
        }
    }

    #[test]
    fn flows_differ_at_the_client_only() {
        for packet in kinds() {
            let [one, other] = [3, 0x0002_0004].map(|flow| endpoints(&packet.frame(flow)));
            let (client, server) = if packet.is_reply { (1, 0) } else { (0, 1) };
            assert_eq!(one[server], packet.server);
            assert_eq!(other[server], packet.server);
            assert_ne!(one[client].ip(), other[client].ip());
            assert_ne!(one[client].port(), other[client].port());
        }
    }

    #[test]
    fn the_plan_is_the_frame_in_words() {
        let packet = kinds()[0];
        let plan = packet.plan(Flows::Among(5, 9));
        let template = packet.template();
        assert_eq!(plan.start.to_le_bytes(), template[..8]);
        assert_eq!(plan.start2.to_le_bytes(), template[8..12]);
        assert_eq!(plan.start3.to_le_bytes()[..2], template[12..14]);
        assert_eq!(plan.words[7].to_le_bytes(), template[70..]);
        assert_eq!((plan.first, plan.flows), (5, 9));
    }

    #[test]
    fn scattered_flows_are_all_visited_alike() {
        let plan = kinds()[0].plan(Flows::Among(100, 7));
        let mut seen = [0; 7];
        for counter in 0..7_000 {
            seen[plan.flow(counter) as usize - 100] += 1;
        }
        assert!(seen.iter().all(|count| (995..=1_005).contains(count)), "{seen:?}");
        let next = kinds()[0].plan(Flows::Next(40));
        assert_eq!([0, 1, 2].map(|counter| next.flow(counter)), [40, 41, 42]);
    }
}
