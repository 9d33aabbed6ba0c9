//! `weir demo`: namespaces, unequal servers, the daemon, a client, and what the client saw.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::sync::watch;

use super::{
    client::{Load, Snapshot},
    screen::Screen,
    server::{Server, ServerProfile},
    summary::{self, Summary},
    view::{Frame, Row, State},
};
use crate::{
    admin::{
        Request, client,
        report::{BackendReport, BackendState},
    },
    daemon::{self, background::Background},
    lab::{self, Lab, LabPlan, Topology, UPLINK},
    model::{
        Admin, AllDown, Attach, BackendSpec, Config, Endpoint, FlowLimits, Forward, Hairpin,
        HealthCheck, HostClients, Interfaces, Limits, Listen, Ping, Policy, PortRange, Probe,
        Protocol, Service, ServiceName, Timeouts, Tunnel, Unserved, Weight,
    },
};

/// Names of the demo's namespaces begin so.
const PREFIX: &str = "weir-demo";
/// The backends' speeds, and the weights that say so to Weir.
const SPEEDS: [(f64, u16); 3] = [(1.0, 4), (0.5, 2), (0.25, 1)];
/// Requests per second: about two thirds of what the servers can do for one family.
const RATE: f64 = 1100.0;
const SERVICE_PORT: u16 = 80;
const BACKEND_PORT: u16 = 8080;

/// The running parts, in the order in which they must end.
struct Stage {
    daemon: Background,
    servers: Vec<Server>,
    vips: Vec<SocketAddr>,
    names: Vec<(String, Vec<Endpoint>, f64)>,
    socket: PathBuf,
    lab: Lab,
}

/// Runs the demo; `false` if it did not show what it should.
pub fn run(seconds: u64, attach: Attach) -> anyhow::Result<bool> {
    lab::reap_stale(PREFIX).context("cannot remove what an earlier demo left behind")?;
    let stage = build(attach)?;
    let load = Load {
        vips: stage.vips.clone(),
        rate: Some(RATE),
        connections: 64,
        duration: Duration::from_secs(seconds),
        ..Load::default()
    };
    let run = load.start(Some(stage.lab.client())).context("cannot start the client")?;
    let total = Duration::from_secs(seconds);
    let interrupted = watch_load(&stage, run.snapshots(), Instant::now(), total)?;
    let report = if interrupted { run.stop() } else { run.finish() }?;
    let servers = SPEEDS.iter().zip(&stage.names);
    let servers = servers
        .map(|((speed, _), (name, ..))| summary::Server { name: name.clone(), speed: *speed });
    let summary = Summary { vips: stage.vips.clone(), servers: servers.collect(), report };
    stage.end()?;
    let mut out = std::io::stdout();
    std::io::Write::write_all(&mut out, format!("\n{summary}\n").as_bytes())?;
    Ok(summary.complaints().is_empty())
}

/// Shows the load until it ends; `true` if the user ended it.
fn watch_load(
    stage: &Stage,
    mut snapshots: watch::Receiver<Snapshot>,
    start: Instant,
    total: Duration,
) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut screen = Screen::stdout();
    runtime.block_on(async {
        loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => return Ok(true),
                changed = snapshots.changed() => if changed.is_err() { return Ok(false) },
            }
            let snapshot = snapshots.borrow_and_update().clone();
            let backends: Vec<BackendReport> = client::ask(&stage.socket, &Request::Backends)?;
            screen.show(&frame(stage, &snapshot, &backends, start.elapsed(), total))?;
        }
    })
}

fn frame(
    stage: &Stage,
    snapshot: &Snapshot,
    reports: &[BackendReport],
    elapsed: Duration,
    total: Duration,
) -> Frame {
    let window = &snapshot.window;
    let row = |(name, endpoints, speed): &(String, Vec<Endpoint>, f64)| {
        let mine = |report: &&BackendReport| {
            endpoints.iter().any(|e| report.endpoint == format!("{e}/{}", e.protocol))
        };
        let mine: Vec<_> = reports.iter().filter(mine).collect();
        let requests = window.per_backend.get(name).copied().unwrap_or(0);
        let up = mine.iter().all(|report| report.state == BackendState::Up);
        Row {
            name: name.clone(),
            address: endpoints.first().map(ToString::to_string).unwrap_or_default(),
            speed: *speed,
            flows: mine.iter().map(|report| report.flows).sum(),
            requests,
            rate: super::tally::per_second(requests, window.elapsed),
            state: if up { State::Up } else { State::Down },
        }
    };
    Frame {
        elapsed,
        total,
        backends: stage.names.iter().map(row).collect(),
        rate: window.rate(),
        p50: window.p50,
        p99: window.p99,
        failed: snapshot.sum.failures(),
        ipv4: snapshot.sum.ipv4,
        ipv6: snapshot.sum.ipv6,
    }
}

fn build(attach: Attach) -> anyhow::Result<Stage> {
    // XDP shows best with backends that look like machines of their own.
    let topology = match attach {
        Attach::Xdp | Attach::XdpGeneric => Topology::Remote,
        Attach::Auto | Attach::Tc => Topology::Bridge,
    };
    let plan = LabPlan { backends: 3, topology, gro: true, ..LabPlan::default() };
    let lab = Lab::new(PREFIX, plan).context("cannot build the network namespaces")?;
    let mut servers = Vec::new();
    let mut names = Vec::new();
    for (index, (backend, (speed, _))) in lab.backends().iter().zip(SPEEDS).enumerate() {
        let name = format!("b{}", index + 1);
        let profile = ServerProfile::default().at_speed(speed);
        let mut endpoints = Vec::new();
        for address in [IpAddr::V4(backend.v4), IpAddr::V6(backend.v6)] {
            let listen = SocketAddr::new(address, BACKEND_PORT);
            servers.push(Server::start(Some(&backend.netns), listen, &name, profile)?);
            endpoints.push(Endpoint { address, port: BACKEND_PORT, protocol: Protocol::Tcp });
        }
        names.push((name, endpoints, speed));
    }
    let vips = [IpAddr::V4(lab::vip_v4(1)), IpAddr::V6(lab::vip_v6(1))];
    let vips = vips.map(|vip| SocketAddr::new(vip, SERVICE_PORT)).to_vec();
    let socket = std::env::temp_dir().join(format!("{PREFIX}-{}.sock", std::process::id()));
    let config = config(attach, &vips, &names, &socket)?;
    let options = daemon::Options { config, file: None, bpffs: None };
    let daemon = Background::start(lab.lb(), options)?;
    Ok(Stage { daemon, servers, vips, names, socket, lab })
}

fn config(
    attach: Attach,
    vips: &[SocketAddr],
    names: &[(String, Vec<Endpoint>, f64)],
    socket: &std::path::Path,
) -> anyhow::Result<Config> {
    let ports = PortRange::new(SERVICE_PORT, SERVICE_PORT).context("a port")?;
    let listen = |vip: &SocketAddr| Listen { address: vip.ip(), ports, protocol: Protocol::Tcp };
    let spec = |((_, endpoints, _), (_, weight)): (&(String, Vec<Endpoint>, f64), (f64, u16))| {
        let weight = Weight::new(weight).unwrap_or(Weight::DEFAULT);
        endpoints
            .iter()
            .map(move |endpoint| BackendSpec { endpoint: *endpoint, weight, cgroup: None })
            .collect::<Vec<_>>()
    };
    let service = Service {
        name: ServiceName::new("web").context("a name")?,
        listens: vips.iter().map(listen).collect(),
        policy: Policy::WeightedRoundRobin,
        forward: Forward::Nat,
        backends: names.iter().zip(SPEEDS).flat_map(spec).collect(),
        health: Some(HealthCheck {
            probe: Probe::Http { path: "/healthz".to_owned() },
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(900),
            rise: 2,
            fall: 3,
            port: None,
            all_down: AllDown::Try,
        }),
        report: None,
        affinity: None,
        sources: Vec::new(),
        scale: None,
        limits: FlowLimits::default(),
    };
    Ok(Config {
        interfaces: Interfaces::Named(vec![UPLINK.to_owned()]),
        attach,
        host_clients: HostClients::Off,
        unserved: Unserved::Reset,
        ping: Ping::Answer,
        services: vec![service],
        admin: Admin { socket: socket.to_owned(), http: None },
        timeouts: Timeouts::default(),
        limits: Limits::default(),
        hairpin: Hairpin::default(),
        tunnel: Tunnel::default(),
        source_ports: PortRange::SOURCES,
        drain: Duration::from_secs(1),
    })
}

impl Stage {
    /// Ends everything, the balancer first.
    fn end(self) -> anyhow::Result<()> {
        self.daemon.finish()?;
        for server in self.servers {
            server.stop()?;
        }
        drop(self.lab);
        Ok(())
    }
}
