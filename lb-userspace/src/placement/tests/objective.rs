//! The objective by its definition, and the one that is kept up from step to step.

use proptest::prelude::*;

use super::world::{Site, cases, sites};
use crate::placement::{
    Score,
    random::Random,
    score,
    state::{State, Step},
};

fn near(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-9
}

#[test]
fn a_score_is_the_one_worked_out_by_hand() {
    let site = Site::new(
        &["a 4 4", "b 2 4"],
        &["web 3 1000 1024", "db 1 500 2048", "idle 2 0 0 service=web"],
    );
    let problem = site.problem();
    // a: web, web, idle: 2 of 4 cores, 2 of 4 GiB. b: web, db, idle: 1.5 of 2 cores, 3 of 4 GiB.
    let homes = vec![Some(0), Some(0), Some(1), Some(1), Some(0), Some(1)];
    let found = score(&problem, &homes);
    // Both dimensions are 0.5 and 0.75; three of five replicas of web are on a, half would do.
    let expected =
        Score { deviation: 0.125, gap: 0.0, peak: 0.75, concentration: 0.05, unplaced: 0 };
    assert!(near(found.deviation, expected.deviation), "{found:?}");
    assert!(near(found.concentration, expected.concentration), "{found:?}");
    assert!(near(found.gap, 0.0) && near(found.peak, 0.75), "{found:?}");
    assert!(near(found.objective(), 0.125 + 0.075 + 0.025), "{found:?}");

    // Nothing but db on a: 0.125 and 0.5 beside zeroes, two replicas short of everything else.
    let homes = vec![None, None, None, Some(0), Some(1), None];
    let found = score(&problem, &homes);
    assert!(near(found.deviation, 0.0625_f64.midpoint(0.25)), "{found:?}");
    assert!(near(found.gap, 0.1875 / 2.0), "{found:?}");
    assert_eq!((found.concentration, found.unplaced), (0.0, 4), "a share below the least counts 0");
    let objective = found.deviation + found.gap / 2.0 + 0.05 + 0.2;
    assert!(near(found.objective(), objective), "{found:?}");
}

#[test]
fn dimensions_that_no_node_has_do_not_count() {
    let mut site = Site::new(&["a 4 4", "b 4 4"], &["web 1 2000 2048"]);
    let deviation = |site: &Site| score(&site.problem(), &vec![Some(0)]).deviation;
    assert!(near(deviation(&site), 0.25));
    site.nodes[0].capacity[2] = 1000;
    assert!(near(deviation(&site), 0.5 / 3.0), "network, of which nothing is used");
}

#[test]
fn unplaced_replicas_come_before_balance() {
    let score = |unplaced, deviation| Score { deviation, unplaced, ..Score::default() };
    assert!(score(0, 0.9).beats(&score(1, 0.0)));
    assert!(score(1, 0.1).beats(&score(1, 0.2)));
    assert!(!score(1, 0.2).beats(&score(1, 0.2)));
    assert!(!score(2, 0.0).beats(&score(1, 0.9)));
}

proptest! {
    #![proptest_config(cases(256))]

    /// Every prediction comes true, and after hundreds of steps the sums are still right.
    #[test]
    fn what_is_kept_up_equals_the_definition(site in sites(), seed in any::<u64>()) {
        let problem = site.problem();
        let (nodes, items) = (problem.nodes(), problem.replicas());
        let mut random = Random::new(seed, 0, 0);
        let mut state = State::new(&problem);
        for _ in 0..300 {
            let item = random.below(items);
            let step = match random.below(3) {
                0 => Step::Swap { one: item, other: random.below(items) },
                _ => Step::Put { item, node: random.below(nodes) },
            };
            if !state.allows(step) {
                continue;
            }
            let predicted = state.objective_after(step);
            state.apply(step);
            let (kept, full) = (state.score(), score(&problem, state.homes()));
            // A difference near zero is rounded by some 1e-15; its root is less exact.
            let exact = (predicted - full.objective()).abs() < 1e-6;
            prop_assert!(exact, "{step:?} {predicted} {full:?}");
            prop_assert!((kept.deviation - full.deviation).abs() < 1e-6, "{kept:?} {full:?}");
            prop_assert!(near(kept.gap, full.gap), "{kept:?} {full:?}");
            prop_assert!(near(kept.peak, full.peak), "{kept:?} {full:?}");
            prop_assert!(near(kept.concentration, full.concentration), "{kept:?} {full:?}");
            prop_assert_eq!(kept.unplaced, full.unplaced);
            prop_assert_eq!(site.breaches(state.homes()), Vec::<String>::new());
        }
    }
}
