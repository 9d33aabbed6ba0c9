//! Descriptions that say nothing sensible.

use super::world::Site;
use crate::placement::{Mistake, NODES_MAX, Problem, Subject};

#[test]
fn every_mistake_is_named() {
    #[rustfmt::skip]
    let table: &[(&[&str], &[&str], &[&str])] = &[
        (&[], &["x 1 1 1"], &["there are no nodes"]),
        (&["a 1 1"], &[], &["there are no workloads"]),
        (&[], &[], &["there are no nodes", "there are no workloads"]),
        (&["a 0 1", "b 1 0"], &["x 1 1 1"],
            &["node \"a\" has no cpu", "node \"b\" has no memory"]),
        (&["a 1 1", "b 1 1", "a 2 2"], &["x 1 1 1"], &["there is another node \"a\""]),
        (&["a 1 1"], &["x 1 1 1", "y 1 1 1", "x 1 2 2"],
            &["there is another workload or replica \"x\""]),
        (&["a 1 1"], &["x 2 1 1", "x/2 1 1 1"],
            &["there is another workload or replica \"x/2\""]),
        (&["a 1 1"], &["x 0 1 1"], &["workload \"x\" has 0 replicas: at least 1"]),
        (&["a 1 1"], &["x 1 1 1 avoid=web", "y 1 1 1 service=site"],
            &["workload \"x\" avoids \"web\", which is no service here"]),
        (&["a 1 1"], &["x 1 1 1 service=site avoid=x"],
            &["workload \"x\" avoids \"x\", which is no service here"]),
        (&["a 1 1"], &["x 1 1 1 spread=0"], &["workload \"x\" has a spread of 0: at least 1"]),
        (&["a 1 1"], &["x 4000000000 1 1", "y 4000000000 1 1"],
            &["8000000000 replicas are more than 100000"]),
    ];
    for (nodes, workloads, expected) in table {
        let site = Site::new(nodes, workloads);
        let mistakes = Problem::new(&site.nodes, &site.workloads).unwrap_err();
        let found: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(&found, expected);
    }
}

#[test]
fn a_mistake_knows_its_place() {
    let mut site = Site::new(&["a 1 1", "b 0 1"], &["x 1 1 1", "y 1 1 1 avoid=z spread=0"]);
    site.workloads[0].name.clear();
    site.nodes[0].name.clear();
    let mistakes = Problem::new(&site.nodes, &site.workloads).unwrap_err();
    let places: Vec<Subject> = mistakes.iter().map(Mistake::subject).collect();
    assert_eq!(
        places,
        [
            Subject::Node(0, "name"),
            Subject::Node(1, "cpu"),
            Subject::Workload(0, "name"),
            Subject::Workload(1, "spread"),
            Subject::Workload(1, "avoid"),
        ]
    );
}

#[test]
fn there_is_a_limit_to_nodes() {
    let mut site = Site::new(&["a 1 1"], &["x 1 1 1"]);
    site.nodes =
        (0..=NODES_MAX).map(|number| super::world::node(&format!("n{number} 1 1"))).collect();
    let mistakes = Problem::new(&site.nodes, &site.workloads).unwrap_err();
    assert_eq!(mistakes, [Mistake::TooManyNodes { count: NODES_MAX + 1 }]);
    assert_eq!(mistakes[0].subject(), Subject::Nodes);
}
