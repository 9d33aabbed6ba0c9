//! A host with an engine and a balancer on it, and a client before it.

use std::{
    cell::RefCell,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use lb_userspace::{
    demo::{client::Load, tally::LoadReport},
    lab::{Lab, LabPlan, Topology, vip_v4},
};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use super::{engine::Engine, image};

/// One engine at a time: two of them on a small machine only wait for each other.
static ALONE: Mutex<()> = Mutex::new(());

/// Everything that runs; it ends in the order of the fields.
pub(crate) struct World {
    weir: RefCell<Option<Child>>,
    pub(crate) engine: Engine,
    pub(crate) lab: Lab,
    directory: tempfile::TempDir,
    /// What the configuration says of processes of the host as clients.
    host_clients: RefCell<String>,
    /// What the configuration has beside services.
    sections: RefCell<String>,
    _alone: MutexGuard<'static, ()>,
}

impl World {
    /// A host with an engine and images in it, and a balancer whose configuration has these
    /// services.
    pub(crate) fn new(services: &str) -> Self {
        Self::without_engine(services).begin()
    }

    /// The same with an engine that may be part of a swarm.
    pub(crate) fn for_swarm() -> Self {
        let world = Self::without_engine("");
        world.engine.for_swarm();
        world.begin()
    }

    fn begin(self) -> Self {
        self.engine.start(&self.lab);
        let rootfs = image::compile(self.directory.path());
        image::import(&self.engine, &rootfs);
        self.start();
        self
    }

    /// The same before anything was started.
    pub(crate) fn without_engine(services: &str) -> Self {
        Self::with_machines(services, 0)
    }

    /// The same with so many other machines, of which nothing runs.
    pub(crate) fn with_machines(services: &str, machines: u8) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        // As on a host where nobody switched it on: Docker then sets FORWARD to DROP.
        let plan = LabPlan {
            backends: machines,
            topology: Topology::Bridge,
            forwarding: false,
            ..LabPlan::default()
        };
        let lab = Lab::new("weir-docker", plan).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let bpffs = directory.path().join("bpf");
        fs::create_dir(&bpffs).unwrap();
        let none: Option<&Path> = None;
        mount(Some("bpf"), &bpffs, Some("bpf"), MsFlags::empty(), none).unwrap();
        let engine = Engine::new(directory.path());
        let (weir, host_clients) = (RefCell::new(None), RefCell::new("off".to_owned()));
        let sections = RefCell::default();
        let world = Self { weir, engine, lab, directory, host_clients, sections, _alone: alone };
        world.configure(services);
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes the configuration, as editors do.
    pub(crate) fn configure(&self, services: &str) {
        let services = if services.is_empty() {
            "services: []\n".to_owned()
        } else {
            format!("services:\n{services}")
        };
        let text = format!(
            "interfaces: [up0]\nattach: tc\nhost-clients: {}\n{services}docker: {{ socket: {} }}\n\
             admin: {{ socket: {}, http: 127.0.0.1:9090 }}\n{}",
            self.host_clients.borrow(),
            self.engine.socket().display(),
            self.path("weir.sock").display(),
            self.sections.borrow(),
        );
        fs::write(self.path("new.yaml"), text).unwrap();
        fs::rename(self.path("new.yaml"), self.path("weir.yaml")).unwrap();
    }

    /// Has the configuration say this, too, from the next time that it is written.
    pub(crate) fn sections(&self, text: String) {
        self.sections.replace(text);
    }

    /// Balances processes of this cgroup, too.
    pub(crate) fn balance_cgroup(&self, cgroup: &Path) {
        self.host_clients.replace(cgroup.display().to_string());
        self.configure("");
    }

    pub(crate) fn start(&self) {
        let mut command = self.lab.lb().command(env!("CARGO_BIN_EXE_weir"));
        command.arg("run").arg("--config").arg(self.path("weir.yaml"));
        command.arg("--bpffs").arg(self.path("bpf"));
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        self.weir.replace(Some(command.stderr(log).spawn().unwrap()));
        eventually("the daemon answers", || self.weir(&["status"]).status.success());
    }

    /// Ends the daemon by a signal.
    pub(crate) fn end(&self, signal: Signal) {
        let mut child = self.weir.take().unwrap();
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        child.wait().unwrap();
    }

    /// A client command.
    pub(crate) fn weir(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(arguments).arg("--socket").arg(self.path("weir.sock"));
        command.stdin(Stdio::null()).output().unwrap()
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.weir(&[arguments, &["--json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    }

    /// The metrics, as they are told over HTTP.
    pub(crate) fn metrics(&self) -> String {
        let fetch = || {
            let mut stream = TcpStream::connect("127.0.0.1:9090").unwrap();
            let request =
                "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9090\r\nConnection: close\r\n\r\n";
            stream.write_all(request.as_bytes()).unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        };
        self.lab.lb().in_netns(fetch).unwrap()
    }

    /// Where a service listens, except on loopback, and how many flows it has begun.
    pub(crate) fn service(&self, name: &str) -> (Vec<String>, u64) {
        let services = self.json(&["services"]);
        let mut all = services.as_array().unwrap().iter();
        let Some(found) = all.find(|one| one["name"] == name) else { return (Vec::new(), 0) };
        let listens = found["listens"].as_array().unwrap().iter();
        let listens = listens.map(|listen| listen.as_str().unwrap().to_owned());
        let outside = listens.filter(|listen| !listen.starts_with("127."));
        (outside.collect(), found["flows_total"].as_u64().unwrap())
    }

    /// Verdict and reason of a container.
    pub(crate) fn verdict(&self, container: &str) -> (String, String) {
        let report = self.json(&["docker", "ls"]);
        let list = report["containers"].as_array().unwrap();
        let found = list.iter().find(|one| one["name"] == container);
        let text = |field: &str| found.map_or("", |one| one[field].as_str().unwrap()).to_owned();
        (text("verdict"), text("why"))
    }

    /// State and health of the backend at an address.
    pub(crate) fn backend(&self, address: &str) -> (String, String) {
        let backends = self.json(&["backends"]);
        let prefix = format!("{address}:");
        let mut all = backends.as_array().unwrap().iter();
        let found = all.find(|one| one["endpoint"].as_str().unwrap().starts_with(&prefix));
        let text = |field: &str| found.map_or("", |one| one[field].as_str().unwrap()).to_owned();
        (text("state"), text("health"))
    }

    /// Waits until the backends at these addresses take new flows.
    pub(crate) fn wait_up(&self, addresses: &[impl AsRef<str>]) {
        for address in addresses.iter().map(AsRef::as_ref) {
            eventually(&format!("{address} is up: {}", self.log()), || {
                self.backend(address).0 == "up"
            });
        }
    }

    /// Requests from the client, each on a connection of its own.
    pub(crate) fn load(&self, requests: u64) -> LoadReport {
        self.load_at(SocketAddr::new(vip_v4(1).into(), 80), requests)
    }

    /// The same at another address.
    pub(crate) fn load_at(&self, address: SocketAddr, requests: u64) -> LoadReport {
        let load = Load { max_requests: requests, vips: vec![address], ..load() };
        load.start(Some(self.lab.client())).unwrap().finish().unwrap()
    }

    /// A load that goes on while something happens.
    pub(crate) fn while_loaded(&self, keep_alive: bool, happens: impl FnOnce()) -> LoadReport {
        self.while_loaded_at(300, keep_alive, happens)
    }

    /// The same at so many requests per second.
    pub(crate) fn while_loaded_at(
        &self,
        rate: u32,
        keep_alive: bool,
        happens: impl FnOnce(),
    ) -> LoadReport {
        let load = Load { rate: Some(rate.into()), keep_alive, ..load() };
        while_under(self, rate, load, happens)
    }

    /// The same at another address.
    pub(crate) fn while_loaded_at_address(
        &self,
        address: SocketAddr,
        happens: impl FnOnce(),
    ) -> LoadReport {
        let load = Load { rate: Some(300.0), vips: vec![address], ..load() };
        while_under(self, 300, load, happens)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

fn while_under(world: &World, rate: u32, load: Load, happens: impl FnOnce()) -> LoadReport {
    let load = Load { connections: 32, timeout: Duration::from_secs(3), ..load };
    let run = load.start(Some(world.lab.client())).unwrap();
    let snapshots = run.snapshots();
    let sent = || snapshots.borrow().sum.requests;
    eventually("the load runs", || sent() > 0);
    happens();
    // What happened shows in the requests after it: in more of them than can be under way
    // until a request that gets no answer counts as failed.
    let enough = sent() + 4 * u64::from(rate);
    eventually("the load goes on", || sent() >= enough);
    run.stop().unwrap()
}

fn load() -> Load {
    Load {
        vips: vec![SocketAddr::new(vip_v4(1).into(), 80)],
        connections: 8,
        duration: Duration::from_mins(1),
        ..Load::default()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the daemon said: {}", self.log());
        }
        if let Some(mut child) = self.weir.take() {
            let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
            let _ = child.wait();
        }
        let bpffs = self.path("bpf");
        let detach = ["detach", "--bpffs", bpffs.to_str().unwrap()];
        let _ = Command::new(env!("CARGO_BIN_EXE_weir")).args(detach).output();
        let _ = umount2(&bpffs, MntFlags::MNT_DETACH);
    }
}

/// Waits until something is so; the limit only keeps a broken test from hanging.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < limit, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
