//! A Docker engine of the bench's own, in the balancer's namespace of a laboratory.

use std::{
    env,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use lb_userspace::lab::Lab;
use nix::{
    mount::{MntFlags, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How long an engine may take to come up, and to end.
const PATIENCE: Duration = Duration::from_mins(1);
/// The image, of one program that waits.
const IMAGE: &str = "idle";
const IDLE: &str = "fn main() { loop { std::thread::park() } }";

/// A running engine. Dropping it removes its containers and everything it wrote.
pub(crate) struct Engine {
    child: Child,
    directory: PathBuf,
}

/// Whether this machine has an engine.
pub(crate) fn is_installed() -> bool {
    ["dockerd", "docker", "tar"].into_iter().all(finds)
}

/// Whether this machine has a program.
pub(crate) fn finds(program: &str) -> bool {
    let places = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&places).any(|place| place.join(program).exists())
}

impl Engine {
    /// Starts an engine; its bridge and its containers have addresses of the laboratory's range.
    pub(crate) fn start(lab: &Lab) -> Result<Self> {
        let directory = home_of(lab.lb().name());
        fs::create_dir(&directory).with_context(|| directory.display().to_string())?;
        let path = |name: &str| directory.join(name);
        let log = File::create(path("log"))?;
        let mut command = lab.lb().command("dockerd");
        command.arg("--data-root").arg(path("data")).arg("--exec-root").arg(path("exec"));
        command.arg("--pidfile").arg(path("docker.pid"));
        command.arg("-H").arg(format!("unix://{}", path("docker.sock").display()));
        command.args(["--bip", "198.18.128.1/24"]);
        command.args(["--default-address-pool", "base=198.18.144.0/20,size=24"]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("dockerd")?;
        let mut engine = Self { child, directory };
        engine.wait()?;
        engine.import()?;
        Ok(engine)
    }

    fn wait(&mut self) -> Result<()> {
        let limit = Instant::now() + PATIENCE;
        while self.docker(&["version"]).is_err() {
            let ended = self.child.try_wait()?;
            let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            let last = log.lines().last().unwrap_or_default();
            ensure!(ended.is_none(), "dockerd ended: {last}");
            ensure!(Instant::now() < limit, "dockerd does not answer: {last}");
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The image that is always there: nothing can be fetched, and nothing need be.
    fn import(&self) -> Result<()> {
        self.add_image(IMAGE, IDLE, &[])
    }

    /// Makes an image of this source: a program, `/program`, that is all there is in it.
    pub(crate) fn add_image(&self, image: &str, source: &str, changes: &[&str]) -> Result<()> {
        let rootfs = self.directory.join(image);
        fs::create_dir(&rootfs)?;
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let mut compiler = Command::new(rustc)
            .args(["--edition=2024", "-O", "-Cpanic=abort", "-Ctarget-feature=+crt-static", "-o"])
            .arg(rootfs.join("program"))
            .arg("-")
            .stdin(Stdio::piped())
            .spawn()
            .context("rustc")?;
        compiler.stdin.take().context("rustc without input")?.write_all(source.as_bytes())?;
        ensure!(compiler.wait()?.success(), "rustc refused the program of the image");
        let archive = rootfs.with_extension("tar");
        let tar =
            Command::new("tar").arg("-C").arg(&rootfs).arg("-cf").arg(&archive).arg(".").status();
        ensure!(tar.context("tar")?.success(), "tar failed");
        let archive = archive.to_str().context("a path that is no text")?;
        let entry = ["ENTRYPOINT [\"/program\"]"];
        let changes = entry.iter().chain(changes).flat_map(|change| ["-c", *change]);
        let words: Vec<&str> =
            ["import"].into_iter().chain(changes).chain([archive, image]).collect();
        self.docker(&words).map(drop)
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("docker.sock")
    }

    /// What `docker` prints; it must succeed.
    pub(crate) fn docker(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", format!("unix://{}", self.socket().display()));
        command.env("DOCKER_CONFIG", self.directory.join("cli"));
        let output = command.args(arguments).stdin(Stdio::null()).output().context("docker")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if !output.status.success() {
            bail!("docker {}: {}", arguments.join(" "), text(&output.stderr));
        }
        Ok(text(&output.stdout))
    }

    /// Runs a container with these options of `docker run`.
    pub(crate) fn run(&self, name: &str, options: &[&str]) -> Result<()> {
        let head = ["run", "-d", "--name", name];
        self.docker(&[&head[..], options, &[IMAGE]].concat()).map(drop)
    }

    /// The network namespace of a container, as a file.
    pub(crate) fn netns(&self, container: &str) -> Result<File> {
        let pid = self.docker(&["inspect", "-f", "{{.State.Pid}}", container])?;
        File::open(format!("/proc/{pid}/ns/net")).context("the container's network namespace")
    }

    /// The processes that carry connections from the host's own addresses.
    pub(crate) fn proxies(&self) -> Result<Vec<u32>> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let process = entry?.path();
            let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
            // "PID (NAME) STATE PARENT": one that ended meanwhile has none.
            let Some((head, tail)) = stat.split_once(") ") else { continue };
            let Some((pid, name)) = head.split_once(" (") else { continue };
            let parent = tail.split(' ').nth(1).and_then(|parent| parent.parse().ok());
            if name == "docker-proxy" && parent == Some(self.child.id()) {
                found.push(pid.parse()?);
            }
        }
        Ok(found)
    }

    /// Everything that is mounted below the directory, innermost first.
    fn unmount(&self) {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        let mut ours: Vec<&Path> =
            places.map(Path::new).filter(|place| place.starts_with(&self.directory)).collect();
        ours.sort_unstable();
        for place in ours.into_iter().rev() {
            // What cannot be unmounted keeps the directory, and that is told.
            umount2(place, MntFlags::MNT_DETACH).ok();
        }
    }

    fn end(&mut self) -> Result<()> {
        let containers = self.docker(&["ps", "-aq"]).unwrap_or_default();
        let containers: Vec<&str> = containers.split_whitespace().collect();
        if !containers.is_empty() {
            self.docker(&[&["rm", "-f"], &containers[..]].concat())?;
        }
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM)?;
        let limit = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > limit {
                self.child.kill()?;
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("weir-bench: the engine did not end well: {error:#}");
        }
        self.unmount();
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("weir-bench: cannot remove {}: {error}", self.directory.display());
        }
    }
}

/// Where the engine of a laboratory keeps its files.
fn home_of(namespace: &str) -> PathBuf {
    env::temp_dir().join(format!("{namespace}-docker"))
}
