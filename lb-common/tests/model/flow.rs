//! What is remembered of a flow.

use std::net::SocketAddr;

use super::{
    config::{Ports, Timeouts, Tunnel},
    frame::Segment,
};

/// How far a flow has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    New,
    Established,
    /// The client has no more to say.
    ClientDone,
    /// The backend has not.
    BackendDone,
    Closed,
}

/// Whose packet it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Backend,
}

/// Where the client's packets come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// `None`: its frames are tagged, the host's stack has to answer them.
    pub link: Option<u32>,
    /// Destination and source of frames to it.
    pub macs: ([u8; 6], [u8; 6]),
}

#[derive(Clone, Debug)]
pub struct Flow {
    pub udp: bool,
    pub client: SocketAddr,
    pub vip: SocketAddr,
    pub backend: SocketAddr,
    /// The client as the backend sees it.
    pub seen_as: SocketAddr,
    pub service: u32,
    pub id: u32,
    pub generation: u32,
    pub phase: Phase,
    /// The client has sent its first packet only, or nothing but SYNs.
    pub handshake: bool,
    /// During the handshake one time serves for both sides.
    pub alone: bool,
    /// When it was opened.
    pub begun: u32,
    /// When client and backend were last heard.
    pub heard: [u32; 2],
    pub came_by: Client,
    /// Its requests are counted.
    pub counted: bool,
    /// The backend answers past the balancer.
    pub direct: bool,
    /// What its packets travel in.
    pub tunnel: Option<Tunnel>,
    /// It leaves from one of these ports of ours, 0 until one was seen.
    pub ports: Option<Ports>,
    /// It has ended for its client, and nobody has told whatever holds its port.
    pub orphan: bool,
    /// Since when the backend is to answer, in microseconds.
    pub waiting: Option<u32>,
}

/// Ticks from one time to another; clocks wrap, and of two CPUs one may be ahead.
pub fn elapsed(since: u32, now: u32) -> u32 {
    let elapsed = now.wrapping_sub(since);
    if elapsed >= 1 << 31 { 0 } else { elapsed }
}

impl Flow {
    /// Whose packet this is, if it is of this flow.
    pub fn side_of(&self, packet: &Segment) -> Option<Side> {
        if self.udp != packet.udp {
            None
        } else if !self.orphan && (packet.from, packet.to) == (self.client, self.vip) {
            Some(Side::Client)
        } else if self.answers() && (packet.from, packet.to) == (self.backend, self.seen_as) {
            Some(Side::Backend)
        } else {
            None
        }
    }

    /// Whether its backend's packets are known.
    fn answers(&self) -> bool {
        !self.direct && (self.ports.is_none() || self.port().is_some())
    }

    /// The port of ours that its backend sees.
    pub fn port(&self) -> Option<u16> {
        Some(self.seen_as.port()).filter(|port| self.ports.is_some() && *port != 0)
    }

    /// Whether it counts among its backend's: until both sides are done, as far as they can be heard.
    pub fn is_open(&self) -> bool {
        match self.phase {
            _ if self.orphan => false,
            Phase::New | Phase::Established => true,
            Phase::ClientDone | Phase::BackendDone => !self.direct,
            Phase::Closed => false,
        }
    }

    /// Whether nothing was heard for too long from where this packet comes.
    pub fn is_over(&self, side: Side, times: &Timeouts, now: u32) -> bool {
        let limit = match (self.udp, self.phase) {
            (true, Phase::New) => times.udp_new,
            (true, _) => times.udp_established,
            (false, Phase::Closed) => times.tcp_closed,
            (false, _) if self.handshake => times.tcp_new,
            (false, Phase::New) => times.tcp_new,
            (false, Phase::Established) => times.tcp_established,
            (false, Phase::ClientDone | Phase::BackendDone) => times.tcp_half_closed,
        };
        elapsed(self.heard[self.ear(side)], now) > limit
    }

    /// A packet of this side was heard.
    pub fn hear(&mut self, side: Side, now: u32) {
        // By full NAT a flow lasts while either side speaks.
        if self.ports.is_some() {
            self.heard = [now; 2];
        }
        let ear = self.ear(side);
        self.heard[ear] = now;
    }

    fn ear(&self, side: Side) -> usize {
        usize::from(side == Side::Backend && !(self.handshake && self.alone))
    }

    /// The phase after a packet.
    pub fn next_phase(&self, side: Side, packet: &Segment) -> Phase {
        use super::frame::{FIN, RST};
        if self.udp {
            return if side == Side::Backend { Phase::Established } else { self.phase };
        }
        if packet.flags & RST != 0 {
            return Phase::Closed;
        }
        if packet.flags & FIN == 0 {
            return self.phase;
        }
        match (self.phase, side) {
            (Phase::Closed, _)
            | (Phase::BackendDone, Side::Client)
            | (Phase::ClientDone, Side::Backend) => Phase::Closed,
            (_, Side::Client) => Phase::ClientDone,
            (_, Side::Backend) => Phase::BackendDone,
        }
    }
}
