//! ICMP messages of our own about a packet, from whom it was for to who sent it (RFC 792, RFC 4443). The
//! packet becomes the message: what it begins with is quoted, and headers are put in front of that.

use crate::{
    abi::address::Address,
    packet::{Headers, Packet, Purpose, Room},
    wire::{
        Ethernet, Icmp, Ipv4Hdr, Ipv6Hdr, Macs, Quote, Tcp, UdpHdr, checksum, field, load_v6,
        protocol, store_v6,
    },
};

/// Hops that a message begins with.
const HOPS: u8 = 64;
/// Not to be fragmented.
const DF: u16 = 0x4000;

/// What a message says: type, code, and the word behind the checksum.
#[derive(Clone, Copy)]
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) code: u8,
    pub(super) rest: u32,
}

/// Makes a message of the packet, which quotes its first `length` bytes, a multiple of four.
#[inline]
pub(super) fn tell<P: Packet>(
    packet: &mut P,
    headers: &Headers,
    length: usize,
    message: Message,
) -> Option<()> {
    let l3 = headers.network();
    packet.reach(l3 + length);
    let macs = packet.header::<Ethernet>(0)?.macs().swapped();
    let (client, vip, sum) = quote(packet, headers, length)?;
    packet.cut(l3 + length)?;
    let network = if headers.v6 { size_of::<Ipv6Hdr>() } else { size_of::<Ipv4Hdr>() };
    let bytes = network + Icmp::LEN;
    let tcp = headers.protocol == protocol::TCP;
    packet.grow(&Room { l3, bytes, purpose: Purpose::Answer, v6: headers.v6, tcp })?;
    write(packet, headers, (vip, client, macs), (length + Icmp::LEN) as u16, (message, sum))
}

/// The packet's addresses, and the sum over what is quoted of it.
#[inline]
fn quote<P: Packet>(
    packet: &P,
    headers: &Headers,
    quoted: usize,
) -> Option<(Address, Address, u64)> {
    let l3 = headers.network();
    let sum = sum(packet, l3, quoted)?;
    let number = u32::from(u16::from(headers.protocol).to_be());
    if headers.v6 {
        let ip = packet.header::<Ipv6Hdr>(l3)?;
        let (source, destination) = load_v6(ip);
        let length = u32::from(field!(load16(ip), Ipv6Hdr, payload_len));
        let addresses = all(source) + all(destination);
        let first = u64::from(field!(load32(ip), Ipv6Hdr, vcf));
        let header = addresses + first + u64::from(field!(load32(ip), Ipv6Hdr, payload_len));
        let sum = complete(packet, headers, sum, header, addresses + u64::from(length + number))?;
        return Some((Address { words: source }, Address { words: destination }, sum));
    }
    let ip = packet.header::<Ipv4Hdr>(l3)?;
    let source = field!(load32(ip), Ipv4Hdr, src_addr);
    let destination = field!(load32(ip), Ipv4Hdr, dst_addr);
    let total = u16::from_be(field!(load16(ip), Ipv4Hdr, tot_len));
    let before = headers.transport().saturating_sub(l3) as u16;
    let length = u32::from(total.wrapping_sub(before).to_be());
    let pseudo = u64::from(source) + u64::from(destination) + u64::from(length + number);
    // The sum over a whole header is zero.
    let sum = complete(packet, headers, sum, 0, pseudo)?;
    Some((Address::from_v4_word(source), Address::from_v4_word(destination), sum))
}

/// The sum over so many bytes from `l3` on.
#[inline]
fn sum<P: Packet>(packet: &P, l3: usize, length: usize) -> Option<u64> {
    let mut sum = 0;
    for at in (0..Quote::LONGEST).step_by(Quote::LEN) {
        if at >= length {
            break;
        }
        sum += packet.header::<Quote>(l3 + at)?.sum();
    }
    Some(sum)
}

/// The sum over the quotation as it will leave. A checksum that is left to the link is that of the pseudo
/// header so far. The link will sum up what is quoted, and what it writes makes that sum the opposite.
#[inline]
fn complete<P: Packet>(
    packet: &P,
    headers: &Headers,
    sum: u64,
    of_header: u64,
    pseudo: u64,
) -> Option<u64> {
    let check = if headers.protocol == protocol::TCP {
        field!(load16(packet.header::<Tcp>(headers.transport())?), Tcp, checksum)
    } else {
        field!(load16(packet.header::<UdpHdr>(headers.transport())?), UdpHdr, check)
    };
    let left = check == checksum::fold(pseudo);
    Some(if left { of_header + u64::from(!check) } else { sum })
}

#[inline]
fn all([a, b, c, d]: [u32; 4]) -> u64 {
    u64::from(a) + u64::from(b) + u64::from(c) + u64::from(d)
}

#[inline]
fn write<P: Packet>(
    packet: &mut P,
    headers: &Headers,
    (vip, client, macs): (Address, Address, Macs),
    length: u16,
    (message, sum): (Message, u64),
) -> Option<()> {
    let l3 = headers.network();
    packet.header_mut::<Ethernet>(0)?.set_macs(macs);
    let (pseudo, at) = if headers.v6 {
        let ip = packet.header_mut::<Ipv6Hdr>(l3)?;
        let length = length.to_be();
        field!(store32(ip, (6_u32 << 28).to_be()), Ipv6Hdr, vcf);
        field!(store16(ip, length), Ipv6Hdr, payload_len);
        ip.next_hdr = protocol::ICMPV6;
        ip.hop_limit = HOPS;
        store_v6(ip, vip.words, client.words);
        let number = u16::from(protocol::ICMPV6).to_be();
        let pseudo = all(vip.words) + all(client.words) + u64::from(length) + u64::from(number);
        (pseudo, l3 + size_of::<Ipv6Hdr>())
    } else {
        write_ipv4(packet.header_mut::<Ipv4Hdr>(l3)?, length, vip, client);
        (0, l3 + size_of::<Ipv4Hdr>())
    };
    let icmp = packet.header_mut::<Icmp>(at)?;
    (icmp.kind, icmp.code) = (message.kind, message.code);
    field!(store16(icmp, 0), Icmp, checksum);
    let rest = message.rest.to_be();
    field!(store32(icmp, rest), Icmp, rest);
    let own = u64::from(field!(load32(icmp), Icmp, kind)) + u64::from(rest);
    field!(store16(icmp, !checksum::fold(sum + pseudo + own)), Icmp, checksum);
    Some(())
}

#[inline]
fn write_ipv4(ip: &mut Ipv4Hdr, length: u16, vip: Address, client: Address) {
    let total = size_of::<Ipv4Hdr>() as u16 + length;
    (ip.vihl, ip.tos, ip.ttl, ip.proto) = (0x45, 0, HOPS, protocol::ICMP);
    field!(store16(ip, total.to_be()), Ipv4Hdr, tot_len);
    field!(store16(ip, 0), Ipv4Hdr, id);
    field!(store16(ip, DF.to_be()), Ipv4Hdr, frags);
    field!(store16(ip, 0), Ipv4Hdr, check);
    field!(store32(ip, vip.v4_word()), Ipv4Hdr, src_addr);
    field!(store32(ip, client.v4_word()), Ipv4Hdr, dst_addr);
    let sum = u64::from(field!(load32(ip), Ipv4Hdr, vihl))
        + u64::from(field!(load32(ip), Ipv4Hdr, id))
        + u64::from(field!(load32(ip), Ipv4Hdr, ttl))
        + u64::from(vip.v4_word())
        + u64::from(client.v4_word());
    field!(store16(ip, !checksum::fold(sum)), Ipv4Hdr, check);
}
