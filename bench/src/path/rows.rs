//! From samples to the rows of the table, with their bars. Where less is better, the ratio is
//! turned around: above 1 is good for us, but for the rows that say otherwise.

use super::{Kind, Metric, Samples};
use crate::report::{Bar, Row};

/// One way divided by another, by one metric.
struct Quotient {
    id: &'static str,
    metric: Metric,
    of: Kind,
    by: Kind,
    bar: Option<Bar>,
}

const fn quotient(
    id: &'static str,
    metric: Metric,
    of: Kind,
    by: Kind,
    bar: Option<Bar>,
) -> Quotient {
    Quotient { id, metric, of, by, bar }
}

const KEEP_ALIVE: Option<Bar> = Some(Bar::at_least(1.05, 1.20));
const ONE_EACH: Option<Bar> = Some(Bar::at_least(1.08, 1.23));
const UDP: Option<Bar> = Some(Bar::at_least(1.6, 1.9));
const BULK: Option<Bar> = Some(Bar::at_least(1.0, 1.15));
const BULK_CPU: Option<Bar> = Some(Bar::at_most(1.10, 1.00));
const DOCKER_KEPT: Option<Bar> = Some(Bar::at_least(1.15, 1.35));
const DOCKER_EACH: Option<Bar> = Some(Bar::at_least(1.15, 1.30));
const PROXY: Option<Bar> = Some(Bar::at_least(2.5, 3.0));
const LATENCY: Option<Bar> = Some(Bar::at_most(1.00, 0.80));

const QUOTIENTS: [Quotient; 23] = [
    quotient("A/A", Metric::DatagramCpu, Kind::Again, Kind::Weir, None),
    quotient("A/A", Metric::KeepAliveCpu, Kind::Again, Kind::Weir, None),
    quotient("A/A", Metric::OneEachCpu, Kind::Again, Kind::Weir, None),
    quotient("E1", Metric::DatagramCpu, Kind::Nft, Kind::Weir, UDP),
    quotient("E1", Metric::DatagramCpu, Kind::Routing, Kind::Weir, Some(Bar::HIGHER)),
    quotient("E4", Metric::KeepAliveCpu, Kind::Nft, Kind::Weir, KEEP_ALIVE),
    quotient("E4", Metric::KeepAliveRate, Kind::Weir, Kind::Nft, KEEP_ALIVE),
    quotient("E5", Metric::OneEachCpu, Kind::Nft, Kind::Weir, ONE_EACH),
    quotient("E5", Metric::OneEachRate, Kind::Weir, Kind::Nft, ONE_EACH),
    quotient("E7", Metric::BulkRate, Kind::Weir, Kind::Nft, BULK),
    quotient("E7", Metric::BulkCpu, Kind::Nft, Kind::Weir, Some(Bar::HIGHER)),
    quotient("E7", Metric::BulkCpu, Kind::Weir, Kind::Routing, BULK_CPU),
    quotient("E8", Metric::Latency, Kind::Weir, Kind::Nft, LATENCY),
    quotient("E8", Metric::Latency, Kind::Weir, Kind::Routing, Some(Bar::LOWER)),
    quotient("E9", Metric::KeepAliveCpu, Kind::Docker, Kind::One, DOCKER_KEPT),
    quotient("E9", Metric::KeepAliveRate, Kind::One, Kind::Docker, Some(Bar::HIGHER)),
    quotient("E9", Metric::OneEachCpu, Kind::Docker, Kind::One, DOCKER_EACH),
    quotient("E9", Metric::OneEachRate, Kind::One, Kind::Docker, Some(Bar::HIGHER)),
    quotient("E9", Metric::Latency, Kind::One, Kind::Docker, Some(Bar::LOWER)),
    quotient("E10", Metric::KeepAliveCpu, Kind::Proxy, Kind::Host, PROXY),
    quotient("E10", Metric::KeepAliveRate, Kind::Host, Kind::Proxy, Some(Bar::HIGHER)),
    quotient("E10", Metric::OneEachCpu, Kind::Proxy, Kind::Host, PROXY),
    quotient("E10", Metric::OneEachRate, Kind::Host, Kind::Proxy, Some(Bar::HIGHER)),
];

/// All rows.
pub(super) fn rows(samples: &Samples) -> Vec<Row> {
    let of = |metric, kind| samples.get(&(metric, kind)).map_or(&[][..], Vec::as_slice);
    let row = |quotient: &Quotient| {
        let Quotient { id, metric, of: ours, by, bar } = *quotient;
        let what = format!("{}: {} / {}", metric.name().0, ours.name(), by.name());
        Row::quotient(id, what, of(metric, ours), of(metric, by), bar)
    };
    QUOTIENTS.iter().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;

    #[test]
    fn a_cheaper_way_has_the_higher_ratio() {
        let samples = Samples::from([
            ((Metric::DatagramCpu, Kind::Weir), vec![1.0, 2.0]),
            ((Metric::DatagramCpu, Kind::Nft), vec![1.7, 3.4]),
        ]);
        let rows = rows(&samples);
        let [row] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!((row.id, row.value.median, row.verdict), ("E1", 1.7, Verdict::Must));
    }

    #[test]
    fn what_was_not_measured_has_no_row() {
        assert!(rows(&Samples::new()).is_empty());
        let one = Samples::from([((Metric::Latency, Kind::Weir), vec![30.0])]);
        assert!(rows(&one).is_empty());
    }
}
