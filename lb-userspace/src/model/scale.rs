//! How many replicas a service shall have, as configured.

use std::{fmt, path::PathBuf, time::Duration};

use super::LabelRule;

/// When replicas are started and stopped, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Never fewer replicas.
    pub min: u32,
    /// Never more.
    pub max: u32,
    /// The part of its capacity that a replica should use, in percent.
    pub target_percent: u32,
    /// Changes of the load by less than this part change nothing, in percent.
    pub tolerance_percent: u32,
    /// What decides.
    pub algorithm: Algorithm,
    /// Requests a second that a replica can take; `None`: as live load shows.
    pub capacity: Option<u32>,
    /// The time of one value of the offered load, and of one decision.
    pub bucket: Duration,
    /// The values a forecast is made of.
    pub window: u32,
    /// How long a replica needs until it answers; `None`: as is seen.
    pub start_time: Option<Duration>,
    /// How long after that until it has its whole share.
    pub warm_up: Duration,
    /// Replicas go that were not wanted for so long.
    pub down_window: Duration,
    /// After a change no replica goes for so long.
    pub cooldown: Duration,
    /// Who starts and stops them.
    pub executor: Executor,
    /// Whether it is only said what would be done.
    pub dry_run: bool,
}

/// What decides how many replicas there shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Load and forecast.
    Weir(Forecast),
    /// That of Kubernetes' `HorizontalPodAutoscaler`, on the same figures.
    Hpa,
}

/// How the load to come is guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forecast {
    /// The grey model.
    Grey,
    /// Holt's method.
    Holt,
    /// The last value stays.
    None,
}

/// Who starts and stops replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Executor {
    /// Somebody else, who reads the metrics.
    Advise,
    /// A program.
    Command {
        /// Its path.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<String>,
        /// How long it may take.
        timeout: Duration,
    },
    /// The daemon, by the Docker engine.
    Docker {
        /// The container that replicas are made after; `None`: the oldest one of the service.
        template: Option<Template>,
    },
}

impl Executor {
    /// The word in `weir.yaml`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Advise => "advise",
            Self::Command { .. } => "command",
            Self::Docker { .. } => "docker",
        }
    }
}

/// How a container is chosen as the template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Template {
    /// By its name.
    Name(String),
    /// By a label.
    Label(LabelRule),
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Label(rule) => write!(f, "{rule}"),
        }
    }
}
