//! From one address family to the other (ADR 17, RFC 7915).

use std::net::{IpAddr, SocketAddr};

use super::frame::{self, Segment, balance, check_at, put, sum, word};

/// Bytes of a header that has nothing but what every one has.
fn bare(v6: bool) -> usize {
    if v6 { 40 } else { 20 }
}

/// Whether a packet has a counterpart: no part of one, no tag, no options, no extension headers, a checksum, and of
/// a length that can be written.
pub fn can(frame: &[u8], packet: &Segment) -> bool {
    let v6 = packet.from.is_ipv6();
    let whole = packet.piece.is_none() && !packet.tagged;
    if !whole || packet.transport != packet.ip + bare(v6) {
        return false;
    }
    if v6 {
        return word(frame, packet.ip + 4).unwrap() + bare(false) <= 0xffff;
    }
    let check = check_at(packet);
    !packet.udp || frame[check..check + 2] != [0, 0]
}

/// The frame with the other header, and a transport checksum that is as right as before.
pub fn translated(
    frame: &[u8],
    packet: &Segment,
    (from, to): (SocketAddr, SocketAddr),
    macs: Option<([u8; 6], [u8; 6])>,
) -> Vec<u8> {
    let (ip, transport) = (packet.ip, packet.transport);
    let was_v6 = packet.from.is_ipv6();
    let carries = frame::total(frame, ip, was_v6) - bare(was_v6);
    let number = if packet.udp { 17 } else { 6 };
    let mut out = match macs {
        Some((destination, source)) => [destination, source].concat(),
        None => frame[..12].to_vec(),
    };
    match (from.ip(), to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            // RFC 7915, 5.1; what tells packets apart is TCP's sequence number, or UDP's length and checksum.
            let class = frame[ip] << 4 | frame[ip + 1] >> 4;
            out.extend([8, 0, 0x45, class]);
            out.extend(((carries + 20) as u16).to_be_bytes());
            out.extend([frame[transport + 4] ^ frame[transport + 6]]);
            out.extend([frame[transport + 5] ^ frame[transport + 7]]);
            out.extend([0, 0, frame[ip + 7] - 1, number, 0, 0]);
            out.extend([source.octets(), destination.octets()].concat());
            balance(&mut out, ip + 10, 0, |out| sum(&out[ip..]));
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            // RFC 7915, 4.1.
            let class = frame[ip + 1];
            out.extend([0x86, 0xdd, 0x60 | class >> 4, class << 4, 0, 0]);
            out.extend((carries as u16).to_be_bytes());
            out.extend([number, frame[ip + 8] - 1]);
            out.extend([source.octets(), destination.octets()].concat());
        }
        _ => panic!("two families in one packet"),
    }
    let begins = out.len();
    out.extend(&frame[transport..]);
    let end = packet.end - transport + begins;
    let new = Segment { from, to, transport: begins, end, ..*packet };
    put(&mut out, begins, u64::from(from.port()));
    put(&mut out, begins + 2, u64::from(to.port()));
    let check = check_at(&new);
    // One that says that there is none goes on saying so.
    if packet.udp && out[check..check + 2] == [0, 0] {
        return out;
    }
    balance(&mut out, check, frame::transport_sum(frame, packet), |out| {
        frame::transport_sum(out, &new)
    });
    if packet.udp && out[check..check + 2] == [0, 0] {
        put(&mut out, check, 0xffff);
    }
    out
}
