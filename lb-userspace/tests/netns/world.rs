//! A laboratory with servers and a daemon in it.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::Output,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use lb_userspace::{
    admin::{Request, client},
    daemon::{self, background::Background},
    demo::{
        client::Load,
        server::{Server, ServerProfile},
        tally::LoadReport,
    },
    lab::{Lab, LabPlan, Topology, UPLINK, vip_v4, vip_v6},
    model::{
        Admin, Attach, BackendSpec, Config, Endpoint, FlowLimits, Forward, Hairpin, HostClients,
        Interfaces, Limits, Listen, Ping, Policy, PortRange, Protocol, Service, ServiceName,
        Timeouts, Tunnel, Unserved, Weight,
    },
};

pub(crate) const PORT: u16 = 80;
pub(crate) const BACKEND_PORT: u16 = 8080;

/// Everything that runs; it ends in the order of the fields.
pub(crate) struct World {
    pub(crate) daemon: Option<Background>,
    pub(crate) servers: Vec<Server>,
    pub(crate) config: Config,
    pub(crate) lab: Lab,
}

/// A plan of three backends.
pub(crate) fn plan(topology: Topology) -> LabPlan {
    LabPlan { backends: 3, topology, ..LabPlan::default() }
}

impl World {
    /// Three backends, a service `web` over both families.
    pub(crate) fn new(topology: Topology, attach: Attach, policy: Policy) -> Self {
        Self::with(plan(topology), attach, policy, |_| {})
    }

    pub(crate) fn with(
        plan: LabPlan,
        attach: Attach,
        policy: Policy,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let quick = ServerProfile { service_time: Duration::ZERO, slots: 64 };
        Self::serving(plan, attach, policy, |_| quick, change)
    }

    /// The same with servers of a profile each.
    pub(crate) fn serving(
        plan: LabPlan,
        attach: Attach,
        policy: Policy,
        profile: impl Fn(usize) -> ServerProfile,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let lab = Lab::new("weir-test", plan).unwrap();
        let mut servers = Vec::new();
        for (index, backend) in lab.backends().iter().enumerate() {
            for address in [IpAddr::V4(backend.v4), IpAddr::V6(backend.v6)] {
                let listen = SocketAddr::new(address, BACKEND_PORT);
                let name = format!("b{}", index + 1);
                servers.push(
                    Server::start(Some(&backend.netns), listen, &name, profile(index)).unwrap(),
                );
            }
        }
        let mut config = config(&lab, attach, policy);
        change(&mut config);
        let mut world = Self { daemon: None, servers, config, lab };
        world.start();
        world
    }

    pub(crate) fn start(&mut self) {
        let options = daemon::Options { config: self.config.clone(), file: None, bpffs: None };
        self.daemon = Some(Background::start(self.lab.lb(), options).unwrap());
    }

    pub(crate) fn vips() -> Vec<SocketAddr> {
        let vips = [IpAddr::V4(vip_v4(1)), IpAddr::V6(vip_v6(1))];
        vips.map(|vip| SocketAddr::new(vip, PORT)).to_vec()
    }

    /// Requests from the client, each on a connection of its own.
    pub(crate) fn load(&self, requests: u64) -> LoadReport {
        let load = Load {
            vips: Self::vips(),
            connections: 8,
            max_requests: requests,
            duration: Duration::from_secs(30),
            ..Load::default()
        };
        load.start(Some(self.lab.client())).unwrap().finish().unwrap()
    }

    /// curl in the client's namespace.
    pub(crate) fn curl(&self, url: &str) -> Output {
        let arguments = ["-sS", "-g", "-i", "--max-time", "3", url];
        self.lab.client().command("curl").args(arguments).output().unwrap()
    }

    /// Asks the daemon.
    pub(crate) fn ask<T: serde::de::DeserializeOwned>(&self, request: &Request) -> T {
        client::ask(&self.config.admin.socket, request).unwrap()
    }

    /// The name of a backend on the command line.
    pub(crate) fn backend(&self, index: usize) -> String {
        format!("{}:{BACKEND_PORT}", self.lab.backends()[index].v4)
    }
}

/// Waits until something is so; the limit only keeps a broken test from hanging.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < limit, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn socket() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("weir-test-{}-{count}.sock", std::process::id()))
}

fn config(lab: &Lab, attach: Attach, policy: Policy) -> Config {
    let ports = PortRange::new(PORT, PORT).unwrap();
    let listen = |vip: SocketAddr| Listen { address: vip.ip(), ports, protocol: Protocol::Tcp };
    let weights = [4, 2, 1, 1, 1, 1, 1, 1].into_iter().cycle();
    let backends = lab.backends().iter().zip(weights).flat_map(|(backend, weight)| {
        [IpAddr::V4(backend.v4), IpAddr::V6(backend.v6)].map(|address| BackendSpec {
            endpoint: Endpoint { address, port: BACKEND_PORT, protocol: Protocol::Tcp },
            weight: Weight::new(weight).unwrap(),
            cgroup: None,
        })
    });
    let service = Service {
        name: ServiceName::new("web").unwrap(),
        listens: World::vips().into_iter().map(listen).collect(),
        policy,
        forward: Forward::Nat,
        backends: backends.collect(),
        health: None,
        report: None,
        affinity: None,
        sources: Vec::new(),
        scale: None,
        limits: FlowLimits::default(),
    };
    Config {
        interfaces: Interfaces::Named(vec![UPLINK.to_owned()]),
        attach,
        host_clients: HostClients::Off,
        unserved: Unserved::Reset,
        ping: Ping::Answer,
        services: vec![service],
        admin: Admin { socket: socket(), http: None },
        timeouts: Timeouts::default(),
        limits: Limits { conns: 65_536, ..Limits::default() },
        hairpin: Hairpin { v4: "198.19.0.8".parse().unwrap(), v6: "fd00:19::8".parse().unwrap() },
        tunnel: Tunnel::default(),
        source_ports: PortRange::SOURCES,
        drain: Duration::from_secs(2),
    }
}
