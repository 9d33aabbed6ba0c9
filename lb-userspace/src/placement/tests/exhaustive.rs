//! Clusters so small that all placements can be looked at.

use proptest::prelude::*;

use super::world::{Site, cases, sites, solve};
use crate::placement::{Homes, Method, Score, score};

/// The best of all placements that keep the rules.
fn best(site: &Site) -> Score {
    let problem = site.problem();
    let choices = problem.nodes() + 1;
    let all = choices.pow(u32::try_from(problem.replicas()).unwrap());
    let homes = |mut number: usize| -> Homes {
        let mut digit = || {
            let digit = number % choices;
            number /= choices;
            digit.checked_sub(1)
        };
        (0..problem.replicas()).map(|_| digit()).collect()
    };
    let kept = (0..all).map(homes).filter(|homes| site.breaches(homes).is_empty());
    kept.map(|homes| score(&problem, &homes)).min_by(Score::order).unwrap()
}

#[test]
fn the_colony_finds_what_enumeration_finds() {
    #[rustfmt::skip]
    let table: &[(&[&str], &[&str])] = &[
        (&["a 4 4", "b 4 4"], &["x 3 900 600", "y 2 400 1300", "z 1 1000 100"]),
        (&["a 4 8", "b 2 2", "c 8 4"], &["x 2 1000 1500", "y 2 500 600", "z 1 1800 500"]),
        (&["a 2 2", "b 2 2", "c 2 2"], &["x 3 1000 1024", "y 3 1000 1024"]),
        (&["a 2 2 e", "b 2 2 w", "c 2 2 w"], &["x 3 500 900 spread=1", "y 2 700 100 avoid=y"]),
        // Only one packing takes all of it.
        (&["a 1 9", "b 1 9"], &["x 2 500 10", "y 2 300 10", "z 2 200 10"]),
        // More than there is room for.
        (&["a 1 1", "b 1 1"], &["x 5 400 100", "y 1 300 700"]),
    ];
    for (nodes, workloads) in table {
        let site = Site::new(nodes, workloads);
        let (best, problem) = (best(&site), site.problem());
        for seed in 0..3 {
            let found = solve(&problem, Method::AntColony, seed, 10).score;
            assert_eq!(found.unplaced, best.unplaced, "{nodes:?} {workloads:?}");
            let (found, best) = (found.objective(), best.objective());
            assert!((found - best).abs() < 1e-9, "{found} not {best}: {nodes:?} {workloads:?}");
        }
    }
}

proptest! {
    #![proptest_config(cases(24))]

    /// Nothing beats the enumeration: rules and scores mean the same on both sides.
    #[test]
    fn nobody_finds_better_than_the_best(mut site in sites(), seed in any::<u64>()) {
        site.nodes.truncate(3);
        site.workloads.truncate(4);
        for workload in &mut site.workloads {
            workload.replicas = workload.replicas.min(2);
        }
        let best = best(&site);
        let problem = site.problem();
        for method in Method::ALL {
            let found = solve(&problem, method, seed, 5).score;
            let worse = found.unplaced > best.unplaced
                || found.unplaced == best.unplaced && found.objective() > best.objective() - 1e-9;
            prop_assert!(worse, "{method:?} {found:?} {best:?}");
        }
    }
}
