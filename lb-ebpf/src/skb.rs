//! Socket buffers, whose transport checksum may be left to the hardware.

use core::{mem::offset_of, ptr::NonNull};

use aya_ebpf::{
    bindings::{
        __sk_buff, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6,
        BPF_F_ADJ_ROOM_ENCAP_L4_UDP, BPF_F_ADJ_ROOM_FIXED_GSO, BPF_F_MARK_MANGLED_0,
        BPF_F_PSEUDO_HDR, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC,
    },
    helpers::{
        bpf_l4_csum_replace, bpf_skb_adjust_room, bpf_skb_change_proto, bpf_skb_change_tail,
        bpf_skb_pull_data,
    },
    programs::TcContext,
};
use lb_common::{
    packet::{Delta, Headers, Packet, Purpose, Room},
    wire::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Tcp, UdpHdr, Wire, protocol},
};

use crate::context::{context_field, opaque};

/// Ethernet, two tags, IPv6 and TCP without options: what most packets need to be read.
const USUAL_HEADERS: u32 = 14 + 40 + 20;

/// A socket buffer.
pub struct TcPacket {
    /// The kernel's view of it.
    pub skb: *mut __sk_buff,
}

impl TcPacket {
    /// The packet at hand, with the headers that most packets have where they can be read.
    #[inline]
    pub fn new(context: &TcContext) -> Self {
        let mut packet = Self { skb: context.skb.skb };
        packet.pull(USUAL_HEADERS);
        packet
    }

    #[inline]
    fn data(&self) -> usize {
        context_field!(__sk_buff, self.skb, data)
    }

    #[inline]
    fn data_end(&self) -> usize {
        context_field!(__sk_buff, self.skb, data_end)
    }

    /// Brings the headers into the linear part if they are not there.
    #[inline]
    fn pull(&mut self, length: u32) {
        if self.data() + length as usize <= self.data_end() {
            return;
        }
        // SAFETY: the context is the kernel's. A packet shorter than that fails its own checks.
        let _ = unsafe { bpf_skb_pull_data(self.skb, length.min(self.length())) };
    }

    #[inline]
    fn at<T>(&self, offset: usize) -> Option<NonNull<T>> {
        let start = opaque(self.data() + offset);
        if start + size_of::<T>() > self.data_end() {
            return None;
        }
        // SAFETY: no packet lies at the end of the address space, so this is not 0.
        Some(unsafe { NonNull::new_unchecked(start as *mut T) })
    }
}

/// A sum in 32 bits, as the checksum helpers take it.
#[inline]
const fn short(sum: u64) -> u64 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    (sum & 0xffff_ffff) + (sum >> 32)
}

impl Packet for TcPacket {
    #[inline]
    fn header<T: Wire>(&self, offset: usize) -> Option<&T> {
        // SAFETY: inside the linear part; `Wire` types accept any bytes at any alignment.
        self.at::<T>(offset).map(|header| unsafe { header.as_ref() })
    }

    #[inline]
    fn header_mut<T: Wire>(&mut self, offset: usize) -> Option<&mut T> {
        // SAFETY: as above; `&mut self` keeps other references away.
        self.at::<T>(offset).map(|mut header| unsafe { header.as_mut() })
    }

    #[inline]
    fn length(&self) -> u32 {
        context_field!(__sk_buff, self.skb, len) as u32
    }

    #[inline]
    fn ingress(&self) -> u32 {
        // At ingress this is the device the program is attached to.
        context_field!(__sk_buff, self.skb, ifindex) as u32
    }

    #[inline]
    fn tagged_outside(&self) -> bool {
        context_field!(__sk_buff, self.skb, vlan_present) != 0
    }

    #[inline]
    fn reach(&mut self, length: usize) {
        self.pull(length as u32);
    }

    /// The kernel learns what the room is for, so that what it has put together from several packets, or has
    /// yet to cut, stays whole. A stream is cut into smaller pieces then; datagrams keep their size.
    #[inline]
    fn grow(&mut self, room: &Room) -> Option<()> {
        let network =
            if room.v6 { BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 } else { BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 };
        let sizes = if room.tcp { 0 } else { BPF_F_ADJ_ROOM_FIXED_GSO };
        let flags = match room.purpose {
            Purpose::Answer => 0,
            Purpose::Tunnel => network | sizes,
            Purpose::UdpTunnel => network | sizes | BPF_F_ADJ_ROOM_ENCAP_L4_UDP,
        };
        let (bytes, flags) = (room.bytes as i32, u64::from(flags));
        // SAFETY: the context is the kernel's; no reference into the packet is alive.
        let result = unsafe { bpf_skb_adjust_room(self.skb, bytes, BPF_ADJ_ROOM_MAC, flags) };
        if result != 0 {
            return None;
        }
        // All that is written next.
        self.pull((room.l3 + room.bytes) as u32);
        Some(())
    }

    #[inline]
    fn change_family(&mut self, v6: bool) -> Option<()> {
        let ether_type = if v6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
        // SAFETY: as above.
        if unsafe { bpf_skb_change_proto(self.skb, ether_type.to_be(), 0) } != 0 {
            return None;
        }
        self.pull(USUAL_HEADERS);
        Some(())
    }

    #[inline]
    fn piece(&self) -> u32 {
        context_field!(__sk_buff, self.skb, gso_size) as u32
    }

    #[inline]
    fn cut(&mut self, length: usize) -> Option<()> {
        // SAFETY: as above.
        (unsafe { bpf_skb_change_tail(self.skb, length as u32, 0) } == 0).then_some(())
    }

    /// The kernel updates it: it knows whether it is complete.
    #[inline(always)]
    fn update_checksum(&mut self, headers: &Headers, delta: Delta) -> Option<()> {
        let (field, flags) = if headers.protocol == protocol::TCP {
            (offset_of!(Tcp, checksum), 0)
        } else {
            (offset_of!(UdpHdr, check), u64::from(BPF_F_MARK_MANGLED_0))
        };
        let offset = (headers.transport() + field) as u32;
        let of_addresses = flags | u64::from(BPF_F_PSEUDO_HDR);
        // SAFETY: the context is the kernel's; no reference into the packet is alive.
        let result = unsafe {
            bpf_l4_csum_replace(self.skb, offset, 0, short(delta.ports), flags)
                | bpf_l4_csum_replace(self.skb, offset, 0, short(delta.addresses), of_addresses)
        };
        (result == 0).then_some(())
    }
}
