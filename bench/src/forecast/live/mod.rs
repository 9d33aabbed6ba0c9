//! `weir-bench forecast --live`: a ramp from two to eight real replicas, once with the rule of
//! Kubernetes and once with the forecast, in turn.
//!
//! Time is compressed: a bucket of two seconds stands for one of fifteen, a replica that starts in
//! eight seconds for one that starts in a minute. The engine makes containers as fast as it can, which
//! takes one of these seconds.

mod load;
mod site;

use std::{
    fs,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use lb_userspace::{
    cli::table::{Align, Table},
    lab::vip_v4,
    plot::{GREY, Line, Lines, SERIES, Stroke},
};
use serde::Serialize;

use self::{
    load::{Ramp, Run, Sent},
    site::{REPLICAS, Site},
};
use super::Options;
use crate::{
    progress::Progress,
    report::{self, Bar, Better, Plot, Report, Row},
    shuffle::Shuffle,
};

/// Requests a second that a replica can take.
const CAPACITY: u32 = 50;
/// What everybody aims at.
const TARGET_PERCENT: u32 = 80;
/// How long the program of a new replica needs until it listens, in milliseconds.
const START_MS: u32 = 7000;
/// How often the daemon is asked.
const STEP: Duration = Duration::from_millis(250);
/// It doubles in two minutes of compressed time.
const RAMP: Ramp =
    Ramp { base: 78.0, peak: 318.0, doubling_s: 16.0, calm_s: 24.0, plateau_s: 26.0 };

/// What decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scaler {
    /// Kubernetes' rule on the offered load.
    Hpa,
    /// Weir's without a forecast.
    Last,
    /// Weir's with the grey model.
    Grey,
}

impl Scaler {
    const ALL: [Self; 3] = [Self::Hpa, Self::Last, Self::Grey];

    const fn name(self) -> &'static str {
        match self {
            Self::Hpa => "HPA, offered load",
            Self::Last => "Weir, no forecast",
            Self::Grey => "Weir, grey model",
        }
    }
}

/// A moment of a run.
#[derive(Clone, Copy, Debug, Serialize)]
struct Moment {
    at_s: f64,
    offered: f64,
    desired: u32,
    replicas: u32,
    healthy: u32,
}

/// What came of a run.
#[derive(Clone, Debug, Serialize)]
struct Outcome {
    scaler: Scaler,
    round: usize,
    requests: usize,
    lost: usize,
    /// When these were due.
    lost_at_s: Vec<f64>,
    /// Seconds with more load than capacity.
    short_s: f64,
    /// Seconds from the top of the ramp until there was enough capacity; none if there never was.
    late_s: Option<f64>,
    /// When the last replica was asked for, from the beginning of the ramp.
    asked_s: Option<f64>,
    replica_seconds: f64,
    /// What went wrong with replicas.
    failures: u64,
    moments: Vec<Moment>,
}

/// Runs everything, prints, draws.
pub(super) fn run(options: &Options) -> Result<()> {
    let mut report = Report::begin("forecast --live", options.rounds(), options.seed);
    let mut progress = Progress::new("forecast", Scaler::ALL.len() * options.rounds());
    let mut shuffle = Shuffle::new(options.seed);
    let mut outcomes = Vec::new();
    for round in 0..options.rounds() {
        for at in shuffle.order(Scaler::ALL.len()) {
            let Some(scaler) = Scaler::ALL.get(at) else { continue };
            progress.step(scaler.name());
            outcomes.push(one(*scaler, round)?);
        }
    }
    drop(progress);
    report.rows = rows(&outcomes);
    report.tables.push(table(&outcomes));
    let lines = picture(&outcomes);
    report.plots.push(Plot { svg: lines.svg()?, title: lines.title });
    if let (Some(path), Some(plot)) = (&options.plot, report.plots.first()) {
        fs::write(path, &plot.svg).with_context(|| format!("cannot write {}", path.display()))?;
    }
    report.details = serde_json::json!({ "outcomes": outcomes });
    report.publish(&options.output)
}

/// One ramp on a host of its own.
fn one(scaler: Scaler, round: usize) -> Result<Outcome> {
    let site = Site::new(scaler)?;
    let to = SocketAddr::new(vip_v4(1).into(), 80);
    let run = Run::start(site.lab.client(), to, RAMP)?;
    let (mut moments, mut next) = (Vec::new(), run.begin);
    let mut failures = 0;
    while run.begin.elapsed().as_secs_f64() < RAMP.end_s() {
        let told = site.told()?;
        let at_s = run.begin.elapsed().as_secs_f64();
        let desired = told.desired.unwrap_or(REPLICAS.0);
        let (replicas, healthy) = (told.replicas, told.healthy);
        moments.push(Moment { at_s, offered: RAMP.rate(at_s), desired, replicas, healthy });
        failures = told.failed;
        next += STEP;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let sent = run.finish()?;
    site.finish()?;
    Ok(Outcome { failures, ..outcome(scaler, round, &sent, moments) })
}

fn outcome(scaler: Scaler, round: usize, sent: &[Sent], moments: Vec<Moment>) -> Outcome {
    let capacity = |moment: &Moment| f64::from(moment.healthy) * f64::from(CAPACITY);
    let spans = || moments.windows(2).filter_map(|pair| Some((pair.first()?, pair.get(1)?)));
    let sum = |weight: &dyn Fn(&Moment) -> f64| -> f64 {
        spans().map(|(one, next)| weight(one) * (next.at_s - one.at_s)).sum()
    };
    let short_s = sum(&|it| f64::from(u8::from(it.offered > capacity(it))));
    let replica_seconds = sum(&|it| f64::from(it.replicas));
    let enough = moments.iter().find(|it| it.at_s >= RAMP.top_s() && it.offered <= capacity(it));
    let lost = || sent.iter().filter(|it| !it.answered);
    let asked = moments.iter().find(|it| it.desired >= REPLICAS.1);
    Outcome {
        scaler,
        round,
        requests: sent.len(),
        lost: lost().count(),
        lost_at_s: lost().map(|it| it.at_s).collect(),
        short_s,
        late_s: enough.map(|it| it.at_s - RAMP.top_s()),
        asked_s: asked.map(|it| it.at_s - RAMP.calm_s),
        replica_seconds,
        failures: 0,
        moments,
    }
}

fn table(outcomes: &[Outcome]) -> report::Table {
    let mut table = Table::new(&[
        ("SCALER", Align::Left),
        ("ROUND", Align::Right),
        ("REQUESTS", Align::Right),
        ("LOST", Align::Right),
        ("LOST %", Align::Right),
        ("SHORT s", Align::Right),
        ("LATE s", Align::Right),
        ("ASKED s", Align::Right),
        ("REPLICA-SECONDS", Align::Right),
    ]);
    for scaler in Scaler::ALL {
        for it in outcomes.iter().filter(|it| it.scaler == scaler) {
            let seconds =
                |time: Option<f64>| time.map_or("never".to_owned(), |time| format!("{time:.1}"));
            table.row([
                scaler.name().into(),
                (it.round + 1).to_string().into(),
                it.requests.to_string().into(),
                it.lost.to_string().into(),
                format!("{:.2}", percent(it)).into(),
                format!("{:.1}", it.short_s).into(),
                seconds(it.late_s).into(),
                seconds(it.asked_s).into(),
                format!("{:.0}", it.replica_seconds).into(),
            ]);
        }
    }
    let (from, to) = REPLICAS;
    report::Table {
        title: format!(
            "a ramp from {from} to {to} replicas that doubles in {} s; 2 s stand for 15",
            RAMP.doubling_s
        ),
        text: table.render(false),
    }
}

fn percent(outcome: &Outcome) -> f64 {
    let [lost, all] = [outcome.lost, outcome.requests.max(1)].map(real);
    100.0 * lost / all
}

#[expect(clippy::cast_precision_loss, reason = "requests of a minute")]
const fn real(count: usize) -> f64 {
    count as f64
}

/// A figure of a run.
type Figure = fn(&Outcome) -> f64;

/// The grey model beside the others, by round.
fn rows(outcomes: &[Outcome]) -> Vec<Row> {
    let of = |scaler: Scaler, figure: Figure| -> Vec<f64> {
        let mut own: Vec<_> = outcomes.iter().filter(|it| it.scaler == scaler).collect();
        own.sort_by_key(|it| it.round);
        own.into_iter().map(figure).collect()
    };
    // Who was never there in time was late for as long as anybody looked.
    let late: Figure = |it| it.late_s.unwrap_or(RAMP.plateau_s);
    let figures: [(&str, Figure, Option<f64>); 4] = [
        ("requests lost", percent, Some(0.3)),
        ("time to capacity after the top", late, Some(0.6)),
        ("time with too few replicas", |it| it.short_s, Some(0.5)),
        ("replica-seconds", |it| it.replica_seconds, None),
    ];
    let mut rows = Vec::new();
    for other in [Scaler::Hpa, Scaler::Last] {
        for (what, figure, must) in figures {
            let must = must.filter(|_| other == Scaler::Hpa);
            let bar = must.map(|must| Bar { better: Better::Lower, must: Some(must), aim: None });
            let what = format!("live ramp: {what}, grey / {}", other.name());
            let (grey, others) = (of(Scaler::Grey, figure), of(other, figure));
            rows.extend(Row::quotient("E9", what, &grey, &others, bar));
        }
    }
    rows
}

/// The replicas of the first round over time, and what the load needs.
fn picture(outcomes: &[Outcome]) -> Lines {
    let first = || outcomes.iter().filter(|it| it.round == 0);
    let needed = first().next().map_or_else(Vec::new, |it| {
        let need = |moment: &Moment| (moment.at_s, moment.offered / f64::from(CAPACITY));
        it.moments.iter().map(need).collect()
    });
    let mut lines = vec![Line {
        name: "needed".to_owned(),
        colour: GREY,
        stroke: Stroke::Dashed,
        points: needed,
    }];
    for (scaler, colour) in Scaler::ALL.into_iter().zip(SERIES) {
        let own = first().find(|it| it.scaler == scaler);
        let points = own.map_or_else(Vec::new, |it| {
            it.moments.iter().map(|moment| (moment.at_s, f64::from(moment.healthy))).collect()
        });
        let lost = own.map_or(0, |it| it.lost);
        let name = format!("{}: {lost} requests lost", scaler.name());
        lines.push(Line { name, colour, stroke: Stroke::Solid, points });
    }
    Lines {
        title: "replicas that serve, and the load in replicas; 2 s stand for 15".to_owned(),
        x: "seconds".to_owned(),
        y: "replicas".to_owned(),
        lines,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(at_s: f64, desired: u32, healthy: u32) -> Moment {
        Moment { at_s, offered: RAMP.rate(at_s), desired, replicas: desired, healthy }
    }

    #[test]
    fn a_run_is_summed_up() {
        let top = RAMP.top_s();
        let moments = vec![
            moment(0.0, 2, 2),
            moment(RAMP.calm_s, 2, 2),
            moment(RAMP.calm_s + 8.0, 8, 2),
            moment(top, 8, 4),
            moment(top + 2.0, 8, 7),
            moment(top + 4.0, 8, 8),
        ];
        let sent = [true, false, true, true].map(|answered| Sent { at_s: 4.5, answered });
        let it = outcome(Scaler::Grey, 0, &sent, moments);
        assert_eq!((it.requests, it.lost, &it.lost_at_s[..]), (4, 1, &[4.5][..]));
        assert!((percent(&it) - 25.0).abs() < 1e-9);
        // From a doubled load on two replicas until seven are there.
        assert!((it.short_s - (top - RAMP.calm_s - 8.0 + 2.0)).abs() < 1e-9, "{}", it.short_s);
        assert_eq!((it.late_s, it.asked_s), (Some(2.0), Some(8.0)));
    }

    #[test]
    fn who_never_has_enough_is_late_to_the_end() {
        let moments = vec![moment(0.0, 2, 2), moment(RAMP.end_s(), 2, 2)];
        let it = outcome(Scaler::Hpa, 0, &[], moments);
        assert_eq!((it.late_s, it.asked_s), (None, None));
        let rows = rows(&[it.clone(), Outcome { scaler: Scaler::Grey, ..it }]);
        let late = rows.iter().find(|row| row.what.contains("time to capacity")).unwrap();
        assert!((late.value.median - 1.0).abs() < 1e-9);
    }

    #[test]
    fn the_ramp_needs_all_replicas() {
        let each = f64::from(CAPACITY * TARGET_PERCENT) / 100.0;
        assert!((RAMP.base / each).ceil() <= f64::from(REPLICAS.0));
        assert!((RAMP.peak / each - f64::from(REPLICAS.1)).abs() < 0.5);
    }
}
