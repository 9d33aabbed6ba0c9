//! Packets: headers by offset, and the rewrite, decided first and applied last.

use crate::{
    abi::address::Address,
    wire::{
        Ethernet, Ipv4Hdr, Ipv6Hdr, Macs, Tcp, UdpHdr, Wire, checksum, field, load_v6, protocol,
        store_v6,
    },
};

/// Where the headers of a packet lie, and what the pipeline needs of them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// Offset of the IP header; read it by [`Headers::network`].
    pub l3: u16,
    /// Offset of the TCP or UDP header; read it by [`Headers::transport`].
    pub l4: u16,
    /// Source port, network byte order.
    pub source_port: u16,
    /// Destination port, network byte order.
    pub destination_port: u16,
    /// IPv6 rather than IPv4.
    pub v6: bool,
    /// The frame carries a VLAN tag.
    pub tagged: bool,
    /// [`protocol::TCP`] or [`protocol::UDP`].
    pub protocol: u8,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// TCP flags; 0 for UDP.
    pub tcp_flags: u8,
    /// It carries data; every datagram counts as if it did.
    pub payload: bool,
    /// A fragment behind the first one: its ports are those of the first, and not in the packet.
    pub later: bool,
    /// A later stage has sent it back, and need not see it again.
    pub again: bool,
    /// A backend is chosen for all packets of its flow alike.
    pub steady: bool,
    /// Always 0.
    pub zero: u8,
}

impl Headers {
    /// Hop-by-hop, routing and destination options may each be 2 KiB long.
    const MASK: usize = 0x3fff;

    /// Offset of the IP header. The mask tells the verifier its bound.
    #[inline]
    #[must_use]
    pub fn network(&self) -> usize {
        usize::from(self.l3) & Self::MASK
    }

    /// Offset of the transport header.
    #[inline]
    #[must_use]
    pub fn transport(&self) -> usize {
        usize::from(self.l4) & Self::MASK
    }
}

/// A rewrite as a value: the addresses and ports that the packet leaves with. The hop limit goes
/// down by one and the checksums follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// Where the headers lie.
    pub headers: Headers,
    /// New source address.
    pub source: Address,
    /// New destination address.
    pub destination: Address,
    /// New source port, network byte order.
    pub source_port: u16,
    /// New destination port, network byte order.
    pub destination_port: u16,
    /// New MAC addresses.
    pub macs: Macs,
    /// Whether to write them; otherwise the stack does.
    pub with_macs: bool,
}

/// What a rewrite changed, for the checksum of the transport header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delta {
    /// Sum over the addresses: part of the pseudo header.
    pub addresses: u64,
    /// Sum over the ports.
    pub ports: u64,
}

/// Room for a header in front of the network header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Where the network header lies.
    pub l3: usize,
    /// How much room.
    pub bytes: usize,
    /// What it is for.
    pub purpose: Purpose,
    /// The packet is one of IPv6.
    pub v6: bool,
    /// The packet is one of TCP.
    pub tcp: bool,
}

/// What room in front of a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Headers in the place of the packet's own.
    Answer,
    /// A packet around the packet.
    Tunnel,
    /// The same, with a UDP header.
    UdpTunnel,
}

/// A frame, in the kernel or in memory.
pub trait Packet {
    /// The header of type `T` at `offset`, if the frame reaches that far.
    fn header<T: Wire>(&self, offset: usize) -> Option<&T>;
    /// The same, writable.
    fn header_mut<T: Wire>(&mut self, offset: usize) -> Option<&mut T>;
    /// Length of the frame.
    fn length(&self) -> u32;
    /// The interface it came in by.
    fn ingress(&self) -> u32;
    /// Whether it carries a VLAN tag outside its bytes.
    fn tagged_outside(&self) -> bool;
    /// Makes the first `length` bytes readable, where they are not.
    fn reach(&mut self, length: usize);
    /// Makes room in front of the network header. The link header moves there, and the rest stays.
    fn grow(&mut self, room: &Room) -> Option<()>;
    /// Makes the network header of an untagged frame one of the other family by length; what it says is
    /// still to be written.
    fn change_family(&mut self, v6: bool) -> Option<()>;
    /// Bytes of data in each of the packets that the kernel will make of this one; 0: it is one.
    fn piece(&self) -> u32;
    /// Cuts the frame off after `length` bytes.
    fn cut(&mut self, length: usize) -> Option<()>;
    /// Brings the transport checksum up to date; `None` if that fails. No header is looked at
    /// after that: the kernel may move the frame.
    fn update_checksum(&mut self, headers: &Headers, delta: Delta) -> Option<()>;
}

/// Writes addresses and hop limit of a rewrite; returns what the addresses add to the pseudo
/// header's sum.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn write_ipv4(ip: &mut Ipv4Hdr, rewrite: &Rewrite) -> u64 {
    let (source, destination) = (rewrite.source.v4_word(), rewrite.destination.v4_word());
    let addresses = checksum::difference(field!(load32(ip), Ipv4Hdr, src_addr), source)
        + checksum::difference(field!(load32(ip), Ipv4Hdr, dst_addr), destination);
    // TTL is the upper byte of a 16-bit word in network order: the word goes down by 0x0100.
    let hop = checksum::difference(u32::from(0x0100_u16.to_be()), 0);
    ip.ttl = ip.ttl.wrapping_sub(1);
    let check = checksum::update(field!(load16(ip), Ipv4Hdr, check), addresses + hop);
    field!(store16(ip, check), Ipv4Hdr, check);
    field!(store32(ip, source), Ipv4Hdr, src_addr);
    field!(store32(ip, destination), Ipv4Hdr, dst_addr);
    addresses
}

/// The same for IPv6.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn write_ipv6(ip: &mut Ipv6Hdr, rewrite: &Rewrite) -> u64 {
    let (source, destination) = load_v6(ip);
    let addresses = difference_v6(source, rewrite.source.words)
        + difference_v6(destination, rewrite.destination.words);
    ip.hop_limit = ip.hop_limit.wrapping_sub(1);
    store_v6(ip, rewrite.source.words, rewrite.destination.words);
    addresses
}

/// What replacing an IPv6 address adds to a sum.
#[inline]
#[must_use]
pub fn difference_v6(old: [u32; 4], new: [u32; 4]) -> u64 {
    let [oa, ob, oc, od] = old;
    let [na, nb, nc, nd] = new;
    checksum::difference(oa, na)
        + checksum::difference(ob, nb)
        + checksum::difference(oc, nc)
        + checksum::difference(od, nd)
}

/// Writes the ports of a rewrite; returns what they add to the checksum. TCP and UDP begin alike:
/// source port, destination port.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn write_ports(ports: &mut UdpHdr, rewrite: &Rewrite) -> u64 {
    let headers = &rewrite.headers;
    let delta =
        checksum::difference(u32::from(headers.source_port), u32::from(rewrite.source_port))
            + checksum::difference(
                u32::from(headers.destination_port),
                u32::from(rewrite.destination_port),
            );
    field!(store16(ports, rewrite.source_port), UdpHdr, src);
    field!(store16(ports, rewrite.destination_port), UdpHdr, dst);
    delta
}

/// Writes what a rewrite says of the link and the network layer; returns what the addresses add to
/// the pseudo header's sum.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn write_network<P: Packet>(packet: &mut P, rewrite: &Rewrite) -> Option<u64> {
    let headers = &rewrite.headers;
    if rewrite.with_macs {
        packet.header_mut::<Ethernet>(0)?.set_macs(rewrite.macs);
    }
    Some(if headers.v6 {
        write_ipv6(packet.header_mut::<Ipv6Hdr>(headers.network())?, rewrite)
    } else {
        write_ipv4(packet.header_mut::<Ipv4Hdr>(headers.network())?, rewrite)
    })
}

/// Performs a rewrite. Fragments behind the first one have no ports, and the checksum is in the first.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn write_headers<P: Packet>(packet: &mut P, rewrite: &Rewrite) -> Option<()> {
    let headers = &rewrite.headers;
    let addresses = write_network(packet, rewrite)?;
    if headers.later {
        return Some(());
    }
    let ports = write_ports(packet.header_mut::<UdpHdr>(headers.transport())?, rewrite);
    packet.update_checksum(headers, Delta { addresses, ports })
}

/// Writes the transport checksum in the packet itself: for frames whose checksum is complete.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn write_checksum<P: Packet>(packet: &mut P, headers: &Headers, delta: Delta) -> Option<()> {
    let sum = delta.addresses + delta.ports;
    if headers.protocol == protocol::TCP {
        let tcp = packet.header_mut::<Tcp>(headers.transport())?;
        let check = checksum::update(field!(load16(tcp), Tcp, checksum), sum);
        field!(store16(tcp, check), Tcp, checksum);
    } else {
        let udp = packet.header_mut::<UdpHdr>(headers.transport())?;
        let check = checksum::update_udp(field!(load16(udp), UdpHdr, check), sum);
        field!(store16(udp, check), UdpHdr, check);
    }
    Some(())
}

/// A frame in memory: tests and fuzzing.
#[cfg(any(test, feature = "memory"))]
#[derive(Debug)]
pub struct SlicePacket<'a> {
    /// The frame.
    pub bytes: &'a mut Vec<u8>,
    /// The interface it pretends to come from.
    pub ingress: u32,
}

#[cfg(any(test, feature = "memory"))]
impl Packet for SlicePacket<'_> {
    fn header<T: Wire>(&self, offset: usize) -> Option<&T> {
        let bytes = self.bytes.get(offset..offset.checked_add(size_of::<T>())?)?;
        // SAFETY: `Wire` types accept any bytes at any alignment, and the slice is long enough.
        Some(unsafe { &*bytes.as_ptr().cast::<T>() })
    }

    fn header_mut<T: Wire>(&mut self, offset: usize) -> Option<&mut T> {
        let bytes = self.bytes.get_mut(offset..offset.checked_add(size_of::<T>())?)?;
        // SAFETY: as above, and the borrow of the slice is exclusive.
        Some(unsafe { &mut *bytes.as_mut_ptr().cast::<T>() })
    }

    fn length(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    fn ingress(&self) -> u32 {
        self.ingress
    }

    fn tagged_outside(&self) -> bool {
        false
    }

    fn reach(&mut self, _length: usize) {}

    fn grow(&mut self, room: &Room) -> Option<()> {
        let Room { l3, bytes, .. } = *room;
        let link = self.bytes.get(..l3)?.to_vec();
        self.bytes.splice(..l3, link.into_iter().chain(core::iter::repeat_n(0, bytes)));
        Some(())
    }

    fn change_family(&mut self, v6: bool) -> Option<()> {
        const BYTES: usize = size_of::<Ipv6Hdr>() - size_of::<Ipv4Hdr>();
        self.bytes.get(..Ethernet::LEN + BYTES)?;
        if v6 {
            self.bytes.splice(Ethernet::LEN..Ethernet::LEN, [0; BYTES]);
        } else {
            self.bytes.drain(Ethernet::LEN..Ethernet::LEN + BYTES);
        }
        Some(())
    }

    fn piece(&self) -> u32 {
        0
    }

    fn cut(&mut self, length: usize) -> Option<()> {
        self.bytes.get(..length)?;
        self.bytes.truncate(length);
        Some(())
    }

    fn update_checksum(&mut self, headers: &Headers, delta: Delta) -> Option<()> {
        write_checksum(self, headers, delta)
    }
}

#[cfg(any(test, feature = "memory"))]
impl crate::decap::Tunnel for SlicePacket<'_> {
    fn shrink(&mut self, bytes: usize) -> Option<()> {
        self.bytes.get(..Ethernet::LEN + bytes)?;
        self.bytes.drain(Ethernet::LEN..Ethernet::LEN + bytes);
        Some(())
    }
}
