//! What something was compared with: which version, and how it was set up.

use std::process::{Command, Stdio};

use serde::Serialize;

/// One way of doing the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) version: String,
    /// As the program read it.
    pub(crate) config: String,
}

impl Peer {
    /// A program, asked for its version by this command.
    pub(crate) fn new(name: impl Into<String>, ask: &[&str], config: impl Into<String>) -> Self {
        Self { name: name.into(), version: version(ask), config: config.into() }
    }

    /// This very source.
    pub(crate) fn ours(name: impl Into<String>, config: impl Into<String>) -> Self {
        let version = concat!("weir ", env!("CARGO_PKG_VERSION")).to_owned();
        Self { name: name.into(), version, config: config.into() }
    }
}

/// The first line that a program says of itself; some say it on standard error.
fn version(ask: &[&str]) -> String {
    let unknown = || "version unknown".to_owned();
    let Some((program, arguments)) = ask.split_first() else { return unknown() };
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let Ok(output) = output else { return unknown() };
    let said = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    let first = said.lines().map(str::trim).find(|line| !line.is_empty());
    first.map_or_else(unknown, str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_asked_for() {
        for (ask, wanted) in [
            (&["sh", "-c", "echo; echo ' tool 1.2 '; echo more"][..], "tool 1.2"),
            (&["sh", "-c", "echo tool 3 >&2; exit 1"], "tool 3"),
            (&["sh", "-c", ""], "version unknown"),
            (&["no-such-program-anywhere"], "version unknown"),
            (&[], "version unknown"),
        ] {
            assert_eq!(version(ask), wanted, "{ask:?}");
        }
    }
}
