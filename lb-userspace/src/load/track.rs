//! What the controller remembers of one backend.

use std::time::Duration;

use super::{
    classify::{Class, Classifier, Pressure, judge},
    explain::{Explanation, Guard},
    outlier::{Failing, Outlier},
    sample::{Resource, Sample, Standing},
    settings::Settings,
    smooth::Averages,
    weigh::{Step, capacity, relax, step},
};

/// One backend over time.
#[derive(Clone, Debug)]
pub(crate) struct Track {
    /// When it appeared or came back, and whether others were at work then: a controller that
    /// starts meets backends that have been serving for long.
    since: Duration,
    new: bool,
    /// The most it may have while it is new or back; others are at work, and should not lose their
    /// traffic to it before it has shown what it can do.
    limit: Option<f64>,
    averages: Averages,
    classifier: Classifier,
    pressure: Pressure,
    class: Class,
    /// Turns a second, or the static weight while no scale is known.
    capacity: f64,
    /// Whether the capacity has been measured since `since`, and ever.
    proven: bool,
    pub(crate) measured: bool,
    /// Seconds since it was.
    unmeasured_s: f64,
    /// Seconds without traffic or without traffic that can be believed.
    quiet_s: f64,
    pub(crate) outlier: Outlier,
    /// Whether it may have new flows, as far as others decide; why not.
    pub(crate) closed: Option<Guard>,
    weight: f64,
    failing_in_a_row: u64,
}

/// What a tick said about the capacity of a backend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Finding {
    /// This.
    Capacity(f64),
    /// Nothing, and why the last one is kept.
    Hold(Guard),
    /// Nothing, for long.
    Unknown,
}

impl Track {
    /// A backend nobody knows; `ramps` if others are at work.
    pub(crate) fn new(now: Duration, ramps: bool, capacity: f64) -> Self {
        Self {
            since: now,
            new: ramps,
            limit: ramps.then_some(0.0),
            averages: Averages::default(),
            classifier: Classifier::default(),
            pressure: Pressure::default(),
            class: Class::Light,
            capacity,
            proven: false,
            measured: false,
            unmeasured_s: 0.0,
            quiet_s: 0.0,
            outlier: Outlier::default(),
            closed: None,
            weight: 1.0,
            failing_in_a_row: 0,
        }
    }

    /// Begins anew, with the capacity it had: the machine is probably the same one.
    fn restart(&mut self, now: Duration) {
        (self.since, self.new) = (now, true);
        (self.limit, self.proven) = (Some(0.0), false);
        self.averages = Averages::default();
        self.classifier = Classifier::default();
        (self.failing_in_a_row, self.unmeasured_s) = (0, 0.0);
    }

    /// Takes a sample and says what it tells.
    pub(crate) fn observe(
        &mut self,
        now: Duration,
        dt_s: f64,
        sample: &Sample,
        settings: &Settings,
    ) -> Finding {
        let was_closed = self.closed.is_some();
        self.weight = f64::from(sample.weight.get());
        self.closed = match sample.standing {
            Standing::Down => Some(Guard::Down),
            Standing::Drained => Some(Guard::Drained),
            Standing::Serving => (sample.weight.get() == 0).then_some(Guard::Drained),
        };
        if self.outlier.returns(now) || (was_closed && self.closed.is_none()) {
            self.restart(now);
        }
        self.failing_in_a_row = sample.traffic.failures.in_a_row;
        let age = now.saturating_sub(self.since);
        let left = settings.blackout.saturating_sub(age);
        if self.new && !left.is_zero() && self.closed.is_none() {
            let left_s = left.as_secs_f64();
            // A backend that fails from its first turn on need not be waited for.
            self.averages.push_failures(&sample.traffic, dt_s, settings);
            return Finding::Hold(Guard::Blackout { left_s });
        }
        self.measure(dt_s, sample, settings)
    }

    fn measure(&mut self, dt_s: f64, sample: &Sample, settings: &Settings) -> Finding {
        self.watch(sample, dt_s, settings);
        let plausible = self.averages.push(sample, dt_s, settings);
        let traffic = &sample.traffic;
        let busy = plausible && (traffic.turns_per_s > 0.0 || traffic.in_flight > 0.0);
        self.quiet_s = if busy { 0.0 } else { self.quiet_s + dt_s };

        let (known, averages) = (self.averages.resources(), &self.averages);
        let servers = sample.host.servers();
        self.pressure = judge(known, averages.reported(), averages.queue(), servers);
        self.class = self.classifier.class(&self.pressure, dt_s);

        let within = |limit| {
            Resource::ALL.into_iter().any(|it| sample.host.utilisation(it, limit).is_some())
        };
        let (fresh, recent) = (within(settings.stale_hold), within(settings.stale_gone));
        let gone_s = settings.stale_gone.as_secs_f64();
        if !recent && self.quiet_s >= gone_s {
            return Finding::Unknown;
        }
        if !plausible {
            return Finding::Hold(Guard::Implausible);
        }
        if recent && !fresh {
            return Finding::Hold(Guard::Stale);
        }
        let (turns, needed) = (averages.turns(), settings.turns_needed);
        let at_most = self.at_most(settings);
        let few = turns < needed;
        if few || self.pressure.utilisation < settings.utilisation_min {
            // Averages of few turns are old, so this tick has to tell whether it is busy.
            let idle = traffic.in_flight < BUSY;
            self.unmeasured_s = if idle { self.unmeasured_s + dt_s } else { 0.0 };
            if let Some(most) = at_most.filter(|_| few && !idle) {
                return Finding::Capacity(most);
            }
            if self.unmeasured_s >= settings.doubt_after.as_secs_f64() {
                return Finding::Unknown;
            }
            let guard = if few { Guard::FewTurns { turns, needed } } else { Guard::Idle };
            return Finding::Hold(guard);
        }
        (self.proven, self.unmeasured_s) = (true, 0.0);
        Finding::Capacity(capacity(
            averages.turns_per_s(),
            averages.error_share(),
            self.pressure.utilisation,
            settings,
        ))
    }

    /// Compares the turns of this tick with those that so busy a backend should have had. Only where a
    /// resource is known to be the bottleneck: turns in flight are alike from tick to tick, so
    /// their deviations say nothing about change.
    fn watch(&mut self, sample: &Sample, dt_s: f64, settings: &Settings) {
        let Some((resource, used)) = self.pressure.bottleneck else { return };
        let measured = sample.host.utilisation(resource, settings.stale_hold);
        let (Some(traffic), Some(now_used)) = (sample.traffic.plausible(), measured) else {
            return;
        };
        if self.class == Class::Latency {
            return;
        }
        let averages = &self.averages;
        let full = capacity(averages.turns_per_s(), 0.0, used, settings);
        self.averages.watch(traffic.turns_per_s * dt_s, full * now_used * dt_s, settings);
    }

    /// Too few turns cannot say what a busy backend can do, but they say what it cannot: one that
    /// hardly ends anything must not live on what it once was.
    fn at_most(&self, settings: &Settings) -> Option<f64> {
        let busy = self.pressure.utilisation;
        let most = self.averages.turns_per_s_at_most().filter(|_| busy >= BUSY)? / busy;
        (most < self.capacity * (-settings.deadband).exp() && self.measured).then_some(most)
    }

    /// Moves the capacity by what was found; `within` are the limits, `scale` is the capacity of a
    /// weight of 1. Says what stood between.
    pub(crate) fn follow(
        &mut self,
        finding: Finding,
        within: (f64, f64),
        scale: f64,
        dt_s: f64,
        settings: &Settings,
    ) -> Guard {
        match finding {
            Finding::Capacity(found) => {
                self.measured = true;
                let target = found.clamp(within.0, within.1);
                let (next, guard) = match step(self.capacity, target, dt_s, settings) {
                    Step::Steady => (self.capacity, Guard::Steady),
                    Step::Whole(next) => (next, Guard::Measured),
                    Step::Limited(next) => (next, Guard::Limited { target }),
                };
                self.capacity = next;
                let cut = (found - target).abs() > f64::EPSILON * target;
                if cut && guard == Guard::Steady { Guard::Cut { target: found } } else { guard }
            }
            Finding::Hold(guard) => {
                if !self.measured {
                    self.capacity =
                        relax_unmeasured(self.capacity, self.prior(scale), dt_s, settings);
                }
                guard
            }
            Finding::Unknown => {
                let prior = self.prior(scale);
                self.capacity = relax(self.capacity, prior, dt_s, settings);
                let back = (self.capacity - prior).abs() <= f64::EPSILON * prior;
                self.measured &= !back;
                if back { Guard::Static } else { Guard::Relaxing }
            }
        }
    }

    /// The capacity that its static weight stands for. A weight of 0 gets no traffic anyway.
    fn prior(&self, scale: f64) -> f64 {
        scale * self.weight.max(1.0)
    }

    /// Gives the capacity another unit.
    pub(crate) fn rescale(&mut self, factor: f64) {
        self.capacity *= factor;
        self.limit = self.limit.map(|limit| limit * factor);
    }

    /// Its capacity a unit of weight.
    pub(crate) fn per_weight(&self, capacity: f64) -> f64 {
        capacity / self.weight.max(1.0)
    }

    /// Moves the limit of a backend that is new or back, relative to the median of the others. It
    /// rises with time until the backend is measured, then as fast as a capacity may.
    pub(crate) fn ramp(&mut self, now: Duration, median: f64, dt_s: f64, settings: &Settings) {
        let Some(limit) = self.limit else { return };
        let age = now.saturating_sub(self.since);
        let share = age.as_secs_f64() / settings.slow_start.as_secs_f64();
        let next = if self.proven || share >= 1.0 {
            limit * (settings.rise_max * dt_s).exp()
        } else {
            limit.max(median * share)
        };
        let next = next.max(median * settings.slow_start_floor);
        self.limit = (next < self.capacity).then_some(next);
    }

    /// The capacity it counts with, and what held it back if that was its being new.
    pub(crate) fn effective(&self, median: f64) -> (f64, Option<Guard>) {
        match self.limit {
            Some(limit) if limit < self.capacity => {
                (limit, Some(Guard::SlowStart { share: limit / median }))
            }
            Some(_) | None => (self.capacity, None),
        }
    }

    /// Whether it is new or back.
    pub(crate) fn is_ramping(&self) -> bool {
        self.limit.is_some()
    }

    /// What is known of its failures.
    pub(crate) fn failing(&self) -> Failing {
        Failing {
            in_a_row: self.failing_in_a_row,
            error_share: self.averages.error_share(),
            attempts: self.averages.attempts(),
        }
    }

    /// Turns a second.
    pub(crate) fn turns_per_s(&self) -> f64 {
        self.averages.turns_per_s()
    }

    /// Its class.
    pub(crate) fn class(&self) -> Class {
        self.class
    }

    /// Its capacity before slow start.
    pub(crate) fn capacity(&self) -> f64 {
        self.capacity
    }

    /// All of it in words.
    pub(crate) fn explain(&self, capacity: f64, guard: Guard) -> Explanation {
        Explanation {
            class: self.class,
            bottleneck: self.pressure.bottleneck,
            reported: self.averages.reported(),
            seen: self.pressure.seen,
            utilisation: self.pressure.utilisation,
            explained: self.pressure.explained,
            parts: self.pressure.parts,
            turns_per_s: self.averages.turns_per_s(),
            in_flight: self.averages.in_flight(),
            error_share: self.averages.error_share(),
            capacity,
            guard,
        }
    }
}

/// So busy is a backend that could do no more than it does.
const BUSY: f64 = 0.5;

/// An unmeasured backend stands for its static weight, at the pace of all others.
fn relax_unmeasured(from: f64, to: f64, dt_s: f64, settings: &Settings) -> f64 {
    match step(from, to, dt_s, settings) {
        Step::Steady => from,
        Step::Whole(next) | Step::Limited(next) => next,
    }
}
