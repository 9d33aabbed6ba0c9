//! Dropping capabilities, each time in a child of one thread: the loss is for good. These tests are
//! a program of their own, because a forked child holds the sockets of its neighbours open.

use caps::{CapSet, Capability, CapsHashSet};
use lb_userspace::cli::privilege::{PrivilegeError, drop_capabilities};
use nix::{
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, fork},
};

const KEPT: [Capability; 3] =
    [Capability::CAP_BPF, Capability::CAP_NET_ADMIN, Capability::CAP_PERFMON];

/// Runs `check` in a child; whether it held.
fn holds_in_a_child(check: fn() -> bool) -> bool {
    // SAFETY: the child has only the forking thread, whose allocator glibc makes usable again
    // after a fork; it runs `check` and leaves by `_exit`, without running the harness.
    let forked = unsafe { fork() };
    match forked {
        Err(_) => false,
        Ok(ForkResult::Parent { child }) => {
            matches!(waitpid(child, None), Ok(WaitStatus::Exited(_, 0)))
        }
        Ok(ForkResult::Child) => {
            let code = i32::from(!check());
            // SAFETY: `_exit` may be called at any time.
            unsafe { libc::_exit(code) }
        }
    }
}

fn holds_exactly(set: CapSet, expected: &[Capability]) -> bool {
    let expected: CapsHashSet = expected.iter().copied().collect();
    caps::read(None, set).is_ok_and(|found| found == expected)
}

fn dropped_for_good() -> bool {
    drop_capabilities().is_ok()
        && holds_exactly(CapSet::Effective, &KEPT)
        && holds_exactly(CapSet::Permitted, &KEPT)
        && holds_exactly(CapSet::Bounding, &KEPT)
        && holds_exactly(CapSet::Inheritable, &[])
        && holds_exactly(CapSet::Ambient, &[])
        && caps::raise(None, CapSet::Effective, Capability::CAP_SYS_ADMIN).is_err()
        // Again, and without the right to narrow the bounding set: harmless.
        && drop_capabilities().is_ok()
}

fn missing_is_named() -> bool {
    let lacking = caps::drop(None, CapSet::Effective, Capability::CAP_BPF)
        .and_then(|()| caps::drop(None, CapSet::Permitted, Capability::CAP_BPF));
    let error = drop_capabilities().map_err(|error| error.to_string());
    lacking.is_ok() && error.is_err_and(|text| text.starts_with("CAP_BPF"))
}

#[test]
fn what_is_not_needed_is_dropped_for_good() {
    let permitted = caps::read(None, CapSet::Permitted).unwrap();
    let able = KEPT.iter().chain(&[Capability::CAP_SETPCAP]).all(|cap| permitted.contains(cap));
    // Without the rights of root there is nothing to drop, and that is said.
    let check = if able { dropped_for_good } else { missing_is_named };
    assert!(holds_in_a_child(check));
    assert_eq!(caps::read(None, CapSet::Permitted).unwrap(), permitted);
}

#[test]
fn a_process_that_lacks_one_is_told_which() {
    assert!(holds_in_a_child(missing_is_named));
    let one = PrivilegeError::Missing(vec!["CAP_BPF".into()]).to_string();
    assert_eq!(one, "CAP_BPF missing: run as root, or grant it");
    let two = PrivilegeError::Missing(vec!["CAP_BPF".into(), "CAP_PERFMON".into()]).to_string();
    assert_eq!(two, "CAP_BPF, CAP_PERFMON missing: run as root, or grant them");
}

#[test]
fn other_threads_are_not_forgotten() {
    let error = drop_capabilities().unwrap_err();
    assert!(matches!(error, PrivilegeError::Threads(2..)), "{error}");
}
