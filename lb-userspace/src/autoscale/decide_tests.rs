//! Decisions by the story that leads to them.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{autoscale::Sample, forecast::Method};

/// Capacity 100 and target 0.5: a replica is for 50 requests a second.
fn settings() -> Settings {
    let quick = Settings { target: 0.5, margin: 0.0, max: 100, ..Settings::default() };
    Settings { cooldown: Duration::ZERO, ..quick }
}

struct World {
    now: Instant,
    scaler: Scaler,
    current: u32,
}

impl World {
    fn new(settings: Settings, current: u32) -> Self {
        let now = Instant::now() + Duration::from_hours(1);
        Self { now, scaler: Scaler::new(settings).unwrap(), current }
    }

    /// One bucket; what is decided is done.
    fn bucket(&mut self, offered: Option<f64>, capacity: Option<f64>) -> Decision {
        self.with_pods(offered, capacity, None)
    }

    fn with_pods(
        &mut self,
        offered: Option<f64>,
        capacity: Option<f64>,
        used: Option<&[u64]>,
    ) -> Decision {
        self.now += Duration::from_secs(15);
        let now = self.now;
        let started = now.checked_sub(Duration::from_mins(20)).unwrap();
        let sample = |milli| Sample { milli, at: now, window: Duration::from_secs(15) };
        let pods: Option<Vec<Pod>> = used.map(|used| {
            let pod = |&milli| Pod {
                started,
                pending: false,
                ready: true,
                since: started,
                sample: Some(sample(milli)),
            };
            used.iter().map(pod).collect()
        });
        let observation =
            Observation { current: self.current, offered, capacity, pods: pods.as_deref() };
        let decision = self.scaler.decide(now, &observation);
        self.current = decision.desired;
        decision
    }

    /// The same load for some time.
    fn steady(&mut self, load: f64, buckets: u32) -> Decision {
        let decisions = (0..buckets).map(|_| self.bucket(Some(load), Some(100.0)));
        decisions.last().unwrap()
    }
}

#[test]
fn load_decides_where_nothing_else_does() {
    for (load, current, desired, reason) in [
        (200.0, 4, 4, "load"),
        (210.0, 4, 4, "tolerance"),
        (190.0, 4, 4, "load"),
        (230.0, 4, 5, "load"),
        (400.0, 4, 8, "load"),
        (2000.0, 4, 8, "rate"),
        (20_000.0, 60, 100, "max"),
        (0.0, 0, 1, "min"),
        (1e300, 50, 100, "max"),
        (500.0, 200, 100, "max"),
    ] {
        let decision = World::new(settings(), current).bucket(Some(load), Some(100.0));
        assert_eq!(
            (decision.desired, decision.reason.name()),
            (desired, reason),
            "{load}: {decision}"
        );
    }
}

#[test]
fn nothing_is_taken_away_on_what_is_not_known() {
    let (some, none) = (Some(100.0), None);
    let bad = [None, Some(f64::NAN), Some(f64::INFINITY), Some(-1.0)];
    for offered in bad {
        let decision = World::new(settings(), 9).bucket(offered, some);
        assert_eq!((decision.desired, decision.reason), (9, Reason::Blind), "{offered:?}");
    }
    for capacity in bad.into_iter().chain([Some(0.0)]) {
        let decision = World::new(settings(), 9).bucket(some, capacity);
        assert_eq!((decision.desired, decision.reason), (9, Reason::Blind), "{capacity:?}");
    }
    // One of the two is known and says less: keep.
    let by_use = World::new(settings(), 4).with_pods(none, some, Some(&[100; 4]));
    assert_eq!(by_use.reason, Reason::Unmeasured { wanted: 1, what: "the load" });
    let by_load = World::new(settings(), 4).with_pods(Some(50.0), some, Some(&[]));
    assert_eq!(by_load.reason, Reason::Unmeasured { wanted: 1, what: "utilisation" });
    assert_eq!([by_use.desired, by_load.desired], [4, 4]);
}

#[test]
fn one_of_the_two_is_enough_to_add() {
    let by_use = World::new(settings(), 4).with_pods(None, None, Some(&[1000; 4]));
    assert_eq!((by_use.desired, by_use.reason.name()), (8, "utilisation"));
    let by_load = World::new(settings(), 4).with_pods(Some(300.0), Some(100.0), Some(&[]));
    assert_eq!((by_load.desired, by_load.reason.name()), (6, "load"));
    // What the load does not show: the guard asks for more.
    let guard = World::new(settings(), 4).with_pods(Some(50.0), Some(100.0), Some(&[800; 4]));
    assert_eq!((guard.desired, guard.reason.name()), (7, "utilisation"));
}

#[test]
fn a_gap_does_not_open_the_way_down() {
    let sure_window = Duration::from_mins(5);
    let mut world = World::new(Settings { sure_window, ..settings() }, 8);
    world.steady(400.0, 30);
    for _ in 0..40 {
        assert_eq!(world.bucket(None, Some(100.0)).desired, 8);
    }
    // The first figure after ten minutes of silence is low: what was held counts for the window.
    for _ in 0..19 {
        let decision = world.bucket(Some(50.0), Some(100.0));
        assert_eq!((decision.desired, decision.reason.name()), (8, "window"), "{decision}");
    }
    assert_eq!(world.bucket(Some(50.0), Some(100.0)).desired, 1);
}

#[test]
fn an_exponential_ramp_is_met_before_it_arrives() {
    let desired = |method| {
        let mut world = World::new(Settings { method, ..settings() }, 4);
        world.steady(180.0, 20);
        let ramp = (1..=10).map(|k| 180.0 * 1.12_f64.powi(k));
        ramp.map(|load| world.bucket(Some(load), Some(100.0))).collect::<Vec<_>>()
    };
    let (grey, last) = (desired(Method::Grey), desired(Method::Last));
    let total = |decisions: &[Decision]| decisions.iter().map(|it| it.desired).sum::<u32>();
    assert!(total(&grey) > total(&last) + 20, "{} {}", total(&grey), total(&last));
    let end = grey.last().unwrap();
    let Reason::Forecast { expected, ahead, .. } = end.reason else { panic!("{end}") };
    let truth = 180.0 * 1.12_f64.powi(16);
    assert!((expected / truth - 1.0).abs() < 0.05, "{expected} {truth}");
    assert_eq!(ahead, Duration::from_secs(90));
}

#[test]
fn a_forecast_is_kept_within_reason() {
    // Growth by 1.19 a bucket passes every gate, and would be 2.8 times the load in 90 seconds.
    let mut world = World::new(settings(), 4);
    let ramp = (0..12).map(|k| 200.0 * 1.19_f64.powi(k));
    let end = ramp.map(|load| (load, world.bucket(Some(load), Some(100.0)))).last().unwrap();
    let expected = end.1.expected.unwrap();
    assert!((expected / end.0 - MOST).abs() < 1e-9, "{expected} {}", end.0);
}

#[test]
fn a_forecast_that_falls_takes_nothing_away_below_the_load() {
    let mut world = World::new(settings(), 8);
    for k in 0..12 {
        let load = 400.0 * 0.93_f64.powi(k);
        let decision = world.bucket(Some(load), Some(100.0));
        assert!(decision.expected.unwrap() >= load, "{decision}");
    }
}

#[test]
fn the_window_downwards_is_shorter_when_the_fall_is_sure() {
    let mut world = World::new(settings(), 20);
    world.steady(1000.0, 20);
    let mut loads = (1..).map(|k| 1000.0 * 0.97_f64.powi(k));
    let mut falls = || {
        let decision = world.bucket(loads.next(), Some(100.0));
        decision.desired < decision.current
    };
    let first = (1..=20).find(|_| falls()).unwrap();
    assert!((9..20).contains(&first), "{first}");
}

#[test]
fn noise_does_not_move_replicas() {
    let mut world = World::new(settings(), 4);
    for k in 0..200 {
        let load = if k % 2 == 0 { 212.0 } else { 188.0 };
        let decision = world.bucket(Some(load), Some(100.0));
        assert_eq!(decision.desired, 4, "{k}: {decision}");
    }
}

#[test]
fn residuals_add_a_margin() {
    let expected = |margin| {
        let mut world = World::new(Settings { margin, ..settings() }, 4);
        let loads = [200.0, 180.0].into_iter().cycle().take(20);
        loads.map(|load| world.bucket(Some(load), Some(100.0))).last().unwrap().expected.unwrap()
    };
    assert!((expected(0.0) - 180.0).abs() < 1e-9);
    assert!((expected(1.0) - 200.0).abs() < 1.0, "{}", expected(1.0));
}

#[test]
fn a_cooldown_holds_back_what_takes_away_and_nothing_else() {
    let cooldown = Duration::from_mins(20);
    let mut world = World::new(Settings { cooldown, ..settings() }, 4);
    assert_eq!(world.steady(400.0, 1).desired, 8);
    assert_eq!(world.steady(800.0, 1).desired, 16);
    let held = world.steady(100.0, 30);
    assert_eq!((held.desired, held.reason.name()), (16, "cooldown"), "{held}");
    assert_eq!(world.steady(100.0, 60).desired, 2);
}

#[test]
fn sentences() {
    let mut world = World::new(settings(), 4);
    let mut said = vec![world.bucket(Some(230.0), Some(100.0)).to_string()];
    said.push(world.bucket(Some(240.0), Some(100.0)).to_string());
    said.push(world.bucket(Some(10.0), Some(100.0)).to_string());
    said.push(world.bucket(None, None).to_string());
    said.push(world.with_pods(None, None, Some(&[700; 5])).to_string());
    said.push(world.bucket(Some(9000.0), Some(100.0)).to_string());
    assert_eq!(
        said,
        [
            "from 4 to 5: 230.0 requests/s are offered, a replica can take 100.0",
            "keep 5: 240.0 requests/s are offered, a replica can take 100.0",
            "keep 5: 1 are wanted, but not for all of the last 300 s",
            "keep 5: neither what the load needs nor utilisation is known",
            "from 5 to 7: the load is not known; replicas use 70 %, 50 % is the target",
            "from 7 to 14: 180 are wanted, more than may change at once",
        ]
    );
}

proptest! {
    #[test]
    fn whatever_is_seen_the_bounds_hold_and_the_blind_take_nothing(
        steps in prop::collection::vec(
            (prop::option::of(any::<f64>()), prop::option::of(any::<f64>()), 0_u32..30), 1..60),
    ) {
        let mut world = World::new(Settings { min: 2, max: 20, ..settings() }, 5);
        for (offered, capacity, outside) in steps {
            // Somebody else changes the number now and then.
            if outside > 25 {
                world.current = outside;
            }
            let decision = world.bucket(offered, capacity);
            prop_assert!((2..=20).contains(&decision.desired), "{decision}");
            if decision.reason == Reason::Blind {
                prop_assert!(decision.desired >= decision.current.min(20));
            }
        }
    }

    #[test]
    fn more_load_never_asks_for_fewer(load in 0.0..5000.0, more in 0.0..500.0, current in 1_u32..100) {
        let desired = |load| World::new(settings(), current).bucket(Some(load), Some(100.0)).desired;
        prop_assert!(desired(load + more) >= desired(load));
    }
}
