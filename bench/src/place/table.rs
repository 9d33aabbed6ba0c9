//! All samples for people: a block a kind of cluster, a line a method, means over the seeds.

use lb_userspace::{
    cli::table::{
        Align::{Left, Right},
        Cell, Table,
    },
    placement::Method,
};

use super::Sample;

/// The mean of something over the samples of one method.
pub(super) fn mean(samples: &[&Sample], value: impl Fn(&Sample) -> f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "samples are few")]
    let count = samples.len() as f64;
    samples.iter().map(|sample| value(sample)).sum::<f64>() / count
}

/// The samples of one method on one kind of cluster.
pub(super) fn of<'a>(samples: &'a [Sample], instance: &str, method: Method) -> Vec<&'a Sample> {
    samples.iter().filter(|it| it.instance == instance && it.method == method).collect()
}

/// The kinds of clusters, in order.
pub(super) fn kinds(samples: &[Sample]) -> Vec<&'static str> {
    let mut kinds: Vec<&'static str> = samples.iter().map(|sample| sample.instance).collect();
    kinds.dedup();
    kinds
}

/// By seed, the objective divided by that of the best method there.
pub(super) fn behind(samples: &[Sample], instance: &str, method: Method) -> Vec<f64> {
    let ratio = |mine: &&Sample| {
        let same = samples.iter().filter(|it| it.instance == instance && it.seed == mine.seed);
        let best = same
            .min_by(|a, b| a.unplaced.cmp(&b.unplaced).then(a.objective.total_cmp(&b.objective)));
        best.map_or(f64::NAN, |best| mine.objective / best.objective)
    };
    of(samples, instance, method).iter().map(ratio).collect()
}

pub(super) fn render(samples: &[Sample]) -> String {
    let part = |kind| {
        let replicas = mean(&of(samples, kind, Method::AntColony), |it| real(it.replicas));
        format!("\n{kind}, {replicas:.0} replicas\n{}", block(samples, kind).render(false))
    };
    kinds(samples).into_iter().map(part).collect()
}

fn block(samples: &[Sample], kind: &str) -> Table {
    let mut table = Table::new(&[
        ("METHOD", Left),
        ("STD", Right),
        ("MAX", Right),
        ("UNPLACED", Right),
        ("A", Right),
        ("OBJECTIVE", Right),
        ("TO BEST", Right),
        ("WORST", Right),
        ("ITERATIONS", Right),
        ("MS", Right),
    ]);
    for method in Method::ALL {
        let mine = of(samples, kind, method);
        let ratios = behind(samples, kind, method);
        #[expect(clippy::cast_precision_loss, reason = "samples are few")]
        let ratio = ratios.iter().sum::<f64>() / ratios.len() as f64;
        let worst = ratios.iter().copied().fold(0.0, f64::max);
        let cells: [Cell; 10] = [
            method.name().into(),
            format!("{:.4}", mean(&mine, |it| it.deviation)).into(),
            format!("{:.3}", mean(&mine, |it| it.peak)).into(),
            format!("{:.1}", mean(&mine, |it| real(it.unplaced))).into(),
            format!("{:.4}", mean(&mine, |it| it.concentration)).into(),
            format!("{:.4}", mean(&mine, |it| it.objective)).into(),
            format!("{ratio:.3}").into(),
            format!("{worst:.3}").into(),
            format!("{:.0}", mean(&mine, |it| f64::from(it.iterations))).into(),
            format!("{:.1}", mean(&mine, |it| it.elapsed_ms)).into(),
        ];
        table.row(cells);
    }
    table
}

#[expect(clippy::cast_precision_loss, reason = "replicas are few")]
fn real(number: usize) -> f64 {
    number as f64
}
