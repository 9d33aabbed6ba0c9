//! Packets that carry packets (ADR 14; RFC 2003, RFC 2473, GUE).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    config::Tunnel,
    frame::{self, balance, sum},
};

/// Bytes in front of a packet.
pub fn before(tunnel: Tunnel, v6: bool) -> usize {
    let udp = if tunnel == Tunnel::Udp { 8 } else { 0 };
    udp + if v6 { 40 } else { 20 }
}

/// The ends of a tunnel.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    pub tunnel: Tunnel,
    /// Our address on the way; of IPv4 a network, if there is one, and the bits that say which flow it is.
    pub source: IpAddr,
    pub network: (Ipv4Addr, u32),
    pub backend: IpAddr,
    pub port: u16,
    /// Destination and source of the frame.
    pub macs: ([u8; 6], [u8; 6]),
}

/// What differs from flow to flow: a hash of the addresses as they lie in the packet, in words of the least
/// significant byte first, and the ports, as ADR 14 has it.
fn entropy(addresses: &[u8], ports: (u16, u16)) -> u32 {
    let words: Vec<u32> =
        addresses.chunks(4).map(|four| u32::from_le_bytes(four.try_into().unwrap())).collect();
    let mixed = match words[..] {
        [from, to] => from ^ to.rotate_left(13),
        [a, b, c, d, e, f, g, h] => a ^ b ^ c ^ d.rotate_left(7) ^ e ^ f ^ g ^ h.rotate_left(13),
        _ => panic!("addresses of no family"),
    };
    let ports = u32::from(ports.0.swap_bytes()) << 16 | u32::from(ports.1.swap_bytes());
    let mut hash = mixed ^ ports.wrapping_mul(0x9e37_79b1);
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

/// The frame whose packet begins at `ip` inside another one, with what is behind its link header as it is.
pub fn carried(frame: &[u8], ip: usize, ports: (u16, u16), ends: &Ends) -> Vec<u8> {
    let v6 = frame[ip] >> 4 == 6;
    let hash = entropy(frame::addresses(frame, ip, v6), ports);
    let total = frame::total(frame, ip, v6) + before(ends.tunnel, v6);
    let mut out = [&ends.macs.0[..], &ends.macs.1, &frame[12..ip]].concat();
    let number = |plain| if ends.tunnel == Tunnel::Udp { 17 } else { plain };
    let length = match (ends.source, ends.backend) {
        (IpAddr::V4(source), IpAddr::V4(backend)) => {
            out.extend([0x45, frame[ip + 1]]);
            out.extend((total as u16).to_be_bytes());
            out.extend([0, 0, 0x40, 0, 64, number(4), 0, 0]);
            // The last bits of the hash as it lies in memory.
            let (network, bits) = ends.network;
            let flow = u32::from_be_bytes(hash.to_le_bytes()) & bits;
            let from = Ipv4Addr::from_bits(network.to_bits() | flow);
            out.extend(if network.is_unspecified() { source } else { from }.octets());
            out.extend(backend.octets());
            balance(&mut out, ip + 10, 0, |out| sum(&out[ip..]));
            total - 20
        }
        (IpAddr::V6(source), IpAddr::V6(backend)) => {
            let class = frame[ip] << 4 | frame[ip + 1] >> 4;
            let first = 6 << 28 | u32::from(class) << 20 | hash & 0x000f_ffff;
            out.extend(first.to_be_bytes());
            out.extend(((total - 40) as u16).to_be_bytes());
            out.extend([number(41), 64]);
            out.extend([source, backend].map(|ip: Ipv6Addr| ip.octets()).concat());
            total - 40
        }
        _ => panic!("two families in one tunnel"),
    };
    if ends.tunnel == Tunnel::Udp {
        out.extend((0xc000 | hash as u16 & 0x3fff).to_be_bytes());
        out.extend(ends.port.to_be_bytes());
        out.extend((length as u16).to_be_bytes());
        out.extend([0, 0]);
    }
    out.extend(&frame[ip..]);
    out
}
