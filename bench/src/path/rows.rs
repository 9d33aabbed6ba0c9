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

const HIGHER: Option<Bar> = Some(Bar::HIGHER);
const LOWER: Option<Bar> = Some(Bar::LOWER);
const KEEP_ALIVE: Option<Bar> = Some(Bar::at_least(1.05, 1.20));
const ONE_EACH: Option<Bar> = Some(Bar::at_least(1.08, 1.23));
const UDP: Option<Bar> = Some(Bar::at_least(1.6, 1.9));
const NEW_UDP: Option<Bar> = Some(Bar::at_least(1.5, 1.9));
const XDP: Option<Bar> = Some(Bar::at_least(3.0, 3.9));
const NEW_XDP: Option<Bar> = Some(Bar::at_least(1.8, 2.4));
const CARRIED_CPU: Option<Bar> = Some(Bar::at_least(1.6, 2.0));
const CARRIED_RATE: Option<Bar> = Some(Bar::at_least(1.25, 1.6));
const BULK: Option<Bar> = Some(Bar::at_least(1.0, 1.15));
const BULK_CPU: Option<Bar> = Some(Bar::at_most(1.10, 1.00));
const DOCKER_KEPT: Option<Bar> = Some(Bar::at_least(1.15, 1.35));
const DOCKER_EACH: Option<Bar> = Some(Bar::at_least(1.15, 1.30));
const PROXY: Option<Bar> = Some(Bar::at_least(2.5, 3.0));
const LATENCY: Option<Bar> = Some(Bar::at_most(1.00, 0.80));

const QUOTIENTS: [Quotient; 37] = [
    quotient("A/A", Metric::DatagramCpu, Kind::Again, Kind::Weir, None),
    quotient("A/A", Metric::KeepAliveCpu, Kind::Again, Kind::Weir, None),
    quotient("A/A", Metric::OneEachCpu, Kind::Again, Kind::Weir, None),
    quotient("A/A", Metric::OpenP50, Kind::Again, Kind::Weir, None),
    quotient("E1", Metric::DatagramCpu, Kind::Nft, Kind::Weir, UDP),
    quotient("E1", Metric::DatagramCpu, Kind::Iptables, Kind::Weir, HIGHER),
    quotient("E1", Metric::DatagramCpu, Kind::Routing, Kind::Weir, HIGHER),
    quotient("E2", Metric::DatagramCpu, Kind::Nft, Kind::Xdp, XDP),
    quotient("E2", Metric::DatagramCpu, Kind::Nft, Kind::Redirect, HIGHER),
    quotient("E2", Metric::DatagramCpu, Kind::Xdp, Kind::Redirect, LOWER),
    quotient("E3", Metric::NewDatagramCpu, Kind::Nft, Kind::Weir, NEW_UDP),
    quotient("E3", Metric::NewDatagramCpu, Kind::Nft, Kind::Xdp, NEW_XDP),
    quotient("E3", Metric::NewDatagramCpu, Kind::Iptables, Kind::Weir, HIGHER),
    quotient("E4", Metric::KeepAliveCpu, Kind::Nft, Kind::Weir, KEEP_ALIVE),
    quotient("E4", Metric::KeepAliveRate, Kind::Weir, Kind::Nft, KEEP_ALIVE),
    quotient("E5", Metric::OneEachCpu, Kind::Nft, Kind::Weir, ONE_EACH),
    quotient("E5", Metric::OneEachRate, Kind::Weir, Kind::Nft, ONE_EACH),
    quotient("E6", Metric::KeepAliveCpu, Kind::Haproxy, Kind::Weir, CARRIED_CPU),
    quotient("E6", Metric::KeepAliveRate, Kind::Weir, Kind::Haproxy, CARRIED_RATE),
    quotient("E6", Metric::OneEachCpu, Kind::Haproxy, Kind::Weir, CARRIED_CPU),
    quotient("E6", Metric::OneEachRate, Kind::Weir, Kind::Haproxy, CARRIED_RATE),
    quotient("E7", Metric::BulkRate, Kind::Weir, Kind::Nft, BULK),
    quotient("E7", Metric::BulkCpu, Kind::Nft, Kind::Weir, HIGHER),
    quotient("E7", Metric::BulkCpu, Kind::Weir, Kind::Routing, BULK_CPU),
    quotient("E8", Metric::Latency, Kind::Weir, Kind::Nft, LATENCY),
    quotient("E8", Metric::Latency, Kind::Weir, Kind::Routing, LOWER),
    quotient("E9", Metric::KeepAliveCpu, Kind::Docker, Kind::One, DOCKER_KEPT),
    quotient("E9", Metric::KeepAliveRate, Kind::One, Kind::Docker, HIGHER),
    quotient("E9", Metric::OneEachCpu, Kind::Docker, Kind::One, DOCKER_EACH),
    quotient("E9", Metric::OneEachRate, Kind::One, Kind::Docker, HIGHER),
    quotient("E9", Metric::Latency, Kind::One, Kind::Docker, LOWER),
    quotient("E10", Metric::KeepAliveCpu, Kind::Proxy, Kind::Host, PROXY),
    quotient("E10", Metric::KeepAliveRate, Kind::Host, Kind::Proxy, HIGHER),
    quotient("E10", Metric::KeepAliveCpu, Kind::Proxy, Kind::Direct, HIGHER),
    quotient("E10", Metric::OneEachCpu, Kind::Proxy, Kind::Host, PROXY),
    quotient("E10", Metric::OneEachCpu, Kind::Proxy, Kind::Direct, HIGHER),
    quotient("E10", Metric::OneEachRate, Kind::Host, Kind::Proxy, HIGHER),
];

/// Who else does the job, for rows without bars of their own.
const PEERS: [Kind; 5] = [Kind::Nft, Kind::Iptables, Kind::Ipvs, Kind::Haproxy, Kind::Nginx];

/// All rows.
pub(super) fn rows(samples: &Samples, services: &[u16]) -> Vec<Row> {
    let of = |metric, kind| samples.get(&(metric, kind)).map_or(&[][..], Vec::as_slice);
    let row = |quotient: &Quotient| {
        let Quotient { id, metric, of: ours, by, bar } = *quotient;
        let what = format!("{}: {} / {}", metric.name().0, ours.name(), by.name());
        Row::quotient(id, what, of(metric, ours), of(metric, by), bar)
    };
    let mut all: Vec<Quotient> = peers();
    all.extend(families());
    all.extend(ways_out());
    all.extend(services.iter().flat_map(|count| many(*count)));
    let mut rows: Vec<Row> = QUOTIENTS.iter().chain(&all).filter_map(row).collect();
    let (ours, wrk) = (of(Metric::CheckOurs, Kind::Weir), of(Metric::CheckWrk, Kind::Weir));
    rows.extend(Row::quotient(
        "check",
        "answer on one connection: our client / wrk",
        ours,
        wrk,
        None,
    ));
    rows
}

/// Every peer beside Weir in every way that has no row yet.
fn peers() -> Vec<Quotient> {
    let prices = [
        ("keep", Metric::KeepAliveCpu),
        ("each", Metric::OneEachCpu),
        ("large", Metric::LargeCpu),
        ("bulk", Metric::BulkCpu),
    ];
    let times = [
        ("E8", Metric::Latency),
        ("open", Metric::OpenP50),
        ("open", Metric::OpenP99),
        ("open", Metric::OpenP999),
    ];
    let mut all = Vec::new();
    for peer in PEERS {
        for (id, metric) in prices {
            all.push(quotient(id, metric, peer, Kind::Weir, HIGHER));
        }
        for (id, metric) in times {
            all.push(quotient(id, metric, Kind::Weir, peer, LOWER));
        }
    }
    all.push(quotient("large", Metric::LargeRate, Kind::Weir, Kind::Nft, HIGHER));
    for metric in [Metric::OpenP50, Metric::OpenP99, Metric::OpenP999] {
        all.push(quotient("open", metric, Kind::One, Kind::Docker, LOWER));
    }
    let has_row = |one: &Quotient| {
        QUOTIENTS.iter().any(|it| (it.metric, it.of, it.by) == (one.metric, one.of, one.by))
    };
    all.retain(|one| !has_row(one));
    all
}

/// IPv6 beside nftables, and beside IPv4.
fn families() -> Vec<Quotient> {
    let (ours, theirs, v4) = (Kind::Weir6, Kind::Nft6, Kind::Weir);
    vec![
        quotient("v6", Metric::KeepAliveCpu, theirs, ours, HIGHER),
        quotient("v6", Metric::OneEachCpu, theirs, ours, HIGHER),
        quotient("v6", Metric::OneEachRate, ours, theirs, HIGHER),
        quotient("v6", Metric::Latency, ours, theirs, LOWER),
        quotient("v6", Metric::OpenP99, ours, theirs, LOWER),
        quotient("v6", Metric::KeepAliveCpu, ours, v4, LOWER),
        quotient("v6", Metric::OneEachCpu, ours, v4, LOWER),
    ]
}

/// Every way out beside the shortest one, and beside nftables.
fn ways_out() -> Vec<Quotient> {
    let mut all = Vec::new();
    for metric in [Metric::DatagramCpu, Metric::KeepAliveCpu, Metric::OneEachCpu] {
        for way in [Kind::Link, Kind::Stack] {
            all.push(quotient("way", metric, way, Kind::Weir, LOWER));
            all.push(quotient("way", metric, Kind::Nft, way, HIGHER));
        }
    }
    all
}

/// What more services cost: each beside itself with few, and beside the others.
fn many(count: u16) -> Vec<Quotient> {
    let mut all = Vec::new();
    for metric in [Metric::KeepAliveCpu, Metric::OneEachCpu] {
        for (with_many, with_few) in [
            (Kind::WeirOf(count), Kind::Weir),
            (Kind::NftOf(count), Kind::Nft),
            (Kind::IptablesOf(count), Kind::Iptables),
        ] {
            all.push(quotient("many", metric, with_many, with_few, LOWER));
        }
        for peer in [Kind::NftOf(count), Kind::IptablesOf(count)] {
            all.push(quotient("many", metric, peer, Kind::WeirOf(count), HIGHER));
        }
    }
    all
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
        let rows = rows(&samples, &[]);
        let [row] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!((row.id, row.value.median, row.verdict), ("E1", 1.7, Verdict::Must));
    }

    #[test]
    fn no_comparison_comes_twice() {
        let everything = |kind| {
            let metrics =
                [Metric::KeepAliveCpu, Metric::OneEachCpu, Metric::Latency, Metric::BulkCpu];
            metrics.map(|metric| ((metric, kind), vec![1.0]))
        };
        let samples: Samples = Kind::all(&[1_000]).into_iter().flat_map(everything).collect();
        let whats: Vec<String> = rows(&samples, &[1_000]).into_iter().map(|row| row.what).collect();
        let unique: std::collections::BTreeSet<&String> = whats.iter().collect();
        assert_eq!(unique.len(), whats.len(), "{whats:#?}");
        assert!(
            whats.iter().any(|what| what.ends_with("nft, 1000 services / weir, 1000 services"))
        );
    }

    #[test]
    fn what_was_not_measured_has_no_row() {
        assert!(rows(&Samples::new(), &[1_000]).is_empty());
        let one = Samples::from([((Metric::Latency, Kind::Weir), vec![30.0])]);
        assert!(rows(&one, &[]).is_empty());
    }
}
