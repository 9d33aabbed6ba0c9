//! `weir-bench program`: what a packet costs in the kernel, beside what it costs at least.

mod bed;
mod beside;
pub(crate) mod frame;
pub(crate) mod layout;
mod memory;
mod plots;
pub(crate) mod rig;
mod rows;
mod subject;
mod subjects;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use self::{
    bed::{Bed, Extent, MAIN},
    beside::{Beside, Named, Template},
    frame::{ACK, Flows, Packet},
    layout::Plan,
    subject::{ESTABLISHED, Fate, Subject, Under},
    subjects::HOT,
};
use crate::{
    progress::Progress,
    report::{Output, Peer, Report, Series},
    shuffle::Shuffle,
    stats,
};

/// Packets of a timed run: at most one percent of its time is its beginning.
const PACKETS: u32 = 200_000;

/// Options of the sub-command.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir-bench program --html program.html
  weir-bench program --only 'xdp new flow'              only these, and their stubs
  weir-bench program --beside katran.bpf.o:balancer     another program, with packets of our TCP flows
  weir-bench program --beside my.o:prog --frame 0200..  with a frame of its own")]
pub(crate) struct Options {
    /// Rounds; each measures everything once, in another order
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// Two short rounds, fewer flows: is everything still in one piece?
    #[arg(long)]
    quick: bool,
    /// Measure only what has this in its name, for a profiler for one
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Decides the order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The object under test
    #[arg(long, value_name = "FILE", default_value = crate::OBJECT)]
    object: PathBuf,
    /// The object with the floors
    #[arg(long, value_name = "FILE", default_value = crate::FLOORS)]
    floors: PathBuf,
    /// Also time this XDP or TC program; its packets are of 64 TCP flows to 198.18.1.1:80
    #[arg(long, value_name = "OBJECT:PROGRAM")]
    beside: Option<Named>,
    /// What the program beside gets instead: a frame of at most 78 bytes, in hexadecimal digits
    #[arg(long, value_name = "HEX", requires = "beside")]
    frame: Option<Template>,
    #[command(flatten)]
    output: Output,
}

/// A subject and what it took.
struct Track {
    subject: Subject,
    /// Packets sent so far.
    used: u32,
    /// The runs of this round.
    runs: Vec<f64>,
    /// With its driver, by round.
    raw: Vec<f64>,
    /// What the last run returned.
    returned: u32,
}

impl Track {
    fn end_round(&mut self) {
        self.raw.push(stats::low_mean(&self.runs).unwrap_or(f64::NAN));
        self.runs.clear();
    }

    /// Nobody but the user can say whether what the program beside did is right.
    fn told(&self) -> Option<String> {
        let is_beside = matches!(self.subject.under, Under::Beside(_));
        is_beside.then(|| format!("the program beside returned {}", self.returned))
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let (rounds, calls) = if options.quick { (2, 2) } else { (options.rounds.max(1), 6) };
    let mut report = Report::begin("program", rounds, options.seed);
    let mut bed = Bed::load(&options.object, &options.floors, extent(options.quick))?;
    subjects::prepare(&mut bed)?;
    let mut subjects = subjects::list(&bed)?;
    if let Some(named) = &options.beside {
        let beside = Beside::load(named)?;
        subjects.push(beside_subject(&bed, &beside, options.frame));
        bed.beside = Some(beside);
    }
    if let Some(text) = &options.only {
        subjects.retain(|subject| subject.name.contains(text));
    }
    let (mut tracks, stubs) = tracks(&subjects);
    let mut shuffle = Shuffle::new(options.seed);
    let mut progress = Progress::new("program", rounds);
    for round in 1..=rounds {
        progress.step(&format!("round {round}"));
        for call in 0..calls {
            for index in shuffle.order(tracks.len()) {
                measure(&mut bed, &mut tracks[index], call)?;
            }
        }
        tracks.iter_mut().for_each(Track::end_round);
    }
    drop(progress);
    report.series = series(&tracks, &stubs);
    report.rows = rows::rows(&report.series, &bed)?;
    report.rows.extend(memory::rows(&bed.weirs[MAIN])?);
    report.plots = plots::plots(&report.series, &bed.extent)?;
    report.tables.push(plots::ladder(&report.series));
    report.notes.extend(tracks.iter().filter_map(Track::told));
    report.peers = peers(options);
    report.publish(&options.output)
}

/// How far the series go.
fn extent(quick: bool) -> Extent {
    let decades =
        |most: u32| (0..).map(|power| 10_u32.pow(power)).take_while(move |it| *it <= most);
    let (flows, services) = if quick { (1_000, 100) } else { (1_000_000, 10_000) };
    Extent { flows: decades(flows).collect(), services: decades(services).collect() }
}

/// The user's program, with packets of our flows or a frame of its own.
fn beside_subject(bed: &Bed, beside: &Beside, frame: Option<Template>) -> Subject {
    let packet = Packet { fixed: frame.map(|it| it.0), ..Packet::tcp(ACK, bed.tcp_v4()) };
    Subject {
        name: "beside".to_owned(),
        under: Under::Beside(beside.hook),
        packet,
        answer: None,
        flows: HOT,
        fate: Fate::Unknown,
        reason: None,
        rig: ESTABLISHED,
    }
}

fn peers(options: &Options) -> Vec<Peer> {
    let object = |name: &str, path: &Path| {
        let size = fs::metadata(path).map_or(0, |data| data.len());
        Peer::ours(name, format!("{}, {size} bytes", path.display()))
    };
    let mut peers = vec![object("weir", &options.object), object("floors", &options.floors)];
    if let Some(named) = &options.beside {
        let size = fs::metadata(&named.object).map_or(0, |data| data.len());
        let frame = if options.frame.is_some() { "a frame of its own" } else { "our TCP flows" };
        let config = format!("{named}, {size} bytes, with {frame}");
        peers.push(Peer { name: "beside".to_owned(), version: String::new(), config });
    }
    peers
}

/// All subjects, then the stubs they need; and which stub belongs to which subject.
fn tracks(subjects: &[Subject]) -> (Vec<Track>, Vec<usize>) {
    let mut all = subjects.to_vec();
    let mut stubs = Vec::new();
    for subject in subjects {
        let stub = subject.stub();
        let known = all.iter().skip(subjects.len()).position(|other| same_driver(other, &stub));
        stubs.push(subjects.len() + known.unwrap_or(all.len() - subjects.len()));
        if known.is_none() {
            all.push(stub);
        }
    }
    let track =
        |subject| Track { subject, used: 0, runs: Vec::new(), raw: Vec::new(), returned: 0 };
    (all.into_iter().map(track).collect(), stubs)
}

/// Whether two stubs measure the same work of a driver.
fn same_driver(one: &Subject, other: &Subject) -> bool {
    let kind = |subject: &Subject| {
        let plan = subject.plan();
        (subject.hook(), plan.shape, plan.flows == 0, plan.alternate)
    };
    kind(one) == kind(other)
}

/// One run of a subject. New flows take long, and a third of the runs tells as much.
fn measure(bed: &mut Bed, track: &mut Track, call: usize) -> Result<()> {
    let mut subject = track.subject.clone();
    if let Flows::Next(first) = subject.flows {
        if !call.is_multiple_of(3) {
            return Ok(());
        }
        subject.flows = Flows::Next(first + track.used);
        track.used += PACKETS;
    }
    let before = subject.counts(bed)?;
    let (fd, plan) = (bed.fd(&subject)?, subject.plan());
    if let Some(answer) = subject.answer {
        bed.rigs[subject.rig].answer_with(answer.plan(subject.flows))?;
    }
    let run = bed.rigs[subject.rig].run(subject.hook(), &fd, plan, PACKETS, 0)?;
    subject.prove(bed, &run, PACKETS, &before)?;
    track.runs.push(run.ns);
    track.returned = run.returned;
    Ok(())
}

/// Net times, then the drivers'.
fn series(tracks: &[Track], stubs: &[usize]) -> Vec<Series> {
    let mut series = Vec::new();
    for (track, stub) in tracks.iter().zip(stubs) {
        let drivers = &tracks[*stub].raw;
        let net = track.raw.iter().zip(drivers).map(|(raw, driver)| raw - driver).collect();
        series.push(Series { name: track.subject.name.clone(), unit: "ns", samples: net });
    }
    for track in tracks.iter().skip(stubs.len()) {
        let Plan { shape, alternate, .. } = track.subject.plan();
        let turns = if alternate == 0 { "" } else { ", in turn" };
        let name = format!("({}, frames of kind {shape}{turns})", track.subject.name);
        series.push(Series { name, unit: "ns", samples: track.raw.clone() });
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weir::Hook;

    fn subject(hook: Hook, flows: Flows) -> Subject {
        let packet = Packet::tcp(ACK, "198.18.1.1:80".parse().unwrap());
        let (under, fate) = (Under::Weir(hook, MAIN), Fate::ToBackend(4));
        let (name, rig) = ("it".to_owned(), ESTABLISHED);
        Subject { name, under, packet, answer: None, flows, fate, reason: None, rig }
    }

    #[test]
    fn subjects_share_the_stub_of_their_driver() {
        let subjects = [
            subject(Hook::Xdp, Flows::Among(0, 64)),
            subject(Hook::Tc, Flows::Among(0, 64)),
            subject(Hook::Xdp, Flows::Among(9, 1_000)),
            subject(Hook::Xdp, Flows::Next(5)),
        ];
        let (tracks, stubs) = tracks(&subjects);
        assert_eq!(stubs, [4, 5, 4, 6]);
        assert_eq!(tracks.len(), 7);
        assert!(tracks[4..].iter().all(|track| matches!(track.subject.under, Under::Floor(_))));
    }

    #[test]
    fn the_driver_is_subtracted_in_its_own_round() {
        let subjects = [subject(Hook::Xdp, Flows::Among(0, 64))];
        let (mut tracks, stubs) = tracks(&subjects);
        tracks[0].raw = vec![60.0, 130.0];
        tracks[1].raw = vec![22.0, 40.0];
        let series = series(&tracks, &stubs);
        assert_eq!(series[0].samples, [38.0, 90.0]);
        assert_eq!(series[1].samples, [22.0, 40.0]);
    }
}
