//! The policies that are compared: those of the dataplane, with what each of them is told.

use crate::balance::sim::SPEEDS;

/// A policy and what its user told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    RoundRobin,
    /// Weighted round-robin with the right weights.
    Weighted,
    LeastConnections,
    /// Weighted least-connections with the right weights.
    WeightedLeastConnections,
    P2c,
    /// Linear mix of utilisations.
    Classic,
    /// Without weights, with the control groups of the backends in sight.
    Adaptive,
    /// The same without: what the packets show has to do.
    AdaptiveBlind,
    /// Consistent hashing by shares that follow live load.
    AdaptiveMaglev,
    /// Consistent hashing by weights.
    Maglev,
}

impl Way {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::Weighted => "weighted-round-robin, right weights",
            Self::LeastConnections => "least-connections",
            Self::WeightedLeastConnections => "weighted-least-connections, right weights",
            Self::P2c => "p2c",
            Self::Classic => "classic",
            Self::Adaptive => "adaptive",
            Self::AdaptiveBlind => "adaptive, packets only",
            Self::AdaptiveMaglev => "adaptive-maglev",
            Self::Maglev => "maglev",
        }
    }

    /// As in the configuration.
    pub(super) const fn policy(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::Weighted => "weighted-round-robin",
            Self::LeastConnections => "least-connections",
            Self::WeightedLeastConnections => "weighted-least-connections",
            Self::P2c => "p2c",
            Self::Classic => "classic",
            Self::Adaptive | Self::AdaptiveBlind => "adaptive",
            Self::AdaptiveMaglev => "adaptive-maglev",
            Self::Maglev => "maglev",
        }
    }

    /// The weight of a backend: in proportion to its speed where somebody set weights.
    pub(super) fn weight(self, backend: usize) -> u32 {
        let set = matches!(self, Self::Weighted | Self::WeightedLeastConnections);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1, 2 or 4")]
        if set { (4.0 * SPEEDS[backend]) as u32 } else { 1 }
    }

    /// Whether the daemon is told the control groups of the backends.
    pub(super) const fn sees_groups(self) -> bool {
        matches!(self, Self::Adaptive | Self::AdaptiveMaglev | Self::Classic)
    }
}
