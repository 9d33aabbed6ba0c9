//! `weir place`: which replica should run on which node.

mod clock;
mod report;
mod show;
#[cfg(test)]
mod tests;

use std::{
    fs,
    io::{self, Read as _, Write as _},
    num::NonZero,
    path::Path,
    process::ExitCode,
    thread,
};

use anyhow::Context as _;
use serde_json::json;

use crate::{
    cli::{PlaceArgs, output::Output},
    placement::{
        Method,
        input::{Input, InputMistake, InputMistakes, Source, parse},
        picture::draw,
    },
};

use clock::Clock;
use report::{Report, Run};

/// Wrong usage or input.
const EXIT_WRONG: u8 = 2;
/// Replicas that found no place.
const EXIT_UNPLACED: u8 = 1;

/// Reads both files, searches, and prints.
pub fn run(args: &PlaceArgs, out: &mut Output<'_>) -> anyhow::Result<ExitCode> {
    let input = match load(&args.nodes, &args.workloads) {
        Ok(input) => input,
        Err(mistakes) => return refuse(&mistakes, args.format.json, out, &mut io::stderr()),
    };
    let methods = Method::ALL.into_iter().filter(|method| *method == args.method || !args.alone);
    let threads = args.threads.map_or_else(processors, usize::from);
    let mut clock = Clock::new(args.budget, args.iterations);
    let runs: Vec<Run> = methods
        .map(|method| Run {
            method,
            outcome: clock.place(&input.problem, method, args.seed, threads),
            elapsed_ms: clock.elapsed_ms(),
        })
        .collect();
    if let (Some(path), Some(run)) = (&args.plot, runs.iter().find(|run| run.method == args.method))
    {
        let svg = draw(&input.problem, &run.outcome)?;
        fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let report = Report::new(&input, args.method, args.seed, &runs);
    if args.format.json {
        out.json(&report)?;
    } else {
        show::print(&report, out)?;
    }
    out.flush()?;
    let placed = report.unplaced.is_empty();
    Ok(if placed { ExitCode::SUCCESS } else { ExitCode::from(EXIT_UNPLACED) })
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

fn load(nodes: &Path, workloads: &Path) -> Result<Input, InputMistakes> {
    let (nodes, workloads) = (read(nodes), read(workloads));
    match (nodes, workloads) {
        (Ok((nodes, node_text)), Ok((workloads, workload_text))) => parse(
            Source { name: &nodes, text: &node_text },
            Source { name: &workloads, text: &workload_text },
        ),
        (one, other) => {
            Err(InputMistakes([one, other].into_iter().filter_map(Result::err).collect()))
        }
    }
}

/// The name of a file for messages, and its text.
fn read(path: &Path) -> Result<(String, String), InputMistake> {
    let from_stdin = path.as_os_str() == "-";
    let name = if from_stdin { "standard input".to_owned() } else { path.display().to_string() };
    let wrong = |line, message| InputMistake { file: name.clone(), line, column: None, message };
    let mut bytes = Vec::new();
    let taken = if from_stdin {
        io::stdin().read_to_end(&mut bytes).map(drop)
    } else {
        fs::read(path).map(|all| bytes = all)
    };
    taken.map_err(|error| wrong(None, error.to_string()))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok((name, text)),
        Err(error) => {
            let text = String::from_utf8_lossy(error.as_bytes());
            let before = text.split(char::REPLACEMENT_CHARACTER).next().unwrap_or_default();
            let line = 1 + before.matches('\n').count() as u64;
            Err(wrong(Some(line), "this is no UTF-8 text".to_owned()))
        }
    }
}

/// Mistakes go to standard error, with `json` to standard output, where scripts look.
fn refuse(
    mistakes: &InputMistakes,
    json: bool,
    out: &mut Output<'_>,
    stderr: &mut impl io::Write,
) -> anyhow::Result<ExitCode> {
    if json {
        out.json(&json!({ "errors": mistakes }))?;
        out.flush()?;
    } else {
        writeln!(stderr, "{mistakes}")?;
    }
    Ok(ExitCode::from(EXIT_WRONG))
}
