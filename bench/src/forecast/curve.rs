//! What a scaler misses over what it costs, and the comparison at equal cost.

use serde::Serialize;

use super::cluster::{Outcome, Subject};

/// One target of a scaler, over all loads of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Point {
    pub(crate) subject: Subject,
    pub(crate) target: f64,
    pub(crate) violation_percent: f64,
    pub(crate) lost_percent: f64,
    pub(crate) pod_hours: f64,
    pub(crate) actions: f64,
    /// Mean seconds after the top of a ramp; none without ramps.
    pub(crate) late_seconds: Option<f64>,
    /// Whether the cost is what was asked for.
    pub(crate) equal: bool,
    /// Whether no point of any scaler costs less and misses less.
    pub(crate) pareto: bool,
}

impl Point {
    pub(crate) fn new(subject: Subject, target: u32, outcome: &Outcome) -> Self {
        let percent = |part: f64, whole: f64| if whole > 0.0 { 100.0 * part / whole } else { 0.0 };
        Self {
            subject,
            target: f64::from(target),
            violation_percent: percent(outcome.violations, outcome.steps),
            lost_percent: percent(outcome.lost, outcome.requests),
            pod_hours: outcome.pod_hours,
            actions: outcome.actions,
            late_seconds: (outcome.ramps > 0.0).then(|| outcome.late_seconds / outcome.ramps),
            equal: true,
            pareto: false,
        }
    }

    fn between(&self, other: &Self, part: f64) -> Self {
        let mix = |a: f64, b: f64| (b - a).mul_add(part, a);
        Self {
            target: mix(self.target, other.target),
            violation_percent: mix(self.violation_percent, other.violation_percent),
            lost_percent: mix(self.lost_percent, other.lost_percent),
            pod_hours: mix(self.pod_hours, other.pod_hours),
            actions: mix(self.actions, other.actions),
            late_seconds: self.late_seconds.zip(other.late_seconds).map(|(a, b)| mix(a, b)),
            pareto: false,
            ..*self
        }
    }
}

/// Marks the points that nothing beats in both cost and violations.
pub(crate) fn mark_pareto(points: &mut [Point]) {
    for index in 0..points.len() {
        let one = points[index];
        let beaten = points.iter().any(|other| {
            let no_worse = other.pod_hours <= one.pod_hours
                && other.violation_percent <= one.violation_percent;
            let better =
                other.pod_hours < one.pod_hours || other.violation_percent < one.violation_percent;
            no_worse && better
        });
        points[index].pareto = !beaten;
    }
}

/// What a scaler does for this many pod-hours: in proportion between the two targets that cost a
/// little less and a little more. Where all its targets cost less, or all more, it is the nearest
/// one, not equal.
pub(crate) fn at_cost(points: &[Point], subject: Subject, pod_hours: f64) -> Option<Point> {
    let mut curve: Vec<Point> = points.iter().filter(|it| it.subject == subject).copied().collect();
    curve.sort_by(|a, b| a.pod_hours.total_cmp(&b.pod_hours));
    let inside = curve.windows(2).find_map(|pair| {
        let (cheap, dear) = (&pair[0], &pair[1]);
        let width = dear.pod_hours - cheap.pod_hours;
        let inside = (cheap.pod_hours..=dear.pod_hours).contains(&pod_hours) && width > 0.0;
        inside.then(|| cheap.between(dear, (pod_hours - cheap.pod_hours) / width))
    });
    let away = |point: &Point| (point.pod_hours - pod_hours).abs();
    let nearest = curve.iter().min_by(|a, b| away(a).total_cmp(&away(b)));
    inside.or_else(|| nearest.map(|point| Point { equal: false, ..*point }))
}

/// A ratio of two shares of which either may be nothing: equal if both are.
pub(crate) fn ratio(of: f64, by: f64) -> f64 {
    const NOTHING: f64 = 1e-9;
    if of.abs() < NOTHING && by.abs() < NOTHING { 1.0 } else { of / by }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::float_cmp, reason = "these results are exact")]

    use super::*;

    fn point(subject: Subject, pod_hours: f64, violation_percent: f64) -> Point {
        let outcome = Outcome {
            steps: 100.0,
            violations: violation_percent,
            requests: 100.0,
            lost: violation_percent / 2.0,
            pod_hours,
            ..Outcome::default()
        };
        Point::new(subject, 80, &outcome)
    }

    #[test]
    fn costs_are_compared_in_proportion() {
        let points = [
            point(Subject::Grey, 20.0, 1.0),
            point(Subject::Grey, 10.0, 5.0),
            point(Subject::HoltQuick, 15.0, 9.0),
        ];
        let at = |subject, cost| at_cost(&points, subject, cost).map(|it| it.violation_percent);
        assert_eq!(at(Subject::Grey, 12.5), Some(4.0));
        assert_eq!(at(Subject::Grey, 10.0), Some(5.0));
        assert_eq!(at(Subject::Grey, 20.0), Some(1.0));
        for (subject, cost, nearest) in
            [(Subject::Grey, 9.9, 5.0), (Subject::Grey, 20.1, 1.0), (Subject::HoltQuick, 15.0, 9.0)]
        {
            let point = at_cost(&points, subject, cost).unwrap();
            assert_eq!((point.equal, point.violation_percent), (false, nearest), "{cost}");
        }
        assert_eq!(at(Subject::HpaCpu, 15.0), None);
    }

    #[test]
    fn the_front_is_what_nothing_beats() {
        let mut points = [
            point(Subject::Grey, 10.0, 5.0),
            point(Subject::HoltQuick, 10.0, 6.0),
            point(Subject::HoltQuick, 12.0, 5.0),
            point(Subject::HpaCpu, 12.0, 4.0),
            point(Subject::HpaLoad, 12.0, 4.0),
        ];
        mark_pareto(&mut points);
        assert_eq!(points.map(|it| it.pareto), [true, false, false, true, true]);
    }

    #[test]
    fn nothing_of_nothing_is_equal() {
        assert_eq!(ratio(0.0, 0.0), 1.0);
        assert_eq!(ratio(1.0, 4.0), 0.25);
        assert_eq!(ratio(0.0, 4.0), 0.0);
        assert!(ratio(1.0, 0.0).is_infinite());
    }
}
