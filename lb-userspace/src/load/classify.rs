//! What limits a backend, and whether what we can see explains how long it takes.
//!
//! The largest of the utilisations is the bottleneck. Whether it explains the waiting is asked of
//! the queue: a server at utilisation `U` holds `U / (1 - U)` turns on average. If it holds many
//! more than that, then something limits it that no utilisation shows: a disk without figures, a
//! lock, another service that it waits for. Then the number of turns in flight itself says how
//! busy it is, by turning the formula around.
//!
//! For several cores the formula is Sakasegawa's, "An approximation formula `Lq ≃ α·ρ^β/(1-ρ)`",
//! Ann. Inst. Stat. Math. 29 (1977), 67-75: exact for one server, close for more.

use std::fmt;

use serde::Serialize;

use super::sample::Resource;

/// What limits a backend or a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Nothing in particular.
    #[default]
    Light,
    /// A resource whose utilisation is known.
    Bound(Resource),
    /// Something that no utilisation shows.
    Latency,
}

impl Class {
    /// The word for people and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Bound(resource) => resource.name(),
            Self::Latency => "latency-bound",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Class {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// What the averages of a backend say about it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Pressure {
    /// The known bottleneck and its utilisation.
    pub(crate) bottleneck: Option<(Resource, f64)>,
    /// Whether it leads clearly.
    clear: bool,
    /// Turns in flight, relative to what the bottleneck explains. `None` if there is nothing that
    /// could explain any.
    pub(crate) explained: Option<f64>,
    /// How busy it would count as if it reported nothing of itself.
    pub(crate) seen: f64,
    /// What counts: 0 idle, 1 saturated.
    pub(crate) utilisation: f64,
    /// Parts of the resources in the whole of the utilisations, in the order of [`Resource::ALL`].
    pub(crate) parts: [f64; Resource::ALL.len()],
}

/// A queue this many times as long as what explains it is still no sign of something hidden:
/// arrivals come in bursts. Taken off before the queue is turned into a utilisation.
const EXPLAINED: f64 = 1.25;
/// A bottleneck that explains less than half of what waits is not the one.
const HIDDEN: f64 = 2.0;
/// A bottleneck is used at least so much ..
const BOUND_MIN: f64 = 0.3;
/// .. and so much more than the next resource.
const LEAD_MIN: f64 = 0.1;

/// Judges smoothed utilisations by resource, the backend's own report, and the mean number of
/// turns in flight at a backend with so many servers.
pub(crate) fn judge(
    resources: [Option<f64>; Resource::ALL.len()],
    reported: Option<f64>,
    in_flight: f64,
    servers: f64,
) -> Pressure {
    let known = resources.map(|it| it.unwrap_or(0.0));
    let bottleneck = Resource::ALL
        .into_iter()
        .zip(resources)
        .filter_map(|(resource, used)| Some((resource, used?)))
        .reduce(|best, next| if next.1 > best.1 { next } else { best });
    let explained = bottleneck.map(|(_, used)| explained(in_flight, used, servers));
    let used = bottleneck.map_or(0.0, |(_, used)| used);
    let second = Resource::ALL
        .into_iter()
        .zip(known)
        .filter(|(resource, _)| bottleneck.is_some_and(|(first, _)| first != *resource))
        .map(|(_, used)| used)
        .fold(0.0, f64::max);
    // The larger one, never a mixture that depends on their ratio: a backend whose utilisation
    // rises must not seem to have become less busy.
    let allowance = if bottleneck.is_some() { EXPLAINED } else { 1.0 };
    let pressure = utilisation_of(in_flight / allowance, servers);
    let seen = used.max(pressure).clamp(0.0, 1.0);
    // A report can only add to what is seen: who belittles its load gains nothing, and who
    // exaggerates it gets less, within the limits of all capacities.
    let utilisation = seen.max(reported.unwrap_or(0.0).clamp(0.0, 1.0));
    let whole: f64 = known.iter().sum();
    Pressure {
        bottleneck,
        clear: used >= BOUND_MIN && used - second >= LEAD_MIN,
        explained,
        seen,
        utilisation,
        parts: known.map(|used| if whole > 0.0 { used / whole } else { 0.0 }),
    }
}

/// The ratio of the turns in flight to those that the utilisation explains.
fn explained(in_flight: f64, used: f64, servers: f64) -> f64 {
    const RATIO_MAX: f64 = 1e6;
    let explained = used * servers / (1.0 - used).max(1e-9);
    if in_flight <= 0.0 { 0.0 } else { (in_flight / explained.max(1e-9)).min(RATIO_MAX) }
}

/// The utilisation at which a queue with so many servers holds so many turns.
pub(crate) fn utilisation_of(in_flight: f64, servers: f64) -> f64 {
    if in_flight.is_nan() || in_flight <= 0.0 {
        return 0.0;
    }
    if servers <= 1.0 {
        return if in_flight.is_infinite() { 1.0 } else { in_flight / (1.0 + in_flight) };
    }
    // The formula rises with the utilisation, so halving the interval finds it.
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        if in_flight_at(middle, servers) < in_flight {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// Sakasegawa's formula.
fn in_flight_at(utilisation: f64, servers: f64) -> f64 {
    let waiting = utilisation.powf((2.0 * (servers + 1.0)).sqrt()) / (1.0 - utilisation);
    servers.mul_add(utilisation, waiting)
}

/// Seconds of a window: long against a queue's ups and downs.
const WINDOW_S: f64 = 10.0;
/// Windows that vote.
const WINDOWS: usize = 5;

/// Gives a backend its class: by majority of the last windows, so that a burst is not a class.
#[derive(Clone, Debug, Default)]
pub(crate) struct Classifier {
    /// Whether the known bottleneck explained the queue, the newest last.
    votes: Vec<bool>,
    elapsed_s: f64,
    hidden_s: f64,
}

impl Classifier {
    /// Takes a tick and says the class.
    pub(crate) fn class(&mut self, pressure: &Pressure, dt_s: f64) -> Class {
        let hidden = pressure.explained.is_some_and(|ratio| ratio > HIDDEN);
        self.elapsed_s += dt_s;
        self.hidden_s += if hidden { dt_s } else { 0.0 };
        if self.elapsed_s >= WINDOW_S {
            self.votes.push(2.0 * self.hidden_s <= self.elapsed_s);
            let surplus = self.votes.len().saturating_sub(WINDOWS);
            self.votes.drain(..surplus);
            (self.elapsed_s, self.hidden_s) = (0.0, 0.0);
        }
        let explained = self.votes.iter().filter(|&&vote| vote).count();
        let known = if self.votes.is_empty() { !hidden } else { 2 * explained > self.votes.len() };
        match pressure.bottleneck {
            // Little waits at a backend with little to do, whatever it waits for.
            Some(_) if !known && pressure.utilisation >= BOUND_MIN => Class::Latency,
            Some((resource, _)) if known && pressure.clear => Class::Bound(resource),
            // Whatever keeps it busy, nothing says what.
            None if pressure.utilisation >= BOUND_MIN => Class::Latency,
            Some(_) | None => Class::Light,
        }
    }
}

/// The class of a service: that of most of its turns, ties to the first in the order of [`Class`].
pub(crate) fn vote(backends: impl Iterator<Item = (Class, f64)>) -> Class {
    let mut votes: std::collections::BTreeMap<Class, f64> = std::collections::BTreeMap::new();
    for (class, turns_per_s) in backends {
        *votes.entry(class).or_default() += turns_per_s;
    }
    votes
        .into_iter()
        .filter(|(_, turns_per_s)| *turns_per_s > 0.0)
        .reduce(|best, next| if next.1 > best.1 { next } else { best })
        .map_or(Class::Light, |(class, _)| class)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPU: Class = Class::Bound(Resource::Cpu);
    const IO: Class = Class::Bound(Resource::Io);

    #[test]
    fn one_server_is_turned_around_exactly() {
        for utilisation in [0.0, 0.01, 0.3, 0.7, 0.95, 0.999] {
            let in_flight: f64 = utilisation / (1.0 - utilisation);
            assert!((utilisation_of(in_flight, 1.0) - utilisation).abs() < 1e-9);
            assert!((in_flight_at(utilisation, 1.0) - in_flight).abs() < 1e-9, "{utilisation}");
        }
    }

    #[test]
    fn several_servers_are_turned_around_as_well() {
        // Turns in an M/M/c queue by Erlang's C formula, within Sakasegawa's few percent.
        #[rustfmt::skip]
        let table = [
            // servers, utilisation, in flight
            (2.0, 0.5, 1.3333),
            (2.0, 0.9, 9.4737),
            (4.0, 0.5, 2.1739),
            (4.0, 0.8, 5.5857),
            (8.0, 0.9, 13.5166),
        ];
        for (servers, utilisation, in_flight) in table {
            let got = utilisation_of(in_flight, servers);
            assert!((got - utilisation).abs() < 0.02, "{servers} {utilisation}: {got}");
        }
    }

    #[test]
    fn any_queue_has_a_utilisation() {
        for servers in [1.0, 2.0, 64.0, 4096.0] {
            for (in_flight, expected) in [(0.0, 0.0), (-1.0, 0.0), (f64::NAN, 0.0)] {
                assert!((utilisation_of(in_flight, servers) - expected).abs() < 1e-9);
            }
            for in_flight in [1e-12, 1e7, f64::MAX, f64::INFINITY] {
                let got = utilisation_of(in_flight, servers);
                assert!((0.0..=1.0).contains(&got), "{servers} {in_flight}: {got}");
            }
        }
    }

    /// cpu, memory, io, network; negative: unknown.
    fn resources(used: [f64; 4]) -> [Option<f64>; 4] {
        used.map(|used| (used >= 0.0).then_some(used))
    }

    #[test]
    fn the_class_is_what_limits() {
        #[rustfmt::skip]
        let table = [
            // cpu, memory, io, network, in flight, class
            ([0.7,  0.0,  0.0,  0.0],  2.3, CPU),
            ([0.7,  0.0,  0.65, 0.0],  2.3, Class::Light),
            ([0.1,  0.0,  0.7,  0.0],  2.3, IO),
            ([0.1,  0.0,  0.0,  0.5],  1.0, Class::Bound(Resource::Network)),
            ([0.1,  0.6,  0.0,  0.0],  1.5, Class::Bound(Resource::Memory)),
            ([0.25, 0.0,  0.0,  0.0],  0.3, Class::Light),
            ([0.1,  0.0,  0.0,  0.0],  2.3, Class::Latency),
            ([0.5,  0.0,  0.0,  0.0],  9.0, Class::Latency),
            // Nothing waits, so nothing is hidden.
            ([0.01, 0.0,  0.0,  0.0],  0.1, Class::Light),
            // A saturated backend explains any queue.
            ([1.0,  0.0,  0.0,  0.0], 90.0, CPU),
            // No utilisation is known.
            ([-1.0, -1.0, -1.0, -1.0], 9.0, Class::Latency),
            ([-1.0, -1.0, -1.0, -1.0], 0.1, Class::Light),
            ([0.0,  0.0,  0.0,  0.0],  0.0, Class::Light),
        ];
        for (used, in_flight, class) in table {
            let pressure = judge(resources(used), None, in_flight, 1.0);
            assert_eq!(Classifier::default().class(&pressure, 1.0), class, "{used:?} {in_flight}");
        }
    }

    #[test]
    fn a_class_takes_a_majority_of_windows() {
        let known = judge(resources([0.7, 0.0, 0.0, 0.0]), None, 2.3, 1.0);
        let hidden = judge(resources([0.7, 0.0, 0.0, 0.0]), None, 23.0, 1.0);
        let mut classifier = Classifier::default();
        let mut windows = |pressure: &Pressure, count: usize| {
            let classes = (0..10 * count).map(|_| classifier.class(pressure, 1.0));
            classes.last().unwrap()
        };
        assert_eq!(windows(&known, 5), CPU);
        assert_eq!(windows(&hidden, 2), CPU);
        assert_eq!(windows(&hidden, 1), Class::Latency);
        assert_eq!(windows(&known, 2), Class::Latency);
        assert_eq!(windows(&known, 1), CPU);
    }

    #[test]
    fn the_utilisation_is_the_bottleneck_s_unless_something_is_hidden() {
        #[rustfmt::skip]
        let table = [
            // cpu, io, reported, in flight, utilisation
            (0.7,  0.2,  -1.0, 2.3,  0.7),
            (0.2,  0.8,  -1.0, 4.0,  0.8),
            (0.1,  -1.0, -1.0, 5.0,  0.8),
            (0.7,  0.2,  0.9,  2.3,  0.9),
            (0.7,  0.2,  0.1,  2.3,  0.7),
            (-1.0, -1.0, -1.0, 4.0,  0.8),
            (-1.0, -1.0, -1.0, 0.0,  0.0),
            (0.5,  -1.0, -1.0, 3.75, 0.75),
        ];
        for (cpu, io, reported, in_flight, expected) in table {
            let reported = (reported >= 0.0).then_some(reported);
            let pressure = judge(resources([cpu, -1.0, io, -1.0]), reported, in_flight, 1.0);
            assert!((pressure.utilisation - expected).abs() < 1e-9, "{pressure:?} {expected}");
        }
    }

    #[test]
    fn parts_are_of_the_whole() {
        let parts = judge(resources([0.6, 0.0, 0.2, -1.0]), None, 1.0, 1.0).parts;
        assert!((parts[0] - 0.75).abs() < 1e-9 && (parts[2] - 0.25).abs() < 1e-9, "{parts:?}");
        assert!(judge([None; 4], None, 1.0, 1.0).parts.iter().all(|part| *part == 0.0));
    }

    #[test]
    fn services_are_what_most_of_their_turns_are() {
        #[rustfmt::skip]
        let table: [(&[(Class, f64)], Class); 5] = [
            (&[], Class::Light),
            (&[(CPU, 0.0)], Class::Light),
            (&[(CPU, 10.0), (IO, 30.0)], IO),
            (&[(CPU, 10.0), (IO, 15.0), (CPU, 10.0)], CPU),
            (&[(Class::Latency, 5.0), (CPU, 5.0)], CPU),
        ];
        for (backends, class) in table {
            assert_eq!(vote(backends.iter().copied()), class, "{backends:?}");
        }
    }
}
