use proptest::prelude::*;

use super::*;
use crate::load::{Guard, sample::Standing};
use crate::model::{Endpoint, Policy, Protocol, Weight};
use crate::reconcile::TableBackend;
use crate::table;

/// Any bits that a float can have, plausible ones more often.
fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => 0.0..100.0_f64,
        2 => 0.0..1.0_f64,
        1 => any::<f64>(),
        1 => prop::sample::select(vec![
            f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, -1.0, f64::MAX, f64::MIN_POSITIVE,
        ]),
    ]
}

fn reading() -> impl Strategy<Value = Option<Reading>> {
    prop::option::of((float(), prop_oneof![4 => 0..3_u64, 1 => 0..30_u64, 1 => any::<u64>()]))
        .prop_map(|it| it.map(|(value, age)| Reading { value, age: Duration::from_secs(age) }))
}

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..200_u64, 1 => any::<u64>()]
}

prop_compose! {
    fn traffic()(
        (turns_per_s, in_flight) in (float(), float()),
        first_byte_s in prop::option::of(float()),
        attempts in count(),
        (refused, reset, in_a_row) in (count(), count(), 0..8_u64),
    ) -> Traffic {
        let failures = Failures { refused, reset, in_a_row, ..Failures::default() };
        Traffic { turns_per_s, in_flight, first_byte_s, handshake_s: None, attempts, failures }
    }
}

prop_compose! {
    fn host()(
        readings in prop::array::uniform6(reading()),
        cores in prop::option::of(float()),
    ) -> Host {
        let [cpu, throttled, memory, io, network, reported] = readings;
        Host { cpu, throttled, memory, io, network, reported, cores }
    }
}

prop_compose! {
    fn sample()(
        standing in prop::sample::select(vec![
            Standing::Serving, Standing::Serving, Standing::Serving, Standing::Drained, Standing::Down,
        ]),
        weight in 0..=1000_u16,
        (traffic, host) in (traffic(), host()),
    ) -> Sample {
        Sample { standing, weight: Weight::new(weight).unwrap(), traffic, host }
    }
}

/// Backends that can exist, and their capacities.
fn honest() -> impl Strategy<Value = Vec<(f64, f64)>> {
    prop::collection::vec((30.0..200.0_f64, 0.1..0.9_f64), 2..8)
}

fn samples(honest: &[(f64, f64)], factor: f64) -> Vec<Sample> {
    honest.iter().map(|(turns, cpu)| serving(turns * factor, *cpu)).collect()
}

/// Whether the capacity of a backend was under the law at both of two ticks.
fn lawful(guard: Guard) -> bool {
    !matches!(guard, Guard::Down | Guard::Drained | Guard::Ejected { .. } | Guard::SlowStart { .. })
}

/// Capacities and guards of the last tick, and whether their unit was known.
type Before = (BTreeMap<usize, (f64, Guard)>, bool);

/// Slots of each backend in a Maglev table by these weights.
fn slots(capacities: &[u16]) -> Vec<usize> {
    let backend = |(id, capacity): (u32, &u16)| {
        let address = std::net::Ipv4Addr::from_bits(0xc612_0000 + id).into();
        let identity = Endpoint { address, port: 80, protocol: Protocol::Tcp };
        TableBackend { id, identity, weight: u32::from(*capacity), capacity: u32::from(*capacity) }
    };
    let backends: Vec<TableBackend> = (1_u32..).zip(capacities).map(backend).collect();
    let built = table::build(Policy::Maglev, &backends);
    let of = |backend: &TableBackend| built.entries.iter().filter(|id| **id == backend.id).count();
    backends.iter().map(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_comes_in_what_goes_out_is_sane(
        ticks in prop::collection::vec(prop::collection::vec(sample(), 1..6), 1..40),
        pauses in prop::collection::vec(prop_oneof![6 => Just(1_u64), 1 => 0..100_u64], 40),
    ) {
        let mut controller = Controller::new(Settings::default());
        let mut now = Duration::ZERO;
        let mut before: Option<Before> = None;
        for (samples, pause_s) in ticks.iter().zip(pauses) {
            now += Duration::from_secs(pause_s);
            let decision = controller.tick(now, &named(samples));
            let scaled = controller.scale.is_some();
            let largest = decision.backends.values().map(|verdict| verdict.capacity).max();
            prop_assert!(matches!(largest, Some(0 | u16::MAX)), "{largest:?}");
            for (id, verdict) in &decision.backends {
                let explanation = &verdict.explanation;
                let capacity = explanation.capacity;
                prop_assert!(capacity.is_finite() && capacity >= 0.0, "{capacity}");
                prop_assert!((0.0..=1.0).contains(&verdict.share));
                prop_assert!((0.0..=1.0).contains(&explanation.utilisation));
                prop_assert!(explanation.turns_per_s.is_finite() && explanation.error_share <= 1.0);
                prop_assert_eq!(verdict.capacity == 0, verdict.share == 0.0);
                prop_assert!(!explanation.to_string().contains("NaN"), "{explanation}");
                let Some((before, was_scaled)) = &before else { continue };
                let Some((old, guard)) = before.get(id) else { continue };
                // The unit changes once, when the first backend is measured.
                if lawful(*guard) && lawful(explanation.guard) && scaled == *was_scaled {
                    let seconds = approximate(pause_s.min(5));
                    let change = (capacity / old).ln() ;
                    prop_assert!(change <= 0.4 * seconds + 1e-9, "{old} -> {capacity}");
                    prop_assert!(change >= -0.7 * seconds - 1e-9, "{old} -> {capacity}");
                }
            }
            let of = |(id, verdict): (&usize, &super::super::Verdict)| {
                (*id, (verdict.explanation.capacity, verdict.explanation.guard))
            };
            before = Some((decision.backends.iter().map(of).collect(), scaled));
        }
    }

    #[test]
    fn measured_capacities_stay_within_the_spread(
        honest in prop::collection::vec((10.0..200.0_f64, 0.0001..1.0_f64), 3..8),
    ) {
        let decision = Life::new().ticks(60, &samples(&honest, 1.0));
        let capacities = capacities(&decision);
        let middle = crate::load::weigh::median(capacities.clone()).unwrap();
        for capacity in capacities {
            // The median moves by the deadband, too.
            prop_assert!((middle / 18.0..=middle * 18.0).contains(&capacity), "{capacity} {middle}");
        }
    }

    #[test]
    fn the_unit_of_traffic_does_not_matter(honest in honest(), factor in 1.0..20.0_f64) {
        let one = Life::new().ticks(60, &samples(&honest, 1.0));
        let many = Life::new().ticks(60, &samples(&honest, factor));
        for (one, many) in one.backends.values().zip(many.backends.values()) {
            prop_assert!(near(one.share, many.share, 1e-6), "{} {}", one.share, many.share);
            prop_assert!(one.capacity.abs_diff(many.capacity) <= 1);
        }
    }

    #[test]
    fn the_order_of_backends_does_not_matter(honest in honest(), turn in 0..8_usize) {
        let mut turned = honest.clone();
        let turn = turn % honest.len();
        turned.rotate_left(turn);
        let straight = told(&Life::new().ticks(60, &samples(&honest, 1.0)));
        let mut other = told(&Life::new().ticks(60, &samples(&turned, 1.0)));
        other.rotate_right(turn);
        prop_assert_eq!(straight, other);
    }

    #[test]
    fn equal_backends_are_treated_alike(
        ticks in prop::collection::vec(sample(), 1..30),
        count in 2..6_usize,
    ) {
        let mut life = Life::new();
        for sample in ticks {
            // Who is ejected first of equals is a matter of order.
            let mut sample = sample;
            sample.traffic.failures = Failures::default();
            let decision = life.tick(&vec![sample; count]);
            prop_assert!(told(&decision).windows(2).all(|pair| pair[0] == pair[1]));
        }
    }

    #[test]
    fn a_busier_backend_has_no_more_capacity(honest in honest(), which in 0..8_usize, more in 0.0..0.5_f64) {
        let which = which % honest.len();
        let base = capacities(&Life::new().ticks(60, &samples(&honest, 1.0)))[which];
        let mut raised = samples(&honest, 1.0);
        let cpu = (honest[which].1 + more).min(1.0);
        raised[which].host.cpu = Some(Reading::fresh(cpu));
        let raised = capacities(&Life::new().ticks(60, &raised))[which];
        // Both stop within the deadband of what they should be.
        prop_assert!(raised <= base * 0.05_f64.exp(), "{base} {raised}");
    }

    #[test]
    fn shares_and_slots_are_complete(
        honest in honest(),
        out in prop::collection::vec(0..4_u8, 8),
    ) {
        let mut samples = samples(&honest, 1.0);
        for (sample, out) in samples.iter_mut().zip(&out) {
            match out {
                0 => sample.standing = Standing::Drained,
                1 => sample.traffic.failures.in_a_row = 9,
                _ => {}
            }
        }
        let decision = Life::new().ticks(60, &samples);
        let serving = |verdict: &&super::super::Verdict| verdict.capacity > 0;
        let whole: f64 = decision.backends.values().map(|verdict| verdict.share).sum();
        if decision.backends.values().any(|verdict| serving(&verdict)) {
            prop_assert!((whole - 1.0).abs() < 1e-9, "{whole}");
        }
        let slots = slots(&told(&decision));
        for ((verdict, slots), sample) in decision.backends.values().zip(slots).zip(&samples) {
            prop_assert_eq!(serving(&verdict), slots > 0);
            prop_assert_eq!(serving(&verdict), verdict.share > 0.0);
            prop_assert!(sample.standing == Standing::Serving || !serving(&verdict));
        }
    }
}
