//! `weir-bench all`: every sub-command, one after the other, into one directory with one summary.
//!
//! Each is a process of its own: some move to another network namespace, or onto one processor, for
//! good.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    progress::lasting,
    report::{Part, Saved, commit, index, utc},
};

/// Options of the sub-command.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir-bench all                                      everything, into bench/reports/DATE-COMMIT
  weir-bench all --quick --out /tmp/reports           is everything still in one piece?
  weir-bench all --only program,path                  two of them
  weir-bench all --only forecast-live --out DIR       the live ramp alone; what DIR has already stays
  weir-bench all --compare bench/reports/DATE-COMMIT  fails if a ratio is significantly worse than then

Without root the simulations run, and what was left out is said.")]
pub(crate) struct Options {
    /// Directory of the reports [default: bench/reports/DATE-COMMIT]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Few and short rounds
    #[arg(long)]
    quick: bool,
    /// Decides the order, the loads and the clusters
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The live ramp of `forecast`, too, which takes fifteen minutes
    #[arg(long, conflicts_with = "only")]
    live: bool,
    /// Only these; in a directory that has others already, the index is of all of them
    #[arg(long, value_delimiter = ',', value_name = "LIST", value_parser = NAMES)]
    only: Vec<String>,
    /// Compare each report with that of the same name in the directory of an earlier run
    #[arg(long, value_name = "DIR")]
    compare: Option<PathBuf>,
}

/// A sub-command.
#[derive(Debug)]
struct Bench {
    /// Of its files.
    name: &'static str,
    /// It, and what makes it fit in here.
    words: &'static [&'static str],
    needs_root: bool,
    /// Whether it is run only if somebody asks for it.
    on_request: bool,
    /// What it takes on two processors: in full, and with `--quick`.
    seconds: [u64; 2],
}

/// As in [`BENCHES`].
const NAMES: [&str; 8] =
    ["program", "path", "publish", "balance", "balance-sim", "forecast", "forecast-live", "place"];

const BENCHES: [Bench; 8] = [
    Bench {
        name: "program",
        words: &["program"],
        needs_root: true,
        on_request: false,
        seconds: [280, 30],
    },
    Bench {
        name: "path",
        words: &["path"],
        needs_root: true,
        on_request: false,
        seconds: [1_750, 120],
    },
    Bench {
        name: "publish",
        words: &["publish"],
        needs_root: true,
        on_request: false,
        seconds: [490, 55],
    },
    Bench {
        name: "balance",
        words: &["balance"],
        needs_root: true,
        on_request: false,
        seconds: [4_500, 240],
    },
    Bench {
        name: "balance-sim",
        words: &["balance", "--sim"],
        needs_root: false,
        on_request: false,
        seconds: [30, 5],
    },
    Bench {
        name: "forecast",
        words: &["forecast"],
        needs_root: false,
        on_request: false,
        seconds: [120, 5],
    },
    Bench {
        name: "forecast-live",
        words: &["forecast", "--live"],
        needs_root: true,
        on_request: true,
        seconds: [900, 300],
    },
    Bench {
        name: "place",
        words: &["place"],
        needs_root: false,
        on_request: false,
        seconds: [120, 5],
    },
];

impl Options {
    /// Whether somebody wants it.
    fn names(&self, bench: &Bench) -> bool {
        if self.only.is_empty() {
            return self.live || !bench.on_request;
        }
        self.only.iter().any(|name| name == bench.name)
    }
}

/// What became of one.
enum Outcome {
    Done,
    LeftOut,
    Failed(String),
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let out = options.out.clone().unwrap_or_else(default_directory);
    fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    let is_root = nix::unistd::geteuid().is_root();
    let wanted = |bench: &&Bench| is_root || !bench.needs_root;
    let is_named = |bench: &&Bench| options.names(bench);
    let took = |bench: &Bench| bench.seconds[usize::from(options.quick)];
    let mut left: u64 = BENCHES.iter().filter(is_named).filter(wanted).map(took).sum();
    let mut parts = Vec::new();
    let mut failed = Vec::new();
    for bench in &BENCHES {
        let path = out.join(bench.name).with_extension("json");
        let outcome = if !options.names(bench) {
            if !path.exists() {
                continue;
            }
            Outcome::Done
        } else if wanted(&bench) {
            eprintln!("all: {}; everything else: {} more", bench.name, time(left));
            left -= took(bench);
            one(bench, options, &out)?
        } else {
            Outcome::LeftOut
        };
        let note = match outcome {
            Outcome::Done => None,
            Outcome::LeftOut => Some("left out: it needs root".to_owned()),
            Outcome::Failed(how) => {
                failed.push(bench.name);
                Some(format!("failed: {how}"))
            }
        };
        let saved = path.exists().then(|| Saved::read(&path)).transpose()?;
        parts.push(Part { name: bench.name, note, saved });
    }
    fs::write(out.join("index.html"), index::page(&parts))?;
    fs::write(out.join("summary.md"), index::summary(&parts))?;
    println!("\n{}", index::summary(&parts));
    println!("all: the reports are in {}, begin with index.html", out.display());
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

/// Runs one; an old report of it is no report of this run.
fn one(bench: &Bench, options: &Options, out: &Path) -> Result<Outcome> {
    let mut command = Command::new(env::current_exe().context("this program has no path")?);
    command.args(bench.words).args(["--seed", &options.seed.to_string()]);
    if options.quick {
        command.arg("--quick");
    }
    for kind in ["json", "csv", "html"] {
        let path = out.join(bench.name).with_extension(kind);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| path.display().to_string());
            }
            Ok(()) | Err(_) => {}
        }
        command.arg(format!("--{kind}")).arg(path);
    }
    let old = options.compare.as_ref().map(|old| old.join(bench.name).with_extension("json"));
    if let Some(old) = old.filter(|old| old.exists()) {
        command.arg("--compare").arg(old);
    }
    let began = Instant::now();
    let status = command.status().context("cannot start another bench")?;
    eprintln!("all: {} took {}", bench.name, lasting(began.elapsed().as_secs_f64()));
    Ok(if status.success() { Outcome::Done } else { Outcome::Failed(status.to_string()) })
}

fn time(seconds: u64) -> String {
    lasting(Duration::from_secs(seconds).as_secs_f64())
}

/// Beside the source, by day and commit.
fn default_directory() -> PathBuf {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let date = utc(since.as_secs());
    let day = date.split('T').next().unwrap_or_default();
    let reports = Path::new(env!("CARGO_MANIFEST_DIR")).join("reports");
    reports.join(format!("{day}-{}", commit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_run_on_request() {
        for (live, only, expected) in [
            (false, &[][..], "program path publish balance balance-sim forecast place"),
            (true, &[], "program path publish balance balance-sim forecast forecast-live place"),
            (false, &["forecast-live", "path"], "path forecast-live"),
        ] {
            let only = only.iter().map(|name| (*name).to_owned()).collect();
            let options = Options { out: None, quick: true, seed: 1, live, only, compare: None };
            let named = BENCHES.iter().filter(|bench| options.names(bench)).map(|bench| bench.name);
            assert_eq!(named.collect::<Vec<_>>().join(" "), expected);
        }
    }

    #[test]
    fn every_bench_can_be_named() {
        assert_eq!(BENCHES.each_ref().map(|bench| bench.name), NAMES);
    }
}
