//! A snapshot as text: one line an element, in a stable order, for golden tests and for people.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
    net::IpAddr,
};

use lb_common::{
    abi::{
        address::Address,
        backend::{Backend, backend_state, way},
        service::{ListenKey, PORTS, RangeKey, Service, SourceKey, forward, select, service_flag},
        settings::{Settings, settings_flag},
    },
    wire::protocol,
};

use super::{Prefix, Snapshot, snapshot::page_span};
use crate::model::Protocol;

/// Words up to which a table is written out; longer ones are counted.
const WRITTEN_OUT_MAX: usize = 32;

/// The whole snapshot.
#[must_use]
pub fn dump(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    match write_all(&mut text, snapshot) {
        Ok(()) | Err(fmt::Error) => text,
    }
}

fn write_all(out: &mut String, snapshot: &Snapshot) -> fmt::Result {
    write_settings(out, &snapshot.settings)?;
    for (name, set) in ["tcp", "udp"].iter().zip(&snapshot.ports) {
        let (services, backends) = (runs(&set.services), runs(&set.backends));
        writeln!(out, "ports {name}: services {services}, backends {backends}")?;
    }
    for (id, backend) in &snapshot.backends {
        writeln!(out, "backend {id}: {}", BackendText(backend))?;
    }
    let mut listens: Vec<_> = snapshot.listens.iter().collect();
    listens
        .sort_by_key(|(key, _)| (IpAddr::from(key.address), u16::from_be(key.port), key.protocol));
    for (key, service) in listens {
        if matches!(key.protocol, protocol::ICMP | protocol::ICMPV6) {
            writeln!(out, "ping {}: service {}", key.address, service.id)?;
            continue;
        }
        writeln!(out, "listen {}: {}", listen_text(key), ServiceText(service))?;
    }
    let mut ranges: Vec<_> = snapshot.ranges.iter().collect();
    ranges.sort_by_key(|(prefix, _)| (prefix.key.address, prefix.key, prefix.bits));
    for (prefix, service) in ranges {
        writeln!(out, "range {}: {}", range_text(prefix), ServiceText(service))?;
    }
    for prefix in &snapshot.sources {
        let service = u32::from_ne_bytes(prefix.key.service);
        writeln!(out, "source {} for service {service}", source_text(prefix))?;
    }
    write_tables(out, snapshot)
}

fn write_settings(out: &mut String, settings: &Settings) -> fmt::Result {
    let Settings { abi_version, generation, ticks_per_second, .. } = settings;
    let ranges = if settings.flags & settings_flag::RANGES == 0 { "" } else { ", ranges" };
    let resets = if settings.flags & settings_flag::RESETS == 0 { "" } else { ", resets" };
    writeln!(
        out,
        "settings: abi {abi_version}, generation {generation}, {ticks_per_second} Hz{ranges}{resets}"
    )?;
    writeln!(
        out,
        "timeouts: tcp {} {} {} {}, udp {} {}; hairpin {} {}",
        settings.tcp_new_ticks,
        settings.tcp_established_ticks,
        settings.tcp_half_closed_ticks,
        settings.tcp_closed_ticks,
        settings.udp_new_ticks,
        settings.udp_established_ticks,
        settings.hairpin_v4,
        settings.hairpin_v6,
    )
}

fn write_tables(out: &mut String, snapshot: &Snapshot) -> fmt::Result {
    let mut seen = BTreeSet::new();
    for service in snapshot.services().filter(|service| service.table_len > 0) {
        let span = page_span(service);
        if !seen.insert((span.start, span.end)) {
            continue;
        }
        let words: Vec<u32> = snapshot.table_words(service).collect();
        write!(out, "table {}..{}:", span.start, span.end)?;
        if words.len() <= WRITTEN_OUT_MAX {
            for word in words {
                write!(out, " {word}")?;
            }
            writeln!(out)?;
            continue;
        }
        let mut counts = BTreeMap::<u32, usize>::new();
        for word in &words {
            *counts.entry(*word).or_default() += 1;
        }
        for (word, count) in counts {
            write!(out, " {word} x{count}")?;
        }
        writeln!(out, ", hash {:016x}", fnv(&words))?;
    }
    Ok(())
}

struct BackendText<'a>(&'a Backend);

impl fmt::Display for BackendText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Backend { generation, capacity, ifindex, .. } = self.0;
        let state = match self.0.state {
            backend_state::ABSENT => return write!(f, "absent, generation {generation}"),
            backend_state::UP => "up",
            backend_state::CLOSED => "closed",
            backend_state::DOWN => "down",
            _ => "unknown state",
        };
        let place = place(self.0.address, u16::from_be(self.0.port), None);
        let protocol = u8::try_from(self.0.protocol).map_or("?".to_owned(), protocol_text);
        write!(f, "{place}/{protocol} {state}, generation {generation}, capacity {capacity}, ")?;
        match self.0.way {
            way::STACK => f.write_str("stack"),
            way::PEER => write!(f, "peer of {ifindex}"),
            way::LINK => {
                write!(f, "link {ifindex} to {} from ", mac(self.0.dst_mac))?;
                f.write_str(&mac(self.0.src_mac))
            }
            way => write!(f, "way {way}"),
        }
    }
}

struct ServiceText<'a>(&'a Service);

impl fmt::Display for ServiceText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Service { id, usable, table_len, generation, .. } = self.0;
        let select = select_text(self.0.select);
        write!(f, "service {id}, {select}, usable {usable}, ")?;
        if *table_len == 0 {
            f.write_str("no table")?;
        } else {
            let span = page_span(self.0);
            write!(f, "{table_len} slots in {}..{}", span.start, span.end)?;
        }
        if self.0.flags & service_flag::SOURCES != 0 {
            f.write_str(", sources")?;
        }
        if self.0.flags & service_flag::AFFINITY != 0 {
            write!(f, ", affinity {}", self.0.affinity_ticks)?;
        }
        if self.0.flags & service_flag::TURNS != 0 {
            f.write_str(", turns")?;
        }
        if self.0.forward != forward::NAT {
            write!(f, ", {}", forward_text(self.0.forward))?;
        }
        if self.0.flags & service_flag::LIMITED != 0 {
            let Service { flow_interval_ns, source_interval_ns, burst_us, .. } = self.0;
            write!(f, ", limits {flow_interval_ns} {source_interval_ns} {burst_us}")?;
        }
        write!(f, ", generation {generation}")
    }
}

/// The name of one of [`forward`].
#[must_use]
pub fn forward_text(mode: u8) -> String {
    match mode {
        forward::NAT => "nat".to_owned(),
        forward::DSR => "dsr".to_owned(),
        forward::IPIP => "ipip".to_owned(),
        forward::GUE => "gue".to_owned(),
        forward::FULL_NAT => "full-nat".to_owned(),
        other => format!("forward {other}"),
    }
}

/// The name of one of [`select`].
#[must_use]
pub fn select_text(select: u8) -> String {
    let name = match select {
        select::HASH_FLOW => "hash flow",
        select::HASH_SOURCE => "hash source",
        select::TURN => "turn",
        select::RANDOM => "random",
        select::SCAN_LEAST => "scan least",
        select::SCAN_DELAY => "scan delay",
        select::SAMPLE_TWO => "sample two",
        select::SAMPLE_FOUR => "sample four",
        select::SCAN_REQUESTS => "scan requests",
        select::SAMPLE_REQUESTS => "sample requests",
        other => return format!("select {other}"),
    };
    name.to_owned()
}

/// `198.18.0.1:80/tcp`
#[must_use]
pub fn listen_text(key: &ListenKey) -> String {
    format!("{}/{}", place(key.address, u16::from_be(key.port), None), protocol_text(key.protocol))
}

/// `198.18.0.1:27000-27007/udp`
#[must_use]
pub fn range_text(prefix: &Prefix<RangeKey>) -> String {
    let (first, last) = range_ports(prefix);
    let address = Address::from_v6(prefix.key.address);
    format!("{}/{}", place(address, first, Some(last)), protocol_text(prefix.key.protocol))
}

/// First and last port of a prefix of the range map.
#[must_use]
pub fn range_ports(prefix: &Prefix<RangeKey>) -> (u16, u16) {
    let port_bits = prefix.bits.saturating_sub(RangeKey::BITS_BEFORE_PORT);
    let first = u16::from_be_bytes(prefix.key.port);
    (first, first | u16::MAX.checked_shr(port_bits).unwrap_or(0))
}

/// `198.18.0.0/15`
#[must_use]
pub fn source_text(prefix: &Prefix<SourceKey>) -> String {
    let bits = prefix.bits.saturating_sub(SourceKey::BITS_BEFORE_ADDRESS);
    let address = Address::from_v6(prefix.key.address);
    let bits = if address.is_v4() && bits >= 96 { bits - 96 } else { bits };
    format!("{address}/{bits}")
}

fn place(address: Address, first: u16, last: Option<u16>) -> String {
    let range = last.map_or_else(String::new, |last| format!("-{last}"));
    match IpAddr::from(address) {
        IpAddr::V4(v4) => format!("{v4}:{first}{range}"),
        IpAddr::V6(v6) => format!("[{v6}]:{first}{range}"),
    }
}

fn protocol_text(number: u8) -> String {
    Protocol::from_number(number).map_or_else(|| number.to_string(), |known| known.to_string())
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

/// The set bits as runs: `80 27000-27100`.
fn runs(words: &[u64]) -> String {
    let is_set =
        |port: usize| words.get(port / 64).is_some_and(|word| word >> (port % 64) & 1 == 1);
    let mut parts = Vec::new();
    let mut port = 0;
    while port < PORTS {
        if !is_set(port) {
            port += 1;
            continue;
        }
        let end = (port..PORTS).find(|next| !is_set(*next)).unwrap_or(PORTS);
        parts.push(if end - port == 1 { port.to_string() } else { format!("{port}-{}", end - 1) });
        port = end;
    }
    if parts.is_empty() { "none".to_owned() } else { parts.join(" ") }
}

/// FNV-1a over the words: tells two long tables apart in a golden file.
fn fnv(words: &[u32]) -> u64 {
    words.iter().flat_map(|word| word.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_snapshot_still_says_what_there_is() {
        insta::assert_snapshot!(dump(&Snapshot::default()), @r"
        settings: abi 0, generation 0, 0 Hz
        timeouts: tcp 0 0 0 0, udp 0 0; hairpin :: ::
        ports tcp: services none, backends none
        ports udp: services none, backends none
        ");
    }

    #[test]
    fn nonsense_is_shown_as_it_is() {
        let address = Address::from_v4([198, 18, 10, 2]);
        let odd = Backend { address, state: 9, way: 7, protocol: 1000, ..Backend::default() };
        assert_eq!(
            BackendText(&odd).to_string(),
            "198.18.10.2:0/? unknown state, generation 0, capacity 0, way 7"
        );
        let key = ListenKey { address, port: 80_u16.to_be(), protocol: 132, zero: 0 };
        assert_eq!(listen_text(&key), "198.18.10.2:80/132");
        assert_eq!(select_text(99), "select 99");
        for (bits, ports) in [(0, (0, u16::MAX)), (152, (0, 0)), (200, (0, 0))] {
            assert_eq!(range_ports(&Prefix { bits, key: RangeKey::default() }), ports, "{bits}");
        }
        let source = Prefix { bits: 0, key: SourceKey::default() };
        assert_eq!(source_text(&source), "::/0");
    }

    #[test]
    fn a_table_without_pages_is_empty_and_not_a_panic() {
        let service = Service { table_len: 4, table_page: 8, ..Service::default() };
        let listens = [(ListenKey::default(), service)].into();
        let text = dump(&Snapshot { listens, ..Snapshot::default() });
        assert!(text.ends_with("4 slots in 8..9, generation 0\ntable 8..9:\n"), "{text}");
    }

    #[test]
    fn set_bits_are_runs() {
        let mut words = [0_u64; PORTS / 64];
        for port in [0, 80, 81, 82, 443, 65535] {
            words[port / 64] |= 1 << (port % 64);
        }
        assert_eq!(runs(&words), "0 80-82 443 65535");
        assert_eq!(runs(&[u64::MAX; PORTS / 64]), "0-65535");
    }
}
