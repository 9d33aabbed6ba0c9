//! Frames that `etherparse` does not build by itself: fragments, ICMP errors, resets.

use std::net::IpAddr;

use etherparse::{
    IcmpEchoHeader, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpFragOffset, IpNumber,
    Ipv4Header, Ipv6FragmentHeader, Ipv6Header, icmpv4, icmpv6, ip_number,
};

use super::frame::Frame;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;

/// Bytes of the payload of a first fragment.
pub const FIRST: usize = 16;

/// The two fragments of a frame, the first with `FIRST` bytes behind the IP header.
pub fn fragments(frame: &Frame, identification: u32) -> [Vec<u8>; 2] {
    let whole = frame.build();
    let (ethernet, packet) = whole.split_at(ETHERNET);
    let piece = |first: bool| {
        let (offset, more) = if first { (0, true) } else { (FIRST / 8, false) };
        let offset = IpFragOffset::try_new(offset as u16).unwrap();
        let cut = |payload: &[u8]| -> Vec<u8> {
            if first { payload[..FIRST].into() } else { payload[FIRST..].into() }
        };
        let mut out = ethernet.to_vec();
        if frame.source.is_ipv4() {
            let (mut header, rest) = Ipv4Header::from_slice(packet).unwrap();
            let payload = cut(rest);
            header.dont_fragment = false;
            (header.more_fragments, header.fragment_offset) = (more, offset);
            header.identification = identification as u16;
            header.set_payload_len(payload.len()).unwrap();
            header.header_checksum = header.calc_header_checksum();
            header.write_raw(&mut out).unwrap();
            out.extend(payload);
        } else {
            let (header, rest) = Ipv6Header::from_slice(packet).unwrap();
            let next_header = header.next_header;
            let payload = cut(rest);
            let length = (payload.len() + Ipv6FragmentHeader::LEN) as u16;
            let next = ip_number::IPV6_FRAG;
            Ipv6Header { next_header: next, payload_length: length, ..header }
                .write(&mut out)
                .unwrap();
            Ipv6FragmentHeader::new(next_header, offset, more, identification)
                .write(&mut out)
                .unwrap();
            out.extend(payload);
        }
        out
    };
    [piece(true), piece(false)]
}

/// A later fragment that begins eight bytes earlier, over what another one has.
pub fn overlapping(fragment: &[u8]) -> Vec<u8> {
    let mut out = fragment.to_vec();
    if out[12..14] == [0x08, 0x00] {
        let (mut header, rest) = Ipv4Header::from_slice(&fragment[ETHERNET..]).unwrap();
        let offset = header.fragment_offset.value() - 1;
        header.fragment_offset = IpFragOffset::try_new(offset).unwrap();
        header.header_checksum = header.calc_header_checksum();
        let mut packet = Vec::new();
        header.write_raw(&mut packet).unwrap();
        out.splice(ETHERNET.., [&packet, rest].concat());
    } else {
        // The offset is in units of eight bytes, above three bits.
        out[ETHERNET + IPV6 + 3] -= 8;
    }
    out
}

/// An atomic fragment: the whole of an IPv6 packet behind a fragment header.
pub fn atomic(frame: &Frame) -> Vec<u8> {
    let whole = frame.build();
    let (header, rest) = Ipv6Header::from_slice(&whole[ETHERNET..]).unwrap();
    let mut out = whole[..ETHERNET].to_vec();
    let (next_header, length) = (ip_number::IPV6_FRAG, header.payload_length + 8);
    let fragment = Ipv6FragmentHeader::new(header.next_header, IpFragOffset::ZERO, false, 7);
    Ipv6Header { next_header, payload_length: length, ..header }.write(&mut out).unwrap();
    fragment.write(&mut out).unwrap();
    out.extend(rest);
    out
}

/// What an ICMP message says.
#[derive(Clone, Copy, Debug)]
pub enum Message {
    PortUnreachable,
    TooBig(u16),
    TimeExceeded,
    Echo,
    EchoReply,
}

/// An ICMP message from one address to another.
#[derive(Clone, Debug)]
pub struct Icmp {
    pub macs: ([u8; 6], [u8; 6]),
    pub source: &'static str,
    pub destination: &'static str,
    pub hops: u8,
    pub message: Message,
    /// The packet that it is about, from its IP header on.
    pub quoted: Vec<u8>,
}

/// The packet of a frame as errors quote it: `length` bytes from the IP header on.
pub fn quote(frame: &Frame, length: usize) -> Vec<u8> {
    let packet = frame.build().split_off(ETHERNET);
    packet[..length.min(packet.len())].to_vec()
}

/// As much as RFC 792 asks for: the header and eight bytes.
pub fn quote_least(frame: &Frame) -> Vec<u8> {
    quote(frame, if frame.source.is_ipv4() { IPV4 } else { IPV6 } + 8)
}

impl Icmp {
    /// The same one hop later.
    pub fn sent(
        &self,
        source: &'static str,
        destination: &'static str,
        macs: Option<([u8; 6], [u8; 6])>,
        quoted: Vec<u8>,
    ) -> Self {
        let (macs, hops) = (macs.unwrap_or(self.macs), self.hops - 1);
        Self { macs, source, destination, hops, quoted, ..self.clone() }
    }

    pub fn build(&self) -> Vec<u8> {
        let (source, destination): (IpAddr, IpAddr) =
            (self.source.parse().unwrap(), self.destination.parse().unwrap());
        let mut out = [&self.macs.1[..], &self.macs.0[..]].concat();
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let icmp = Icmpv4Header::with_checksum(self.v4(), &self.quoted);
                let length = (icmp.header_len() + self.quoted.len()) as u16;
                let number: IpNumber = ip_number::ICMP;
                let (source, destination) = (source.octets(), destination.octets());
                let header =
                    Ipv4Header::new(length, self.hops, number, source, destination).unwrap();
                out.extend([0x08, 0x00]);
                header.write(&mut out).unwrap();
                icmp.write(&mut out).unwrap();
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let (source, destination) = (source.octets(), destination.octets());
                let icmp =
                    Icmpv6Header::with_checksum(self.v6(), source, destination, &self.quoted)
                        .unwrap();
                let header = Ipv6Header {
                    payload_length: (icmp.header_len() + self.quoted.len()) as u16,
                    next_header: ip_number::IPV6_ICMP,
                    hop_limit: self.hops,
                    source,
                    destination,
                    ..Default::default()
                };
                out.extend([0x86, 0xdd]);
                header.write(&mut out).unwrap();
                icmp.write(&mut out).unwrap();
            }
            _ => panic!("two families in one packet"),
        }
        out.extend(&self.quoted);
        out
    }

    fn v4(&self) -> Icmpv4Type {
        match self.message {
            Message::PortUnreachable => {
                Icmpv4Type::DestinationUnreachable(icmpv4::DestUnreachableHeader::Port)
            }
            Message::TooBig(mtu) => Icmpv4Type::DestinationUnreachable(
                icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: mtu },
            ),
            Message::TimeExceeded => {
                Icmpv4Type::TimeExceeded(icmpv4::TimeExceededCode::TtlExceededInTransit)
            }
            Message::Echo => Icmpv4Type::EchoRequest(IcmpEchoHeader { id: 7, seq: 1 }),
            Message::EchoReply => Icmpv4Type::EchoReply(IcmpEchoHeader { id: 7, seq: 1 }),
        }
    }

    fn v6(&self) -> Icmpv6Type {
        match self.message {
            Message::PortUnreachable => {
                Icmpv6Type::DestinationUnreachable(icmpv6::DestUnreachableCode::Port)
            }
            Message::TooBig(mtu) => Icmpv6Type::PacketTooBig { mtu: mtu.into() },
            Message::TimeExceeded => {
                Icmpv6Type::TimeExceeded(icmpv6::TimeExceededCode::HopLimitExceeded)
            }
            Message::Echo => Icmpv6Type::EchoRequest(IcmpEchoHeader { id: 7, seq: 1 }),
            Message::EchoReply => Icmpv6Type::EchoReply(IcmpEchoHeader { id: 7, seq: 1 }),
        }
    }
}

/// The reset that answers a frame: its addresses turned round, its payload left where it is.
pub fn reset(frame: &Frame, sequence: u32, acknowledges: Option<u32>) -> Vec<u8> {
    let turned = Frame {
        macs: (frame.macs.1, frame.macs.0),
        source: frame.destination,
        destination: frame.source,
        hop_limit: 64,
        flags: "R",
        ..frame.clone()
    };
    let mut bytes = turned.build();
    let l4 = ETHERNET + if frame.source.is_ipv4() { IPV4 } else { IPV6 };
    let (mut tcp, payload) = etherparse::TcpHeader::from_slice(&bytes[l4..]).unwrap();
    tcp.sequence_number = sequence;
    (tcp.acknowledgment_number, tcp.ack) = (acknowledges.unwrap_or(0), acknowledges.is_some());
    tcp.window_size = 0;
    tcp.checksum = if frame.source.is_ipv4() {
        let (ip, _) = Ipv4Header::from_slice(&bytes[ETHERNET..]).unwrap();
        tcp.calc_checksum_ipv4(&ip, payload).unwrap()
    } else {
        let (ip, _) = Ipv6Header::from_slice(&bytes[ETHERNET..]).unwrap();
        tcp.calc_checksum_ipv6(&ip, payload).unwrap()
    };
    let header = tcp.to_bytes();
    bytes[l4..l4 + header.len()].copy_from_slice(&header);
    bytes
}
