//! Every constant of the control law, with what it stands for. Nobody has to set one; they are
//! values so that tests and the bench can ask what each of them is worth.

use std::time::Duration;

/// The constants of the law.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Turns that an average remembers: some 300 effective ones, an error of about 8 % where
    /// service times vary with cv 1.5.
    pub memory_turns: f64,
    /// Shortest memory, in seconds: CPU counters of one tick are too coarse.
    pub memory_min_s: f64,
    /// Longest memory of a backend that has enough turns.
    pub memory_max_s: f64,
    /// Longest memory of a backend that has few: long requests are no reason to know nothing.
    pub memory_patience_s: f64,
    /// Turns within the memory that make a measurement.
    pub turns_needed: f64,
    /// Below this utilisation, background work is a large part of what is measured.
    pub utilisation_min: f64,
    /// What a share of errors adds to the utilisation.
    pub error_weight: f64,
    /// No capacity is further away from the median, as a factor.
    pub spread_max: f64,
    /// Largest fall of a capacity in a second, as a logarithm: halves.
    pub fall_max: f64,
    /// Largest rise of a capacity in a second, as a logarithm: half as much again.
    pub rise_max: f64,
    /// Changes below this, as a logarithm, are noise.
    pub deadband: f64,
    /// Deviations of a tick, in standard deviations, that count as a change of the backend.
    pub change_z: f64,
    /// Variation of service times assumed when judging deviations.
    pub service_cv: f64,
    /// Ticks of short memory after a change.
    pub change_ticks: u32,
    /// Share of shares that has to move before new ones are published.
    pub publish_min: f64,
    /// Smaller changes are published this often.
    pub publish_every: Duration,
    /// Time until a new or recovered backend may have its full share unmeasured.
    pub slow_start: Duration,
    /// What it begins with, of the median.
    pub slow_start_floor: f64,
    /// Time during which measurements of a new or recovered backend say nothing.
    pub blackout: Duration,
    /// Older readings are not used; capacities are held.
    pub stale_hold: Duration,
    /// From this age on the dataplane's own signals have to do.
    pub stale_gone: Duration,
    /// A backend that could not be measured for so long goes back to its static weight: one that
    /// broke down gets too little to show that it has recovered.
    pub doubt_after: Duration,
    /// Time constant of the way back to the static weights, in seconds.
    pub relax_s: f64,
    /// Connections that failed in a row that eject.
    pub eject_in_a_row: u64,
    /// Share of failed turns that ejects ..
    pub eject_error_share: f64,
    /// .. if it is so many times the median ..
    pub eject_times_median: f64,
    /// .. and of so many turns at least.
    pub eject_attempts: f64,
    /// First ejection; the second takes twice as long, and so on.
    pub eject_for: Duration,
    /// Longest ejection, and the time without one after which the next is a first one again.
    pub eject_max: Duration,
    /// Share of a backend in hash mode, times the number of backends, that it cannot fall below.
    pub share_floor: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            memory_turns: 150.0,
            memory_min_s: 2.0,
            memory_max_s: 20.0,
            memory_patience_s: 300.0,
            turns_needed: 20.0,
            utilisation_min: 0.05,
            error_weight: 1.0,
            spread_max: 16.0,
            fall_max: 0.7,
            rise_max: 0.4,
            deadband: 0.05,
            change_z: 3.0,
            service_cv: 1.5,
            change_ticks: 3,
            publish_min: 0.01,
            publish_every: Duration::from_secs(10),
            slow_start: Duration::from_secs(30),
            slow_start_floor: 0.1,
            blackout: Duration::from_secs(5),
            stale_hold: Duration::from_secs(3),
            stale_gone: Duration::from_secs(10),
            doubt_after: Duration::from_mins(1),
            relax_s: 30.0,
            eject_in_a_row: 5,
            eject_error_share: 0.3,
            eject_times_median: 3.0,
            eject_attempts: 20.0,
            eject_for: Duration::from_secs(30),
            eject_max: Duration::from_mins(5),
            share_floor: 0.1,
        }
    }
}
