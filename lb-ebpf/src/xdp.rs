//! XDP: frames as the driver hands them over, checksums complete.

use aya_ebpf::{
    bindings::{
        xdp_action::{XDP_DROP, XDP_PASS, XDP_TX},
        xdp_md,
    },
    helpers::bpf_redirect,
    programs::XdpContext,
};
use lb_common::{
    packet::{Packet, Rewrite, apply_in_memory},
    pipeline::{process, verdict::Action},
    wire::Wire,
};

use crate::{context::{context_field, opaque}, jiffies, tables::KernelTables};

/// Runs the pipeline and turns its verdict into an XDP action.
#[inline]
pub fn run(context: &XdpContext) -> u32 {
    let mut packet = XdpPacket { context: context.ctx };
    let verdict = process(&mut packet, &KernelTables, jiffies() as u32);
    match verdict.action {
        Action::Pass => XDP_PASS,
        Action::Drop => XDP_DROP,
        Action::Transmit => XDP_TX,
        // SAFETY: the helper takes no pointers.
        Action::Redirect | Action::RedirectPeer => unsafe {
            bpf_redirect(verdict.ifindex, 0) as u32
        },
    }
}

struct XdpPacket {
    context: *mut xdp_md,
}

impl XdpPacket {
    /// The one bounds check, in the shape the verifier knows.
    #[inline]
    fn at<T>(&self, offset: usize) -> Option<*mut T> {
        let start = opaque(context_field!(xdp_md, self.context, data) + offset);
        if start + size_of::<T>() > context_field!(xdp_md, self.context, data_end) {
            return None;
        }
        Some(start as *mut T)
    }
}

impl Packet for XdpPacket {
    #[inline]
    fn header<T: Wire>(&self, offset: usize) -> Option<&T> {
        // SAFETY: inside the frame; `Wire` types accept any bytes at any alignment.
        self.at::<T>(offset).map(|header| unsafe { &*header })
    }

    #[inline]
    fn header_mut<T: Wire>(&mut self, offset: usize) -> Option<&mut T> {
        // SAFETY: as above; `&mut self` keeps other references away.
        self.at::<T>(offset).map(|header| unsafe { &mut *header })
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
    fn apply(&mut self, rewrite: &Rewrite) -> Option<()> {
        apply_in_memory(self, rewrite)
    }
}
