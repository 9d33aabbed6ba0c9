//! A site: six unequal backends in network namespaces and control groups, a client, and the real
//! daemon between them.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use lb_userspace::{
    admin::{client::ask, protocol::Request},
    config,
    daemon::{Options, background::Background},
    lab::{Lab, LabPlan, Netns, Topology, UPLINK, vip_v4},
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde::Deserialize;

use super::{
    experiments::Setting,
    group::{Groups, PERIOD_US},
    way::Way,
};
use crate::{balance::sim::SPEEDS, path::server::wait_for};

/// What part of a CPU a backend of speed 1 may use: all of them together leave more than a CPU to
/// the client and the kernel.
pub(crate) const FASTEST_CPUS: f64 = 0.2;
/// Backends, in the order of [`SPEEDS`].
pub(crate) const BACKENDS: usize = SPEEDS.len();
const PORT: u16 = 8080;
/// Of the names of our namespaces and files.
pub(crate) const PREFIX: &str = "weirbalance";

/// Requests a second, of the mean work, that all backends together can serve.
pub(crate) fn capacity() -> f64 {
    SPEEDS.iter().sum::<f64>() * FASTEST_CPUS / super::arrivals::WORK_S
}

/// Where clients connect to.
pub(crate) fn vip() -> SocketAddr {
    (vip_v4(1), 80).into()
}

/// The backends in words.
pub(crate) fn describe() -> String {
    format!(
        "{BACKENDS} backends of speeds {SPEEDS:?}; 1 is {FASTEST_CPUS} of a CPU, by quotas with a period \
         of {PERIOD_US} us; mean work {} ms, together {:.0} requests/s",
        1e3 * super::arrivals::WORK_S,
        capacity()
    )
}

/// A running site.
pub(crate) struct Site {
    // Dropped in this order: the daemon, then what it pinned, the servers, their groups, the network.
    daemon: Option<Background>,
    pins: Option<Pins>,
    servers: Vec<Child>,
    groups: Groups,
    socket: PathBuf,
    order: [usize; BACKENDS],
    lab: Lab,
}

impl Site {
    /// Builds it, and waits until every backend answers. `order` is that of the backends in the
    /// configuration: policies that take the first of equals must not know which is the fastest.
    pub(crate) fn build(way: Way, setting: &Setting, order: [usize; BACKENDS]) -> Result<Self> {
        let plan = LabPlan {
            backends: u8::try_from(BACKENDS)?,
            topology: Topology::Bridge,
            ipv6: false,
            forwarding: true,
            checksum_offload: true,
            gro: false,
        };
        let lab = Lab::new(PREFIX, plan)?;
        let mut groups = Groups::new()?;
        let mut paths = Vec::new();
        for (number, speed) in SPEEDS.into_iter().enumerate() {
            paths.push(groups.add(&member(number), FASTEST_CPUS * speed)?);
        }
        let socket = env::temp_dir().join(format!("{}.sock", lab.lb().name()));
        let servers = Vec::new();
        let mut site = Self { daemon: None, pins: None, servers, groups, socket, order, lab };
        site.serve(setting)?;
        let text = site.config(way, &paths);
        let loaded = config::parse("weir.yaml", &text).map_err(|error| anyhow!("{error}"))?;
        // What is pinned outlives the daemon, which is only wanted where the daemon dies.
        let pins = setting.dies_at_s.map(|_| Pins::mount(site.lab.lb().name())).transpose()?;
        site.pins = pins;
        let bpffs = site.pins.as_ref().map(|pins| pins.0.clone());
        let options = Options { config: loaded.config, file: None, bpffs };
        site.daemon = Some(Background::start(site.lab.lb(), options)?);
        Ok(site)
    }

    /// Where clients are.
    pub(crate) fn client(&self) -> &Netns {
        self.lab.client()
    }

    /// Changes how much a backend can do, relative to what it could at first.
    pub(crate) fn slow_down(&self, backend: usize, factor: f64) -> Result<()> {
        self.groups.set_quota(&member(backend), FASTEST_CPUS * SPEEDS[backend] * factor)
    }

    /// Ends the daemon without a chance to clean up.
    pub(crate) fn kill_daemon(&mut self) -> Result<()> {
        self.daemon.take().map_or(Ok(()), Background::kill)
    }

    /// Asks the daemon.
    pub(crate) fn ask<T: for<'de> Deserialize<'de>>(&self, request: &Request) -> Result<T> {
        Ok(ask(&self.socket, request)?)
    }

    /// The order of the backends in the configuration.
    pub(crate) const fn order(&self) -> [usize; BACKENDS] {
        self.order
    }

    /// The socket to ask at.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where a backend serves.
    pub(crate) fn endpoint(&self, backend: usize) -> SocketAddr {
        (self.lab.backends()[backend].v4, PORT).into()
    }

    fn serve(&mut self, setting: &Setting) -> Result<()> {
        let program = env::current_exe().context("where is this program?")?;
        for (number, backend) in self.lab.backends().iter().enumerate() {
            let mut command = self.groups.command(&member(number), &backend.netns, &program);
            let listen = SocketAddr::from((backend.v4, PORT)).to_string();
            command.args(["backend", "--listen", &listen, "--name", &number.to_string()]);
            command.args(setting.work_of(number, FASTEST_CPUS * SPEEDS[number]));
            let child = command.stdin(Stdio::null()).spawn().context("cannot start a backend")?;
            self.servers.push(child);
        }
        for (number, backend) in self.lab.backends().iter().enumerate() {
            let address = self.endpoint(number);
            backend.netns.in_netns(|| wait_for(address))??;
        }
        Ok(())
    }

    fn config(&self, way: Way, groups: &[PathBuf]) -> String {
        let backends: Vec<String> = self
            .order
            .into_iter()
            .map(|number| {
                let (address, weight) = (self.endpoint(number), way.weight(number));
                let cgroup = if way.sees_groups() {
                    format!(", cgroup: {}", groups[number].display())
                } else {
                    String::new()
                };
                format!("{{ address: \"{address}\", weight: {weight}{cgroup} }}")
            })
            .collect();
        format!(
            "interfaces: [{UPLINK}]\nattach: tc\nhost-clients: off\n\
             admin: {{ socket: {}, http: false }}\nservices:\n  - name: web\n    \
             listen: [\"{}\"]\n    policy: {}\n    backends: [{}]\n",
            self.socket.display(),
            vip(),
            way.policy(),
            backends.join(", "),
        )
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.daemon = None;
        for child in &mut self.servers {
            if let Err(error) = child.kill().and_then(|()| child.wait()) {
                eprintln!("weir-bench: cannot end a backend: {error}");
            }
        }
        // The daemon removes it, unless it was killed.
        let _gone = fs::remove_file(&self.socket);
    }
}

fn member(number: usize) -> String {
    format!("b{number}")
}

/// A BPF filesystem of our own. Dropping it takes all that is pinned off the host.
struct Pins(PathBuf);

impl Pins {
    fn mount(name: &str) -> Result<Self> {
        let directory = env::temp_dir().join(format!("{name}-bpf"));
        fs::create_dir(&directory).with_context(|| directory.display().to_string())?;
        let none: Option<&str> = None;
        mount(Some("bpf"), &directory, Some("bpf"), MsFlags::empty(), none)
            .with_context(|| format!("cannot mount {}", directory.display()))?;
        Ok(Self(directory))
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let unmounted = umount2(&self.0, MntFlags::MNT_DETACH).map_err(Into::into);
        if let Err(error) = unmounted.and_then(|()| fs::remove_dir(&self.0)) {
            eprintln!("weir-bench: cannot remove {}: {error}", self.0.display());
        }
    }
}

/// How long clients may wait for a slow backend's queue before the next thing is measured.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);
