//! Where programs' links and maps are pinned, so that they outlive the daemon.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use aya::{maps::MapInfo, programs::links::PinnedLink};
use lb_common::{abi::ABI_VERSION, maps::MAPS};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use super::{Dataplane, LoadError, namespace};

/// Where a BPF filesystem is usually mounted.
pub const BPFFS: &str = "/sys/fs/bpf";

/// What the names of our directories begin with.
const PREFIX: &str = "weir-v";

/// Held by the daemon whose pins these are. The kernel lets go of it when the process ends,
/// however it ends.
pub type Lock = Flock<File>;

/// The directory of a daemon's pins under a BPF filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    root: PathBuf,
}

impl Pins {
    /// The pins under `bpffs` of this thread's network namespace. The layout's version is part of
    /// the name: a loader never sees the maps of another one. So is the namespace: interfaces of
    /// two namespaces have the same indices.
    pub fn new(bpffs: &Path) -> io::Result<Self> {
        let namespace = namespace::cookie()?;
        Ok(Self { root: bpffs.join(format!("{PREFIX}{ABI_VERSION}-{namespace}")) })
    }

    /// The pins under `bpffs` of all namespaces and layouts.
    pub fn all(bpffs: &Path) -> io::Result<Vec<Self>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(bpffs)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(PREFIX) {
                all.push(Self { root: entry.path() });
            }
        }
        Ok(all)
    }

    /// Refuses to work beside what a daemon of another version left at work in this namespace: both would
    /// answer for the same addresses, each from its own maps.
    pub(super) fn check_versions(&self) -> Result<(), LoadError> {
        let Some(bpffs) = self.root.parent() else { return Ok(()) };
        let failed = |source| LoadError::Pin { path: bpffs.to_owned(), source };
        let own = self.of();
        for other in Self::all(bpffs).map_err(failed)? {
            let is_other = match (&own, other.of()) {
                (Some((version, namespace)), Some((another, same))) => {
                    *namespace == same && *version != another
                }
                (Some(_) | None, Some(_) | None) => false,
            };
            if is_other && !other.link_names().is_empty() {
                let found = other.of().map(|(version, _)| version).unwrap_or_default();
                return Err(LoadError::OtherVersion { path: other.root, found });
            }
        }
        Ok(())
    }

    /// The version and the namespace that the directory is named by.
    fn of(&self) -> Option<(String, String)> {
        let name = self.root.file_name()?.to_str()?;
        let (version, namespace) = name.strip_prefix(PREFIX)?.split_once('-')?;
        Some((version.to_owned(), namespace.to_owned()))
    }

    /// The links that an earlier daemon of this thread's namespace left under `bpffs`, and with
    /// them a program that goes on balancing.
    pub fn left_behind(bpffs: &Path) -> io::Result<Vec<PathBuf>> {
        let pins = Self::new(bpffs)?;
        Ok(pins.link_names().into_iter().map(|name| pins.links().join(name)).collect())
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes sure that no other daemon uses the directory, which is there.
    pub fn lock(&self) -> Result<Lock, LoadError> {
        let failed = |source: io::Error| LoadError::Pin { path: self.root.clone(), source };
        let directory = File::open(&self.root).map_err(failed)?;
        let inode = directory.metadata().map_err(failed)?.ino();
        Flock::lock(directory, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
            if errno == Errno::EWOULDBLOCK {
                LoadError::Held { path: self.root.clone(), holder: holder(inode) }
            } else {
                failed(errno.into())
            }
        })
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
            let_go(link)?;
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

/// Takes a link off its hook. Where the file system of the pins is gone, there is no pin to remove.
pub(super) fn let_go(link: PinnedLink) -> io::Result<()> {
    match link.unpin() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

impl Dataplane {
    /// An error if the pins, which outlive this process, are no longer where they were put.
    pub fn check_pins(&self) -> Result<(), LoadError> {
        match &self.pins {
            Some(pins) if !pins.links().is_dir() => {
                Err(LoadError::PinsGone { path: pins.root().to_owned() })
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// The process that holds a lock on a file, as far as the kernel tells.
fn holder(inode: u64) -> Option<u32> {
    find_holder(&fs::read_to_string("/proc/locks").ok()?, inode)
}

/// Lines of `/proc/locks` are `1: FLOCK ADVISORY WRITE <pid> <major>:<minor>:<inode> 0 EOF`.
fn find_holder(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.nth(1)? == "FLOCK").then_some(())?;
        let pid = words.nth(2)?.parse().ok()?;
        let file = words.next()?;
        (file.rsplit(':').next()?.parse() == Ok(inode)).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_found_by_the_file() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 00:2a:77 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 22 00:2a:78 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 33 00:2a:77 0 EOF\n\
                     3: -> FLOCK  ADVISORY  WRITE 44 00:2a:77 0 EOF\nnonsense";
        assert_eq!(find_holder(locks, 77), Some(33));
        assert_eq!(find_holder(locks, 78), Some(22));
        assert_eq!(find_holder(locks, 79), None);
    }

    #[test]
    fn a_directory_has_one_holder_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let pins = Pins { root: directory.path().to_owned() };
        let first = pins.lock().unwrap();
        let Err(LoadError::Held { holder, .. }) = pins.lock() else { panic!("locked twice") };
        assert_eq!(holder, Some(std::process::id()));
        drop(first);
        pins.lock().unwrap();
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
