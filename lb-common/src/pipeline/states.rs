//! How far a flow has come, and what a packet makes of that.

use crate::{
    abi::flow::{conn_flag, conn_kind, conn_state},
    wire::tcp_flag,
};

/// Whether a flow in this state counts among its backend's. Where the backend's own FIN is never seen,
/// the client's has to do.
#[inline]
#[must_use]
pub const fn is_open(state: u8, flags: u16) -> bool {
    // Without a branch, which the verifier would follow both ways.
    const SHIFT: u32 = conn_flag::DIRECT.trailing_zeros() - 1;
    const _: () = assert!(conn_state::CLOSED - conn_state::FIN_CLIENT == 2);
    state < conn_state::CLOSED - ((flags & conn_flag::DIRECT) >> SHIFT) as u8
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
