//! What the daemon may do: no more than it needs, from its start on, for itself and whatever it would run.
//!
//! Root without capabilities still owns root's files; with those that are kept here it can load and
//! attach programs, set up links and hold low ports, and nothing else that root can.

use std::collections::HashSet;

use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};

/// What is needed all the time.
const EFFECTIVE: [Capability; 6] = [
    // Programs and maps, links and routes, helpers that trace.
    Capability::CAP_BPF,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_PERFMON,
    // Ports below 1024 are held for containers.
    Capability::CAP_NET_BIND_SERVICE,
    // A configuration in a user's home is read again when it changes.
    Capability::CAP_DAC_READ_SEARCH,
    // The namespaces and cgroups of a container's processes, whoever they run as.
    Capability::CAP_SYS_PTRACE,
];

/// What one thread raises for as long as it is in the network namespace of a container: there is no
/// other way to set an offload at the far end of a veth.
const OF_ONE_THREAD: Capability = Capability::CAP_SYS_ADMIN;

/// Gives up all else, for good. Before any other thread is there: capabilities are a thread's own.
pub fn drop_the_rest() -> Result<(), CapsError> {
    let had = caps::read(None, CapSet::Permitted)?;
    let effective: CapsHashSet = EFFECTIVE.into_iter().filter(|cap| had.contains(cap)).collect();
    let mut permitted = effective.clone();
    permitted.extend(had.contains(&OF_ONE_THREAD).then_some(OF_ONE_THREAD));
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        let bound = caps::read(None, CapSet::Bounding)?;
        for capability in bound.difference(&permitted) {
            caps::drop(None, CapSet::Bounding, *capability)?;
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::set(None, CapSet::Effective, &effective)?;
    caps::set(None, CapSet::Permitted, &permitted)?;
    caps::set(None, CapSet::Inheritable, &HashSet::default())?;
    never_more()
}

/// Nothing that is executed gets more than this process has.
fn never_more() -> Result<(), CapsError> {
    // SAFETY: takes numbers only.
    let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().to_string().into()) }
}

/// Lets the calling thread, which ends soon, enter namespaces. Where that is not permitted, entering
/// them fails and says so.
pub(crate) fn let_this_thread_enter_namespaces() {
    if let Err(error) = caps::raise(None, CapSet::Effective, OF_ONE_THREAD) {
        tracing::debug!(%error, "namespaces cannot be entered");
    }
}
