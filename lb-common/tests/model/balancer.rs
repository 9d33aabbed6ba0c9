//! What becomes of a packet.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use super::{
    Fate, Outcome,
    config::{Backend, Config, Policy, Service, State, Way},
    errors::left,
    flow::{Client, Flow, Phase, Side, elapsed},
    frame::{self, ACK, FIN, RST, SYN, Segment},
    message, translation,
};

/// A frame as it arrives.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    pub bytes: &'a [u8],
    pub link: u32,
    pub now: u32,
    pub micros: u32,
    pub clock: Clock,
}

/// What buckets of messages go by.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// Nanoseconds.
    At(u64),
    /// A clock that nobody else sees; whether there was a message.
    Told(bool),
}

/// Packets and bytes of a service or a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub flows: u64,
    pub packets_in: u64,
    pub bytes_in: u64,
    pub packets_out: u64,
    pub bytes_out: u64,
}

/// What a first fragment says: its ports, whether it is of UDP, and when it came.
pub type First = (u16, u16, bool, u32);

/// What was learned of a backend: its id, what, and after how many microseconds.
pub type Heard = (u32, &'static str, u32);

#[derive(Debug)]
pub struct Balancer {
    pub config: Config,
    pub flows: Vec<Flow>,
    /// Which address a backend's answers to handshakes stand for: that of its first flow.
    pub origins: BTreeMap<SocketAddr, SocketAddr>,
    pub affinities: BTreeMap<(IpAddr, u32), (u32, u32, u32)>,
    pub turns: BTreeMap<(u32, bool), u64>,
    pub hashed: BTreeMap<(u32, SocketAddr, Option<SocketAddr>), u32>,
    pub reasons: BTreeMap<&'static str, u64>,
    pub services: BTreeMap<u32, Traffic>,
    pub backends: BTreeMap<u32, Traffic>,
    pub heard: Vec<Heard>,
    /// What the first fragments of packets said: their ports and protocol, and when.
    pub firsts: BTreeMap<(IpAddr, IpAddr, (u32, u8)), First>,
    /// How empty the bucket of a source is, and that of everybody, in nanoseconds, and since when.
    pub buckets: BTreeMap<Option<u128>, (u64, u64)>,
}

/// How long a bucket of messages takes for one, and how long until it is full: of a source, and of all.
const SOURCE_MESSAGES: (u64, u64) = (100_000_000, 1_000_000_000);
const ALL_MESSAGES: (u64, u64) = (1_000_000, 50_000_000);

/// What the tables say (`ticks_per_second`).
const TICKS_PER_SECOND: u32 = 100;

/// Why a packet ends without being sent on, and whom that is about.
type End = (&'static str, u32, u32);

/// Why a packet ended, what became of it, whom that is about, and the frame.
pub type Ended = (&'static str, Fate, (u32, u32), Vec<u8>);

impl Balancer {
    pub fn new(config: Config) -> Self {
        Self {
            config,
            flows: Vec::new(),
            origins: BTreeMap::new(),
            affinities: BTreeMap::new(),
            turns: BTreeMap::new(),
            hashed: BTreeMap::new(),
            reasons: BTreeMap::new(),
            services: BTreeMap::new(),
            backends: BTreeMap::new(),
            heard: Vec::new(),
            firsts: BTreeMap::new(),
            buckets: BTreeMap::new(),
        }
    }

    /// Other settings from here on. What a hash chose is forgotten.
    pub fn reconfigure(&mut self, config: Config) {
        self.config = config;
        self.hashed.clear();
    }

    /// The flows of a backend that have not ended.
    pub fn flows_of(&self, id: u32) -> u64 {
        self.flows.iter().filter(|flow| flow.id == id && flow.is_open()).count() as u64
    }

    /// Whether a packet would make a second flow of one client's port by another service address. If
    /// both went to one backend their answers would look alike, and nobody could tell them apart. Or whether it is
    /// about a port of ours that nobody has seen.
    pub fn cannot_tell(&self, frame: &[u8]) -> bool {
        if self.is_about_either(frame) {
            return true;
        }
        let Ok(packet) = frame::read(frame) else { return false };
        let other = |flow: &Flow| {
            let same = (flow.udp, flow.client) == (packet.udp, packet.from);
            same && flow.vip != packet.to && flow.ports.is_none()
        };
        let known = |flow: &Flow| flow.side_of(&packet).is_some();
        self.flows.iter().any(other) && !self.flows.iter().any(known)
    }

    /// The requests that a backend is to answer.
    pub fn requests_of(&self, id: u32) -> u64 {
        self.flows.iter().filter(|flow| flow.id == id && flow.waiting.is_some()).count() as u64
    }

    /// What becomes of a packet, whose backend and port are chosen as was `told`, if they may be.
    pub fn take(&mut self, arrival: &Arrival<'_>, told: &Outcome) -> Result<Outcome, String> {
        let read = frame::read(arrival.bytes).and_then(|packet| self.whole(packet, arrival.now));
        let (reason, fate, (service, backend), bytes) = match read {
            Err("icmp") => self.error(arrival),
            Err(reason) => left(arrival, reason),
            Ok(packet) => match self.segment(arrival, &packet, told)? {
                Ok((side, flow)) => {
                    let flow = self.adopt(flow, side, told)?;
                    self.sent(arrival, &packet, side, &flow)
                }
                Err(end) => self.ended(arrival, &packet, end),
            },
        };
        self.count(reason, service, backend, arrival.bytes.len() as u64);
        Ok(Outcome { reason, fate, service, backend, bytes })
    }

    /// A packet of a flow.
    fn sent(&self, arrival: &Arrival<'_>, packet: &Segment, side: Side, flow: &Flow) -> Ended {
        let whom = (flow.service, flow.id);
        if self.is_stranded(arrival, packet.tagged, side, flow) {
            return ("no-way", Fate::Drop, whom, arrival.bytes.to_vec());
        }
        let fate = self.fate(arrival, packet.tagged, side, flow);
        if let Some(tunnel) = flow.tunnel {
            let at = (packet.ip, Some(packet));
            let (reason, fate, bytes) = self.wrapped(arrival, at, flow, tunnel, fate);
            return (reason, fate, whom, bytes);
        }
        let across = flow.client.is_ipv4() != flow.backend.is_ipv4();
        if across && !translation::can(arrival.bytes, packet) {
            return ("not-translated", Fate::Drop, whom, arrival.bytes.to_vec());
        }
        let bytes = self.translated(arrival, packet, side, flow, fate);
        (if side == Side::Client { "forwarded" } else { "replied" }, fate, whom, bytes)
    }

    /// A packet that is not sent on.
    fn ended(
        &mut self,
        arrival: &Arrival<'_>,
        packet: &Segment,
        (reason, service, backend): End,
    ) -> Ended {
        let whom = (service, backend);
        let unserved = matches!(reason, "no-backend" | "backend-gone") && !packet.later();
        if unserved && !packet.udp && packet.flags & RST == 0 {
            return (reason, Fate::Return, whom, frame::reset(arrival.bytes, packet));
        }
        if unserved && packet.udp && self.tells(arrival, packet) {
            let quoted = (packet.end - packet.ip).min(128) / 4 * 4;
            let says = message::NOBODY_THERE;
            let bytes = message::message(arrival.bytes, packet.ip, quoted, says);
            return (reason, Fate::Return, whom, bytes);
        }
        let drops = ["source-denied", "no-backend", "backend-gone", "no-way", "no-port"];
        let fate = if drops.contains(&reason) { Fate::Drop } else { Fate::Pass };
        (reason, fate, whom, arrival.bytes.to_vec())
    }

    /// Whether the sender of a datagram for nobody is told: one host, by a frame for one (RFC 1122, 3.2.2;
    /// RFC 4443, 2.4 (e)), and not too often.
    fn tells(&mut self, arrival: &Arrival<'_>, packet: &Segment) -> bool {
        let own = match packet.from.ip() {
            IpAddr::V4(v4) => matches!(v4.octets()[0], 0 | 127 | 224..),
            IpAddr::V6(v6) => v6.is_multicast() || v6.segments()[..6] == [0; 6],
        };
        let group = match packet.to.ip() {
            IpAddr::V4(v4) => v4.octets()[0] >= 224,
            IpAddr::V6(v6) => v6.is_multicast(),
        };
        if own || group || arrival.bytes[0] & 1 == 1 {
            return false;
        }
        let nanos = match arrival.clock {
            Clock::Told(told) => return told,
            Clock::At(nanos) => nanos,
        };
        // Of IPv6 the network counts.
        let source = match packet.from.ip() {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
        };
        self.drains(Some(source), SOURCE_MESSAGES, nanos) && self.drains(None, ALL_MESSAGES, nanos)
    }

    /// Takes one out of a bucket, if there is one.
    fn drains(&mut self, of: Option<u128>, (each, full): (u64, u64), nanos: u64) -> bool {
        let (missing, since) = self.buckets.get(&of).copied().unwrap_or((0, nanos));
        let missing = missing.saturating_sub(nanos - since);
        let there = missing <= full;
        self.buckets.insert(of, (missing + if there { each } else { 0 }, nanos));
        there
    }

    /// A packet with its ports; those of a later fragment are the first one's, for thirty seconds.
    fn whole(&mut self, packet: Segment, now: u32) -> Result<Segment, &'static str> {
        let Some(piece) = packet.piece else { return Ok(packet) };
        let key = (packet.from.ip(), packet.to.ip(), piece.of);
        if !piece.later {
            if self.config.knows_port(packet.udp, packet.from.port(), packet.to.port()) {
                let first = (packet.from.port(), packet.to.port(), packet.udp, now);
                self.firsts.insert(key, first);
            }
            return Ok(packet);
        }
        let Some((from, to, udp, seen)) = self.firsts.get(&key).copied() else {
            return Err("fragment");
        };
        if elapsed(seen, now) > 30 * TICKS_PER_SECOND {
            return Err("fragment");
        }
        let from = SocketAddr::new(packet.from.ip(), from);
        Ok(Segment { from, to: SocketAddr::new(packet.to.ip(), to), udp, ..packet })
    }

    fn count(&mut self, reason: &'static str, service: u32, backend: u32, bytes: u64) {
        *self.reasons.entry(reason).or_default() += 1;
        for traffic in
            [self.services.entry(service).or_default(), self.backends.entry(backend).or_default()]
        {
            match reason {
                "forwarded" => {
                    traffic.packets_in += 1;
                    traffic.bytes_in += bytes;
                }
                "replied" => {
                    traffic.packets_out += 1;
                    traffic.bytes_out += bytes;
                }
                _ => {}
            }
        }
    }

    /// A segment of TCP or UDP: the flow that it is sent on by, or its end.
    fn segment(
        &mut self,
        arrival: &Arrival<'_>,
        packet: &Segment,
        told: &Outcome,
    ) -> Result<Result<(Side, Flow), End>, String> {
        if !self.config.knows_port(packet.udp, packet.from.port(), packet.to.port()) {
            return Ok(Err(("not-service", 0, 0)));
        }
        let recorded = match self.recall(arrival, packet) {
            Err(end) => return Ok(Err(end)),
            Ok(recorded) => recorded,
        };
        let (side, flow) = match recorded {
            Some((side, at)) => (side, self.flows[at].clone()),
            // Only who has ports opens a flow.
            None if packet.later() => return Ok(Err(("fragment", 0, 0))),
            None => match self.open(arrival, packet, told)? {
                Ok(flow) => (Side::Client, flow),
                Err(end) => return Ok(Err(end)),
            },
        };
        if packet.hops <= 1 {
            return Ok(Err(("hop-limit", flow.service, flow.id)));
        }
        Ok(Ok((side, flow)))
    }

    /// The recorded flow of a packet, with all that the packet changes in it.
    fn recall(
        &mut self,
        arrival: &Arrival<'_>,
        packet: &Segment,
    ) -> Result<Option<(Side, usize)>, End> {
        let now = arrival.now;
        let of = |(at, flow): (usize, &Flow)| flow.side_of(packet).map(|side| (side, at));
        let Some((side, at)) = self.flows.iter().enumerate().find_map(of) else { return Ok(None) };
        let flow = &self.flows[at];
        // A handshake is answered by ACK or RST; a bare SYN begins a connection of the backend's own.
        if side == Side::Backend && flow.handshake && dials(packet) {
            return Ok(None);
        }
        let over = flow.is_over(side, &self.config.timeouts, now);
        // Late answers to a handshake that only its client's packets keep: nobody asked for them.
        if over && side == Side::Backend && flow.handshake && flow.alone {
            return Ok(None);
        }
        // Nobody opens a connection that has begun to close, or that is open for longer than a handshake
        // may take: this answer is to a packet past us.
        let shakes = packet.flags & (SYN | ACK) == SYN | ACK;
        let open = matches!(flow.phase, Phase::New | Phase::Established);
        let closing = !open || elapsed(flow.begun, now) > self.config.timeouts.tcp_new;
        let strange = side == Side::Backend && !packet.udp && !flow.handshake && shakes && closing;
        if over || strange {
            self.end(side, at);
            return if side == Side::Backend { Err(("stale-reply", 0, 0)) } else { Ok(None) };
        }
        self.flows[at].hear(side, now);
        if self.flows[at].orphan {
            self.flows.remove(at);
            return Err(("stale-reply", 0, 0));
        }
        match side {
            Side::Backend => self.turn(arrival, packet, side, at),
            Side::Client => {
                if let Some(why) = self.leaves(packet, at) {
                    let flow = self.end(side, at);
                    let end = Err((why, flow.service, flow.id));
                    return if opens(packet) && !packet.later() { Ok(None) } else { end };
                }
                self.flows[at].came_by = came_by(arrival, packet);
                let flow = &self.flows[at];
                if flow.handshake && !dials(packet) && flow.phase != Phase::Closed {
                    self.establish(arrival, packet, at);
                }
                self.turn(arrival, packet, side, at);
            }
        }
        Ok(Some((side, at)))
    }

    /// Why a client's packet does not go on by the flow that is recorded for it.
    fn leaves(&self, packet: &Segment, at: usize) -> Option<&'static str> {
        let flow = &self.flows[at];
        let backend = &self.config.backends[&flow.id];
        let closing = !matches!(flow.phase, Phase::New | Phase::Established);
        let used_again = opens(packet) && closing && !flow.udp;
        let gone = backend.state == State::Absent
            || backend.generation != flow.generation
            || self.has_lost_source(flow);
        let elsewhere = opens(packet)
            && match (flow.udp, flow.handshake) {
                (true, _) => backend.state == State::Down,
                (false, true) => backend.state != State::Up,
                (false, false) => false,
            };
        (used_again || gone || elsewhere).then_some("backend-gone")
    }

    /// The client's second packet: its first one after a SYN.
    fn establish(&mut self, arrival: &Arrival<'_>, packet: &Segment, at: usize) {
        let flow = &mut self.flows[at];
        (flow.handshake, flow.alone) = (false, false);
        flow.heard = [arrival.now; 2];
        // Whether a datagram flow is established only its backend can tell.
        if flow.udp {
            return;
        }
        if flow.phase == Phase::New {
            flow.phase = Phase::Established;
        }
        flow.phase = flow.next_phase(Side::Client, packet);
        (flow.handshake, flow.alone) = (false, false);
        flow.heard = [arrival.now; 2];
        if flow.waiting.is_some() && !flow.direct {
            flow.waiting = packet.data.then_some(arrival.micros);
        }
    }

    /// Any other packet of a recorded flow.
    fn turn(&mut self, arrival: &Arrival<'_>, packet: &Segment, side: Side, at: usize) {
        self.request(arrival, packet, side, at);
        let flow = &mut self.flows[at];
        let phase = flow.next_phase(side, packet);
        if phase != flow.phase {
            flow.phase = phase;
            flow.heard = [arrival.now; 2];
        }
    }

    /// A request is in flight from its first byte to the first byte of the answer.
    fn request(&mut self, arrival: &Arrival<'_>, packet: &Segment, side: Side, at: usize) {
        let flow = &mut self.flows[at];
        if !flow.counted {
            return;
        }
        let sets = |flags: u8| packet.flags & flags != 0;
        if flow.direct && flow.waiting.is_none() {
            return;
        }
        let Some(since) = flow.waiting else {
            if side == Side::Client && packet.data {
                flow.waiting = Some(arrival.micros);
            }
            return;
        };
        let (learned, ends) = match side {
            Side::Client if sets(RST) || flow.direct && sets(FIN) => (None, true),
            Side::Client if sets(SYN) => (Some("repeated"), false),
            Side::Backend if packet.data => (Some("first-byte"), true),
            Side::Backend if flow.handshake && sets(RST) => (Some("refused"), true),
            Side::Backend if flow.handshake && sets(SYN) => (Some("handshake"), false),
            Side::Backend if !flow.handshake && sets(FIN | RST) => (Some("reset"), true),
            Side::Client | Side::Backend => (None, false),
        };
        if let Some(what) = learned {
            self.heard.push((flow.id, what, arrival.micros.wrapping_sub(since)));
        }
        if ends {
            flow.waiting = None;
            // Of datagrams the first answer ends the only turn.
            flow.counted = !flow.udp;
        }
    }

    /// The first packet of a flow.
    fn open(
        &mut self,
        arrival: &Arrival<'_>,
        packet: &Segment,
        told: &Outcome,
    ) -> Result<Result<Flow, End>, String> {
        let chosen = told.backend;
        // Addresses of IPv4 written as those of IPv6 do not travel (RFC 4291, 2.5.5.2).
        let mapped =
            |at: SocketAddr| matches!(at.ip(), IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
        let service = self.config.service_of(packet.to, packet.udp).cloned();
        let Some(service) = service.filter(|_| !mapped(packet.from) && !mapped(packet.to)) else {
            return Ok(Err(("no-listener", 0, 0)));
        };
        if !service.admits(packet.from.ip()) {
            return Ok(Err(("source-denied", service.id, 0)));
        }
        let way = (packet.from, packet.to);
        let candidates = self.candidates(&service, way, opens(packet), arrival.now);
        if candidates.is_empty() {
            return Ok(Err(("no-backend", service.id, 0)));
        }
        if !candidates.contains(&chosen) {
            return Err(format!("{chosen} was chosen, of {candidates:?} ({:?})", service.policy));
        }
        let backend = self.config.backends[&chosen];
        self.remember(&service, packet, chosen, arrival.now);
        if packet.hops <= 1 {
            return Ok(Err(("hop-limit", service.id, chosen)));
        }
        let flow = self.begin(arrival, packet, &service, (chosen, backend));
        if flow.ports.is_some() {
            // Nothing is kept of what cannot leave.
            let stranded = self.is_stranded(arrival, packet.tagged, Side::Client, &flow);
            let no_way = stranded.then_some("no-way");
            let no_port = || self.no_port((flow.udp, flow.backend), &backend, told);
            if let Some(why) = no_way.or_else(no_port) {
                return Ok(Err((why, service.id, chosen)));
            }
        }
        self.services.entry(service.id).or_default().flows += 1;
        self.backends.entry(chosen).or_default().flows += 1;
        self.flows.push(flow.clone());
        Ok(Ok(flow))
    }

    fn remember(&mut self, service: &Service, packet: &Segment, chosen: u32, now: u32) {
        let generation = self.config.backends[&chosen].generation;
        if service.affinity.is_some() {
            let kept = (chosen, generation, now);
            self.affinities.insert((packet.from.ip(), service.id), kept);
            return;
        }
        // Only what a hash has chosen is chosen again.
        let by_hash = matches!(service.policy, Policy::Maglev | Policy::SourceHash);
        if !by_hash && opens(packet) {
            return;
        }
        let client = SocketAddr::new(packet.from.ip(), 0);
        self.hashed.insert((service.id, packet.from, Some(packet.to)), chosen);
        self.hashed.insert((service.id, client, None), chosen);
    }

    fn begin(
        &mut self,
        arrival: &Arrival<'_>,
        packet: &Segment,
        service: &Service,
        (id, backend): (u32, Backend),
    ) -> Flow {
        let port = if backend.port == 0 { packet.to.port() } else { backend.port };
        let direct = service.direct;
        let at = if direct { packet.to } else { SocketAddr::new(backend.address, port) };
        let full_nat = service.full_nat;
        let calls_itself = !direct && !full_nat && backend.address == packet.from.ip();
        let (v4, v6) = self.config.hairpin;
        let hairpin = if packet.from.is_ipv4() { v4 } else { v6 };
        let seen_as = match (full_nat, calls_itself) {
            (true, _) => SocketAddr::new(backend.source, 0),
            (false, true) => SocketAddr::new(hairpin, packet.from.port()),
            (false, false) => packet.from,
        };
        let turned = calls_itself || full_nat;
        let alone = !turned && !direct && *self.origins.entry(at).or_insert(packet.to) == packet.to;
        Flow {
            udp: packet.udp,
            client: packet.from,
            vip: packet.to,
            backend: at,
            seen_as,
            service: service.id,
            id,
            generation: backend.generation,
            phase: Phase::New,
            handshake: true,
            alone,
            begun: arrival.now,
            heard: [arrival.now; 2],
            came_by: came_by(arrival, packet),
            counted: service.counts_requests,
            direct,
            tunnel: service.tunnel,
            ports: full_nat.then_some(self.config.ports),
            orphan: false,
            waiting: service.counts_requests.then_some(arrival.micros),
        }
    }

    /// Whether only the stack could send a packet on that keeps the VIP: it would come back. Nor does the stack take
    /// one from an address of its own.
    pub fn is_stranded(
        &self,
        arrival: &Arrival<'_>,
        tagged: bool,
        side: Side,
        flow: &Flow,
    ) -> bool {
        let own = flow.ports.is_some() && side == Side::Client;
        (flow.direct || own) && self.fate(arrival, tagged, side, flow) == Fate::Pass
    }

    /// Which way a packet of a flow goes.
    pub fn fate(&self, arrival: &Arrival<'_>, tagged: bool, side: Side, flow: &Flow) -> Fate {
        let out = match side {
            Side::Backend => flow.came_by.link.map_or(Way::Stack, Way::Link),
            Side::Client => self.config.backends[&flow.id].way,
        };
        match out {
            Way::Stack => Fate::Pass,
            // Only the stack takes a tag off, and only it puts one on.
            Way::Link(_) if tagged && side == Side::Backend => Fate::Pass,
            Way::Link(link) | Way::Inside(link) if tagged && link != arrival.link => Fate::Pass,
            Way::Inside(link) => Fate::Inside(link),
            Way::Link(link) if link == arrival.link => Fate::Return,
            Way::Link(link) => Fate::Link(link),
        }
    }

    fn translated(
        &self,
        arrival: &Arrival<'_>,
        packet: &Segment,
        side: Side,
        flow: &Flow,
        fate: Fate,
    ) -> Vec<u8> {
        let (addresses, macs) = match side {
            Side::Client => ((flow.seen_as, flow.backend), self.config.backends[&flow.id].macs),
            Side::Backend => ((flow.vip, flow.client), flow.came_by.macs),
        };
        let macs = (fate != Fate::Pass).then_some(macs);
        if addresses.0.is_ipv4() != packet.from.is_ipv4() {
            return translation::translated(arrival.bytes, packet, addresses, macs);
        }
        frame::rewritten(arrival.bytes, packet, addresses, macs)
    }
}

/// Whether a packet may open a flow: a datagram, or a SYN without ACK.
fn opens(packet: &Segment) -> bool {
    packet.udp || packet.flags & (SYN | ACK) == SYN
}

/// Whether a packet opens a connection.
fn dials(packet: &Segment) -> bool {
    !packet.udp && opens(packet)
}

fn came_by(arrival: &Arrival<'_>, packet: &Segment) -> Client {
    let mac = |at: usize| arrival.bytes[at..at + 6].try_into().unwrap();
    let link = (!packet.tagged).then_some(arrival.link);
    Client { link, macs: (mac(6), mac(0)) }
}
