//! What is measured: a program, the packets it gets, and the proof that it did what it should.

use anyhow::{Result, ensure};
use lb_common::pipeline::verdict::Reason;

use super::{
    bed::{Bed, OUR_ADDRESS},
    frame::{Flows, Packet, checksums_hold, endpoints, macs},
    layout::Plan,
    rig::Run,
};
use crate::weir::Hook;

/// `enum xdp_action`.
pub(crate) const XDP_DROP: u32 = 1;
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
    /// The real one, of the instance with this number.
    Weir(Hook, usize),
    /// What a user gave us.
    Beside(Hook),
}

/// What must have become of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Untouched, with this return value.
    Untouched(u32),
    /// From the client to the backend.
    ToBackend(u32),
    /// From this host to the backend: full NAT.
    FromUs(u32),
    /// From the VIP to the client.
    ToClient(u32),
    /// Whatever the program does, it is not ours to judge.
    Unknown,
}

/// Packets of one kind through one program.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) under: Under,
    pub(crate) packet: Packet,
    /// What every second packet is, if they alternate: a reply to the first.
    pub(crate) answer: Option<Packet>,
    pub(crate) flows: Flows,
    /// Of the last packet.
    pub(crate) fate: Fate,
    /// What the real program must count; of the last packet.
    pub(crate) reason: Option<Reason>,
    /// Which flow table of the floors.
    pub(crate) rig: usize,
}

/// The rig with a table for established flows.
pub(crate) const ESTABLISHED: usize = 0;
/// One with a table as large, which new flows have filled.
pub(crate) const FRESH: usize = 1;
/// The same with a table as large as ours for half-open flows.
pub(crate) const FRESH_SMALL: usize = 2;
/// The rig with a table for a million flows.
pub(crate) const LARGE: usize = 3;

impl Subject {
    /// The hook whose driver it needs.
    pub(crate) fn hook(&self) -> Hook {
        match self.under {
            Under::Weir(hook, _) | Under::Beside(hook) => hook,
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
        Self { name: name.to_owned(), under, fate, reason: None, ..self.clone() }
    }

    /// What its driver is told.
    pub(crate) fn plan(&self) -> Plan {
        Plan { alternate: u32::from(self.answer.is_some()), ..self.packet.plan(self.flows) }
    }

    /// What its program counted so far.
    pub(crate) fn counts(&self, bed: &Bed) -> Result<Counts> {
        let instance = if let Under::Weir(_, instance) = self.under { instance } else { 0 };
        let weir = &bed.weirs[instance];
        let Packet { server, protocol, is_reply, .. } = self.packet;
        let service = if is_reply { bed.service_of(server) } else { server };
        Ok(Counts {
            reasons: weir.reasons()?,
            flows: weir.flows(service, protocol)?,
            delivered: bed.rigs[self.rig].delivered()?,
        })
    }

    /// Checks a run of `count` packets against what it should have been: return value, counters,
    /// and the last packet, byte for byte where it matters.
    pub(crate) fn prove(&self, bed: &Bed, run: &Run, count: u32, before: &Counts) -> Result<()> {
        let after = self.counts(bed)?;
        self.prove_counts(before, &after, count)?;
        let last = self.answer.unwrap_or(self.packet);
        let sent = last.frame(self.plan().flow(count - 1));
        self.prove_packet(bed, run, &sent)
    }

    fn prove_counts(&self, before: &Counts, after: &Counts, count: u32) -> Result<()> {
        for reason in Reason::ALL {
            let index = reason as usize;
            let counted = after.reasons[index] - before.reasons[index];
            let alternates = self.answer.is_some();
            let expected = match self.reason {
                Some(all) if all == reason && !alternates => u64::from(count),
                Some(_) if alternates && reason == Reason::Forwarded => {
                    u64::from(count.div_ceil(2))
                }
                Some(last) if alternates && last == reason => u64::from(count / 2),
                Some(_) | None => 0,
            };
            ensure!(
                counted == expected,
                "{}: {counted} packets ended as {}, not {expected}",
                self.name,
                reason.name()
            );
        }
        let floor = matches!(self.under, Under::Floor(_));
        let is_sent = match self.fate {
            Fate::ToBackend(_) | Fate::FromUs(_) | Fate::ToClient(_) => true,
            Fate::Untouched(_) | Fate::Unknown => false,
        };
        let expected = if floor && is_sent { u64::from(count) } else { 0 };
        let counted = after.delivered - before.delivered;
        ensure!(counted == expected, "{}: {counted} delivered, not {expected}", self.name);
        // Neither may a known flow begin once more, nor a new one be known.
        let begins = !floor && is_sent && matches!(self.flows, Flows::Next(_));
        let expected = if begins { u64::from(count) } else { 0 };
        let counted = after.flows - before.flows;
        ensure!(counted == expected, "{}: {counted} flows began, not {expected}", self.name);
        Ok(())
    }

    fn prove_packet(&self, bed: &Bed, run: &Run, sent: &super::frame::Frame) -> Result<()> {
        let expected = match self.fate {
            Fate::Untouched(it) | Fate::ToBackend(it) | Fate::FromUs(it) | Fate::ToClient(it) => it,
            Fate::Unknown => return Ok(()),
        };
        let Run { returned, last, .. } = run;
        ensure!(*returned == expected, "{}: returned {returned}, not {expected}", self.name);
        let [source, destination] = endpoints(sent);
        let [from, to] = endpoints(last);
        let link = match self.fate {
            Fate::Untouched(_) | Fate::Unknown => {
                ensure!(last == sent, "{}: the packet was changed", self.name);
                return Ok(());
            }
            Fate::ToBackend(_) | Fate::FromUs(_) => {
                let known = bed.backends_of(destination).contains(&to);
                let is_ours = matches!(self.fate, Fate::FromUs(_));
                let right = if is_ours { from.ip() == OUR_ADDRESS } else { from == source };
                ensure!(right && known, "{}: sent from {from} to {to}", self.name);
                bed.backend_macs()
            }
            Fate::ToClient(_) => {
                let service = bed.service_of(source);
                ensure!(from == service && to == destination, "{}: sent {from} {to}", self.name);
                bed.client_macs()
            }
        };
        ensure!(macs(last) == link, "{}: sent to {:02x?}, not {link:02x?}", self.name, macs(last));
        ensure!(checksums_hold(last), "{}: a checksum is wrong", self.name);
        Ok(())
    }
}

/// The programs' own counters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    reasons: [u64; Reason::COUNT],
    /// Flows of the packets' service that began.
    flows: u64,
    delivered: u64,
}
