//! The stage of flows whose client goes on: they move from the table of beginnings to the main one, once
//! in their life. Then the packet goes the way of any other.

use super::{
    Flow,
    conntrack::{Done, insert_over, insert_reply},
    requests,
    states::{is_open, next_state},
    verdict::{Action, Verdict},
    workspace::Draft,
};
use crate::{
    abi::flow::{SharedConn, conn_flag, conn_kind, conn_state},
    packet::{Headers, Packet},
    tables::{Stage, Tables},
    wire::protocol,
};

/// Moves the packet's flow, and hands the packet back to [`track`](super::track).
#[inline]
pub fn settle<P: Packet, T: Tables>(packet: &mut P, tables: &T, now: u32) -> Verdict {
    let headers = tables.handed_over();
    tables.with_workspace(|work| {
        let settings = tables.settings()?;
        let (key, draft) = (&mut work.key, &mut work.draft);
        key.read(packet, &headers)?;
        let Headers { tcp_flags, payload, .. } = headers;
        let flow = Flow { key, settings, now, tcp_flags, payload };
        let entry = tables.conn(Stage::Embryo, flow.key)?;
        if entry.kind == conn_kind::FORWARD {
            promote(tables, &flow, &entry, draft);
        }
        Some(())
    });
    tables.hand_over(Headers { again: true, ..headers });
    Verdict::goes_on(Action::Track)
}

/// The client goes on, which ends a handshake: the flow moves to the main table. Until that worked it
/// stays.
#[cfg_attr(target_arch = "bpf", inline(never))]
fn promote<T: Tables>(tables: &T, flow: &Flow<'_>, entry: &SharedConn, draft: &mut Draft) -> Done {
    const SHIFT: u32 = conn_flag::DIRECT.trailing_zeros() - conn_flag::SINGLE.trailing_zeros();
    let connects = flow.protocol() == protocol::TCP;
    let state = if connects {
        // The backend may have ended its side before.
        let state = entry.state.max(conn_state::ESTABLISHED);
        next_state(state, conn_kind::FORWARD, flow.tcp_flags)
    } else {
        entry.state
    };
    let (backend, single) = (entry.backend, entry.flags & conn_flag::SINGLE != 0);
    let ends = is_open(entry.state, entry.flags) && !is_open(state, entry.flags);
    draft.conn = **entry;
    // Without a branch, which the verifier would follow both ways.
    draft.conn.flags &= !conn_flag::SINGLE | (draft.conn.flags & conn_flag::DIRECT) >> SHIFT;
    draft.conn.state = state;
    if connects {
        tables.flow_met(false);
        requests::shaken(tables, flow.payload, &mut draft.conn);
    }
    let (flags, turn_us) = (draft.conn.flags, draft.conn.turn_us);
    if insert_over(tables, Stage::Conn, flow.key, &draft.conn)
        && (flags & conn_flag::DIRECT != 0 || insert_reply(tables, flow, Stage::Conn, draft))
    {
        tables.remove_conn(Stage::Embryo, flow.key);
        if !single {
            tables.remove_conn(Stage::Embryo, &draft.key);
        }
    } else {
        entry.set_state(state, flow.now);
        let single = if single { conn_flag::SINGLE } else { 0 };
        entry.set_turn(flags | single, turn_us);
    }
    if ends {
        tables.flow_ends(backend);
    }
    Done::default()
}
