//! CPU time of what a run occupies, however busy the rest of the machine is: a control group for
//! the processes, and the kernel threads that finish network work nobody was there for.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use lb_userspace::lab::Netns;

/// Of the names of our groups; the process id follows.
const PREFIX: &str = "weir-bench-";

/// A control group of our own (version 2). Dropping it removes it, after its processes ended.
#[derive(Debug)]
pub(crate) struct Meter {
    directory: PathBuf,
    softirqd: Vec<PathBuf>,
}

impl Meter {
    pub(crate) fn new() -> Result<Self> {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo")?;
        let mount = cgroup2_mount(&mountinfo).context("no cgroup2 filesystem is mounted")?;
        reap(Path::new(mount))?;
        let directory = Path::new(mount).join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&directory)
            .with_context(|| format!("cannot make control group {}", directory.display()))?;
        Ok(Self { directory, softirqd: softirqd()? })
    }

    /// A command that runs in a namespace and is metered. It joins the group before it becomes
    /// the program, so that no thread is left outside.
    pub(crate) fn command(&self, netns: &Netns, program: &str) -> Command {
        let mut command = netns.command("sh");
        command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]);
        command.arg(self.directory.join("cgroup.procs")).arg(program);
        command
    }

    /// The group's directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Meters a process that somebody else started.
    pub(crate) fn adopt(&self, pid: u32) -> Result<()> {
        let path = self.directory.join("cgroup.procs");
        fs::write(&path, pid.to_string()).with_context(|| path.display().to_string())
    }

    /// Seconds of CPU so far: of the processes, and of softirqs put off.
    pub(crate) fn read(&self) -> Result<f64> {
        let path = self.directory.join("cpu.stat");
        let stat = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let own = usage_seconds(&stat).context("cpu.stat without usage_usec")?;
        Ok(own + self.deferred()?)
    }

    /// Seconds of CPU that the softirq threads took so far.
    pub(crate) fn deferred(&self) -> Result<f64> {
        let mut sum = 0.0;
        for path in &self.softirqd {
            let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
            sum += run_seconds(&text).with_context(|| path.display().to_string())?;
        }
        Ok(sum)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        // The last process may still be on its way out.
        for _ in 0..100 {
            match fs::remove_dir(&self.directory) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    thread::sleep(Duration::from_millis(10));
                }
                Ok(()) | Err(_) => return,
            }
        }
        eprintln!("weir-bench: control group {} is still in use", self.directory.display());
    }
}

/// Removes the groups of benches that were killed.
fn reap(mount: &Path) -> io::Result<()> {
    for entry in fs::read_dir(mount)? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            fs::remove_dir(mount.join(name))?;
        }
    }
    Ok(())
}

/// Where version 2 is mounted: proc(5), the fields behind the separator.
fn cgroup2_mount(mountinfo: &str) -> Option<&str> {
    mountinfo.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let is_cgroup2 = filesystem.split(' ').next()? == "cgroup2";
        if is_cgroup2 { mount.split(' ').nth(4) } else { None }
    })
}

fn usage_seconds(stat: &str) -> Option<f64> {
    let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
    Some(usage.trim().parse::<f64>().ok()? / 1e6)
}

/// The first figure of `schedstat`: nanoseconds on a CPU.
fn run_seconds(schedstat: &str) -> Option<f64> {
    Some(schedstat.split_whitespace().next()?.parse::<f64>().ok()? / 1e9)
}

/// The threads that take over softirqs, one a CPU.
fn softirqd() -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let process = entry?.path();
        let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
        if name.starts_with("ksoftirqd/") {
            found.push(process.join("schedstat"));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_version_2_is_found() {
        let both = "35 24 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                    44 24 0:39 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(cgroup2_mount(both), Some("/sys/fs/cgroup/unified"));
        let none = [
            "",
            "35 24 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu",
            "1 2 3:4 / /cgroup2 rw - tmpfs cgroup2 rw",
            "cgroup2",
        ];
        for mountinfo in none {
            assert_eq!(cgroup2_mount(mountinfo), None, "{mountinfo}");
        }
    }

    #[test]
    fn times_are_seconds() {
        assert_eq!(usage_seconds("usage_usec 1500000\nuser_usec 3\n"), Some(1.5));
        assert_eq!(run_seconds("2500000000 17 4\n"), Some(2.5));
        for wrong in ["", "user_usec 3", "usage_usec", "usage_usec many"] {
            assert_eq!(usage_seconds(wrong), None, "{wrong}");
        }
        for wrong in ["", "\n", "much 17 4"] {
            assert_eq!(run_seconds(wrong), None, "{wrong}");
        }
    }
}
