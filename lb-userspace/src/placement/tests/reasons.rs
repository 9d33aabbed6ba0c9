//! Who has no place, and why.

use super::world::{Site, solve};
use crate::placement::Method;

#[test]
fn replicas_without_a_place_are_named_with_the_reason() {
    #[rustfmt::skip]
    let table: &[(&[&str], &[&str], &[&str])] = &[
        (&["a 4 4"], &["x 2 1000 1024"], &[]),
        (&["a 4 4", "b 2 8"], &["x 1 5000 1"],
            &["x: it needs 5 cpu, the largest node has 4"]),
        (&["a 4 4 - k=v", "b 2 8"], &["x 1 1000 5000 select=k:v"],
            &["x: it needs 5000Mi memory, the largest node has 4Gi"]),
        (&["a 4 4"], &["x 1 100 100 select=k:v"],
            &["x: no node has the labels it selects"]),
        (&["a 1 4", "b 4 1"], &["x 2 700 600"], &[]),
        (&["a 1 4", "b 4 1", "c 9 9 - k=v"], &["x 3 900 900 select=k:v avoid=x"],
            &["x/2: no node is left: 2 not selected, 1 with replicas it avoids",
              "x/3: no node is left: 2 not selected, 1 with replicas it avoids"]),
        (&["a 1 4", "b 4 1"], &["x 3 900 900"],
            &["x/3: no node is left: 1 too little cpu, 1 too little memory"]),
        (&["a 9 9 e", "b 1 9 w", "c 9 9"], &["x 4 800 100 spread=1"],
            &["x/4: no node is left: 1 too little cpu, 2 in a zone with enough of them"]),
    ];
    for (nodes, workloads, expected) in table {
        let outcome = solve(&Site::new(nodes, workloads).problem(), Method::FirstFit, 1, 0);
        let found: Vec<String> =
            outcome.unplaced.iter().map(|it| format!("{}: {}", it.replica, it.reason)).collect();
        assert_eq!(&found, expected, "{nodes:?} {workloads:?}");
    }
}

#[test]
fn a_workload_too_large_for_everyone_takes_nothing_from_the_others() {
    let site = Site::new(&["a 4 4", "b 4 4"], &["huge 1 9000 1", "x 2 3000 1024"]);
    for method in Method::ALL {
        let outcome = solve(&site.problem(), method, 1, 3);
        assert_eq!(outcome.homes[0], None);
        assert_eq!(outcome.score.unplaced, 1, "{}", method.name());
    }
}
