//! Automatic ports: who has which. No I/O.
//!
//! The first choice is computed from the service's name, so that it is the same on every host and
//! after the loss of every memory. Where another one has that port, the next free one is taken; only
//! what is written down makes such a choice last.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::{PortRange, Protocol};

/// Who has which automatic port: a service, its protocol, the port of its containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leases {
    ports: BTreeMap<String, u16>,
}

/// Why a text is no list of leases.
#[derive(Debug, thiserror::Error)]
#[error("it is no list of ports: {0}")]
pub struct LeaseError(#[from] serde_json::Error);

impl Leases {
    /// Reads what [`to_text`](Self::to_text) wrote.
    pub fn from_text(text: &str) -> Result<Self, LeaseError> {
        Ok(serde_json::from_str(text)?)
    }

    /// The leases as text.
    pub fn to_text(&self) -> Result<String, LeaseError> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }
}

/// Gives ports to those who want one.
pub(super) struct Lessor<'a> {
    leases: Leases,
    /// Those who want one: their ports are given to nobody else.
    claims: BTreeSet<String>,
    /// Whether a port is to be had.
    is_free: &'a dyn Fn(u16, Protocol) -> bool,
}

impl<'a> Lessor<'a> {
    pub(super) fn new(
        leases: Leases,
        claims: BTreeSet<String>,
        is_free: &'a dyn Fn(u16, Protocol) -> bool,
    ) -> Self {
        Self { leases, claims, is_free }
    }

    /// The port of a claim: the one it had, else a free one of the range. A port whose last holder
    /// is gone is kept for it until all others are given away.
    pub(super) fn port(
        &mut self,
        claim: &str,
        protocol: Protocol,
        range: PortRange,
    ) -> Option<u16> {
        let free = |port: u16| (self.is_free)(port, protocol);
        let had = self.leases.ports.remove(claim);
        let chosen = had.filter(|port| range.contains(*port) && free(*port)).or_else(|| {
            let of_protocol = |claim: &&String| claim.ends_with(&format!("/{protocol}"));
            let leases = self.leases.ports.iter().filter(|(claim, _)| of_protocol(claim));
            let (wanted, kept): (Vec<_>, Vec<_>) =
                leases.partition(|(claim, _)| self.claims.contains(*claim));
            let ports = |list: Vec<(&String, &u16)>| -> BTreeSet<u16> {
                list.into_iter().map(|(_, port)| *port).collect()
            };
            let (wanted, kept) = (ports(wanted), ports(kept));
            let is_kept = |port: &u16| kept.contains(port);
            let others = || candidates(claim, range).filter(|port| !wanted.contains(port));
            others()
                .filter(|port| !is_kept(port))
                .find(|port| free(*port))
                .or_else(|| others().filter(is_kept).find(|port| free(*port)))
        })?;
        self.leases
            .ports
            .retain(|other, port| *port != chosen || !other.ends_with(&format!("/{protocol}")));
        self.leases.ports.insert(claim.to_owned(), chosen);
        Some(chosen)
    }

    /// All leases.
    pub(super) fn finish(self) -> Leases {
        self.leases
    }
}

/// All ports of the range, from the one that the claim itself points at.
fn candidates(claim: &str, range: PortRange) -> impl Iterator<Item = u16> {
    let width = u64::from(range.width());
    let start = fnv1a(claim.as_bytes()) % width;
    (0..width).filter_map(move |step| {
        u16::try_from((start + step) % width).ok()?.checked_add(range.first())
    })
}

/// FNV-1a of 64 bits (RFC 9923): what it makes of a name never changes, as a library's hash may.
fn fnv1a(bytes: &[u8]) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.iter().fold(BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: PortRange = PortRange::DYNAMIC;

    fn small() -> PortRange {
        PortRange::new(100, 102).unwrap()
    }

    /// The port of each claim in turn, with these leases and these ports in use.
    fn give(
        leases: &Leases,
        claims: &[&str],
        range: PortRange,
        busy: &[u16],
    ) -> (Vec<Option<u16>>, Leases) {
        let is_free = |port: u16, _| !busy.contains(&port);
        let all = claims.iter().map(|claim| (*claim).to_owned()).collect();
        let mut lessor = Lessor::new(leases.clone(), all, &is_free);
        let ports = claims.iter().map(|claim| {
            let protocol = if claim.ends_with("udp") { Protocol::Udp } else { Protocol::Tcp };
            lessor.port(claim, protocol, range)
        });
        (ports.collect(), lessor.finish())
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_port_is_the_same_each_time_even_without_memory() {
        let (first, leases) = give(&Leases::default(), &["web 80/tcp"], RANGE, &[]);
        let port = first[0].unwrap();
        assert!(RANGE.contains(port));
        assert_eq!(give(&Leases::default(), &["web 80/tcp"], RANGE, &[]).0, first);
        assert_eq!(give(&leases, &["api 80/tcp", "web 80/tcp"], RANGE, &[]).0[1], first[0]);
        // Whoever has it now, the old one has another until it has this one again.
        let (moved, leases) = give(&leases, &["web 80/tcp"], RANGE, &[port]);
        assert_ne!(moved[0], first[0]);
        assert_eq!(give(&leases, &["web 80/tcp"], RANGE, &[]).0, moved);
    }

    #[test]
    fn a_collision_is_remembered() {
        let claims = ["a 80/tcp", "b 80/tcp", "c 80/tcp"];
        let (ports, leases) = give(&Leases::default(), &claims, small(), &[]);
        let set: BTreeSet<_> = ports.iter().flatten().copied().collect();
        assert_eq!(set.into_iter().collect::<Vec<_>>(), [100, 101, 102]);
        for (claim, port) in claims.iter().zip(&ports) {
            assert_eq!(give(&leases, &[claim], small(), &[]).0, [*port], "{claim} alone");
        }
        // The protocols have ports of their own.
        assert!(give(&leases, &["a 80/udp"], small(), &[]).0[0].is_some());
    }

    #[test]
    fn a_port_is_kept_for_who_had_it_until_there_is_no_other() {
        let (_, leases) = give(&Leases::default(), &["a 80/tcp", "b 80/tcp"], small(), &[]);
        let (third, leases) = give(&leases, &["c 80/tcp"], small(), &[]);
        assert_eq!(leases.ports.len(), 3);
        let (both, leases) = give(&leases, &["c 80/tcp", "d 80/tcp"], small(), &[]);
        assert_eq!(both[0], third[0], "what is in use stays");
        assert!(both[1].is_some() && leases.ports.len() == 3, "{leases:?}");
        let claims = ["c 80/tcp", "d 80/tcp", "e 80/tcp", "f 80/tcp"];
        assert_eq!(give(&leases, &claims, small(), &[]).0.iter().flatten().count(), 3);
        assert_eq!(give(&Leases::default(), &claims[..1], small(), &[100, 101, 102]).0, [None]);
    }

    #[test]
    fn another_range_means_another_port() {
        let (_, leases) = give(&Leases::default(), &["a 80/tcp"], RANGE, &[]);
        let (ports, _) = give(&leases, &["a 80/tcp"], small(), &[]);
        assert!(ports[0].is_some_and(|port| small().contains(port)));
    }

    #[test]
    fn leases_are_text_and_nothing_else_is() {
        let (_, leases) = give(&Leases::default(), &["a 80/tcp", "b 53/udp"], small(), &[]);
        assert_eq!(Leases::from_text(&leases.to_text().unwrap()).unwrap(), leases);
        for text in ["", "[]", "{}", r#"{"ports":{"a":65536}}"#, r#"{"ports":{"a":"80"}}"#] {
            let error = Leases::from_text(text).unwrap_err().to_string();
            assert!(error.starts_with("it is no list of ports: "), "{text}: {error}");
        }
    }
}
