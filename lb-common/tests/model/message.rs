//! ICMP (RFC 792, RFC 4443): errors about packets of flows, and messages of the balancer's own.

use std::net::{IpAddr, SocketAddr};

use super::frame::{self, Network, Segment, balance, check_at, header_of, put, sum, word};

/// An error on its way to who sent the packet that it quotes.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    pub from: IpAddr,
    pub to: IpAddr,
    pub hops: u8,
    pub tagged: bool,
    /// Where its headers begin.
    pub ip: usize,
    pub icmp: usize,
    /// The quoted packet: addresses, ports, and where its headers begin.
    pub about: Segment,
    /// The checksum of the quoted transport header is quoted, too.
    pub summed: bool,
}

/// Reads an error about a segment of TCP or UDP, if a frame is one.
pub fn report(frame: &[u8]) -> Option<Report> {
    let outer = frame::network(frame).ok()?;
    let v6 = outer.source.is_ipv6();
    if outer.piece.is_some() || outer.number != if v6 { 58 } else { 1 } {
        return None;
    }
    let (icmp, kind) = (outer.at, *frame.get(outer.at)?);
    let errors: &[u8] = if v6 { &[1, 2, 3, 4] } else { &[3, 4, 11, 12] };
    if !errors.contains(&kind) || frame.len() < icmp + 8 {
        return None;
    }
    let quoted = if v6 {
        frame::ipv6(frame, icmp + 8, outer.tagged)
    } else {
        frame::ipv4(frame, icmp + 8, outer.tagged)
    };
    let Network { number, source, destination, ip, at, .. } =
        quoted.ok().filter(|inner| !inner.in_pieces)?;
    if !matches!(number, 6 | 17) || frame.len() < at + 8 {
        return None;
    }
    let port = |at| word(frame, at).unwrap() as u16;
    let about = Segment {
        from: SocketAddr::new(source, port(at)),
        to: SocketAddr::new(destination, port(at + 2)),
        udp: number == 17,
        flags: 0,
        data: false,
        hops: 0,
        tagged: outer.tagged,
        ip,
        transport: at,
        end: frame.len(),
        piece: None,
    };
    let end = (outer.at + outer.length).min(frame.len());
    let summed = number == 17 || at + 20 <= end;
    let Network { source: from, destination: to, hops, tagged, ip, .. } = outer;
    Some(Report { from, to, hops, tagged, ip, icmp, about, summed })
}

/// The error from and to others, about the packet as its sender knows it. Checksums are as right as before.
pub fn readdressed(
    frame: &[u8],
    report: &Report,
    (from, to): (IpAddr, IpAddr),
    (inner_from, inner_to): (SocketAddr, SocketAddr),
    macs: Option<([u8; 6], [u8; 6])>,
) -> Vec<u8> {
    let about = &report.about;
    let mut out = frame.to_vec();
    if let Some((destination, source)) = macs {
        out[..6].copy_from_slice(&destination);
        out[6..12].copy_from_slice(&source);
    }
    let v6 = report.from.is_ipv6();
    let check = check_at(about);
    // What the sum over the addresses, ports and checksum of the quoted header was it has to be.
    let inner = |out: &[u8]| {
        let check = if report.summed { sum(&out[check..check + 2]) } else { 0 };
        let ports = sum(&out[about.transport..about.transport + 4]);
        (sum(frame::addresses(out, about.ip, v6)) + ports + check) % 65535
    };
    let was = inner(frame);
    frame::readdress(&mut out, about.ip, inner_from.ip(), inner_to.ip());
    put(&mut out, about.transport, u64::from(inner_from.port()));
    put(&mut out, about.transport + 2, u64::from(inner_to.port()));
    let none = about.udp && frame[check..check + 2] == [0, 0];
    if report.summed && !none {
        balance(&mut out, check, was, inner);
        if about.udp && out[check..check + 2] == [0, 0] {
            put(&mut out, check, 0xffff);
        }
    }
    let all = |out: &[u8]| {
        let pseudo = if v6 { sum(frame::addresses(out, report.ip, v6)) } else { 0 };
        (sum(&out[report.icmp..]) + pseudo) % 65535
    };
    let was = all(frame);
    frame::age(&mut out, report.ip, v6);
    frame::readdress(&mut out, report.ip, from, to);
    balance(&mut out, report.icmp + 2, was, all);
    out
}

/// What a message says: type and code over IPv4 and over IPv6, and the word behind the checksum.
#[derive(Clone, Copy, Debug)]
pub struct Says {
    pub v4: [u8; 2],
    pub v6: [u8; 2],
    pub rest: u32,
}

pub const NOBODY_THERE: Says = Says { v4: [3, 3], v6: [1, 4], rest: 0 };

pub fn too_big(mtu: u32) -> Says {
    Says { v4: [3, 4], v6: [2, 0], rest: mtu }
}

/// A message about a frame whose IP header is at `ip`, from whom that is to, to whom it is from. So many of its
/// bytes are quoted.
pub fn message(frame: &[u8], ip: usize, quoted: usize, says: Says) -> Vec<u8> {
    let v6 = frame[ip] >> 4 == 6;
    let mut out = [&frame[6..12], &frame[..6], &frame[12..ip]].concat();
    let length = (8 + quoted) as u16;
    let addresses = frame::addresses(frame, ip, v6);
    let (client, vip) = addresses.split_at(addresses.len() / 2);
    if v6 {
        out.extend([0x60, 0, 0, 0]);
        out.extend(length.to_be_bytes());
        out.extend([58, 64]);
    } else {
        out.extend([0x45, 0]);
        out.extend((20 + length).to_be_bytes());
        // Not to be fragmented.
        out.extend([0, 0, 0x40, 0, 64, 1, 0, 0]);
    }
    out.extend([vip, client].concat());
    let pseudo = if v6 { sum(addresses) + u64::from(length) + 58 } else { 0 };
    if !v6 {
        balance(&mut out, ip + 10, 0, |out| sum(&out[ip..]));
    }
    let at = out.len();
    out.extend(if v6 { says.v6 } else { says.v4 });
    out.extend([0, 0]);
    out.extend(says.rest.to_be_bytes());
    out.extend(&frame[ip..ip + quoted]);
    balance(&mut out, at + 2, 0, |out| (sum(&out[at..]) + pseudo) % 65535);
    out
}

/// Where the checksum of such a message about a segment is.
pub fn check_of_message(segment: &Segment) -> usize {
    segment.ip + if segment.from.is_ipv4() { 22 } else { 42 }
}

/// Whether the checksum of a segment is that of its pseudo header: it looks as if it were left to the link, and
/// what quotes it counts on what the link will write.
pub fn looks_unfinished(frame: &[u8], segment: &Segment) -> bool {
    let at = check_at(segment);
    let number = if segment.udp { 17 } else { 6 };
    let v6 = segment.from.is_ipv6();
    let before = if v6 { 40 } else { segment.transport - segment.ip };
    let length = frame::total(frame, segment.ip, v6).saturating_sub(before) as u64;
    let pseudo = sum(frame::addresses(frame, segment.ip, v6)) + number + length;
    pseudo % 65535 == sum(&frame[at..at + 2])
}

/// The checksums of an error, written anew: that of its IP header, and its own.
pub fn seal(frame: &mut [u8]) {
    let Some(Report { ip, icmp, from, .. }) = report(frame) else { return };
    let v6 = from.is_ipv6();
    if !v6 {
        let header = header_of(frame, ip);
        balance(frame, ip + 10, 0, |frame| sum(&frame[header.clone()]));
    }
    let length = (frame::total(frame, ip, v6) + ip).saturating_sub(icmp).min(frame.len() - icmp);
    let all = |frame: &[u8]| {
        let pseudo = sum(frame::addresses(frame, ip, v6)) + length as u64 + 58;
        (sum(&frame[icmp..icmp + length]) + if v6 { pseudo } else { 0 }) % 65535
    };
    balance(frame, icmp + 2, 0, all);
}
