//! What has to be remembered between two readings of one backend.

use std::time::Instant;

use super::{Host, LinkCounts, NetworkUse, Reading, Utilisations, utilisations};

/// The latest reading of one backend.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    latest: Option<(Instant, Reading)>,
    link: Option<LinkCounts>,
}

impl Meter {
    /// Compares a reading, made at `now`, with the one before, and remembers it. `link` is the
    /// host's end of the container's veth, `link_limit` what it may carry, in bytes a second.
    pub fn take(
        &mut self,
        now: Instant,
        reading: Reading,
        link: Option<LinkCounts>,
        link_limit: Option<u64>,
        host: Host,
    ) -> Utilisations {
        let network = NetworkUse { before: self.link, after: link, limit: link_limit };
        let (before, elapsed) = match &self.latest {
            // A clock that went backwards has stood still.
            Some((then, before)) => (Some(before), now.saturating_duration_since(*then)),
            None => (None, std::time::Duration::ZERO),
        };
        let found = utilisations(before, &reading, elapsed, host, network);
        (self.latest, self.link) = (Some((now, reading)), link);
        found
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::host::{Cpu, Unknown};

    const HOST: Host = Host { cpus: 1, memory: 1 << 30 };

    fn used(seconds: u64) -> Reading {
        let mut reading = Reading::default();
        let usage_ns = Some(seconds * 1_000_000_000);
        reading.cpu.push(0, Cpu { usage_ns, ..Cpu::default() });
        reading
    }

    #[test]
    fn each_reading_is_compared_with_the_one_before() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut meter = Meter::default();
        #[rustfmt::skip]
        let table = [
            (at(10), used(5), Err(Unknown::First)),
            (at(12), used(6), Ok(0.5)),
            (at(12), used(6), Err(Unknown::TooSoon)),
            (at(14), used(8), Ok(1.0)),
            (at(11), used(8), Err(Unknown::TooSoon)),
            (at(13), used(7), Err(Unknown::Reset)),
            (at(15), used(7), Ok(0.0)),
        ];
        for (now, reading, expected) in table {
            assert_eq!(meter.take(now, reading, None, None, HOST).cpu, expected, "{reading:?}");
        }
    }

    #[test]
    fn a_link_is_compared_too() {
        let start = Instant::now();
        let link = |received_bytes| Some(LinkCounts { received_bytes, ..LinkCounts::default() });
        let mut meter = Meter::default();
        for (seconds, link, expected) in [
            (1, link(0), Err(Unknown::First)),
            (2, link(50), Ok(0.5)),
            (3, None, Err(Unknown::Absent)),
            (4, link(100), Err(Unknown::First)),
            (5, link(100), Ok(0.0)),
        ] {
            let now = start + Duration::from_secs(seconds);
            let found = meter.take(now, Reading::default(), link, Some(100), HOST);
            assert_eq!(found.network, expected, "at {seconds}");
        }
    }
}
