//! `weir.yaml`: text, then the raw types, then a validated [`Config`].
//!
//! A mistake never hides another one. The text becomes a tree in which every value knows its place
//! (`yaml`), the tree fills the raw types and reports every value of the wrong shape and every field
//! it does not know (`decode`, `raw`), and validation reports every value that breaks a rule
//! (`validate`). Only then is there a configuration, or the list of all mistakes.

mod address;
mod decode;
mod error;
mod field;
mod label_names;
mod label_scale;
pub mod labels;
mod publish;
mod raw;
mod render;
mod scalar;
mod validate;
mod watch;
mod wishes;
mod yaml;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use error::{Diagnostic, Diagnostics, LoadError};
pub use validate::{
    ADMIN_HTTP_DEFAULT, ADMIN_SOCKET_DEFAULT, DOCKER_SOCKET_DEFAULT, DRAIN_DEFAULT,
};
pub use watch::{WatchError, watch};
pub use wishes::Wishes;

use crate::model::{Config, Docker};
use error::Report;

/// Largest configuration that is read.
pub const BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a file says: what is balanced, and where further backends come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// What is balanced.
    pub config: Config,
    /// Containers as backends.
    pub docker: Docker,
}

/// Reads and validates the configuration in `path`.
pub fn load(path: &Path) -> Result<Loaded, LoadError> {
    let text = watch::read(path)?;
    Ok(parse(&path.display().to_string(), &text)?)
}

/// Validates a configuration; `name` is what the mistakes call it.
pub fn parse(name: &str, text: &str) -> Result<Loaded, Diagnostics> {
    let mut report = Report::default();
    let loaded = yaml::read(text, &mut report)
        .and_then(|root| decode::decode(&root, text, &mut report))
        .map(|raw| validate::validate(&raw, &mut report));
    match loaded {
        Some(loaded) if report.is_empty() => Ok(loaded),
        Some(_) | None => Err(report.finish(name, text)),
    }
}
