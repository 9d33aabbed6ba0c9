//! Control groups of our own, version 1 or 2, that hold back a backend's CPU.

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
const PREFIX: &str = "weir-balance-";
/// What the groups together weigh against the rest of the machine: as much as the kernel allows.
const SHARES_V1: &str = "262144";
const WEIGHT_V2: &str = "10000";
/// Length of a period. Steps of latency are as long as one.
pub(crate) const PERIOD_US: u64 = 20_000;

/// The groups of a site. Dropping it removes them, after their processes ended.
#[derive(Debug)]
pub(crate) struct Groups {
    hierarchies: Hierarchies,
    name: String,
    members: Vec<String>,
}

/// Where the hierarchies with CPU time, quotas and pressure are mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Hierarchies {
    /// `cpu`, `cpuacct`, and version 2 beside them.
    V1(Vec<PathBuf>),
    V2(PathBuf),
}

impl Groups {
    /// A group for everything, below which the members are.
    pub(crate) fn new() -> Result<Self> {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo")?;
        let hierarchies = Hierarchies::find(&mountinfo).context(
            "no control groups with the cpu controller are mounted: quotas cannot be set",
        )?;
        reap(&hierarchies);
        let name = format!("{PREFIX}{}", std::process::id());
        let groups = Self { hierarchies, name, members: Vec::new() };
        groups.make(&groups.name)?;
        match &groups.hierarchies {
            Hierarchies::V1(_) => groups.set(&groups.name, "cpu.shares", SHARES_V1)?,
            Hierarchies::V2(top) => {
                // Enabled already, as a rule.
                let _refused = fs::write(top.join("cgroup.subtree_control"), "+cpu +memory +io");
                groups.set(&groups.name, "cgroup.subtree_control", "+cpu")?;
                groups.set(&groups.name, "cpu.weight", WEIGHT_V2)?;
            }
        }
        Ok(groups)
    }

    /// Adds a group with this part of a CPU, and says its path as `/proc/PID/cgroup` has it.
    pub(crate) fn add(&mut self, member: &str, cpus: f64) -> Result<PathBuf> {
        let name = format!("{}/{member}", self.name);
        self.make(&name)?;
        self.members.push(name.clone());
        self.set_quota(member, cpus)?;
        Ok(Path::new("/").join(name))
    }

    /// Changes the part of a CPU that a member may use.
    pub(crate) fn set_quota(&self, member: &str, cpus: f64) -> Result<()> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a few milliseconds"
        )]
        // The kernel takes no less than a millisecond.
        let quota = ((cpus * PERIOD_US as f64).round() as u64).max(1_000);
        let name = format!("{}/{member}", self.name);
        match &self.hierarchies {
            Hierarchies::V1(_) => {
                self.set(&name, "cpu.cfs_period_us", &PERIOD_US.to_string())?;
                self.set(&name, "cpu.cfs_quota_us", &quota.to_string())
            }
            Hierarchies::V2(_) => self.set(&name, "cpu.max", &format!("{quota} {PERIOD_US}")),
        }
    }

    /// A command in a namespace that joins the member before it becomes the program.
    pub(crate) fn command(&self, member: &str, netns: &Netns, program: &Path) -> Command {
        let name = format!("{}/{member}", self.name);
        let mut command = netns.command("sh");
        let join = "n=$1; shift; while [ $n -gt 0 ]; do echo $$ > \"$1\" || exit 1; \
                    shift; n=$((n-1)); done; exec \"$@\"";
        let directories = self.hierarchies.directories(&name);
        command.args(["-c", join, "sh", &directories.len().to_string()]);
        command.args(directories.iter().map(|directory| directory.join("cgroup.procs")));
        command.arg(program);
        command
    }

    fn make(&self, name: &str) -> Result<()> {
        for directory in self.hierarchies.directories(name) {
            fs::create_dir(&directory)
                .with_context(|| format!("cannot make control group {}", directory.display()))?;
        }
        Ok(())
    }

    /// Writes to the file in whichever hierarchy has it.
    fn set(&self, name: &str, file: &str, text: &str) -> Result<()> {
        let paths = self.hierarchies.directories(name).into_iter().map(|it| it.join(file));
        let path = paths.into_iter().find(|path| path.exists());
        let path = path.with_context(|| format!("control group {name} has no {file}"))?;
        fs::write(&path, text).with_context(|| format!("{} to {}", text, path.display()))
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for name in self.members.iter().chain([&self.name]) {
            for directory in self.hierarchies.directories(name) {
                if let Err(error) = remove(&directory) {
                    eprintln!("weir-bench: control group {}: {error}", directory.display());
                }
            }
        }
    }
}

impl Hierarchies {
    fn find(mountinfo: &str) -> Option<Self> {
        let mounts = || mountinfo.lines().filter_map(cgroup_mount);
        let v1 = |name: &str| {
            mounts().find(|(_, v2, options)| !v2 && options.split(',').any(|it| it == name))
        };
        let v2 = mounts().find(|(_, v2, _)| *v2).map(|(point, ..)| PathBuf::from(point));
        let Some((cpu, ..)) = v1("cpu") else { return v2.map(Self::V2) };
        let mut all = vec![PathBuf::from(cpu)];
        all.extend(v1("cpuacct").map(|(point, ..)| PathBuf::from(point)));
        all.extend(v2);
        all.dedup();
        Some(Self::V1(all))
    }

    fn directories(&self, name: &str) -> Vec<PathBuf> {
        match self {
            Self::V1(tops) => tops.iter().map(|top| top.join(name)).collect(),
            Self::V2(top) => vec![top.join(name)],
        }
    }
}

/// Mount point, whether it is version 2, and options of the filesystem: proc(5), the fields behind
/// the separator.
fn cgroup_mount(line: &str) -> Option<(&str, bool, &str)> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut fields = filesystem.split(' ');
    let v2 = match fields.next()? {
        "cgroup" => false,
        "cgroup2" => true,
        _ => return None,
    };
    Some((mount.split(' ').nth(4)?, v2, fields.nth(1)?))
}

/// Removes a group; the last process may still be on its way out.
fn remove(directory: &Path) -> io::Result<()> {
    let mut last = Ok(());
    for _ in 0..100 {
        last = fs::remove_dir(directory);
        match &last {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                thread::sleep(Duration::from_millis(10));
            }
            Ok(()) | Err(_) => break,
        }
    }
    last
}

/// Removes the groups of benches that were killed, as far as they can be.
fn reap(hierarchies: &Hierarchies) {
    for top in hierarchies.directories("") {
        let Ok(entries) = fs::read_dir(&top) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
            if pid.is_none_or(|pid| Path::new("/proc").join(pid).exists()) {
                continue;
            }
            let below = fs::read_dir(entry.path()).into_iter().flatten().flatten();
            for directory in below.map(|entry| entry.path()).chain([entry.path()]) {
                // Files among them refuse, and what is in use stays for the next time.
                let _in_use = fs::remove_dir(directory);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_found() {
        let v1 = "35 24 0:30 / /c/cpu rw - cgroup cgroup rw,cpu\n\
                  36 24 0:31 / /c/cpuacct rw - cgroup cgroup rw,cpuacct\n\
                  44 24 0:39 / /c/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let all = Hierarchies::V1(paths(&["/c/cpu", "/c/cpuacct", "/c/unified"]));
        assert_eq!(Hierarchies::find(v1), Some(all));
        let joint = "35 24 0:30 / /c/both rw - cgroup cgroup rw,cpuacct,cpu\n";
        assert_eq!(Hierarchies::find(joint), Some(Hierarchies::V1(paths(&["/c/both"]))));
        let v2 = "44 24 0:39 / /c rw - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(Hierarchies::find(v2), Some(Hierarchies::V2("/c".into())));
        for none in ["", "1 2 3:4 / /c rw - tmpfs cgroup2 rw", "cgroup2", "a b - cgroup"] {
            assert_eq!(Hierarchies::find(none), None, "{none}");
        }
    }
}
