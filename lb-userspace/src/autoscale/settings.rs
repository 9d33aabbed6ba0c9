//! What a scaler is told once.

use std::time::Duration;

use super::{Behaviour, Direction, Rate, Step};
use crate::{
    forecast::{Method, Smoothing},
    model::{Algorithm, Forecast, Scale},
};

/// How to scale one service.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Never fewer replicas.
    pub min: u32,
    /// Never more replicas.
    pub max: u32,
    /// The part of its capacity that a replica should use.
    pub target: f64,
    /// Changes of the load by less than this part change nothing.
    pub tolerance: f64,
    /// The time of one value of the offered load, and of one decision.
    pub bucket: Duration,
    /// The values a forecast is made of.
    pub window: usize,
    /// How to forecast.
    pub method: Method,
    /// How long nine of ten replicas need until they answer.
    pub start: Duration,
    /// How long after that until one has its whole share: it is told to the balancer, and begins
    /// slowly.
    pub warm_up: Duration,
    /// How many deviations of recent forecasts are added to a forecast.
    pub margin: f64,
    /// Windows and rates.
    pub behaviour: Behaviour,
    /// The window downwards while a good grey model says that the load does not grow; twice the time
    /// a replica needs is the least, for what is taken away too soon is missing as long.
    pub sure_window: Duration,
    /// After a change no replica is taken away for so long.
    pub cooldown: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            min: 1,
            max: 10,
            target: 0.7,
            tolerance: 0.1,
            bucket: Duration::from_secs(15),
            window: 10,
            method: Method::Grey,
            start: Self::START,
            warm_up: Duration::from_secs(30),
            margin: 1.0,
            behaviour: Behaviour::default(),
            sure_window: Duration::from_mins(2),
            cooldown: Duration::from_mins(1),
        }
    }
}

/// What is wrong with settings.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// The bounds exclude each other.
    #[error("at least {min} and at most {max} replicas is no range")]
    Bounds {
        /// The lower one.
        min: u32,
        /// The upper one.
        max: u32,
    },
    /// A part that is none.
    #[error("{name} is {value}, it must be above 0 and at most 1")]
    Part {
        /// Of what.
        name: &'static str,
        /// What it is.
        value: f64,
    },
    /// A number that must not be negative.
    #[error("{name} is {value}, it must be a number from 0 on")]
    Negative {
        /// Of what.
        name: &'static str,
        /// What it is.
        value: f64,
    },
    /// Too short a time.
    #[error("a bucket of {0:?} is too short, a second is the least")]
    Bucket(Duration),
    /// Too short a window.
    #[error("a window of {0} values is too short, 5 are the least")]
    Window(usize),
}

/// Fewer values are no forecast.
pub(super) const WINDOW_MIN: usize = 5;
/// The part of the window downwards that does where a model says that the load does not grow: two
/// minutes of five.
const SURE: (u32, u32) = (2, 5);

impl From<&Scale> for Settings {
    fn from(scale: &Scale) -> Self {
        let method = match scale.algorithm {
            Algorithm::Weir(Forecast::Grey) => Method::Grey,
            Algorithm::Weir(Forecast::Holt) => Method::Holt(Smoothing::LOAD),
            Algorithm::Weir(Forecast::None) | Algorithm::Hpa => Method::Last,
        };
        let part = |percent| f64::from(percent) / 100.0;
        let rate = |step| Rate { step, period: scale.bucket };
        let up = vec![rate(Step::Replicas(4)), rate(Step::Percent(100))];
        let down = vec![rate(Step::Percent(100))];
        Self {
            min: scale.min,
            max: scale.max,
            target: part(scale.target_percent),
            tolerance: part(scale.tolerance_percent),
            bucket: scale.bucket,
            window: usize::try_from(scale.window).unwrap_or(usize::MAX),
            method,
            start: scale.start_time.unwrap_or(Self::START),
            warm_up: scale.warm_up,
            behaviour: Behaviour {
                up: Direction { window: Duration::ZERO, rates: up },
                down: Direction { window: scale.down_window, rates: down },
            },
            sure_window: scale.down_window * SURE.0 / SURE.1,
            cooldown: scale.cooldown,
            ..Self::default()
        }
    }
}

impl Settings {
    /// How long a replica needs until it answers, before anybody knows.
    pub const START: Duration = Duration::from_mins(1);

    /// All that is wrong.
    #[must_use]
    pub fn mistakes(&self) -> Vec<SettingsError> {
        let Self { min, max, target, tolerance, margin, .. } = *self;
        let mut mistakes = Vec::new();
        if min > max || max == 0 {
            mistakes.push(SettingsError::Bounds { min, max });
        }
        if !(target > 0.0 && target <= 1.0) {
            mistakes.push(SettingsError::Part { name: "the target", value: target });
        }
        for (name, value) in [("the tolerance", tolerance), ("the margin", margin)] {
            if !(value.is_finite() && value >= 0.0) {
                mistakes.push(SettingsError::Negative { name, value });
            }
        }
        if self.bucket < Duration::from_secs(1) {
            mistakes.push(SettingsError::Bucket(self.bucket));
        }
        if self.window < WINDOW_MIN {
            mistakes.push(SettingsError::Window(self.window));
        }
        mistakes
    }

    /// The window downwards; `sure` if a model says that the load does not grow.
    pub(super) fn shrinking(&self, sure: bool) -> Duration {
        let usual = self.behaviour.down.window;
        let twice = self.start.saturating_add(self.warm_up).saturating_mul(2);
        if sure { self.sure_window.max(twice).min(usual) } else { usual }
    }

    /// How many buckets a replica that is started with this decision may be late.
    pub(super) fn steps(&self) -> usize {
        let ahead = self.start.saturating_add(self.warm_up).as_nanos();
        usize::try_from(ahead.div_ceil(self.bucket.as_nanos().max(1))).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound() {
        assert_eq!(Settings::default().mistakes(), []);
        assert_eq!(Settings::default().steps(), 6);
    }

    fn configured(algorithm: Algorithm) -> Scale {
        let text = "services: [{ name: a, listen: [198.18.0.1:80], scale: { max: 10 } }]\n";
        let config = crate::config::parse("weir.yaml", text).unwrap().config;
        Scale { algorithm, ..*config.services[0].scale.clone().unwrap() }
    }

    #[test]
    fn what_is_not_configured_is_the_default() {
        let of = |forecast| Settings::from(&configured(Algorithm::Weir(forecast)));
        assert_eq!(of(Forecast::Grey), Settings::default());
        assert_eq!(of(Forecast::Holt).method, Method::Holt(Smoothing::LOAD));
        assert_eq!(of(Forecast::None).method, Method::Last);
        let hpa = Settings::from(&configured(Algorithm::Hpa));
        assert_eq!((hpa.method, hpa.behaviour), (Method::Last, Behaviour::default()));
    }

    #[test]
    fn all_mistakes_are_named_at_once() {
        let wrong = Settings {
            min: 5,
            max: 4,
            target: 1.5,
            tolerance: -0.1,
            margin: f64::NAN,
            bucket: Duration::from_millis(10),
            window: 4,
            ..Settings::default()
        };
        let said: Vec<String> = wrong.mistakes().iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "at least 5 and at most 4 replicas is no range",
                "the target is 1.5, it must be above 0 and at most 1",
                "the tolerance is -0.1, it must be a number from 0 on",
                "the margin is NaN, it must be a number from 0 on",
                "a bucket of 10ms is too short, a second is the least",
                "a window of 4 values is too short, 5 are the least",
            ]
        );
    }

    #[test]
    fn each_alone_is_a_mistake() {
        let usual = Settings::default;
        for wrong in [
            Settings { min: 0, max: 0, ..usual() },
            Settings { target: 0.0, ..usual() },
            Settings { target: f64::NAN, ..usual() },
            Settings { tolerance: f64::INFINITY, ..usual() },
            Settings { bucket: Duration::ZERO, ..usual() },
            Settings { window: 0, ..usual() },
        ] {
            assert_eq!(wrong.mistakes().len(), 1, "{wrong:?}");
        }
        assert_eq!(Settings { min: 0, ..usual() }.mistakes(), []);
    }

    #[test]
    fn a_sure_fall_shortens_the_window_as_far_as_replicas_start() {
        for (start, sure) in [(0, 120), (30, 120), (60, 180), (90, 240), (120, 300), (600, 300)] {
            let start = Duration::from_secs(start);
            let settings = Settings { start, ..Settings::default() };
            assert_eq!(settings.shrinking(true), Duration::from_secs(sure), "{start:?}");
            assert_eq!(settings.shrinking(false), Duration::from_mins(5));
        }
    }

    #[test]
    fn a_part_of_a_bucket_is_a_whole_step() {
        for (start, bucket, steps) in [(0, 15, 2), (31, 15, 5), (120, 15, 10), (60, 60, 2)] {
            let settings = Settings {
                start: Duration::from_secs(start),
                bucket: Duration::from_secs(bucket),
                ..Settings::default()
            };
            assert_eq!(settings.steps(), steps, "{start} {bucket}");
        }
    }
}
