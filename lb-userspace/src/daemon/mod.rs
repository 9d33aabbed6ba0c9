//! The shell around the pure parts: it waits for whatever comes (time, questions, probes, links,
//! files, signals), asks pure code what to do, and does it. It owns the clock.

mod answers;
mod apply;
pub mod background;
mod capacities;
mod containers;
mod engines;
mod explain;
mod hook;
mod host_clients;
mod machines;
mod numbers;
pub mod ports;
mod reach;
mod reports;
mod scale;
mod settings;
mod source_ports;
mod state;
mod wanted;
mod writes;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
    time::MissedTickBehavior,
};
use tracing::{info, warn};

use crate::{
    admin::{self, Question},
    chain::one_line,
    config::{self, Loaded},
    dataplane::{Dataplane, LoadOptions, host, links, pins::Pins},
    health::{Checker, Outcome, Probed},
    load::report::{Asker, Report, Said},
    maps::LbMaps as _,
    model::{Config, Docker, Endpoint},
    reconcile::{Memory, Observed},
};
use capacities::Capacities;
use containers::Containers;
use scale::Scalers;
use state::State;
pub use writes::{Names, Writes, writes_for};

/// How often the plan is made anew and idle flows are looked for.
const TICK: Duration = Duration::from_secs(1);
/// How many ticks lie between two sweeps of the flow table.
const SWEEP_TICKS: u64 = 5;
/// Questions that may wait.
const QUESTIONS: usize = 64;

/// What a daemon is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration.
    pub config: Config,
    /// The file it is from, which is followed.
    pub file: Option<PathBuf>,
    /// The BPF filesystem to pin on; `None` pins nothing, and all ends with the process.
    pub bpffs: Option<PathBuf>,
}

/// A running daemon.
pub struct Daemon {
    state: State,
    file: Option<PathBuf>,
    dataplane: Dataplane,
    links: links::Links,
    checker: Checker,
    asker: Asker,
    containers: Containers,
    capacities: Capacities,
    scalers: Scalers,
    observed: Observed,
    memory: Memory,
    started: Instant,
    last_reload: Reload,
    reloads_ok: u64,
    reloads_failed: u64,
    problems: Vec<String>,
    /// Why no process of this host is balanced.
    no_host_clients: Option<String>,
    names: std::collections::BTreeMap<u32, String>,
    ticks: u64,
    /// How long the last one took: live load, and all of it.
    round: (Duration, Duration),
}

/// How the last reload ended.
#[derive(Debug)]
struct Reload {
    at: Instant,
    error: Option<String>,
}

/// Everything the daemon listens to.
struct Inputs {
    questions: mpsc::Receiver<Question>,
    probes: mpsc::Receiver<Outcome>,
    reports: mpsc::Receiver<Said>,
    links: mpsc::Receiver<()>,
    file: mpsc::Receiver<()>,
}

/// Runs a daemon without containers, see [`run_with`].
pub async fn run(
    options: Options,
    ready: oneshot::Sender<()>,
    stop: oneshot::Receiver<()>,
) -> anyhow::Result<()> {
    run_with(options, Docker::default(), ready, stop).await
}

/// Runs a daemon until `stop` or a signal, then takes everything off the host. `ready` is told
/// when the first configuration is in place.
pub async fn run_with(
    options: Options,
    docker: Docker,
    ready: oneshot::Sender<()>,
    stop: oneshot::Receiver<()>,
) -> anyhow::Result<()> {
    // Without the right to balance nothing else is worth a complaint.
    host::check()?;
    let (ask, questions) = mpsc::channel(QUESTIONS);
    // The doors first: a second daemon must not get as far as the dataplane.
    let doors = open_doors(&options.config, &ask).await?;
    let (probe_results, probes) = mpsc::channel(QUESTIONS);
    let (said, reports) = mpsc::channel(QUESTIONS);
    let (file, _watch) = follow(options.file.as_deref())?;
    let inputs = Inputs { questions, probes, reports, links: links::watch()?, file };
    let watchers = (Checker::new(probe_results), Asker::new(said));
    let mut daemon = Daemon::start(options, docker, watchers).await?;
    if ready.send(()).is_err() {
        tracing::debug!("nobody waited for the start");
    }
    let result = daemon.serve(inputs, stop).await;
    drop(doors);
    let removed = daemon.dataplane.detach().context("cannot take the programs off this host")?;
    info!(links = removed.links, maps = removed.maps, "detached");
    result
}

/// The tasks behind the doors; dropping them closes the doors.
struct Doors(Vec<tokio::task::JoinHandle<()>>);

impl Drop for Doors {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

async fn open_doors(config: &Config, ask: &mpsc::Sender<Question>) -> anyhow::Result<Doors> {
    let socket = admin::socket::bind(&config.admin.socket, admin::socket::Patience::default())?;
    let mut tasks = vec![tokio::spawn(socket.serve(ask.clone()))];
    if let Some(address) = config.admin.http {
        let listener: TcpListener = admin::http::bind(address).await?;
        tasks.push(tokio::spawn(admin::http::serve(listener, ask.clone())));
    }
    Ok(Doors(tasks))
}

impl Daemon {
    async fn start(
        options: Options,
        docker: Docker,
        (checker, asker): (Checker, Asker),
    ) -> anyhow::Result<Self> {
        let config = options.config;
        let left = options.bpffs.as_deref().map_or(Ok(Vec::new()), Pins::left_behind)?;
        let load = LoadOptions { limits: config.limits, bpffs: options.bpffs, trace: false };
        let mut dataplane = Dataplane::load(&load)?;
        let ticks_per_second = dataplane.ticks_per_second()?;
        let observed = Observed::from(dataplane.maps.snapshot()?);
        let generation = observed.settings.generation;
        let links = links::Links::open().context("cannot ask the kernel for links")?;
        let now = Instant::now();
        let mut daemon = Self {
            state: State::new(config.clone(), ticks_per_second, generation),
            capacities: Capacities::default(),
            scalers: Scalers::default(),
            containers: Containers::new(Loaded { config, docker }, now),
            file: options.file.as_deref().map(absolute),
            dataplane,
            links,
            checker,
            asker,
            observed,
            memory: Memory::default(),
            started: now,
            last_reload: Reload { at: now, error: None },
            reloads_ok: 0,
            reloads_failed: 0,
            problems: Vec::new(),
            no_host_clients: None,
            names: std::collections::BTreeMap::new(),
            ticks: 0,
            round: Default::default(),
        };
        if let Err(error) = daemon.come_up().await {
            // The host stays as it was.
            daemon.dataplane.give_up(&left).context("cannot undo a failed start")?;
            return Err(error);
        }
        Ok(daemon)
    }

    async fn come_up(&mut self) -> anyhow::Result<()> {
        self.meet_engine().await;
        self.checker.sync(&self.state.health_checks());
        self.ask_for_reports();
        self.resolve_patiently().await?;
        // Strict at the start: what is configured must be attached. Later, links come and go.
        self.attach().await?;
        self.reconcile()?;
        info!(services = self.state.config.services.len(), "balancing");
        Ok(())
    }

    async fn serve(
        &mut self,
        mut inputs: Inputs,
        mut stop: oneshot::Receiver<()>,
    ) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                _ = &mut stop => return Ok(()),
                _ = hang_up.recv() => self.reload().await,
                Some(()) = inputs.file.recv() => self.reload().await,
                Some((request, answer)) = inputs.questions.recv() => {
                    // Whoever asked may have gone.
                    drop(answer.send(self.answer(request).await));
                }
                Some((endpoint, probed)) = inputs.probes.recv() => self.probed(endpoint, probed),
                Some(said) = inputs.reports.recv() => self.reported(said),
                Some(()) = inputs.links.recv() => {
                    self.addresses_changed().await;
                    self.links_changed().await;
                }
                () = self.containers.engines.changed() => self.containers_changed().await,
                _ = tick.tick() => self.tick().await,
            }
        }
    }

    /// Reads the file again; one that does not validate changes nothing.
    async fn reload(&mut self) {
        let Some(file) = &self.file else { return };
        let error = match config::load(file) {
            Ok(loaded) => match self.replace(loaded).await {
                Ok(false) => return,
                Ok(true) => None,
                Err(error) => Some(one_line(&error)),
            },
            Err(error) => Some(error.to_string()),
        };
        match &error {
            None => self.reloads_ok += 1,
            Some(error) => {
                self.reloads_failed += 1;
                warn!("configuration not reloaded: {error}");
            }
        }
        self.last_reload = Reload { at: Instant::now(), error };
    }

    fn probed(&mut self, endpoint: Endpoint, Probed { result, load }: Probed) {
        if let Some(load) = load {
            let load = load.map(Report::Orca).map_err(|error| error.to_string());
            self.take_report(endpoint, load);
        }
        let Some(healthy) = self.state.probed(endpoint, result, Instant::now()) else { return };
        let why = self.state.health_text(&endpoint);
        info!(backend = %endpoint, healthy, why, "health changed");
        self.reconcile_or_tell();
    }

    async fn links_changed(&mut self) {
        let before = self.state.ways().clone();
        let result = self.resolve().await;
        self.tell("links", result);
        if *self.state.ways() != before {
            let result = self.attach().await;
            self.tell("attach", result);
            self.reconcile_or_tell();
        }
    }

    async fn tick(&mut self) {
        self.ticks += 1;
        let start = Instant::now();
        if self.state.has_unresolved() {
            self.nudge();
            self.links_changed().await;
        }
        if self.ticks.is_multiple_of(SWEEP_TICKS) {
            let result = self.sweep();
            self.tell("sweep", result);
            let result = self.dataplane.check_pins();
            self.tell("pins", result.map_err(Into::into));
            self.try_ports_again().await;
        }
        self.ask_for_reports();
        let before_load = start.elapsed();
        let result = self.follow_load();
        self.tell("load", result);
        self.round.0 = start.elapsed().saturating_sub(before_load);
        self.scale();
        let result = self.look_for_floods();
        self.tell("balancing by policy", result);
        let result = self.look_at_source_ports();
        self.tell("source-ports", result);
        let before = self.observed.present_count();
        self.reconcile_or_tell();
        if self.observed.present_count() < before {
            // Nobody needs the program on the way to what has ended.
            self.links_changed().await;
        }
        self.round.1 = start.elapsed();
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Follows a file, if there is one. The sender keeps the channel open where there is none.
fn follow(file: Option<&Path>) -> anyhow::Result<(mpsc::Receiver<()>, Option<mpsc::Sender<()>>)> {
    if let Some(file) = file {
        return Ok((config::watch(file)?, None));
    }
    let (sender, receiver) = mpsc::channel(1);
    Ok((receiver, Some(sender)))
}
