//! Map keys of listen addresses, port ranges and sources.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use ipnet::IpNet;
use lb_common::{
    abi::{
        address::Address,
        service::{ListenKey, RangeKey, Service, SourceKey},
    },
    wire::protocol,
};

use crate::{
    maps::{Prefix, Snapshot, Write, dump},
    model::{Listen, PortRange},
};

/// Address family: a listen address is served by backends of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// A key under which a service is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// In `LISTEN`.
    Exact(ListenKey),
    /// In `LISTEN_RANGE`.
    Range(Prefix<RangeKey>),
}

impl Key {
    /// The keys of a listen address: one, or one a port prefix.
    pub(super) fn of(listen: &Listen) -> Vec<Self> {
        let address = Address::from(listen.address);
        let protocol = listen.protocol.number();
        if listen.ports.is_single() {
            let port = listen.ports.first().to_be();
            return vec![Self::Exact(ListenKey { address, port, protocol, zero: 0 })];
        }
        let prefix = |(port, bits): (u16, u32)| {
            let (address, port) = (address.octets(), port.to_be_bytes());
            let key = RangeKey { protocol, address, port, zero: 0 };
            Self::Range(Prefix { bits: RangeKey::BITS_BEFORE_PORT + bits, key })
        };
        port_prefixes(listen.ports).into_iter().map(prefix).collect()
    }

    pub(super) fn family(&self) -> Family {
        if self.address().is_v4() { Family::V4 } else { Family::V6 }
    }

    pub(super) fn address(&self) -> Address {
        match self {
            Self::Exact(key) => key.address,
            Self::Range(prefix) => Address::from_v6(prefix.key.address),
        }
    }

    /// Whether it is for echo requests.
    pub(super) const fn is_ping(&self) -> bool {
        matches!(self.protocol(), protocol::ICMP | protocol::ICMPV6)
    }

    /// The key under which echo requests for the same address are answered.
    pub(super) fn ping(&self) -> Self {
        let address = self.address();
        let protocol = if address.is_v4() { protocol::ICMP } else { protocol::ICMPV6 };
        Self::Exact(ListenKey { address, port: 0, protocol, zero: 0 })
    }

    pub(super) const fn protocol(&self) -> u8 {
        match self {
            Self::Exact(key) => key.protocol,
            Self::Range(prefix) => prefix.key.protocol,
        }
    }

    /// First and last port.
    pub(super) fn ports(&self) -> (u16, u16) {
        match self {
            Self::Exact(key) => (u16::from_be(key.port), u16::from_be(key.port)),
            Self::Range(prefix) => dump::range_ports(prefix),
        }
    }

    /// The write that publishes `service` here.
    pub(super) const fn publish(self, service: Service) -> Write {
        match self {
            Self::Exact(key) => Write::Listen(key, service),
            Self::Range(prefix) => Write::Range(prefix, service),
        }
    }

    /// The write that withdraws whatever is published here.
    pub(super) const fn withdraw(self) -> Write {
        match self {
            Self::Exact(key) => Write::RemoveListen(key),
            Self::Range(prefix) => Write::RemoveRange(prefix),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&match self {
            Self::Exact(key) => dump::listen_text(key),
            Self::Range(prefix) => dump::range_text(prefix),
        })
    }
}

/// Everything published in `snapshot`, under either kind of key.
pub(super) fn published(snapshot: &Snapshot) -> BTreeMap<Key, Service> {
    let exact = snapshot.listens.iter().map(|(key, service)| (Key::Exact(*key), *service));
    let ranges = snapshot.ranges.iter().map(|(key, service)| (Key::Range(*key), *service));
    exact.chain(ranges).collect()
}

/// The fewest prefixes that cover exactly `ports`, at most 30: `(first port, bits)` each. Going
/// up, every step takes the largest block that is aligned where it begins and does not reach
/// beyond the end.
fn port_prefixes(ports: PortRange) -> Vec<(u16, u32)> {
    let mut prefixes = Vec::new();
    let mut next = Some(ports.first());
    while let Some(first) = next {
        let fits = |free_bits: &u32| {
            let mask = u16::MAX.checked_shr(16 - free_bits).unwrap_or(0);
            first & mask == 0 && first | mask <= ports.last()
        };
        let free_bits = (0..=16).rev().find(fits).unwrap_or(0);
        prefixes.push((first, 16 - free_bits));
        let last = first | u16::MAX.checked_shr(16 - free_bits).unwrap_or(0);
        next = last.checked_add(1).filter(|port| *port <= ports.last());
    }
    prefixes
}

/// The key that allows `net` to connect to the service `id`.
pub(super) fn source(id: u32, net: &IpNet) -> Prefix<SourceKey> {
    let net = net.trunc();
    let bits_before_net = if net.network().is_ipv4() { 96 } else { 0 };
    let bits = SourceKey::BITS_BEFORE_ADDRESS + bits_before_net + u32::from(net.prefix_len());
    let address = Address::from(net.network()).octets();
    Prefix { bits, key: SourceKey { service: id.to_ne_bytes(), address } }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(first: u16, last: u16) -> PortRange {
        PortRange::new(first, last).unwrap()
    }

    #[test]
    fn ranges_become_the_fewest_prefixes() {
        let rows = [
            ("aligned", 8192, 16383, vec![(8192, 3)]),
            ("two neighbours that do not align", 81, 82, vec![(81, 16), (82, 16)]),
            ("upper half", 32768, 65535, vec![(32768, 1)]),
            ("last two", 65534, 65535, vec![(65534, 15)]),
            (
                "a game",
                27000,
                27100,
                vec![(27000, 13), (27008, 10), (27072, 12), (27088, 13), (27096, 14), (27100, 16)],
            ),
        ];
        for (what, first, last, prefixes) in rows {
            assert_eq!(port_prefixes(range(first, last)), prefixes, "{what}");
        }
        assert_eq!(port_prefixes(range(1, 65534)).len(), 30, "the worst case");
    }

    #[test]
    fn sources_are_mapped_and_truncated() {
        let rows = [
            ("198.18.0.0/15", "198.18.0.0/15", 32 + 96 + 15),
            ("198.19.1.2/15", "198.18.0.0/15", 32 + 96 + 15),
            ("0.0.0.0/0", "0.0.0.0/0", 32 + 96),
            ("fd00:18::1/32", "fd00:18::/32", 32 + 32),
            ("fd00::1/128", "fd00::1/128", 32 + 128),
        ];
        for (net, text, bits) in rows {
            let prefix = source(7, &net.parse().unwrap());
            assert_eq!((dump::source_text(&prefix).as_str(), prefix.bits), (text, bits), "{net}");
        }
    }

    proptest! {
        #[test]
        fn prefixes_cover_exactly_the_range(a in 1_u16.., b in 1_u16..) {
            let (first, last) = (a.min(b), a.max(b));
            let mut next = u32::from(first);
            let prefixes = port_prefixes(range(first, last));
            prop_assert!(prefixes.len() <= 30);
            for (port, bits) in prefixes {
                prop_assert_eq!(u32::from(port), next);
                next += 1 << (16 - bits);
            }
            prop_assert_eq!(next, u32::from(last) + 1);
        }
    }
}
