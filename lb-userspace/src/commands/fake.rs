//! A daemon for tests of the commands: it answers the same to everybody and remembers what it was
//! asked.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{runtime::Runtime, sync::mpsc};

use crate::{
    admin::{
        protocol::{Data, Question, Request, Response},
        report::{
            AttachReport, BackendReport, BackendState, Candidate, ContainerReport,
            ContainerVerdict, DockerReport, ExplainVerdict, Explanation, FlowName, FlowReport,
            FlowsReport, HostClientsReport, LoadReport, ReloadReport, ScaleReport, ServiceReport,
            ShareReport, StatusReport,
        },
        socket::{Patience, bind},
    },
    cli::{Connection, Format, WatchArgs, output::Output},
    model::{Forward, Policy, Protocol},
};

/// The fake daemon; it ends when it is dropped.
pub(super) struct Daemon {
    directory: tempfile::TempDir,
    asked: Arc<Mutex<Vec<Request>>>,
    _runtime: Runtime,
}

impl Daemon {
    /// One with the reports below.
    pub(super) fn start() -> Self {
        Self::answering(|request| match request {
            Request::Status => Response::Ok(Data::Status(Box::new(status()))),
            Request::Services => Response::Ok(Data::Services(services())),
            Request::Backends => Response::Ok(Data::Backends(backends())),
            Request::Flows { .. } => Response::Ok(Data::Flows(flows())),
            Request::Explain { .. } => Response::Ok(Data::Explanation(Box::new(explanation()))),
            Request::Docker => Response::Ok(Data::Docker(Box::new(docker()))),
            Request::Drain { .. }
            | Request::Undrain { .. }
            | Request::Weight { .. }
            | Request::Reload => Response::done("done"),
            Request::Metrics | Request::Health => Response::Err("not from here".into()),
        })
    }

    /// One that has nothing to do.
    pub(super) fn empty() -> Self {
        Self::answering(|request| match request {
            Request::Services => Response::Ok(Data::Services(Vec::new())),
            Request::Backends => Response::Ok(Data::Backends(Vec::new())),
            Request::Flows { .. } => {
                Response::Ok(Data::Flows(FlowsReport { total: 0, flows: Vec::new() }))
            }
            Request::Status
            | Request::Drain { .. }
            | Request::Undrain { .. }
            | Request::Weight { .. }
            | Request::Explain { .. }
            | Request::Docker
            | Request::Reload
            | Request::Metrics
            | Request::Health => Response::Err("nothing to do".into()),
        })
    }

    /// One that refuses everything.
    pub(super) fn refusing() -> Self {
        Self::answering(|_| Response::Err("no".into()))
    }

    fn answering(answer: fn(&Request) -> Response) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let path = directory.path().join("weir.sock");
        let socket = runtime.block_on(async { bind(&path, Patience::default()) }).unwrap();
        let (sender, mut questions) = mpsc::channel::<Question>(1);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let memory = Arc::clone(&asked);
        runtime.spawn(socket.serve(sender));
        runtime.spawn(async move {
            while let Some((request, reply)) = questions.recv().await {
                let response = answer(&request);
                memory.lock().unwrap().push(request);
                reply.send(response).unwrap();
            }
        });
        Self { directory, asked, _runtime: runtime }
    }

    pub(super) fn at(&self) -> Connection {
        Connection { socket: self.directory.path().join("weir.sock") }
    }

    pub(super) fn watch_args(&self, json: bool) -> WatchArgs {
        WatchArgs { format: format(json), watch: false, connection: self.at() }
    }

    /// What it was asked since the last time.
    pub(super) fn asked(&self) -> Vec<Request> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// A socket path where nobody listens.
pub(super) fn nobody() -> (tempfile::TempDir, Connection) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("weir.sock");
    (directory, Connection { socket })
}

pub(super) fn format(json: bool) -> Format {
    Format { json }
}

/// What a command prints, or its error.
pub(super) fn printed(
    command: impl FnOnce(&mut Output<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    command(&mut Output::plain(&mut bytes))?;
    Ok(String::from_utf8(bytes)?)
}

pub(super) fn status() -> StatusReport {
    StatusReport {
        version: "0.1.0".into(),
        pid: 4242,
        uptime_s: 7500,
        generation: 3,
        config_path: "/etc/weir/weir.yaml".into(),
        last_reload: ReloadReport { age_s: 187, error: None },
        attach: vec![
            AttachReport { interface: "lan0".into(), hook: "xdp".into() },
            AttachReport { interface: "lan1".into(), hook: "tc".into() },
        ],
        host_clients: HostClientsReport {
            cgroup: Some("/sys/fs/cgroup".into()),
            missing: Vec::new(),
        },
        services: 2,
        backends_up: 2,
        backends_total: 3,
        flows: 12_345,
        problems: Vec::new(),
        docker: None,
        scales: Vec::new(),
    }
}

pub(super) fn docker() -> DockerReport {
    let container = |name: &str, verdict, service: &str, endpoint: &str, why: &str| {
        let list = |text: &str| text.split(' ').filter(|t| !t.is_empty()).map(Into::into).collect();
        let (services, endpoints) = (list(service), list(endpoint));
        let id = format!("{name:0<64}");
        let listens = match name {
            "web-1" => list("127.0.0.1:8080/tcp 198.18.0.1:8080/tcp 198.18.0.2:8080/tcp"),
            "web-2" => list("127.0.0.1:8080/tcp"),
            _ => Vec::new(),
        };
        let (name, why) = (name.into(), why.into());
        ContainerReport { name, id, verdict, services, listens, endpoints, why }
    };
    DockerReport {
        socket: Some("/var/run/docker.sock".into()),
        connected: true,
        since_s: 187,
        api: Some("1.41".into()),
        error: None,
        hosts: Vec::new(),
        containers: vec![
            container("db", ContainerVerdict::Ignored, "", "", "not meant for Weir"),
            container("old", ContainerVerdict::Still, "", "", "exited (0)"),
            container("web-1", ContainerVerdict::Published, "web api", "198.18.128.2:80/tcp", ""),
            container("web-2", ContainerVerdict::Held, "web", "198.18.128.3:80/tcp", "paused"),
            container("web-3", ContainerVerdict::Refused, "", "", "label weir.port: no"),
        ],
    }
}

pub(super) fn services() -> Vec<ServiceReport> {
    let share = |endpoint: &str, weight, share, state| ShareReport {
        endpoint: endpoint.into(),
        weight,
        share,
        state,
        load: None,
        out_of_reach: None,
    };
    let first = share("198.18.10.2:8080", 2, 1.0, BackendState::Up);
    let web = ServiceReport {
        name: "web".into(),
        id: 1,
        listens: vec!["198.18.0.1:80/tcp".into(), "[fd00:18::1]:80/tcp".into()],
        policy: Policy::Adaptive,
        forward: Forward::Nat,
        class: Some("cpu".into()),
        scale: None,
        backends: vec![
            ShareReport { load: Some(busy()), ..first },
            share("198.18.10.3:8080", 0, 0.0, BackendState::Drained),
        ],
        flows_total: 1234,
        refused_total: 0,
        packets_in: 10_000,
        packets_out: 20_000,
        bytes_in: 3_565_159,
        bytes_out: 1 << 30,
    };
    let dns = ServiceReport {
        name: "dns".into(),
        id: 2,
        listens: vec!["198.18.0.1:53/udp".into()],
        policy: Policy::Maglev,
        forward: Forward::Nat,
        class: None,
        scale: None,
        backends: vec![share("[fd00:18:10::4]:53", 1, 0.0, BackendState::Down)],
        flows_total: 0,
        refused_total: 0,
        packets_in: 0,
        packets_out: 0,
        bytes_in: 0,
        bytes_out: 0,
    };
    vec![web, dns]
}

fn busy() -> LoadReport {
    LoadReport {
        class: "cpu".into(),
        utilisation: 0.82,
        reported: None,
        explained: Some(1.1),
        turns_per_s: 39.6,
        in_flight: 4.2,
        error_share: 0.0,
        capacity: 48.1,
        text: "cpu at 82 %; capacity 48.1, as measured".into(),
    }
}

pub(super) fn scale() -> ScaleReport {
    ScaleReport {
        desired: Some(7),
        replicas: 5,
        healthy: 4,
        min: 2,
        max: 8,
        algorithm: "weir".into(),
        executor: "docker".into(),
        text: "from 4 to 7: 320.0 requests/s are expected in 90 s, 190.0 are offered".into(),
        draining: vec!["web-weir-2".into()],
        ..ScaleReport::default()
    }
}

pub(super) fn backends() -> Vec<BackendReport> {
    let up = BackendReport {
        endpoint: "198.18.10.2:8080/tcp".into(),
        id: 1,
        generation: 1,
        services: vec!["web".into(), "api".into()],
        state: BackendState::Up,
        health: "http 200 in 1 ms".into(),
        weight: 2,
        flows: 12,
        requests: 3,
        packets_in: 10_000,
        packets_out: 20_000,
        bytes_in: 3_565_159,
        bytes_out: 1 << 30,
        way: "peer".into(),
        ifindex: 7,
        interface: "veth1a2b".into(),
        why: "container of this host".into(),
        load: Some(busy()),
        no_figures: String::new(),
    };
    let down = BackendReport {
        endpoint: "198.18.10.3:8080/tcp".into(),
        id: 2,
        state: BackendState::Down,
        health: "3 failures: connection refused".into(),
        way: "stack".into(),
        ifindex: 0,
        interface: String::new(),
        why: "no neighbour entry".into(),
        load: None,
        no_figures: "there is no cgroup /sys/fs/cgroup/cpu/web1".into(),
        ..up.clone()
    };
    let closing = BackendReport {
        endpoint: "[fd00:18:10::4]:8080/tcp".into(),
        id: 3,
        services: Vec::new(),
        state: BackendState::Closing,
        health: "not checked".into(),
        way: "redirect".into(),
        ifindex: 9,
        interface: String::new(),
        why: "left the configuration".into(),
        load: None,
        ..up.clone()
    };
    vec![up, down, closing]
}

pub(super) fn flows() -> FlowsReport {
    let address = |text: &str| -> SocketAddr { text.parse().unwrap() };
    let flow = FlowReport {
        protocol: Protocol::Tcp,
        client: address("198.18.0.2:40000"),
        vip: address("198.18.0.1:80"),
        backend: address("198.18.10.2:8080"),
        source: None,
        service: "web".into(),
        state: "established".into(),
        age_s: 187,
        idle_s: 2,
    };
    let other = FlowReport {
        client: address("[fd00::2]:40001"),
        vip: address("[fd00:18::1]:80"),
        backend: address("[fd00:18:10::4]:8080"),
        state: "new".into(),
        age_s: 0,
        idle_s: 0,
        ..flow.clone()
    };
    FlowsReport { total: 60_000, flows: vec![flow, other] }
}

pub(super) fn explanation() -> Explanation {
    let candidate = |backend: &str, flows, weight, chosen: bool| Candidate {
        backend: backend.into(),
        flows,
        requests: 0,
        weight,
        capacity: chosen.then_some(48.12),
        load: if chosen { busy().text } else { String::new() },
        state: if chosen { BackendState::Up } else { BackendState::Drained },
        chosen,
    };
    Explanation {
        flow: FlowName {
            protocol: Protocol::Tcp,
            source: "198.18.0.2:40000".parse().unwrap(),
            destination: "198.18.0.1:80".parse().unwrap(),
        },
        verdict: ExplainVerdict::Would,
        reason: "forwarded".into(),
        service: Some("web".into()),
        backend: Some("198.18.10.2:8080".into()),
        policy: Some(Policy::Adaptive),
        forward: Some(Forward::Nat),
        candidates: vec![
            candidate("198.18.10.2:8080", 12, 2, true),
            candidate("198.18.10.3:8080", 7, 1, false),
        ],
        text: "(12 + 1) / 2 is less than (7 + 1) / 1".into(),
    }
}
