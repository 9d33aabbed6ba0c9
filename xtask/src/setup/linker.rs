//! A bpf-linker that reads the bitcode of the compiler that was found.
//!
//! Two recipes. Up to LLVM 22, release 0.10.3 can borrow the LLVM library inside a toolchain of
//! rustup and needs nothing else. Release 0.13.0 brings newer LLVMs, against the distribution's
//! development packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::compiler::{Compiler, rustup_toolchains};
use super::packages;
use crate::shell::{self, say};

/// A linker, ready to be called.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Linker {
    pub(crate) path: PathBuf,
    /// Where it finds LLVM, when it brings none.
    pub(crate) library_path: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Recipe {
    /// LLVM out of a toolchain's `lib` directory.
    Borrowed { llvm: u32, library_path: PathBuf },
    /// LLVM out of the distribution's packages.
    Packaged { llvm: u32 },
}

/// The first recipe that is installed already, else the first that can be installed.
pub(crate) fn find_or_install(
    compiler: &Compiler,
    directory: &Path,
    rustup_home: &Path,
) -> Result<Linker> {
    let recipes = recipes(compiler, rustup_home);
    if let Some(linker) = recipes.iter().find_map(|recipe| recipe.installed(directory).ok()) {
        return Ok(linker);
    }
    let mut page = format!("no bpf-linker for {}; tried:", compiler.version);
    for recipe in &recipes {
        match recipe.install(directory).and_then(|()| recipe.installed(directory)) {
            Ok(linker) => return Ok(linker),
            Err(error) => {
                say(format!("setup: {}: {error:#}", recipe.name()));
                page = format!("{page}\n  {}: {error:#}", recipe.name());
            }
        }
    }
    page.push_str(
        "\nan object built on another machine does too: WEIR_BPF_OBJECT=/path/to/lb-ebpf",
    );
    bail!(page)
}

fn recipes(compiler: &Compiler, rustup_home: &Path) -> Vec<Recipe> {
    let llvm = compiler.version.llvm;
    let own = compiler.rustc.ancestors().nth(2).map(Path::to_path_buf);
    let library_path = own
        .into_iter()
        .chain(rustup_toolchains(rustup_home))
        .map(|prefix| prefix.join("lib"))
        .find(|directory| holds_llvm(directory, llvm));
    // The releases of LLVM whose C interface 0.10.3 knows.
    let borrowed = library_path
        .filter(|_| (20..=22).contains(&llvm))
        .map(|library_path| Recipe::Borrowed { llvm, library_path });
    borrowed.into_iter().chain([Recipe::Packaged { llvm }]).collect()
}

/// Whether a directory holds the shared LLVM that rustup ships.
fn holds_llvm(directory: &Path, llvm: u32) -> bool {
    let names = [format!("libLLVM-{llvm}-rust"), format!("libLLVM.so.{llvm}.")];
    fs::read_dir(directory).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let file = entry.file_name();
            names.iter().any(|name| file.to_string_lossy().starts_with(name))
        })
    })
}

impl Recipe {
    fn version(&self) -> &'static str {
        match self {
            Self::Borrowed { .. } => "0.10.3",
            Self::Packaged { .. } => "0.13.0",
        }
    }

    fn name(&self) -> String {
        let (Self::Borrowed { llvm, .. } | Self::Packaged { llvm }) = self;
        format!("bpf-linker-{}-llvm{llvm}", self.version())
    }

    /// The linker of this recipe, if it is there and runs.
    fn installed(&self, directory: &Path) -> Result<Linker> {
        let path = directory.join(self.name()).join("bin/bpf-linker");
        let library_path = match self {
            Self::Borrowed { library_path, .. } => Some(library_path.clone()),
            Self::Packaged { .. } => None,
        };
        ensure!(path.exists(), "{} does not exist", path.display());
        let mut command = Command::new(&path);
        command.arg("--version").envs(library_path.iter().map(|path| ("LD_LIBRARY_PATH", path)));
        let version = shell::output(&mut command)?;
        let wanted = self.version();
        ensure!(version.contains(wanted), "it says {:?}, not {wanted}", version.trim());
        Ok(Linker { path, library_path })
    }

    fn install(&self, directory: &Path) -> Result<()> {
        if let Self::Packaged { llvm } = self {
            install_llvm(*llvm)?;
        }
        say(format!("setup: building {} (one to two minutes)", self.name()));
        shell::run(&mut self.install_command(directory))
    }

    fn install_command(&self, directory: &Path) -> Command {
        let mut command = shell::cargo();
        command.args(["install", "--locked", "bpf-linker", "--version", self.version(), "--root"]);
        command.arg(directory.join(self.name())).args(["--no-default-features", "--features"]);
        match self {
            Self::Borrowed { llvm, .. } => command.arg(format!("rust-llvm-{llvm}")),
            Self::Packaged { llvm } => {
                command.arg(format!("llvm-{llvm}")).env("LLVM_PREFIX", llvm_prefix(*llvm))
            }
        };
        command
    }
}

fn llvm_prefix(llvm: u32) -> String {
    format!("/usr/lib/llvm-{llvm}")
}

fn install_llvm(llvm: u32) -> Result<()> {
    if Path::new(&llvm_prefix(llvm)).join("bin/llvm-config").exists() {
        return Ok(());
    }
    if let Some(obstacle) = packages::apt_obstacle() {
        bail!("{obstacle}, and {} is not there", llvm_prefix(llvm));
    }
    let [development, polly] = [format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev")];
    packages::apt_install(&[&development, &polly, "libzstd-dev", "zlib1g-dev", "libxml2-dev"])
        .with_context(|| format!("cannot install {development}"))
}

#[cfg(test)]
mod tests {
    use super::super::compiler::Version;
    use super::*;

    fn compiler(rustc: &Path, llvm: u32) -> Compiler {
        let path = rustc.to_path_buf();
        let version = Version { minor: 96, llvm };
        Compiler { source: path.clone(), cargo: path.clone(), rustc: path, version }
    }

    #[test]
    fn llvm_is_borrowed_from_a_toolchain_of_the_same_major_and_known_interface_only() {
        let home = std::env::temp_dir().join(format!("weir-linker-{}", std::process::id()));
        let lib = home.join("toolchains/stable-x/lib");
        fs::create_dir_all(&lib).unwrap();
        for llvm in ["22", "23"] {
            fs::write(lib.join(format!("libLLVM.so.{llvm}.1-rust-1.95.0-stable")), "").unwrap();
        }
        let borrowed = |llvm| Recipe::Borrowed { llvm, library_path: lib.clone() };
        let packaged = |llvm| Recipe::Packaged { llvm };
        let cases = [
            (22, vec![borrowed(22), packaged(22)]),
            (21, vec![packaged(21)]),
            (2, vec![packaged(2)]),
            (23, vec![packaged(23)]),
        ];
        let elsewhere = Path::new("/nowhere/bin/rustc");
        for (llvm, wanted) in cases {
            assert_eq!(recipes(&compiler(elsewhere, llvm), &home), wanted, "LLVM {llvm}");
        }
        let own = home.join("toolchains/stable-x/bin/rustc");
        let without_rustup = recipes(&compiler(&own, 22), Path::new("/nowhere"));
        assert_eq!(without_rustup, [borrowed(22), packaged(22)]);
        fs::remove_dir_all(&home).unwrap();
    }

    #[test]
    fn what_is_installed_is_named_after_what_it_is() {
        let recipe = Recipe::Packaged { llvm: 22 };
        assert_eq!(recipe.name(), "bpf-linker-0.13.0-llvm22");
        let line = shell::line_of(&recipe.install_command(Path::new("/t")));
        let options = "install --locked bpf-linker --version 0.13.0 \
                       --root /t/bpf-linker-0.13.0-llvm22 --no-default-features --features llvm-22";
        assert!(line.ends_with(options), "{line}");
        let error = recipe.installed(Path::new("/nowhere")).unwrap_err();
        assert!(error.to_string().ends_with("does not exist"), "{error}");
    }
}
