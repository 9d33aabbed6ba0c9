//! Cgroups of our own, in whatever hierarchies the kernel has, and processes in them.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::Duration,
};

const TOP: &str = "/sys/fs/cgroup";
const PREFIX: &str = "weirtest";
const V1: [&str; 6] = ["cpu", "cpuacct", "cpuset", "memory", "blkio", "unified"];

/// How this machine has its cgroups.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// One directory for each hierarchy.
    tops: Vec<PathBuf>,
    v1: bool,
}

impl Kernel {
    pub(crate) fn get() -> &'static Self {
        static KERNEL: OnceLock<Kernel> = OnceLock::new();
        KERNEL.get_or_init(|| {
            let v1 = !Path::new(TOP).join("cgroup.controllers").exists();
            let tops =
                if v1 { V1.map(|name| Path::new(TOP).join(name)).into() } else { vec![TOP.into()] };
            let kernel = Self { tops: tops.into_iter().filter(|top| top.is_dir()).collect(), v1 };
            kernel.enable(Path::new("/"));
            kernel.remove_stale();
            kernel
        })
    }

    pub(crate) fn has_pressure(&self) -> bool {
        self.tops.iter().any(|top| top.join("cpu.pressure").exists())
    }

    /// The directories of a path in all hierarchies.
    pub(crate) fn directories(&self, path: &Path) -> Vec<PathBuf> {
        let below = path.strip_prefix("/").unwrap();
        self.tops.iter().map(|top| top.join(below)).collect()
    }

    /// In v2, what a child shall have has to be passed on. One by one: a kernel may lack some.
    fn enable(&self, parent: &Path) {
        if !self.v1 {
            for controller in ["+cpu", "+cpuset", "+memory", "+io"] {
                let file = Path::new(TOP).join(parent.strip_prefix("/").unwrap());
                fs::write(file.join("cgroup.subtree_control"), controller).ok();
            }
        }
    }

    /// Those of tests that were killed. Empty ones only: a directory in use refuses.
    fn remove_stale(&self) {
        for top in &self.tops {
            for entry in fs::read_dir(top).unwrap().flatten() {
                let name = entry.file_name().into_string().unwrap_or_default();
                let Some(rest) = name.strip_prefix(PREFIX) else { continue };
                let pid = rest.split('-').nth(1).unwrap_or_default();
                if !Path::new("/proc").join(pid).exists() {
                    for child in fs::read_dir(entry.path()).unwrap().flatten() {
                        fs::remove_dir(child.path()).ok();
                    }
                    fs::remove_dir(entry.path()).ok();
                }
            }
        }
    }
}

/// A cgroup, removed on drop. Processes in it have to be dropped first: declare them later.
#[derive(Debug)]
pub(crate) struct Group(PathBuf);

impl Group {
    pub(crate) fn new(name: &str) -> Self {
        Self::again(&Path::new("/").join(format!("{PREFIX}-{}-{name}", process::id())))
    }

    pub(crate) fn child(&self, name: &str) -> Self {
        Kernel::get().enable(&self.0);
        Self::again(&self.0.join(name))
    }

    pub(crate) fn again(path: &Path) -> Self {
        let group = Self(path.to_path_buf());
        for directory in group.directories() {
            fs::create_dir(&directory).unwrap();
            // A v1 cpuset takes no process before it is given something.
            if directory.starts_with(Path::new(TOP).join("cpuset")) {
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    let above = directory.parent().unwrap().join(file);
                    fs::write(directory.join(file), fs::read(above).unwrap()).unwrap();
                }
            }
        }
        group
    }

    /// As in `/proc/PID/cgroup`.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn directories(&self) -> Vec<PathBuf> {
        Kernel::get().directories(&self.0)
    }

    /// Writes to the hierarchy that has the file, and says whether one took it.
    fn set(&self, file: &str, text: &str) -> bool {
        self.directories().iter().any(|directory| fs::write(directory.join(file), text).is_ok())
    }

    /// Microseconds of every 100 ms.
    pub(crate) fn set_quota(&self, quota_us: u64) {
        let taken = if Kernel::get().v1 {
            self.set("cpu.cfs_quota_us", &quota_us.to_string())
        } else {
            self.set("cpu.max", &format!("{quota_us} 100000"))
        };
        assert!(taken, "no quota of {quota_us}");
    }

    pub(crate) fn set_memory_limit(&self, bytes: u64) {
        let file = if Kernel::get().v1 { "memory.limit_in_bytes" } else { "memory.max" };
        assert!(self.set(file, &bytes.to_string()), "no limit of {bytes}");
    }

    pub(crate) fn set_write_limit(&self, device: &str, bytes: u64) -> bool {
        if Kernel::get().v1 {
            self.set("blkio.throttle.write_bps_device", &format!("{device} {bytes}"))
        } else {
            self.set("io.max", &format!("{device} wbps={bytes}"))
        }
    }

    /// Runs a script of the shell in it, from its first command on. Should the tests be killed, it
    /// ends by itself after a while.
    pub(crate) fn run(&self, script: &str) -> Running {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("read go; ulimit -t 20; {script}"));
        let mut child = Running(command.stdin(Stdio::piped()).spawn().unwrap());
        for directory in self.directories() {
            fs::write(directory.join("cgroup.procs"), child.id().to_string()).unwrap();
        }
        child.0.stdin.take().unwrap().write_all(b"go\n").unwrap();
        child
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for directory in self.directories() {
            // A process that was waited for may be counted a moment longer.
            for _ in 0..100 {
                if fs::remove_dir(&directory).is_ok() || !directory.exists() {
                    break;
                }
                // What a script started and left: its parent is gone.
                end_all(&directory);
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Only processes that the tests put there can be in a cgroup of the tests.
fn end_all(directory: &Path) {
    let processes = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    for pid in processes.lines().filter_map(|line| line.parse().ok()) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).ok();
    }
}

/// A process, killed on drop.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits for its end, however it comes.
    pub(crate) fn finish(mut self) {
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
