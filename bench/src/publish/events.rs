//! From what happens to a container until the dataplane knows: `docker start` and `docker kill` of a
//! replica, while the daemon follows the engine.

use std::{
    env, fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use lb_userspace::{
    admin::{
        Request, client,
        report::{BackendReport, BackendState},
    },
    config,
    daemon::{Options, background::Background},
};

use super::{milliseconds, site::Site};
use crate::engine::Engine;

/// Milliseconds, one an event.
#[derive(Clone, Debug, Default)]
pub(super) struct Delays {
    pub(super) start: Vec<f64>,
    pub(super) end: Vec<f64>,
}

const PATIENCE: Duration = Duration::from_secs(20);

/// Runs and kills a replica so often.
pub(super) fn delays(times: usize) -> Result<Delays> {
    let site = Site::new()?;
    let engine = Engine::start(&site.lab)?;
    let directory = env::temp_dir().join(format!("{}-weir", site.lab.lb().name()));
    fs::create_dir(&directory)?;
    let measured = follow(&site, &engine, &directory, times);
    fs::remove_dir_all(&directory)?;
    measured
}

fn follow(site: &Site, engine: &Engine, directory: &Path, times: usize) -> Result<Delays> {
    let socket = directory.join("weir.sock");
    let text = format!(
        "interfaces: [up0]\nattach: tc\nhost-clients: off\nservices: []\n\
         docker: {{ socket: {} }}\nadmin: {{ socket: {}, http: false }}\n",
        engine.socket().display(),
        socket.display()
    );
    let file = directory.join("weir.yaml");
    fs::write(&file, &text)?;
    let config = config::parse("weir.yaml", &text).map_err(|error| anyhow::anyhow!("{error}"))?;
    let options = Options { config: config.config, file: Some(file), bpffs: None };
    let daemon = Background::start(site.lab.lb(), options)?;
    // What the file says of the engine is read with it.
    let _: serde_json::Value = client::ask(&socket, &Request::Reload)?;
    let up = |wanted: usize| -> Result<()> {
        let limit = Instant::now() + PATIENCE;
        loop {
            let backends: Vec<BackendReport> = client::ask(&socket, &Request::Backends)?;
            let is_up = |one: &&BackendReport| one.state == BackendState::Up;
            if backends.iter().filter(is_up).count() == wanted {
                return Ok(());
            }
            ensure!(Instant::now() < limit, "the daemon does not see it");
        }
    };
    let labels = ["weir.enable=true", "weir.service=web", "weir.port=8080"];
    let listen = format!("weir.listen={}:80", Site::vip());
    let options: Vec<&str> =
        labels.into_iter().chain([listen.as_str()]).flat_map(|label| ["--label", label]).collect();
    let mut delays = Delays::default();
    for _ in 0..times {
        // The engine's own part ends when `docker run` does, and the container runs already.
        engine.run("replica", &options)?;
        let start = Instant::now();
        up(1)?;
        delays.start.push(milliseconds(start));
        engine.docker(&["kill", "replica"])?;
        let start = Instant::now();
        up(0)?;
        delays.end.push(milliseconds(start));
        engine.docker(&["rm", "replica"])?;
    }
    daemon.finish()?;
    Ok(delays)
}
