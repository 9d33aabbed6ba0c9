//! What setup found, remembered so that the next call need not look again.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Everything that builds the kernel side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tools {
    /// `lib.rs` of the source of `core`.
    pub(crate) source: PathBuf,
    pub(crate) rustc: PathBuf,
    pub(crate) cargo: PathBuf,
    pub(crate) linker: PathBuf,
    /// Where the linker finds LLVM, when it brings none.
    pub(crate) library_path: Option<PathBuf>,
}

impl Tools {
    /// The tools of an earlier call, unless any of them changed since.
    pub(crate) fn load(stamp: &Path) -> Option<Self> {
        let text = fs::read_to_string(stamp).ok()?;
        let tools = Self::parse(&text)?;
        (tools.render()? == text).then_some(tools)
    }

    /// Remembers the tools.
    pub(crate) fn save(&self, stamp: &Path) -> Result<()> {
        let text = self.render().context("a tool vanished while it was set up")?;
        let directory = stamp.parent().context("the stamp has no directory")?;
        fs::create_dir_all(directory)
            .and_then(|()| fs::write(stamp, text))
            .with_context(|| format!("cannot write {}", stamp.display()))
    }

    /// One line a tool: its path, and what changes when it is replaced. Nothing if one is missing.
    fn render(&self) -> Option<String> {
        let paths = [&self.source, &self.rustc, &self.cargo, &self.linker];
        let mut text = String::new();
        for path in paths.into_iter().chain(&self.library_path) {
            let data = fs::metadata(path).ok()?;
            let line = format!("{}\t{}\t{}\n", path.display(), data.size(), data.mtime());
            text.push_str(&line);
        }
        Some(text)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut paths = text.lines().map(|line| line.split('\t').next().map(PathBuf::from));
        Some(Self {
            source: paths.next()??,
            rustc: paths.next()??,
            cargo: paths.next()??,
            linker: paths.next()??,
            library_path: paths.next().flatten(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools_in(directory: &Path) -> Tools {
        fs::create_dir_all(directory).unwrap();
        let file = |name: &str| {
            let path = directory.join(name);
            fs::write(&path, name).unwrap();
            path
        };
        Tools {
            source: file("lib.rs"),
            rustc: file("rustc"),
            cargo: file("cargo"),
            linker: file("bpf-linker"),
            library_path: Some(directory.to_path_buf()),
        }
    }

    #[test]
    fn tools_are_remembered_until_one_of_them_changes() {
        let directory = std::env::temp_dir().join(format!("weir-stamp-{}", std::process::id()));
        let tools = tools_in(&directory.join("tools"));
        let stamp = directory.join("made/on/the/way/stamp");
        assert_eq!(Tools::load(&stamp), None, "no stamp yet");

        tools.save(&stamp).unwrap();
        assert_eq!(Tools::load(&stamp), Some(tools.clone()));

        fs::write(&tools.rustc, "another compiler").unwrap();
        assert_eq!(Tools::load(&stamp), None, "the compiler was replaced");
        tools.save(&stamp).unwrap();
        fs::remove_file(&tools.linker).unwrap();
        assert_eq!(Tools::load(&stamp), None, "the linker was removed");
        assert!(tools.save(&stamp).is_err(), "a missing tool is not remembered");

        fs::write(&stamp, "rubbish").unwrap();
        assert_eq!(Tools::load(&stamp), None, "not a stamp");
        fs::remove_dir_all(&directory).unwrap();
    }
}
