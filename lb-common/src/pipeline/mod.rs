//! The balancer, in stages, each a program of its own in the kernel:
//!
//! * [`enter`]: every packet. What belongs to an established flow is rewritten and sent on here;
//!   what is not ours leaves here.
//! * [`unusual`]: packets of another shape than most: tags, options, fragments.
//! * [`track`]: packets that begin or end a flow.
//! * [`open`]: the first packet of a flow, for which a backend is chosen.
//! * [`icmp`]: errors about packets of flows.
//! * [`refuse`]: a reset for who is served by nobody.
//! * [`unreachable`]: a word to who sends datagrams to nobody.
//! * [`limit`]: new flows of services that limit them.
//! * [`ping`]: echo requests for VIPs.
//! * [`settle`]: the second packet of a flow's client.
//! * [`encap`]: packets that travel to their backend in a packet of ours.
//! * [`too_big`]: a word to who sends larger ones than fit.
//! * [`allocate`]: a port of this host for a flow of full NAT. Its packets go through [`track`] and [`icmp`]
//!   in programs of their own.
//! * [`translate`]: packets of such a flow whose backend is of the other address family.
//!
//! So the path that nearly all packets take stays small, and a stage can be replaced while packets
//! flow. Beside the packet a stage hands over at most where the packet's headers lie.
//! In reading order: plain, enter, parse, unusual, conntrack, track, choose (lookup, select), open, rewrite.
//!
//! Beside them are [`leave`], for replies of this host's own processes, and [`socket`], for their calls, which
//! choose in the same way.

pub mod allocate;
pub mod choose;
pub mod conntrack;
pub mod encap;
pub mod enter;
pub mod flow_key;
pub mod forward;
pub mod full_nat;
pub mod icmp;
pub mod leave;
pub mod limit;
pub mod lookup;
mod message;
pub mod open;
pub mod parse;
pub mod ping;
pub mod plain;
pub mod refuse;
pub mod reply;
pub mod requests;
pub mod rewrite;
pub mod select;
pub mod settle;
pub mod socket;
pub mod states;
pub mod too_big;
pub mod track;
pub mod translate;
pub mod unreachable;
pub mod unusual;
pub mod verdict;
pub mod workspace;

use crate::{
    abi::settings::Settings,
    packet::Packet,
    tables::Tables,
    wire::{protocol, tcp_flag},
};
use flow_key::FlowKey;
use verdict::{Action, Reason, Verdict};

/// Most stages of one packet: a first packet may meet an entry that another CPU makes, or that
/// ends meanwhile, and start again.
const STAGES_MAX: usize = 8;

/// One packet through the balancer, whichever way it goes: from a client to a service, or from
/// a backend back to its client. `now` is the low half of the jiffies.
#[inline]
pub fn process<P: Packet, T: Tables>(packet: &mut P, tables: &T, now: u32) -> Verdict {
    let mut verdict = enter::enter(packet, tables, now);
    for _ in 0..STAGES_MAX {
        verdict = match verdict.action {
            Action::Track | Action::FullNat => track::track(packet, tables, now),
            Action::Open => open::open(packet, tables, now),
            Action::Unusual => unusual::unusual(packet, tables, now),
            Action::Icmp | Action::FullNatIcmp => icmp::icmp(packet, tables, now),
            Action::Refuse => refuse::refuse(packet, tables),
            Action::Limit => limit::limit(packet, tables, now),
            Action::Ping => ping::ping(packet, tables),
            Action::Settle => settle::settle(packet, tables, now),
            Action::Encap => encap::encap(packet, tables),
            Action::TooBig => too_big::too_big(packet, tables),
            Action::Allocate => allocate::allocate(packet, tables, now),
            Action::Translate => translate::translate(packet, tables),
            Action::Unreachable => unreachable::unreachable(packet, tables),
            Action::Pass
            | Action::Drop
            | Action::Transmit
            | Action::Redirect
            | Action::RedirectPeer => return verdict,
        };
    }
    lost(packet, tables)
}

/// The end of a packet that no stage takes.
#[inline]
pub fn lost<P: Packet, T: Tables>(packet: &P, tables: &T) -> Verdict {
    let verdict = Verdict::ended(Reason::TableFault);
    tables.count(&verdict, packet.length());
    verdict
}

/// A packet's flow and what the stages need beside it.
#[derive(Clone, Copy, Debug)]
pub struct Flow<'a> {
    /// The 5-tuple as on the wire.
    pub key: &'a FlowKey,
    /// The dataplane's settings.
    pub settings: &'a Settings,
    /// Low half of the jiffies.
    pub now: u32,
    /// TCP flags; 0 for UDP.
    pub tcp_flags: u8,
    /// The packet carries data.
    pub payload: bool,
}

impl Flow<'_> {
    /// IP protocol number.
    #[inline]
    #[must_use]
    pub const fn protocol(&self) -> u8 {
        self.key.protocol()
    }

    /// Whether this packet may open a flow.
    #[inline]
    #[must_use]
    pub const fn opens(&self) -> bool {
        opens(self.protocol(), self.tcp_flags)
    }

    /// Whether it is a SYN without ACK.
    #[inline]
    #[must_use]
    pub const fn dials(&self) -> bool {
        dials(self.protocol(), self.tcp_flags)
    }
}

/// Whether a packet may open a flow: a datagram, or a SYN without ACK.
#[inline]
#[must_use]
pub const fn opens(number: u8, tcp_flags: u8) -> bool {
    number == protocol::UDP || tcp_flags & (tcp_flag::SYN | tcp_flag::ACK) == tcp_flag::SYN
}

/// Whether a packet opens a connection: a SYN without ACK. Flags are 0 for UDP.
#[inline]
#[must_use]
pub const fn dials(number: u8, tcp_flags: u8) -> bool {
    number == protocol::TCP && opens(number, tcp_flags)
}
