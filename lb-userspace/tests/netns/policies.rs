//! Who gets how much.

use lb_userspace::{
    admin::{protocol::Request, report::BackendReport},
    lab::Topology,
    model::{Attach, Policy, Weight},
};

use super::world::{World, plan};

/// The shares of b1, b2 and b3 in so many requests.
fn shares(policy: Policy, requests: u64) -> Vec<f64> {
    shares_by(policy, [4, 2, 1], requests)
}

fn shares_by(policy: Policy, weights: [u16; 3], requests: u64) -> Vec<f64> {
    let world = World::with(plan(Topology::Bridge), Attach::Tc, policy, |config| {
        // Each backend has two addresses.
        for (address, backend) in config.services[0].backends.iter_mut().enumerate() {
            backend.weight = Weight::new(weights[address / 2]).unwrap();
        }
    });
    let report = world.load(requests);
    assert_eq!((report.answered(), report.failures()), (requests, 0), "{policy:?}: {report:?}");
    let share = |name| *report.per_backend.get(name).unwrap_or(&0) as f64 / requests as f64;
    ["b1", "b2", "b3"].map(share).to_vec()
}

/// Six standard deviations of a share's binomial distribution.
fn bound(share: f64, requests: u64) -> f64 {
    6.0 * (share * (1.0 - share) / requests as f64).sqrt()
}

/// False alarms: by the exact tails of the binomial a share leaves its bound with a probability below
/// 1e-8, and any of the sixteen shares of a run does with 7.2e-8. A hash of the client's ports stands
/// for the dice of Maglev.
#[test]
fn weights_are_respected_within_binomial_bounds() {
    let requests = 4000;
    for policy in [Policy::Maglev, Policy::Random] {
        // A slot a backend is the error of a Maglev table, whose smallest size is 251.
        let rounding = if policy == Policy::Maglev { 2.0 / 251.0 } else { 0.0 };
        for weights in [[4, 2, 1], [30, 1, 1], [1, 3, 0]] {
            let sum: u16 = weights.iter().sum();
            let shares = shares_by(policy, weights, requests);
            for (share, weight) in shares.iter().zip(weights) {
                let expected = f64::from(weight) / f64::from(sum);
                let bound = bound(expected, requests) + rounding * f64::from(weight.min(1));
                let what = format!("{policy:?} {weights:?}: {shares:?}, {expected} ± {bound}");
                assert!((share - expected).abs() <= bound, "{what}");
            }
        }
    }
}

#[test]
fn turns_are_exact() {
    // Two families have an order each; both are complete after 7 and after 3 requests.
    let rows = [
        (Policy::WeightedRoundRobin, 1400, [800, 400, 200]),
        (Policy::RoundRobin, 600, [200, 200, 200]),
    ];
    for (policy, requests, expected) in rows {
        for (share, expected) in shares(policy, requests).into_iter().zip(expected) {
            let count = (share * requests as f64).round() as i64;
            assert!((count - expected).abs() <= 2, "{policy:?}: {count} not {expected}");
        }
    }
}

#[test]
fn load_aware_policies_serve_everybody_and_one_client_keeps_one_backend() {
    for policy in [
        Policy::Adaptive,
        Policy::Classic,
        Policy::ShortestDelay,
        Policy::LeastConnections,
        Policy::WeightedLeastConnections,
        Policy::P2c,
    ] {
        let sum: f64 = shares(policy, 200).iter().sum();
        assert!((sum - 1.0).abs() < 1e-9, "{policy:?}");
    }
    // One client address a family: at most two backends.
    let used = shares(Policy::SourceHash, 200).into_iter().filter(|share| *share > 0.0).count();
    assert!(used <= 2, "{used}");
}

/// The sum of a metric's samples.
fn sum(metrics: &str, name: &str) -> u64 {
    let samples = metrics.lines().filter(|line| line.starts_with(name));
    samples.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

#[test]
fn every_request_is_counted_once_and_none_stays_in_flight() {
    let requests = 300;
    let world = World::with(plan(Topology::Bridge), Attach::Tc, Policy::Adaptive, |config| {
        config.admin.http = Some("127.0.0.1:9090".parse().unwrap());
    });
    let report = world.load(requests);
    assert_eq!((report.answered(), report.failures()), (requests, 0), "{report:?}");
    let backends: Vec<BackendReport> = world.ask(&Request::Backends);
    assert!(backends.iter().all(|backend| backend.requests == 0), "{backends:?}");
    let mut curl = world.lab.lb().command("curl");
    let output = curl.args(["-sS", "http://127.0.0.1:9090/metrics"]).output().unwrap();
    let metrics = String::from_utf8(output.stdout).unwrap();
    assert_eq!(sum(&metrics, "weir_backend_first_byte_seconds_count"), requests);
    assert_eq!(sum(&metrics, "weir_backend_requests_in_flight"), 0);
    assert_eq!(sum(&metrics, "weir_backend_unanswered_total"), 0);
}
