//! XDP: frames as the driver hands them over, checksums complete.

use core::ptr::NonNull;

use aya_ebpf::{
    bindings::{
        xdp_action::{XDP_DROP, XDP_PASS, XDP_TX},
        xdp_md,
    },
    helpers::{bpf_redirect, bpf_xdp_adjust_head, bpf_xdp_adjust_tail},
    programs::XdpContext,
};
use lb_common::{
    maps::stage,
    packet::{Delta, Headers, Packet, Room, write_checksum},
    pipeline::{
        allocate, encap, enter, icmp, limit, lost, open, ping, refuse, settle, too_big, track,
        translate, unreachable, unusual,
        verdict::{Action, Verdict},
    },
    wire::{Ethernet, Ipv4Hdr, Ipv6Hdr, VlanTag, Wire},
};

use crate::{
    context::{context_field, opaque},
    jiffies,
    maps::XDP_STAGES,
    tables::{ALL, FULL_NAT, TABLES},
};

/// What every packet meets.
#[inline]
pub fn enter(context: &XdpContext) -> u32 {
    let mut packet = XdpPacket { context: context.ctx };
    let verdict = enter::enter(&mut packet, &TABLES, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// The second stage.
#[inline]
pub fn track(context: &XdpContext) -> u32 {
    let mut packet = XdpPacket { context: context.ctx };
    let verdict = track::track(&mut packet, &TABLES, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// The third stage.
#[inline]
pub fn open(context: &XdpContext) -> u32 {
    let mut packet = XdpPacket { context: context.ctx };
    let verdict = open::open(&mut packet, &TABLES, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// The stage of packets of unusual shape.
#[inline]
pub fn unusual(context: &XdpContext) -> u32 {
    let mut packet = XdpPacket { context: context.ctx };
    let verdict = unusual::unusual(&mut packet, &TABLES, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// The stage of ICMP.
#[inline]
pub fn icmp(context: &XdpContext) -> u32 {
    let mut packet = XdpPacket { context: context.ctx };
    let verdict = icmp::icmp(&mut packet, &TABLES, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// The stage of refusals.
#[inline]
pub fn refuse(context: &XdpContext) -> u32 {
    let mut packet = XdpPacket { context: context.ctx };
    let verdict = refuse::refuse(&mut packet, &TABLES);
    act(context, &packet, &verdict)
}

/// The stage of limits.
#[inline]
pub fn limit(context: &XdpContext) -> u32 {
    let mut packet = XdpPacket { context: context.ctx };
    let verdict = limit::limit(&mut packet, &TABLES, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// The stage of echo requests.
#[inline]
pub fn ping(context: &XdpContext) -> u32 {
    let mut packet = XdpPacket { context: context.ctx };
    let verdict = ping::ping(&mut packet, &TABLES);
    act(context, &packet, &verdict)
}

/// The stage of flows that go on.
#[inline]
pub fn settle(context: &XdpContext) -> u32 {
    let mut packet = XdpPacket { context: context.ctx };
    let verdict = settle::settle(&mut packet, &ALL, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// The stage of tunnels.
#[inline]
pub fn encap(context: &XdpContext) -> u32 {
    let mut packet = XdpPacket { context: context.ctx };
    let verdict = encap::encap(&mut packet, &TABLES);
    act(context, &packet, &verdict)
}

/// The stage of packets that are too large.
#[inline]
pub fn too_big(context: &XdpContext) -> u32 {
    let mut packet = XdpPacket { context: context.ctx };
    let verdict = too_big::too_big(&mut packet, &TABLES);
    act(context, &packet, &verdict)
}

/// The stage of new flows of full NAT.
#[inline]
pub fn allocate(context: &XdpContext) -> u32 {
    let mut packet = XdpPacket { context: context.ctx };
    let verdict = allocate::allocate(&mut packet, &FULL_NAT, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// The second stage for flows of full NAT.
#[inline]
pub fn full_nat(context: &XdpContext) -> u32 {
    let mut packet = XdpPacket { context: context.ctx };
    let verdict = track::track(&mut packet, &FULL_NAT, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// The stage of ICMP for flows of full NAT.
#[inline]
pub fn full_nat_icmp(context: &XdpContext) -> u32 {
    let mut packet = XdpPacket { context: context.ctx };
    let verdict = icmp::icmp(&mut packet, &FULL_NAT, jiffies() as u32);
    act(context, &packet, &verdict)
}

/// The stage of packets that leave in the other family.
#[inline]
pub fn translate(context: &XdpContext) -> u32 {
    let mut packet = XdpPacket { context: context.ctx };
    let verdict = translate::translate(&mut packet, &FULL_NAT);
    act(context, &packet, &verdict)
}

/// The stage of datagrams for nobody.
#[inline]
pub fn unreachable(context: &XdpContext) -> u32 {
    let mut packet = XdpPacket { context: context.ctx };
    let verdict = unreachable::unreachable(&mut packet, &TABLES);
    act(context, &packet, &verdict)
}

/// A verdict as an XDP action.
#[inline(always)]
fn act(context: &XdpContext, packet: &XdpPacket, verdict: &Verdict) -> u32 {
    match verdict.action {
        Action::Pass => XDP_PASS,
        Action::Drop => XDP_DROP,
        Action::Transmit => XDP_TX,
        // SAFETY: the helper takes no pointers.
        Action::Redirect | Action::RedirectPeer => unsafe {
            bpf_redirect(verdict.ifindex, 0) as u32
        },
        Action::Track => go_on(context, packet, stage::TRACK),
        Action::Open => go_on(context, packet, stage::OPEN),
        // One call for all that is rare: a place that is not constant takes longer, and less code.
        rare => go_on(context, packet, opaque(rare.stage() as usize) as u32),
    }
}

/// Becomes the program of another stage.
#[inline]
fn go_on(context: &XdpContext, packet: &XdpPacket, stage: u32) -> u32 {
    // SAFETY: nothing here waits to be dropped.
    unsafe { XDP_STAGES.tail_call(context, stage) };
    lost(packet, &TABLES);
    XDP_DROP
}

struct XdpPacket {
    context: *mut xdp_md,
}

impl XdpPacket {
    /// The one bounds check, in the shape the verifier knows.
    #[inline]
    fn at<T>(&self, offset: usize) -> Option<NonNull<T>> {
        let start = opaque(context_field!(xdp_md, self.context, data) + offset);
        if start + size_of::<T>() > context_field!(xdp_md, self.context, data_end) {
            return None;
        }
        // SAFETY: no packet lies at the end of the address space, so this is not 0.
        Some(unsafe { NonNull::new_unchecked(start as *mut T) })
    }

    /// Moves the first `N` bytes of what was the frame to the start of the room before it.
    #[inline]
    fn slide<const N: usize>(&mut self, room: usize) -> Option<()> {
        let from = self.at::<[u8; N]>(room & ROOM_MASK)?;
        let to = self.at::<[u8; N]>(0)?;
        // SAFETY: both lie inside the frame; the bytes go by a copy, so that they may overlap.
        unsafe { to.write(from.read()) };
        Some(())
    }
}

/// More than any header of ours: the verifier wants a bound.
const ROOM_MASK: usize = 0x7f;

impl Packet for XdpPacket {
    #[inline]
    fn header<T: Wire>(&self, offset: usize) -> Option<&T> {
        // SAFETY: inside the frame; `Wire` types accept any bytes at any alignment.
        self.at::<T>(offset).map(|header| unsafe { header.as_ref() })
    }

    #[inline]
    fn header_mut<T: Wire>(&mut self, offset: usize) -> Option<&mut T> {
        // SAFETY: as above; `&mut self` keeps other references away.
        self.at::<T>(offset).map(|mut header| unsafe { header.as_mut() })
    }

    #[inline]
    fn length(&self) -> u32 {
        (context_field!(xdp_md, self.context, data_end)
            - context_field!(xdp_md, self.context, data)) as u32
    }

    #[inline]
    fn ingress(&self) -> u32 {
        context_field!(xdp_md, self.context, ingress_ifindex) as u32
    }

    #[inline]
    fn tagged_outside(&self) -> bool {
        false
    }

    #[inline]
    fn reach(&mut self, _length: usize) {}

    #[inline]
    fn grow(&mut self, room: &Room) -> Option<()> {
        const ONE_TAG: usize = Ethernet::LEN + VlanTag::LEN;
        const TWO_TAGS: usize = ONE_TAG + VlanTag::LEN;
        // SAFETY: the context is the kernel's; no reference into the frame is alive.
        if unsafe { bpf_xdp_adjust_head(self.context, -(room.bytes as i32)) } != 0 {
            return None;
        }
        match room.l3 {
            Ethernet::LEN => self.slide::<{ Ethernet::LEN }>(room.bytes),
            ONE_TAG => self.slide::<ONE_TAG>(room.bytes),
            TWO_TAGS => self.slide::<TWO_TAGS>(room.bytes),
            _ => None,
        }
    }

    #[inline]
    fn change_family(&mut self, v6: bool) -> Option<()> {
        const BYTES: usize = size_of::<Ipv6Hdr>() - size_of::<Ipv4Hdr>();
        if !v6 {
            let link = self.at::<Ethernet>(0)?;
            // SAFETY: both lie inside the frame, one after the other.
            unsafe { self.at::<Ethernet>(BYTES)?.write(link.read()) };
        }
        let by = if v6 { -(BYTES as i32) } else { BYTES as i32 };
        // SAFETY: the context is the kernel's; no reference into the frame is alive.
        if unsafe { bpf_xdp_adjust_head(self.context, by) } != 0 {
            return None;
        }
        if v6 { self.slide::<{ Ethernet::LEN }>(BYTES) } else { Some(()) }
    }

    #[inline]
    fn piece(&self) -> u32 {
        0
    }

    #[inline]
    fn cut(&mut self, length: usize) -> Option<()> {
        let by = (length as i32).wrapping_sub(self.length() as i32);
        // SAFETY: as above. The kernel refuses what is no cut.
        (by <= 0 && unsafe { bpf_xdp_adjust_tail(self.context, by) } == 0).then_some(())
    }

    #[inline(always)]
    fn update_checksum(&mut self, headers: &Headers, delta: Delta) -> Option<()> {
        write_checksum(self, headers, delta)
    }
}
