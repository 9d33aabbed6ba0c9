//! The tables in plain memory.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    rc::Rc,
};

use super::{Insert, Signal, Sockets, Stage, Step, Tables};
use crate::{
    abi::{
        address::Address,
        backend::Backend,
        flow::{Conn, Origin, SharedConn},
        fragment::{Fragment, FragmentKey},
        gate::Gate,
        rate::{Rate, Token},
        service::{Affinity, AffinityKey, ListenKey, RangeKey, Service, SourceKey},
        settings::Settings,
        socket::{SocketKey, SocketPeer},
        stats::Traffic,
    },
    packet::Headers,
    pipeline::{
        flow_key::{FamilyKey, FlowKey},
        verdict::{Reason, Verdict},
        workspace::Workspace,
    },
};

/// A flow of either family: source, destination, source port, destination port, protocol.
pub type Tuple = (Address, Address, u16, u16, u8);

/// The tuple of a key.
#[must_use]
pub const fn tuple(key: &FlowKey) -> Tuple {
    let ((source, source_port), (destination, destination_port)) =
        (key.source(), key.destination());
    (source, destination, source_port, destination_port, key.protocol())
}

/// The tables in plain memory. Fields are open: tests and `weir explain` fill them.
#[derive(Debug, Default)]
pub struct MemoryTables {
    /// `SETTINGS`
    pub settings: Settings,
    /// Destination ports of services by protocol, host byte order.
    pub service_ports: BTreeSet<(u8, u16)>,
    /// Source ports of backends by protocol, host byte order.
    pub backend_ports: BTreeSet<(u8, u16)>,
    /// `CONNS*` and `EMBRYOS*`
    pub conns: RefCell<BTreeMap<(Stage, Tuple), Rc<SharedConn>>>,
    /// Entries that `conns` may hold; 0 means no limit.
    pub conns_max: usize,
    /// `ORIGINS`
    pub origins: RefCell<BTreeMap<ListenKey, Origin>>,
    /// `GATES`
    pub gates: RefCell<[Gate; 2]>,
    /// `RATES`
    pub rates: RefCell<BTreeMap<u32, Rate>>,
    /// `SOURCE_RATES`
    pub source_rates: RefCell<BTreeMap<AffinityKey, u64>>,
    /// `FRAGMENTS`
    pub fragments: RefCell<BTreeMap<FragmentKey, Fragment>>,
    /// `LISTEN`
    pub listens: BTreeMap<ListenKey, Service>,
    /// `LISTEN_RANGE`: prefix length and key.
    pub ranges: BTreeMap<(u32, RangeKey), Service>,
    /// `SOURCES`: prefix length and key.
    pub sources: BTreeSet<(u32, SourceKey)>,
    /// `AFFINITY`
    pub affinities: RefCell<BTreeMap<AffinityKey, Affinity>>,
    /// `SOCKETS`
    pub sockets: RefCell<BTreeMap<SocketKey, SocketPeer>>,
    /// `PAGES`
    pub pages: BTreeMap<u32, Vec<u32>>,
    /// `CURSORS`
    pub turns: RefCell<BTreeMap<(u32, bool), u64>>,
    /// The headers of the packet at hand.
    pub headers: Cell<Headers>,
    /// What a stage leaves for the next one.
    pub workspace: RefCell<Workspace>,
    /// State of the random numbers.
    pub seed: Cell<u32>,
    /// `BACKENDS`
    pub backends: BTreeMap<u32, Backend>,
    /// `BACKEND_LOAD`
    pub flows: RefCell<BTreeMap<u32, u64>>,
    /// `BACKEND_LOAD`, the requests in flight.
    pub requests: RefCell<BTreeMap<u32, u64>>,
    /// `SIGNALS`: every one of them, in order.
    pub signals: RefCell<Vec<(u32, Signal, u32)>>,
    /// The clock in microseconds.
    pub clock_us: Cell<u32>,
    /// What [`Tables::clock_ns`] says.
    pub clock_ns: Cell<u64>,
    /// `HEARTBEAT`
    pub heartbeat: u32,
    /// `REASONS`
    pub reasons: RefCell<BTreeMap<Reason, u64>>,
    /// `BACKEND_STATS`
    pub backend_traffic: RefCell<BTreeMap<u32, Traffic>>,
    /// `SERVICE_STATS`
    pub service_traffic: RefCell<BTreeMap<u32, Traffic>>,
}

/// Whether the first `bits` bits of two byte strings agree.
fn prefix_matches(a: &[u8], b: &[u8], bits: u32) -> bool {
    (0..bits as usize).all(|bit| {
        let of = |bytes: &[u8]| bytes.get(bit / 8).map(|byte| byte >> (7 - bit % 8) & 1);
        of(a) == of(b)
    })
}

fn take(full_at_ns: &mut u64, token: &Token) -> bool {
    let next = token.take(*full_at_ns);
    if next != 0 {
        *full_at_ns = next;
    }
    next != 0
}

impl Tables for MemoryTables {
    const FULL_NAT: bool = true;
    const OTHERS: bool = true;
    type Entry<'a> = Rc<SharedConn>;

    fn hand_over(&self, headers: Headers) {
        self.headers.set(headers);
    }

    fn handed_over(&self) -> Headers {
        self.headers.get()
    }

    fn settings(&self) -> Option<&Settings> {
        Some(&self.settings)
    }

    fn port_in_use(&self, protocol: u8, source: u16, destination: u16) -> bool {
        self.service_ports.contains(&(protocol, u16::from_be(destination)))
            || self.backend_ports.contains(&(protocol, u16::from_be(source)))
    }

    fn established<K: FamilyKey>(&self, key: &K) -> Option<Rc<SharedConn>> {
        self.conn(Stage::Conn, &key.widen())
    }

    fn conn(&self, stage: Stage, key: &FlowKey) -> Option<Rc<SharedConn>> {
        self.conns.borrow().get(&(stage, tuple(key))).cloned()
    }

    fn with_workspace<R>(&self, f: impl FnOnce(&mut Workspace) -> R) -> Option<R> {
        Some(f(&mut self.workspace.borrow_mut()))
    }

    fn insert_conn(&self, stage: Stage, key: &FlowKey, conn: &Conn) -> Insert {
        let mut conns = self.conns.borrow_mut();
        if conns.contains_key(&(stage, tuple(key))) {
            return Insert::Exists;
        }
        if self.conns_max != 0 && conns.len() >= self.conns_max {
            return Insert::Failed;
        }
        conns.insert((stage, tuple(key)), Rc::new(SharedConn::new(*conn)));
        Insert::Done
    }

    fn remove_conn(&self, stage: Stage, key: &FlowKey) {
        self.conns.borrow_mut().remove(&(stage, tuple(key)));
    }

    fn origin(&self, backend: &ListenKey) -> Option<Origin> {
        self.origins.borrow().get(backend).copied()
    }

    fn add_origin(&self, backend: &ListenKey, origin: &Origin) -> bool {
        match self.origins.borrow_mut().entry(*backend) {
            Entry::Vacant(vacant) => {
                vacant.insert(*origin);
                true
            }
            Entry::Occupied(_) => false,
        }
    }

    fn with_gate<R>(&self, datagrams: bool, f: impl FnOnce(&mut Gate) -> R) -> Option<R> {
        self.gates.borrow_mut().get_mut(usize::from(datagrams)).map(f)
    }

    fn flow_unmet(&self, datagrams: bool) {
        self.with_gate(datagrams, |gate| gate.level += 1);
    }

    fn flow_met(&self, datagrams: bool) {
        self.with_gate(datagrams, |gate| gate.level = gate.level.saturating_sub(1));
    }

    fn take_of_service(&self, service: u32, token: &Token) -> bool {
        take(&mut self.rates.borrow_mut().entry(service).or_default().full_at_ns, token)
    }

    fn take_of_source(&self, source: &AffinityKey, token: &Token) -> bool {
        take(self.source_rates.borrow_mut().entry(*source).or_default(), token)
    }

    fn refused_flow(&self, service: u32, of_source: bool) {
        let mut rates = self.rates.borrow_mut();
        let rate = rates.entry(service).or_default();
        *(if of_source { &mut rate.refused_source } else { &mut rate.refused }) += 1;
    }

    fn clock_ns(&self) -> u64 {
        self.clock_ns.get()
    }

    fn fragment(&self, key: &FragmentKey) -> Option<Fragment> {
        self.fragments.borrow().get(key).copied()
    }

    fn add_fragment(&self, key: &FragmentKey, fragment: &Fragment) {
        self.fragments.borrow_mut().insert(*key, *fragment);
    }

    fn listen(&self, key: &ListenKey) -> Option<&Service> {
        self.listens.get(key)
    }

    fn listen_range(&self, key: &RangeKey) -> Option<&Service> {
        let matching = self.ranges.iter().filter(|((bits, prefix), _)| {
            prefix_matches(bytemuck::bytes_of(prefix), bytemuck::bytes_of(key), *bits)
        });
        matching.max_by_key(|((bits, _), _)| *bits).map(|(_, service)| service)
    }

    fn source_allowed(&self, key: &SourceKey) -> bool {
        self.sources.iter().any(|(bits, prefix)| {
            prefix_matches(bytemuck::bytes_of(prefix), bytemuck::bytes_of(key), *bits)
        })
    }

    fn affinity(&self, key: &AffinityKey) -> Option<Affinity> {
        self.affinities.borrow().get(key).copied()
    }

    fn set_affinity(&self, key: &AffinityKey, value: &Affinity) {
        self.affinities.borrow_mut().insert(*key, *value);
    }

    fn slot(&self, page: u32, slot: u32) -> Option<u32> {
        self.pages.get(&page)?.get(slot as usize).copied()
    }

    fn repeat<S: Step<Self>>(&self, count: u32, step: &mut S) {
        for index in 0..count {
            if step.step(self, index) {
                return;
            }
        }
    }

    fn turn(&self, service: u32, v6: bool) -> u64 {
        let mut turns = self.turns.borrow_mut();
        let turn = turns.entry((service, v6)).or_default();
        *turn += 1;
        *turn - 1
    }

    fn random(&self) -> u32 {
        // xorshift32 (Marsaglia, "Xorshift RNGs", 2003); 0 is its only fixed point.
        let mut state = self.seed.get().max(1);
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        self.seed.set(state);
        state
    }

    fn backend(&self, id: u32) -> Option<&Backend> {
        self.backends.get(&id)
    }

    fn load(&self, backend: u32, requests: bool) -> u64 {
        let of = if requests { &self.requests } else { &self.flows };
        of.borrow().get(&backend).copied().unwrap_or(0)
    }

    fn flow_begins(&self, service: u32, backend: u32) {
        *self.flows.borrow_mut().entry(backend).or_default() += 1;
        self.backend_traffic.borrow_mut().entry(backend).or_default().flows += 1;
        self.service_traffic.borrow_mut().entry(service).or_default().flows += 1;
    }

    fn flow_ends(&self, backend: u32) {
        let mut flows = self.flows.borrow_mut();
        let open = flows.entry(backend).or_default();
        *open = open.saturating_sub(1);
    }

    fn request_begins(&self, backend: u32) {
        *self.requests.borrow_mut().entry(backend).or_default() += 1;
    }

    fn request_ends(&self, backend: u32) {
        let mut requests = self.requests.borrow_mut();
        let open = requests.entry(backend).or_default();
        *open = open.saturating_sub(1);
    }

    fn signal(&self, backend: u32, signal: Signal, micros: u32) {
        self.signals.borrow_mut().push((backend, signal, micros));
    }

    fn clock_us(&self) -> u32 {
        self.clock_us.get()
    }

    fn heartbeat(&self) -> u32 {
        self.heartbeat
    }

    fn count(&self, verdict: &Verdict, length: u32) {
        *self.reasons.borrow_mut().entry(verdict.reason).or_default() += 1;
        for (map, id) in
            [(&self.backend_traffic, verdict.backend), (&self.service_traffic, verdict.service)]
        {
            let mut traffic = map.borrow_mut();
            if verdict.reason == Reason::Forwarded {
                let traffic = traffic.entry(id).or_default();
                traffic.packets_in += 1;
                traffic.bytes_in += u64::from(length);
            } else if verdict.reason == Reason::Replied {
                let traffic = traffic.entry(id).or_default();
                traffic.packets_out += 1;
                traffic.bytes_out += u64::from(length);
            }
        }
    }
}

impl Sockets for MemoryTables {
    fn socket(&self, key: &SocketKey) -> Option<SocketPeer> {
        self.sockets.borrow().get(key).copied()
    }

    fn set_socket(&self, key: &SocketKey, peer: &SocketPeer) -> bool {
        self.sockets.borrow_mut().insert(*key, *peer);
        true
    }

    fn dialled(&self, service: u32, backend: u32) {
        self.backend_traffic.borrow_mut().entry(backend).or_default().flows += 1;
        self.service_traffic.borrow_mut().entry(service).or_default().flows += 1;
    }

    fn refused(&self, reason: Reason) {
        *self.reasons.borrow_mut().entry(reason).or_default() += 1;
    }
}
