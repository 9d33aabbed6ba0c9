//! The end of every path: a decision is a value, and one place acts on it.

use super::verdict::{Action, Reason, Verdict};
use crate::{
    abi::address::Address,
    packet::{Headers, Packet, Rewrite, write_headers},
    wire::Macs,
};

/// How a packet is sent on.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Why, what, and about whom.
    pub verdict: Verdict,
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Source port, network byte order.
    pub source_port: u16,
    /// Destination port, network byte order.
    pub destination_port: u16,
    /// MAC addresses, unless the stack routes it.
    pub macs: Macs,
}

impl Decision {
    /// The rewrite of a packet with these headers.
    #[cfg_attr(target_arch = "bpf", inline(always))]
    #[must_use]
    pub const fn rewrite(&self, headers: &Headers) -> Rewrite {
        Rewrite {
            headers: *headers,
            source: self.source,
            destination: self.destination,
            source_port: self.source_port,
            destination_port: self.destination_port,
            macs: self.macs,
            with_macs: !matches!(self.verdict.action, Action::Pass),
        }
    }

    /// The verdict on a packet that could not be written to.
    #[inline]
    #[must_use]
    pub const fn failed(&self) -> Verdict {
        Verdict::about(Reason::RewriteFailed, self.verdict.service, self.verdict.backend)
    }
}

/// Acts on a decision. A packet at the end of its hops is left to the stack, which says so.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn perform<P: Packet>(packet: &mut P, headers: &Headers, decision: &Decision) -> Verdict {
    if headers.hop_limit <= 1 {
        let Verdict { service, backend, .. } = decision.verdict;
        return Verdict::about(Reason::HopLimit, service, backend);
    }
    if let Action::Drop | Action::Encap = decision.verdict.action {
        return decision.verdict;
    }
    match write_headers(packet, &decision.rewrite(headers)) {
        Some(()) => decision.verdict,
        None => decision.failed(),
    }
}
