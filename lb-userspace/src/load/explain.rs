//! Why a capacity is what it is, for people: one sentence a backend.

use std::fmt;

use serde::Serialize;

use super::{classify::Class, outlier::Cause, sample::Resource};

/// What was known of a backend, and what was made of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// What limits it.
    pub class: Class,
    /// The busiest of its known resources, and how busy it is.
    pub bottleneck: Option<(Resource, f64)>,
    /// How busy it says it is itself.
    pub reported: Option<f64>,
    /// How busy it would count as without that.
    pub seen: f64,
    /// How busy it counts as, 0 to 1.
    pub utilisation: f64,
    /// Turns in flight relative to those that the bottleneck explains ("r"): about 1 when it
    /// explains them, far above when something else does.
    pub explained: Option<f64>,
    /// Parts of cpu, memory, io and network in the sum of their utilisations.
    pub parts: [f64; 4],
    /// Turns a second.
    pub turns_per_s: f64,
    /// Mean turns in flight.
    pub in_flight: f64,
    /// Share of turns that fail, 0 to 1.
    pub error_share: f64,
    /// Turns a second at full utilisation; the static weight while no backend of the service
    /// has been measured.
    pub capacity: f64,
    /// What stands between the measurement and the capacity.
    #[serde(serialize_with = "as_text")]
    pub guard: Guard,
}

fn as_text<S: serde::Serializer>(guard: &Guard, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(guard)
}

/// What decided about a capacity, beside the measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Guard {
    /// Nothing: it is what was measured.
    Measured,
    /// The measurement is within the deadband.
    Steady,
    /// It moves there as fast as it may.
    Limited {
        /// What was measured.
        target: f64,
    },
    /// So far from the others that it was cut.
    Cut {
        /// What was measured.
        target: f64,
    },
    /// It is new or back: what is measured now says nothing.
    Blackout {
        /// Seconds until it does.
        left_s: f64,
    },
    /// It is new or back, and gets little until it is measured.
    SlowStart {
        /// Of the median, 0 to 1.
        share: f64,
    },
    /// Too few turns to tell.
    FewTurns {
        /// Turns remembered.
        turns: f64,
        /// Turns needed.
        needed: f64,
    },
    /// Too idle to tell.
    Idle,
    /// The figures of its host are old.
    Stale,
    /// The figures of the dataplane cannot be true.
    Implausible,
    /// Nothing is known any more; it goes back to its static weight.
    Relaxing,
    /// Nothing is known: it has its static weight.
    Static,
    /// Taken out because of its failures.
    Ejected {
        /// Seconds until it may come back.
        left_s: f64,
        /// Why.
        cause: Cause,
    },
    /// Should be out because of its failures, but too few others are left.
    Spared {
        /// Why it should be out.
        cause: Cause,
    },
    /// Drained, or of weight 0.
    Drained,
    /// Fails its health checks.
    Down,
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Measured => f.write_str("as measured"),
            Self::Steady => f.write_str("held: the measurement is within 5 % of it"),
            Self::Limited { target } => {
                write!(f, "on its way to {} as fast as it may change", figure(*target))
            }
            Self::Cut { target } => {
                write!(f, "cut: {} is too far from the other backends", figure(*target))
            }
            Self::Blackout { left_s } => {
                write!(f, "held: new or back, measured in {left_s:.0} s")
            }
            Self::SlowStart { share } => {
                write!(f, "slow start: at most {:.0} % of the median", 100.0 * share)
            }
            Self::FewTurns { turns, needed } => {
                write!(f, "held: {turns:.0} of {needed:.0} turns needed to measure it")
            }
            Self::Idle => f.write_str("held: too idle to measure"),
            Self::Stale => f.write_str("held: the figures of its host are old"),
            Self::Implausible => f.write_str("held: the traffic counters cannot be true"),
            Self::Relaxing => {
                f.write_str("nothing known for long: going back to the static weight")
            }
            Self::Static => f.write_str("not measured: static weight"),
            Self::Ejected { left_s, cause } => {
                write!(f, "ejected for {left_s:.0} s: {cause}")
            }
            Self::Spared { cause } => {
                write!(f, "not ejected, too few others are left: {cause}")
            }
            Self::Drained => f.write_str("drained"),
            Self::Down => f.write_str("down: fails its health checks"),
        }
    }
}

/// A report so far above all that is seen deserves a look.
const DOUBTFUL: f64 = 0.5;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.bottleneck, self.explained, self.class) {
            (Some((resource, used)), Some(ratio), Class::Latency) => {
                let waits = format_args!("{:.1} turns in flight", self.in_flight);
                let known = format_args!("{} at {:.0} %", resource.name(), 100.0 * used);
                write!(
                    f,
                    "waits on something unseen ({waits}, {ratio:.0} times what {known} explains)"
                )?;
            }
            (Some((resource, used)), _, _) => {
                write!(f, "{} at {:.0} %", resource.name(), 100.0 * used)?;
            }
            (None, _, _) => {
                write!(f, "{:.0} % busy by its turns in flight", 100.0 * self.seen)?;
            }
        }
        if let Some(reported) = self.reported {
            write!(f, ", {:.0} % by its own report", 100.0 * reported)?;
            if reported - self.seen > DOUBTFUL {
                f.write_str(", far more than anything else shows")?;
            }
        }
        if self.error_share >= 0.005 {
            write!(f, ", {:.0} % of turns fail", 100.0 * self.error_share)?;
        }
        write!(f, "; capacity {}, {}", figure(self.capacity), self.guard)
    }
}

/// Three digits.
fn figure(value: f64) -> String {
    match value {
        v if v >= 99.95 => format!("{v:.0}"),
        v if v >= 9.995 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sentence_says_it_all() {
        let base = Explanation {
            class: Class::Bound(Resource::Cpu),
            bottleneck: Some((Resource::Cpu, 0.823)),
            reported: None,
            seen: 0.823,
            utilisation: 0.823,
            explained: Some(1.1),
            parts: [1.0, 0.0, 0.0, 0.0],
            turns_per_s: 39.6,
            in_flight: 4.2,
            error_share: 0.0,
            capacity: 48.12,
            guard: Guard::Measured,
        };
        let hidden = Explanation {
            class: Class::Latency,
            bottleneck: Some((Resource::Cpu, 0.1)),
            explained: Some(36.2),
            guard: Guard::Limited { target: 120.3 },
            ..base.clone()
        };
        let remote = Explanation {
            class: Class::Light,
            bottleneck: None,
            explained: None,
            error_share: 0.5,
            capacity: 2.0,
            guard: Guard::Ejected { left_s: 30.0, cause: Cause::ErrorShare(0.52) },
            ..base.clone()
        };
        #[rustfmt::skip]
        let table = [
            (base, "cpu at 82 %; capacity 48.1, as measured"),
            (hidden, "waits on something unseen (4.2 turns in flight, 36 times what cpu at 10 % \
                      explains); capacity 48.1, on its way to 120 as fast as it may change"),
            (remote, "82 % busy by its turns in flight, 50 % of turns fail; capacity 2.00, ejected \
                      for 30 s: 52 % of its turns failed"),
        ];
        for (explanation, sentence) in table {
            assert_eq!(explanation.to_string(), sentence);
        }
    }

    #[test]
    fn guards_are_words_in_json() {
        let guard = Guard::FewTurns { turns: 7.2, needed: 20.0 };
        let json = as_text(&guard, serde_json::value::Serializer).unwrap();
        assert_eq!(json, "held: 7 of 20 turns needed to measure it");
    }
}
