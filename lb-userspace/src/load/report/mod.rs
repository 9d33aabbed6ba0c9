//! What backends say about themselves, where they say anything.
//!
//! Two ways that servers know: the line of `HAProxy`'s agent check ([`AgentReport`]), and load reports in
//! the manner of ORCA ([`OrcaReport`]). They speak of different things: an agent's percentage is a share
//! of the configured *weight*, an ORCA utilisation is a share of the backend's *capacity in use*.
//! Nothing that a backend sends is trusted further than its own standing.

mod agent;
mod asker;
mod fetch;
mod orca;

pub use agent::{Administrative, AgentError, AgentReport, Operational};
pub use asker::{Asker, Said};
pub use fetch::{FetchError, Report, fetch};
pub use orca::{OrcaError, OrcaReport};

/// Headers that carry a report, the one with its form in its name first.
const HEADERS: [&str; 2] = ["endpoint-load-metrics-json", "endpoint-load-metrics"];

/// The report in the headers of an HTTP answer, of which the end may be missing.
#[must_use]
pub fn in_headers(answer: &[u8]) -> Option<Result<OrcaReport, OrcaError>> {
    // A line without its end may be half of one.
    let complete = answer.split_inclusive(|&byte| byte == b'\n').filter(|it| it.ends_with(b"\n"));
    let lines = complete.map(<[u8]>::trim_ascii).skip(1).take_while(|line| !line.is_empty());
    let value = |header: &str| {
        lines.clone().find_map(|line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let (name, value) = line.split_at(colon);
            name.eq_ignore_ascii_case(header.as_bytes()).then(|| value.trim_ascii())
        })
    };
    let value = HEADERS.into_iter().find_map(value)?;
    Some(OrcaReport::parse_header(value.strip_prefix(b":").unwrap_or(value)))
}

/// The beginning of what a backend sent, fit for a log.
fn shown(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 40;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_MAX)]);
    let dots = if bytes.len() > SHOWN_MAX { "..." } else { "" };
    format!("{text:?}{dots}")
}

#[cfg(test)]
mod tests;
