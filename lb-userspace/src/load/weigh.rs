//! From averages to a capacity, and from one capacity to the next.
//!
//! The capacity of a backend is what it serves divided by how busy that makes it: turns a second at
//! full utilisation. Whatever share of the traffic it has, the quotient is about the same, so a
//! controller that follows it does not chase its own decisions. Failures count twice: they
//! are not served, and they make busy; a backend that fails fast would seem to be the fastest.

use super::settings::Settings;

/// Successful turns a second at full utilisation.
pub(crate) fn capacity(
    turns_per_s: f64,
    error_share: f64,
    utilisation: f64,
    settings: &Settings,
) -> f64 {
    let busy = settings.error_weight.mul_add(error_share, utilisation);
    turns_per_s * (1.0 - error_share) / busy.max(settings.utilisation_min)
}

/// How far a capacity moved towards where it should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    /// It is near enough: nothing moves.
    Steady,
    /// All the way.
    Whole(f64),
    /// As far as the time since the last tick allows.
    Limited(f64),
}

/// One step from a capacity towards another in `dt_s` seconds. Halving takes a second, doubling
/// nearly two: a backend that broke down has to be relieved at once, one that seems to
/// have become faster can wait until that is sure.
pub(crate) fn step(from: f64, to: f64, dt_s: f64, settings: &Settings) -> Step {
    let distance = (to / from).ln();
    if distance.is_nan() || distance.abs() <= settings.deadband {
        return Step::Steady;
    }
    let limited = distance.clamp(-settings.fall_max * dt_s, settings.rise_max * dt_s);
    if (limited - distance).abs() < f64::EPSILON {
        Step::Whole(to)
    } else {
        Step::Limited(from * limited.exp())
    }
}

/// Part of the way back to a static weight that `dt_s` seconds take: the same part each second, but
/// no less than a deadband, so that the way ends.
pub(crate) fn relax(from: f64, to: f64, dt_s: f64, settings: &Settings) -> f64 {
    let distance = (to / from).ln();
    if distance.is_nan() || distance.abs() <= settings.deadband * dt_s {
        return to;
    }
    let part = -(-dt_s / settings.relax_s).exp_m1();
    let least = (settings.deadband * dt_s).copysign(distance);
    let wanted =
        if distance > 0.0 { least.max(distance * part) } else { least.min(distance * part) };
    from * wanted.clamp(-settings.fall_max * dt_s, settings.rise_max * dt_s).exp()
}

/// The middle one; the mean of the two middle ones.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(*values.get(middle.checked_sub(1)?)?, upper))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::load::classify::judge;

    #[test]
    fn capacity_is_what_is_served_by_how_busy_that_makes() {
        #[rustfmt::skip]
        let table = [
            // turns/s, errors, utilisation, capacity
            (35.0, 0.0, 0.7,  50.0),
            (50.0, 0.0, 1.0,  50.0),
            (0.0,  0.0, 0.7,  0.0),
            (1.0,  0.0, 0.0,  20.0),
            // Fails half of its turns at once.
            (40.0, 0.5, 0.1,  20.0 / 0.6),
            (40.0, 1.0, 0.0,  0.0),
        ];
        for (turns, errors, utilisation, expected) in table {
            let got = capacity(turns, errors, utilisation, &Settings::default());
            assert!((got - expected).abs() < 1e-9, "{turns} {errors} {utilisation}: {got}");
        }
    }

    #[test]
    fn steps_are_limited_and_small_ones_are_none() {
        let settings = Settings::default();
        let halved = 100.0 * (-0.7_f64).exp();
        #[rustfmt::skip]
        let table = [
            // from, to, seconds, step
            (100.0, 104.0,    1.0, Step::Steady),
            (100.0, 96.0,     1.0, Step::Steady),
            (100.0, 120.0,    1.0, Step::Whole(120.0)),
            (100.0, 60.0,     1.0, Step::Whole(60.0)),
            (100.0, 1.0,      1.0, Step::Limited(halved)),
            (100.0, 300.0,    1.0, Step::Limited(100.0 * 0.4_f64.exp())),
            (100.0, 300.0,    2.0, Step::Limited(100.0 * 0.8_f64.exp())),
            (100.0, 0.0,      1.0, Step::Limited(halved)),
            (100.0, 300.0,    0.0, Step::Limited(100.0)),
            (100.0, f64::NAN, 1.0, Step::Steady),
            (100.0, -5.0,     1.0, Step::Steady),
        ];
        for (from, to, dt_s, expected) in table {
            assert_eq!(step(from, to, dt_s, &settings), expected, "{from} to {to}");
        }
    }

    #[test]
    fn the_way_back_ends() {
        let settings = Settings::default();
        for (from, near_by) in [(1.0, false), (90.0, true), (1600.0, false)] {
            let back = (0..120).fold(from, |at, _| relax(at, 100.0, 1.0, &settings));
            assert!((back - 100.0).abs() < 1e-9, "from {from}: {back}");
            let early = (0..20).fold(from, |at, _| relax(at, 100.0, 1.0, &settings));
            assert!(near_by || (early - 100.0).abs() > 20.0, "from {from}: {early}");
        }
    }

    #[test]
    fn medians() {
        #[rustfmt::skip]
        let table = [
            (vec![], None),
            (vec![3.0], Some(3.0)),
            (vec![9.0, 1.0, 5.0], Some(5.0)),
            (vec![4.0, 1.0], Some(2.5)),
        ];
        for (values, expected) in table {
            assert_eq!(median(values.clone()), expected, "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn more_use_or_more_errors_never_mean_more_capacity(
            used in prop::array::uniform4(0.0..1.0_f64),
            more in 0.0..1.0_f64,
            which in 0..4_usize,
            (turns, in_flight, errors) in (0.0..1e4_f64, 0.0..50.0_f64, 0.0..1.0_f64),
            servers in 1.0..32.0_f64,
        ) {
            let settings = Settings::default();
            let of = |used: [f64; 4], turns: f64, errors: f64| {
                let pressure = judge(used.map(Some), None, in_flight, servers.round());
                capacity(turns, errors, pressure.utilisation, &settings)
            };
            let base = of(used, turns, errors);
            let mut raised = used;
            raised[which] = (used[which] + more).min(1.0);
            prop_assert!(of(raised, turns, errors) <= base * (1.0 + 1e-12));
            prop_assert!(of(used, turns, (errors + more).min(1.0)) <= base * (1.0 + 1e-12));
            prop_assert!(of(used, turns * (1.0 + more), errors) >= base * (1.0 - 1e-12));
        }
    }
}
