//! What distinguishes the methods: where they place, what a seed and a budget mean.

use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;

use super::world::{Site, cases, sites, solve};
use crate::placement::{Budget, Method, Search, place};

/// Twelve services of one to four replicas on six unequal nodes, three quarters full.
fn busy() -> Site {
    let nodes = ["a 8 16 e", "b 8 16 w", "c 4 16 e", "d 4 8 w", "e 16 16 e", "f 8 32 w"];
    let workloads: Vec<String> = (0..12)
        .map(|n| format!("w{n} {} {} {}", 1 + n % 4, 500 + 137 * (n % 7), 700 + 491 * (n % 5)))
        .collect();
    Site::new(&nodes, &workloads.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn greedy_methods_place_as_their_rule_says() {
    // Largest first: y (0.4 of the mean node's processor), z (0.33 of its memory), x.
    let site = Site::new(&["a 8 4", "b 4 8"], &["x 1 500 512", "y 1 2400 1024", "z 1 1600 2048"]);
    let problem = site.problem();
    for (method, expected) in [
        (Method::FirstFit, "aaa"),
        // y fills b more than a, z fills b to the brim, x has room on a only.
        (Method::BestFit, "abb"),
        // The fullest dimension: y 0.3 and 0.6, z 0.75 and 0.4, x 0.375 and 0.525.
        (Method::WorstFit, "aab"),
        // y 0.55 and 0.725, z 0.7 and 0.38, x 0.1125 and 0.105.
        (Method::DotProduct, "aba"),
        // y 72 + 97 and 63 + 76, z 37 + 87 and 67 + 92, x 62 + 99 and 57 + 89.
        (Method::KubernetesSorted, "aab"),
    ] {
        let homes = solve(&problem, method, 1, 0).homes;
        let found: String =
            homes.iter().map(|home| home.map_or("-", |node| problem.node_name(node))).collect();
        assert_eq!(found, expected, "{}", method.name());
    }
}

#[test]
fn kubernetes_takes_any_of_equals() {
    let site = Site::new(&["a 4 4", "b 4 4", "c 4 4"], &["x 1 100 100"]);
    let problem = site.problem();
    let mut seen = [0; 3];
    for seed in 0..90 {
        seen[solve(&problem, Method::Kubernetes, seed, 0).homes[0].unwrap()] += 1;
    }
    assert!(seen.iter().all(|&times| times > 15), "{seen:?}");
}

#[test]
fn any_number_of_threads_comes_to_the_same_result() {
    let problem = busy().problem();
    for method in Method::ALL {
        for seed in 0..3 {
            let run = |threads| {
                let budget = Budget::iterations(7);
                place(&problem, &Search { method, seed, threads, budget }, &mut |_| {})
            };
            let one = run(1);
            for threads in [2, 3, 16, 100] {
                assert_eq!(run(threads), one, "{} {threads}", method.name());
            }
        }
    }
}

#[test]
fn another_seed_is_another_search() {
    let problem = busy().problem();
    let homes = |seed| solve(&problem, Method::Ants, seed, 1).homes;
    assert!((1..20).any(|seed| homes(seed) != homes(0)));
}

#[test]
fn iterations_are_counted_and_each_is_told() {
    let problem = busy().problem();
    for method in Method::ALL {
        for iterations in [0, 1, 4] {
            let budget = Budget::iterations(iterations);
            let search = Search { method, seed: 1, threads: 1, budget };
            let mut told = Vec::new();
            let outcome = place(&problem, &search, &mut |progress| told.push(*progress));
            let expected = if method.searches() { iterations } else { 0 };
            assert_eq!(outcome.iterations, expected, "{}", method.name());
            assert_eq!(told.len(), expected as usize);
            assert!(told.is_sorted_by(|a, b| !a.best.beats(&b.best)), "it never gets worse");
        }
    }
}

/// The clock stops the search wherever it is; what there is until then is answered.
#[test]
fn a_search_can_be_stopped_at_any_moment() {
    let site = busy();
    let problem = site.problem();
    let worst_fit = solve(&problem, Method::WorstFit, 1, 0).score;
    for method in [Method::LocalSearch, Method::Ants, Method::AntColony] {
        let mut iterations = Vec::new();
        for limit in [0, 1, 10, 100, 1000, 10_000] {
            let looks = AtomicU32::new(0);
            let spent = || f64::from(looks.fetch_add(1, Ordering::Relaxed)) / f64::from(limit);
            let budget = Budget::time(1_000_000, &spent);
            let search = Search { method, seed: 1, threads: 1, budget };
            let outcome = place(&problem, &search, &mut |_| {});
            assert_eq!(site.breaches(&outcome.homes), Vec::<String>::new());
            assert_eq!(outcome.score.unplaced, 0);
            assert!(!worst_fit.beats(&outcome.score), "{} {limit}", method.name());
            iterations.push(outcome.iterations);
        }
        assert_eq!(iterations[0], 0, "{}", method.name());
        assert!(iterations.is_sorted() && iterations[5] > 1, "{} {iterations:?}", method.name());
    }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn the_colony_is_never_worse_than_the_greedy(site in sites(), seed in any::<u64>()) {
        let problem = site.problem();
        for iterations in [0, 2] {
            let colony = solve(&problem, Method::AntColony, seed, iterations).score;
            for method in [Method::WorstFit, Method::KubernetesSorted] {
                let greedy = solve(&problem, method, seed, 0).score;
                let rounding = 1e-6;
                let not_worse = colony.unplaced < greedy.unplaced
                    || colony.unplaced == greedy.unplaced
                        && colony.objective() <= greedy.objective() + rounding;
                prop_assert!(not_worse, "{method:?} {greedy:?} {colony:?}");
            }
        }
    }
}
