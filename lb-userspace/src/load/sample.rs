//! What one tick knows about one backend. This is the seam between those who measure and the
//! control law: the dataplane fills in [`Traffic`], whoever can look into the backend's machine
//! fills in [`Host`], and everything in this folder reads nothing else.
//!
//! Nothing here has to be trusted. Rates come from counters that reset, utilisations from files
//! that vanish and from backends that report about themselves. What cannot be true is taken for
//! unknown when it is read ([`Traffic::plausible`], [`Reading::fresh_within`]).

use std::time::Duration;

use crate::model::Weight;

/// One backend in one tick.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Whether it may have new flows at all.
    pub standing: Standing,
    /// Its configured weight: what counts while nothing is known. Zero drains it.
    pub weight: Weight,
    /// What the dataplane saw since the last tick.
    pub traffic: Traffic,
    /// What its machine says.
    pub host: Host,
}

impl Default for Sample {
    /// A backend without a word about it.
    fn default() -> Self {
        Self {
            standing: Standing::default(),
            weight: Weight::DEFAULT,
            traffic: Traffic::default(),
            host: Host::default(),
        }
    }
}

/// What others decided about a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It may have new flows.
    #[default]
    Serving,
    /// Somebody drains it: it keeps its flows and gets no new ones.
    Drained,
    /// It fails its health checks.
    Down,
}

/// What the dataplane counts. A *turn* is a request and its answer: it begins with the first
/// payload of the client and ends with the first payload of the server that follows, or with
/// the failure of the connection. Where turns cannot be seen, connections stand for them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Turns that ended, by an answer or by a failure, a second.
    pub turns_per_s: f64,
    /// Mean number of turns in flight over the tick.
    pub in_flight: f64,
    /// Mean time to the first byte of the turns that ended, in seconds.
    pub first_byte_s: Option<f64>,
    /// Mean time from SYN to SYN-ACK, in seconds.
    pub handshake_s: Option<f64>,
    /// Turns that ended in this tick.
    pub attempts: u64,
    /// How many of them failed.
    pub failures: Failures,
}

/// Failed turns of a tick by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// SYNs that nobody answered.
    pub timed_out: u64,
    /// SYNs answered by a reset.
    pub refused: u64,
    /// Connections reset after the handshake and before the first byte of an answer.
    pub reset: u64,
    /// ICMP said that there is no way.
    pub unreachable: u64,
    /// Failures the backend owns up to, such as status 5xx.
    pub reported: u64,
    /// Connections that failed since the last one that opened: a run that may span ticks.
    pub in_a_row: u64,
}

impl Failures {
    /// All kinds.
    #[must_use]
    pub fn total(&self) -> u64 {
        [self.timed_out, self.refused, self.reset, self.unreachable, self.reported]
            .into_iter()
            .fold(0, u64::saturating_add)
    }
}

/// No backend ends more turns in a second, and none has more of them in flight: a figure above is
/// the difference of a counter that began anew.
const TRAFFIC_MAX: f64 = 1e7;

impl Traffic {
    /// The traffic, unless it is nothing that can have been measured.
    #[must_use]
    pub(crate) fn plausible(&self) -> Option<&Self> {
        let possible = |value: f64| (0.0..=TRAFFIC_MAX).contains(&value);
        let counted = approximate(self.attempts) <= TRAFFIC_MAX;
        (possible(self.turns_per_s) && possible(self.in_flight) && counted).then_some(self)
    }
}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "counts of a tick are far below 2^52")]
pub(crate) const fn approximate(count: u64) -> f64 {
    count as f64
}

/// A utilisation and how old it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Share of the limit, 0 idle, 1 at the limit.
    pub value: f64,
    /// Time since it was measured.
    pub age: Duration,
}

impl Reading {
    /// A reading of this moment.
    #[must_use]
    pub const fn fresh(value: f64) -> Self {
        Self { value, age: Duration::ZERO }
    }

    /// The value between 0 and 1 if it is a number and young enough. A limit may be exceeded by
    /// the length of a scheduler period, so values above 1 are cut, not refused.
    #[must_use]
    pub(crate) fn fresh_within(&self, limit: Duration) -> Option<f64> {
        (self.value >= 0.0 && self.age <= limit).then(|| self.value.min(1.0))
    }
}

/// What a backend's machine or container says about it, each relative to its own limit; `None`
/// where it cannot be known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// CPU time against the quota, or against the CPUs it may run on.
    pub cpu: Option<Reading>,
    /// Share of the scheduler's periods in which the quota ran out.
    pub throttled: Option<Reading>,
    /// Nearness to trouble with memory, see [`memory_utilisation`].
    pub memory: Option<Reading>,
    /// Bytes or operations against their limit, or the share of time in which somebody waits.
    pub io: Option<Reading>,
    /// Bits against the limit of the link.
    pub network: Option<Reading>,
    /// What the backend says about itself (agent check, ORCA).
    pub reported: Option<Reading>,
    /// CPUs it can keep busy at once: quota by period. Not a utilisation.
    pub cores: Option<f64>,
}

/// A backend that is throttled half the time is out of CPU for half of its requests, whatever
/// the mean says: the share of throttled periods counts nearly in full.
const THROTTLED_WEIGHT: f64 = 0.9;
/// Below this share of the limit memory costs nothing.
const MEMORY_KNEE: f64 = 0.8;
/// A quarter of the time stalled on memory is the end.
const MEMORY_STALL_GAIN: f64 = 4.0;

/// How near a backend is to trouble with memory: nothing up to 80 % of the limit, then steeply up;
/// `stalled` is the share of time in which somebody waited for memory (PSI "some").
#[must_use]
pub fn memory_utilisation(used_of_limit: f64, stalled: f64) -> f64 {
    let near = ((used_of_limit - MEMORY_KNEE) / (1.0 - MEMORY_KNEE)).clamp(0.0, 1.0);
    // `f64::max` passes over what is not a number.
    near.max((MEMORY_STALL_GAIN * stalled).clamp(0.0, 1.0)).max(0.0)
}

/// What can limit a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// Processor time.
    Cpu,
    /// Memory.
    Memory,
    /// Disks.
    Io,
    /// The link.
    Network,
}

impl Resource {
    /// All, in the order of documentation.
    pub const ALL: [Self; 4] = [Self::Cpu, Self::Memory, Self::Io, Self::Network];

    /// The word for people and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Io => "io",
            Self::Network => "network",
        }
    }
}

impl Host {
    /// The utilisation of a resource if it is known and young enough.
    #[must_use]
    pub(crate) fn utilisation(&self, resource: Resource, limit: Duration) -> Option<f64> {
        let fresh = |reading: &Option<Reading>| reading.as_ref()?.fresh_within(limit);
        match resource {
            Resource::Cpu => {
                let throttled = fresh(&self.throttled).map(|share| THROTTLED_WEIGHT * share);
                fresh(&self.cpu).map(|used| used.max(throttled.unwrap_or(0.0))).or(throttled)
            }
            Resource::Memory => fresh(&self.memory),
            Resource::Io => fresh(&self.io),
            Resource::Network => fresh(&self.network),
        }
    }

    /// Servers of the queue that a backend is: its cores, at least one.
    #[must_use]
    pub(crate) fn servers(&self) -> f64 {
        const SERVERS_MAX: f64 = 4096.0;
        self.cores.unwrap_or(1.0).round().clamp(1.0, SERVERS_MAX).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_counts_near_its_limit_only() {
        #[rustfmt::skip]
        let table = [
            // used, stalled, utilisation
            (0.0,      0.0,      0.0),
            (0.8,      0.0,      0.0),
            (0.9,      0.0,      0.5),
            (1.0,      0.0,      1.0),
            (1.7,      0.0,      1.0),
            (0.1,      0.1,      0.4),
            (0.1,      0.9,      1.0),
            (f64::NAN, 0.1,      0.4),
            (0.9,      f64::NAN, 0.5),
            (f64::NAN, f64::NAN, 0.0),
            (-3.0,     -1.0,     0.0),
        ];
        for (used, stalled, expected) in table {
            let got = memory_utilisation(used, stalled);
            assert!((got - expected).abs() < 1e-9, "{used} {stalled}: {got}");
        }
    }

    #[test]
    fn a_reading_is_known_while_it_is_young_and_a_number() {
        let limit = Duration::from_secs(3);
        #[rustfmt::skip]
        let table = [
            (0.5,               0, Some(0.5)),
            (0.5,               3, Some(0.5)),
            (0.5,               4, None),
            (1.3,               0, Some(1.0)),
            (f64::INFINITY,     0, Some(1.0)),
            (-0.1,              0, None),
            (f64::NAN,          0, None),
            (f64::NEG_INFINITY, 0, None),
        ];
        for (value, age_s, expected) in table {
            let reading = Reading { value, age: Duration::from_secs(age_s) };
            assert_eq!(reading.fresh_within(limit), expected, "{value} after {age_s} s");
        }
    }

    #[test]
    fn a_throttled_backend_is_busy() {
        let limit = Duration::from_secs(3);
        let reading = |value: f64| (value >= 0.0).then(|| Reading::fresh(value));
        #[rustfmt::skip]
        let table = [
            // cpu, throttled (negative: unknown), utilisation
            (0.5, -1.0, Some(0.5)),
            (0.5,  0.2, Some(0.5)),
            (0.5,  1.0, Some(0.9)),
            (-1.0, 1.0, Some(0.9)),
            (-1.0, -1.0, None),
        ];
        for (cpu, throttled, expected) in table {
            let host = Host { cpu: reading(cpu), throttled: reading(throttled), ..Host::default() };
            assert_eq!(host.utilisation(Resource::Cpu, limit), expected, "{cpu} {throttled}");
        }
    }

    #[test]
    fn impossible_traffic_is_unknown() {
        let traffic = |turns_per_s, in_flight, attempts| Traffic {
            turns_per_s,
            in_flight,
            attempts,
            ..Traffic::default()
        };
        #[rustfmt::skip]
        let table = [
            (traffic(0.0, 0.0, 0),             true),
            (traffic(90.0, 3.5, 90),           true),
            (traffic(f64::NAN, 0.0, 0),        false),
            (traffic(1.0, f64::NAN, 0),        false),
            (traffic(-1.0, 0.0, 0),            false),
            (traffic(1.0, -0.5, 0),            false),
            (traffic(f64::INFINITY, 0.0, 0),   false),
            (traffic(1e12, 0.0, 0),            false),
            // The difference of a counter that began anew.
            (traffic(1.0, 0.0, u64::MAX - 9),  false),
        ];
        for (traffic, expected) in table {
            assert_eq!(traffic.plausible().is_some(), expected, "{traffic:?}");
        }
    }

    #[test]
    fn cores_are_whole_and_at_least_one() {
        for (cores, servers) in [
            (None, 1.0),
            (Some(0.2), 1.0),
            (Some(2.6), 3.0),
            (Some(f64::NAN), 1.0),
            (Some(-4.0), 1.0),
            (Some(f64::INFINITY), 4096.0),
        ] {
            let host = Host { cores, ..Host::default() };
            assert!((host.servers() - servers).abs() < 1e-9, "{cores:?}");
        }
    }
}
