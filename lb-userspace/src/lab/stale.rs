//! Taking namespaces away: our own at the end, and those of processes that were killed.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{
    mount::{MntFlags, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::netns::DIRECTORY;

/// Beginning of the names of one laboratory's namespaces.
pub(super) fn stem(prefix: &str, pid: u32, number: u32) -> String {
    format!("{prefix}-{pid}-{number}")
}

/// The process that made a namespace of this name, if it is one of ours.
fn maker(prefix: &str, name: &str) -> Option<i32> {
    let mut parts = name.strip_prefix(prefix)?.strip_prefix('-')?.split('-');
    let pid: i32 = parts.next()?.parse().ok()?;
    let _number: u32 = parts.next()?.parse().ok()?;
    let role = parts.next()?;
    let known = matches!(role, "cl" | "lb" | "sw")
        || role.strip_prefix('b').is_some_and(|n| n.parse::<u8>().is_ok());
    (known && parts.next().is_none() && pid > 0).then_some(pid)
}

/// Removes what laboratories of this prefix left behind whose process is dead, with the processes
/// that still run inside. Returns the names of what was removed.
pub fn reap_stale(prefix: &str) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(DIRECTORY) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut removed = Vec::new();
    for entry in entries {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        let dead = |pid: i32| !Path::new("/proc").join(pid.to_string()).exists();
        if maker(prefix, &name).is_some_and(dead) {
            remove(&name);
            removed.push(name);
        }
    }
    removed.sort();
    Ok(removed)
}

/// Kills the processes inside and removes the namespace. Whoever calls this is on the way out and
/// can do nothing about a failure, so it ends in the log.
pub(super) fn remove(name: &str) {
    let path = Path::new(DIRECTORY).join(name);
    if let Err(error) = kill_inside(&path) {
        tracing::warn!(name, %error, "cannot look for processes in the namespace");
    }
    // A namespace that was never bound is a plain file: it is only deleted.
    if let Err(error) = umount2(&path, MntFlags::MNT_DETACH)
        && error != nix::Error::EINVAL
    {
        tracing::warn!(name, %error, "cannot unmount the namespace");
    }
    if let Err(error) = fs::remove_file(&path) {
        tracing::warn!(name, %error, "cannot remove the namespace");
    }
}

/// Kills until nobody is left, because what is killed last may have started something before.
fn kill_inside(path: &Path) -> io::Result<()> {
    let namespace = identity(path)?;
    if namespace == identity(Path::new("/proc/self/ns/net"))? {
        return Ok(());
    }
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        let pids = inside(namespace)?;
        if pids.is_empty() || Instant::now() > deadline {
            return Ok(());
        }
        for pid in pids {
            match kill(pid, Signal::SIGKILL) {
                Ok(()) | Err(nix::Error::ESRCH) => {}
                Err(error) => tracing::warn!(%pid, %error, "cannot kill a process"),
            }
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Device and inode: two files are the same namespace if both are equal.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

/// The processes in a namespace, apart from this one. Those that end meanwhile, and zombies, have
/// no readable namespace.
fn inside(namespace: (u64, u64)) -> io::Result<Vec<Pid>> {
    let own = Pid::this();
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let pid = Pid::from_raw(pid);
        if pid != own && identity(&entry.path().join("ns/net")).is_ok_and(|id| id == namespace) {
            pids.push(pid);
        }
    }
    Ok(pids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_maker() {
        assert_eq!(maker("weir", &format!("{}-cl", stem("weir", 17, 0))), Some(17));
        assert_eq!(maker("weir-demo", "weir-demo-17-2-b250"), Some(17));
        let strangers = [
            ("weir", "weir"),
            ("weir", "weir-17-cl"),
            ("weir", "weir-17-0-xx"),
            ("weir", "weir-17-0-b"),
            ("weir", "weir-17-0-b1-more"),
            ("weir", "weir-0-0-cl"),
            ("weir", "weir--1-0-cl"),
            ("weir", "weird-17-0-cl"),
            ("weir", "weir-demo-17-0-cl"),
            ("weir-demo", "weir-17-0-cl"),
        ];
        for (prefix, name) in strangers {
            assert_eq!(maker(prefix, name), None, "{prefix} {name}");
        }
    }
}
