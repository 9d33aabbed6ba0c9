//! TC: socket buffers, whose transport checksum may be left to the hardware.

use core::{mem::offset_of, ptr::NonNull};

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, TC_ACT_SHOT},
    helpers::{
        bpf_l4_csum_replace, bpf_redirect, bpf_redirect_peer, bpf_skb_change_type,
        bpf_skb_pull_data,
    },
    programs::TcContext,
};
use lb_common::{
    maps::stage,
    packet::{Delta, Headers, Packet},
    pipeline::{
        enter, icmp, leave, limit, lost, open, ping, refuse, settle, track, unusual,
        verdict::{Action, Verdict},
    },
    wire::{Tcp, UdpHdr, Wire, protocol},
};

use crate::{
    context::{context_field, opaque},
    jiffies,
    maps::TC_STAGES,
    tables::KernelTables,
};

/// Let the next program or the stack have it (`TCX_NEXT`; `TC_ACT_UNSPEC` on clsact).
const NEXT: i32 = -1;
/// `PACKET_HOST` of `linux/if_packet.h`: for this host.
const PACKET_HOST: u32 = 0;
/// Ethernet, two tags, IPv6 and TCP without options: what most packets need to be read.
const USUAL_HEADERS: u32 = 14 + 40 + 20;

/// What every packet meets.
#[inline]
pub fn enter(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = enter::enter(&mut packet, &KernelTables, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// The second stage.
#[inline]
pub fn track(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = track::track(&mut packet, &KernelTables, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// The third stage.
#[inline]
pub fn open(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = open::open(&mut packet, &KernelTables, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// The stage of packets of unusual shape.
#[inline]
pub fn unusual(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = unusual::unusual(&mut packet, &KernelTables, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// The stage of ICMP.
#[inline]
pub fn icmp(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = icmp::icmp(&mut packet, &KernelTables, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// The stage of refusals.
#[inline]
pub fn refuse(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = refuse::refuse(&mut packet, &KernelTables);
    act(context, &packet, &verdict)
}

/// The stage of limits.
#[inline]
pub fn limit(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = limit::limit(&mut packet, &KernelTables, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// The stage of echo requests.
#[inline]
pub fn ping(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = ping::ping(&mut packet, &KernelTables);
    act(context, &packet, &verdict)
}

/// The stage of flows that go on.
#[inline]
pub fn settle(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = settle::settle(&mut packet, &KernelTables, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// What leaves.
#[inline]
pub fn leave(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = leave::leave(&mut packet, &KernelTables, jiffies() as u32);
    act_leaving(context, &packet, &verdict)
}

/// ICMP that leaves.
#[inline]
pub fn leave_icmp(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = leave::leave_icmp(&mut packet, &KernelTables, jiffies() as u32);
    act_leaving(context, &packet, &verdict)
}

/// What leaves goes on, unless it was spoilt.
#[inline(always)]
fn act_leaving(context: &TcContext, packet: &TcPacket, verdict: &Verdict) -> i32 {
    match verdict.action {
        Action::Drop => TC_ACT_SHOT,
        Action::Icmp => go_on(context, packet, stage::LEAVE_ICMP),
        _ => NEXT,
    }
}

/// A verdict as a TC action.
#[inline(always)]
fn act(context: &TcContext, packet: &TcPacket, verdict: &Verdict) -> i32 {
    match verdict.action {
        Action::Pass => NEXT,
        Action::Drop => TC_ACT_SHOT,
        Action::Transmit => redirect(packet.ingress()),
        Action::Redirect => redirect(verdict.ifindex),
        Action::RedirectPeer => packet.redirect_peer(verdict.ifindex),
        Action::Track => go_on(context, packet, stage::TRACK),
        Action::Open => go_on(context, packet, stage::OPEN),
        // One call for all that is rare: a place that is not constant takes longer, and less code.
        rare => go_on(context, packet, opaque(rare.stage() as usize) as u32),
    }
}

/// Becomes the program of another stage.
#[inline]
fn go_on(context: &TcContext, packet: &TcPacket, stage: u32) -> i32 {
    // SAFETY: nothing here waits to be dropped.
    unsafe { TC_STAGES.tail_call(context, stage) };
    lost(packet, &KernelTables);
    TC_ACT_SHOT
}

#[inline]
fn redirect(ifindex: u32) -> i32 {
    // SAFETY: the helper takes no pointers.
    unsafe { bpf_redirect(ifindex, 0) as i32 }
}

struct TcPacket {
    skb: *mut __sk_buff,
}

impl TcPacket {
    /// The packet at hand, with the headers that most packets have where they can be read.
    #[inline]
    fn new(context: &TcContext) -> Self {
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

    /// A container's frame to its gateway is marked as somebody else's when it reaches the
    /// host-side veth; the other container's stack would drop it.
    #[inline]
    fn redirect_peer(&self, ifindex: u32) -> i32 {
        let kind = context_field!(__sk_buff, self.skb, pkt_type) as u32;
        // SAFETY: the context is the kernel's; the helpers take no other pointers.
        unsafe {
            if kind != PACKET_HOST {
                bpf_skb_change_type(self.skb, PACKET_HOST);
            }
            bpf_redirect_peer(ifindex, 0) as i32
        }
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
