//! The scaler: a state machine from one observation a bucket to a number of replicas.

use std::{
    fmt,
    time::{Duration, Instant},
};

use super::{
    Behaviour, History, Pod, Reason, Settings, SettingsError, hpa, replicas_for,
    settings::WINDOW_MIN,
};
use crate::forecast::{Outlook, Rolling, real};

/// A forecast is never believed below this part of the load of the moment.
const LEAST: f64 = 0.5;
/// Nor above so many times the largest load of the window.
const MOST: f64 = 2.0;

/// What is known at the end of a bucket.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// Replicas that were asked for.
    pub current: u32,
    /// Requests a second that came in the bucket, answered or not.
    pub offered: Option<f64>,
    /// Requests a second that one replica can take, as the balancer learned.
    pub capacity: Option<f64>,
    /// The replicas and their use of what limits them; none where nothing of the kind is measured.
    pub pods: Option<&'a [Pod]>,
}

/// How many replicas there shall be, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// How many were asked for.
    pub current: u32,
    /// How many there shall be.
    pub desired: u32,
    /// What decided.
    pub reason: Reason,
    /// The load to be ready for, if it is known: requests a second.
    pub expected: Option<f64>,
    /// What is forecast, with the model.
    pub outlook: Option<Outlook>,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { current, desired, reason, .. } = self;
        if current == desired {
            write!(f, "keep {current}: {reason}")
        } else {
            write!(f, "from {current} to {desired}: {reason}")
        }
    }
}

/// What follows from the load.
pub(super) struct Demand {
    pub(super) wanted: u32,
    pub(super) reason: Reason,
    pub(super) expected: f64,
}

/// Scales one service.
#[derive(Clone, Debug)]
pub struct Scaler {
    settings: Settings,
    load: Rolling,
    history: History,
}

impl Scaler {
    /// A scaler that knows nothing yet; all mistakes of the settings otherwise.
    pub fn new(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        let mistakes = settings.mistakes();
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let load = Rolling::new(settings.method, settings.window);
        Ok(Self { settings, load, history: History::default() })
    }

    /// Takes another time that replicas need until they answer.
    pub(super) const fn learn_start(&mut self, start: Duration) {
        self.settings.start = start;
    }

    /// There are so many, whoever asked for them.
    pub fn begin(&mut self, now: Instant, current: u32) {
        self.history.begin(now, current);
    }

    /// Decides at the end of each bucket.
    pub fn decide(&mut self, now: Instant, observation: &Observation<'_>) -> Decision {
        let outlook = self.look(observation.offered);
        let current = observation.current;
        let demand = outlook.as_ref().and_then(|outlook| self.demand(outlook, observation));
        let (wanted, reason) = wanted(&self.settings, now, observation, demand.as_ref());
        let sure = outlook.as_ref().is_some_and(Outlook::surely_falls);
        let (desired, reason) = self.hold_back(now, current, wanted, reason, sure);
        self.history.changed(now, current, desired);
        self.history.forget(now, &self.settings.behaviour);
        let expected = demand.map(|demand| demand.expected);
        Decision { current, desired, reason, expected, outlook }
    }

    /// Takes the load into the window. What is no load is a gap.
    fn look(&mut self, offered: Option<f64>) -> Option<Outlook> {
        let Some(offered) = offered.filter(|load| *load >= 0.0) else {
            self.load.gap();
            return None;
        };
        self.load.push(offered).ok()
    }

    /// What the load asks for. None if nobody knows what a replica can take.
    fn demand(&self, outlook: &Outlook, observation: &Observation<'_>) -> Option<Demand> {
        let Settings { target, tolerance, margin, bucket, .. } = self.settings;
        let capacity = observation.capacity.filter(|it| it.is_finite() && *it > 0.0)?;
        let offered = outlook.last;
        let (step, forecast) = if self.load.len() < WINDOW_MIN {
            (1, offered)
        } else {
            let (step, peak) = outlook.peak_within(self.settings.steps());
            let peak = peak.max(LEAST * offered).min(MOST * outlook.peak);
            (step, margin.mul_add(outlook.sigma, peak))
        };
        let expected = offered.max(forecast);
        let each = capacity * target;
        let wanted = hpa::by_load(expected, each, observation.current, tolerance)?;
        let reason = if wanted == observation.current && replicas_for(expected, each) != wanted {
            Reason::Tolerance { ratio: expected / (each * f64::from(observation.current)) }
        } else if wanted > replicas_for(offered, each) {
            let ahead = bucket.mul_f64(real(step));
            Reason::Forecast { offered, expected, ahead }
        } else {
            Reason::Load { offered, capacity }
        };
        Some(Demand { wanted, reason, expected })
    }

    /// Windows, rates, bounds and the cooldown, in this order; the last that binds is the reason.
    fn hold_back(
        &mut self,
        now: Instant,
        current: u32,
        wanted: u32,
        reason: Reason,
        sure: bool,
    ) -> (u32, Reason) {
        let Settings { min, max, cooldown, .. } = self.settings;
        let shrinking = self.settings.shrinking(sure);
        let Behaviour { up, .. } = &self.settings.behaviour;
        let stable = self.history.stabilise(now, current, wanted, [up.window, shrinking]);
        if current < min || current > max {
            let bound = current.clamp(min, max);
            let reason = if current < min {
                Reason::Min { wanted: current }
            } else {
                Reason::Max { wanted: current }
            };
            return (bound, reason);
        }
        let mut result = (stable, reason);
        if stable != wanted {
            let window = if wanted < current { shrinking } else { up.window };
            result.1 = Reason::Window { wanted, window };
        }
        let limited = self.history.limit(now, current, stable, &self.settings.behaviour);
        if limited != stable {
            result = (limited, Reason::Rate { wanted: stable });
        }
        if stable > max && limited >= max {
            result = (max, Reason::Max { wanted: stable });
        } else if limited < min {
            result = (min, Reason::Min { wanted: stable });
        }
        let since = self.history.last_change().map(|at| now.saturating_duration_since(at));
        match since.and_then(|since| cooldown.checked_sub(since)) {
            Some(left) if result.0 < current && !left.is_zero() => {
                (current, Reason::Cooldown { wanted: result.0, left })
            }
            Some(_) | None => result,
        }
    }
}

/// The larger of what load and utilisation ask for. What is not known takes nothing away.
pub(super) fn wanted(
    settings: &Settings,
    now: Instant,
    observation: &Observation<'_>,
    demand: Option<&Demand>,
) -> (u32, Reason) {
    let Settings { target, tolerance, .. } = *settings;
    let current = observation.current;
    let target = u64::from(replicas_for(target * 100.0, 1.0));
    let used =
        observation.pods.map(|pods| hpa::by_utilisation(pods, now, current, target, tolerance));
    let (wanted, reason, missing) = match (demand, used) {
        (None, None | Some(Err(_))) => return (current, Reason::Blind),
        (Some(demand), Some(Err(_))) => (demand.wanted, demand.reason, Some("utilisation")),
        (None, Some(Ok(used))) => {
            let percent = used.percent;
            let reason = Reason::Utilisation { percent, target, load_known: false };
            (used.replicas, reason, Some("the load"))
        }
        (Some(demand), Some(Ok(used))) if used.replicas > demand.wanted => {
            let percent = used.percent;
            let reason = Reason::Utilisation { percent, target, load_known: true };
            (used.replicas, reason, None)
        }
        (Some(demand), None | Some(Ok(_))) => (demand.wanted, demand.reason, None),
    };
    match missing {
        Some(what) if wanted < current => (current, Reason::Unmeasured { wanted, what }),
        Some(_) | None => (wanted, reason),
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
