//! The flow table: finding, recording, ending.
//!
//! Every flow has two entries, one a direction, so that either way is one lookup. A TCP flow
//! starts in the embryonic table and moves on the client's first packet after its SYN. State
//! changes (FIN, RST, handshake) write both entries; all other packets touch their own only.
//!
//! What happens once or twice a flow is a function of its own in the kernel (`inline(never)`):
//! it needs a frame of the stack that the path of every packet has no room for.

use super::{Flow, flow_key::FlowKey, flow_key::hairpin};
use crate::{
    abi::{
        flow::{Client, Conn, conn_flag, conn_kind, conn_state},
        settings::Settings,
    },
    pipeline::select::Chosen,
    tables::{Insert, Stage, Tables},
    wire::{protocol, tcp_flag},
};

/// What functions return that have nothing to say: in the kernel the return register would
/// otherwise hold whatever was in it, a pointer to the stack for one, which the verifier refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Done(u32);

/// What the flow table says of a packet.
#[derive(Debug)]
pub enum Found<E> {
    /// A live entry.
    Entry(E, Stage),
    /// A reply entry of a flow that has ended.
    Stale,
    /// No entry.
    Nothing,
}

/// Looks the packet's flow up; an entry past its idle limit is removed and counts as absent.
#[inline]
pub fn find<'t, K: FlowKey, T: Tables>(tables: &'t T, flow: &Flow<'_, K>) -> Found<T::Entry<'t>> {
    let (entry, stage) = match tables.conn(Stage::Conn, &flow.key) {
        Some(entry) => (entry, Stage::Conn),
        None if flow.protocol != protocol::TCP => return Found::Nothing,
        None => match tables.conn(Stage::Embryo, &flow.key) {
            Some(entry) => (entry, Stage::Embryo),
            None => return Found::Nothing,
        },
    };
    let idle = idle(flow.now, entry.last_seen);
    let limit = idle_limit(flow.settings, flow.protocol, stage, entry.state);
    if idle > limit || is_stale_answer(flow, stage, &entry) {
        let is_reply = entry.kind == conn_kind::REPLY;
        end(tables, flow, &entry, stage);
        return if is_reply { Found::Stale } else { Found::Nothing };
    }
    if idle != 0 {
        entry.touch(flow.now);
    }
    Found::Entry(entry, stage)
}

/// Ticks since `last_seen`; another CPU may have stamped the entry a tick ahead of us.
#[inline]
#[must_use]
pub const fn idle(now: u32, last_seen: u32) -> u32 {
    let idle = now.wrapping_sub(last_seen);
    if idle.cast_signed() < 0 { 0 } else { idle }
}

/// A SYN-ACK on an entry whose flow has closed belongs to a connection that the client made past
/// the VIP, with the same port to the same backend: rewriting it would hijack that connection.
#[inline]
fn is_stale_answer<K: FlowKey>(flow: &Flow<'_, K>, stage: Stage, conn: &Conn) -> bool {
    const SYN_ACK: u8 = tcp_flag::SYN | tcp_flag::ACK;
    flow.tcp_flags & SYN_ACK == SYN_ACK
        && conn.kind == conn_kind::REPLY
        && stage == Stage::Conn
        && conn.state > conn_state::ESTABLISHED
}

/// How long an entry may be idle.
#[inline]
#[must_use]
pub const fn idle_limit(settings: &Settings, number: u8, stage: Stage, state: u8) -> u32 {
    if number != protocol::TCP {
        return match state {
            conn_state::NEW => settings.udp_new_ticks,
            _ => settings.udp_established_ticks,
        };
    }
    match (stage, state) {
        (_, conn_state::CLOSED) => settings.tcp_closed_ticks,
        (Stage::Embryo, _) | (_, conn_state::NEW) => settings.tcp_new_ticks,
        (_, conn_state::ESTABLISHED) => settings.tcp_established_ticks,
        _ => settings.tcp_half_closed_ticks,
    }
}

/// The key of the entry for the other direction.
#[inline]
#[must_use]
pub fn partner<K: FlowKey>(key: &K, settings: &Settings, conn: &Conn) -> K {
    let (source_port, destination_port, number) = key.ports();
    let turned = conn.flags & conn_flag::HAIRPIN != 0;
    let remote = (conn.address, conn.port);
    if conn.kind == conn_kind::FORWARD {
        let client = if turned { hairpin::<K>(settings) } else { key.source() };
        K::new(remote, (client, source_port), number)
    } else {
        let client = if turned { key.source() } else { key.destination() };
        K::new((client, destination_port), remote, number)
    }
}

/// How recording a new flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Recorded {
    /// Both entries are there.
    New,
    /// Another CPU was first: its choice counts.
    Lost,
    /// No room.
    Full,
}

/// Records a new flow to the chosen backend.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub fn record<K: FlowKey, T: Tables>(
    tables: &T,
    flow: &Flow<'_, K>,
    service: u32,
    chosen: &Chosen<'_>,
    client: &Client,
) -> Recorded {
    let recorded = tables.scratch(|conn| {
        fill_forward(conn, flow, service, chosen, client);
        record_both(tables, flow, conn)
    });
    recorded.unwrap_or(Recorded::Full)
}

/// Inserts the forward entry, then the same memory as the reply entry.
#[inline]
fn record_both<K: FlowKey, T: Tables>(tables: &T, flow: &Flow<'_, K>, conn: &mut Conn) -> Recorded {
    let stage = flow.first_stage();
    match tables.insert_conn(stage, &flow.key, conn) {
        Insert::Done => {}
        Insert::Failed => return Recorded::Full,
        Insert::Exists => return Recorded::Lost,
    }
    let back_key = partner(&flow.key, flow.settings, conn);
    conn.address = flow.key.destination();
    (_, conn.port, _) = flow.key.ports();
    conn.kind = conn_kind::REPLY;
    if insert_over(tables, stage, &back_key, conn) {
        tables.flow_begins(conn.service, conn.backend);
        return Recorded::New;
    }
    tables.remove_conn(stage, &flow.key);
    Recorded::Full
}

#[inline]
fn fill_forward<K: FlowKey>(
    conn: &mut Conn,
    flow: &Flow<'_, K>,
    service: u32,
    chosen: &Chosen<'_>,
    client: &Client,
) {
    let turned = chosen.backend.address == flow.key.source();
    conn.address = chosen.backend.address;
    conn.port = backend_port(flow, chosen.backend.port);
    conn.kind = conn_kind::FORWARD;
    conn.state = conn_state::NEW;
    conn.backend = chosen.id;
    conn.generation = chosen.backend.generation;
    conn.service = service;
    conn.last_seen = flow.now;
    conn.set_client(client);
    conn.flags = if turned { conn_flag::HAIRPIN } else { 0 };
    conn.created = flow.now;
}

/// The port a backend is reached at; 0 keeps the port the client asked for.
#[inline]
fn backend_port<K: FlowKey>(flow: &Flow<'_, K>, port: u16) -> u16 {
    let (_, asked, _) = flow.key.ports();
    if port == 0 { asked } else { port }
}

/// Reply entries are replaced: what is there belongs to a flow that has ended.
#[inline]
fn insert_over<K: FlowKey, T: Tables>(tables: &T, stage: Stage, key: &K, conn: &Conn) -> bool {
    match tables.insert_conn(stage, key, conn) {
        Insert::Done => true,
        Insert::Failed => false,
        Insert::Exists => match tables.conn(stage, key) {
            Some(entry) => {
                entry.replace(conn);
                true
            }
            None => false,
        },
    }
}

/// The handshake is over: both entries move to the main table. Until that worked they stay.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub fn promote<K: FlowKey, T: Tables>(tables: &T, flow: &Flow<'_, K>) -> Done {
    let Some(forward) = tables.conn(Stage::Embryo, &flow.key) else { return Done(0) };
    let back_key = partner(&flow.key, flow.settings, &forward);
    let Some(back) = tables.conn(Stage::Embryo, &back_key) else {
        return Done(0);
    };
    let state = next_state(conn_state::ESTABLISHED, conn_kind::FORWARD, flow.tcp_flags);
    forward.set_state(state, flow.now);
    back.set_state(state, flow.now);
    if state == conn_state::CLOSED {
        tables.flow_ends(forward.backend);
    }
    let moved = insert_over(tables, Stage::Conn, &back_key, &back)
        && insert_over(tables, Stage::Conn, &flow.key, &forward);
    if moved {
        tables.remove_conn(Stage::Embryo, &flow.key);
        tables.remove_conn(Stage::Embryo, &back_key);
    }
    Done(0)
}

/// The state after a packet with these flags.
#[inline]
#[must_use]
pub const fn next_state(state: u8, kind: u8, tcp_flags: u8) -> u8 {
    if tcp_flags & tcp_flag::RST != 0 {
        return conn_state::CLOSED;
    }
    if tcp_flags & tcp_flag::FIN == 0 {
        return state;
    }
    match (state, kind) {
        (conn_state::CLOSED, _)
        | (conn_state::FIN_BACKEND, conn_kind::FORWARD)
        | (conn_state::FIN_CLIENT, conn_kind::REPLY) => conn_state::CLOSED,
        (_, conn_kind::FORWARD) => conn_state::FIN_CLIENT,
        _ => conn_state::FIN_BACKEND,
    }
}

/// Writes a state to both entries of a flow.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub fn set_state<K: FlowKey, T: Tables>(
    tables: &T,
    flow: &Flow<'_, K>,
    conn: &crate::abi::flow::SharedConn,
    stage: Stage,
    state: u8,
) -> Done {
    if conn.state != conn_state::CLOSED && state == conn_state::CLOSED {
        tables.flow_ends(conn.backend);
    }
    conn.set_state(state, flow.now);
    if let Some(other) = tables.conn(stage, &partner(&flow.key, flow.settings, conn)) {
        other.set_state(state, flow.now);
    }
    Done(0)
}

/// Replies follow the client's packets: when these come another way, both entries learn it.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub fn set_client<K: FlowKey, T: Tables>(
    tables: &T,
    flow: &Flow<'_, K>,
    conn: &crate::abi::flow::SharedConn,
    stage: Stage,
    client: &Client,
) -> Done {
    conn.set_client(client);
    if let Some(other) = tables.conn(stage, &partner(&flow.key, flow.settings, conn)) {
        other.set_client(client);
    }
    Done(0)
}

/// Removes both entries of a flow.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub fn end<K: FlowKey, T: Tables>(
    tables: &T,
    flow: &Flow<'_, K>,
    conn: &Conn,
    stage: Stage,
) -> Done {
    if conn.state != conn_state::CLOSED {
        tables.flow_ends(conn.backend);
    }
    tables.remove_conn(stage, &partner(&flow.key, flow.settings, conn));
    tables.remove_conn(stage, &flow.key);
    Done(0)
}
