//! The pipeline against the model: the same frames, the same time, the same configurations, and
//! whatever comes out has to be the same.
//!
//! `WEIR_MODEL_PACKETS` says how many packets are tried, `WEIR_MODEL_SEED` from which seed on.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test may")]

mod model;
mod table;

use lb_common::{
    abi::service::PortSet,
    packet::SlicePacket,
    pipeline::{
        process,
        verdict::{Action, Verdict},
    },
    tables::{MemoryTables, Signal},
};
use model::{
    Fate, Outcome,
    balancer::{Arrival, Balancer, Clock, Traffic},
    config::Config,
    frame,
    tables::world,
    traffic::{Event, Source, beginning},
};
use std::collections::BTreeMap;
use table::world::World;

/// Packets of one history; the next one begins with empty tables.
const HISTORY: u64 = 5_000;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn ports(world: &World, of: fn(&PortSet) -> &[u64]) -> std::collections::BTreeSet<(u8, u16)> {
    let is_set = |words: &[u64], port: u16| words[usize::from(port) / 64] >> (port % 64) & 1 == 1;
    let sets = [6, 17].into_iter().zip(&world.ports);
    sets.flat_map(|(number, set)| {
        (0..=u16::MAX).filter(|port| is_set(of(set), *port)).map(move |port| (number, port))
    })
    .collect()
}

/// The controller writes its tables; flows and what else is remembered stays.
fn write(tables: &mut MemoryTables, config: &Config, now: u32) {
    let world = world(config);
    tables.service_ports = ports(&world, |set| &set.services);
    tables.backend_ports = ports(&world, |set| &set.backends);
    tables.settings = world.settings;
    tables.listens = world.listens;
    tables.ranges = world.ranges;
    tables.sources = world.sources;
    tables.pages = world.pages.into_iter().map(|(n, page)| (n, page.slots.0.to_vec())).collect();
    tables.backends = world.backends;
    tables.heartbeat = if config.heartbeat { now } else { now.wrapping_sub(1 << 20) };
}

fn outcome(verdict: &Verdict, bytes: Vec<u8>) -> Outcome {
    let fate = match verdict.action {
        Action::Pass => Fate::Pass,
        Action::Drop => Fate::Drop,
        Action::Transmit => Fate::Return,
        Action::Redirect => Fate::Link(verdict.ifindex),
        Action::RedirectPeer => Fate::Inside(verdict.ifindex),
        Action::Track
        | Action::Open
        | Action::Unusual
        | Action::Icmp
        | Action::Refuse
        | Action::Limit
        | Action::Ping
        | Action::Settle
        | Action::Encap
        | Action::TooBig
        | Action::Unreachable
        | Action::Allocate
        | Action::FullNat
        | Action::FullNatIcmp
        | Action::Translate => {
            panic!("not decided: {verdict:?}")
        }
    };
    let (service, backend) = (verdict.service, verdict.backend);
    Outcome { reason: verdict.reason.name(), fate, service, backend, bytes }
}

/// The pipeline and the model side by side.
struct Pair {
    tables: MemoryTables,
    model: Balancer,
    source: Source,
    now: u32,
    micros: u32,
    nanos: u64,
    at: String,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let config = beginning(false);
        let mut tables = MemoryTables::default();
        // Clocks wrap in some histories.
        let now = if seed.is_multiple_of(2) { u32::MAX - 2000 } else { 1000 };
        write(&mut tables, &config, now);
        tables.seed.set(u32::try_from(seed % 65_536).unwrap() | 1);
        let (model, source) = (Balancer::new(config.clone()), Source::new(seed, config));
        Self { tables, model, source, now, micros: u32::MAX - 5000, nanos: 0, at: String::new() }
    }

    /// One event; `true` if it was a packet.
    fn step(&mut self) -> bool {
        match self.source.next() {
            Event::Time(ticks) => {
                self.now = self.now.wrapping_add(ticks);
                self.micros = self.micros.wrapping_add(ticks * 10_000 + 7);
                self.nanos += u64::from(ticks * 10_000 + 7) * 1000;
                if self.model.config.heartbeat {
                    self.tables.heartbeat = self.now;
                }
                false
            }
            Event::Change(config) => {
                write(&mut self.tables, &config, self.now);
                self.model.reconfigure(*config);
                false
            }
            Event::Frame(frame, link) => self.frame(&frame, link),
        }
    }

    fn frame(&mut self, input: &[u8], link: u32) -> bool {
        if self.model.cannot_tell(input) {
            return false;
        }
        let mut bytes = input.to_vec();
        self.tables.clock_us.set(self.micros);
        self.tables.clock_ns.set(self.nanos);
        let mut packet = SlicePacket { bytes: &mut bytes, ingress: link };
        let verdict = process(&mut packet, &self.tables, self.now);
        let actual = outcome(&verdict, bytes);
        let arrival = Arrival {
            bytes: input,
            link,
            now: self.now,
            micros: self.micros,
            clock: Clock::At(self.nanos),
        };
        let expected = self.model.take(&arrival, &actual);
        let expected = expected.unwrap_or_else(|why| panic!("{}: {why}", self.at));
        if let Err(why) = frame::agree(input, &expected, &actual) {
            let (at, input) = (&self.at, hex(input));
            panic!("{at}: {why}\nframe    {input}\nmodel    {expected:x?}\npipeline {actual:x?}");
        }
        if actual.reason == "forwarded" {
            self.source.delivered(&actual.bytes);
        }
        true
    }

    /// Counters, which are the same at any time.
    fn compare_counters(&mut self) {
        let at = &self.at;
        let reasons = self.tables.reasons.borrow();
        let reasons: BTreeMap<_, _> = reasons.iter().map(|(r, n)| (r.name(), *n)).collect();
        assert_eq!(reasons, self.model.reasons, "{at}: packets by reason");
        for (what, actual, expected) in [
            ("services", &self.tables.service_traffic, &self.model.services),
            ("backends", &self.tables.backend_traffic, &self.model.backends),
        ] {
            let actual = actual.borrow().iter().map(|(id, t)| (*id, traffic(t))).collect();
            assert_eq!(counted(actual), counted(expected.clone()), "{at}: traffic of {what}");
        }
        for id in self.model.config.backends.keys() {
            let of = |loads: &BTreeMap<u32, u64>| loads.get(id).copied().unwrap_or(0);
            let flows = of(&self.tables.flows.borrow());
            assert_eq!(flows, self.model.flows_of(*id), "{at}: flows of backend {id}");
            let requests = of(&self.tables.requests.borrow());
            assert_eq!(requests, self.model.requests_of(*id), "{at}: requests of backend {id}");
        }
        let signals = self.tables.signals.take();
        let heard: Vec<_> =
            signals.into_iter().map(|(id, what, us)| (id, said(what), us)).collect();
        assert_eq!(heard, std::mem::take(&mut self.model.heard), "{at}: what backends show");
    }
}

fn traffic(of: &lb_common::abi::stats::Traffic) -> Traffic {
    Traffic {
        flows: of.flows,
        packets_in: of.packets_in,
        bytes_in: of.bytes_in,
        packets_out: of.packets_out,
        bytes_out: of.bytes_out,
    }
}

fn counted(mut all: BTreeMap<u32, Traffic>) -> BTreeMap<u32, Traffic> {
    all.retain(|_, traffic| *traffic != Traffic::default());
    all
}

fn said(signal: Signal) -> &'static str {
    match signal {
        Signal::FirstByte => "first-byte",
        Signal::Handshake => "handshake",
        Signal::Refused => "refused",
        Signal::Reset => "reset",
        Signal::Repeated => "repeated",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[test]
fn the_pipeline_does_what_the_model_says() {
    let (packets, first) = (number("WEIR_MODEL_PACKETS", 500_000), number("WEIR_MODEL_SEED", 1));
    let (mut done, mut reasons) = (0, BTreeMap::<&str, u64>::new());
    for seed in first.. {
        let mut pair = Pair::new(seed);
        let until = packets.min(done + HISTORY);
        let begun = done;
        while done < until {
            pair.at = format!("WEIR_MODEL_SEED={seed}, packet {}", done - begun);
            let tried = pair.step();
            done += u64::from(tried);
            if tried && done.is_multiple_of(16) {
                pair.compare_counters();
            }
        }
        pair.compare_counters();
        for (reason, count) in pair.model.reasons {
            *reasons.entry(reason).or_default() += count;
        }
        if seed.is_multiple_of(50) {
            println!("{done} of {packets} packets, no difference");
        }
        if done >= packets {
            break;
        }
    }
    println!("{done} packets, no difference");
    for (reason, count) in &reasons {
        println!("{reason:>18} {count}");
    }
    if packets < 100_000 {
        return;
    }
    // What the model never saw it does not prove.
    let seen = [
        "forwarded",
        "replied",
        "not-ip",
        "not-transport",
        "icmp",
        "malformed",
        "fragment",
        "too-many-headers",
        "not-service",
        "no-listener",
        "hop-limit",
        "stale-reply",
        "source-denied",
        "no-backend",
        "backend-gone",
        "no-way",
        "icmp-error",
        "too-big",
        "no-port",
        "not-translated",
    ];
    for reason in seen {
        assert!(reasons.get(reason).is_some_and(|count| *count > packets / 20_000), "{reason}");
    }
}
