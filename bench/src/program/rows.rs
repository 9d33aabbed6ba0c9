//! From series to the rows of the table, with their bars.

use anyhow::Result;
use aya::programs::ProgramInfo;
use lb_userspace::model::Policy;

use super::{
    bed::{Bed, MAIN},
    subjects::{flows_names, policy_name, services_names},
};
use crate::{
    report::{Bar, Better, Row, Series},
    weir::Hook,
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

const LOWER: Option<Bar> = Some(Bar::LOWER);
const SIGNALS: Option<Bar> = Some(Bar::at_most(1.15, 1.05));

const QUOTIENTS: [Quotient; 31] = [
    quotient("A/A", "dnat again", "dnat", None),
    quotient("A/A", "xdp established v4 again", "xdp established v4", None),
    quotient("P1", "xdp established v4", "dnat", Some(Bar::at_most(1.50, 1.05))),
    quotient("P2", "xdp reply v4", "xdp established v4", Some(Bar::at_most(1.10, 1.00))),
    quotient("P2", "xdp reply v6", "xdp established v6", LOWER),
    quotient("P2", "xdp reply udp", "xdp established udp", LOWER),
    quotient("P3", "xdp established v6", "xdp established v4", Some(Bar::at_most(1.35, 1.15))),
    quotient("P3", "xdp established udp v6", "xdp established udp", LOWER),
    quotient("P4", "xdp established udp", "xdp established v4", Some(Bar::at_most(1.10, 1.00))),
    quotient("P5", "xdp new flow", "new2", Some(must(1.20))),
    quotient("P5", "xdp new flow", "new1", Some(aim(1.20))),
    quotient("P5", "xdp new flow", "new2, small table", LOWER),
    quotient("P5", "xdp new flow", "new1, small table", LOWER),
    quotient("P5", "xdp new flow v6", "xdp new flow", LOWER),
    quotient("P5", "xdp new flow udp", "xdp new flow", LOWER),
    quotient("P6", "xdp not ours", "hash", Some(Bar::at_most(1.00, 0.40))),
    quotient("P6", "xdp dropped, source denied", "hash", LOWER),
    quotient("P6", "xdp dropped, no backend", "hash", LOWER),
    quotient("P7", "xdp 100,000 flows", "dnat, 100,000 flows", Some(Bar::at_most(1.25, 1.10))),
    quotient("P9", "xdp in turn v4, signals", "xdp in turn v4", SIGNALS),
    quotient("P9", "xdp established v4, signals", "xdp established v4", SIGNALS),
    quotient("P9", "xdp new flow, adaptive", "xdp new flow, weighted-least-connections", LOWER),
    quotient("TC", "tc established v4", "xdp established v4", LOWER),
    quotient("TC", "tc reply v4", "tc established v4", LOWER),
    quotient("TC", "tc established v6", "tc established v4", LOWER),
    quotient("TC", "tc established udp", "tc established v4", LOWER),
    quotient("TC", "tc new flow", "xdp new flow", LOWER),
    quotient("TC", "tc not ours", "xdp not ours", LOWER),
    quotient("NAT", "xdp established v4, full NAT", "xdp established v4", LOWER),
    quotient("NAT", "tc established v4, full NAT", "tc established v4", LOWER),
    quotient("beside", "beside", "xdp established v4", None),
];

const fn must(limit: f64) -> Bar {
    Bar { better: Better::Lower, must: Some(limit), aim: None }
}

const fn aim(limit: f64) -> Bar {
    Bar { better: Better::Lower, must: None, aim: Some(limit) }
}

/// All rows.
pub(super) fn rows(series: &[Series], bed: &Bed) -> Result<Vec<Row>> {
    let mut rows = quotients(series);
    rows.extend(scale(series, &bed.extent.flows, &bed.extent.services));
    for name in [Hook::Xdp, Hook::Tc].into_iter().flat_map(Hook::programs) {
        rows.extend(sizes(name, &bed.weirs[MAIN].info(name)?, true));
    }
    if let Some(beside) = &bed.beside {
        rows.extend(sizes(&beside.named.to_string(), &beside.info()?, false));
    }
    Ok(rows)
}

/// What the kernel made of a program.
fn sizes(name: &str, info: &ProgramInfo, has_bars: bool) -> Vec<Row> {
    let row = |what: &str, value: Option<u32>, bar: Bar| {
        let values: Vec<f64> = value.into_iter().map(f64::from).collect();
        let bar = has_bars.then_some(bar);
        Row::new("P10", format!("{name}: {what}"), &values, bar).map(Row::into_exact)
    };
    let code = Bar::at_most(12.0 * 1024.0, 8.0 * 1024.0);
    let verified = Bar::at_most(100_000.0, 60_000.0);
    let rows = [
        row("bytes of JIT code", Some(info.size_jitted()), code),
        row("verified instructions", info.verified_instruction_count(), verified),
    ];
    rows.into_iter().flatten().collect()
}

/// The samples of a series.
pub(super) fn samples<'a>(series: &'a [Series], name: &str) -> &'a [f64] {
    let found = series.iter().find(|series| series.name == name);
    found.map_or(&[], |series| &series.samples)
}

fn quotients(series: &[Series]) -> Vec<Row> {
    let row = |quotient: &Quotient| {
        let Quotient { id, of, by, bar } = quotient;
        let (ours, theirs) = (samples(series, of), samples(series, by));
        Row::quotient(id, format!("{of} / {by}"), ours, theirs, *bar)
    };
    QUOTIENTS.iter().filter_map(row).collect()
}

/// How cost grows with policies, flows and services.
fn scale(series: &[Series], flows: &[u32], services: &[u32]) -> Vec<Row> {
    let row = |id, of: &str, by: &str, bar| {
        Row::quotient(id, format!("{of} / {by}"), samples(series, of), samples(series, by), bar)
    };
    let mut rows = Vec::new();
    for policy in Policy::ALL.into_iter().filter(|policy| *policy != Policy::Maglev) {
        let (of, by) = (policy_name(policy), policy_name(Policy::Maglev));
        rows.push(row("P5", &of, &by, LOWER));
    }
    for count in flows {
        let [ours, floor] = flows_names(*count);
        rows.push(row("P7", &ours, &floor, LOWER));
    }
    let [one, one_new] = services_names(services.first().copied().unwrap_or(1));
    for count in services.iter().skip(1) {
        let [known, new] = services_names(*count);
        let bars = if *count == 1_000 {
            [Bar::at_most(1.05, 1.00), Bar::at_most(1.20, 1.05)]
        } else {
            [Bar::LOWER; 2]
        };
        rows.push(row("P8", &known, &one, Some(bars[0])));
        rows.push(row("P8", &new, &one_new, Some(bars[1])));
    }
    rows.into_iter().flatten().collect()
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
    fn only_a_thousand_services_have_bars() {
        let [one, _] = services_names(1);
        let mut all = vec![series(&one, &[40.0])];
        for count in [1_000, 10_000] {
            let [known, _] = services_names(count);
            all.push(series(&known, &[50.0]));
        }
        let rows = scale(&all, &[], &[1, 1_000, 10_000]);
        let verdicts: Vec<_> = rows.iter().map(|row| (row.id, row.verdict)).collect();
        assert_eq!(verdicts, [("P8", Verdict::Missed), ("P8", Verdict::Open)]);
    }

    #[test]
    fn what_was_not_measured_has_no_row() {
        assert!(quotients(&[]).is_empty());
        assert!(quotients(&[series("dnat", &[40.0])]).is_empty());
        assert!(scale(&[], &[1, 1_000], &[1, 1_000]).is_empty());
    }
}
