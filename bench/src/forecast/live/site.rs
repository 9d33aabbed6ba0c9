//! A host with an engine, two replicas and a template, and the daemon that scales them.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use lb_userspace::{
    admin::{
        client::ask,
        protocol::Request,
        report::{ScaleReport, ServiceReport},
    },
    config,
    daemon::{Options, background::Background},
    lab::{Lab, LabPlan, Topology, UPLINK, vip_v4},
};

use super::{CAPACITY, START_MS, Scaler, TARGET_PERCENT};
use crate::engine::Engine;

const IMAGE: &str = "replica";
const PROGRAM: &str = include_str!("program.rs");
/// Replicas at the beginning and at most.
pub(super) const REPLICAS: (u32, u32) = (2, 8);
/// How long the first ones may need.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything that runs; it ends in the order of the fields.
pub(super) struct Site {
    daemon: Option<Background>,
    _engine: Engine,
    pub(super) lab: Lab,
    socket: PathBuf,
}

impl Site {
    pub(super) fn new(scaler: Scaler) -> Result<Self> {
        let plan = LabPlan {
            backends: 0,
            topology: Topology::Bridge,
            forwarding: false,
            ..LabPlan::default()
        };
        let lab = Lab::new("weirbench", plan)?;
        let engine = Engine::start(&lab)?;
        engine.add_image(IMAGE, PROGRAM, &["EXPOSE 8080"])?;
        // 1000 / CAPACITY milliseconds a request, one after the other.
        let service = format!("{}", 1000 / CAPACITY);
        let options = ["--label=app=web", "--stop-timeout=1"];
        for number in 1..=REPLICAS.0 {
            let head = ["run", "-d", "--name", &format!("web-{number}")];
            engine.docker(&[&head[..], &options, &[IMAGE, &service, "0"]].concat())?;
        }
        let head = ["create", "--name", "template", "--label=role=template"];
        let start = START_MS.to_string();
        engine.docker(&[&head[..], &options, &[IMAGE, &service, &start]].concat())?;
        let socket = std::env::temp_dir().join(format!("{}.sock", lab.lb().name()));
        let text = configuration(scaler, &engine, &socket);
        let loaded = config::parse("weir.yaml", &text).map_err(|error| anyhow!("{error}"))?;
        let options = Options { config: loaded.config, file: None, bpffs: None };
        let daemon = Background::start_with(lab.lb(), options, loaded.docker)?;
        let site = Self { daemon: Some(daemon), _engine: engine, lab, socket };
        site.wait()?;
        Ok(site)
    }

    /// What the daemon says of the replicas.
    pub(super) fn told(&self) -> Result<ScaleReport> {
        let services: Vec<ServiceReport> = ask(&self.socket, &Request::Services)?;
        let first = services.into_iter().next().context("a daemon without services")?;
        first.scale.context("a service that is not scaled")
    }

    fn wait(&self) -> Result<()> {
        let limit = Instant::now() + PATIENCE;
        // Before its first look the daemon says nothing of replicas.
        while !self.told().is_ok_and(|told| told.healthy >= REPLICAS.0) {
            ensure!(Instant::now() < limit, "the first replicas do not come up");
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<()> {
        self.daemon.take().map_or(Ok(()), Background::finish)
    }
}

fn configuration(scaler: Scaler, engine: &Engine, socket: &std::path::Path) -> String {
    let (min, max) = REPLICAS;
    let algorithm = match scaler {
        Scaler::Hpa => "algorithm: hpa",
        Scaler::Last => "forecast: none",
        Scaler::Grey => "forecast: grey",
    };
    format!(
        "interfaces: [{UPLINK}]\nattach: tc\nhost-clients: off\n\
         admin: {{ socket: {}, http: false }}\ndocker: {{ socket: {} }}\ndrain: 5s\nservices:\n  \
         - name: web\n    listen: [\"{}:80\"]\n    policy: least-connections\n    \
         health: {{ tcp: true, interval: 250ms, rise: 1, fall: 20 }}\n    \
         docker: {{ label: app=web }}\n    scale: {{ min: {min}, max: {max}, \
         target: {TARGET_PERCENT}%, capacity: {CAPACITY}, bucket: 2s, start-time: 8s, \
         warm-up: 4s, down-window: 40s, {algorithm}, executor: docker, \
         template: role=template }}\n",
        socket.display(),
        engine.socket().display(),
        vip_v4(1),
    )
}
