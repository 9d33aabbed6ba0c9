//! Where the kernel shows a process's cgroups: `/proc/PID/cgroup` names them, and
//! `/proc/self/mountinfo` says where each hierarchy is mounted. A path is never put together from a
//! container's id: drivers, `--cgroup-parent`, rootless engines and namespaces all differ.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// Why a cgroup cannot be found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocateError {
    /// The process is in no hierarchy that is mounted here.
    #[error("no cgroup hierarchy is mounted that has {}", .0.display())]
    NotMounted(PathBuf),
    /// Its paths lead out of what can be seen.
    #[error(
        "the cgroup {} is outside of this process's cgroup namespace: weir needs the host's",
        .0.display()
    )]
    Outside(PathBuf),
    /// It was removed while the process, a zombie, stayed.
    #[error("the cgroup {} was removed", .0.display())]
    Removed(PathBuf),
    /// The file of the process says nothing about cgroups.
    #[error("the process is in no cgroup")]
    None,
}

/// Hierarchies that tell about resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Cpu,
    Cpuacct,
    Cpuset,
    Memory,
    Blkio,
    Unified,
}

const KINDS: [(Kind, &[u8]); 6] = [
    (Kind::Cpu, b"cpu"),
    (Kind::Cpuacct, b"cpuacct"),
    (Kind::Cpuset, b"cpuset"),
    (Kind::Memory, b"memory"),
    (Kind::Blkio, b"blkio"),
    // The unified hierarchy has no name: see `Kind::of`.
    (Kind::Unified, b""),
];

/// A cgroup in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Where the hierarchy, or the part of it that can be seen, is mounted.
    pub(super) mount: PathBuf,
    /// The cgroup below it.
    pub(super) below: PathBuf,
    /// Another hierarchy tells more groups apart: this one is the group's, and that of others.
    pub(super) shared: bool,
}

impl Place {
    /// The cgroup's directory, and those above it up to the mount, each with its depth. A directory
    /// that is shared counts as one above.
    pub(super) fn levels(&self) -> impl Iterator<Item = (u8, PathBuf)> {
        let depths = u8::from(self.shared)..=u8::MAX;
        depths.zip(self.below.ancestors().map(|below| self.mount.join(below)))
    }

    /// The directory, if nobody else is in it.
    pub(super) fn own_directory(&self) -> Option<PathBuf> {
        if self.shared { None } else { Some(self.directory()) }
    }

    /// The directory.
    pub(super) fn directory(&self) -> PathBuf {
        self.mount.join(&self.below)
    }
}

/// The cgroups of a process, one for each hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places([Option<Place>; KINDS.len()]);

impl Places {
    pub(super) fn get(&self, kind: Kind) -> Option<&Place> {
        self.0[kind as usize].as_ref()
    }

    /// The controller's v1 hierarchy, or else the unified one: a kernel lends a controller to one
    /// of them only.
    pub(super) fn v1_or_unified(&self, kind: Kind) -> Option<(bool, &Place)> {
        let v1 = self.get(kind).map(|place| (true, place));
        v1.or_else(|| self.get(Kind::Unified).map(|place| (false, place)))
    }

    /// Keeps those that are there.
    pub(super) fn retain(&mut self, exists: impl Fn(&Place) -> bool) {
        for place in &mut self.0 {
            *place = place.take().filter(&exists);
        }
    }

    /// A v1 hierarchy may leave a process with its parent, or at the root with everybody, while
    /// others have a cgroup for it.
    fn mark_shared(&mut self) {
        let paths: Vec<PathBuf> = self.iter().map(|place| place.below.clone()).collect();
        for place in self.0.iter_mut().flatten() {
            let deeper = |path: &PathBuf| *path != place.below && path.starts_with(&place.below);
            place.shared = paths.iter().any(deeper);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Place> {
        self.0.iter().flatten()
    }
}

/// Mounted hierarchies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mounts(Vec<Mount>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    kinds: Vec<Kind>,
    /// The cgroup at the mount point.
    root: PathBuf,
    point: PathBuf,
}

impl Mounts {
    /// Reads `/proc/self/mountinfo` (proc(5)). What is no cgroup mount is passed over.
    pub(super) fn parse(mountinfo: &[u8]) -> Self {
        Self(mountinfo.split(|&byte| byte == b'\n').filter_map(Mount::parse).collect())
    }

    /// The cgroups of a process, by its `/proc/PID/cgroup`.
    pub(super) fn of_process(&self, cgroup: &[u8]) -> Result<Places, LocateError> {
        let mut places = Places::default();
        let mut error = LocateError::None;
        for line in cgroup.split(|&byte| byte == b'\n') {
            let mut fields = line.splitn(3, |&byte| byte == b':').skip(1);
            let (Some(names), Some(path)) = (fields.next(), fields.next()) else { continue };
            for kind in Kind::of(names) {
                match self.place(kind, Path::new(OsStr::from_bytes(path))) {
                    Ok(place) => places.0[kind as usize] = Some(place),
                    Err(why) => error = why,
                }
            }
        }
        places.mark_shared();
        if places.iter().next().is_some() { Ok(places) } else { Err(error) }
    }

    /// The cgroup of that path in every hierarchy. The path is as in `/proc/PID/cgroup`, or that
    /// of a directory below the mount of any hierarchy.
    pub(super) fn of_path(&self, path: &Path) -> Result<Places, LocateError> {
        let below_mount = self.0.iter().find_map(|mount| {
            path.strip_prefix(&mount.point).ok().map(|below| mount.root.join(below))
        });
        let path = below_mount.as_deref().unwrap_or(path);
        let mut places = Places::default();
        let mut error = LocateError::NotMounted(path.to_path_buf());
        for (kind, _) in KINDS {
            match self.place(kind, path) {
                Ok(place) => places.0[kind as usize] = Some(place),
                Err(LocateError::NotMounted(_)) => {}
                Err(why) => error = why,
            }
        }
        if places.iter().next().is_some() { Ok(places) } else { Err(error) }
    }

    fn place(&self, kind: Kind, path: &Path) -> Result<Place, LocateError> {
        if path.as_os_str().as_bytes().ends_with(b" (deleted)") {
            return Err(LocateError::Removed(path.to_path_buf()));
        }
        let mut outside = false;
        for mount in self.0.iter().filter(|mount| mount.kinds.contains(&kind)) {
            let Ok(below) = path.strip_prefix(&mount.root) else { continue };
            // Both are told relative to the namespace of the reader, so a path may begin with
            // `..`; below a mount it must not.
            if below.components().any(|part| part == std::path::Component::ParentDir) {
                outside = true;
                continue;
            }
            let (mount, below) = (mount.point.clone(), below.to_path_buf());
            return Ok(Place { mount, below, shared: false });
        }
        let path = path.to_path_buf();
        Err(if outside { LocateError::Outside(path) } else { LocateError::NotMounted(path) })
    }
}

impl Mount {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ');
        let (root, point) = (fields.nth(3)?, fields.next()?);
        let mut after = fields.skip_while(|&field| field != b"-").skip(1);
        let (kind, options) = (after.next()?, after.nth(1)?);
        let kinds = match kind {
            b"cgroup" => Kind::of(options).filter(|kind| *kind != Kind::Unified).collect(),
            b"cgroup2" => vec![Kind::Unified],
            _ => return None,
        };
        Some(Self { kinds, root: unescaped(root), point: unescaped(point) })
    }
}

impl Kind {
    /// Those of a list such as `cpu,cpuacct`; an empty list is the unified hierarchy.
    fn of(names: &[u8]) -> impl Iterator<Item = Self> {
        names.split(|&byte| byte == b',').filter_map(|name| {
            KINDS.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
        })
    }
}

/// A path of mountinfo, in which blanks and backslashes are three octal digits.
fn unescaped(text: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let code = |digits: &[u8; 3]| {
            let text = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(text, 8).ok()
        };
        let escaped = tail.first_chunk::<3>().filter(|_| byte == b'\\').and_then(code);
        path.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &tail[3..] } else { tail };
    }
    PathBuf::from(OsStr::from_bytes(&path))
}
