//! Copies the kernel side's objects to where the crate embeds them: the balancer's, and that of
//! `weir decap`, which lies beside it.
//!
//! Without an object the crate builds all the same, around an empty one: most of what `weir` does
//! needs none, and the loader says what is missing.

use std::env;
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const VARIABLE: &str = "WEIR_BPF_OBJECT";
/// The object of `weir decap`.
const DECAP: &str = "weir-decap";

fn main() -> Result<(), Box<dyn Error>> {
    tell("rerun-if-changed=build.rs");
    tell(&format!("rerun-if-env-changed={VARIABLE}"));
    let root = env::current_dir()?.join("..").canonicalize()?;
    let embedded = PathBuf::from(env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    let (bytes, beside) = match env::var_os(VARIABLE) {
        Some(named) => (named_object(&root.join(&named))?, root.join(named).with_file_name(DECAP)),
        None => (built_object(&root)?, root.join("target/bpf").join(DECAP)),
    };
    fs::write(embedded.join("lb-ebpf.o"), bytes)?;
    // Without it everything else works, and the command says what is missing.
    if beside.exists() {
        tell(&format!("rerun-if-changed={}", beside.display()));
    }
    fs::write(embedded.join("weir-decap.o"), fs::read(beside).unwrap_or_default())?;
    Ok(())
}

fn tell(line: &str) {
    println!("cargo:{line}");
}

/// An object that the user names has to exist.
fn named_object(path: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    tell(&format!("rerun-if-changed={}", path.display()));
    fs::read(path).map_err(|error| format!("{VARIABLE}: {}: {error}", path.display()).into())
}

/// The object of `cargo xtask build`; empty when there is none.
fn built_object(root: &Path) -> io::Result<Vec<u8>> {
    let directory = root.join("target/bpf");
    let object = directory.join("lb-ebpf");
    let Ok(bytes) = fs::read(&object) else {
        // Cargo takes a missing file for a changed one and would run this at every build; an
        // empty directory changes when the object arrives.
        fs::create_dir_all(&directory)?;
        tell(&format!("rerun-if-changed={}", directory.display()));
        return Ok(Vec::new());
    };
    tell(&format!("rerun-if-changed={}", object.display()));
    // An equal object is not copied again, so the linker's own output tells the time of the build.
    let linked = directory.join("bpfel-unknown-none/release/lb-ebpf");
    if linked.exists() {
        tell(&format!("rerun-if-changed={}", linked.display()));
    }
    let built = [object, linked].iter().filter_map(|path| modified(path)).max();
    let sources = ["lb-ebpf/src", "lb-common/src"].map(|path| root.join(path));
    for sources in sources.iter().filter(|path| path.is_dir()) {
        tell(&format!("rerun-if-changed={}", sources.display()));
        if newest(sources)? > built {
            let sources = sources.display();
            tell(&format!("warning={sources} is newer than the object; run `cargo xtask build`"));
        }
    }
    Ok(bytes)
}

/// The last change below a directory; none if it does not exist.
fn newest(directory: &Path) -> io::Result<Option<SystemTime>> {
    let mut latest = None;
    let Ok(entries) = fs::read_dir(directory) else { return Ok(latest) };
    for entry in entries {
        let path = entry?.path();
        let time = if path.is_dir() { newest(&path)? } else { modified(&path) };
        latest = latest.max(time);
    }
    Ok(latest)
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}
