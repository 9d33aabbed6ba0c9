//! `cargo xtask bench`: builds for speed, then measures.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::build;
use crate::setup::{self, BENCH_PROGRAMS, ENGINE_CLIENT, ENGINE_PROGRAMS, TEST_PROGRAMS};
use crate::shell::{self, say};
use crate::workspace;

pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    // Simulations and arithmetic need neither root nor the kernel side.
    let named = |name: &str| args.first().is_some_and(|arg| arg == name);
    let has = |option: &str| args.iter().any(|arg| arg == option);
    let live = named("forecast") && has("--live");
    if live || !named("forecast") && !named("place") && !has("--sim") {
        setup::ensure_programs(&TEST_PROGRAMS)?;
        setup::ensure_programs(&BENCH_PROGRAMS)?;
        if named("publish") || named("path") || live {
            setup::ensure_programs(&ENGINE_PROGRAMS)?;
            setup::ensure_programs(&ENGINE_CLIENT)?;
        }
        build::run()?;
        build::floors()?;
    }
    say("bench: building it");
    shell::run(shell::cargo().args(["build", "--release", "--package", "weir-bench"]))?;
    shell::exit_code(Command::new(workspace::release_binary("weir-bench")).args(args))
}
