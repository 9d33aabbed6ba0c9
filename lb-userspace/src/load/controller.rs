//! The tick: samples in, capacities out. One controller a service; no clock, no I/O.

use std::{collections::BTreeMap, time::Duration};

use super::{
    classify::{Class, vote},
    explain::{Explanation, Guard},
    sample::Sample,
    settings::Settings,
    shares::{moved, normalised, shares},
    track::{Finding, Track},
    weigh::median,
};

/// A tick that comes late counts as so many seconds at most: limits on speed are promises to the
/// backends, not to the clock.
const TICK_MAX_S: f64 = 5.0;
/// The first tick has no predecessor.
const TICK_S: f64 = 1.0;
/// No capacity leaves these bounds, whatever is measured.
const CAPACITY_MIN: f64 = 1e-6;
const CAPACITY_MAX: f64 = 1e9;

/// What becomes of a service at a tick.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<Id> {
    /// What limits the service.
    pub class: Class,
    /// By backend.
    pub backends: BTreeMap<Id, Verdict>,
    /// Whether the capacities and shares are others than at the last tick. If not, there is
    /// nothing to write.
    pub publish: bool,
    /// So few backends are left that those ejected for their failures serve as well.
    pub panic: bool,
}

/// What becomes of a backend.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What the dataplane divides by: 1 to 65535, the largest of the service is 65535; 0 for a
    /// backend that gets no new flows.
    pub capacity: u16,
    /// Its part of the traffic where a hash decides, 0 to 1.
    pub share: f64,
    /// Turns a second that it can serve, if that was ever measured: what slow start or an outage holds
    /// back is in it.
    pub measured: Option<f64>,
    /// Why.
    pub explanation: Explanation,
}

/// What the dataplane was last told of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Told {
    capacity: u16,
    share: f64,
}

/// The control law of one service. `Id` must name a backend over its whole life and no other
/// one afterwards.
#[derive(Clone, Debug)]
pub struct Controller<Id> {
    settings: Settings,
    tracks: BTreeMap<Id, Track>,
    last_tick: Option<Duration>,
    /// Capacity of a static weight of 1; unknown until a backend has been measured.
    pub(super) scale: Option<f64>,
    told: BTreeMap<Id, Told>,
    told_at: Duration,
}

impl<Id: Ord + Clone> Controller<Id> {
    /// A controller that knows nobody.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            tracks: BTreeMap::new(),
            last_tick: None,
            scale: None,
            told: BTreeMap::new(),
            told_at: Duration::ZERO,
        }
    }

    /// Takes what is known of all backends of the service at `now`, time since any fixed moment.
    pub fn tick(&mut self, now: Duration, samples: &BTreeMap<Id, Sample>) -> Decision<Id> {
        let dt_s = self.elapsed_s(now);
        self.follow_members(now, samples);
        let findings = self.observe(now, dt_s, samples);
        let mut guards = self.follow(&findings, dt_s);
        let panic = self.judge_failures(now, &mut guards);
        let effective = self.effective(now, dt_s, &mut guards);
        let publish = self.tell(now, &effective);
        Decision {
            class: vote(self.tracks.values().map(|track| (track.class(), track.turns_per_s()))),
            backends: self.verdicts(&effective, &guards),
            publish,
            panic,
        }
    }

    /// Seconds since the last tick. A clock that goes back lets no time pass.
    fn elapsed_s(&mut self, now: Duration) -> f64 {
        let elapsed_s = match self.last_tick {
            None => TICK_S,
            Some(last) => now.saturating_sub(last).as_secs_f64().min(TICK_MAX_S),
        };
        self.last_tick = Some(now);
        elapsed_s
    }

    fn follow_members(&mut self, now: Duration, samples: &BTreeMap<Id, Sample>) {
        self.tracks.retain(|id, _| samples.contains_key(id));
        // Beside backends that have nothing to do, nobody is new.
        let others = self.tracks.values().any(|track| track.turns_per_s() > 0.0);
        for (id, sample) in samples {
            if !self.tracks.contains_key(id) {
                let weight = f64::from(sample.weight.get()).max(1.0);
                let track = Track::new(now, others, self.scale.unwrap_or(1.0) * weight);
                self.tracks.insert(id.clone(), track);
            }
        }
    }

    fn observe(
        &mut self,
        now: Duration,
        dt_s: f64,
        samples: &BTreeMap<Id, Sample>,
    ) -> Vec<Finding> {
        let settings = &self.settings;
        let pairs = self.tracks.values_mut().zip(samples.values());
        pairs.map(|(track, sample)| track.observe(now, dt_s, sample, settings)).collect()
    }

    /// Moves every capacity by its finding; says what stood between.
    fn follow(&mut self, findings: &[Finding], dt_s: f64) -> Vec<Guard> {
        let found = |finding: &Finding| match finding {
            Finding::Capacity(found) if *found > 0.0 => Some(*found),
            Finding::Capacity(_) | Finding::Hold(_) | Finding::Unknown => None,
        };
        let pairs = || self.tracks.values().zip(findings);
        if self.scale.is_none() {
            let by_weight = pairs().filter_map(|(track, it)| Some(track.per_weight(found(it)?)));
            self.scale = median(by_weight.collect());
            let factor = self.scale.unwrap_or(1.0);
            self.tracks.values_mut().for_each(|track| track.rescale(factor));
        } else {
            let measured = self.tracks.values().filter(|track| track.measured);
            let by_weight = measured.map(|track| track.per_weight(track.capacity()));
            self.scale = median(by_weight.collect()).or(self.scale);
        }
        let held = |track: &Track| track.measured.then(|| track.capacity());
        let pairs = self.tracks.values().zip(findings);
        let middle = median(pairs.filter_map(|(track, it)| found(it).or(held(track))).collect());
        let (middle, spread) = (middle.unwrap_or(1.0), self.settings.spread_max);
        let within = (
            (middle / spread).clamp(CAPACITY_MIN, CAPACITY_MAX),
            (middle * spread).clamp(CAPACITY_MIN, CAPACITY_MAX),
        );
        let scale = self.scale.unwrap_or(1.0);
        let pairs = self.tracks.values_mut().zip(findings);
        pairs.map(|(track, it)| track.follow(*it, within, scale, dt_s, &self.settings)).collect()
    }

    /// Ejects whoever fails far more than the others, never more than half of them. Says whether
    /// so few are left that the ejected ones have to serve as well.
    fn judge_failures(&mut self, now: Duration, guards: &mut [Guard]) -> bool {
        let open = |track: &&Track| track.closed.is_none();
        let candidates = self.tracks.values().filter(open).count();
        let errors = self.tracks.values().filter(open).map(|track| track.failing().error_share);
        let usual = usual(errors.collect());
        let out = |track: &&Track| track.outlier.ejected(now).is_some();
        let mut ejected = self.tracks.values().filter(open).filter(out).count();
        for (track, guard) in self.tracks.values_mut().zip(guards.iter_mut()) {
            let may = track.closed.is_none() && track.outlier.ejected(now).is_none();
            let Some(cause) = track.failing().cause(usual, &self.settings).filter(|_| may) else {
                continue;
            };
            if ejected < candidates / 2 {
                track.outlier.eject(cause, now, &self.settings);
                ejected += 1;
            } else {
                *guard = Guard::Spared { cause };
            }
        }
        // Backends that fail their health checks stay out, but they make the rest precious.
        let drained = |track: &&Track| track.closed == Some(Guard::Drained);
        let all = self.tracks.len() - self.tracks.values().filter(drained).count();
        let panic = ejected > 0 && 2 * (candidates - ejected) < all;
        for (track, guard) in self.tracks.values().zip(guards.iter_mut()) {
            *guard = match (track.closed, track.outlier.ejected(now)) {
                (Some(closed), _) => closed,
                (None, Some((_, cause))) if panic => Guard::Spared { cause },
                (None, Some((left, cause))) => Guard::Ejected { left_s: left.as_secs_f64(), cause },
                (None, None) => *guard,
            };
        }
        panic
    }

    /// The capacities that count: 0 for whoever gets nothing, less for whoever is new.
    fn effective(&mut self, now: Duration, dt_s: f64, guards: &mut [Guard]) -> Vec<f64> {
        let serving =
            |guard: &Guard| !matches!(guard, Guard::Drained | Guard::Down | Guard::Ejected { .. });
        let pairs = self.tracks.values().zip(guards.iter());
        let others = pairs.filter(|(track, guard)| serving(guard) && !track.is_ramping());
        let middle = median(others.map(|(track, _)| track.capacity()).collect());
        let pairs = self.tracks.values_mut().zip(guards.iter_mut());
        let effective = pairs.map(|(track, guard)| {
            if !serving(guard) {
                return 0.0;
            }
            // Without others there is nobody to spare.
            let Some(middle) = middle else { return track.capacity() };
            track.ramp(now, middle, dt_s, &self.settings);
            let (capacity, limited) = track.effective(middle);
            *guard = limited.unwrap_or(*guard);
            capacity
        });
        effective.collect()
    }

    /// Decides whether the dataplane has to be told, and what.
    fn tell(&mut self, now: Duration, effective: &[f64]) -> bool {
        let capacities = scaled(effective);
        let same_members = self.told.keys().eq(self.tracks.keys());
        let old: Vec<u16> = self.told.values().map(|told| told.capacity).collect();
        if same_members && old == capacities {
            return false;
        }
        let opened = |(old, new): (&u16, &u16)| (*old == 0) != (*new == 0);
        let parts = |of: &[u16]| normalised(of.iter().copied().map(f64::from).collect());
        let large = moved(&parts(&old), &parts(&capacities)) >= self.settings.publish_min;
        let due = now.saturating_sub(self.told_at) >= self.settings.publish_every;
        if same_members && !large && !due && !old.iter().zip(&capacities).any(opened) {
            return false;
        }
        let shares = self.shares(effective);
        let told = capacities.into_iter().zip(shares);
        let told = told.map(|(capacity, share)| Told { capacity, share });
        self.told = self.tracks.keys().cloned().zip(told).collect();
        self.told_at = now;
        true
    }

    /// The parts of the traffic for policies that look at no queue. Static weights are taken at their
    /// word; measured capacities leave the slow backends their reserve.
    fn shares(&self, effective: &[f64]) -> Vec<f64> {
        if self.scale.is_none() {
            return normalised(effective.to_vec());
        }
        let load = self.tracks.values().map(Track::turns_per_s).sum();
        shares(effective, load, self.settings.share_floor)
    }

    fn verdicts(&self, effective: &[f64], guards: &[Guard]) -> BTreeMap<Id, Verdict> {
        let tracks = self.tracks.iter().zip(effective.iter().zip(guards));
        let verdict = |(id, track): (&Id, &Track), capacity: f64, guard: Guard| {
            let told = self.told.get(id).copied().unwrap_or_default();
            let explanation = track.explain(capacity, guard);
            let measured = track.measured.then(|| track.capacity());
            let Told { capacity, share } = told;
            (id.clone(), Verdict { capacity, share, measured, explanation })
        };
        tracks.map(|(track, (capacity, guard))| verdict(track, *capacity, *guard)).collect()
    }
}

/// The share of errors that at least half of the backends stay below: of two, the lower one.
fn usual(mut errors: Vec<f64>) -> f64 {
    errors.sort_by(f64::total_cmp);
    errors.get(errors.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

/// Capacities relative to the largest, which is 65535; whoever has any has at least 1.
pub(crate) fn scaled(capacities: &[f64]) -> Vec<u16> {
    let largest = capacities.iter().copied().fold(0.0, f64::max);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and the largest of the type"
    )]
    let scale = |capacity: &f64| match capacity / largest {
        part if part > 0.0 => (part * f64::from(u16::MAX)).round().clamp(1.0, 65535.0) as u16,
        _ => 0,
    };
    capacities.iter().map(scale).collect()
}
