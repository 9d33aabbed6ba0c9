//! The files the rules look at.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// One text file.
pub(crate) struct File {
    /// Relative to the root of the workspace.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// All Rust and Markdown files of the repository.
#[derive(Default)]
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
}

impl Tree {
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        tree.add(root, root)?;
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    fn add(&mut self, root: &Path, directory: &Path) -> Result<()> {
        let cannot = || format!("cannot read {}", directory.display());
        for entry in fs::read_dir(directory).with_context(cannot)? {
            let entry = entry.with_context(cannot)?;
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().with_context(cannot)?.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    self.add(root, &path)?;
                }
            } else if path.extension().is_some_and(|it| it == "rs" || it == "md") {
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                let path = path.strip_prefix(root).unwrap_or(&path).display().to_string();
                self.files.push(File { path, text });
            }
        }
        Ok(())
    }

    /// The Rust files.
    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files
            .iter()
            .filter(|file| Path::new(&file.path).extension().is_some_and(|it| it == "rs"))
    }

    /// One file.
    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

impl File {
    /// The numbered lines of a file, without comments and without its unit tests.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// The numbered lines of a file, without its unit tests, which come last.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = self.text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        code.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Whether the whole file is a test.
    pub(crate) fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }
}
