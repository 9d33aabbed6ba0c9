//! What backends say about themselves, where they say anything.
//!
//! Two ways that servers know: the line of `HAProxy`'s agent check ([`AgentReport`]), and load reports in
//! the manner of ORCA ([`OrcaReport`]). They speak of different things: an agent's percentage is a share
//! of the configured *weight*, an ORCA utilisation is a share of the backend's *capacity in use*.
//! Nothing that a backend sends is trusted further than its own standing.

mod agent;
mod fetch;
mod orca;

pub use agent::{Administrative, AgentError, AgentReport, Operational};
pub use fetch::{FetchError, Report, Source, fetch};
pub use orca::{OrcaError, OrcaReport};

/// The beginning of what a backend sent, fit for a log.
fn shown(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 40;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_MAX)]);
    let dots = if bytes.len() > SHOWN_MAX { "..." } else { "" };
    format!("{text:?}{dots}")
}

#[cfg(test)]
mod tests;
