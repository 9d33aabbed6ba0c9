//! The flow table: finding, recording, ending.
//!
//! An established flow has two entries, one a direction, so that either way is one lookup. A flow
//! starts in the embryonic table of its protocol and moves on the client's second packet, so that
//! whoever sends one packet each from many addresses takes no room from those who talk. There
//! it needs one entry only where its backend's replies lead back to one service address: the first
//! one that a flow came by, which `ORIGINS` remembers. State changes (FIN, RST, handshake) write
//! all entries of a flow; other packets touch their own only.
//!
//! What happens once or twice a flow is a function of its own in the kernel (`inline(never)`):
//! it needs a frame of the stack that its callers have no room for.

use super::{
    Flow,
    choose::Choice,
    flow_key::{FlowKey, hairpin},
    full_nat, requests,
    states::is_open,
};
use crate::{
    abi::{
        address::Address,
        flow::{Client, Conn, Origin, SharedConn, conn_flag, conn_kind, conn_state},
        service::{ListenKey, forward},
        settings::Settings,
    },
    packet::{Headers, Packet},
    pipeline::{select::Chosen, workspace::Draft},
    tables::{Insert, Stage, Tables},
    wire::{Ethernet, protocol, tcp_flag},
};

/// What functions return that have nothing to say: in the kernel the return register would
/// otherwise hold whatever was in it, a pointer to the stack for one, which the verifier refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Done(u32);

/// What the flow table says of a packet.
#[derive(Debug)]
pub enum Found<E> {
    /// A client's packet.
    Forward(E, Stage),
    /// A backend's packet: whose service address it leaves from.
    Reply(E, Stage, (Address, u16)),
    /// A backend's packet of a flow that has ended.
    Stale,
    /// A packet of a flow that another program deals with.
    Elsewhere,
    /// No entry.
    Nothing,
}

/// Where a client's packets come from. Replies to tagged frames go through the stack, which puts
/// the tag on.
#[inline]
pub fn client<P: Packet>(packet: &P, headers: &Headers) -> Option<Client> {
    let ethernet = packet.header::<Ethernet>(0)?;
    let ifindex = if headers.tagged { 0 } else { packet.ingress() };
    Some(Client { ifindex, macs: ethernet.macs().swapped() })
}

/// Looks the packet's flow up; an entry past its idle limit is removed and counts as absent.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn find<'t, T: Tables>(tables: &'t T, flow: &Flow<'_>) -> Found<T::Entry<'t>> {
    let (entry, stage) = match tables.conn(Stage::Conn, flow.key) {
        Some(entry) => (entry, Stage::Conn),
        None => match tables.conn(Stage::Embryo, flow.key) {
            // A backend answers a handshake with ACK or RST: its bare SYN is a connection of its own.
            // The first stage takes any bare SYN of an unknown flow for the first packet of one.
            Some(entry) if flow.dials() && entry.kind == conn_kind::REPLY => return Found::Nothing,
            Some(entry) => (entry, Stage::Embryo),
            None if flow.dials() || !T::OTHERS => return Found::Nothing,
            None => return find_origin(tables, flow),
        },
    };
    if if entry.is_full_nat() { !T::FULL_NAT } else { !T::OTHERS } {
        return Found::Elsewhere;
    }
    let is_reply = entry.kind == conn_kind::REPLY;
    if is_over(flow, stage, &entry) || is_stale_answer(flow, stage, &entry) {
        end(tables, flow, &entry, stage);
        return if is_reply { Found::Stale } else { Found::Nothing };
    }
    entry.touch(flow.now);
    if is_reply {
        let vip = (entry.address, entry.port);
        return Found::Reply(entry, stage, vip);
    }
    Found::Forward(entry, stage)
}

/// Whether a client's handshake is recorded. Its SYN may come again, and is no new flow: it takes no
/// turn, and what the service has become since is none of its business.
#[inline]
pub fn is_shaking<T: Tables>(tables: &T, flow: &Flow<'_>) -> bool {
    flow.protocol() == protocol::TCP
        && tables
            .conn(Stage::Embryo, flow.key)
            .is_some_and(|entry| entry.kind == conn_kind::FORWARD)
}

/// A backend's packet of a handshake that has one entry: the client's.
#[inline]
fn find_origin<'t, T: Tables>(tables: &'t T, flow: &Flow<'_>) -> Found<T::Entry<'t>> {
    let (address, port) = flow.key.source();
    let Some(origin) = tables.origin(&origin_key(address, port, flow.protocol())) else {
        return Found::Nothing;
    };
    let vip = (origin.address, origin.port);
    let key = FlowKey::new(flow.key.is_v6(), flow.key.destination(), vip, flow.protocol());
    match tables.conn(Stage::Embryo, &key) {
        Some(entry)
            if entry.flags & conn_flag::SINGLE != 0
                && entry.address == address
                && entry.port == port
                && !is_over(flow, Stage::Embryo, &entry) =>
        {
            entry.touch(flow.now);
            Found::Reply(entry, Stage::Embryo, vip)
        }
        _ => Found::Nothing,
    }
}

/// The key of a backend in `ORIGINS`.
#[inline]
const fn origin_key(address: Address, port: u16, protocol: u8) -> ListenKey {
    ListenKey { address, port, protocol, zero: 0 }
}

#[inline]
const fn is_over(flow: &Flow<'_>, stage: Stage, conn: &Conn) -> bool {
    let limit = idle_limit(flow.settings, flow.protocol(), stage, conn.state);
    idle(flow.now, conn.last_seen) > limit
}

/// Ticks since `last_seen`; another CPU may have stamped the entry a tick ahead of us.
#[inline]
#[must_use]
pub const fn idle(now: u32, last_seen: u32) -> u32 {
    let idle = now.wrapping_sub(last_seen);
    if idle.cast_signed() < 0 { 0 } else { idle }
}

/// A SYN-ACK on an entry whose flow has closed, or whose handshake is long over, belongs to a connection
/// that the client made past the VIP, with the same port to the same backend: rewriting it would hijack
/// that connection. Until then it is one that came again because the client's ACK was lost.
#[inline]
fn is_stale_answer(flow: &Flow<'_>, stage: Stage, conn: &Conn) -> bool {
    const SYN_ACK: u8 = tcp_flag::SYN | tcp_flag::ACK;
    flow.tcp_flags & SYN_ACK == SYN_ACK
        && conn.kind == conn_kind::REPLY
        && matches!(stage, Stage::Conn)
        && (conn.state > conn_state::ESTABLISHED
            || idle(flow.now, conn.created) > flow.settings.tcp_new_ticks)
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
#[cfg_attr(target_arch = "bpf", inline(never))]
#[must_use]
pub fn partner<T: Tables>(tables: &T, key: &FlowKey, settings: &Settings, conn: &Conn) -> FlowKey {
    if full_nat::has::<T>(conn) {
        return full_nat::partner(tables, key, conn);
    }
    let (source, destination, v6) = (key.source(), key.destination(), key.is_v6());
    let turned = conn.flags & conn_flag::HAIRPIN != 0;
    let remote = (conn.address, conn.port);
    if conn.kind == conn_kind::FORWARD {
        let client = if turned { hairpin(settings, v6) } else { source.0 };
        FlowKey::new(v6, remote, (client, source.1), key.protocol())
    } else {
        let client = if turned { source.0 } else { destination.0 };
        FlowKey::new(v6, (client, destination.1), remote, key.protocol())
    }
}

/// How recording a new flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Recorded {
    /// It is recorded.
    New,
    /// It was there already.
    Known,
    /// No room.
    Full,
}

/// The forward entry of a new flow to the chosen backend.
#[inline]
pub fn fill_forward(
    conn: &mut Conn,
    flow: &Flow<'_>,
    choice: &Choice,
    chosen: &Chosen<'_>,
    client: &Client,
) {
    let (source, _) = flow.key.source();
    let (vip, asked) = flow.key.destination();
    let port = chosen.backend.port;
    conn.address = chosen.backend.address;
    // Port 0 keeps the one that the client asked for.
    conn.port = if port == 0 { asked } else { port };
    conn.kind = conn_kind::FORWARD;
    conn.state = conn_state::NEW;
    conn.backend = chosen.id;
    conn.generation = chosen.backend.generation;
    conn.service = choice.service;
    conn.last_seen = flow.now;
    conn.set_client(client);
    conn.flags = if conn.address == source { conn_flag::HAIRPIN } else { 0 };
    conn.created = flow.now;
    let unchanged = match choice.forward() {
        forward::NAT => return,
        forward::FULL_NAT => {
            // It is its own client's client, too, if it calls itself.
            conn.flags = conn_flag::FULL_NAT;
            return;
        }
        forward::DSR => 0,
        forward::IPIP => conn_flag::TUNNEL,
        _ => conn_flag::TUNNEL | conn_flag::UDP,
    };
    // The packets stay as they are, and there is nothing to translate back.
    (conn.address, conn.port) = (vip, asked);
    conn.flags = conn_flag::DIRECT | conn_flag::SINGLE | unchanged;
}

/// Records a new flow whose forward entry is drafted.
#[cfg_attr(target_arch = "bpf", inline(always))]
pub fn record<T: Tables>(tables: &T, flow: &Flow<'_>, draft: &mut Draft) -> Recorded {
    let (stage, conn) = (Stage::Embryo, &mut draft.conn);
    if conn.flags & (conn_flag::HAIRPIN | conn_flag::DIRECT) == 0 && leads_back(tables, flow, conn)
    {
        conn.flags |= conn_flag::SINGLE;
    }
    match tables.insert_conn(stage, flow.key, conn) {
        Insert::Done => {}
        Insert::Failed => return Recorded::Full,
        Insert::Exists => return Recorded::Known,
    }
    if conn.flags & conn_flag::SINGLE == 0 && !insert_reply(tables, flow, stage, draft) {
        tables.remove_conn(stage, flow.key);
        return Recorded::Full;
    }
    tables.flow_unmet(flow.protocol() == protocol::UDP);
    tables.flow_begins(draft.conn.service, draft.conn.backend);
    requests::recorded(tables, &draft.conn);
    Recorded::New
}

/// Whether `ORIGINS` leads from the backend of this flow to the address that its client asked for.
/// The first flow to a backend says where it leads.
#[inline]
fn leads_back<T: Tables>(tables: &T, flow: &Flow<'_>, conn: &Conn) -> bool {
    let (address, port) = flow.key.destination();
    let key = origin_key(conn.address, conn.port, flow.protocol());
    match tables.origin(&key) {
        Some(origin) => origin.address == address && origin.port == port,
        None => tables.add_origin(&key, &Origin { address, port, zero: 0 }),
    }
}

/// Turns the drafted forward entry into the reply entry and inserts it. What is there already
/// belongs to a flow that has ended.
#[inline]
pub(super) fn insert_reply<T: Tables>(
    tables: &T,
    flow: &Flow<'_>,
    stage: Stage,
    draft: &mut Draft,
) -> bool {
    draft.key = partner(tables, flow.key, flow.settings, &draft.conn);
    if full_nat::has::<T>(&draft.conn) {
        full_nat::remember_client(&mut draft.conn, flow);
    }
    (draft.conn.address, draft.conn.port) = flow.key.destination();
    draft.conn.kind = conn_kind::REPLY;
    insert_over(tables, stage, &draft.key, &draft.conn)
}

#[cfg_attr(target_arch = "bpf", inline(never))]
pub(super) fn insert_over<T: Tables>(tables: &T, stage: Stage, key: &FlowKey, conn: &Conn) -> bool {
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

/// The other entry of a flow, if it has one.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub(super) fn other<'t, T: Tables>(
    tables: &'t T,
    flow: &Flow<'_>,
    conn: &Conn,
    stage: Stage,
) -> Option<T::Entry<'t>> {
    if conn.flags & conn_flag::SINGLE != 0 {
        return None;
    }
    if full_nat::has::<T>(conn) {
        return full_nat::other(tables, flow, conn, stage);
    }
    tables.conn(stage, &partner(tables, flow.key, flow.settings, conn))
}

/// Writes a state to the entries of a flow.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub fn set_state<T: Tables>(
    tables: &T,
    flow: &Flow<'_>,
    conn: &SharedConn,
    stage: Stage,
    state: u8,
) -> Done {
    if is_open(conn.state, conn.flags) && !is_open(state, conn.flags) {
        tables.flow_ends(conn.backend);
    }
    conn.set_state(state, flow.now);
    if let Some(other) = other(tables, flow, conn, stage) {
        other.set_state(state, flow.now);
    }
    Done(0)
}

/// Replies follow the client's packets: when these come another way, its flow learns it.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub fn set_client<T: Tables>(
    tables: &T,
    flow: &Flow<'_>,
    conn: &SharedConn,
    stage: Stage,
    client: &Client,
) -> Done {
    conn.set_client(client);
    if full_nat::has::<T>(conn) {
        // Replies ask this entry.
        return Done(0);
    }
    if let Some(other) = other(tables, flow, conn, stage) {
        other.set_client(client);
    }
    Done(0)
}

/// Removes the entries of a flow.
#[cfg_attr(target_arch = "bpf", inline(never))]
pub fn end<T: Tables>(tables: &T, flow: &Flow<'_>, conn: &Conn, stage: Stage) -> Done {
    let own = !full_nat::has::<T>(conn) || other(tables, flow, conn, stage).is_some();
    // A port that its client's entry has left behind: with that the flow has ended.
    let counts = own || conn.kind == conn_kind::FORWARD;
    if counts && is_open(conn.state, conn.flags) {
        tables.flow_ends(conn.backend);
    }
    if counts {
        requests::abandon(tables, conn);
    }
    if conn.flags & conn_flag::SINGLE == 0 && own {
        tables.remove_conn(stage, &partner(tables, flow.key, flow.settings, conn));
    }
    tables.remove_conn(stage, flow.key);
    Done(0)
}
