//! XDP: frames as the driver hands them over, checksums complete.

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX},
    helpers::bpf_redirect,
    programs::XdpContext,
};
use lb_common::{
    packet::{Packet, Rewrite, apply_in_memory},
    pipeline::{process, verdict::Action},
    wire::Wire,
};

use crate::{jiffies, tables::KernelTables};

/// Runs the pipeline and turns its verdict into an XDP action.
#[inline]
pub fn run(context: &XdpContext) -> u32 {
    let mut packet = XdpPacket { context };
    match process(&mut packet, &KernelTables, jiffies() as u32).action {
        Action::Pass => XDP_PASS,
        Action::Drop => XDP_DROP,
        Action::Transmit => XDP_TX,
        // SAFETY: the helper takes no pointers.
        Action::Redirect { ifindex } | Action::RedirectPeer { ifindex } => unsafe {
            bpf_redirect(ifindex, 0) as u32
        },
    }
}

struct XdpPacket<'a> {
    context: &'a XdpContext,
}

impl XdpPacket<'_> {
    /// The one bounds check, in the shape the verifier knows.
    #[inline]
    fn at<T>(&self, offset: usize) -> Option<*mut T> {
        let start = self.context.data() + offset;
        if start + size_of::<T>() > self.context.data_end() {
            return None;
        }
        Some(start as *mut T)
    }
}

impl Packet for XdpPacket<'_> {
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
        (self.context.data_end() - self.context.data()) as u32
    }

    #[inline]
    fn ingress(&self) -> u32 {
        // SAFETY: the context is the kernel's for the time of the call.
        unsafe { (*self.context.ctx).ingress_ifindex }
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
