//! What the host must offer before anything is loaded, checked one by one so that each lack has
//! a message of its own.

use std::{
    fs, io,
    net::{Ipv4Addr, UdpSocket},
    os::fd::AsRawFd as _,
    path::Path,
};

use super::LoadError;

/// The capabilities that loading and attaching need, with their bit numbers.
const CAPABILITIES: [(&str, u32); 3] =
    [("CAP_NET_ADMIN", 12), ("CAP_PERFMON", 38), ("CAP_BPF", 39)];
/// The oldest kernel with everything in use: `bpf_loop` came with 5.17.
const KERNEL_MIN: (u32, u32) = (5, 17);
/// The first kernel with TCX links.
const TCX_MIN: (u32, u32) = (6, 6);
/// `BPF_FS_MAGIC` of `linux/magic.h`.
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// Checks privileges and kernel.
pub fn check() -> Result<(), LoadError> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let missing = missing_capabilities(&status);
    if !missing.is_empty() {
        return Err(LoadError::Privileges(missing.join(", ")));
    }
    match kernel_version(&release()) {
        Some(version) if version < KERNEL_MIN => {
            Err(LoadError::Kernel(release().trim().to_owned()))
        }
        _ => Ok(()),
    }
}

fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default()
}

/// Whether the kernel has TCX links; older ones attach to a clsact qdisc.
pub(super) fn has_tcx() -> bool {
    kernel_version(&release()).is_none_or(|version| version >= TCX_MIN)
}

fn missing_capabilities(status: &str) -> Vec<&'static str> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    let absent = |&&(_, bit): &&(&str, u32)| bits >> bit & 1 == 0;
    CAPABILITIES.iter().filter(absent).map(|(name, _)| *name).collect()
}

fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.trim().split(['.', '-']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Checks that a BPF filesystem is mounted at `path`.
pub(super) fn check_bpffs(path: &Path) -> Result<(), LoadError> {
    let not_mounted = || LoadError::NoBpffs(path.to_owned());
    let stat = nix::sys::statfs::statfs(path).map_err(|_| not_mounted())?;
    if stat.filesystem_type().0 == BPF_FS_MAGIC { Ok(()) } else { Err(not_mounted()) }
}

/// What the kernel tells this network namespace from others by (Linux 5.14).
pub(super) fn netns_cookie() -> io::Result<u64> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let (mut cookie, mut length) = (0_u64, 8);
    // SAFETY: the kernel writes at most `length` bytes to `cookie`, which has as many.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        let rows: [(&str, &[&str]); 5] = [
            ("CapEff:\t000001fffeffffff\n", &[]),
            ("CapEff:\t0000000000000000\n", &["CAP_NET_ADMIN", "CAP_PERFMON", "CAP_BPF"]),
            ("CapEff:\t0000000000001000\n", &["CAP_PERFMON", "CAP_BPF"]),
            ("CapEff:\tnonsense\n", &["CAP_NET_ADMIN", "CAP_PERFMON", "CAP_BPF"]),
            ("", &["CAP_NET_ADMIN", "CAP_PERFMON", "CAP_BPF"]),
        ];
        for (status, missing) in rows {
            assert_eq!(missing_capabilities(status), missing, "{status:?}");
        }
    }

    #[test]
    fn kernel_versions_are_read_from_the_release() {
        let rows = [
            ("6.18.44-fc-v669\n", Some((6, 18))),
            ("5.4.0-150-generic\n", Some((5, 4))),
            ("5", None),
            ("", None),
            ("next-20260101", None),
        ];
        for (release, version) in rows {
            assert_eq!(kernel_version(release), version, "{release:?}");
        }
    }
}
