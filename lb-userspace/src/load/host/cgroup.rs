//! A cgroup whose resource use is read every second.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{
    Host,
    file::{Removed, Scratch},
    files::Files,
    locate::{LocateError, Mounts, Place, Places},
    reading::Reading,
};

/// Limits are looked at again after so many readings, or when asked to: they change rarely, and
/// reading them costs as much as several readings of the counters.
const READINGS_BETWEEN_LIMITS: u64 = 60;

/// Why a cgroup cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// There is no such process.
    #[error("there is no process {0}")]
    NoProcess(u32),
    /// The files of the kernel that lead to cgroups cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Proc {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The cgroup cannot be found.
    #[error(transparent)]
    Locate(#[from] LocateError),
    /// It is not there, or not any more.
    #[error("there is no cgroup {}", .0.display())]
    Gone(PathBuf),
    /// Its files cannot be opened, for want of descriptors.
    #[error("cannot open the files of the cgroup {}: {source}", path.display())]
    Open {
        /// Its directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A cgroup, by the files that show its use: cgroup v1, v2, or both side by side.
#[derive(Debug)]
pub struct Cgroup {
    places: Places,
    /// The path that it was found by. Each hierarchy may have it, and it may appear and vanish.
    named: Option<PathBuf>,
    host: Host,
    files: Files,
    readings_left: u64,
}

impl Cgroup {
    /// The cgroup that a process is in.
    pub fn of_process(pid: u32, host: Host, scratch: &mut Scratch) -> Result<Self, CgroupError> {
        let path = PathBuf::from(format!("/proc/{pid}/cgroup"));
        let text = fs::read(&path).map_err(|source| match source.raw_os_error() {
            Some(libc::ENOENT | libc::ESRCH) => CgroupError::NoProcess(pid),
            _ => CgroupError::Proc { path, source },
        })?;
        Self::open(mounts()?.of_process(&text)?, host, scratch)
    }

    /// The cgroup of a path: as in `/proc/PID/cgroup`, or that of its directory below any
    /// hierarchy's mount. Hierarchies that do not have the path are left out.
    pub fn of_path(path: &Path, host: Host, scratch: &mut Scratch) -> Result<Self, CgroupError> {
        Self::found(mounts()?.of_path(path)?, Some(path.to_path_buf()), host, scratch)
    }

    pub(super) fn open(
        places: Places,
        host: Host,
        scratch: &mut Scratch,
    ) -> Result<Self, CgroupError> {
        Self::found(places, None, host, scratch)
    }

    fn found(
        places: Places,
        named: Option<PathBuf>,
        host: Host,
        scratch: &mut Scratch,
    ) -> Result<Self, CgroupError> {
        let files = open_files(&places, named.as_deref(), host, scratch)?;
        // Cgroups that were opened together do not all look at their limits in the same second.
        let readings_left = files.identity() % READINGS_BETWEEN_LIMITS;
        Ok(Self { places, named, host, files, readings_left })
    }

    /// Looks at limits again with the next reading.
    pub const fn refresh(&mut self) {
        self.readings_left = 0;
    }

    /// One look. A cgroup that went away and came back is found again, with another identity.
    pub fn read(&mut self, scratch: &mut Scratch) -> Result<Reading, CgroupError> {
        if let Some(left) = self.readings_left.checked_sub(1) {
            self.readings_left = left;
            if let Ok(reading) = self.files.read(scratch) {
                return Ok(reading);
            }
        }
        // On an error the next reading comes here again.
        self.readings_left = 0;
        self.files = open_files(&self.places, self.named.as_deref(), self.host, scratch)?;
        let reading = self.files.read(scratch).map_err(|Removed| self.gone())?;
        self.readings_left = READINGS_BETWEEN_LIMITS;
        Ok(reading)
    }

    /// Does not look at limits with the next reading.
    #[cfg(test)]
    pub(super) const fn later(&mut self) {
        self.readings_left = READINGS_BETWEEN_LIMITS;
    }

    fn gone(&self) -> CgroupError {
        let first = || self.places.iter().next().map(Place::directory).unwrap_or_default();
        CgroupError::Gone(self.named.clone().unwrap_or_else(first))
    }
}

fn mounts() -> Result<Mounts, CgroupError> {
    let path = Path::new("/proc/self/mountinfo");
    let text =
        fs::read(path).map_err(|source| CgroupError::Proc { path: path.to_path_buf(), source })?;
    Ok(Mounts::parse(&text))
}

/// All directories of a process's cgroup come and go with it: if one is missing, the cgroup is.
/// Those of a path are made one by one, or not at all.
fn open_files(
    places: &Places,
    named: Option<&Path>,
    host: Host,
    scratch: &mut Scratch,
) -> Result<Files, CgroupError> {
    let mut places = places.clone();
    if let Some(path) = named {
        places.retain(|place| place.directory().is_dir());
        if places.iter().next().is_none() {
            return Err(CgroupError::Gone(path.to_path_buf()));
        }
    }
    let mut identity = None;
    let mut first = PathBuf::new();
    for place in places.iter() {
        let directory = place.directory();
        let metadata =
            fs::metadata(&directory).map_err(|_| CgroupError::Gone(directory.clone()))?;
        // The kernel does not give a number again until it has given out all others.
        if identity.is_none() {
            (identity, first) = (Some(metadata.ino()), directory);
        }
    }
    let identity = identity.ok_or(LocateError::None)?;
    Files::open(&places, identity, host, scratch)
        .map_err(|source| CgroupError::Open { path: first, source })
}
