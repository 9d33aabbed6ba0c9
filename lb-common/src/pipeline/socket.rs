//! Clients that are processes of the balancer's own host: their packets meet no hook on the way
//! out, so the balancer translates where they name their peer, at the socket.
//!
//! * A socket that connects gets a backend's address in place of the VIP. It keeps it for as long
//!   as it is connected, whatever becomes of the backend: its packets are the host's own, and no
//!   flow table knows them.
//! * A datagram that is sent without a connection goes to the backend that the socket's datagrams
//!   to this VIP had before, unless that is gone or down, or the socket was silent for too long.
//! * Whoever asks the socket for its peer, or receives a datagram, is told the VIP.
//!
//! A socket has no source address yet when it dials. One that is bound to an address has that one;
//! any other counts as the loopback address of its family, for source allow lists, affinity and
//! hashing alike: the host is one client. Its cookie stands for its port.
//!
//! Nothing tells when such a flow ends: it counts as a flow begun, never as an open one, and
//! policies that compare loads do not see it.

use super::{
    Flow,
    choose::choose,
    conntrack::idle,
    flow_key::FlowKey,
    limit,
    select::NOBODY,
    verdict::{Class, Reason},
};
use crate::{
    abi::{
        address::Address,
        backend::backend_state,
        settings::Settings,
        socket::{SocketKey, SocketPeer, socket_kind},
    },
    tables::Sockets,
    wire::tcp_flag,
};

/// A socket names its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The socket's cookie.
    pub cookie: u64,
    /// The address it is bound to, or an unspecified one.
    pub source: Address,
    /// The peer's address.
    pub address: Address,
    /// The peer's port, network byte order.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Low half of the jiffies.
    pub now: u32,
}

/// What becomes of a call. [`Reason::Forwarded`]: it goes to this backend. A reason that drops
/// packets refuses the call, one that passes them leaves it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Why.
    pub reason: Reason,
    /// The backend's port, network byte order.
    pub port: u16,
    /// The backend's address.
    pub address: Address,
}

impl Answer {
    #[inline]
    fn ended(reason: Reason) -> Self {
        Self { reason, port: 0, address: Address::default() }
    }
}

/// A stream, or a socket for datagrams, is connected.
#[inline]
pub fn connect<T: Sockets>(tables: &T, call: &Call) -> Answer {
    if !tables.port_in_use(call.protocol, 0, call.port) {
        return Answer::ended(Reason::NotService);
    }
    let mut peer = SocketPeer::default();
    let reason = dial(tables, call, &mut peer);
    conclude(tables, call, &peer, reason, false)
}

/// A datagram is sent to an address.
#[inline]
pub fn send<T: Sockets>(tables: &T, call: &Call) -> Answer {
    if !tables.port_in_use(call.protocol, 0, call.port) {
        return Answer::ended(Reason::NotService);
    }
    let mut peer = SocketPeer::default();
    let reason = match recall(tables, call, &mut peer) {
        Memory::Fresh => return answer(&peer),
        Memory::Stale => Reason::Forwarded,
        Memory::None => dial(tables, call, &mut peer),
    };
    conclude(tables, call, &peer, reason, true)
}

/// Remembers where the call goes, and says so; or says why it goes nowhere.
#[inline]
fn conclude<T: Sockets>(
    tables: &T,
    call: &Call,
    peer: &SocketPeer,
    reason: Reason,
    keep: bool,
) -> Answer {
    if reason != Reason::Forwarded {
        ended(tables, reason)
    } else if remember(tables, call, peer, keep) {
        answer(peer)
    } else {
        ended(tables, Reason::TableFull)
    }
}

/// What is remembered of a socket's datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Memory {
    /// Nothing that holds.
    None,
    /// Their backend, stamped less than a second ago.
    Fresh,
    /// Their backend. Written once a second it is enough to know an idle socket, and to restore
    /// the way back where that had to make room.
    Stale,
}

/// Finds the backend of the socket's datagrams, unless it is time for another one.
///
/// This and the next one are functions of their own in the kernel: what they hold is off the stack
/// again when a backend is chosen.
#[cfg_attr(target_arch = "bpf", inline(never))]
fn recall<T: Sockets>(tables: &T, call: &Call, peer: &mut SocketPeer) -> Memory {
    let key = key(call, call.address, call.port, socket_kind::BACKEND);
    let (Some(found), Some(settings)) = (tables.socket(&key), tables.settings()) else {
        return Memory::None;
    };
    if !keeps(tables, settings, &found, call.now) {
        return Memory::None;
    }
    *peer = found;
    if idle(call.now, found.last_seen) < settings.ticks_per_second {
        return Memory::Fresh;
    }
    peer.last_seen = call.now;
    Memory::Stale
}

/// Remembers which VIP the peer stands for, and which peer the next datagrams go to. `false` if
/// there is no room.
#[cfg_attr(target_arch = "bpf", inline(never))]
fn remember<T: Sockets>(tables: &T, call: &Call, peer: &SocketPeer, keep: bool) -> bool {
    let vip = SocketPeer { address: call.address, port: call.port, ..*peer };
    let known = tables.set_socket(&key(call, peer.address, peer.port, socket_kind::VIP), &vip);
    let backend = key(call, call.address, call.port, socket_kind::BACKEND);
    known && (!keep || tables.set_socket(&backend, peer))
}

#[inline]
const fn answer(peer: &SocketPeer) -> Answer {
    Answer { reason: Reason::Forwarded, port: peer.port, address: peer.address }
}

/// The VIP that the socket dialled to reach a peer: what to call the peer by.
#[inline]
pub fn name<T: Sockets>(tables: &T, call: &Call) -> Option<(Address, u16)> {
    if !tables.port_in_use(call.protocol, call.port, 0) {
        return None;
    }
    let vip = tables.socket(&key(call, call.address, call.port, socket_kind::VIP))?;
    Some((vip.address, vip.port))
}

#[inline]
const fn key(call: &Call, address: Address, port: u16, kind: u16) -> SocketKey {
    SocketKey { cookie: call.cookie, address, port, kind, zero: 0 }
}

/// A reason that is no service's business is not counted: the host makes many calls.
#[inline]
fn ended<T: Sockets>(tables: &T, reason: Reason) -> Answer {
    if reason.class() == Class::Drop {
        tables.refused(reason);
    }
    Answer::ended(reason)
}

/// Finds service and backend, and counts the flow that begins. Any reason but
/// [`Reason::Forwarded`] leaves `peer` alone.
#[inline]
fn dial<T: Sockets>(tables: &T, call: &Call, peer: &mut SocketPeer) -> Reason {
    let Some(settings) = tables.settings() else { return Reason::TableFault };
    let source = (source(call), call.cookie as u16);
    // An IPv6 socket dials IPv4 by IPv4-mapped addresses.
    let v6 = !call.address.is_v4();
    let key = FlowKey::new(v6, source, (call.address, call.port), call.protocol);
    let flow =
        Flow { key: &key, settings, now: call.now, tcp_flags: tcp_flag::SYN, payload: false };
    let refused = limit::refused(tables, &flow);
    if refused != Reason::Forwarded {
        return refused;
    }
    let choice = choose(tables, &flow, false, true);
    if choice.backend == NOBODY {
        return choice.why_not().unwrap_or(Reason::TableFault);
    }
    let Some(backend) = tables.backend(choice.backend) else { return Reason::TableFault };
    // A socket cannot be led to the other family.
    if backend.address.is_v4() != call.address.is_v4() {
        return Reason::NotTranslated;
    }
    tables.dialled(choice.service, choice.backend);
    peer.address = backend.address;
    // Port 0 keeps the one that the client asked for.
    peer.port = if backend.port == 0 { call.port } else { backend.port };
    peer.backend = choice.backend;
    peer.generation = backend.generation;
    peer.last_seen = call.now;
    Reason::Forwarded
}

/// The client that a socket counts as.
#[inline]
fn source(call: &Call) -> Address {
    let [a, b, c, d] = call.source.words;
    let is_bound = if call.source.is_v4() { d != 0 } else { a | b | c | d != 0 };
    if is_bound {
        call.source
    } else if call.address.is_v4() {
        Address::from_v4([127, 0, 0, 1])
    } else {
        Address { words: [0, 0, 0, 1_u32.to_be()] }
    }
}

/// Whether a socket's next datagram goes where the last one went.
#[inline]
fn keeps<T: Sockets>(tables: &T, settings: &Settings, peer: &SocketPeer, now: u32) -> bool {
    let Some(backend) = tables.backend(peer.backend) else { return false };
    backend.generation == peer.generation
        && matches!(backend.state, backend_state::UP | backend_state::CLOSED)
        && idle(now, peer.last_seen) <= settings.udp_established_ticks
}
