//! Who gets how much.

use lb_userspace::{
    lab::Topology,
    model::{Attach, Policy},
};

use super::world::World;

/// The shares of b1, b2 and b3 in so many requests.
fn shares(policy: Policy, requests: u64) -> Vec<f64> {
    let world = World::new(Topology::Bridge, Attach::Tc, policy);
    let report = world.load(requests);
    assert_eq!((report.answered(), report.failures()), (requests, 0), "{policy:?}: {report:?}");
    let share = |name| *report.per_backend.get(name).unwrap_or(&0) as f64 / requests as f64;
    ["b1", "b2", "b3"].map(share).to_vec()
}

/// Six standard deviations of a share's binomial distribution.
fn bound(share: f64, requests: u64) -> f64 {
    6.0 * (share * (1.0 - share) / requests as f64).sqrt()
}

#[test]
fn weights_are_respected_within_binomial_bounds() {
    let requests = 2000;
    for policy in [Policy::Maglev, Policy::Random] {
        // A Maglev table is right to about one slot in a hundred.
        let expected = [4.0 / 7.0, 2.0 / 7.0, 1.0 / 7.0];
        for (share, expected) in shares(policy, requests).into_iter().zip(expected) {
            let bound = bound(expected, requests) + 0.01;
            assert!((share - expected).abs() <= bound, "{policy:?}: {share} not {expected}");
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
