//! `weir-bench program`: what a packet costs in the kernel, beside what it costs at least.

mod bed;
pub(crate) mod frame;
pub(crate) mod layout;
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
    bed::Bed,
    frame::Flows,
    subject::{Counts, Subject},
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
pub(crate) struct Options {
    /// Rounds; each measures everything once, in another order
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// Three short rounds: is everything still in one piece?
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
}

impl Track {
    fn end_round(&mut self) {
        self.raw.push(stats::low_mean(&self.runs).unwrap_or(f64::NAN));
        self.runs.clear();
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let (rounds, calls) = if options.quick { (3, 2) } else { (options.rounds.max(1), 6) };
    let mut report = Report::begin("program", rounds, options.seed);
    let mut bed = Bed::load(&options.object, &options.floors)?;
    subjects::prepare(&mut bed)?;
    let mut subjects = subjects::list(&bed)?;
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
    report.rows = rows::rows(&report.series, &bed.weir)?;
    report.peers = peers(options);
    report.publish(&options.output)
}

fn peers(options: &Options) -> Vec<Peer> {
    let object = |name: &str, path: &Path| {
        let size = fs::metadata(path).map_or(0, |data| data.len());
        Peer::ours(name, format!("{}, {size} bytes", path.display()))
    };
    vec![object("weir", &options.object), object("floors", &options.floors)]
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
    let track = |subject| Track { subject, used: 0, runs: Vec::new(), raw: Vec::new() };
    (all.into_iter().map(track).collect(), stubs)
}

/// Whether two stubs measure the same work of a driver.
fn same_driver(one: &Subject, other: &Subject) -> bool {
    let kind = |subject: &Subject| {
        let plan = subject.packet.plan(subject.flows);
        (subject.hook(), plan.shape, plan.flows == 0)
    };
    kind(one) == kind(other)
}

/// One run of a subject. New flows take long, and a third of the runs tells as much.
fn measure(bed: &mut Bed, track: &mut Track, call: usize) -> Result<()> {
    let mut subject = track.subject;
    if let Flows::Next(first) = subject.flows {
        if !call.is_multiple_of(3) {
            return Ok(());
        }
        subject.flows = Flows::Next(first + track.used);
        track.used += PACKETS;
    }
    let before = Counts::read(bed, subject.rig)?;
    let (fd, plan) = (bed.fd(&subject)?, subject.packet.plan(subject.flows));
    let run = bed.rigs[subject.rig].run(subject.hook(), &fd, plan, PACKETS, 0)?;
    subject.prove(bed, &run, PACKETS, &before)?;
    track.runs.push(run.ns);
    Ok(())
}

/// Net times, then the drivers'.
fn series(tracks: &[Track], stubs: &[usize]) -> Vec<Series> {
    let mut series = Vec::new();
    for (track, stub) in tracks.iter().zip(stubs) {
        let drivers = &tracks[*stub].raw;
        let net = track.raw.iter().zip(drivers).map(|(raw, driver)| raw - driver).collect();
        series.push(Series { name: track.subject.name.to_owned(), unit: "ns", samples: net });
    }
    for track in tracks.iter().skip(stubs.len()) {
        let shape = track.subject.packet.plan(track.subject.flows).shape;
        let name = format!("({}, frames of kind {shape})", track.subject.name);
        series.push(Series { name, unit: "ns", samples: track.raw.clone() });
    }
    series
}

#[cfg(test)]
mod tests {
    use super::{
        frame::{ACK, Packet},
        subject::{ESTABLISHED, Fate, Under},
        *,
    };
    use crate::weir::Hook;

    fn subject(hook: Hook, flows: Flows) -> Subject {
        let packet = Packet::tcp(ACK, "198.18.1.1:80".parse().unwrap());
        let (under, fate) = (Under::Weir(hook), Fate::ToBackend(4));
        Subject { name: "it", under, packet, flows, fate, reason: None, rig: ESTABLISHED }
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
