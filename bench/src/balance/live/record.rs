//! Figures of what became of requests.

use std::{fmt::Write as _, time::Duration};

use super::client::{End, Record};

/// What a run says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figures {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) mean_ms: f64,
    /// Of all requests.
    pub(crate) failed_share: f64,
    pub(crate) requests: usize,
}

impl Figures {
    /// The figures of what was due in a part of a run. What failed or was not answered counts with
    /// the time that it has waited. `None` if nothing was due.
    pub(crate) fn of(records: &[Record], from: Duration, to: Duration) -> Option<Self> {
        let part: Vec<&Record> =
            records.iter().filter(|it| it.due >= from && it.due < to).collect();
        let mut took: Vec<f64> = part.iter().map(|it| 1e3 * it.took.as_secs_f64()).collect();
        took.sort_unstable_by(f64::total_cmp);
        let failed = part.iter().filter(|it| it.end == End::Failed).count();
        Some(Self {
            p50_ms: quantile(&took, 0.5)?,
            p99_ms: quantile(&took, 0.99)?,
            mean_ms: took.iter().sum::<f64>() / count(took.len()),
            failed_share: count(failed) / count(took.len()),
            requests: took.len(),
        })
    }
}

/// The value that so large a part of the sorted ones does not exceed (nearest rank).
pub(crate) fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index, of few enough values"
    )]
    let rank = (part * count(sorted.len())).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

#[expect(clippy::cast_precision_loss, reason = "requests are far below 2^52")]
fn count(number: usize) -> f64 {
    number as f64
}

/// Points of the distribution of latencies, in percent and ms, from the median to 99.5 %.
pub(crate) fn tail(records: &[Record], from: Duration) -> Vec<(f64, f64)> {
    let due = records.iter().filter(|it| it.due >= from);
    let mut took: Vec<f64> = due.map(|it| 1e3 * it.took.as_secs_f64()).collect();
    took.sort_unstable_by(f64::total_cmp);
    let points = (0..=200_u32).filter_map(|step| {
        let part = f64::from(step).mul_add(0.495 / 200.0, 0.5);
        Some((100.0 * part, quantile(&took, part)?))
    });
    points.collect()
}

/// What part of the answers each of so many backends gave, by second.
pub(crate) fn shares(records: &[Record], backends: usize) -> Vec<Vec<(f64, f64)>> {
    let end = records.iter().map(|it| it.due.as_secs()).max().unwrap_or(0);
    let mut lines = vec![Vec::new(); backends];
    // Over three seconds: a second of a small load says little.
    for second in 1..end {
        let near = |it: &&Record| it.due.as_secs().abs_diff(second) <= 1;
        let mut answers = vec![0_usize; backends];
        for record in records.iter().filter(near) {
            if let End::Answered(backend) = record.end
                && let Some(answers) = answers.get_mut(usize::from(backend))
            {
                *answers += 1;
            }
        }
        let all = count(answers.iter().sum::<usize>().max(1));
        for (line, answers) in lines.iter_mut().zip(answers) {
            #[expect(clippy::cast_precision_loss, reason = "seconds of a run")]
            line.push((second as f64, 100.0 * count(answers) / all));
        }
    }
    lines
}

/// All of them as CSV.
pub(crate) fn csv(records: &[Record]) -> String {
    let mut text = String::from("due_s,took_ms,end,backend\n");
    for Record { due, took, end } in records {
        let (end, backend) = match end {
            End::Answered(backend) => ("answered", backend.to_string()),
            End::Failed => ("failed", String::new()),
            End::Unanswered => ("unanswered", String::new()),
        };
        let (due, took) = (due.as_secs_f64(), 1e3 * took.as_secs_f64());
        // A string takes everything.
        let _ok = writeln!(text, "{due:.4},{took:.3},{end},{backend}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(due_ms: u64, took_ms: u64, end: End) -> Record {
        let (due, took) = (Duration::from_millis(due_ms), Duration::from_millis(took_ms));
        Record { due, took, end }
    }

    #[test]
    fn figures_are_of_what_was_due_in_the_part() {
        let from = Duration::from_secs(1);
        let to = Duration::from_secs(10);
        let mut records: Vec<Record> =
            (1..=100).map(|number| record(1_000 + number, number, End::Answered(1))).collect();
        records.push(record(0, 50_000, End::Unanswered));
        records.push(record(10_000, 50_000, End::Failed));
        let figures = Figures::of(&records, from, to).unwrap();
        assert_eq!((figures.p50_ms, figures.p99_ms, figures.requests), (50.0, 99.0, 100));
        assert!((figures.mean_ms - 50.5).abs() < 1e-9);
        assert!(figures.failed_share.abs() < 1e-9);
        records.extend([record(2_000, 1, End::Failed); 25]);
        let figures = Figures::of(&records, from, to).unwrap();
        assert!((figures.failed_share - 0.2).abs() < 1e-9);
    }

    #[test]
    fn nothing_due_has_no_figures() {
        let second = Duration::from_secs(1);
        assert_eq!(Figures::of(&[], Duration::ZERO, second), None);
        let late = [record(2_000, 1, End::Answered(0))];
        assert_eq!(Figures::of(&late, Duration::ZERO, second), None);
        assert!(tail(&[], Duration::ZERO).is_empty());
        assert!(shares(&[], 2).iter().all(Vec::is_empty));
    }

    #[test]
    fn quantiles_are_values_that_occurred() {
        let sorted = [1.0, 2.0, 3.0, 4.0];
        let cases = [(0.0, 1.0), (0.25, 1.0), (0.5, 2.0), (0.51, 3.0), (0.99, 4.0), (1.0, 4.0)];
        for (part, expected) in cases {
            assert_eq!(quantile(&sorted, part), Some(expected), "{part}");
        }
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn what_was_not_answered_is_in_the_raw_data() {
        let records = [record(1, 2, End::Answered(3)), record(5, 7, End::Unanswered)];
        let expected = "due_s,took_ms,end,backend\n0.0010,2.000,answered,3\n\
                        0.0050,7.000,unanswered,\n";
        assert_eq!(csv(&records), expected);
    }
}
