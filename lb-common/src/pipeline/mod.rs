//! The balancer, one stage a file, in reading order:
//! parse, conntrack, choose (lookup, select), forward, rewrite; replies go back through reply.

pub mod choose;
pub mod conntrack;
pub mod flow_key;
pub mod forward;
pub mod lookup;
pub mod parse;
pub mod reply;
pub mod rewrite;
pub mod select;
pub mod verdict;

use crate::{
    abi::{
        flow::{FlowKey4, FlowKey6, conn_kind},
        settings::Settings,
    },
    packet::{Headers, Packet},
    tables::{Stage, Tables},
    wire::{protocol, tcp_flag},
};
use choose::Choice;
use conntrack::{Done, Found};
use flow_key::FlowKey;
use rewrite::Decision;
use select::NOBODY;
use verdict::{Reason, Verdict};

/// One packet through the balancer, whichever way it goes: from a client to a service, or from
/// a backend back to its client. `now` is the low half of the jiffies.
#[inline]
pub fn process<P: Packet, T: Tables>(packet: &mut P, tables: &T, now: u32) -> Verdict {
    let verdict = match parse::parse(packet) {
        Err(reason) => Verdict::ended(reason),
        Ok(headers) => balance(packet, tables, tables.forget_paths(headers), now),
    };
    tables.count(&verdict, packet.length());
    verdict
}

/// The pre-filter lets most of what is not ours go; the rest is decided, then acted upon.
#[inline]
fn balance<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    headers: Headers,
    now: u32,
) -> Verdict {
    if !tables.port_in_use(headers.protocol, headers.source_port, headers.destination_port) {
        return Verdict::ended(Reason::NotService);
    }
    let Some(settings) = tables.settings() else { return Verdict::ended(Reason::TableFault) };
    let at = At { headers, settings, now };
    let verdict = tables.with_decision(|decision| {
        if headers.v6 {
            decide::<FlowKey6, P, T>(packet, tables, &at, decision);
        } else {
            decide::<FlowKey4, P, T>(packet, tables, &at, decision);
        }
        rewrite::perform(packet, &at.headers, decision);
        decision.verdict
    });
    verdict.unwrap_or(Verdict::ended(Reason::TableFault))
}

/// The flow table first: a hit knows everything. A miss becomes a new flow, or is not ours.
#[inline]
fn decide<K: FlowKey, P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    at: &At<'_>,
    decision: &mut Decision,
) {
    decision.end(Reason::NoFlow, 0, 0);
    if known_flow::<K, P, T>(packet, tables, at, decision) {
        return;
    }
    let Some(new) = choose::new_flow::<K, P>(packet, at) else {
        return decision.end(Reason::Malformed, 0, 0);
    };
    let choice = tables.choose(&new);
    if choice.backend == NOBODY {
        return decision.end(choice.why_not(), choice.service, NOBODY);
    }
    new_flow::<K, P, T>(packet, tables, at, &choice, decision);
}

/// A packet of a recorded flow. `false`, and nothing decided, if there is none, or none any longer.
///
/// In the kernel this and [`new_flow`] have a frame of the stack of their own.
#[cfg_attr(target_arch = "bpf", inline(never))]
fn known_flow<K: FlowKey, P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    at: &At<'_>,
    decision: &mut Decision,
) -> bool {
    let Some(flow) = Flow::<K>::of(packet, at) else {
        decision.end(Reason::Malformed, 0, 0);
        return true;
    };
    match conntrack::find(tables, &flow) {
        Found::Entry(entry, stage) if entry.kind == conn_kind::REPLY => {
            reply::reply(packet, tables, &at.headers, &flow, &entry, stage, decision);
        }
        Found::Entry(entry, stage) => {
            forward::known(packet, tables, &at.headers, &flow, &entry, stage, decision);
        }
        Found::Stale => decision.end(Reason::StaleReply, 0, 0),
        Found::Nothing => {}
    }
    decision.verdict.reason != Reason::NoFlow
}

/// The first packet of a flow, for which a backend is chosen.
#[cfg_attr(target_arch = "bpf", inline(never))]
fn new_flow<K: FlowKey, P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    at: &At<'_>,
    choice: &Choice,
    decision: &mut Decision,
) -> Done {
    match Flow::<K>::of(packet, at) {
        Some(flow) => forward::new(packet, tables, &at.headers, &flow, choice, decision),
        None => decision.end(Reason::Malformed, 0, 0),
    }
    Done::default()
}

/// A packet's headers and its moment.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// Where its headers lie.
    pub headers: Headers,
    /// The dataplane's settings.
    pub settings: &'a Settings,
    /// Low half of the jiffies.
    pub now: u32,
}

/// A packet's flow and what the stages need beside it.
#[derive(Clone, Copy, Debug)]
pub struct Flow<'a, K> {
    /// The 5-tuple as on the wire.
    pub key: K,
    /// The dataplane's settings.
    pub settings: &'a Settings,
    /// Low half of the jiffies.
    pub now: u32,
    /// IP protocol number.
    pub protocol: u8,
    /// TCP flags; 0 for UDP.
    pub tcp_flags: u8,
}

impl<'a, K: FlowKey> Flow<'a, K> {
    /// The flow of a packet.
    #[inline]
    pub fn of<P: Packet>(packet: &P, at: &At<'a>) -> Option<Self> {
        let key = K::read(packet, &at.headers)?;
        let Headers { protocol, tcp_flags, .. } = at.headers;
        Some(Self { key, settings: at.settings, now: at.now, protocol, tcp_flags })
    }

    /// Whether this packet may open a flow: a datagram, or a SYN without ACK.
    #[inline]
    #[must_use]
    pub const fn opens(&self) -> bool {
        self.protocol == protocol::UDP
            || self.tcp_flags & (tcp_flag::SYN | tcp_flag::ACK) == tcp_flag::SYN
    }

    /// The stage in which a first packet of this protocol is recorded.
    #[inline]
    #[must_use]
    pub const fn first_stage(&self) -> Stage {
        if self.protocol == protocol::TCP { Stage::Embryo } else { Stage::Conn }
    }
}
