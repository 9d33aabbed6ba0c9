//! Images out of nothing: one static program, compiled here, imported into the engine.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use super::engine::Engine;

/// The port that the program serves on.
pub(crate) const PORT: u16 = 8080;

/// Compiles the program into a directory.
pub(crate) fn compile(directory: &Path) -> PathBuf {
    let rootfs = directory.join("rootfs");
    std::fs::create_dir(&rootfs).unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/docker/image/server.rs");
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--edition=2024", "-O", "-Cpanic=abort", "-Ctarget-feature=+crt-static", "-o"])
        .arg(rootfs.join("server"))
        .arg(source)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    rootfs
}

/// Imports it twice: as `server`, and as `checked`, whose health Docker checks.
pub(crate) fn import(engine: &Engine, rootfs: &Path) {
    let archive = rootfs.with_extension("tar");
    let tar = Command::new("tar").arg("-C").arg(rootfs).arg("-cf").arg(&archive).arg(".").status();
    assert!(tar.unwrap().success());
    let archive = archive.to_str().unwrap();
    let serve = format!("ENTRYPOINT [\"/server\", \"serve\", \"{PORT}\"]");
    let expose = format!("EXPOSE {PORT}");
    let health = "HEALTHCHECK --interval=200ms --retries=1 CMD [\"/server\", \"check\"]";
    engine.docker(&["import", "-c", &serve, "-c", &expose, archive, "server"]);
    engine.docker(&["import", "-c", &serve, "-c", &expose, "-c", health, archive, "checked"]);
}
