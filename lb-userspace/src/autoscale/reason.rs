//! Why there shall be so many replicas: the thing that decided, in one sentence.

use std::{fmt, time::Duration};

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reason {
    /// The load of this moment.
    Load {
        /// Requests a second.
        offered: f64,
        /// Requests a second that a replica can take.
        capacity: f64,
    },
    /// The load to come.
    Forecast {
        /// Requests a second.
        offered: f64,
        /// Requests a second, with the margin.
        expected: f64,
        /// When.
        ahead: Duration,
    },
    /// The use of what limits the replicas, which their load does not show.
    Utilisation {
        /// Of what they are entitled to.
        percent: u64,
        /// What it should be.
        target: u64,
        /// Whether the load was known too.
        load_known: bool,
    },
    /// The load is near enough to what the replicas are for.
    Tolerance {
        /// Load divided by what it should be.
        ratio: f64,
    },
    /// Fewer would do, but more were needed lately.
    Window {
        /// How many would do.
        wanted: u32,
        /// How long is lately.
        window: Duration,
    },
    /// The change is larger than is allowed in a time.
    Rate {
        /// How many were wanted.
        wanted: u32,
    },
    /// Fewer would do, but there was a change just now.
    Cooldown {
        /// How many would do.
        wanted: u32,
        /// How long still.
        left: Duration,
    },
    /// More are wanted than are allowed.
    Max {
        /// How many were wanted.
        wanted: u32,
    },
    /// Fewer are wanted than are allowed.
    Min {
        /// How many were wanted.
        wanted: u32,
    },
    /// Fewer would do by what is known, but not all is.
    Unmeasured {
        /// How many would do.
        wanted: u32,
        /// What is not known.
        what: &'static str,
    },
    /// Nothing is known.
    Blind,
}

impl Reason {
    /// One word for metrics and events.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Load { .. } => "load",
            Self::Forecast { .. } => "forecast",
            Self::Utilisation { .. } => "utilisation",
            Self::Tolerance { .. } => "tolerance",
            Self::Window { .. } => "window",
            Self::Rate { .. } => "rate",
            Self::Cooldown { .. } => "cooldown",
            Self::Max { .. } => "max",
            Self::Min { .. } => "min",
            Self::Unmeasured { .. } => "unmeasured",
            Self::Blind => "blind",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load { offered, capacity } => {
                write!(f, "{offered:.1} requests/s are offered, a replica can take {capacity:.1}")
            }
            Self::Forecast { offered, expected, ahead } => write!(
                f,
                "{expected:.1} requests/s are expected in {} s, {offered:.1} are offered",
                ahead.as_secs()
            ),
            Self::Utilisation { percent, target, load_known: true } => {
                write!(f, "replicas use {percent} % of what limits them, {target} % is the target")
            }
            Self::Utilisation { percent, target, load_known: false } => write!(
                f,
                "the load is not known; replicas use {percent} %, {target} % is the target"
            ),
            Self::Tolerance { ratio } => {
                write!(f, "the load is {ratio:.2} times what the replicas are for, near enough")
            }
            Self::Window { wanted, window } => {
                let seconds = window.as_secs();
                write!(f, "{wanted} are wanted, but not for all of the last {seconds} s")
            }
            Self::Rate { wanted } => write!(f, "{wanted} are wanted, more than may change at once"),
            Self::Cooldown { wanted, left } => {
                let seconds = left.as_secs();
                write!(f, "{wanted} would do, but there was a change; {seconds} s to wait")
            }
            Self::Max { wanted } => write!(f, "{wanted} are wanted, more than the maximum"),
            Self::Min { wanted } => write!(f, "{wanted} would do, fewer than the minimum"),
            Self::Unmeasured { wanted, what } => {
                write!(f, "{wanted} would do, but {what} is not known")
            }
            Self::Blind => write!(f, "neither what the load needs nor utilisation is known"),
        }
    }
}
