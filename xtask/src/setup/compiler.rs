//! A compiler that has the source of its own `core`.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::packages;
use crate::shell::{self, say};

/// Debian's Rust of the newest browser engines: compiler, cargo and source of one version.
const PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// Where a toolchain keeps the source of `core`, below its prefix.
const SOURCE: &str = "lib/rustlib/src/rust/library/core/src/lib.rs";

/// The oldest 1.x that builds the kernel side.
const MINOR_MIN: u32 = 87;

/// A compiler that can build `core`.
#[derive(Debug)]
pub(crate) struct Compiler {
    /// `lib.rs` of the source of `core`.
    pub(crate) source: PathBuf,
    pub(crate) rustc: PathBuf,
    pub(crate) cargo: PathBuf,
    pub(crate) version: Version,
}

/// What `rustc -vV` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) minor: u32,
    pub(crate) llvm: u32,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rust 1.{} with LLVM {}", self.minor, self.llvm)
    }
}

/// Tries one place after the other; fails with a page that lists them all.
pub(crate) fn find_or_install(rustup_home: &Path) -> Result<Compiler> {
    let mut attempts = Attempts::default();
    for prefix in rustup_toolchains(rustup_home) {
        if let Some(compiler) = attempts.note(&prefix.display().to_string(), examine(&prefix)) {
            return Ok(compiler);
        }
    }
    let system = Path::new("/usr");
    if let Some(compiler) = attempts.note("/usr/bin/rustc", examine(system)) {
        return Ok(compiler);
    }
    let installed = install_packages().and_then(|()| examine(system));
    let what = format!("apt-get install {}", PACKAGES.join(" "));
    if let Some(compiler) = attempts.note(&what, installed) {
        return Ok(compiler);
    }
    for toolchain in source_wanting(rustup_home) {
        let what = format!("rustup component add rust-src --toolchain {toolchain}");
        let added = add_source(&toolchain)
            .and_then(|()| examine(&rustup_home.join("toolchains").join(&toolchain)));
        if let Some(compiler) = attempts.note(&what, added) {
            return Ok(compiler);
        }
    }
    bail!(attempts.page())
}

/// The prefixes of rustup's toolchains, nightly first.
pub(crate) fn rustup_toolchains(rustup_home: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(rustup_home.join("toolchains")) else { return Vec::new() };
    let mut prefixes: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    prefixes.sort_by_key(|prefix| {
        let name = name_of(prefix);
        (name.starts_with("nightly"), name)
    });
    prefixes.reverse();
    prefixes
}

/// The toolchains to which rustup may add the source: nightly if there is one, then the one that
/// builds the rest of the workspace.
fn source_wanting(rustup_home: &Path) -> Vec<String> {
    let names: Vec<String> =
        rustup_toolchains(rustup_home).iter().map(|one| name_of(one)).collect();
    let nightly = names.iter().find(|name| name.starts_with("nightly-")).cloned();
    let active = env::var("RUSTUP_TOOLCHAIN").ok().filter(|name| names.contains(name));
    nightly.into_iter().chain(active).collect()
}

fn name_of(prefix: &Path) -> String {
    prefix.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The compiler below a prefix, if it can build `core`.
fn examine(prefix: &Path) -> Result<Compiler> {
    let [rustc, cargo] = ["bin/rustc", "bin/cargo"].map(|name| prefix.join(name));
    ensure!(rustc.exists(), "no compiler there");
    ensure!(cargo.exists(), "no cargo beside the compiler");
    let source = prefix.join(SOURCE);
    ensure!(source.exists(), "no source of `core` (rust-src)");
    let text = shell::output(Command::new(&rustc).arg("-vV").env_remove("RUSTUP_TOOLCHAIN"))?;
    let version = parse_version(&text).context("its `rustc -vV` is not understood")?;
    ensure!(version.minor >= MINOR_MIN, "{version} is older than 1.{MINOR_MIN}");
    Ok(Compiler { source, rustc, cargo, version })
}

fn parse_version(text: &str) -> Option<Version> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let minor = field("release: 1.")?.split('.').next()?.parse().ok()?;
    let llvm = field("LLVM version: ")?.split('.').next()?.parse().ok()?;
    Some(Version { minor, llvm })
}

fn install_packages() -> Result<()> {
    if let Some(obstacle) = packages::apt_obstacle() {
        bail!(obstacle);
    }
    packages::apt_install(&PACKAGES)
}

fn add_source(toolchain: &str) -> Result<()> {
    let rustup = shell::find_program("rustup").context("there is no rustup")?;
    say(format!("setup: adding the source of `core` to {toolchain} by rustup"));
    let mut command = Command::new(rustup);
    shell::run(command.args(["component", "add", "rust-src", "--toolchain", toolchain]))
}

/// What was tried, for the message at the end.
#[derive(Default)]
struct Attempts(Vec<(String, String)>);

impl Attempts {
    fn note(&mut self, what: &str, outcome: Result<Compiler>) -> Option<Compiler> {
        match outcome {
            Ok(compiler) => Some(compiler),
            Err(error) => {
                self.0.push((what.to_owned(), format!("{error:#}")));
                None
            }
        }
    }

    fn page(&self) -> String {
        let mut page = String::from(
            "no compiler with the source of its `core`, which the kernel side is built from\n\n\
             tried, in this order:\n",
        );
        for (what, why) in &self.0 {
            // Writing to a string cannot fail.
            writeln!(page, "  {what}: {why}").unwrap_or_default();
        }
        page.push_str(
            "\nany one of these mends it:\n  \
             rustup toolchain install nightly --component rust-src\n  \
             rustup component add rust-src\n  \
             apt-get install --no-install-recommends rustc-web cargo-web rust-web-src   (Debian, as root)\n  \
             WEIR_BPF_OBJECT=/path/to/lb-ebpf cargo xtask ...   (an object built on another machine)",
        );
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let text = "rustc 1.96.0 (ac68faa20 2026-05-25)\nbinary: rustc\nhost: x86_64\n\
                    release: 1.96.0\nLLVM version: 22.1.8\n";
        assert_eq!(parse_version(text), Some(Version { minor: 96, llvm: 22 }));
        let nightly = "release: 1.97.0-nightly\nLLVM version: 22.1.4\n";
        assert_eq!(parse_version(nightly), Some(Version { minor: 97, llvm: 22 }));
        for text in [
            "",
            "release: 1.96.0\n",
            "LLVM version: 22.1.8\n",
            "release: 2.0.0\nLLVM version: 22.1.8\n",
            "release: 1.x\nLLVM version: 22\n",
        ] {
            assert_eq!(parse_version(text), None, "{text:?}");
        }
    }

    #[test]
    fn nightly_comes_first_and_what_lacks_something_is_refused_with_a_reason() {
        let home = env::temp_dir().join(format!("weir-rustup-{}", std::process::id()));
        for file in
            ["1.95.0-x/bin/rustc", "nightly-x/bin/rustc", "nightly-x/bin/cargo", "stable-x/a"]
        {
            let path = home.join("toolchains").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = rustup_toolchains(&home);
        let names: Vec<String> = found.iter().map(|prefix| name_of(prefix)).collect();
        assert_eq!(names, ["nightly-x", "stable-x", "1.95.0-x"]);
        let reasons: Vec<String> =
            found.iter().map(|prefix| examine(prefix).unwrap_err().to_string()).collect();
        assert_eq!(
            reasons,
            ["no source of `core` (rust-src)", "no compiler there", "no cargo beside the compiler"]
        );
        fs::remove_dir_all(&home).unwrap();
        assert!(rustup_toolchains(&home).is_empty(), "no rustup at all");
    }

    #[test]
    fn the_page_lists_every_attempt_and_the_ways_out() {
        let mut attempts = Attempts::default();
        for what in ["here", "there"] {
            assert!(attempts.note(what, Err(anyhow::anyhow!("not {what}"))).is_none());
        }
        let page = attempts.page();
        for part in ["  here: not here\n  there: not there\n", "rust-src", "WEIR_BPF_OBJECT"] {
            assert!(page.contains(part), "{part:?} in {page}");
        }
    }
}
