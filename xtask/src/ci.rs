//! `cargo xtask ci`: everything a change must pass.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::shell::{self, say};
use crate::test::{self, Level};
use crate::tidy;
use crate::workspace;

pub(crate) fn run() -> Result<ExitCode> {
    say("ci: format");
    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))?;
    let kernel_side = workspace::root().join("lb-ebpf/Cargo.toml");
    let mut format = shell::cargo();
    shell::run(format.args(["fmt", "--check", "--manifest-path"]).arg(kernel_side))?;

    say("ci: lints");
    shell::run(&mut lints())?;

    say("ci: dependencies");
    dependencies()?;

    say("ci: house rules");
    tidy::run()?;
    Ok(test::run(Level::All))
}

/// Licences and sources of all dependencies, of both sides; and known vulnerabilities, where the database
/// of them can be reached.
fn dependencies() -> Result<()> {
    let deny = cargo_deny()?;
    let root = workspace::root();
    let deny = |manifest: &str| {
        let mut command = Command::new(&deny);
        command.arg("--manifest-path").arg(root.join(manifest));
        command.arg("--config").arg(root.join("deny.toml"));
        command
    };
    let advisories = deny("Cargo.toml").args(["fetch", "db"]).status()?.success();
    if !advisories {
        say("ci: vulnerabilities are not looked for: the database of advisories cannot be fetched");
    }
    for manifest in ["Cargo.toml", "lb-ebpf/Cargo.toml", "bench/floors/Cargo.toml"] {
        let mut check = deny(manifest);
        check.args(["check", "bans", "licenses", "sources"]);
        if advisories {
            check.arg("advisories");
        }
        shell::run(&mut check)?;
    }
    Ok(())
}

/// The user's own cargo-deny, or one under `target/`.
fn cargo_deny() -> Result<PathBuf> {
    const VERSION: &str = "0.20.2";
    if let Some(program) = shell::find_program("cargo-deny") {
        return Ok(program);
    }
    let root = workspace::root().join("target/tools").join(format!("cargo-deny-{VERSION}"));
    let program = root.join("bin/cargo-deny");
    if !program.exists() {
        say(format!("ci: building cargo-deny {VERSION} (a few minutes)"));
        let mut install = shell::cargo();
        install.args(["install", "--locked", "cargo-deny", "--version", VERSION, "--root"]);
        shell::run(install.arg(&root))?;
    }
    Ok(program)
}

/// With all features: the tests that need root are linted too.
fn lints() -> Command {
    let mut command = shell::cargo();
    command.args(["clippy", "--workspace", "--all-targets", "--all-features"]);
    command.args(["--", "--deny", "warnings"]);
    command
}
