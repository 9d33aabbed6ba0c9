//! `cargo xtask run`: from a fresh checkout to a running `weir`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::build;
use crate::shell::{self, say};
use crate::workspace;

/// The sub-commands that touch neither the kernel nor a running daemon.
const UNPRIVILEGED: [&str; 8] =
    ["check", "forecast", "place", "completions", "help", "--help", "-h", "--version"];

pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    build::run()?;
    let demo = [OsString::from("demo")];
    let args = if args.is_empty() { &demo } else { args };
    let mut command = command(args)?;
    // The shell's signals reach `weir` itself only when it takes this process's place.
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start `{}`", shell::line_of(&command)))
}

fn command(args: &[OsString]) -> Result<Command> {
    let weir = workspace::release_binary("weir");
    let mut command = Command::new(&weir);
    if !needs_root(args) || shell::is_root() {
        command.args(args);
        return Ok(command);
    }
    let Some(sudo) = shell::find_program("sudo") else {
        bail!(
            "{} needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (the demo also \
             CAP_SYS_ADMIN, for its network namespaces); there is no sudo",
            shell::line_of(command.args(args))
        );
    };
    say("run: weir needs root to load its programs; calling sudo");
    let mut command = Command::new(sudo);
    command.arg(weir).args(args);
    Ok(command)
}

fn needs_root(args: &[OsString]) -> bool {
    !args.first().is_some_and(|first| UNPRIVILEGED.iter().any(|name| first == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_touches_the_kernel_needs_root() {
        let cases = [
            (&["run", "--config", "check"][..], true),
            (&["demo"], true),
            (&["status"], true),
            (&["simulate", "--pcap", "a"], true),
            (&["unheard-of"], true),
            (&[], true),
            (&["check", "weir.yaml"], false),
            (&["--help"], false),
        ];
        for (args, root) in cases {
            let args: Vec<OsString> = args.iter().map(OsString::from).collect();
            assert_eq!(needs_root(&args), root, "{args:?}");
        }
    }
}
