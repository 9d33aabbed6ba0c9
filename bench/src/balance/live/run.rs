//! One policy in one experiment.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use lb_userspace::admin::{names::BackendName, protocol::Request, report::Done};

use super::{
    arrivals,
    client::{self, Record},
    experiments::{Experiment, Load, Setting},
    record::{Figures, quantile},
    site::{self, BACKENDS, PAUSE, Site},
    watch::{Tick, Watch},
    way::Way,
};
use crate::shuffle::Shuffle;

/// What was seen.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) records: Vec<Record>,
    pub(crate) ticks: Vec<Tick>,
    /// Of E1.
    pub(crate) requests_per_s: Option<f64>,
}

impl Run {
    /// Figures of what counts.
    pub(crate) fn figures(&self, setting: &Setting) -> Option<Figures> {
        Figures::of(&self.records, setting.counts_from(), Duration::from_secs_f64(setting.seconds))
    }
}

/// Does it, on a site of its own.
pub(crate) fn run(
    experiment: Experiment,
    way: Way,
    setting: &Setting,
    seed: u64,
    probes: u32,
) -> Result<Run> {
    let order =
        Shuffle::new(seed).order(BACKENDS).try_into().unwrap_or(std::array::from_fn(|it| it));
    let mut site = Site::build(way, setting, order)?;
    if experiment == Experiment::E1 {
        return throughput(&mut site, setting, seed, probes);
    }
    let (records, ticks) = send(&mut site, setting, seed)?;
    Ok(Run { records, ticks, requests_per_s: None })
}

/// Sends the load, and makes happen meanwhile what the setting says.
fn send(site: &mut Site, setting: &Setting, seed: u64) -> Result<(Vec<Record>, Vec<Tick>)> {
    let arrive_s = setting.arrive_s.unwrap_or(setting.seconds);
    let arrivals = arrivals::draw(setting.kinds, setting.requests_per_s(), arrive_s, seed);
    let watch = Watch::start(site.socket().to_owned(), site.order());
    let seconds = Duration::from_secs_f64(setting.seconds);
    let clients = client::start(site.client(), site::vip(), arrivals, seconds)?;
    let begin = Instant::now();
    let wait_until = |at_s: f64| {
        thread::sleep(Duration::from_secs_f64(at_s).saturating_sub(begin.elapsed()));
    };
    if let Some(slow) = setting.slow {
        wait_until(slow.from_s);
        site.slow_down(slow.backend, slow.factor)?;
        wait_until(slow.to_s);
        site.slow_down(slow.backend, 1.0)?;
    }
    if let Some(at_s) = setting.dies_at_s {
        wait_until(at_s);
        site.kill_daemon()?;
    }
    if setting.reweigh {
        let mut second = 0_u16;
        while begin.elapsed() < seconds {
            reweigh(site, second)?;
            second += 1;
            wait_until(f64::from(second));
        }
    }
    Ok((clients.finish()?, watch.finish()?))
}

/// Gives the backends other weights, a different one of them the largest each time.
fn reweigh(site: &Site, second: u16) -> Result<()> {
    for number in 0..BACKENDS {
        let turned = (number + usize::from(second)) % BACKENDS;
        let weight = u16::try_from(1 + 2 * turned)?;
        let endpoint = site.endpoint(number);
        let backend = BackendName { address: endpoint.ip(), port: endpoint.port(), protocol: None };
        let request = Request::Weight { service: "web".into(), backend, weight: Some(weight) };
        let _done: Done = site.ask(&request)?;
    }
    Ok(())
}

/// A 99th percentile of ten times what the fastest backend takes alone is the most that is borne.
const BOUND: f64 = 10.0;
/// The 99th percentile of the work, of its mean: lognormal with a variation of 1.5.
const WORK_P99: f64 = 6.93;

/// The bound of E1 in ms.
pub(crate) fn bound_ms() -> f64 {
    BOUND * WORK_P99 * 1e3 * arrivals::WORK_S / site::FASTEST_CPUS
}

/// Requests a second at the highest load whose 99th percentile stays within the bound, by halving
/// what is between a load that is borne and one that is not.
fn throughput(site: &mut Site, setting: &Setting, seed: u64, probes: u32) -> Result<Run> {
    let (mut low, mut high) = (0.25, 1.05);
    let (mut records, mut ticks) = (Vec::new(), Vec::new());
    for probe in 0..probes {
        let middle = f64::midpoint(low, high);
        let setting = Setting { load: Load::Part(middle), ..*setting };
        let (sent, seen) = send(site, &setting, seed.wrapping_add(u64::from(probe)))?;
        if p99_ms(&sent, &setting) <= bound_ms() {
            low = middle;
        } else {
            high = middle;
        }
        records.extend(sent);
        ticks.extend(seen);
        thread::sleep(PAUSE);
    }
    Ok(Run { records, ticks, requests_per_s: Some(low * site::capacity()) })
}

fn p99_ms(records: &[Record], setting: &Setting) -> f64 {
    let due = records.iter().filter(|it| it.due >= setting.counts_from());
    let mut took: Vec<f64> = due.map(|it| 1e3 * it.took.as_secs_f64()).collect();
    took.sort_unstable_by(f64::total_cmp);
    quantile(&took, 0.99).unwrap_or(f64::INFINITY)
}
