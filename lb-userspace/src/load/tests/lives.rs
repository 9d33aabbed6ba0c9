use super::*;
use crate::load::{Class, sample::Resource, sample::Standing};
use crate::model::Weight;

#[test]
fn capacities_are_found_and_kept() {
    let samples = [serving(30.0, 0.6), serving(30.0, 0.3), serving(7.5, 0.6)];
    let mut life = Life::new();
    let decision = life.ticks(30, &samples);
    for (got, expected) in capacities(&decision).iter().zip([50.0, 100.0, 12.5]) {
        assert!(near(*got, expected, 0.05), "{got}, not {expected}");
    }
    assert_eq!(decision.class, Class::Bound(Resource::Cpu));
    let published = life.publishes;
    for _ in 0..100 {
        assert!(!life.tick(&samples).publish, "constant inputs publish nothing");
    }
    assert_eq!(life.publishes, published);
}

#[test]
fn noise_within_the_deadband_publishes_nothing() {
    let mut life = Life::new();
    life.ticks(30, &[serving(30.0, 0.6), serving(30.0, 0.3)]);
    for turn in 0..100 {
        let wobble = if turn % 2 == 0 { 1.02 } else { 0.98 };
        let decision = life.tick(&[serving(30.0 * wobble, 0.6), serving(30.0, 0.3 * wobble)]);
        assert!(!decision.publish, "turn {turn}");
    }
}

#[test]
fn an_antagonist_is_noticed_within_seconds() {
    let (well, slow) = (serving(35.0, 0.7), serving(15.0, 1.0));
    let mut life = Life::new();
    life.ticks(60, &[well.clone(), well.clone(), well.clone()]);
    let sick = life.ticks(12, &[slow.clone(), well.clone(), well.clone()]);
    assert!(near(capacities(&sick)[0], 15.0, 0.2), "{:?}", capacities(&sick));
    let back = life.ticks(12, &[well.clone(), well.clone(), well]);
    assert!(near(capacities(&back)[0], 50.0, 0.15), "{:?}", capacities(&back));
}

#[test]
fn a_stalled_backend_does_not_live_on_what_it_was() {
    for rate in [30.0, 8.0, 2.0] {
        let well = serving(rate, 0.6);
        let mut stalled = serving(0.0, 0.99);
        stalled.traffic.in_flight = 200.0;
        let mut deadlocked = stalled.clone();
        deadlocked.host.cpu = Some(Reading::fresh(0.0));
        let mut bare = stalled.clone();
        bare.host = Host::default();
        for stuck in [stalled, deadlocked, bare] {
            let mut life = Life::new();
            let before = life.ticks(60, &[well.clone(), well.clone(), well.clone()]);
            let after = life.ticks(40, &[stuck, well.clone(), well.clone()]);
            let left = capacities(&after)[0] / capacities(&before)[0];
            assert!(left < 0.25, "{rate}/s: {left}, {}", after.backends[&0].explanation);
        }
    }
}

#[test]
fn what_no_utilisation_shows_is_found_in_the_queue() {
    let mut hidden = serving(30.0, 0.1);
    hidden.traffic.in_flight = 4.0;
    let mut life = Life::new();
    let decision = life.ticks(30, &[hidden, serving(30.0, 0.6)]);
    assert_eq!(decision.backends[&0].explanation.class, Class::Latency);
    assert_eq!(decision.backends[&1].explanation.class, Class::Bound(Resource::Cpu));
    assert!(near(capacities(&decision)[0], 30.0 / 0.8, 0.05), "{:?}", capacities(&decision));
}

#[test]
fn without_host_figures_the_queue_does() {
    let bare = |turns_per_s, cpu| Sample { host: Host::default(), ..serving(turns_per_s, cpu) };
    let decision = Life::new().ticks(40, &[bare(30.0, 0.6), bare(30.0, 0.3)]);
    for (got, expected) in capacities(&decision).iter().zip([50.0, 100.0]) {
        assert!(near(*got, expected, 0.05), "{got}, not {expected}");
    }
}

#[test]
fn old_figures_hold_then_the_queue_counts_then_the_static_weights() {
    let heavy = |sample: Sample| Sample { weight: Weight::new(3).unwrap(), ..sample };
    let (a, b) = (heavy(serving(30.0, 0.3)), serving(30.0, 0.6));
    let mut life = Life::new();
    let before = capacities(&life.ticks(40, &[a.clone(), b.clone()]));
    let decision = life.ticks(5, &[aged(a.clone(), 5), aged(b.clone(), 5)]);
    assert_eq!(capacities(&decision), before);
    assert_eq!(guard(&decision, 0), "held: the figures of its host are old");

    // Gone: the queue of b says 90 % although its CPU said 60 %.
    let mut queue = aged(b.clone(), 11);
    queue.traffic.in_flight = 9.0;
    let decision = life.ticks(40, &[aged(a.clone(), 11), queue]);
    assert!(near(capacities(&decision)[1], 30.0 / 0.9, 0.06), "{:?}", capacities(&decision));

    // No traffic either: three to one, as configured, within two minutes.
    let silent =
        |sample: &Sample| Sample { traffic: Traffic::default(), ..aged(sample.clone(), 60) };
    let decision = life.ticks(10, &[silent(&a), silent(&b)]);
    assert!(guard(&decision, 0).starts_with("nothing known for long"), "{}", guard(&decision, 0));
    let decision = life.ticks(110, &[silent(&a), silent(&b)]);
    assert_eq!(guard(&decision, 0), "not measured: static weight");
    let [a, b] = told(&decision)[..] else { panic!("two backends") };
    assert!(near(f64::from(a) / f64::from(b), 3.0, 0.001), "{a} {b}");
}

#[test]
fn idle_backends_keep_what_was_learnt_for_a_while() {
    let mut life = Life::new();
    let before = capacities(&life.ticks(40, &[serving(30.0, 0.3), serving(30.0, 0.6)]));
    let idle = [serving(0.0, 0.0), serving(30.0, 0.6)];
    let decision = life.ticks(60, &idle);
    // Fading averages are not quite those of a queue.
    let faded = capacities(&decision);
    assert!(near(faded[0], before[0], 0.15), "{before:?} {faded:?}");
    assert_eq!(guard(&decision, 0), "held: 4 of 20 turns needed to measure it");
    let decision = life.ticks(150, &idle);
    assert_eq!(guard(&decision, 0), "not measured: static weight");
    assert!(near(capacities(&decision)[0], 50.0, 0.06), "{:?}", capacities(&decision));
}

#[test]
fn rare_long_requests_are_measured_too() {
    // Two requests in five seconds that keep it busy.
    let decision = Life::new().ticks(120, &[serving(0.4, 0.8), serving(0.8, 0.8)]);
    let [slow, fast] = capacities(&decision)[..] else { panic!("two backends") };
    assert!(near(fast / slow, 2.0, 0.05), "{slow} {fast}");
}

#[test]
fn a_new_backend_begins_with_little_and_not_for_long() {
    let old = [serving(35.0, 0.7), serving(35.0, 0.7)];
    let with = |sample: Sample| [old[0].clone(), old[1].clone(), sample];
    let mut life = Life::new();
    life.ticks(40, &old);
    let share = |decision: &Decision<usize>| capacities(decision)[2] / 50.0;
    let first = life.tick(&with(serving(0.0, 0.0)));
    assert!(near(share(&first), 0.1, 0.01), "{}", share(&first));
    assert_eq!(guard(&first, 2), "slow start: at most 10 % of the median");
    let blackout = life.ticks(4, &with(serving(35.0, 0.1)));
    assert!(share(&blackout) < 0.2, "what it does in the first seconds says nothing");
    // Measured, it may rise as fast as everybody.
    let measured = life.ticks(9, &with(serving(7.0, 0.14)));
    assert!(near(share(&measured), 1.0, 0.05), "{}", share(&measured));
    // Without traffic it takes the whole time.
    let mut life = Life::new();
    life.ticks(40, &old);
    for (seconds, expected) in [(1, 0.1), (15, 0.5), (14, 29.0 / 30.0), (2, 1.0)] {
        let decision = life.ticks(seconds, &with(serving(0.0, 0.0)));
        assert!(near(share(&decision), expected, 0.07), "{expected}: {}", share(&decision));
    }
}

#[test]
fn when_all_are_new_nobody_waits() {
    let decision = Life::new().tick(&[serving(0.0, 0.0), serving(0.0, 0.0)]);
    assert_eq!(told(&decision), [65535; 2]);
    assert!(guard(&decision, 0).starts_with("held: 0 of 20 turns"), "{}", guard(&decision, 0));
}

#[test]
fn a_backend_that_fails_fast_is_ejected_and_tried_again() {
    let well = serving(30.0, 0.6);
    let mut life = Life::new();
    let all = |sick: Sample| [sick, well.clone(), well.clone()];
    let before = capacities(&life.ticks(40, &all(well.clone())));
    let (mut seconds, mut decision) = (0, life.tick(&all(failing(60.0, 0.1, 0.8))));
    while told(&decision)[0] > 0 {
        decision = life.tick(&all(failing(60.0, 0.1, 0.8)));
        seconds += 1;
        assert!(seconds <= 10, "{decision:?}");
        assert!(capacities(&decision)[0] < before[0] * 1.01, "errors never attract");
    }
    assert!(guard(&decision, 0).starts_with("ejected for 30 s"), "{}", guard(&decision, 0));
    assert!(decision.backends[&0].share == 0.0);
    let back = life.ticks(31, &all(serving(0.0, 0.0)));
    assert!(told(&back)[0] > 0 && told(&back)[0] < 20_000, "{:?}", told(&back));
}

#[test]
fn never_more_than_half_are_ejected() {
    let (well, sick) = (serving(30.0, 0.6), failing(30.0, 0.1, 1.0));
    #[rustfmt::skip]
    let table = [
        // backends, of which fail, of which are ejected
        (1, 1, 0),
        (2, 1, 1),
        (3, 1, 1),
        (4, 1, 1),
        (5, 2, 2),
        // The usual share of errors is 100 %: nobody stands out.
        (4, 4, 0),
        (5, 3, 0),
    ];
    for (all, fail, ejected) in table {
        let samples: Vec<Sample> =
            (0..all).map(|id| if id < fail { sick.clone() } else { well.clone() }).collect();
        let decision = Life::new().ticks(12, &samples);
        let out = told(&decision).iter().filter(|capacity| **capacity == 0).count();
        assert_eq!(out, ejected, "{all} {fail}: {:?}", told(&decision));
    }
}

#[test]
fn connections_that_fail_in_a_row_eject_at_once_but_half_at_most() {
    let mut refused = serving(0.0, 0.0);
    refused.traffic.failures.in_a_row = 5;
    let well = serving(30.0, 0.6);
    let decision = Life::new().tick(&[refused.clone(), well.clone()]);
    assert_eq!(told(&decision), [0, 65535]);
    let decision = Life::new().tick(&[refused.clone(), refused.clone(), refused.clone(), well]);
    assert_eq!(told(&decision).iter().filter(|capacity| **capacity == 0).count(), 2);
    assert!(guard(&decision, 2).starts_with("not ejected"), "{}", guard(&decision, 2));
    let decision = Life::new().tick(&[refused]);
    assert_eq!(told(&decision), [65535], "the only backend is never ejected");
}

#[test]
fn when_few_are_left_the_ejected_serve() {
    let well = serving(30.0, 0.6);
    let mut refused = well.clone();
    refused.traffic.failures.in_a_row = 5;
    let down = Sample { standing: Standing::Down, ..well.clone() };
    let decision = Life::new().tick(&[refused.clone(), well.clone(), well.clone(), well.clone()]);
    assert!(!decision.panic && told(&decision)[0] == 0);
    let decision = Life::new().tick(&[refused, well, down.clone(), down]);
    assert!(decision.panic && told(&decision)[0] > 0, "{decision:?}");
    assert_eq!(told(&decision)[2..], [0, 0], "health checks are not overruled");
}

#[test]
fn drained_and_down_get_nothing_and_come_back_slowly() {
    let well = serving(30.0, 0.6);
    #[rustfmt::skip]
    let table = [
        (Sample { standing: Standing::Drained, ..well.clone() },         "drained"),
        (Sample { weight: Weight::new(0).unwrap(), ..well.clone() },     "drained"),
        (Sample { standing: Standing::Down, ..well.clone() }, "down: fails its health checks"),
    ];
    for (out, reason) in table {
        let mut life = Life::new();
        life.ticks(40, &[well.clone(), well.clone()]);
        let decision = life.tick(&[out, well.clone()]);
        assert!(decision.publish);
        assert_eq!((told(&decision)[0], guard(&decision, 0).as_str()), (0, reason));
        assert_eq!(decision.backends[&0].share.to_bits(), 0.0_f64.to_bits());
        let back = life.tick(&[well.clone(), well.clone()]);
        assert!(near(f64::from(told(&back)[0]), 6553.5, 0.01), "{:?}", told(&back));
    }
}

#[test]
fn nobody_is_a_service_too() {
    let mut life = Life::new();
    assert!(life.tick(&[]).backends.is_empty());
    life.ticks(3, &[serving(1.0, 0.1)]);
    let decision = life.tick(&[]);
    assert!(decision.publish && decision.backends.is_empty());
}

#[test]
fn a_clock_that_stands_or_jumps_moves_nothing() {
    let samples = [serving(30.0, 0.3), serving(30.0, 0.6)];
    let mut life = Life::new();
    let before = capacities(&life.ticks(40, &samples));
    let slow = [serving(3.0, 1.0), serving(30.0, 0.6)];
    for back_s in [0, 100, 900] {
        let now = life.now.saturating_sub(Duration::from_secs(back_s));
        let decision = life.controller.tick(now, &named(&slow));
        assert_eq!(capacities(&decision), before, "{back_s} s back");
    }
    let decision = life.controller.tick(Duration::MAX, &named(&slow));
    assert!(capacities(&decision).iter().all(|capacity| capacity.is_finite()));
}

#[test]
fn a_backend_that_joins_idle_ones_is_as_good_as_they_are() {
    for (rate, expected) in [(0.0, 1.0), (30.0, 0.1)] {
        let mut life = Life::new();
        life.ticks(1, &[serving(rate, 0.6)]);
        let decision = life.ticks(1, &[serving(rate, 0.6), serving(0.0, 0.0)]);
        let [old, new] = [0, 1].map(|id| f64::from(decision.backends[&id].capacity));
        assert!(near(new / old, expected, 0.01), "beside one that serves {rate}/s: {old} {new}");
    }
}

/// The same with a word of its own about its load, said so long ago.
fn reporting(mut sample: Sample, value: f64, age_s: u64) -> Sample {
    sample.host.reported = Some(Reading { value, age: Duration::from_secs(age_s) });
    sample
}

#[test]
fn a_report_counts_while_it_is_young_and_a_number() {
    let (plain, other) = (serving(30.0, 0.3), serving(30.0, 0.3));
    #[rustfmt::skip]
    let table = [
        // reported, age, capacity
        (0.6,                0, 50.0),
        (1.0,                0, 30.0),
        (7.5,                0, 30.0),
        (f64::INFINITY,      0, 30.0),
        (0.6,                2, 50.0),
        // Who belittles its load gains nothing.
        (0.0,                0, 100.0),
        (0.1,                0, 100.0),
        // Nonsense and news of yesterday.
        (f64::NAN,           0, 100.0),
        (-1.0,               0, 100.0),
        (f64::NEG_INFINITY,  0, 100.0),
        (0.6,               11, 100.0),
        (0.6,                5, 100.0),
    ];
    for (reported, age_s, expected) in table {
        let said = reporting(plain.clone(), reported, age_s);
        let decision = Life::new().ticks(40, &[said, other.clone()]);
        let capacity = capacities(&decision)[0];
        assert!(near(capacity, expected, 0.06), "{reported} after {age_s} s: {capacity}");
    }
}

#[test]
fn reports_that_stall_are_forgotten() {
    let (busy, other) = (serving(30.0, 0.3), serving(30.0, 0.3));
    let mut life = Life::new();
    let decision = life.ticks(40, &[reporting(busy.clone(), 0.9, 0), other.clone()]);
    assert!(near(capacities(&decision)[0], 30.0 / 0.9, 0.06), "{:?}", capacities(&decision));
    // Up to ten seconds it may be late.
    let decision = life.ticks(5, &[reporting(busy.clone(), 0.9, 6), other.clone()]);
    assert!(near(capacities(&decision)[0], 30.0 / 0.9, 0.06), "{:?}", capacities(&decision));
    let decision = life.ticks(20, &[reporting(busy, 0.9, 11), other]);
    assert!(near(capacities(&decision)[0], 100.0, 0.06), "{:?}", capacities(&decision));
}

/// Whoever always says that it is full gets less and less, and would end with nothing.
#[test]
fn who_cries_wolf_gets_a_sixteenth_of_the_others_and_is_named() {
    let honest = serving(80.0, 0.8);
    let mut life = Life::new();
    let (mut capacity, mut decision) = (100.0, life.tick(&[honest.clone(), honest.clone()]));
    for _ in 0..120 {
        // It serves its part of the whole, at a hundredth of a second each.
        let rate = 160.0 * capacity / (capacity + 200.0);
        let liar = reporting(serving(rate, rate / 100.0), 1.0, 0);
        decision = life.tick(&[liar, honest.clone(), honest.clone()]);
        capacity = capacities(&decision)[0];
    }
    assert!(near(capacity, 100.0 / 16.0, 0.06), "{capacity}");
    let text = decision.backends[&0].explanation.to_string();
    assert!(text.contains("100 % by its own report, far more than anything else shows"), "{text}");
}
