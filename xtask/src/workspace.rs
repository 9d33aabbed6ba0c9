//! Where things are.

use std::path::{Path, PathBuf};

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// A binary of the release build.
pub(crate) fn release_binary(name: &str) -> PathBuf {
    root().join("target/release").join(name)
}
