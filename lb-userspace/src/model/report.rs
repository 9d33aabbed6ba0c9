//! What backends say of their own load, as configured.

use std::time::Duration;

/// How a backend is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportBy {
    /// It says a line to who connects: `HAProxy`'s agent check.
    Agent,
    /// A path that is answered with a report in a header, or else as JSON in the body: ORCA.
    Http {
        /// Begins with `/`.
        path: String,
    },
}

/// Where and how often the backends of a service are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfReport {
    /// How.
    pub by: ReportBy,
    /// Port to ask instead of the backend's own.
    pub port: Option<u16>,
    /// Time between questions.
    pub interval: Duration,
}
