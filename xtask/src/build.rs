//! `cargo xtask build`: the kernel side, then the userspace that carries it.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::setup::{self, KernelSide, Tools};
use crate::shell::{self, say};
use crate::workspace;

const TARGET: &str = "bpfel-unknown-none";

/// The flags of the kernel side, in one place only: the linker refuses a repeated `--btf`.
const FLAGS: [&str; 3] = ["-Cdebuginfo=2", "-Clink-arg=--btf", "-Ctarget-cpu=v3"];

pub(crate) fn run() -> Result<()> {
    kernel_side()?;
    say("build: the weir binary");
    shell::run(shell::cargo().args(["build", "--release", "--package", "lb-userspace"]))
}

/// Sets up what is missing and builds the object, unless one is named by the environment.
pub(crate) fn kernel_side() -> Result<()> {
    match setup::run()? {
        KernelSide::Object => Ok(()),
        KernelSide::Tools(tools) => object(&tools, "lb-ebpf", &["lb-ebpf", "weir-decap"]),
    }
}

/// Builds the floors that the bench measures against; they need the tools in any case.
pub(crate) fn floors() -> Result<()> {
    match setup::run()? {
        KernelSide::Object => bail!("the bench builds its floors: unset WEIR_BPF_OBJECT"),
        KernelSide::Tools(tools) => object(&tools, "bench/floors", &["weir-floors"]),
    }
}

/// Builds a package for the kernel and puts its objects where the others look for them.
fn object(tools: &Tools, package: &str, names: &[&str]) -> Result<()> {
    say(format!("build: {} for the kernel", names.join(", ")));
    let root = workspace::root();
    let target = root.join("target/bpf");
    shell::run(&mut object_command(tools, &root.join(package), &target))?;
    for name in names {
        let built = target.join(TARGET).join("release").join(name);
        setup::check_object(&built)?;
        copy_if_changed(&built, &target.join(name))?;
    }
    Ok(())
}

fn object_command(tools: &Tools, source: &Path, target: &Path) -> Command {
    let mut command = Command::new(&tools.cargo);
    // This program runs under a cargo of its own, whose settings are not for this build.
    env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| is_foreign(&name.to_string_lossy()))
        .for_each(|name| {
            command.env_remove(name);
        });
    let flags = FLAGS.map(str::to_owned).join("\x1f");
    let flags = format!("{flags}\x1f-Clinker={}", tools.linker.display());
    command
        .current_dir(source)
        .args(["build", "--release", "--locked", "--target", TARGET, "-Zbuild-std=core"])
        .arg("--target-dir")
        .arg(target)
        .env("RUSTC", &tools.rustc)
        // A stable compiler accepts `-Z` then, and is otherwise the same.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .envs(tools.library_path.iter().map(|path| ("LD_LIBRARY_PATH", path)));
    command
}

fn is_foreign(variable: &str) -> bool {
    match variable {
        "CARGO_HOME" => false,
        "CARGO" | "RUSTFLAGS" => true,
        other => ["CARGO_", "RUSTC", "RUSTUP_TOOLCHAIN"].iter().any(|it| other.starts_with(it)),
    }
}

/// Leaves an equal file alone, so that cargo does not rebuild what embeds it.
fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    fs::write(to, new).with_context(|| format!("cannot write {}", to.display()))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn settings_of_the_outer_cargo_are_foreign() {
        let cases = [
            ("CARGO", true),
            ("CARGO_MANIFEST_DIR", true),
            ("CARGO_TARGET_DIR", true),
            ("CARGO_ENCODED_RUSTFLAGS", true),
            ("RUSTFLAGS", true),
            ("RUSTC", true),
            ("RUSTC_WRAPPER", true),
            ("RUSTUP_TOOLCHAIN", true),
            ("CARGO_HOME", false),
            ("RUSTUP_HOME", false),
            ("PATH", false),
        ];
        for (variable, foreign) in cases {
            assert_eq!(is_foreign(variable), foreign, "{variable}");
        }
    }

    #[test]
    fn the_object_is_built_by_the_chosen_tools() {
        let tools = Tools {
            source: "/s".into(),
            rustc: "/r".into(),
            cargo: "/c".into(),
            linker: "/l".into(),
            library_path: Some("/lib".into()),
        };
        let command = object_command(&tools, Path::new("/src"), Path::new("/out"));
        assert_eq!(
            shell::line_of(&command),
            "/c build --release --locked --target bpfel-unknown-none -Zbuild-std=core \
             --target-dir /out"
        );
        let value = |name: &str| {
            let found = command.get_envs().find(|(key, _)| *key == name);
            found.and_then(|(_, value)| value).map(|value| value.to_string_lossy().into_owned())
        };
        assert_eq!(value("RUSTC").as_deref(), Some("/r"));
        assert_eq!(value("RUSTC_BOOTSTRAP").as_deref(), Some("1"));
        assert_eq!(value("LD_LIBRARY_PATH").as_deref(), Some("/lib"));
        assert_eq!(
            value("CARGO_ENCODED_RUSTFLAGS").as_deref(),
            Some("-Cdebuginfo=2\x1f-Clink-arg=--btf\x1f-Ctarget-cpu=v3\x1f-Clinker=/l")
        );
        assert_eq!(value("CARGO_MANIFEST_DIR"), None);
    }

    #[test]
    fn an_equal_copy_is_left_alone() {
        let directory = env::temp_dir().join(format!("weir-copy-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let [from, to] = ["from", "to"].map(|name| directory.join(name));
        assert!(copy_if_changed(&from, &to).is_err(), "nothing to copy");
        fs::write(&from, "one").unwrap();
        copy_if_changed(&from, &to).unwrap();
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        File::options().write(true).open(&to).unwrap().set_modified(long_ago).unwrap();
        copy_if_changed(&from, &to).unwrap();
        assert_eq!(fs::metadata(&to).unwrap().modified().unwrap(), long_ago);
        fs::write(&from, "two").unwrap();
        copy_if_changed(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), "two");
        fs::remove_dir_all(&directory).unwrap();
    }
}
