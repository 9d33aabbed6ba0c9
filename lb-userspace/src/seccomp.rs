//! System calls that the daemon never makes are refused: what code would want that took it over, above
//! all to become another program. It is a list of the few, not of those that may be: libraries and kernels
//! that do old things by new calls must not be in its way.

use std::{collections::BTreeMap, env::consts::ARCH};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// What never happens in the daemon.
const REFUSED: [libc::c_long; 33] = [
    // Other programs, other roots, other users.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setgroups,
    libc::SYS_personality,
    // Other processes' memory and descriptors.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Mounts. File systems are mounted before.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_open_by_handle_at,
    // The kernel and the machine.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_clock_settime,
    libc::SYS_settimeofday,
    // Ways past filters like this one, and into the kernel.
    libc::SYS_io_uring_setup,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_request_key,
];

/// Refuses them to this thread and all that it starts, for good.
pub fn refuse() -> Result<(), seccompiler::Error> {
    let rules: BTreeMap<i64, Vec<_>> = REFUSED.into_iter().map(|call| (call, vec![])).collect();
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, ARCH.try_into()?)?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)
}

#[cfg(test)]
mod tests {
    use std::{process::Command, thread};

    use super::*;

    #[test]
    fn a_thread_that_refuses_starts_no_program_and_does_all_else() {
        let within = || {
            refuse().unwrap();
            let refused = Command::new("true").status().unwrap_err().kind();
            // A thread of it is in no better place.
            let child = thread::spawn(|| Command::new("true").status().unwrap_err().kind());
            let file = tempfile::tempfile().and_then(|file| file.set_len(1)).is_ok();
            ([refused, child.join().unwrap()], file)
        };
        let denied = std::io::ErrorKind::PermissionDenied;
        assert_eq!(thread::spawn(within).join().unwrap(), ([denied; 2], true));
        assert!(Command::new("true").status().unwrap().success(), "others are not concerned");
    }
}
