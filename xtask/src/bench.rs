//! `cargo xtask bench`: builds for speed, then measures.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::build;
use crate::setup::{self, BENCH_PROGRAMS, ENGINE_CLIENT, ENGINE_PROGRAMS, TEST_PROGRAMS};
use crate::shell::{self, say};
use crate::workspace;

pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    let words = with_command(args);
    let named = |name: &str| words.first().is_some_and(|word| word == name);
    // Simulations and arithmetic need neither root nor the kernel side.
    let live = words.iter().any(|word| word == "--live");
    let simulated = (named("forecast") && !live)
        || named("place")
        || named("help")
        || words.iter().any(|word| word == "--sim" || word == "--help" || word == "-h");
    if named("all") && !shell::is_root() {
        say("bench: only root can measure in the kernel: the simulations only");
    } else if !simulated {
        setup::ensure_programs(&TEST_PROGRAMS)?;
        setup::ensure_programs(&BENCH_PROGRAMS)?;
        if named("publish") || named("path") || named("all") || live {
            setup::ensure_programs(&ENGINE_PROGRAMS)?;
            setup::ensure_programs(&ENGINE_CLIENT)?;
        }
        build::run()?;
        build::floors()?;
    }
    say("bench: building it");
    shell::run(shell::cargo().args(["build", "--release", "--package", "weir-bench"]))?;
    shell::exit_code(Command::new(workspace::release_binary("weir-bench")).args(words))
}

/// Who names nothing wants everything.
fn with_command(args: &[OsString]) -> Vec<OsString> {
    let is_option = |word: &OsString| word.to_string_lossy().starts_with('-');
    let asks = |word: &OsString| word == "--help" || word == "-h";
    let mut words = args.to_vec();
    if args.first().is_none_or(|first| is_option(first) && !asks(first)) {
        words.insert(0, "all".into());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_measured_unless_something_is_named() {
        for (args, expected) in [
            (&[][..], &["all"][..]),
            (&["--quick"], &["all", "--quick"]),
            (&["--out", "/tmp/it"], &["all", "--out", "/tmp/it"]),
            (&["all"], &["all"]),
            (&["program", "--quick"], &["program", "--quick"]),
            (&["--help"], &["--help"]),
            (&["-h"], &["-h"]),
        ] {
            let args: Vec<OsString> = args.iter().map(OsString::from).collect();
            assert_eq!(with_command(&args), expected, "{args:?}");
        }
    }
}
