//! `weir-bench path`: what a request costs from a client through the balancer to a server and back,
//! beside other ways to get there.

mod bulk;
mod cpu;
mod http;
mod plane;
mod rows;
pub(crate) mod server;
mod single;
mod udp;

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context as _, Result};
use lb_userspace::lab::reap_stale;

use self::{cpu::Meter, http::Connections, plane::Plane};
use crate::{
    engine,
    progress::Progress,
    report::{Output, Report, Series},
    shuffle::Shuffle,
};

/// Options of the sub-command.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Rounds; each builds everything anew and measures it once, in another order
    #[arg(long, default_value_t = 6)]
    rounds: usize,
    /// Two rounds of one second a load: is everything still in one piece?
    #[arg(long)]
    quick: bool,
    /// Decides the order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The object under test
    #[arg(long, value_name = "FILE", default_value = crate::OBJECT)]
    object: PathBuf,
    /// The object with the generator of frames
    #[arg(long, value_name = "FILE", default_value = crate::FLOORS)]
    floors: PathBuf,
    #[command(flatten)]
    output: Output,
}

/// The way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// The real program at TC.
    Weir,
    /// The same once more: the difference is noise.
    Again,
    /// DNAT by nftables, backends in turn.
    Nft,
    /// No balancer: to the backends' own addresses.
    Routing,
    /// The real program with one backend, as Docker has one behind a port.
    One,
    /// A container whose port a real engine publishes (`docker run -p`).
    Docker,
    /// The same, called from the host's loopback: by way of a process.
    Proxy,
    /// A process of the host calls the VIP: hooks at its sockets, one backend.
    Host,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Weir,
        Self::Again,
        Self::Nft,
        Self::Routing,
        Self::One,
        Self::Docker,
        Self::Proxy,
        Self::Host,
    ];

    /// Whether it can be had on this machine.
    fn is_there(self) -> bool {
        match self {
            Self::Weir | Self::Again | Self::Nft | Self::Routing => true,
            Self::One | Self::Docker | Self::Proxy | Self::Host => engine::is_installed(),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Weir => "weir",
            Self::Again => "weir again",
            Self::Nft => "nft",
            Self::Routing => "routing",
            Self::One => "weir, one backend",
            Self::Docker => "docker -p",
            Self::Proxy => "docker-proxy",
            Self::Host => "weir, from the host",
        }
    }
}

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Datagrams,
    KeepAlive,
    OneEach,
    Bulk,
    Latency,
}

impl Task {
    const ALL: [Self; 5] =
        [Self::Datagrams, Self::KeepAlive, Self::OneEach, Self::Bulk, Self::Latency];

    const fn name(self) -> &'static str {
        match self {
            Self::Datagrams => "datagrams",
            Self::KeepAlive => "keep-alive",
            Self::OneEach => "one connection each",
            Self::Bulk => "bulk",
            Self::Latency => "latency",
        }
    }

    /// HTTP load knows one address only, and bulk and latency need no second opinion.
    fn has(self, kind: Kind) -> bool {
        let balances = matches!(kind, Kind::Weir | Kind::Nft | Kind::Routing);
        match self {
            Self::Datagrams => balances || kind == Kind::Again,
            Self::KeepAlive | Self::OneEach => kind != Kind::Routing,
            Self::Bulk => balances,
            Self::Latency => !matches!(kind, Kind::Again | Kind::Proxy | Kind::Host),
        }
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Metric {
    DatagramCpu,
    KeepAliveCpu,
    KeepAliveRate,
    OneEachCpu,
    OneEachRate,
    BulkRate,
    BulkCpu,
    Latency,
}

impl Metric {
    const fn name(self) -> (&'static str, &'static str) {
        match self {
            Self::DatagramCpu => ("CPU a datagram", "us"),
            Self::KeepAliveCpu => ("CPU a request, keep-alive", "us"),
            Self::KeepAliveRate => ("requests, keep-alive", "/s"),
            Self::OneEachCpu => ("CPU a request, one connection each", "us"),
            Self::OneEachRate => ("requests, one connection each", "/s"),
            Self::BulkRate => ("bulk", "Mbit/s"),
            Self::BulkCpu => ("CPU a megabyte, bulk", "us"),
            Self::Latency => ("answer on one connection, median", "us"),
        }
    }
}

/// By metric and way: a figure a round.
type Samples = BTreeMap<(Metric, Kind), Vec<f64>>;

/// How much load.
#[derive(Clone, Copy)]
struct Size {
    seconds: u32,
    datagrams: u32,
    answers: usize,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    for namespace in reap_stale("weirbench")? {
        server::forget(&namespace)?;
    }
    let quick = Size { seconds: 1, datagrams: 200_000, answers: 3_000 };
    let full = Size { seconds: 3, datagrams: 1_000_000, answers: 10_000 };
    let (rounds, size) = if options.quick { (2, quick) } else { (options.rounds.max(1), full) };
    let mut report = Report::begin("path", rounds, options.seed);
    if !engine::is_installed() {
        report.notes.push("there is no Docker engine here: its rows are left out".to_owned());
    }
    let meter = Meter::new()?;
    let there = Kind::ALL.into_iter().filter(|kind| kind.is_there());
    let runs = there.map(|kind| Task::ALL.iter().filter(|task| task.has(kind)).count() + 1);
    let mut progress = Progress::new("path", rounds * runs.sum::<usize>());
    let mut shuffle = Shuffle::new(options.seed);
    let mut samples = Samples::new();
    for _ in 0..rounds {
        measure_round(options, &meter, size, &mut progress, &mut shuffle, &mut samples)?;
    }
    drop(progress);
    report.rows = rows::rows(&samples);
    report.series = series(&samples);
    report.publish(&options.output)
}

/// Everything once, on new planes: what one way leaves behind never meets another.
fn measure_round(
    options: &Options,
    meter: &Meter,
    size: Size,
    progress: &mut Progress,
    shuffle: &mut Shuffle,
    samples: &mut Samples,
) -> Result<()> {
    let mut build = |kind: Kind| {
        progress.step(&format!("{}, set-up", kind.name()));
        Plane::build(kind, meter, &options.object)
    };
    let there = Kind::ALL.into_iter().filter(|kind| kind.is_there());
    let mut planes = there.map(&mut build).collect::<Result<Vec<_>>>()?;
    let mut sources = 1..=u8::MAX;
    for task in shuffle.order(Task::ALL.len()).into_iter().map(|index| Task::ALL[index]) {
        for index in shuffle.order(planes.len()) {
            let plane = &mut planes[index];
            if !task.has(plane.kind) {
                continue;
            }
            progress.step(&format!("{}, {}", plane.kind.name(), task.name()));
            plane.fresh_source(sources.next().context("too many runs")?)?;
            for (metric, value) in measure(options, task, plane, meter, size)? {
                samples.entry((metric, plane.kind)).or_default().push(value);
            }
            plane.check()?;
        }
    }
    Ok(())
}

fn measure(
    options: &Options,
    task: Task,
    plane: &Plane,
    meter: &Meter,
    size: Size,
) -> Result<Vec<(Metric, f64)>> {
    match task {
        Task::Datagrams => {
            let cpu = udp::cpu_us(plane, meter, &options.floors, size.datagrams)?;
            Ok(vec![(Metric::DatagramCpu, cpu)])
        }
        Task::KeepAlive => requests(plane, meter, Connections::Kept, size.seconds),
        Task::OneEach => requests(plane, meter, Connections::OneEach, size.seconds),
        Task::Bulk => {
            let before = meter.read()?;
            let bulk = bulk::send(plane, meter, size.seconds)?;
            let cpu = meter.read()? - before;
            let rate = (Metric::BulkRate, bulk.bits_per_second / 1e6);
            Ok(vec![rate, (Metric::BulkCpu, cpu * 1e12 / bulk.bytes)])
        }
        Task::Latency => Ok(vec![(Metric::Latency, single::median_us(plane, size.answers)?)]),
    }
}

fn requests(
    plane: &Plane,
    meter: &Meter,
    connections: Connections,
    seconds: u32,
) -> Result<Vec<(Metric, f64)>> {
    let (cpu_metric, rate_metric) = match connections {
        Connections::Kept => (Metric::KeepAliveCpu, Metric::KeepAliveRate),
        Connections::OneEach => (Metric::OneEachCpu, Metric::OneEachRate),
    };
    let before = meter.read()?;
    let load = http::load(plane, meter, connections, seconds)?;
    let cpu = meter.read()? - before;
    Ok(vec![(cpu_metric, cpu * 1e6 / load.requests), (rate_metric, load.per_second)])
}

fn series(samples: &Samples) -> Vec<Series> {
    let one = |((metric, kind), samples): (&(Metric, Kind), &Vec<f64>)| {
        let (what, unit) = metric.name();
        Series { name: format!("{what}: {}", kind.name()), unit, samples: samples.clone() }
    };
    samples.iter().map(one).collect()
}
