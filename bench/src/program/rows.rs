//! From series to the rows of the table, with their bars.

use anyhow::Result;

use crate::{
    report::{Bar, Better, Row, Series},
    weir::{Hook, Weir},
};

/// One series divided by another.
struct Quotient {
    id: &'static str,
    of: &'static str,
    by: &'static str,
    bar: Option<Bar>,
}

const fn quotient(
    id: &'static str,
    of: &'static str,
    by: &'static str,
    bar: Option<Bar>,
) -> Quotient {
    Quotient { id, of, by, bar }
}

const QUOTIENTS: [Quotient; 14] = [
    quotient("A/A", "dnat again", "dnat", None),
    quotient("A/A", "xdp established v4 again", "xdp established v4", None),
    quotient("P1", "xdp established v4", "dnat", Some(Bar::at_most(1.50, 1.05))),
    quotient("P2", "xdp reply v4", "xdp established v4", Some(Bar::at_most(1.10, 1.00))),
    quotient("P3", "xdp established v6", "xdp established v4", Some(Bar::at_most(1.35, 1.15))),
    quotient("P4", "xdp established udp", "xdp established v4", Some(Bar::at_most(1.10, 1.00))),
    quotient("P5", "xdp new flow", "new2", Some(must(1.20))),
    quotient("P5", "xdp new flow", "new1", Some(aim(1.20))),
    quotient("P6", "xdp not ours", "hash", Some(Bar::at_most(1.00, 0.40))),
    quotient("P7", "xdp 100,000 flows", "dnat, 100,000 flows", Some(Bar::at_most(1.25, 1.10))),
    quotient("TC", "tc established v4", "xdp established v4", Some(Bar::LOWER)),
    quotient("TC", "tc reply v4", "tc established v4", Some(Bar::LOWER)),
    quotient("TC", "tc new flow", "xdp new flow", Some(Bar::LOWER)),
    quotient("TC", "tc not ours", "xdp not ours", Some(Bar::LOWER)),
];

const fn must(limit: f64) -> Bar {
    Bar { better: Better::Lower, must: Some(limit), aim: None }
}

const fn aim(limit: f64) -> Bar {
    Bar { better: Better::Lower, must: None, aim: Some(limit) }
}

/// All rows.
pub(super) fn rows(series: &[Series], weir: &Weir) -> Result<Vec<Row>> {
    let mut rows = quotients(series);
    for name in [Hook::Xdp, Hook::Tc].into_iter().flat_map(Hook::programs) {
        let info = weir.info(name)?;
        let code = f64::from(info.size_jitted());
        let verified = info.verified_instruction_count().map(f64::from);
        let bar = Bar::at_most(12.0 * 1024.0, 8.0 * 1024.0);
        let row = Row::new("P10", format!("{name}: bytes of JIT code"), &[code], Some(bar));
        rows.extend(row.map(Row::as_exact));
        let bar = Bar::at_most(100_000.0, 60_000.0);
        let verified: Vec<f64> = verified.into_iter().collect();
        let what = format!("{name}: verified instructions");
        rows.extend(Row::new("P10", what, &verified, Some(bar)).map(Row::as_exact));
    }
    Ok(rows)
}

fn quotients(series: &[Series]) -> Vec<Row> {
    let samples = |name: &str| {
        let found = series.iter().find(|series| series.name == name);
        found.map_or(&[][..], |series| &series.samples)
    };
    let row = |quotient: &Quotient| {
        let Quotient { id, of, by, bar } = quotient;
        Row::quotient(id, format!("{of} / {by}"), samples(of), samples(by), *bar)
    };
    QUOTIENTS.iter().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;

    fn series(name: &str, samples: &[f64]) -> Series {
        Series { name: name.to_owned(), unit: "ns", samples: samples.to_vec() }
    }

    #[test]
    fn rows_are_medians_of_paired_ratios() {
        let series = [
            series("dnat", &[40.0, 80.0, 40.0]),
            series("xdp established v4", &[56.0, 112.0, 60.0]),
        ];
        let rows = quotients(&series);
        let [row] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!((row.id, row.value.median, row.verdict), ("P1", 1.4, Verdict::Must));
    }

    #[test]
    fn what_was_not_measured_has_no_row() {
        assert!(quotients(&[]).is_empty());
        assert!(quotients(&[series("dnat", &[40.0])]).is_empty());
    }
}
