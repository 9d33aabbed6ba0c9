//! Requests in flight: the turns of a flow.
//!
//! A turn is open from the client's first payload until the backend's first payload after it; a
//! flow counts as one from its first packet until its handshake is over, or a burst of them would
//! all go to one backend. So connections that idle are no load, and a backend's load is known
//! without a word from it. Both entries of a flow say whether a turn is open: what does not open or
//! answer one is none of this module's business, and never reaches it.
//!
//! Of a backend that answers its clients by itself no answer is seen: each connection to it is one turn.

use super::{
    Flow,
    conntrack::{Done, other},
};
use crate::{
    abi::{
        flow::{Conn, SharedConn, conn_flag, conn_kind},
        service::service_flag,
    },
    packet::Headers,
    tables::{Signal, Stage, Tables},
    wire::{protocol, tcp_flag},
};

/// Whether a packet leaves the turn of its flow as it is.
#[inline]
#[must_use]
pub const fn same_turn(headers: &Headers, entry: &Conn) -> bool {
    if !headers.payload {
        return true;
    }
    let turns = if entry.kind == conn_kind::FORWARD {
        conn_flag::TURNS
    } else {
        conn_flag::TURNS | conn_flag::WAITING
    };
    entry.flags != turns
}

/// Opens the first turn of a flow that is about to be recorded, if its service counts turns.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub fn prepare<T: Tables>(tables: &T, service_flags: u32, conn: &mut Conn) -> Done {
    if service_flags & u32::from(service_flag::TURNS) != 0 {
        conn.flags |= conn_flag::TURNS | conn_flag::WAITING;
        conn.turn_us = tables.clock_us();
    }
    Done::default()
}

/// The flow is recorded, and its first turn counts.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub fn recorded<T: Tables>(tables: &T, conn: &Conn) -> Done {
    if conn.flags & conn_flag::WAITING != 0 {
        tables.request_begins(conn.backend);
    }
    Done::default()
}

/// The handshake of a drafted flow is over: its turn is, unless the request is there already.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub fn shaken<T: Tables>(tables: &T, payload: bool, conn: &mut Conn) -> Done {
    if conn.flags & conn_flag::WAITING == 0 {
        return Done::default();
    }
    if conn.flags & conn_flag::DIRECT != 0 {
        // It lasts as long as the connection.
    } else if payload {
        conn.turn_us = tables.clock_us();
    } else {
        conn.flags &= !conn_flag::WAITING;
        tables.request_ends(conn.backend);
    }
    Done::default()
}

/// A turn that nobody will answer any more.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub fn abandon<T: Tables>(tables: &T, conn: &Conn) -> Done {
    if conn.flags & conn_flag::WAITING != 0 {
        tables.request_ends(conn.backend);
    }
    Done::default()
}

/// What a packet is to the turns of its flow.
enum Turn {
    Opens,
    /// Something is learned, and the turn goes on.
    Heard(Signal),
    Answered(Signal),
    Ends,
}

/// Opens or ends a turn. `kind` says which way the packet goes.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub fn step<T: Tables>(
    tables: &T,
    flow: &Flow<'_>,
    entry: &SharedConn,
    stage: Stage,
    kind: u8,
) -> Done {
    let (flags, backend) = (entry.flags, entry.backend);
    let waiting = flags & conn_flag::WAITING != 0;
    let turn = if flags & conn_flag::DIRECT != 0 {
        only_turn(flow, waiting)
    } else {
        turn(flow, stage, kind, waiting)
    };
    let Some(turn) = turn else { return Done::default() };
    let now = tables.clock_us();
    if let Turn::Heard(signal) | Turn::Answered(signal) = turn {
        tables.signal(backend, signal, now.wrapping_sub(entry.turn_us));
    }
    if let Turn::Heard(_) = turn {
        return Done::default();
    }
    let flags = if let Turn::Opens = turn {
        tables.request_begins(backend);
        flags | conn_flag::WAITING
    } else {
        tables.request_ends(backend);
        ended(flow, flags)
    };
    entry.set_turn(flags, now);
    if let Some(other) = other(tables, flow, entry, stage) {
        other.set_turn(flags, now);
    }
    Done::default()
}

/// Where no answer is seen, a connection is one turn: until its client has nothing more to say.
#[inline]
fn only_turn(flow: &Flow<'_>, waiting: bool) -> Option<Turn> {
    match waiting {
        true if flow.tcp_flags & (tcp_flag::FIN | tcp_flag::RST) != 0 => Some(Turn::Ends),
        true if flow.tcp_flags & tcp_flag::SYN != 0 => Some(Turn::Heard(Signal::Repeated)),
        _ => None,
    }
}

#[inline]
fn turn(flow: &Flow<'_>, stage: Stage, kind: u8, waiting: bool) -> Option<Turn> {
    let sets = |flag: u8| flow.tcp_flags & flag != 0;
    if kind == conn_kind::FORWARD {
        return match (waiting, flow.payload) {
            (false, true) => Some(Turn::Opens),
            (true, _) if sets(tcp_flag::RST) => Some(Turn::Ends),
            (true, _) if sets(tcp_flag::SYN) => Some(Turn::Heard(Signal::Repeated)),
            _ => None,
        };
    }
    if !waiting {
        return None;
    }
    match stage {
        _ if flow.payload => Some(Turn::Answered(Signal::FirstByte)),
        Stage::Embryo if sets(tcp_flag::RST) => Some(Turn::Answered(Signal::Refused)),
        Stage::Embryo if sets(tcp_flag::SYN) => Some(Turn::Heard(Signal::Handshake)),
        Stage::Conn if sets(tcp_flag::FIN | tcp_flag::RST) => Some(Turn::Answered(Signal::Reset)),
        Stage::Embryo | Stage::Conn => None,
    }
}

/// The flags after a turn. Datagrams count until the first answer: what follows may be a stream
/// whose every acknowledgement would look like a request.
#[inline]
fn ended(flow: &Flow<'_>, flags: u16) -> u16 {
    let over = conn_flag::WAITING;
    flags & !if flow.protocol() == protocol::UDP { over | conn_flag::TURNS } else { over }
}
