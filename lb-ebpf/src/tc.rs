//! TC: socket buffers, whose transport checksum may be left to the hardware.

use aya_ebpf::{
    bindings::{__sk_buff, TC_ACT_SHOT},
    helpers::{bpf_redirect, bpf_redirect_peer, bpf_skb_change_type},
    programs::TcContext,
};
use lb_common::{
    maps::stage,
    packet::Packet as _,
    pipeline::{
        allocate, encap, enter, icmp, leave, limit, lost, open, ping, refuse, settle, too_big,
        track, translate, unreachable, unusual,
        verdict::{Action, Verdict},
    },
};

use crate::{
    context::{context_field, opaque},
    jiffies,
    maps::TC_STAGES,
    skb::TcPacket,
    tables::{ALL, FULL_NAT, TABLES},
};

/// Let the next program or the stack have it (`TCX_NEXT`; `TC_ACT_UNSPEC` on clsact).
const NEXT: i32 = -1;
/// `PACKET_HOST` of `linux/if_packet.h`: for this host.
const PACKET_HOST: u32 = 0;

/// What every packet meets.
#[inline]
pub fn enter(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = enter::enter(&mut packet, &TABLES, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// The second stage.
#[inline]
pub fn track(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = track::track(&mut packet, &TABLES, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// The third stage.
#[inline]
pub fn open(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = open::open(&mut packet, &TABLES, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// The stage of packets of unusual shape.
#[inline]
pub fn unusual(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = unusual::unusual(&mut packet, &TABLES, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// The stage of ICMP.
#[inline]
pub fn icmp(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = icmp::icmp(&mut packet, &TABLES, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// The stage of refusals.
#[inline]
pub fn refuse(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = refuse::refuse(&mut packet, &TABLES);
    act(context, &packet, &verdict)
}

/// The stage of limits.
#[inline]
pub fn limit(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = limit::limit(&mut packet, &TABLES, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// The stage of echo requests.
#[inline]
pub fn ping(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = ping::ping(&mut packet, &TABLES);
    act(context, &packet, &verdict)
}

/// The stage of flows that go on.
#[inline]
pub fn settle(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = settle::settle(&mut packet, &ALL, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// The stage of tunnels.
#[inline]
pub fn encap(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = encap::encap(&mut packet, &TABLES);
    act(context, &packet, &verdict)
}

/// The stage of packets that are too large.
#[inline]
pub fn too_big(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = too_big::too_big(&mut packet, &TABLES);
    act(context, &packet, &verdict)
}

/// The stage of new flows of full NAT.
#[inline]
pub fn allocate(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = allocate::allocate(&mut packet, &FULL_NAT, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// The second stage for flows of full NAT.
#[inline]
pub fn full_nat(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = track::track(&mut packet, &FULL_NAT, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// The stage of ICMP for flows of full NAT.
#[inline]
pub fn full_nat_icmp(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = icmp::icmp(&mut packet, &FULL_NAT, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// The stage of packets that leave in the other family.
#[inline]
pub fn translate(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = translate::translate(&mut packet, &FULL_NAT);
    act(context, &packet, &verdict)
}

/// The stage of datagrams for nobody.
#[inline]
pub fn unreachable(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = unreachable::unreachable(&mut packet, &TABLES);
    act(context, &packet, &verdict)
}

/// What leaves.
#[inline]
pub fn leave(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = leave::leave(&mut packet, &TABLES, jiffies() as u32);
    act_leaving(context, &packet, &verdict)
}

/// ICMP that leaves.
#[inline]
pub fn leave_icmp(context: &TcContext) -> i32 {
    let mut packet = TcPacket::new(context);
    let verdict = leave::leave_icmp(&mut packet, &TABLES, jiffies() as u32);
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
        Action::RedirectPeer => redirect_peer(packet, verdict.ifindex),
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
    lost(packet, &TABLES);
    TC_ACT_SHOT
}

#[inline]
fn redirect(ifindex: u32) -> i32 {
    // SAFETY: the helper takes no pointers.
    unsafe { bpf_redirect(ifindex, 0) as i32 }
}

/// A container's frame to its gateway is marked as somebody else's when it reaches the host-side
/// veth; the other container's stack would drop it.
#[inline]
fn redirect_peer(packet: &TcPacket, ifindex: u32) -> i32 {
    let kind = context_field!(__sk_buff, packet.skb, pkt_type) as u32;
    // SAFETY: the context is the kernel's; the helpers take no other pointers.
    unsafe {
        if kind != PACKET_HOST {
            bpf_skb_change_type(packet.skb, PACKET_HOST);
        }
        bpf_redirect_peer(ifindex, 0) as i32
    }
}
