//! `weir-bench publish`: how long it takes until ports of the host lead to a server, and until they
//! no longer do, beside what a user would pick instead.

mod docker;
mod events;
mod netfilter;
mod rows;
mod site;
mod weir;

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Context as _, Result};
use lb_userspace::lab::reap_stale;

use self::site::{FIRST_PORT, Site};
use crate::{
    engine,
    progress::Progress,
    report::{Output, Peer, Report, Series},
    shuffle::Shuffle,
};

/// Options of the sub-command.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Rounds; the order is another one in each
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// One round of small numbers: is everything still in one piece?
    #[arg(long)]
    quick: bool,
    /// Decides the order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    output: Output,
}

/// How ports are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// A service a port, in the file that a daemon follows.
    Weir,
    /// One service on a range of ports.
    WeirRange,
    /// A rule a port, all in one transaction.
    NftRules,
    /// One rule, and a map of ports.
    NftMap,
    /// A rule a port, all by `iptables-restore`.
    Iptables,
    /// One container, `docker run -p FIRST-LAST:FIRST-LAST`.
    Docker,
}

impl Way {
    const ALL: [Self; 6] =
        [Self::Weir, Self::WeirRange, Self::NftRules, Self::NftMap, Self::Iptables, Self::Docker];

    const fn name(self) -> &'static str {
        match self {
            Self::Weir => "weir, a service a port",
            Self::WeirRange => "weir, a range",
            Self::NftRules => "nft, a rule a port",
            Self::NftMap => "nft, a map",
            Self::Iptables => "iptables-restore",
            Self::Docker => "docker run -p",
        }
    }

    /// More ports of Docker take minutes and a process each.
    const fn most(self) -> u16 {
        match self {
            Self::Docker => 1_000,
            Self::Weir | Self::WeirRange | Self::NftRules | Self::NftMap | Self::Iptables => 10_000,
        }
    }
}

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// From the change to the first connection through the last port.
    Publish,
    /// One port more, beside the others.
    Add,
    /// All of them, until it is done.
    Remove,
    /// Memory that processes and the kernel's tables take for a port.
    Memory,
}

impl Step {
    const fn name(self) -> (&'static str, &'static str) {
        match self {
            Self::Publish => ("publish", "ms"),
            Self::Add => ("one more", "ms"),
            Self::Remove => ("remove", "ms"),
            Self::Memory => ("memory a port", "bytes"),
        }
    }
}

/// By what is timed, the way and the number of ports: a figure a round.
type Samples = BTreeMap<(Step, Way, u16), Vec<f64>>;

pub(crate) fn run(options: &Options) -> Result<()> {
    reap_stale("weirbench")?;
    let counts: &[u16] = if options.quick { &[1, 100] } else { &[1, 1_000, 10_000] };
    let rounds = if options.quick { 1 } else { options.rounds.max(1) };
    let mut report = Report::begin("publish", rounds, options.seed);
    if !engine::is_installed() {
        report.notes.push("there is no Docker engine here: its rows are left out".to_owned());
    }
    let cases = cases(counts);
    let mut progress = Progress::new("publish", rounds * cases.len() + 2);
    let mut shuffle = Shuffle::new(options.seed);
    let mut samples = Samples::new();
    for _ in 0..rounds {
        measure_round(&cases, &mut progress, &mut shuffle, &mut samples)?;
    }
    progress.step("many services");
    let many = weir::many(if options.quick { 200 } else { 10_000 }, rounds)?;
    let events = if engine::is_installed() {
        progress.step("events of an engine");
        events::delays(if options.quick { 3 } else { 20 })?
    } else {
        events::Delays::default()
    };
    drop(progress);
    report.rows = rows::rows(&samples, &many, &events);
    report.series = series(&samples);
    report.peers = peers()?;
    report.publish(&options.output)
}

/// Every way that is there, with every number of ports.
fn cases(counts: &[u16]) -> Vec<(Way, u16)> {
    Way::ALL
        .into_iter()
        .filter(|way| *way != Way::Docker || engine::is_installed())
        .flat_map(|way| counts.iter().map(move |count| (way, *count)))
        .filter(|(way, count)| *count <= way.most())
        .collect()
}

/// How each way is told to publish one port.
fn peers() -> Result<Vec<Peer>> {
    let site = Site::new()?;
    let nft = ["nft", "--version"];
    let peer = |way: Way| -> Result<Peer> {
        let name = way.name();
        Ok(match way {
            Way::Weir => Peer::ours(name, weir::example(&site, false)?),
            Way::WeirRange => Peer::ours(name, weir::example(&site, true)?),
            Way::NftRules => {
                Peer::new(name, &nft, netfilter::example(&site, netfilter::Tool::NftRules))
            }
            Way::NftMap => {
                Peer::new(name, &nft, netfilter::example(&site, netfilter::Tool::NftMap))
            }
            Way::Iptables => {
                let rules = netfilter::example(&site, netfilter::Tool::Iptables);
                Peer::new(name, &["iptables-restore", "--version"], rules)
            }
            Way::Docker => {
                let example = format!("docker run -d -p {FIRST_PORT}:{FIRST_PORT} IMAGE");
                Peer::new(name, &["dockerd", "--version"], example)
            }
        })
    };
    let there = |way: &Way| *way != Way::Docker || engine::is_installed();
    Way::ALL.into_iter().filter(there).map(peer).collect()
}

/// Every case, each on a network of its own.
fn measure_round(
    cases: &[(Way, u16)],
    progress: &mut Progress,
    shuffle: &mut Shuffle,
    samples: &mut Samples,
) -> Result<()> {
    for (way, count) in shuffle.order(cases.len()).into_iter().filter_map(|at| cases.get(at)) {
        let (way, count) = (*way, *count);
        progress.step(&format!("{}, {count} ports", way.name()));
        let measured = measure(way, count);
        for (step, value) in measured.with_context(|| format!("{count} ports, {way:?}"))? {
            samples.entry((step, way, count)).or_default().push(value);
        }
    }
    Ok(())
}

fn measure(way: Way, count: u16) -> Result<Vec<(Step, f64)>> {
    let site = Site::new()?;
    match way {
        Way::Weir => weir::measure(&site, count, false),
        Way::WeirRange => weir::measure(&site, count, true),
        Way::NftRules => netfilter::measure(&site, netfilter::Tool::NftRules, count),
        Way::NftMap => netfilter::measure(&site, netfilter::Tool::NftMap, count),
        Way::Iptables => netfilter::measure(&site, netfilter::Tool::Iptables, count),
        Way::Docker => docker::measure(&site, count),
    }
}

/// The ports of a case, and the one that is added.
fn ports(count: u16) -> (std::ops::RangeInclusive<u16>, u16) {
    let last = FIRST_PORT + count - 1;
    (FIRST_PORT..=last, last + 1)
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn series(samples: &Samples) -> Vec<Series> {
    let one = |((step, way, count), samples): (&(Step, Way, u16), &Vec<f64>)| {
        let (what, unit) = step.name();
        let name = format!("{what}, {count} ports: {}", way.name());
        Series { name, unit, samples: samples.clone() }
    };
    samples.iter().map(one).collect()
}
