//! The balancer, one stage a file, in reading order:
//! parse, conntrack, lookup, select, rewrite and forward; replies go back through reply.

pub mod conntrack;
pub mod flow_key;
pub mod forward;
pub mod lookup;
pub mod parse;
pub mod reply;
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
use conntrack::Found;
use flow_key::FlowKey;
use verdict::{Reason, Verdict};

/// One packet through the balancer, whichever way it goes: from a client to a service, or from
/// a backend back to its client. `now` is the low half of the jiffies.
#[inline]
pub fn process<P: Packet, T: Tables>(packet: &mut P, tables: &T, now: u32) -> Verdict {
    let verdict = match parse::parse(packet) {
        Err(reason) => Verdict::ended(reason),
        Ok(headers) => {
            if !tables.port_in_use(headers.protocol, headers.source_port, headers.destination_port)
            {
                Verdict::ended(Reason::NotService)
            } else if let Some(settings) = tables.settings() {
                if headers.v6 {
                    balance::<FlowKey6, P, T>(packet, tables, &headers, &settings, now)
                } else {
                    balance::<FlowKey4, P, T>(packet, tables, &headers, &settings, now)
                }
            } else {
                Verdict::ended(Reason::TableFault)
            }
        }
    };
    tables.count(&verdict, packet.length());
    verdict
}

/// The flow table first: a hit knows everything. A miss becomes a new flow, or is not ours.
#[inline]
fn balance<K: FlowKey, P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    headers: &Headers,
    settings: &Settings,
    now: u32,
) -> Verdict {
    let Some(key) = K::read(packet, headers) else {
        return Verdict::ended(Reason::Malformed);
    };
    let Headers { protocol, tcp_flags, .. } = *headers;
    let flow = Flow { key, settings, now, protocol, tcp_flags };
    match conntrack::find(tables, &flow) {
        Found::Entry(entry, stage) if entry.kind == conn_kind::REPLY => {
            reply::reply(packet, tables, headers, &flow, &entry, stage)
        }
        Found::Entry(entry, stage) => {
            match forward::known(packet, tables, headers, &flow, &entry, stage) {
                Some(verdict) => verdict,
                None => forward::new(packet, tables, headers, &flow),
            }
        }
        Found::Stale => Verdict::ended(Reason::StaleReply),
        Found::Nothing => forward::new(packet, tables, headers, &flow),
    }
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

impl<K: FlowKey> Flow<'_, K> {
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
