//! The policies: what they know, and whom they choose.

use super::{random::Random, server::Server};

/// A policy of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Policy {
    RoundRobin,
    Weighted,
    LeastConnections,
    WeightedLeastConnections,
    P2c,
    ShortestDelay,
    LeastInFlight,
    ClassicCpu,
    Classic,
    Maglev,
    AdaptiveOne,
    AdaptiveFour,
    AdaptiveQueue,
    AdaptiveCpu,
    Adaptive,
    Oracle,
}

/// How a policy chooses among weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    /// In turn, as often as weights say.
    Turn,
    /// By chance, as weights say: what a hash over many clients does.
    Hash,
    /// The fewest connections by weight.
    Connections,
    /// The same, counting the one that is to come.
    Delay,
    /// The better of two drawn evenly, by connections.
    TwoByConnections,
    /// Requests in flight and half the one to come, by weight.
    InFlight,
    /// Requests in flight and the one to come, by weight.
    InFlightAndOne,
    /// As `InFlight`, among four drawn by weight.
    FourInFlight,
}

/// Where weights come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Basis {
    /// All alike: nobody configured anything.
    Equal,
    /// The speeds of the start: somebody configured the right thing, once.
    Configured,
    /// The speeds of the moment: nobody can know them.
    True,
    /// Live load by the control law, with what it may see.
    Law(Sight),
    /// The literature's feedback on a mix of utilisations.
    Mix { cpu_only: bool },
}

/// What the control law may see beside the dataplane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// CPU and disk.
    Host,
    /// Only the CPU.
    Cpu,
    /// Nothing.
    Queue,
}

impl Policy {
    pub(crate) const ALL: [Self; 16] = [
        Self::RoundRobin,
        Self::Weighted,
        Self::LeastConnections,
        Self::WeightedLeastConnections,
        Self::P2c,
        Self::ShortestDelay,
        Self::LeastInFlight,
        Self::ClassicCpu,
        Self::Classic,
        Self::Maglev,
        Self::AdaptiveOne,
        Self::AdaptiveFour,
        Self::AdaptiveQueue,
        Self::AdaptiveCpu,
        Self::Adaptive,
        Self::Oracle,
    ];

    /// The name for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::Weighted => "weighted, right weights",
            Self::LeastConnections => "least-connections",
            Self::WeightedLeastConnections => "weighted least-conn., right",
            Self::P2c => "p2c",
            Self::ShortestDelay => "shortest-delay, right",
            Self::LeastInFlight => "least in flight",
            Self::ClassicCpu => "classic, CPU only",
            Self::Classic => "classic, CPU and IO",
            Self::Maglev => "maglev, water-filled",
            Self::AdaptiveOne => "adaptive, one whole turn",
            Self::AdaptiveFour => "adaptive, 4 sampled",
            Self::AdaptiveQueue => "adaptive, no host figures",
            Self::AdaptiveCpu => "adaptive, CPU figures only",
            Self::Adaptive => "adaptive",
            Self::Oracle => "oracle",
        }
    }

    pub(crate) const fn pick(self) -> Pick {
        match self {
            Self::RoundRobin | Self::Weighted | Self::ClassicCpu | Self::Classic => Pick::Turn,
            Self::LeastConnections | Self::WeightedLeastConnections => Pick::Connections,
            Self::P2c => Pick::TwoByConnections,
            Self::ShortestDelay => Pick::Delay,
            Self::Maglev => Pick::Hash,
            Self::AdaptiveOne => Pick::InFlightAndOne,
            Self::AdaptiveFour => Pick::FourInFlight,
            Self::LeastInFlight
            | Self::AdaptiveQueue
            | Self::AdaptiveCpu
            | Self::Adaptive
            | Self::Oracle => Pick::InFlight,
        }
    }

    pub(crate) const fn basis(self) -> Basis {
        match self {
            Self::RoundRobin | Self::LeastConnections | Self::P2c | Self::LeastInFlight => {
                Basis::Equal
            }
            Self::Weighted | Self::WeightedLeastConnections | Self::ShortestDelay => {
                Basis::Configured
            }
            Self::ClassicCpu => Basis::Mix { cpu_only: true },
            Self::Classic => Basis::Mix { cpu_only: false },
            Self::Maglev | Self::AdaptiveOne | Self::AdaptiveFour | Self::Adaptive => {
                Basis::Law(Sight::Host)
            }
            Self::AdaptiveQueue => Basis::Law(Sight::Queue),
            Self::AdaptiveCpu => Basis::Law(Sight::Cpu),
            Self::Oracle => Basis::True,
        }
    }
}

/// Chooses by the weights it was last given.
#[derive(Clone, Debug)]
pub(crate) struct Chooser {
    pick: Pick,
    /// As the dataplane has them; 0 gets nothing.
    weights: Vec<u16>,
    /// Parts of the whole, for drawing.
    shares: Vec<f64>,
    /// What each has waited for its turn.
    credits: Vec<f64>,
    random: Random,
}

impl Chooser {
    pub(crate) fn new(pick: Pick, random: Random, servers: usize) -> Self {
        let even = vec![1.0; servers];
        let mut chooser = Self {
            pick,
            weights: vec![1; servers],
            shares: Vec::new(),
            credits: vec![0.0; servers],
            random,
        };
        chooser.set_shares(&even);
        chooser
    }

    pub(crate) const fn pick(&self) -> Pick {
        self.pick
    }

    /// Takes weights, and the shares of a policy that draws.
    pub(crate) fn set(&mut self, weights: Vec<u16>, shares: &[f64]) {
        self.weights = weights;
        self.set_shares(shares);
    }

    fn set_shares(&mut self, shares: &[f64]) {
        let whole: f64 = shares.iter().sum();
        self.shares = shares.iter().map(|share| share / whole).collect();
    }

    /// The server of a new connection.
    pub(crate) fn choose(&mut self, servers: &[Server]) -> usize {
        let connections = |server: &Server| server.connections;
        // A request that joins `n` others at a server that shares its time takes `n + 1` times its
        // work, and delays each of the others by up to its work: `2n + 1` together.
        let in_flight = |server: &Server| 2 * server.in_flight() + 1;
        match self.pick {
            Pick::Turn => self.turn(),
            Pick::Hash => self.draw(),
            Pick::Connections => self.least(servers, connections),
            Pick::Delay => self.least(servers, |server| server.connections + 1),
            Pick::InFlight => self.least(servers, in_flight),
            Pick::InFlightAndOne => self.least(servers, |server| server.in_flight() + 1),
            Pick::TwoByConnections => {
                let drawn = [(); 2].map(|()| self.random.index(servers.len()));
                self.best(servers, drawn.into_iter(), connections)
            }
            Pick::FourInFlight => {
                let drawn = [(); 4].map(|()| self.draw());
                self.best(servers, drawn.into_iter(), in_flight)
            }
        }
    }

    /// Smooth weighted round-robin.
    fn turn(&mut self) -> usize {
        let mut richest = 0;
        for index in 0..self.credits.len() {
            self.credits[index] += self.shares[index];
            if self.credits[index] > self.credits[richest] {
                richest = index;
            }
        }
        self.credits[richest] -= 1.0;
        richest
    }

    fn draw(&mut self) -> usize {
        let mut left = self.random.part();
        for (index, share) in self.shares.iter().enumerate() {
            left -= share;
            if left < 0.0 {
                return index;
            }
        }
        self.shares.iter().rposition(|share| *share > 0.0).unwrap_or(0)
    }

    /// The least loaded of all, from a random one on: ties go to anybody.
    fn least(&mut self, servers: &[Server], load: impl Fn(&Server) -> u64) -> usize {
        let first = self.random.index(servers.len());
        let order = (first..servers.len()).chain(0..first);
        self.best(servers, order, load)
    }

    /// The first of the least loaded by weight, compared as the dataplane does: without division.
    fn best(
        &self,
        servers: &[Server],
        candidates: impl Iterator<Item = usize>,
        load: impl Fn(&Server) -> u64,
    ) -> usize {
        let open = candidates.filter(|index| self.weights[*index] > 0);
        let loads =
            open.map(|index| (index, load(&servers[index]), u64::from(self.weights[index])));
        let best = loads.reduce(|best, next| {
            let sooner = next.1 * best.2 < best.1 * next.2;
            if sooner { next } else { best }
        });
        best.map_or(0, |(index, _, _)| index)
    }
}
