//! What is measured: a program, the packets it gets, and the proof that it did what it should.

use anyhow::{Result, ensure};
use lb_common::pipeline::verdict::Reason;

use super::{
    Bed,
    frame::{Flows, Packet, checksums_hold, endpoints, macs},
    rig::Run,
};
use crate::weir::Hook;

/// `enum xdp_action`.
pub(crate) const XDP_PASS: u32 = 2;
pub(crate) const XDP_TX: u32 = 3;
pub(crate) const XDP_REDIRECT: u32 = 4;
/// `TC_ACT_REDIRECT`.
pub(crate) const TC_REDIRECT: u32 = 7;

/// A program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Under {
    /// Of the rig with this number.
    Floor(&'static str),
    /// The real one.
    Weir(Hook),
}

/// What must have become of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Untouched, with this return value.
    Untouched(u32),
    /// From the client to the backend.
    ToBackend(u32),
    /// From the VIP to the client.
    ToClient(u32),
}

/// Packets of one kind through one program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) under: Under,
    pub(crate) packet: Packet,
    pub(crate) flows: Flows,
    pub(crate) fate: Fate,
    /// What the real program must count.
    pub(crate) reason: Option<Reason>,
    /// Which flow table: [`ESTABLISHED`] or [`FRESH`].
    pub(crate) rig: usize,
}

/// The rig whose flow table is as large as that of established flows.
pub(crate) const ESTABLISHED: usize = 0;
/// The rig whose flow table is as large as that of half-open flows.
pub(crate) const FRESH: usize = 1;

impl Subject {
    /// The hook whose driver it needs.
    pub(crate) fn hook(&self) -> Hook {
        match self.under {
            Under::Weir(hook) => hook,
            Under::Floor("tc_stub") => Hook::Tc,
            Under::Floor(_) => Hook::Xdp,
        }
    }

    /// The subject's driver alone: what is to be subtracted from it.
    pub(crate) fn stub(&self) -> Self {
        let (name, returned) = match self.hook() {
            Hook::Xdp => ("stub", XDP_TX),
            Hook::Tc => ("tc_stub", 0),
        };
        let (under, fate) = (Under::Floor(name), Fate::Untouched(returned));
        Self { name, under, fate, reason: None, ..*self }
    }

    /// Checks a run of `count` packets against what it should have been: return value, counters,
    /// and the last packet, byte for byte where it matters.
    pub(crate) fn prove(&self, bed: &Bed, run: &Run, count: u32, before: &Counts) -> Result<()> {
        let after = Counts::read(bed, self.rig)?;
        self.prove_counts(before, &after, count)?;
        let sent = self.packet.frame(self.packet.plan(self.flows).flow(count - 1));
        self.prove_packet(bed, run, &sent)
    }

    fn prove_counts(&self, before: &Counts, after: &Counts, count: u32) -> Result<()> {
        for reason in Reason::ALL {
            let index = reason as usize;
            let counted = after.reasons[index] - before.reasons[index];
            let expected = if self.reason == Some(reason) { u64::from(count) } else { 0 };
            ensure!(
                counted == expected,
                "{}: {counted} packets ended as {}, not {expected}",
                self.name,
                reason.name()
            );
        }
        let floor = matches!(self.under, Under::Floor(_));
        let is_sent = match self.fate {
            Fate::ToBackend(_) | Fate::ToClient(_) => true,
            Fate::Untouched(_) => false,
        };
        let expected = if floor && is_sent { u64::from(count) } else { 0 };
        let counted = after.delivered - before.delivered;
        ensure!(counted == expected, "{}: {counted} delivered, not {expected}", self.name);
        Ok(())
    }

    fn prove_packet(&self, bed: &Bed, run: &Run, sent: &super::frame::Frame) -> Result<()> {
        let (Fate::Untouched(expected) | Fate::ToBackend(expected) | Fate::ToClient(expected)) =
            self.fate;
        let Run { returned, last, .. } = run;
        ensure!(*returned == expected, "{}: returned {returned}, not {expected}", self.name);
        let [source, destination] = endpoints(sent);
        let (ends, link) = match self.fate {
            Fate::Untouched(_) => {
                ensure!(last == sent, "{}: the packet was changed", self.name);
                return Ok(());
            }
            Fate::ToBackend(_) => ([source, bed.backend_of(destination)], bed.backend_macs()),
            Fate::ToClient(_) => ([bed.service_of(source), destination], bed.client_macs()),
        };
        ensure!(endpoints(last) == ends, "{}: sent {:?}, not {ends:?}", self.name, endpoints(last));
        ensure!(macs(last) == link, "{}: sent to {:02x?}, not {link:02x?}", self.name, macs(last));
        ensure!(checksums_hold(last), "{}: a checksum is wrong", self.name);
        Ok(())
    }
}

/// The programs' own counters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    reasons: [u64; Reason::COUNT],
    delivered: u64,
}

impl Counts {
    pub(crate) fn read(bed: &Bed, rig: usize) -> Result<Self> {
        Ok(Self { reasons: bed.weir.reasons()?, delivered: bed.rigs[rig].delivered()? })
    }
}
