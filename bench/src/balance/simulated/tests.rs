//! What the control law promises, held against simulated servers. Property numbers are those of
//! docs/balancing.md.

use lb_userspace::{
    model::{Endpoint, Policy as PolicyName, Protocol},
    reconcile::TableBackend,
    table,
};

use super::experiments::settling_s;
use crate::balance::sim::{
    Change, Kind, Outcome, Policy, SPEEDS, Scenario, ServerSpec, distance, simulate,
};

/// As long as a test may take, and long enough for a verdict.
fn short(scenario: Scenario) -> Scenario {
    Scenario { seconds: 140.0, warm_up_s: 40.0, ..scenario }
}

fn p99(scenario: &Scenario, policy: Policy) -> f64 {
    simulate(scenario, policy, 1).quantile_ms(0.99)
}

/// The longest time a server waited for a connection.
fn longest_wait_s(outcome: &Outcome, server: usize, end_s: f64) -> f64 {
    let moments = &outcome.connected_s[server];
    let ends = moments.iter().copied().chain([end_s]);
    let begins = [0.0].into_iter().chain(moments.iter().copied());
    begins.zip(ends).map(|(from, to)| to - from).fold(0.0, f64::max)
}

/// Property 7: where there is work for all, every healthy backend gets some every ten seconds; at
/// half the load the slowest ones may wait longer.
#[test]
fn nobody_starves() {
    for (load, bound_s) in [(0.5, 30.0), (0.7, 15.0), (0.9, 10.0)] {
        for policy in [Policy::Adaptive, Policy::Maglev] {
            let scenario = Scenario { seconds: 140.0, ..Scenario::unequal(load) };
            let outcome = simulate(&scenario, policy, 7);
            for server in 0..SPEEDS.len() {
                let wait_s = longest_wait_s(&outcome, server, scenario.seconds);
                assert!(wait_s <= bound_s, "{policy:?} at {load}: server {server}, {wait_s} s");
            }
        }
    }
}

/// Property 7: A backend that broke down long enough to be avoided by all gets its share back.
#[test]
fn recovery_is_noticed_where_nobody_looks() {
    let change = |at_s, speed| Change { at_s, server: 0, speed };
    let scenario = Scenario {
        servers: [1.0; 4].map(ServerSpec::of_speed).to_vec(),
        changes: vec![change(60.0, 0.01), change(120.0, 1.0)],
        seconds: 300.0,
        ..Scenario::unequal(0.3)
    };
    for seed in 1..=5 {
        let trace = simulate(&scenario, Policy::Adaptive, seed).trace;
        let part = |at_s: f64| trace.iter().find(|tick| tick.at_s >= at_s).unwrap().parts[0];
        assert!(part(115.0) < 0.1, "seed {seed}: it is avoided");
        assert!(part(280.0) > 0.1, "seed {seed}: {:?}", part(280.0));
    }
}

/// Property 8: Twelve ticks after a start or a step, capacities are right.
#[test]
fn capacities_settle() {
    for seed in 1..=20 {
        for load in [0.5, 0.8] {
            for step_at_s in [None, Some(60.0)] {
                let seconds = settling_s(load, step_at_s, seed);
                assert!(seconds <= 12.0, "seed {seed}, load {load}, {step_at_s:?}: {seconds} s");
            }
        }
    }
}

/// Property 9: Without a reason to change, little changes, and nothing swings.
#[test]
fn nothing_oscillates() {
    for load in [0.4, 0.7, 0.85] {
        for (seed, policy) in [(1, Policy::Adaptive), (2, Policy::AdaptiveQueue)] {
            let trace = simulate(&short(Scenario::unequal(load)), policy, seed).trace;
            let steady: Vec<_> = trace.iter().filter(|tick| tick.at_s > 40.0).collect();
            let pairs = || steady.windows(2).map(|pair| (pair[0], pair[1]));
            let churn: f64 = pairs().map(|(a, b)| distance(&a.parts, &b.parts)).sum();
            let churn = churn / f64::from(u32::try_from(pairs().count()).unwrap());
            assert!(churn <= 0.03, "load {load}, {policy:?}: {churn} a tick");
            for server in 0..SPEEDS.len() {
                let steps: Vec<f64> =
                    pairs().map(|(a, b)| (b.parts[server] / a.parts[server]).ln()).collect();
                // Up and down by turns, each time by more than 5 %.
                let swings = |steps: &&[f64]| {
                    let large = steps.iter().all(|step| step.abs() > 0.05);
                    large && steps.windows(2).all(|pair| pair[0] * pair[1] < 0.0)
                };
                let run = steps.windows(5).find(swings);
                assert!(run.is_none(), "load {load}, {policy:?}, server {server}: {run:?}");
            }
        }
    }
}

/// Slots of a Maglev table by these parts.
fn slots(parts: &[f64]) -> Vec<u32> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "up to 65535")]
    let weight = |part: &f64| (part * 65535.0).round() as u32;
    let backend = |(id, part): (u32, &f64)| {
        let address = std::net::Ipv4Addr::from_bits(0xc612_0000 + id).into();
        let identity = Endpoint { address, port: 80, protocol: Protocol::Tcp };
        TableBackend { id, identity, weight: weight(part), capacity: weight(part) }
    };
    let backends: Vec<TableBackend> = (1..).zip(parts).map(backend).collect();
    table::build(PolicyName::Maglev, &backends).entries
}

/// Property 10: A table that follows the capacities moves little more than it has to.
#[test]
fn tables_move_little_more_than_they_must() {
    let trace = simulate(&short(Scenario::antagonist()), Policy::Maglev, 1).trace;
    let tables: Vec<Vec<u32>> = trace.iter().map(|tick| slots(&tick.parts)).collect();
    for (ticks, tables) in trace.windows(2).zip(tables.windows(2)) {
        let count = |slots: usize| f64::from(u32::try_from(slots).unwrap());
        let pairs = tables[0].iter().zip(&tables[1]);
        let moved = count(pairs.filter(|(old, new)| old != new).count());
        let least = distance(&ticks[0].parts, &ticks[1].parts) * count(tables[0].len());
        assert!(moved <= 1.5 * least + 64.0, "at {} s: {moved}, not {least}", ticks[0].at_s);
    }
}

/// Property 14: With figures of the CPU alone, and with none, the hidden bottleneck costs little.
#[test]
fn a_hidden_bottleneck_is_found() {
    let scenario = short(Scenario::disk());
    let best = p99(&scenario, Policy::Oracle);
    for policy in [Policy::Adaptive, Policy::AdaptiveCpu, Policy::AdaptiveQueue] {
        let got = p99(&scenario, policy);
        assert!(got <= 1.15 * best, "{policy:?}: {got}, not {best}");
    }
    let blind = p99(&scenario, Policy::ClassicCpu);
    assert!(blind > 10.0 * best, "the scenario shows nothing: {blind}");
}

/// The targets of E2, E3, E4 and E6 in short.
#[test]
fn the_adaptive_policy_serves_soonest() {
    #[rustfmt::skip]
    let table = [
        // scenario, beside, at most so much of it
        (Scenario::unequal(0.7),  Policy::LeastConnections,         0.80),
        (Scenario::unequal(0.7),  Policy::P2c,                      0.45),
        (Scenario::unequal(0.7),  Policy::Oracle,                   1.05),
        (Scenario::lines(),       Policy::LeastConnections,         0.80),
        (Scenario::antagonist(),  Policy::Weighted,                 0.10),
        (Scenario::antagonist(),  Policy::WeightedLeastConnections, 1.00),
        (Scenario::keep_alive(),  Policy::LeastConnections,         0.35),
        (Scenario::keep_alive(),  Policy::LeastInFlight,            0.90),
    ];
    for (scenario, beside, bound) in table {
        let scenario = Scenario { seconds: 200.0, ..scenario };
        let (got, other) = (p99(&scenario, Policy::Adaptive), p99(&scenario, beside));
        assert!(got <= bound * other, "{beside:?}: {got}, not {bound} of {other}");
    }
}

#[test]
fn a_sinkhole_is_left_alone() {
    for seed in 1..=5 {
        let scenario = short(Scenario::sinkhole());
        let outcome = simulate(&scenario, Policy::Adaptive, seed);
        assert!(outcome.error_share() <= 0.005, "seed {seed}: {}", outcome.error_share());
        let ejected = outcome.trace.iter().find(|tick| tick.closed[2]).map(|tick| tick.at_s);
        assert!(ejected.is_some_and(|at_s| at_s <= 10.0), "seed {seed}: {ejected:?}");
        let others = simulate(&scenario, Policy::LeastConnections, seed);
        assert!(others.error_share() > 0.05, "the scenario shows nothing");
    }
}

/// Servers that wait for others without a limit have no capacity to find: whoever answers
/// sooner gets more, all of them get something, and nobody waits longer for it.
#[test]
fn servers_that_only_wait_do_not_confuse() {
    let sleeper =
        |speed| ServerSpec { cores: 1000.0, cpu_part: 0.0, ..ServerSpec::of_speed(speed) };
    let mut scenario = short(Scenario::unequal(0.5));
    scenario.servers = [1.0, 0.9, 0.5].map(sleeper).to_vec();
    scenario.load = 0.01;
    let even = simulate(&scenario, Policy::RoundRobin, 3);
    let outcome = simulate(&scenario, Policy::AdaptiveQueue, 3);
    assert!(outcome.mean_ms() < even.mean_ms(), "{} {}", outcome.mean_ms(), even.mean_ms());
    for (server, connected) in outcome.connected_s.iter().enumerate() {
        assert!(connected.len() > 500, "server {server}: {}", connected.len());
    }
}

/// Requests so long that a backend ends one in some seconds.
#[test]
fn rare_long_requests_are_balanced_too() {
    let scenario =
        Scenario { work_s: 2.0, seconds: 2000.0, warm_up_s: 300.0, ..Scenario::unequal(0.7) };
    let mean = |policy| simulate(&scenario, policy, 1).mean_ms();
    let (got, best) = (mean(Policy::Adaptive), mean(Policy::Oracle));
    let even = mean(Policy::LeastInFlight);
    assert!(got <= 1.1 * best && got < even, "{got} {best} {even}");
}

#[test]
fn a_seed_tells_everything() {
    let scenario = Scenario { seconds: 30.0, warm_up_s: 5.0, ..Scenario::keep_alive() };
    let run = |seed| simulate(&scenario, Policy::AdaptiveFour, seed).mean_ms().to_bits();
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

/// The simulator itself, where theory knows the answer.
#[test]
fn queues_are_as_long_as_theory_says() {
    for load in [0.3, 0.6, 0.8] {
        let scenario = Scenario {
            servers: vec![ServerSpec::of_speed(1.0)],
            kinds: vec![Kind { part: 1.0, requests: 1, think_s: 0.0 }],
            seconds: 4000.0,
            ..Scenario::unequal(load)
        };
        // M/G/1 with a shared server: as M/M/1, whatever the distribution.
        let expected_ms = 20.0 / (1.0 - load);
        let got_ms = simulate(&scenario, Policy::RoundRobin, 1).mean_ms();
        assert!((got_ms / expected_ms - 1.0).abs() < 0.06, "{load}: {got_ms}, not {expected_ms}");
    }
}
