//! `cargo xtask test`: one level, or all of them in one run with one sum at the end.

use std::env;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::mem;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

use crate::build;
use crate::setup::{self, BENCH_PROGRAMS, ENGINE_CLIENT, ENGINE_PROGRAMS, TEST_PROGRAMS};
use crate::shell::{self, OBJECT_VARIABLE, say};
use crate::summary::Summary;

/// How long an ended run may be silent before its output counts as complete.
const QUIET: Duration = Duration::from_millis(500);

/// What to test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// Everything that needs neither root nor the kernel side
    Unit,
    /// The programs in the kernel, packet by packet (root)
    Kernel,
    /// Real connections through network namespaces (root)
    Netns,
    /// A real Docker engine in a network namespace (root)
    Docker,
    /// All of these
    All,
}

/// One call of cargo test.
struct Suite {
    name: &'static str,
    needs_root: bool,
    needs_engine: bool,
    needs_floors: bool,
    args: &'static [&'static str],
}

const UNIT: Suite = Suite {
    name: "unit",
    needs_root: false,
    needs_engine: false,
    needs_floors: false,
    args: &["--workspace"],
};
const KERNEL: Suite = Suite {
    name: "kernel",
    needs_root: true,
    needs_engine: false,
    needs_floors: false,
    args: &["--package", "lb-userspace", "--features", "kernel-tests", "--test", "kernel"],
};
const NETNS: Suite = Suite {
    name: "netns",
    needs_root: true,
    needs_engine: false,
    needs_floors: false,
    args: &[
        "--package",
        "lb-userspace",
        "--features",
        "netns-tests",
        "--test",
        "cgroups",
        "--test",
        "lab",
        "--test",
        "links",
        "--test",
        "netns",
    ],
};

const DOCKER: Suite = Suite {
    name: "docker",
    needs_root: true,
    needs_engine: true,
    needs_floors: false,
    args: &["--package", "lb-userspace", "--features", "docker-tests", "--test", "docker"],
};

/// Everything that the bench measures, a little of each.
const BENCH: Suite = Suite {
    name: "bench",
    needs_root: true,
    needs_engine: false,
    needs_floors: true,
    args: &["--package", "weir-bench", "--features", "netns-tests", "--test", "reduced"],
};

impl Level {
    fn suites(self) -> Vec<Suite> {
        match self {
            Self::Unit => vec![UNIT],
            Self::Kernel => vec![KERNEL],
            Self::Netns => vec![NETNS, BENCH],
            Self::Docker => vec![DOCKER],
            Self::All => vec![UNIT, KERNEL, NETNS, DOCKER, BENCH],
        }
    }
}

/// The sum is always the last line, also when something went wrong.
pub(crate) fn run(level: Level) -> ExitCode {
    let mut summary = Summary::default();
    let outcome = run_suites(&level.suites(), &mut summary);
    if let Err(error) = &outcome {
        say(format!("test: {error:#}"));
        // What ended before it could count its failures failed all the same.
        summary.failed = summary.failed.max(1);
    }
    println!("{summary}");
    if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_suites(suites: &[Suite], summary: &mut Summary) -> Result<()> {
    if suites.iter().any(|suite| suite.needs_root) {
        build::kernel_side()?;
    }
    for (index, suite) in suites.iter().enumerate() {
        if suite.needs_floors && env::var_os(OBJECT_VARIABLE).is_some() {
            say(format!(
                "test: {} was left out: it builds programs for the kernel, and {OBJECT_VARIABLE} \
                 says that nothing is to be built",
                suite.name
            ));
            continue;
        }
        prepare(suite)?;
        say(format!("test: {}", suite.name));
        let mut cargo = shell::cargo();
        let passed = stream(cargo.arg("test").args(suite.args), &mut io::stdout(), summary)?;
        ensure!(passed, "the {} tests failed{}", suite.name, not_run(&suites[index + 1..]));
    }
    Ok(())
}

fn not_run(rest: &[Suite]) -> String {
    let names: Vec<&str> = rest.iter().map(|suite| suite.name).collect();
    if names.is_empty() { String::new() } else { format!("; not run: {}", names.join(", ")) }
}

fn prepare(suite: &Suite) -> Result<()> {
    if !suite.needs_root {
        return Ok(());
    }
    ensure!(
        shell::is_root(),
        "the {} tests were not run: they load programs into the kernel, which needs root",
        suite.name
    );
    setup::ensure_programs(&TEST_PROGRAMS)?;
    if suite.needs_engine {
        setup::ensure_programs(&ENGINE_PROGRAMS)?;
        setup::ensure_programs(&ENGINE_CLIENT)?;
    }
    if suite.needs_floors {
        setup::ensure_programs(&BENCH_PROGRAMS)?;
        build::floors()?;
    }
    Ok(())
}

/// Runs a command, shows its output as it comes and counts the tests in it.
fn stream(command: &mut Command, show: &mut impl Write, summary: &mut Summary) -> Result<bool> {
    let line = shell::line_of(command);
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start `{line}`"))?;
    let output = child.stdout.take().context("no output to read")?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || read_lines(output, &sender));
    loop {
        match lines.recv_timeout(QUIET) {
            Ok(bytes) => {
                show.write_all(&bytes)?;
                summary.read_line(String::from_utf8_lossy(&bytes).trim_end());
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                if child.try_wait()?.is_some() {
                    say("test: a process that the tests left behind holds their output open");
                    break;
                }
            }
        }
    }
    Ok(child.wait()?.success())
}

/// By bytes: what a test prints need not be UTF-8. Ends with the pipe, or with its reader.
fn read_lines(output: impl Read, lines: &Sender<Vec<u8>>) {
    let mut reader = BufReader::new(output);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
        if lines.send(mem::take(&mut bytes)).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell_run(script: &str) -> (bool, Summary) {
        let mut summary = Summary::default();
        // Shown to nobody: these lines would be counted by the run that this test is part of.
        let mut command = Command::new("sh");
        let command = command.args(["-c", script]).stderr(Stdio::null());
        let passed = stream(command, &mut io::sink(), &mut summary).unwrap();
        (passed, summary)
    }

    #[test]
    fn results_are_counted_while_they_pass_by() {
        let line = "test result: ok. 2 passed; 0 failed; 0 ignored";
        let cases = [
            (format!("echo '{line}'; echo '{line}'"), true, 4),
            (format!("echo '{line}'; exit 101"), false, 2),
            (format!("printf '\\377\\n'; printf '{line}'"), true, 2),
            ("exit 101".to_owned(), false, 0),
            (format!("echo '{line}' >&2"), true, 0),
            // A process left behind keeps the pipe open; nobody waits for it.
            (format!("sleep 5 & echo '{line}'"), true, 2),
        ];
        for (script, passed, count) in cases {
            let wanted = (passed, Summary { passed: count, failed: 0 });
            assert_eq!(shell_run(&script), wanted, "{script}");
        }
    }

    #[test]
    fn what_was_not_run_is_said() {
        assert_eq!(not_run(&Level::All.suites()[1..]), "; not run: kernel, netns, docker, bench");
        assert_eq!(not_run(&[]), "");
    }

    #[test]
    fn everything_runs_by_default_and_cheap_before_dear() {
        let names = |level: Level| level.suites().iter().map(|it| it.name).collect::<Vec<_>>();
        assert_eq!(names(Level::All), ["unit", "kernel", "netns", "docker", "bench"]);
        assert_eq!(names(Level::Netns), ["netns", "bench"]);
        assert_eq!(names(Level::Unit), ["unit"]);
        assert!(!Level::Unit.suites()[0].needs_root);
        assert!(Level::Kernel.suites()[0].needs_root);
    }
}
