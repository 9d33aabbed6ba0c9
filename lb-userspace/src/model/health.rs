//! Active health checks as configured.

use std::time::Duration;

/// What a probe does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A TCP connection that opens.
    Tcp,
    /// `GET path` that is answered with 2xx or 3xx.
    Http {
        /// Absolute path, with query.
        path: String,
    },
}

/// What becomes of a service all of whose backends fail their checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AllDown {
    /// All are tried: a check that is wrong about all of them costs nothing.
    #[default]
    Try,
    /// None is tried.
    Refuse,
}

/// When a backend counts as healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What to do.
    pub probe: Probe,
    /// Time between probes.
    pub interval: Duration,
    /// Time until a probe has failed, at most the interval.
    pub timeout: Duration,
    /// Successes in a row that bring a backend back.
    pub rise: u32,
    /// Failures in a row that take it out.
    pub fall: u32,
    /// Port to probe instead of the backend's own.
    pub port: Option<u16>,
    /// What to do when no backend is healthy.
    pub all_down: AllDown,
}
