//! What can go wrong while a laboratory is built.

use std::io;

/// Why there is no laboratory.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The prefix cannot be part of a file name or of a readable one.
    #[error("namespace prefix {0:?} must have 1 to 64 characters, none of them '/' or '.'")]
    Prefix(String),
    /// The address plan ends.
    #[error("{0} backends do not fit into the laboratory, which takes {max}", max = super::BACKENDS_MAX)]
    TooManyBackends(u8),
    /// A namespace could not be made.
    #[error("cannot make network namespace {name} (root is needed): {source}")]
    Namespace {
        /// Its name.
        name: String,
        /// Cause.
        source: io::Error,
    },
    /// A namespace could not be worked in.
    #[error("cannot work in network namespace {name}: {source}")]
    Enter {
        /// Its name.
        name: String,
        /// Cause.
        source: io::Error,
    },
    /// A kernel setting was refused.
    #[error("cannot set {key} to {value}: {source}")]
    Sysctl {
        /// Path under `/proc/sys`.
        key: &'static str,
        /// Wanted value.
        value: &'static str,
        /// Cause.
        source: io::Error,
    },
    /// A link, an address or a route was refused.
    #[error("cannot set up link {link}: {what}: {source}")]
    Link {
        /// Its name.
        link: String,
        /// What was tried.
        what: &'static str,
        /// Cause.
        source: rtnetlink::Error,
    },
    /// A link that was just made is not there.
    #[error("link {link} has no index: {source}")]
    Index {
        /// Its name.
        link: String,
        /// Cause.
        source: nix::Error,
    },
    /// An offload could not be switched.
    #[error("cannot switch {what} of link {link}: {source}")]
    Offload {
        /// Name of the link.
        link: String,
        /// The offload.
        what: &'static str,
        /// Cause.
        source: io::Error,
    },
}
