//! A Docker engine with everything of its own: network namespace, addresses, data, socket.

use std::{
    cell::{Cell, RefCell},
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use lb_userspace::lab::{Lab, Netns};
use nix::{
    mount::{MntFlags, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::world::eventually;

/// How long an engine may take to end.
const END_MAX: Duration = Duration::from_secs(30);

/// An engine's place, and the engine while it runs.
pub(crate) struct Engine {
    child: RefCell<Option<Child>>,
    /// Whether containers outlive the engine, which Swarm does not know.
    live_restore: Cell<bool>,
    /// What else it is started with.
    options: RefCell<Vec<String>>,
    /// The third byte of its bridge's network, and that of the first of the others.
    networks: (u8, u8),
    directory: PathBuf,
}

impl Engine {
    /// A place for an engine that does not run yet.
    pub(crate) fn new(directory: &Path) -> Self {
        Self::with_networks(directory.join("docker"), (128, 144))
    }

    /// The same for the engine of another host.
    pub(crate) fn of_another(directory: &Path) -> Self {
        Self::with_networks(directory.join("other"), (129, 160))
    }

    fn with_networks(directory: PathBuf, networks: (u8, u8)) -> Self {
        fs::create_dir(&directory).unwrap();
        let (child, options) = (RefCell::new(None), RefCell::default());
        Self { child, live_restore: Cell::new(true), options, networks, directory }
    }

    /// Starts with these options, too.
    pub(crate) fn options(&self, options: Vec<String>) {
        self.options.replace(options);
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("docker.sock")
    }

    /// The engine will be part of a swarm.
    pub(crate) fn for_swarm(&self) {
        self.live_restore.set(false);
    }

    /// Starts the engine in the balancer's namespace. Containers outlive it until it is started
    /// again, as with `live-restore` on a real host.
    pub(crate) fn start(&self, lab: &Lab) {
        self.start_in(lab.lb());
    }

    /// The same in another namespace.
    pub(crate) fn start_in(&self, netns: &Netns) {
        let log = File::options().create(true).append(true).open(self.directory.join("log"));
        let log = log.unwrap();
        let path = |name: &str| self.directory.join(name);
        let mut command = netns.command("dockerd");
        command.arg("--data-root").arg(path("data")).arg("--exec-root").arg(path("exec"));
        command.arg("--pidfile").arg(path("docker.pid"));
        command.arg("-H").arg(format!("unix://{}", self.socket().display()));
        let (bridge, others) = self.networks;
        command.arg("--bip").arg(format!("198.18.{bridge}.1/24"));
        command.args(Some("--live-restore").filter(|_| self.live_restore.get()));
        let pool = format!("base=198.18.{others}.0/20,size=24");
        command.arg("--default-address-pool").arg(pool).args(&*self.options.borrow());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child.replace(Some(command.spawn().unwrap()));
        eventually("the engine answers", || {
            let ended = self.child.borrow_mut().as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", self.log());
            self.command(&["version"]).output().unwrap().status.success()
        });
    }

    /// The last words of the engine.
    fn log(&self) -> String {
        let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        let from = log.len().saturating_sub(2000);
        log.get(from..).unwrap_or_default().to_owned()
    }

    /// Makes this engine the one that a client asks.
    pub(crate) fn environment(&self, command: &mut Command) {
        command.env("DOCKER_HOST", format!("unix://{}", self.socket().display()));
        command.env("DOCKER_CONFIG", self.directory.join("cli"));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        self.environment(&mut command);
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// What `docker` says, whether it succeeds or not.
    pub(crate) fn try_docker(&self, arguments: &[&str]) -> Result<String, String> {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if status.success() { Ok(text(&stdout)) } else { Err(text(&stderr)) }
    }

    /// What `docker` prints; it must succeed.
    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        let answer = self.try_docker(arguments);
        answer.unwrap_or_else(|error| panic!("docker {arguments:?}: {error}\n{}", self.log()))
    }

    /// Runs a container of an image: its name, then options of `docker run`.
    pub(crate) fn run(&self, image: &str, name: &str, options: &[&str]) {
        let head = ["run", "-d", "--name", name];
        // A container that shares another one's network has no name of its own in it.
        let shares = options.iter().any(|option| option.starts_with("--network=container:"));
        let hostname: &[&str] = if shares { &[] } else { &["--hostname", name] };
        self.docker(&[&head[..], hostname, options, &[image]].concat());
    }

    /// The address of a container in a network.
    pub(crate) fn address(&self, container: &str, network: &str) -> String {
        let format = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
        self.docker(&["inspect", "-f", &format, container])
    }

    /// Ends the engine; containers go on.
    pub(crate) fn end(&self) {
        let Some(mut child) = self.child.take() else { return };
        let pid = Pid::from_raw(child.id().cast_signed());
        let _ = kill(pid, Signal::SIGTERM);
        let limit = Instant::now() + END_MAX;
        while child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if Instant::now() > limit {
                let _ = child.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Everything that is mounted below the directory, innermost first.
    fn unmount(&self) {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        let mut ours: Vec<&Path> =
            places.map(Path::new).filter(|place| place.starts_with(&self.directory)).collect();
        ours.sort_unstable();
        for place in ours.into_iter().rev() {
            let _ = umount2(place, MntFlags::MNT_DETACH);
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.child.borrow().is_some() {
            let containers = self.command(&["ps", "-aq"]).output();
            let containers = containers.map(|output| output.stdout).unwrap_or_default();
            let containers = String::from_utf8_lossy(&containers).into_owned();
            let containers: Vec<&str> = containers.split_whitespace().collect();
            if !containers.is_empty() {
                let _ = self.command(&[&["rm", "-f"], &containers[..]].concat()).output();
            }
        }
        if std::thread::panicking() {
            eprintln!("the engine's last words: {}", self.log());
        }
        self.end();
        self.unmount();
    }
}
