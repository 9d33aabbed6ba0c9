//! `cargo xtask ci`: everything a change must pass.

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

    if shell::find_program("cargo-deny").is_some() {
        say("ci: dependencies");
        shell::run(shell::cargo().args(["deny", "check", "bans", "licenses", "sources"]))?;
    } else {
        say("ci: dependencies were NOT checked: cargo-deny is not installed");
    }

    say("ci: house rules");
    tidy::run()?;
    Ok(test::run(Level::All))
}

/// With all features: the tests that need root are linted too.
fn lints() -> Command {
    let mut command = shell::cargo();
    command.args(["clippy", "--workspace", "--all-targets", "--all-features"]);
    command.args(["--", "--deny", "warnings"]);
    command
}
