//! The algorithm of Kubernetes' `HorizontalPodAutoscaler`, with its defaults ("Algorithm details"
//! of its documentation): the comparator of the scaler, and its guard.

use std::time::{Duration, Instant};

use super::{Behaviour, History, replicas_for};

/// How long a pod's first CPU figures are distrusted.
const CPU_INITIALISATION: Duration = Duration::from_mins(5);
/// How long after its start a pod that is not ready has never been.
const INITIAL_READINESS: Duration = Duration::from_secs(30);
/// Requests are counted in thousandths.
const MILLI: u64 = 1000;

/// A replica, and what it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pod {
    /// When it was started.
    pub started: Instant,
    /// Whether it has not even begun to run.
    pub pending: bool,
    /// Whether it takes requests.
    pub ready: bool,
    /// Since when that is so.
    pub since: Instant,
    /// What was measured last.
    pub sample: Option<Sample>,
}

/// What a replica used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// In thousandths of what it is entitled to.
    pub milli: u64,
    /// When.
    pub at: Instant,
    /// Over which time before that.
    pub window: Duration,
}

/// Why there is no proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HpaError {
    /// There are no replicas.
    #[error("there are no replicas")]
    NoPods,
    /// None of those that are ready was measured.
    #[error("no replica that is ready was measured")]
    NoSamples,
}

/// A number of replicas, and what it was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// How many there should be.
    pub replicas: u32,
    /// The mean use of those that were measured.
    pub percent: u64,
}

/// Proposes by utilisation. Who was not measured counts as fully used before replicas are taken
/// away and as unused before some are added; who is not ready counts as unused before some are
/// added. A proposal that turns round by that is none.
pub fn by_utilisation(
    pods: &[Pod],
    now: Instant,
    current: u32,
    target_percent: u64,
    tolerance: f64,
) -> Result<Proposal, HpaError> {
    if pods.is_empty() {
        return Err(HpaError::NoPods);
    }
    let Groups { used, unready, missing } = Groups::of(pods, now);
    if used.is_empty() {
        return Err(HpaError::NoSamples);
    }
    let percent = mean_percent(&used);
    let ratio = ratio(percent, target_percent);
    let keep = Ok(Proposal { replicas: current, percent });
    let propose = |ratio: f64, pods: usize| {
        let replicas = replicas_for(ratio * crate::forecast::real(pods), 1.0);
        Proposal { replicas, percent }
    };
    let grows_with_unready = unready > 0 && ratio > 1.0;
    if !grows_with_unready && missing == 0 {
        return if within(ratio, tolerance) { keep } else { Ok(propose(ratio, used.len())) };
    }
    let mut all = used;
    if ratio < 1.0 {
        let full = target_percent.max(100) * MILLI / 100;
        all.extend(std::iter::repeat_n(full, missing));
    } else if ratio > 1.0 {
        all.extend(std::iter::repeat_n(0, missing));
    }
    if grows_with_unready {
        all.extend(std::iter::repeat_n(0, unready));
    }
    let again = self::ratio(mean_percent(&all), target_percent);
    let turned = (ratio < 1.0 && again > 1.0) || (ratio > 1.0 && again < 1.0);
    if within(again, tolerance) || turned {
        return keep;
    }
    let proposal = propose(again, all.len());
    let crossed = (again < 1.0 && proposal.replicas > current)
        || (again > 1.0 && proposal.replicas < current);
    if crossed { keep } else { Ok(proposal) }
}

/// Proposes by a load that is shared by all replicas, as for an external metric with an average
/// value. None if the load, or what a replica may have of it, is no usable number.
#[must_use]
pub fn by_load(load: f64, per_replica: f64, current: u32, tolerance: f64) -> Option<u32> {
    let usable = load.is_finite() && load >= 0.0 && per_replica.is_finite() && per_replica > 0.0;
    if !usable {
        return None;
    }
    let ratio = load / (per_replica * f64::from(current));
    Some(if within(ratio, tolerance) { current } else { replicas_for(load, per_replica) })
}

/// The pods by what their figures are worth.
struct Groups {
    used: Vec<u64>,
    unready: usize,
    missing: usize,
}

impl Groups {
    fn of(pods: &[Pod], now: Instant) -> Self {
        let mut groups = Self { used: Vec::new(), unready: 0, missing: 0 };
        for pod in pods {
            match pod.sample {
                _ if pod.pending => groups.unready += 1,
                None => groups.missing += 1,
                Some(sample) if pod.is_unready(&sample, now) => groups.unready += 1,
                Some(sample) => groups.used.push(sample.milli),
            }
        }
        groups
    }
}

impl Pod {
    fn is_unready(&self, sample: &Sample, now: Instant) -> bool {
        if now < self.started + CPU_INITIALISATION {
            return !self.ready || sample.at < self.since + sample.window;
        }
        !self.ready && self.started + INITIAL_READINESS > self.since
    }
}

/// In whole percent, as the original counts.
fn mean_percent(used: &[u64]) -> u64 {
    let sum: u64 = used.iter().fold(0, |sum, milli| sum.saturating_add(*milli));
    let requested = MILLI * used.len().max(1) as u64;
    sum.saturating_mul(100) / requested
}

fn ratio(percent: u64, target_percent: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "percents are small")]
    let [percent, target] = [percent as f64, target_percent.max(1) as f64];
    percent / target
}

/// Whether a change would be too small.
fn within(ratio: f64, tolerance: f64) -> bool {
    ratio >= 1.0 - tolerance && ratio <= 1.0 + tolerance
}

/// A whole autoscaler for one metric.
#[derive(Clone, Debug)]
pub struct Hpa {
    min: u32,
    max: u32,
    behaviour: Behaviour,
    history: History,
}

impl Hpa {
    /// One with the default behaviour.
    #[must_use]
    pub fn new(min: u32, max: u32) -> Self {
        Self::with(min, max, Behaviour::default())
    }

    /// One with a `behavior`.
    #[must_use]
    pub fn with(min: u32, max: u32, behaviour: Behaviour) -> Self {
        Self { min, max, behaviour, history: History::default() }
    }

    /// There are so many, whoever asked for them.
    pub fn begin(&mut self, now: Instant, current: u32) {
        self.history.begin(now, current);
    }

    /// The number of replicas after a proposal; without one it stays within its bounds.
    pub fn decide(&mut self, now: Instant, current: u32, proposal: Option<u32>) -> u32 {
        let desired = match proposal {
            // Somebody switched the workload off.
            _ if current == 0 && self.min > 0 => return 0,
            _ if current > self.max => self.max,
            _ if current < self.min => self.min,
            None => current,
            Some(wanted) => {
                let Behaviour { up, down } = &self.behaviour;
                let windows = [up.window, down.window];
                let stable = self.history.stabilise(now, current, wanted, windows);
                let limited = self.history.limit(now, current, stable, &self.behaviour);
                limited.clamp(self.min.min(self.max), self.max)
            }
        };
        self.history.changed(now, current, desired);
        self.history.forget(now, &self.behaviour);
        desired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Instant {
        Instant::now() + Duration::from_hours(1)
    }

    /// Ready for long, just measured.
    fn old(now: Instant, milli: u64) -> Pod {
        let started = now.checked_sub(Duration::from_mins(20)).unwrap();
        let sample = Sample { milli, at: now, window: Duration::from_secs(15) };
        Pod { started, pending: false, ready: true, since: started, sample: Some(sample) }
    }

    fn unmeasured(now: Instant) -> Pod {
        Pod { sample: None, ..old(now, 0) }
    }

    /// Started half a minute ago, and not ready yet.
    fn young(now: Instant, milli: u64) -> Pod {
        let started = now.checked_sub(Duration::from_secs(30)).unwrap();
        Pod { started, ready: false, since: started, ..old(now, milli) }
    }

    #[test]
    fn proposals_by_utilisation() {
        let now = base();
        let pods = |used: &[u64], missing, unready| -> Vec<Pod> {
            let used = used.iter().map(|&milli| old(now, milli));
            let missing = std::iter::repeat_n(unmeasured(now), missing);
            let unready = std::iter::repeat_n(young(now, 900), unready);
            used.chain(missing).chain(unready).collect()
        };
        #[rustfmt::skip]
        let cases = [
            // used, missing, unready, current, target: replicas
            (&[300, 500, 700][..],      0, 0, 3, 30, 5),  // the example of its tests
            (&[500, 500],               0, 0, 2, 50, 2),
            (&[549, 549],               0, 0, 2, 50, 2),  // 54 %: within the tolerance
            (&[559, 559],               0, 0, 2, 50, 2),  // 55 %: just
            (&[560, 560],               0, 0, 2, 50, 3),
            (&[449, 449],               0, 0, 2, 50, 2),  // 44 %: ceil(1.76)
            (&[100, 100, 100, 100],     0, 0, 4, 50, 1),
            (&[0, 0],                   0, 0, 2, 50, 0),
            // Missing ones are unused before growth.
            (&[900, 900],               1, 0, 3, 50, 4),
            (&[600, 600],               1, 0, 3, 50, 3),  // 40 %: turned round, keep
            // Missing ones are fully used before shrinking.
            (&[100, 100, 100],          1, 0, 4, 50, 3),
            (&[300, 300],               2, 0, 4, 50, 4),  // 65 %: turned round, keep
            (&[200, 200],               1, 0, 3, 50, 3),  // 46 %: within the tolerance
            // Unready ones are unused before growth, and not there otherwise.
            (&[900],                    0, 1, 2, 50, 2),  // 45 %: keep
            (&[1000, 1000],             0, 1, 3, 50, 4),
            (&[100, 100],               0, 2, 4, 50, 1),
            // Only who was measured is counted, whatever the current number.
            (&[600, 600],               0, 0, 5, 50, 3),
        ];
        for (used, missing, unready, current, target, expected) in cases {
            let pods = pods(used, missing, unready);
            let proposal = by_utilisation(&pods, now, current, target, 0.1).unwrap();
            assert_eq!(proposal.replicas, expected, "{used:?} {missing} {unready} {target}");
        }
    }

    #[test]
    fn nobody_measured_is_an_error() {
        let now = base();
        for (pods, error) in [
            (vec![], HpaError::NoPods),
            (vec![unmeasured(now)], HpaError::NoSamples),
            (vec![young(now, 900), young(now, 900)], HpaError::NoSamples),
            (vec![Pod { pending: true, ..old(now, 900) }], HpaError::NoSamples),
        ] {
            assert_eq!(by_utilisation(&pods, now, 2, 50, 0.1).unwrap_err(), error);
        }
    }

    #[test]
    fn figures_of_young_pods_are_distrusted() {
        let now = base();
        let ago = |seconds| now.checked_sub(Duration::from_secs(seconds)).unwrap();
        #[rustfmt::skip]
        let cases = [
            // started, ready, since, sampled (seconds ago): unready
            (1000, true,  1000, 0,  false),
            (1000, false, 500,  0,  false),  // was ready once: its figures count
            (1000, false, 980,  0,  true),   // never was
            (60,   false, 60,   0,  true),
            (60,   true,  20,   0,  false),
            (60,   true,  20,   10, true),   // the sample began before it was ready
            (299,  true,  10,   0,  true),
            (300,  true,  10,   0,  false),
        ];
        for (started, ready, since, sampled, expected) in cases {
            let sample = Sample { milli: 0, at: ago(sampled), window: Duration::from_secs(15) };
            let pod = Pod {
                started: ago(started),
                pending: false,
                ready,
                since: ago(since),
                sample: Some(sample),
            };
            assert_eq!(pod.is_unready(&sample, now), expected, "{started} {ready} {since}");
        }
    }

    #[test]
    fn proposals_by_load() {
        #[rustfmt::skip]
        let cases = [
            (400.0, 100.0, 4, Some(4)),
            (440.0, 100.0, 4, Some(4)),  // within the tolerance
            (441.0, 100.0, 4, Some(5)),
            (359.0, 100.0, 4, Some(4)),  // outside, but four are needed
            (300.0, 100.0, 4, Some(3)),
            (0.0,   100.0, 4, Some(0)),
            (50.0,  100.0, 0, Some(1)),
            (0.0,   100.0, 0, Some(0)),
            (1e300, 1e-300, 1, Some(u32::MAX)),
            (f64::NAN, 100.0, 4, None),
            (f64::INFINITY, 100.0, 4, None),
            (-1.0, 100.0, 4, None),
            (100.0, 0.0, 4, None),
            (100.0, f64::NAN, 4, None),
            (100.0, -5.0, 4, None),
        ];
        for (load, each, current, expected) in cases {
            assert_eq!(by_load(load, each, current, 0.1), expected, "{load} {each} {current}");
        }
    }

    #[test]
    fn an_autoscaler_is_held_back_by_windows_rates_and_bounds() {
        let start = base();
        let mut hpa = Hpa::new(2, 20);
        for (second, current, proposal, expected) in [
            (0, 2, Some(50), 6),
            (15, 6, Some(50), 12),
            (30, 12, Some(50), 20),
            (45, 20, Some(1), 20),
            (300, 20, None, 20),
            (329, 20, Some(1), 20),
            (330, 20, Some(1), 2),
            (345, 30, Some(25), 20),
            (360, 1, Some(1), 2),
            (375, 0, Some(9), 0),
        ] {
            let now = start + Duration::from_secs(second);
            assert_eq!(hpa.decide(now, current, proposal), expected, "at {second}");
        }
    }
}
