//! What a frame says, read by hand: IEEE 802.3 and 802.1Q, RFC 791, RFC 8200, RFC 9293, RFC 768.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::message;

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

/// A TCP segment or a UDP datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub udp: bool,
    pub flags: u8,
    /// It carries data; a datagram always counts as if it did.
    pub data: bool,
    pub hops: u8,
    pub tagged: bool,
    /// Where the IP header and the transport header begin, and where the packet ends.
    pub ip: usize,
    pub transport: usize,
    pub end: usize,
    /// Which part of a packet in pieces it is.
    pub piece: Option<Piece>,
}

/// A fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What all fragments of the packet have in common, beside their addresses: the identification, and
    /// over IPv4 the protocol.
    pub of: (u32, u8),
    /// One behind the first: it has no ports.
    pub later: bool,
}

fn byte(frame: &[u8], at: usize) -> Result<u8, &'static str> {
    frame.get(at).copied().ok_or("malformed")
}

pub fn word(frame: &[u8], at: usize) -> Result<usize, &'static str> {
    Ok(usize::from(byte(frame, at)?) << 8 | usize::from(byte(frame, at + 1)?))
}

/// Reads a frame; the error is the reason why it is none of ours.
pub fn read(frame: &[u8]) -> Result<Segment, &'static str> {
    transport(frame, &network(frame)?)
}

pub fn network(frame: &[u8]) -> Result<Network, &'static str> {
    let mut kind = word(frame, 12)?;
    let mut at = 14;
    let mut tags = 0;
    while kind == 0x8100 || kind == 0x88a8 {
        tags += 1;
        if tags > 2 {
            return Err("too-many-headers");
        }
        kind = word(frame, at + 2)?;
        at += 4;
    }
    match kind {
        0x0800 => ipv4(frame, at, tags > 0),
        0x86dd => ipv6(frame, at, tags > 0),
        _ => Err("not-ip"),
    }
}

/// What the network layer says.
pub struct Network {
    pub number: u8,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub hops: u8,
    pub tagged: bool,
    /// Where its header and what it carries begin, and how long that is.
    pub ip: usize,
    pub at: usize,
    pub length: usize,
    pub piece: Option<Piece>,
    /// It has a fragment header, though it may be whole.
    pub in_pieces: bool,
}

pub fn ipv4(frame: &[u8], ip: usize, tagged: bool) -> Result<Network, &'static str> {
    byte(frame, ip + 19)?;
    let words = usize::from(frame[ip] & 15);
    let total = word(frame, ip + 2)?;
    if frame[ip] >> 4 != 4 || words < 5 || total < words * 4 {
        return Err("malformed");
    }
    let (more, offset) = (frame[ip + 6] & 0x20 != 0, word(frame, ip + 6)? & 0x1fff);
    let piece = (more || offset != 0).then(|| Piece {
        of: (word(frame, ip + 4).unwrap() as u32, frame[ip + 9]),
        later: offset != 0,
    });
    Ok(Network {
        number: frame[ip + 9],
        source: address(frame, ip + 12, false),
        destination: address(frame, ip + 16, false),
        hops: frame[ip + 8],
        tagged,
        ip,
        at: ip + words * 4,
        length: total - words * 4,
        piece,
        in_pieces: piece.is_some(),
    })
}

fn address(frame: &[u8], at: usize, v6: bool) -> IpAddr {
    if v6 {
        IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(&frame[at..at + 16]).unwrap()))
    } else {
        IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&frame[at..at + 4]).unwrap()))
    }
}

pub fn ipv6(frame: &[u8], ip: usize, tagged: bool) -> Result<Network, &'static str> {
    byte(frame, ip + 39)?;
    if frame[ip] >> 4 != 6 {
        return Err("malformed");
    }
    let (mut left, mut number, mut at) = (word(frame, ip + 4)?, frame[ip + 6], ip + 40);
    let (mut extensions, mut piece, mut in_pieces) = (0, None::<Piece>, false);
    // Hop-by-hop options, routing, destination options, fragments.
    while [0, 43, 60, 44].contains(&number) && piece.is_none_or(|piece| !piece.later) {
        extensions += 1;
        if extensions > 4 {
            return Err(if number == 44 { "fragment" } else { "too-many-headers" });
        }
        let is_fragment = number == 44;
        byte(frame, at + if is_fragment { 7 } else { 1 })?;
        number = frame[at];
        if is_fragment {
            let place = word(frame, at + 2)?;
            let of = (u32::from_be_bytes(frame[at + 4..at + 8].try_into().unwrap()), 0);
            // One that is the whole packet is none.
            piece = (place & 0xfff9 != 0).then_some(Piece { of, later: place >> 3 != 0 });
            in_pieces = true;
        }
        let length = if is_fragment { 8 } else { (usize::from(frame[at + 1]) + 1) * 8 };
        if left < length {
            return Err("malformed");
        }
        left -= length;
        at += length;
    }
    Ok(Network {
        number,
        source: address(frame, ip + 8, true),
        destination: address(frame, ip + 24, true),
        hops: frame[ip + 7],
        tagged,
        ip,
        at,
        length: left,
        piece,
        in_pieces,
    })
}

fn transport(frame: &[u8], network: &Network) -> Result<Segment, &'static str> {
    let Network { number, source, destination, hops, tagged, ip, at, length, piece, .. } = *network;
    let later = piece.is_some_and(|piece| piece.later);
    let header = match number {
        // Its ports and its protocol are those of the first one.
        _ if later => 0,
        6 => 20,
        17 => 8,
        1 | 58 => return Err("icmp"),
        _ => return Err("not-transport"),
    };
    if header > 0 {
        byte(frame, at + header - 1)?;
    }
    if length < header {
        return Err("malformed");
    }
    let udp = !later && number == 17;
    let (flags, data) = match header {
        0 => (0, false),
        8 => (0, true),
        _ => (frame[at + 13], length > usize::from(frame[at + 12] >> 4) * 4),
    };
    let port = |at| if later { 0 } else { word(frame, at).unwrap() as u16 };
    Ok(Segment {
        from: SocketAddr::new(source, port(at)),
        to: SocketAddr::new(destination, port(at + 2)),
        udp,
        flags,
        data,
        hops,
        tagged,
        ip,
        transport: at,
        end: (at + length).min(frame.len()),
        piece,
    })
}

impl Segment {
    /// Whether it has no transport header.
    pub fn later(&self) -> bool {
        self.piece.is_some_and(|piece| piece.later)
    }
}

/// A sum of 16-bit words in one's complement (RFC 1071), as a number below 65535.
pub fn sum(bytes: &[u8]) -> u64 {
    let mut sum = 0;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u64::from(*low));
    }
    sum % 65535
}

/// The IPv4 header, as far as the frame has it.
pub fn header_of(frame: &[u8], ip: usize) -> std::ops::Range<usize> {
    ip..(ip + usize::from(frame[ip] & 15) * 4).min(frame.len())
}

/// The two addresses of a packet, as they lie in it.
pub fn addresses(frame: &[u8], ip: usize, v6: bool) -> &[u8] {
    if v6 { &frame[ip + 8..ip + 40] } else { &frame[ip + 12..ip + 20] }
}

/// How long a packet says that it is.
pub fn total(frame: &[u8], ip: usize, v6: bool) -> usize {
    if v6 { 40 + word(frame, ip + 4).unwrap() } else { word(frame, ip + 2).unwrap() }
}

/// Takes one hop off a packet; its header's checksum is as right as before.
pub fn age(frame: &mut [u8], ip: usize, v6: bool) {
    if v6 {
        frame[ip + 7] -= 1;
        return;
    }
    let header = header_of(frame, ip);
    let was = sum(&frame[header.clone()]);
    frame[ip + 8] -= 1;
    balance(frame, ip + 10, was, |frame| sum(&frame[header.clone()]));
}

/// Gives a packet other addresses; its header's checksum is as right as before.
pub fn readdress(frame: &mut [u8], ip: usize, from: IpAddr, to: IpAddr) {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let header = header_of(frame, ip);
            let was = sum(&frame[header.clone()]);
            frame[ip + 12..ip + 20].copy_from_slice(&[from.octets(), to.octets()].concat());
            balance(frame, ip + 10, was, |frame| sum(&frame[header.clone()]));
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            frame[ip + 8..ip + 40].copy_from_slice(&[from.octets(), to.octets()].concat());
        }
        _ => panic!("two families in one packet"),
    }
}

/// Where the checksum of the transport header is.
pub fn check_at(segment: &Segment) -> usize {
    segment.transport + if segment.udp { 6 } else { 16 }
}

/// The sum of a packet's transport header, its data and its addresses, in one's complement: 0 where
/// the checksum in it is right, but for the length and the number of the pseudo header.
pub fn transport_sum(frame: &[u8], segment: &Segment) -> u64 {
    let addresses = addresses(frame, segment.ip, segment.from.is_ipv6());
    (sum(addresses) + sum(&frame[segment.transport..segment.end])) % 65535
}

pub fn put(frame: &mut [u8], at: usize, value: u64) {
    frame[at..at + 2].copy_from_slice(&(value as u16).to_be_bytes());
}

/// The checksum at `at` that gives a frame the sum `wanted`, where it has `sum` with a zero there.
/// A sum of all that is no zero has two forms in one's complement, of which 0xffff is never computed.
pub fn balance(frame: &mut [u8], at: usize, wanted: u64, sum: impl Fn(&[u8]) -> u64) {
    put(frame, at, 0);
    let without = sum(frame);
    put(frame, at, (wanted + 65535 - without) % 65535);
}

/// The frame with other addresses, one hop less, and checksums that are as right as before.
pub fn rewritten(
    frame: &[u8],
    segment: &Segment,
    (from, to): (SocketAddr, SocketAddr),
    macs: Option<([u8; 6], [u8; 6])>,
) -> Vec<u8> {
    let mut out = frame.to_vec();
    if let Some((destination, source)) = macs {
        out[..6].copy_from_slice(&destination);
        out[6..12].copy_from_slice(&source);
    }
    let (ip, ports, check) = (segment.ip, segment.transport, check_at(segment));
    age(&mut out, ip, from.is_ipv6());
    readdress(&mut out, ip, from.ip(), to.ip());
    if segment.later() {
        return out;
    }
    put(&mut out, ports, u64::from(from.port()));
    put(&mut out, ports + 2, u64::from(to.port()));
    // RFC 768: a checksum of 0 means that the sender computed none; a computed 0 is sent as 0xffff.
    if segment.udp && frame[check..check + 2] == [0, 0] {
        return out;
    }
    let was = transport_sum(frame, segment);
    balance(&mut out, check, was, |out| transport_sum(out, segment));
    if segment.udp && out[check..check + 2] == [0, 0] {
        put(&mut out, check, 0xffff);
    }
    out
}

/// The frame turned round into a reset of its connection (RFC 9293, 3.10.7.1), its data left in it.
pub fn reset(frame: &[u8], segment: &Segment) -> Vec<u8> {
    let mut out = frame.to_vec();
    let (ip, tcp) = (segment.ip, segment.transport);
    out[..6].copy_from_slice(&frame[6..12]);
    out[6..12].copy_from_slice(&frame[..6]);
    let (addresses, bytes) = if segment.from.is_ipv4() { (ip + 12, 4) } else { (ip + 8, 16) };
    let (first, second) = (addresses..addresses + bytes, addresses + bytes..addresses + 2 * bytes);
    out[first.clone()].copy_from_slice(&frame[second.clone()]);
    out[second].copy_from_slice(&frame[first]);
    if segment.from.is_ipv4() {
        let header = header_of(frame, ip);
        let was = sum(&frame[header.clone()]);
        out[ip + 8] = 64;
        balance(&mut out, ip + 10, was, |out| sum(&out[header.clone()]));
    } else {
        out[ip + 7] = 64;
    }
    out[tcp..tcp + 2].copy_from_slice(&frame[tcp + 2..tcp + 4]);
    out[tcp + 2..tcp + 4].copy_from_slice(&frame[tcp..tcp + 2]);
    let [sequence, acknowledged] =
        [tcp + 4, tcp + 8].map(|at| u32::from_be_bytes(frame[at..at + 4].try_into().unwrap()));
    let (sequence, acknowledges, flags) = if segment.flags & ACK != 0 {
        (acknowledged, 0, RST)
    } else {
        (0, sequence.wrapping_add(1), RST | ACK)
    };
    out[tcp + 4..tcp + 8].copy_from_slice(&sequence.to_be_bytes());
    out[tcp + 8..tcp + 12].copy_from_slice(&acknowledges.to_be_bytes());
    out[tcp + 13] = flags;
    out[tcp + 14..tcp + 16].fill(0);
    let was = transport_sum(frame, segment);
    balance(&mut out, check_at(segment), was, |out| transport_sum(out, segment));
    out
}

/// Whether two frames differ at most in how a checksum writes zero: 0 and 0xffff are one number in
/// one's complement, and which of them an update of a wrong checksum ends with is nobody's business.
pub fn same(a: &[u8], b: &[u8], segment: &Segment) -> bool {
    let mut places = if segment.later() { Vec::new() } else { vec![check_at(segment)] };
    if segment.from.is_ipv4() {
        places.push(segment.ip + 10);
    }
    let zeros = [[0, 0], [255, 255]];
    a.len() == b.len()
        && (0..a.len()).all(|at| {
            let of_zero = places.iter().any(|place| {
                let pair = *place..*place + 2;
                pair.contains(&at)
                    && zeros.contains(&a[pair.clone()].try_into().unwrap())
                    && zeros.contains(&b[pair].try_into().unwrap())
            });
            a[at] == b[at] || of_zero
        })
}

/// Writes the checksums of a frame anew; not those of datagrams that have none.
pub fn seal(frame: &mut [u8]) {
    let Ok(segment) = read(frame) else { return message::seal(frame) };
    let ip = segment.ip;
    if segment.from.is_ipv4() {
        let header = header_of(frame, ip);
        balance(frame, ip + 10, 0, |frame| sum(&frame[header.clone()]));
    }
    if segment.later() {
        return;
    }
    let rest = (if segment.udp { 17 } else { 6 }) + (segment.end - segment.transport) as u64;
    let all = |frame: &[u8]| (transport_sum(frame, &segment) + rest) % 65535;
    let check = check_at(&segment);
    balance(frame, check, 0, all);
    if segment.udp && frame[check..check + 2] == [0, 0] {
        put(frame, check, 0xffff);
    }
}

/// Whether a packet ended as it should have.
pub fn agree(
    input: &[u8],
    expected: &super::Outcome,
    actual: &super::Outcome,
) -> Result<(), String> {
    let of =
        |outcome: &super::Outcome| (outcome.reason, outcome.fate, outcome.service, outcome.backend);
    if of(expected) != of(actual) {
        return Err("another end".to_owned());
    }
    // What is dropped is nobody's business any more.
    if expected.fate == super::Fate::Drop && expected.reason == "too-big" {
        return Ok(());
    }
    let Ok(segment) = read(input) else {
        return if expected.bytes == actual.bytes { Ok(()) } else { Err("changed".to_owned()) };
    };
    let told = matches!(expected.reason, "no-backend" | "backend-gone") && segment.udp
        || expected.reason == "too-big";
    if told && expected.fate != super::Fate::Drop {
        let at = message::check_of_message(&segment);
        let (mut a, mut b) = (expected.bytes.clone(), actual.bytes.clone());
        if a.len() == b.len() && message::looks_unfinished(input, &segment) {
            put(&mut a, at, 0);
            put(&mut b, at, 0);
        }
        return if a == b { Ok(()) } else { Err("another message".to_owned()) };
    }
    let mut sealed = input.to_vec();
    seal(&mut sealed);
    // In the other address family.
    if expected.bytes.get(12..14) != input.get(12..14)
        && let Ok(segment) = read(&expected.bytes)
    {
        let (a, b) = (&expected.bytes, &actual.bytes);
        let agree = if sealed == input { a == b } else { same(a, b, &segment) };
        return if agree { Ok(()) } else { Err("another translation".to_owned()) };
    }
    if expected.reason == "forwarded" && expected.bytes.len() != input.len() {
        let same = expected.bytes == actual.bytes;
        return if same { Ok(()) } else { Err("another tunnel".to_owned()) };
    }
    let check = check_at(&segment);
    let has = segment.udp && !segment.later();
    let none = |bytes: &[u8]| has && bytes[check..check + 2] == [0, 0];
    if sealed == input || none(input) {
        if expected.bytes != actual.bytes {
            return Err("other bytes".to_owned());
        }
    } else if !same(&expected.bytes, &actual.bytes, &segment) {
        return Err("other bytes, in a packet with a wrong checksum".to_owned());
    }
    if none(&actual.bytes) != none(input) {
        return Err("a checksum of a datagram has come or gone".to_owned());
    }
    Ok(())
}
