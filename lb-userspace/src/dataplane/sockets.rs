//! The hooks at the sockets of this host's processes: programs on a directory of the cgroup2
//! hierarchy, for all processes below it. They act in the network namespace in which they were
//! loaded only, so that containers keep to their own.
//!
//! The kernel's links of this kind cannot be given another program by aya, so a new daemon attaches
//! its own beside the ones it finds, and takes those off afterwards. For a moment a call meets
//! both, of which the second finds a backend's address and leaves it alone.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use aya::programs::{
    CgroupAttachMode, CgroupSockAddr, ProgramError,
    links::{FdLink, PinnedLink},
};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use super::{Dataplane, loader, pins::let_go};

/// The programs, those that tell a peer's name first: nothing is translated before it can be told.
pub(super) const PROGRAMS: [&str; 8] = [
    "weir_getpeername4",
    "weir_getpeername6",
    "weir_recvmsg4",
    "weir_recvmsg6",
    "weir_connect4",
    "weir_connect6",
    "weir_sendmsg4",
    "weir_sendmsg6",
];

/// Why the socket hooks are not on a cgroup.
#[derive(Debug, thiserror::Error)]
pub enum SocketsError {
    /// It cannot be used.
    #[error("{}: {source}", path.display())]
    Directory {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is not a directory of a cgroup2 filesystem", .0.display())]
    NotCgroup(PathBuf),
}

/// What holds a program on its hook; dropping it lets go, unless it is pinned.
#[derive(Debug)]
enum Held {
    Pinned(PathBuf, PinnedLink),
    Fd(#[expect(dead_code, reason = "held for its drop")] FdLink),
}

/// The cgroup with the programs on it.
#[derive(Debug, Default)]
pub(super) struct SocketHooks {
    cgroup: Option<(PathBuf, u64)>,
    held: BTreeMap<&'static str, Held>,
    missing: Vec<String>,
}

impl SocketHooks {
    /// The pins of the links held.
    pub(super) fn pins(&self) -> impl Iterator<Item = PathBuf> {
        self.held.values().filter_map(|held| match held {
            Held::Pinned(path, _) => Some(path.clone()),
            Held::Fd(_) => None,
        })
    }

    /// How many links are held.
    pub(super) fn count(&self) -> usize {
        self.held.len()
    }
}

impl Dataplane {
    /// Loads the programs of the socket hooks. Returns those that this kernel refuses, and why.
    pub fn load_sockets(&mut self) -> Vec<(&'static str, ProgramError)> {
        let mut refused = Vec::new();
        for name in PROGRAMS {
            match loader::program::<CgroupSockAddr>(&mut self.ebpf, name) {
                Ok(program) if program.fd().is_ok() => {}
                Ok(program) => refused.extend(program.load().err().map(|error| (name, error))),
                Err(_) => refused.push((name, ProgramError::NotLoaded)),
            }
        }
        refused
    }

    /// Puts the socket hooks on a cgroup, and takes them off any other; again is harmless. Hooks
    /// that this kernel does not have are left out, and [`missing_sockets`] tells which.
    ///
    /// [`missing_sockets`]: Self::missing_sockets
    pub fn attach_sockets(&mut self, path: &Path) -> Result<(), SocketsError> {
        let failed = |source| SocketsError::Directory { path: path.to_owned(), source };
        let directory = File::open(path).map_err(failed)?;
        let kind = statfs(path).map_err(|error| failed(error.into()))?.filesystem_type();
        if kind != CGROUP2_SUPER_MAGIC {
            return Err(SocketsError::NotCgroup(path.to_owned()));
        }
        let inode = directory.metadata().map_err(failed)?.ino();
        if self.sockets.cgroup.as_ref().is_some_and(|(_, there)| *there == inode) {
            return Ok(());
        }
        let refused = self.load_sockets();
        let mut hooks = SocketHooks {
            cgroup: Some((path.to_owned(), inode)),
            held: BTreeMap::new(),
            missing: refused.iter().map(|(name, error)| lack(name, error)).collect(),
        };
        for name in PROGRAMS {
            if refused.iter().any(|(other, _)| *other == name) {
                continue;
            }
            let answers = name.replace("sendmsg", "recvmsg");
            if name != answers && !hooks.held.contains_key(answers.as_str()) {
                hooks.missing.push(format!("{}: needs recvmsg", hook(name)));
                continue;
            }
            match self.attach_socket(name, &directory, inode) {
                Ok(held) => drop(hooks.held.insert(name, held)),
                Err(error) => hooks.missing.push(lack(name, &*error)),
            }
        }
        let before = std::mem::replace(&mut self.sockets, hooks);
        release(before).map_err(failed)
    }

    fn attach_socket(
        &mut self,
        name: &'static str,
        directory: &File,
        inode: u64,
    ) -> Result<Held, Box<dyn std::error::Error + Send + Sync>> {
        let program = loader::program::<CgroupSockAddr>(&mut self.ebpf, name)?;
        // Of the program, too: a link of an earlier daemon stays until this one is in place.
        let pin = format!("cgroup-{}-{inode}-{}", hook(name), program.info()?.id());
        // Links always stand beside each other; the mode is for attachments without one.
        let id = program.attach(directory, CgroupAttachMode::Single)?;
        let link = FdLink::try_from(program.take_link(id)?)?;
        let Some(pins) = &self.pins else { return Ok(Held::Fd(link)) };
        let path = pins.links().join(pin);
        Ok(Held::Pinned(path.clone(), link.pin(path)?))
    }

    /// Takes the socket hooks off their cgroup.
    pub fn detach_sockets(&mut self) -> io::Result<()> {
        release(std::mem::take(&mut self.sockets))
    }

    /// The cgroup that the socket hooks are on.
    #[must_use]
    pub fn sockets(&self) -> Option<&Path> {
        self.sockets.cgroup.as_ref().map(|(path, _)| path.as_path())
    }

    /// The hooks that could not be attached, with the reason.
    #[must_use]
    pub fn missing_sockets(&self) -> &[String] {
        &self.sockets.missing
    }
}

fn release(hooks: SocketHooks) -> io::Result<()> {
    for held in hooks.held.into_values() {
        if let Held::Pinned(_, link) = held {
            let_go(link)?;
        }
    }
    Ok(())
}

/// The hook of a program.
fn hook(program: &str) -> &str {
    program.trim_start_matches("weir_")
}

fn lack(program: &str, error: &dyn std::error::Error) -> String {
    format!("{}: {error}", hook(program))
}

/// The root of the cgroup2 hierarchy, as far as this process sees it.
#[must_use]
pub fn cgroup_root() -> Option<PathBuf> {
    root_in(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

/// Finds it in `mountinfo` (proc(5)): the root of the mount is the fourth field, the place the
/// fifth, and the type follows a dash.
fn root_in(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, place) = (fields.next()?, fields.next()?);
        let is_root = root == "/" && filesystem.split(' ').next() == Some("cgroup2");
        is_root.then(|| PathBuf::from(place.replace("\\040", " ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_of_the_hierarchy_is_found_among_the_mounts() {
        let rows = [
            (
                "25 30 0:23 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw",
                Some("/sys/fs/cgroup"),
            ),
            (
                "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                 41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
                Some("/sys/fs/cgroup/unified"),
            ),
            ("41 31 0:38 / /mnt/a\\040b rw - cgroup2 none rw", Some("/mnt/a b")),
            // A part of it, mounted by itself.
            ("41 31 0:38 /system.slice /mnt rw - cgroup2 cgroup2 rw", None),
            ("40 31 0:37 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu", None),
            ("41 31 0:38 / /cgroup2 rw - tmpfs cgroup2 rw", None),
            ("41 31 0:38", None),
            ("", None),
        ];
        for (mounts, root) in rows {
            assert_eq!(root_in(mounts).as_deref(), root.map(Path::new), "{mounts:?}");
        }
    }
}
