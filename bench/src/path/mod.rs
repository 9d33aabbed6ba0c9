//! `weir-bench path`: what a request costs from a client through the balancer to a server and back,
//! beside other ways to get there.

mod bulk;
mod cpu;
mod http;
mod kind;
mod open;
mod peers;
mod plane;
mod rows;
pub(crate) mod server;
mod single;
mod udp;

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use lb_userspace::{
    lab::reap_stale,
    plot::{BLUE, GREEN, Line, Lines, ORANGE, Stroke},
};

use self::{
    cpu::Meter,
    http::Connections,
    kind::{Kind, Metric, Task},
    plane::Plane,
    server::LARGE_PATH,
};
use crate::{
    progress::Progress,
    report::{Output, Peer, Plot, Report, Series},
    shuffle::Shuffle,
    stats::median,
};

/// Options of the sub-command.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Rounds; each builds everything anew and measures it once, in another order
    #[arg(long, default_value_t = 6)]
    rounds: usize,
    /// One round of one second a load: is everything still in one piece?
    #[arg(long)]
    quick: bool,
    /// Only loads that have this in their name (datagrams, keep-alive, one connection each, bulk, ..)
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
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
    let (rounds, size) = if options.quick { (1, quick) } else { (options.rounds.max(1), full) };
    let services: &[u16] = if options.quick { &[1_000] } else { &[1_000, 10_000] };
    let mut report = Report::begin("path", rounds, options.seed);
    let only = options.only.as_deref().unwrap_or_default();
    let tasks: Vec<Task> = Task::ALL.into_iter().filter(|it| it.name().contains(only)).collect();
    ensure!(!tasks.is_empty(), "no load has \"{only}\" in its name: {}", Task::names());
    let asked = |kind: &Kind| tasks.iter().any(|task| task.has(*kind));
    let (kinds, missing): (Vec<_>, Vec<_>) =
        Kind::all(services).into_iter().filter(asked).partition(|kind| kind.obstacle().is_none());
    for kind in missing {
        let why = kind.obstacle().unwrap_or_default();
        report.notes.push(format!("{} is left out: {why}", kind.name()));
    }
    let runs = kinds.iter().map(|kind| tasks.iter().filter(|it| it.has(*kind)).count() + 1);
    let mut bench = Bench {
        options,
        meter: Meter::new()?,
        size,
        progress: Progress::new("path", rounds * runs.sum::<usize>()),
        shuffle: Shuffle::new(options.seed),
        samples: Samples::new(),
        peers: BTreeMap::new(),
    };
    for _ in 0..rounds {
        bench.round(&kinds, &tasks)?;
    }
    report.rows = rows::rows(&bench.samples, services);
    report.series = series(&bench.samples);
    report.plots = plot(&bench.samples, services)?.into_iter().collect();
    report.peers = bench.peers.into_values().chain(tools()).collect();
    drop(bench.progress);
    report.publish(&options.output)
}

/// What the rounds share.
struct Bench<'a> {
    options: &'a Options,
    meter: Meter,
    size: Size,
    progress: Progress,
    shuffle: Shuffle,
    samples: Samples,
    peers: BTreeMap<Kind, Peer>,
}

impl Bench<'_> {
    /// Everything once, on new planes: what one way leaves behind never meets another.
    fn round(&mut self, kinds: &[Kind], tasks: &[Task]) -> Result<()> {
        let mut planes = Vec::new();
        for kind in kinds {
            self.progress.step(&format!("{}, set-up", kind.name()));
            let plane = Plane::build(*kind, &self.meter, &self.options.object)
                .with_context(|| kind.name())?;
            self.peers.entry(*kind).or_insert_with(|| plane.peer());
            planes.push(plane);
        }
        let mut sources = 1..=u8::MAX;
        for task in self.shuffle.order(tasks.len()).into_iter().map(|at| tasks[at]) {
            for index in self.shuffle.order(planes.len()) {
                let plane = &mut planes[index];
                if !task.has(plane.kind) {
                    continue;
                }
                self.progress.step(&format!("{}, {}", plane.kind.name(), task.name()));
                plane.fresh_source(sources.next().context("too many runs")?)?;
                let measured = self.measure(task, plane);
                let what = || format!("{}, {}", plane.kind.name(), task.name());
                for (metric, value) in measured.with_context(what)? {
                    self.samples.entry((metric, plane.kind)).or_default().push(value);
                }
                plane.check()?;
            }
        }
        Ok(())
    }

    fn measure(&self, task: Task, plane: &Plane) -> Result<Vec<(Metric, f64)>> {
        let Self { options, meter, size, .. } = self;
        let seconds = size.seconds;
        match task {
            Task::Datagrams => {
                let cpu = udp::cpu_us(plane, meter, &options.floors, udp::FEW, size.datagrams)?;
                Ok(vec![(Metric::DatagramCpu, cpu)])
            }
            Task::NewDatagrams => {
                let count = size.datagrams.min(udp::NEW_MAX);
                let cpu = udp::cpu_us(plane, meter, &options.floors, udp::NEW, count)?;
                Ok(vec![(Metric::NewDatagramCpu, cpu)])
            }
            Task::KeepAlive => {
                let [cpu, rate] = self.requests(plane, Connections::Kept, "/")?;
                Ok(vec![(Metric::KeepAliveCpu, cpu), (Metric::KeepAliveRate, rate)])
            }
            Task::OneEach => {
                let [cpu, rate] = self.requests(plane, Connections::OneEach, "/")?;
                Ok(vec![(Metric::OneEachCpu, cpu), (Metric::OneEachRate, rate)])
            }
            Task::Large => {
                let [cpu, rate] = self.requests(plane, Connections::Kept, LARGE_PATH)?;
                Ok(vec![(Metric::LargeCpu, cpu), (Metric::LargeRate, rate)])
            }
            Task::Bulk => {
                let before = meter.read()?;
                let bulk = bulk::send(plane, meter, seconds)?;
                let cpu = meter.read()? - before;
                let rate = (Metric::BulkRate, bulk.bits_per_second / 1e6);
                Ok(vec![rate, (Metric::BulkCpu, cpu * 1e12 / bulk.bytes)])
            }
            Task::Latency => Ok(vec![(Metric::Latency, single::median_us(plane, size.answers)?)]),
            Task::OpenLoop => {
                let [p50, p99, p999] = open::quantiles_us(plane, seconds)?;
                Ok(vec![(Metric::OpenP50, p50), (Metric::OpenP99, p99), (Metric::OpenP999, p999)])
            }
            Task::Check => {
                let ours = single::median_us(plane, size.answers)?;
                let wrk = http::median_us(plane, meter, 1)?;
                Ok(vec![(Metric::CheckOurs, ours), (Metric::CheckWrk, wrk)])
            }
        }
    }

    /// CPU a request, and requests a second.
    fn requests(&self, plane: &Plane, connections: Connections, path: &str) -> Result<[f64; 2]> {
        let before = self.meter.read()?;
        let load = http::load(plane, &self.meter, connections, path, self.size.seconds)?;
        let cpu = self.meter.read()? - before;
        Ok([cpu * 1e6 / load.requests, load.per_second])
    }
}

/// What makes the load, and what answers.
fn tools() -> [Peer; 3] {
    let server = server::nginx_conf("HOME".as_ref());
    let wrk = "wrk -t2 -c64 -dNs --timeout 5s [-H 'Connection: close'] http://VIP/[large]";
    let iperf = "iperf3 -J -t N --connect-timeout 2000 -c VIP -p 5201";
    [
        Peer::new("servers", &["nginx", "-v"], server),
        Peer::new("HTTP load", &["wrk", "-v"], wrk),
        Peer::new("bulk load", &["iperf3", "--version"], iperf),
    ]
}

fn series(samples: &Samples) -> Vec<Series> {
    let one = |((metric, kind), samples): (&(Metric, Kind), &Vec<f64>)| {
        let (what, unit) = metric.name();
        Series { name: format!("{what}: {}", kind.name()), unit, samples: samples.clone() }
    };
    samples.iter().map(one).collect()
}

/// What a connection costs over the number of services.
fn plot(samples: &Samples, services: &[u16]) -> Result<Option<Plot>> {
    type Of = fn(u16) -> Kind;
    let ways: [(&str, Kind, Of, _); 3] = [
        ("iptables", Kind::Iptables, Kind::IptablesOf, ORANGE),
        ("nft", Kind::Nft, Kind::NftOf, GREEN),
        ("weir", Kind::Weir, Kind::WeirOf, BLUE),
    ];
    let at = |kind: Kind, count: u16| {
        let all = samples.get(&(Metric::OneEachCpu, kind))?;
        Some((f64::from(count).log10(), median(all)?))
    };
    let lines = ways.map(|(name, few, of, colour)| {
        let many = services.iter().filter_map(|count| at(of(*count), *count));
        let points = at(few, 1).into_iter().chain(many).collect();
        Line { name: name.to_owned(), colour, stroke: Stroke::Dotted, points }
    });
    if lines.iter().all(|line| line.points.len() < 2) {
        return Ok(None);
    }
    let lines = Lines {
        title: "A request with its own connection, where so many services are".to_owned(),
        x: "services, in powers of ten".to_owned(),
        y: "CPU a request, us".to_owned(),
        lines: lines.into(),
    };
    Ok(Some(Plot { svg: lines.svg()?, title: lines.title }))
}
