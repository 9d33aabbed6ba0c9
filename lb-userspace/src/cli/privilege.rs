//! Gives away what the daemon does not need: of root's capabilities three remain.

use std::{fs, io};

use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};

/// BPF programs and maps; links, routes and attachments; BPF helpers that read the kernel.
const KEPT: [Capability; 3] =
    [Capability::CAP_BPF, Capability::CAP_NET_ADMIN, Capability::CAP_PERFMON];

/// Why capabilities are as they were, or not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// The process never had what it needs.
    #[error("{} missing: run as root, or grant {}", .0.join(", "), if .0.len() == 1 { "it" } else { "them" })]
    Missing(Vec<String>),
    /// The kernel keeps capabilities per thread: others would keep theirs.
    #[error("capabilities are dropped with one thread, and there are {0}")]
    Threads(usize),
    /// The threads could not be counted.
    #[error("/proc/self/task: {0}")]
    Proc(#[from] io::Error),
    /// The kernel refused.
    #[error("capabilities: {0}")]
    Kernel(#[from] CapsError),
}

/// Drops all capabilities but `CAP_BPF`, `CAP_NET_ADMIN` and `CAP_PERFMON`, for good: also from
/// the bounding set where the process may. To be called before the first thread is started, the
/// runtime's included, and after the BPF file system is mounted, which needs `CAP_SYS_ADMIN`.
pub fn drop_capabilities() -> Result<(), PrivilegeError> {
    let threads = fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(PrivilegeError::Threads(threads));
    }
    let permitted = caps::read(None, CapSet::Permitted)?;
    let missing: Vec<String> =
        KEPT.iter().filter(|kept| !permitted.contains(kept)).map(ToString::to_string).collect();
    if !missing.is_empty() {
        return Err(PrivilegeError::Missing(missing));
    }
    if permitted.contains(&Capability::CAP_SETPCAP) {
        narrow_bounding_set()?;
    }
    let kept: CapsHashSet = KEPT.into_iter().collect();
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    // Effective first: it may never hold more than permitted does.
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    Ok(())
}

/// Programs that the daemon might be made to start get no more than the daemon has.
fn narrow_bounding_set() -> Result<(), CapsError> {
    caps::raise(None, CapSet::Effective, Capability::CAP_SETPCAP)?;
    caps::read(None, CapSet::Bounding)?
        .into_iter()
        .filter(|capability| !KEPT.contains(capability))
        .try_for_each(|capability| caps::drop(None, CapSet::Bounding, capability))
}
