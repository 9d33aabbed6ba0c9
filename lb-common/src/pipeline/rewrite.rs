//! The end of every path: a decision is a value, and one place acts on it.

use super::{
    conntrack::Done,
    verdict::{Action, Class, Reason, Verdict},
};
use crate::{
    abi::address::Address,
    packet::{Headers, Packet, Rewrite},
    wire::Macs,
};

/// What the stages have decided for a packet. The addresses count only where it is sent on.
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
    /// Nothing is decided: there is no flow.
    #[inline]
    #[must_use]
    pub fn new() -> Self {
        Self {
            verdict: Verdict::ended(Reason::NoFlow),
            source: Address::default(),
            destination: Address::default(),
            source_port: 0,
            destination_port: 0,
            macs: Macs::default(),
        }
    }

    /// Ends for `reason`.
    #[inline]
    pub fn end(&mut self, reason: Reason, service: u32, backend: u32) {
        self.verdict = Verdict { service, backend, ..Verdict::ended(reason) };
    }
}

impl Default for Decision {
    fn default() -> Self {
        Self::new()
    }
}

/// Acts on a decision. A packet at the end of its hops is left to the stack, which says so.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub fn perform<P: Packet>(packet: &mut P, headers: &Headers, decision: &mut Decision) -> Done {
    let Verdict { service, backend, action, reason, .. } = decision.verdict;
    if reason.class() != Class::Forward {
        return Done::default();
    }
    if headers.hop_limit <= 1 {
        decision.end(Reason::HopLimit, service, backend);
        return Done::default();
    }
    let rewrite = Rewrite {
        headers: *headers,
        source: decision.source,
        destination: decision.destination,
        source_port: decision.source_port,
        destination_port: decision.destination_port,
        macs: decision.macs,
        with_macs: action != Action::Pass,
    };
    if packet.apply(&rewrite).is_none() {
        decision.end(Reason::RewriteFailed, service, backend);
    }
    Done::default()
}
