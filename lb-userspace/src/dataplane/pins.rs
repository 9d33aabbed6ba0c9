//! Where programs' links and maps are pinned, so that they outlive the daemon.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aya::{maps::MapInfo, programs::links::PinnedLink};
use lb_common::{abi::ABI_VERSION, maps::MAPS};

use super::LoadError;

/// Where a BPF filesystem is usually mounted.
pub const BPFFS: &str = "/sys/fs/bpf";

/// The directory of this layout's pins under a BPF filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    root: PathBuf,
}

impl Pins {
    /// The pins under `bpffs`. The layout's version is part of the name: a loader never sees the
    /// maps of another one.
    #[must_use]
    pub fn new(bpffs: &Path) -> Self {
        Self { root: bpffs.join(format!("weir-v{ABI_VERSION}")) }
    }

    /// The pin of a map.
    #[must_use]
    pub fn map(&self, name: &str) -> PathBuf {
        self.root.join("maps").join(name)
    }

    /// The directory of the links.
    #[must_use]
    pub fn links(&self) -> PathBuf {
        self.root.join("links")
    }

    /// Makes the directories.
    pub(super) fn create(&self) -> io::Result<()> {
        fs::create_dir_all(self.root.join("maps"))?;
        fs::create_dir_all(self.links())
    }

    /// Checks that maps pinned earlier are of the kind and size that this load would make.
    pub(super) fn check_maps(
        &self,
        capacity: impl Fn(&str) -> Option<u32>,
    ) -> Result<(), LoadError> {
        for spec in MAPS {
            let path = self.map(spec.name);
            if !path.exists() {
                continue;
            }
            let info = MapInfo::from_pin(&path).map_err(|source| LoadError::Pin {
                path: path.clone(),
                source: io::Error::other(source),
            })?;
            let (key, value, entries) = (info.key_size(), info.value_size(), info.max_entries());
            let wanted = capacity(spec.name).unwrap_or(spec.capacity);
            if (key as usize, value as usize, entries) != (spec.key_size, spec.value_size, wanted) {
                let (found, name) = (format!("{key}/{value}/{entries}"), spec.name);
                let wanted = format!("{}/{}/{wanted}", spec.key_size, spec.value_size);
                return Err(LoadError::OtherMap { name, found, wanted });
            }
        }
        Ok(())
    }

    /// The names of all pinned links.
    pub(super) fn link_names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.links()).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// Detaches all pinned links and removes all pins. Says how many of each.
    pub fn remove(&self) -> io::Result<Removed> {
        let mut removed = Removed::default();
        for name in self.link_names() {
            let link = PinnedLink::from_pin(self.links().join(name)).map_err(io::Error::other)?;
            drop(link.unpin()?);
            removed.links += 1;
        }
        for entry in fs::read_dir(self.root.join("maps")).into_iter().flatten().flatten() {
            fs::remove_file(entry.path())?;
            removed.maps += 1;
        }
        for directory in [self.links(), self.root.join("maps"), self.root.clone()] {
            if let Err(error) = fs::remove_dir(&directory)
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error);
            }
        }
        Ok(removed)
    }
}

/// What `weir detach` took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Links, and with them programs on hooks.
    pub links: usize,
    /// Maps.
    pub maps: usize,
}
