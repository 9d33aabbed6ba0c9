//! What is allowed, by every method.

use proptest::prelude::*;

use super::world::{Site, cases, sites, solve};
use crate::placement::{Method, score};

/// The nodes of all replicas by name; `-` for those without a place.
fn names(site: &Site, method: Method) -> Vec<String> {
    let problem = site.problem();
    let homes = solve(&problem, method, 1, 5).homes;
    let name = |home: &Option<usize>| home.map_or("-", |node| problem.node_name(node)).to_owned();
    homes.iter().map(name).collect()
}

/// What is tried, nodes, workloads, and the nodes they come to.
type Row =
    (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

/// What has only one answer has it by every method, the order of equal replicas aside.
#[test]
fn rules_leave_one_way() {
    #[rustfmt::skip]
    let table: &[Row] = &[
        ("fit",
            &["a 1 1", "b 4 4"], &["big 1 3000 3000", "small 1 1000 1024"], &["b", "?"]),
        ("all of a node",
            &["a 1 1"], &["all 1 1000 1024"], &["a"]),
        ("a hair more than a node",
            &["a 1 1"], &["more 1 1001 1024"], &["-"]),
        ("labels",
            &["a 9 9 - disk=fast", "b 9 9 - disk=slow", "c 9 9"],
            &["x 1 100 100 select=disk:fast", "y 1 100 100 select=disk:slow"], &["a", "b"]),
        ("a label nobody has",
            &["a 9 9 - disk=fast", "b 9 9"], &["x 1 100 100 select=disk:none"], &["-"]),
        ("one replica a node",
            &["a 9 9", "b 9 9"], &["x 3 100 100 avoid=x"], &["-", "a", "b"]),
        ("neighbours, said by one of the two",
            &["a 9 9 - k=a", "b 9 9"], &["x 1 100 100 select=k:a", "y 1 100 100 avoid=x"], &["a", "b"]),
        ("neighbours, said by the other one",
            &["a 9 9 - k=a", "b 9 9"], &["x 1 100 100 select=k:a avoid=y", "y 1 100 100"], &["a", "b"]),
        ("zones",
            &["a 9 9 east", "b 1 9 west", "c 9 9"], &["x 4 1000 100 spread=1"], &["-", "a", "a", "b"]),
        ("zones that the selector does not take are not counted",
            &["a 9 9 east k=v", "b 9 9 west"], &["x 2 100 100 spread=1 select=k:v"], &["a", "a"]),
        ("no zone, no spread",
            &["a 9 9"], &["x 1 100 100 spread=1"], &["-"]),
    ];
    for (what, nodes, workloads, expected) in table {
        let site = Site::new(nodes, workloads);
        for method in Method::ALL {
            let mut found = names(&site, method);
            if *what == "fit" {
                found[1] = "?".to_owned();
            } else if site.workloads.len() == 1 {
                found.sort_unstable();
            }
            assert_eq!(&found, expected, "{what}: {}", method.name());
        }
    }
}

#[test]
fn a_replica_moves_on_to_make_room_for_another() {
    // Largest first by processor; the small one must leave the node with memory to the last.
    let site = Site::new(
        &["a 4 1", "b 4 8"],
        &["x 1 2000 512", "y 1 1900 512", "z 1 1800 100", "wide 1 400 7500"],
    );
    let problem = site.problem();
    for seed in 0..5 {
        let outcome = solve(&problem, Method::AntColony, seed, 2);
        assert_eq!(outcome.score.unplaced, 0, "{:?}", outcome.homes);
    }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn no_method_breaks_a_rule_and_scores_are_true(site in sites(), seed in any::<u64>()) {
        let problem = site.problem();
        for method in Method::ALL {
            let outcome = solve(&problem, method, seed, 3);
            prop_assert_eq!(outcome.homes.len(), problem.replicas());
            prop_assert_eq!(site.breaches(&outcome.homes), Vec::<String>::new(), "{:?}", method);
            prop_assert_eq!(outcome.score, score(&problem, &outcome.homes));
            prop_assert_eq!(outcome.unplaced.len(), outcome.score.unplaced);
            // Nobody is left out who could simply be put somewhere.
            for unplaced in &outcome.unplaced {
                for node in 0..problem.nodes() {
                    let mut homes = outcome.homes.clone();
                    homes[unplaced.item] = Some(node);
                    let allowed = site.breaches(&homes).is_empty();
                    prop_assert!(!allowed || !method.searches(), "{:?} {:?}", method, unplaced);
                }
            }
        }
    }
}
