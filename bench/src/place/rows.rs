//! What is to be reached, by kind of cluster.

use lb_userspace::placement::Method;

use super::{
    Sample,
    speed::Speed,
    table::{behind, kinds, of},
};
use crate::report::{Bar, Better, Row};

/// The colony beside Kubernetes, beside the best of all, and alone.
pub(super) fn rows(samples: &[Sample], speed: &[Speed]) -> Vec<Row> {
    let mut rows = Vec::new();
    for kind in kinds(samples) {
        let series = |method, value: fn(&Sample) -> f64| -> Vec<f64> {
            of(samples, kind, method).into_iter().map(value).collect()
        };
        let deviation = |method| series(method, |it| it.deviation);
        let ours = deviation(Method::AntColony);
        let beside = |what: &str, method, bar| {
            let what = format!("{kind}: std / {what}");
            Row::quotient("E10", what, &ours, &deviation(method), bar)
        };
        let sorted_bar = kind.ends_with("85%").then(|| limit(0.7));
        rows.extend(beside("kubernetes", Method::Kubernetes, Some(limit(0.5))));
        rows.extend(beside("kubernetes-sorted", Method::KubernetesSorted, sorted_bar));
        let ratios = behind(samples, kind, Method::AntColony);
        let worst = ratios.iter().copied().fold(0.0, f64::max);
        rows.extend(
            Row::new("E10", format!("{kind}: objective / best"), &ratios, Some(limit(1.02)))
                .map(Row::into_ratio),
        );
        rows.extend(
            Row::new("E10", format!("{kind}: the same, worst seed"), &[worst], Some(limit(1.02)))
                .map(Row::into_ratio),
        );
        #[expect(clippy::cast_precision_loss, reason = "replicas are few")]
        let unplaced = series(Method::AntColony, |it| it.unplaced as f64);
        rows.extend(Row::new("E10", format!("{kind}: unplaced"), &unplaced, Some(limit(0.0))));
        // Labels, neighbours and zones may leave no way to spread as wide as the nodes would allow.
        let concentration_bar = (!kind.contains("rules")).then(|| limit(0.002));
        let concentration = series(Method::AntColony, |it| it.concentration);
        rows.extend(Row::new("E10", format!("{kind}: A"), &concentration, concentration_bar));
    }
    let faster = speed.iter().filter(|it| it.threads == 2);
    let bar = Some(Bar::HIGHER);
    let faster =
        faster.filter_map(|it| Row::new("E10", "time of one thread / of two", &it.ratios, bar));
    rows.extend(faster.map(Row::into_ratio));
    rows
}

const fn limit(must: f64) -> Bar {
    Bar { better: Better::Lower, must: Some(must), aim: None }
}
