//! Averages that remember a number of turns instead of a time.
//!
//! A backend with a thousand turns a second tells its utilisation in a tick, one with five a
//! second needs half a minute. So the time constant is what it takes to see
//! [`Settings::memory_turns`] turns, within limits. All averages of a backend share it: the
//! capacity is a ratio of averages, whose common bias cancels, never an average of ratios.

use super::{
    sample::{Resource, Sample, Traffic, approximate},
    settings::Settings,
};

/// An exponentially weighted mean that is right from its first value on: the weights given so far
/// are summed up and divided out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Mean {
    sum: f64,
    mass: f64,
}

impl Mean {
    /// Takes a value; `alpha` is its part of the mean.
    pub(crate) fn push(&mut self, value: f64, alpha: f64) {
        self.sum += alpha * (value - self.sum);
        self.mass += alpha * (1.0 - self.mass);
    }

    /// The mean; `None` before the first value.
    pub(crate) fn get(&self) -> Option<f64> {
        (self.mass > 0.0).then(|| self.sum / self.mass)
    }
}

/// A queue of more turns a server is saturation, however many it has. A mean that remembered how many
/// would speak of saturation long after the queue is gone.
const QUEUE_MAX: f64 = 20.0;

/// The averages of one backend.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Averages {
    turns_per_s: Mean,
    in_flight: Mean,
    /// The same without its extremes.
    queue: Mean,
    resources: [Mean; Resource::ALL.len()],
    reported: Mean,
    /// Seconds remembered; turns, attempts and failures in them.
    seconds: f64,
    turns: f64,
    attempts: f64,
    failures: f64,
    /// Ticks of short memory that remain.
    alert: u32,
}

impl Averages {
    /// Takes the tick of `dt_s` seconds. Readings too old to be fresh leave their mean as it is;
    /// those that are gone take it with them. Says whether there was usable traffic.
    pub(crate) fn push(&mut self, sample: &Sample, dt_s: f64, settings: &Settings) -> bool {
        let Some(traffic) = sample.traffic.plausible() else { return false };
        let alpha = self.alpha(traffic, dt_s, settings);
        self.alert = self.alert.saturating_sub(1);
        self.count(traffic, alpha);
        self.turns_per_s.push(traffic.turns_per_s, alpha);
        self.in_flight.push(traffic.in_flight, alpha);
        self.queue.push(traffic.in_flight.min(QUEUE_MAX * sample.host.servers()), alpha);
        self.turns = (1.0 - alpha) * (self.turns + traffic.turns_per_s * dt_s);
        self.seconds = (1.0 - alpha) * (self.seconds + dt_s);
        self.push_host(sample, alpha, settings);
        true
    }

    /// Takes only the failures of a tick.
    pub(crate) fn push_failures(&mut self, traffic: &Traffic, dt_s: f64, settings: &Settings) {
        if let Some(traffic) = traffic.plausible() {
            self.count(traffic, self.alpha(traffic, dt_s, settings));
        }
    }

    fn count(&mut self, traffic: &Traffic, alpha: f64) {
        let failed = traffic.failures.total().min(traffic.attempts);
        self.attempts = (1.0 - alpha) * self.attempts + approximate(traffic.attempts);
        self.failures = (1.0 - alpha) * self.failures + approximate(failed);
    }

    /// The part of a tick in the averages.
    fn alpha(&self, traffic: &Traffic, dt_s: f64, settings: &Settings) -> f64 {
        -(-dt_s / self.memory_s(traffic, settings)).exp_m1()
    }

    fn push_host(&mut self, sample: &Sample, alpha: f64, settings: &Settings) {
        let push = |mean: &mut Mean, at: &dyn Fn(std::time::Duration) -> Option<f64>| match (
            at(settings.stale_hold),
            at(settings.stale_gone),
        ) {
            (Some(value), _) => mean.push(value, alpha),
            (None, Some(_)) => {}
            (None, None) => *mean = Mean::default(),
        };
        for (mean, resource) in self.resources.iter_mut().zip(Resource::ALL) {
            push(mean, &|limit| sample.host.utilisation(resource, limit));
        }
        push(&mut self.reported, &|limit| sample.host.reported.as_ref()?.fresh_within(limit));
    }

    /// The time constant in seconds. It follows the mean rate: one that followed the tick's own
    /// rate would give busy ticks more weight and overestimate.
    fn memory_s(&self, traffic: &Traffic, settings: &Settings) -> f64 {
        let rate = self.turns_per_s.get().unwrap_or(traffic.turns_per_s);
        if self.alert > 0 {
            return settings.memory_min_s;
        }
        // A quarter more than needed, so that a backend at the border is not in doubt half the time.
        let patience = (1.25 * settings.turns_needed / rate)
            .clamp(settings.memory_max_s, settings.memory_patience_s);
        (settings.memory_turns / rate).clamp(settings.memory_min_s, patience)
    }

    /// Shortens the memory if a tick had far more or fewer turns than the averages led to expect: by
    /// standard deviations of the turns there were, or, where there were too few to have any, if the
    /// most they can mean is a fifth of what was expected: one long request holds up many.
    pub(crate) fn watch(&mut self, turns: f64, expected: f64, settings: &Settings) {
        let ratio = (turns / expected).ln().abs();
        let z = ratio * turns.sqrt() / settings.service_cv.max(1.0);
        // Of a handful of turns, many ending together is chance.
        let changed = z.is_finite() && z > settings.change_z && turns.max(expected) >= 8.0;
        if expected.is_finite() && (changed || at_most(turns) < expected / 5.0) {
            self.alert = settings.change_ticks;
        }
    }

    /// The most turns a second that so few in the remembered time can mean.
    pub(crate) fn turns_per_s_at_most(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| at_most(self.turns) / self.seconds)
    }

    /// Turns a second.
    pub(crate) fn turns_per_s(&self) -> f64 {
        self.turns_per_s.get().unwrap_or(0.0)
    }

    /// Mean turns in flight.
    pub(crate) fn in_flight(&self) -> f64 {
        self.in_flight.get().unwrap_or(0.0)
    }

    /// Mean turns in flight, as far as they tell saturation.
    pub(crate) fn queue(&self) -> f64 {
        self.queue.get().unwrap_or(0.0)
    }

    /// Share of failed turns.
    pub(crate) fn error_share(&self) -> f64 {
        if self.failures > 0.0 { (self.failures / self.attempts).min(1.0) } else { 0.0 }
    }

    /// Utilisations by resource, `None` where nothing is known.
    pub(crate) fn resources(&self) -> [Option<f64>; Resource::ALL.len()] {
        self.resources.map(|mean| mean.get())
    }

    /// What the backend says of itself.
    pub(crate) fn reported(&self) -> Option<f64> {
        self.reported.get()
    }

    /// Turns within the memory: how much there is to believe.
    pub(crate) fn turns(&self) -> f64 {
        self.turns
    }

    /// Attempts within the memory.
    pub(crate) fn attempts(&self) -> f64 {
        self.attempts
    }
}

/// The largest mean that a count is likely to come from: two standard deviations more, and three for a
/// count of none (Hanley, Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA
/// 249, 1983).
fn at_most(count: f64) -> f64 {
    count + 2.0 * count.sqrt() + 3.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::sample::{Failures, Host, Reading};

    fn sample(turns_per_s: f64, cpu: f64) -> Sample {
        let attempts = u64::from(turns_per_s >= 1.0);
        Sample {
            traffic: Traffic { turns_per_s, in_flight: 1.0, attempts, ..Traffic::default() },
            host: Host { cpu: Some(Reading::fresh(cpu)), ..Host::default() },
            ..Sample::default()
        }
    }

    fn after(ticks: &[(f64, f64)]) -> Averages {
        let (mut averages, settings) = (Averages::default(), Settings::default());
        for &(turns_per_s, cpu) in ticks {
            averages.push(&sample(turns_per_s, cpu), 1.0, &settings);
        }
        averages
    }

    #[test]
    fn a_mean_is_right_from_its_first_value_on() {
        let mut mean = Mean::default();
        assert_eq!(mean.get(), None);
        for alpha in [0.05, 0.1, 0.7] {
            mean.push(8.0, alpha);
            assert!((mean.get().unwrap() - 8.0).abs() < 1e-12);
        }
        let mut mean = Mean::default();
        mean.push(0.0, 0.1);
        mean.push(1.0, 0.1);
        // Weights 0.09 and 0.1.
        assert!((mean.get().unwrap() - 0.1 / 0.19).abs() < 1e-12);
    }

    #[test]
    fn busy_backends_forget_sooner() {
        // A step after many ticks: the share of it that is seen a tick later.
        #[rustfmt::skip]
        let table = [
            // turns/s, seconds of memory
            (1000.0, 2.0),
            (75.0,   2.0),
            (50.0,   3.0),
            (15.0,   10.0),
            (5.0,    20.0),
            (1.25,   20.0),
            (0.5,    50.0),
            (0.1,    250.0),
            (0.01,   300.0),
        ];
        for (rate, memory_s) in table {
            let mut ticks = vec![(rate, 0.2); 5000];
            ticks.push((rate, 1.2));
            let seen = after(&ticks).resources()[0].unwrap() - 0.2;
            let expected = 0.8 * (1.0 - (-1.0_f64 / memory_s).exp());
            assert!((seen - expected).abs() < 1e-6, "{rate}/s: {seen}, not {expected}");
        }
    }

    #[test]
    fn a_change_makes_memory_short_for_a_while() {
        let settings = Settings::default();
        #[rustfmt::skip]
        let table = [
            // turns, expected, is a change
            (36.0,     36.0, false),
            (15.0,     50.0, true),
            (8.0,      36.0, false),
            (90.0,     36.0, true),
            (24.0,     36.0, false),
            (0.0,      36.0, true),
            (0.0,      6.0,  false),
            (4.0,      0.4,  false),
            (3.0,      0.0,  false),
            (f64::NAN, 36.0, false),
            (36.0,     f64::NAN, false),
            (f64::INFINITY, 36.0, false),
        ];
        for (turns, expected, change) in table {
            let mut averages = after(&[(15.0, 0.2); 100]);
            averages.watch(turns, expected, &settings);
            for _ in 0..3 {
                averages.push(&sample(15.0, 0.6), 1.0, &settings);
            }
            let followed = averages.resources()[0].unwrap() > 0.4;
            assert_eq!(followed, change, "{turns} {expected}");
        }
    }

    #[test]
    fn the_share_of_errors_stays_a_share() {
        #[rustfmt::skip]
        let table = [
            // attempts, refused, reset, share
            (0,  0,        0,        0.0),
            (10, 0,        0,        0.0),
            (10, 2,        3,        0.5),
            (10, 20,       3,        1.0),
            (0,  5,        0,        0.0),
            (10, u64::MAX, u64::MAX, 1.0),
        ];
        for (attempts, refused, reset, expected) in table {
            let failures = Failures { refused, reset, ..Failures::default() };
            let traffic = Traffic { attempts, failures, ..Traffic::default() };
            let mut averages = Averages::default();
            averages.push_failures(&traffic, 1.0, &Settings::default());
            let got = averages.error_share();
            assert!((got - expected).abs() < 1e-9, "{traffic:?}: {got}");
        }
    }

    #[test]
    fn few_turns_say_what_is_too_much() {
        assert_eq!(Averages::default().turns_per_s_at_most(), None);
        #[rustfmt::skip]
        let table = [
            // ticks of one second, turns/s, at most
            (10, 0.0, 0.3),
            (10, 1.0, 1.95),
            (2,  1.0, 4.0),
        ];
        for (ticks, rate, expected) in table {
            let most = after(&vec![(rate, 0.9); ticks]).turns_per_s_at_most().unwrap();
            assert!((most / expected - 1.0).abs() < 0.25, "{ticks} {rate}: {most}");
        }
    }

    #[test]
    fn readings_are_kept_for_a_while_and_then_forgotten() {
        let settings = Settings::default();
        for (age_s, expected) in [(0, 0.35), (3, 0.35), (4, 0.5), (10, 0.5), (11, -1.0)] {
            let mut averages = after(&[(1000.0, 0.5)]);
            let mut late = sample(1000.0, 0.2);
            let age = std::time::Duration::from_secs(age_s);
            late.host.cpu = Some(Reading { value: 0.2, age });
            averages.push(&late, 1.0, &settings);
            let got = averages.resources()[0].unwrap_or(-1.0);
            assert!((got - expected).abs() < 0.04, "{age_s} s: {got}");
        }
    }

    #[test]
    fn impossible_traffic_changes_nothing() {
        for rate in [f64::NAN, f64::INFINITY, -1.0, 1e18] {
            let (mut averages, settings) = (after(&[(40.0, 0.3); 9]), Settings::default());
            let before = averages.clone();
            assert!(!averages.push(&sample(rate, 0.9), 1.0, &settings), "{rate}");
            assert_eq!(averages, before, "{rate}");
        }
    }
}
