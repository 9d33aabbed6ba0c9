//! `cargo xtask setup`: a compiler and a linker for the kernel side.
//!
//! The kernel side is built with `-Z build-std`, which wants the source of `core` of exactly the
//! compiler in use, and linked by a bpf-linker that reads that compiler's LLVM bitcode. Both are
//! looked for first and fetched second, and what was found is remembered under `target/`.

mod compiler;
mod linker;
mod packages;
mod stamp;

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

pub(crate) use self::packages::{
    BENCH_PROGRAMS, ENGINE_CLIENT, ENGINE_PROGRAMS, TEST_PROGRAMS, ensure_programs,
};
pub(crate) use self::stamp::Tools;

use crate::shell::{OBJECT_VARIABLE, say};
use crate::workspace;

/// Where the kernel side's object comes from.
pub(crate) enum KernelSide {
    /// It exists already; the userspace crate finds it by the same variable.
    Object,
    /// It is built with these tools.
    Tools(Tools),
}

pub(crate) fn run() -> Result<KernelSide> {
    if let Some(named) = env::var_os(OBJECT_VARIABLE) {
        let object = PathBuf::from(named);
        check_object(&object).with_context(|| format!("{OBJECT_VARIABLE} names no object"))?;
        say(format!("setup: using the object {}, as {OBJECT_VARIABLE} says", object.display()));
        return Ok(KernelSide::Object);
    }
    let directory = workspace::root().join("target/tools");
    let stamp = directory.join("setup.stamp");
    if let Some(tools) = Tools::load(&stamp) {
        return Ok(KernelSide::Tools(tools));
    }
    let rustup_home = rustup_home();
    let compiler = compiler::find_or_install(&rustup_home)?;
    say(format!("setup: compiler {}, {}", compiler.rustc.display(), compiler.version));
    let linker = linker::find_or_install(&compiler, &directory, &rustup_home)?;
    say(format!("setup: linker {}", linker.path.display()));
    let tools = Tools {
        source: compiler.source,
        rustc: compiler.rustc,
        cargo: compiler.cargo,
        linker: linker.path,
        library_path: linker.library_path,
    };
    tools.save(&stamp)?;
    Ok(KernelSide::Tools(tools))
}

fn rustup_home() -> PathBuf {
    env::var_os("RUSTUP_HOME").map_or_else(
        || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".rustup"),
        PathBuf::from,
    )
}

/// An ELF file for the BPF machine; a mistaken name is better told here than by the kernel.
pub(crate) fn check_object(path: &Path) -> Result<()> {
    const EM_BPF: [u8; 2] = 247_u16.to_le_bytes();
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(bytes.starts_with(b"\x7fELF"), "{} is not an ELF file", path.display());
    ensure!(bytes.get(18..20) == Some(&EM_BPF), "{} is not for the BPF machine", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bpf_elf_is_an_object() {
        let directory = env::temp_dir().join(format!("weir-xtask-object-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let mut bpf = b"\x7fELF".to_vec();
        bpf.resize(18, 0);
        let x86 = [&bpf[..], &[62, 0]].concat();
        bpf.extend([247, 0]);
        let cases: [(&str, &[u8], Option<&str>); 5] = [
            ("bpf", &bpf, None),
            ("x86", &x86, Some("not for the BPF machine")),
            ("short", b"\x7fELF", Some("not for the BPF machine")),
            ("text", b"hello", Some("not an ELF file")),
            ("empty", b"", Some("not an ELF file")),
        ];
        for (name, bytes, error) in cases {
            let path = directory.join(name);
            std::fs::write(&path, bytes).unwrap();
            let found = check_object(&path).err().map(|error| error.to_string());
            match error {
                None => assert_eq!(found, None, "{name}"),
                Some(text) => assert!(found.unwrap().contains(text), "{name}"),
            }
        }
        assert!(check_object(&directory.join("absent")).is_err());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
