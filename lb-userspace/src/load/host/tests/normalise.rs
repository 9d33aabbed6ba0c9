//! Two readings, and what they say.

use std::time::Duration;

use proptest::prelude::*;

use super::super::{
    Cpu, Device, Host, IoCounts, IoRates, LimitedDevice, LinkCounts, Memory, NetworkUse, Pressure,
    Quota, Reading, Share, Unknown, Utilisations, utilisations,
};

const HOST: Host = Host { cpus: 4, memory: 8 << 30 };
const SECOND: Duration = Duration::from_secs(1);
const MIB: u64 = 1 << 20;

/// CPU of one level: milliseconds used, cores of quota, periods, throttled ones.
fn cpu(used_ms: u64, quota: Option<f64>, periods: u64, throttled: u64) -> Cpu {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
    let quota = quota.and_then(|cores| Quota::new((cores * 100_000.0) as u64, 100_000));
    Cpu { usage_ns: Some(used_ms * 1_000_000), quota, periods, throttled, throttled_ns: 0 }
}

fn of_cpu(levels: &[(u8, Cpu)], cpus: Option<u32>) -> Reading {
    let mut reading = Reading { identity: 1, cpus, ..Reading::default() };
    for &(depth, level) in levels {
        reading.cpu.push(depth, level);
    }
    reading
}

fn of_memory(levels: &[(u8, u64, u64, Option<u64>)]) -> Reading {
    let mut reading = Reading { identity: 1, ..Reading::default() };
    for &(depth, usage, inactive, limit) in levels {
        let limit = limit.map(|mib| mib * MIB);
        let memory = Memory { usage: usage * MIB, inactive_file: inactive * MIB, limit };
        reading.memory.push(depth, memory);
    }
    reading
}

fn stalled(memory_ms: Option<u64>, io_ms: Option<u64>) -> Pressure {
    let us = |ms: Option<u64>| ms.map(|ms| ms * 1000);
    Pressure { cpu_us: None, memory_us: us(memory_ms), io_us: us(io_ms) }
}

fn compare(before: &Reading, after: &Reading) -> Utilisations {
    utilisations(Some(before), after, SECOND, HOST, NetworkUse::default())
}

fn assert_share(found: Share, expected: Share, name: &str) {
    match (found, expected) {
        (Ok(found), Ok(expected)) => assert!((found - expected).abs() < 1e-9, "{name}: {found}"),
        (found, expected) => assert_eq!(found, expected, "{name}"),
    }
}

#[test]
fn cpu_is_a_share_of_what_binds() {
    let idle = |quota| cpu(5_000, quota, 100, 10);
    #[rustfmt::skip]
    let table = vec![
        ("half of one core", of_cpu(&[(0, idle(Some(1.0)))], None), of_cpu(&[(0, cpu(5_500, Some(1.0), 110, 10))], None), Ok(0.5)),
        ("half of a quarter", of_cpu(&[(0, idle(Some(0.25)))], None), of_cpu(&[(0, cpu(5_125, Some(0.25), 110, 10))], None), Ok(0.5)),
        ("idle", of_cpu(&[(0, idle(Some(1.0)))], None), of_cpu(&[(0, idle(Some(1.0)))], None), Ok(0.0)),
        ("the host's four", of_cpu(&[(0, cpu(0, None, 0, 0))], None), of_cpu(&[(0, cpu(1_000, None, 0, 0))], None), Ok(0.25)),
        ("a cpuset of two", of_cpu(&[(0, cpu(0, None, 0, 0))], Some(2)), of_cpu(&[(0, cpu(1_000, None, 0, 0))], Some(2)), Ok(0.5)),
        ("a cpuset smaller than the quota", of_cpu(&[(0, idle(Some(3.0)))], Some(1)), of_cpu(&[(0, cpu(5_500, Some(3.0), 110, 10))], Some(1)), Ok(0.5)),
        ("a cpuset of nothing says nothing", of_cpu(&[(0, cpu(0, None, 0, 0))], Some(0)), of_cpu(&[(0, cpu(1_000, None, 0, 0))], Some(0)), Ok(0.25)),
        ("throttled in every period", of_cpu(&[(0, idle(Some(1.0)))], None), of_cpu(&[(0, cpu(5_500, Some(1.0), 110, 20))], None), Ok(0.9)),
        ("used up, and throttled", of_cpu(&[(0, idle(Some(1.0)))], None), of_cpu(&[(0, cpu(6_010, Some(1.0), 110, 20))], None), Ok(1.0)),
        ("the parent's quota binds", of_cpu(&[(0, cpu(0, None, 0, 0)), (1, cpu(0, Some(0.5), 0, 0))], None),
            of_cpu(&[(0, cpu(100, None, 0, 0)), (1, cpu(400, Some(0.5), 10, 0))], None), Ok(0.8)),
        ("the parent's is wider", of_cpu(&[(0, cpu(0, Some(0.5), 0, 0)), (1, cpu(0, Some(2.0), 0, 0))], None),
            of_cpu(&[(0, cpu(400, Some(0.5), 10, 0)), (1, cpu(400, Some(2.0), 10, 0))], None), Ok(0.8)),
        ("a cpuset binds nobody else", of_cpu(&[(0, cpu(0, None, 0, 0)), (1, cpu(0, Some(2.0), 0, 0))], Some(1)),
            of_cpu(&[(0, cpu(100, None, 0, 0)), (1, cpu(1000, Some(2.0), 10, 0))], Some(1)), Ok(0.5)),
        ("a quota of more than there is", of_cpu(&[(0, cpu(0, None, 0, 0)), (1, cpu(0, Some(8.0), 0, 0))], None),
            of_cpu(&[(0, cpu(0, None, 0, 0)), (1, cpu(2000, Some(8.0), 10, 0))], None), Ok(0.5)),
        ("the parent is throttled", of_cpu(&[(0, cpu(0, Some(1.0), 0, 0)), (2, cpu(0, Some(2.0), 0, 0))], None),
            of_cpu(&[(0, cpu(10, Some(1.0), 10, 0)), (2, cpu(10, Some(2.0), 10, 5))], None), Ok(0.45)),
        ("a parent's quota that is new", of_cpu(&[(0, cpu(0, None, 0, 0))], None),
            of_cpu(&[(0, cpu(400, None, 0, 0)), (1, cpu(400, Some(0.5), 9, 9))], None), Ok(0.1)),
        ("the use runs backwards", of_cpu(&[(0, idle(None))], None), of_cpu(&[(0, cpu(4_999, None, 100, 10))], None), Err(Unknown::Reset)),
        ("throttling runs backwards", of_cpu(&[(0, idle(Some(1.0)))], None), of_cpu(&[(0, cpu(5_500, Some(1.0), 110, 9))], None), Err(Unknown::Reset)),
        ("more than there is", of_cpu(&[(0, cpu(0, None, 0, 0))], None), of_cpu(&[(0, cpu(8_001, None, 0, 0))], None), Err(Unknown::Implausible)),
        ("no CPU shown", of_cpu(&[], None), of_cpu(&[], None), Err(Unknown::Absent)),
        ("no CPU shown before", of_cpu(&[], None), of_cpu(&[(0, idle(None))], None), Err(Unknown::Absent)),
        ("no use shown", of_cpu(&[(0, Cpu::default())], None), of_cpu(&[(0, Cpu::default())], None), Err(Unknown::Absent)),
        ("only throttling shown", of_cpu(&[(0, Cpu { usage_ns: None, ..idle(Some(1.0)) })], None),
            of_cpu(&[(0, Cpu { usage_ns: None, ..cpu(0, Some(1.0), 110, 15) })], None), Ok(0.45)),
    ];
    for (name, before, after, expected) in table {
        assert_share(compare(&before, &after).cpu, expected, name);
    }
}

#[test]
fn cores_are_the_fewest_of_the_path() {
    let quota = |cores| cpu(0, Some(cores), 0, 0);
    #[rustfmt::skip]
    let table = [
        (of_cpu(&[], None), 4.0),
        (of_cpu(&[], Some(2)), 2.0),
        (of_cpu(&[], Some(64)), 4.0),
        (of_cpu(&[(0, quota(0.25))], Some(2)), 0.25),
        (of_cpu(&[(0, quota(8.0))], Some(2)), 2.0),
        (of_cpu(&[(0, quota(2.0)), (1, quota(0.5)), (3, quota(3.0))], None), 0.5),
    ];
    for (reading, cores) in table {
        let found = compare(&reading, &reading).cores;
        assert!((found - cores).abs() < 1e-9, "{found} of {reading:?}");
    }
}

#[test]
fn memory_matters_near_its_limit() {
    let host = HOST.memory / MIB;
    #[rustfmt::skip]
    let table: [(&str, &[_], Option<u64>, Share); 12] = [
        ("half full",                &[(0, 50, 0, Some(100))],   Some(0),   Ok(0.0)),
        ("nine tenths",              &[(0, 90, 0, Some(100))],   Some(0),   Ok(0.5)),
        ("full",                     &[(0, 100, 0, Some(100))],  Some(0),   Ok(1.0)),
        ("over, for a moment",       &[(0, 130, 0, Some(100))],  Some(0),   Ok(1.0)),
        ("full of old cache",        &[(0, 100, 60, Some(100))], Some(0),   Ok(0.0)),
        ("more cache than usage",    &[(0, 10, 60, Some(100))],  Some(0),   Ok(0.0)),
        ("the parent is full",       &[(0, 10, 0, Some(100)), (1, 190, 0, Some(200))], Some(0), Ok(0.75)),
        ("without limit, the host",  &[(0, host, 0, None)],      Some(0),   Ok(1.0)),
        ("waits an eighth",          &[(0, 50, 0, Some(100))],   Some(125), Ok(0.5)),
        ("waits all the time",       &[(0, 50, 0, Some(100))],   Some(999), Ok(1.0)),
        ("no limit but none at all", &[(0, 0, 0, Some(0))],      Some(0),   Ok(0.0)),
        ("not shown",                &[],                        None,      Err(Unknown::Absent)),
    ];
    for (name, levels, waited, expected) in table {
        let after = Reading { pressure: stalled(waited, None), ..of_memory(levels) };
        let before = Reading { pressure: stalled(waited.map(|_| 0), None), ..of_memory(levels) };
        assert_share(compare(&before, &after).memory, expected, name);
    }
    let only_pressure = Reading { pressure: stalled(Some(125), None), ..of_memory(&[]) };
    let before = Reading { pressure: stalled(Some(0), None), ..of_memory(&[]) };
    assert_share(compare(&before, &only_pressure).memory, Ok(0.5), "waiting alone");
    let backwards = compare(&only_pressure, &before);
    assert_share(backwards.memory, Err(Unknown::Reset), "waiting runs backwards");
    assert_share(backwards.stalled.memory, Err(Unknown::Reset), "waiting runs backwards");
}

#[test]
fn memory_is_shown_with_its_smallest_limit() {
    let reading = of_memory(&[(0, 90, 20, Some(300)), (1, 190, 0, Some(200))]);
    let found = compare(&reading, &reading);
    assert_eq!((found.working_set, found.memory_limit), (Some(70 * MIB), 200 * MIB));
    let none = compare(&of_memory(&[]), &of_memory(&[]));
    assert_eq!((none.working_set, none.memory_limit), (None, HOST.memory));
}

#[test]
fn kills_are_counted_between_readings() {
    let killed = |kills| Reading { identity: 1, oom_kills: kills, ..Reading::default() };
    #[rustfmt::skip]
    let table = [
        (Some(3), Some(5), 2), (Some(3), Some(3), 0),
        (Some(5), Some(3), 0), (None, Some(3), 0), (Some(3), None, 0), (None, None, 0),
    ];
    for (before, after, kills) in table {
        assert_eq!(
            compare(&killed(before), &killed(after)).oom_kills,
            kills,
            "{before:?} {after:?}"
        );
    }
}

fn of_io(limits: IoRates, counts: [u64; 4], waited_ms: Option<u64>) -> Reading {
    let [read_bytes, written_bytes, reads, writes] = counts;
    let counts = IoCounts { read_bytes, written_bytes, reads, writes };
    let device =
        LimitedDevice { depth: 0, device: Device { major: 254, minor: 0 }, limits, counts };
    let limited = limits.any().then_some(device);
    let io_limited = [limited, None, None, None];
    let pressure = stalled(None, waited_ms);
    Reading { identity: 1, io_limited, pressure, ..Reading::default() }
}

#[test]
fn io_is_a_share_of_its_limits_or_the_time_waited() {
    let none = IoRates::default();
    let read = IoRates { read_bytes: Some(1000), ..none };
    let both = IoRates { written_bytes: Some(1000), writes: Some(10), ..none };
    #[rustfmt::skip]
    let table = [
        ("half of the bytes",    read, [100, 9, 9, 9], [600, 900, 99, 99], Some(900), Ok(0.5)),
        ("the greater of two",   both, [0; 4],         [900, 100, 99, 8],  Some(0),   Ok(0.8)),
        ("more than allowed",    both, [0; 4],         [0, 5000, 0, 0],    Some(0),   Ok(1.0)),
        ("idle below a limit",   read, [7; 4],         [7; 4],             Some(900), Ok(0.0)),
        ("no limit, waits",      none, [0; 4],         [0; 4],             Some(300), Ok(0.3)),
        ("no limit, idle",       none, [0; 4],         [0; 4],             Some(0),   Ok(0.0)),
        ("no limit, no waiting", none, [0; 4],         [0; 4],             None,      Err(Unknown::Absent)),
        ("counts run backwards", read, [600, 0, 0, 0], [500, 0, 0, 0],     Some(0),   Err(Unknown::Reset)),
    ];
    for (name, limits, before, after, waited, expected) in table {
        let before = of_io(limits, before, waited.map(|_| 0));
        let after = of_io(limits, after, waited);
        assert_share(compare(&before, &after).io, expected, name);
    }
    // Another device takes the place of one whose limit was lifted.
    let (before, mut after) = (of_io(read, [0; 4], None), of_io(read, [500, 0, 0, 0], None));
    after.io_limited[0].as_mut().unwrap().device.minor = 16;
    assert_share(compare(&before, &after).io, Err(Unknown::First), "another device");
    let (before, after) = (of_io(none, [0; 4], None), of_io(read, [500, 0, 0, 0], None));
    assert_share(compare(&before, &after).io, Err(Unknown::First), "a limit that is new");
}

#[test]
fn network_needs_a_limit() {
    let counts = |index, received_bytes, sent_bytes| {
        Some(LinkCounts { index, received_bytes, sent_bytes, ..LinkCounts::default() })
    };
    #[rustfmt::skip]
    let table = [
        ("receives more", counts(7, 100, 100), counts(7, 600, 200), Some(1000), Ok(0.5)),
        ("sends more",    counts(7, 100, 100), counts(7, 200, 900), Some(1000), Ok(0.8)),
        ("over it",       counts(7, 0, 0),     counts(7, 9999, 0),  Some(1000), Ok(1.0)),
        ("no limit",      counts(7, 0, 0),     counts(7, 9999, 0),  None,       Err(Unknown::Unlimited)),
        ("limit of none", counts(7, 0, 0),     counts(7, 9999, 0),  Some(0),    Err(Unknown::Unlimited)),
        ("another link",  counts(7, 0, 0),     counts(8, 9999, 0),  Some(1000), Err(Unknown::Restarted)),
        ("backwards",     counts(7, 1, 0),     counts(7, 0, 0),     Some(1000), Err(Unknown::Reset)),
        ("first",         None,                counts(7, 0, 0),     Some(1000), Err(Unknown::First)),
        ("gone",          counts(7, 0, 0),     None,                Some(1000), Err(Unknown::Absent)),
    ];
    for (name, before, after, limit, expected) in table {
        let network = NetworkUse { before, after, limit };
        let reading = Reading::default();
        let found = utilisations(Some(&reading), &reading, SECOND, HOST, network);
        assert_share(found.network, expected, name);
    }
}

#[test]
fn readings_that_cannot_be_compared_give_nothing() {
    let before = of_cpu(&[(0, cpu(5_000, Some(1.0), 100, 10))], None);
    let mut after = of_cpu(&[(0, cpu(5_500, Some(1.0), 110, 20))], None);
    after.memory.push(0, Memory { usage: 1, inactive_file: 0, limit: Some(1) });
    let restarted = Reading { identity: 2, ..after };
    #[rustfmt::skip]
    let table = [
        ("the first",     None,          after,     SECOND,                      Unknown::First),
        ("restarted",     Some(&before), restarted, SECOND,                      Unknown::Restarted),
        ("no time",       Some(&before), after,     Duration::ZERO,              Unknown::TooSoon),
        ("hardly time",   Some(&before), after,     Duration::from_millis(49),   Unknown::TooSoon),
        ("slept",         Some(&before), after,     Duration::from_millis(60_001), Unknown::TooLate),
        ("for ever",      Some(&before), after,     Duration::MAX,               Unknown::TooLate),
    ];
    for (name, before, after, elapsed, why) in table {
        let found = utilisations(before, &after, elapsed, HOST, NetworkUse::default());
        let shares = [found.cpu, found.memory, found.io, found.throttled];
        let waits = [found.stalled.cpu, found.stalled.memory, found.stalled.io];
        for share in shares.into_iter().chain(waits) {
            assert_eq!(share, Err(why), "{name}");
        }
        assert_eq!(found.oom_kills, 0, "{name}");
    }
}

fn reading() -> impl Strategy<Value = Reading> {
    let number = || prop_oneof![0..10_u64, 0..10_000_000_000_u64, any::<u64>()];
    let maybe = move || prop::option::of(number());
    let cpu = (0..3_u8, maybe(), number(), number(), number(), number());
    let memory = (0..3_u8, number(), number(), maybe());
    let io = (prop::array::uniform4(number()), prop::array::uniform4(maybe()));
    let levels = (prop::collection::vec(cpu, 0..6), prop::collection::vec(memory, 0..6));
    (0..2_u64, levels, prop::option::of(any::<u32>()), io, prop::array::uniform4(maybe())).prop_map(
        |(identity, (cpu, memory), cpus, (counts, limits), pressure)| {
            let [read_bytes, written_bytes, reads, writes] = limits;
            let limits = IoRates { read_bytes, written_bytes, reads, writes };
            let mut reading = of_io(limits, counts, None);
            (reading.identity, reading.cpus) = (identity, cpus);
            for (depth, usage_ns, quota, period, periods, throttled) in cpu {
                let quota = Quota::new(quota, period);
                let cpu = Cpu { usage_ns, quota, periods, throttled, throttled_ns: 0 };
                reading.cpu.push(depth, cpu);
            }
            for (depth, usage, inactive_file, limit) in memory {
                reading.memory.push(depth, Memory { usage, inactive_file, limit });
            }
            let [cpu_us, memory_us, io_us, oom_kills] = pressure;
            reading.pressure = Pressure { cpu_us, memory_us, io_us };
            reading.oom_kills = oom_kills;
            reading
        },
    )
}

proptest! {
    /// Whatever the kernel shows and the clock does: shares, or a reason.
    #[test]
    fn shares_are_shares(
        before in prop::option::of(reading()), after in reading(), millis: u64,
        cpus: u32, memory: u64, limit: Option<u64>,
    ) {
        let host = Host { cpus, memory };
        let counts = |index| Some(LinkCounts { index, ..LinkCounts::default() });
        let network = NetworkUse { before: counts(1), after: counts(1), limit };
        for elapsed in [Duration::from_millis(millis), Duration::from_millis(millis % 3000)] {
            let found = utilisations(before.as_ref(), &after, elapsed, host, network);
            let shares = [found.cpu, found.memory, found.io, found.network, found.throttled];
            let waits = [found.stalled.cpu, found.stalled.memory, found.stalled.io];
            for share in shares.into_iter().chain(waits).flatten() {
                prop_assert!((0.0..=1.0).contains(&share), "{:?}", found);
            }
            prop_assert!(found.cores.is_finite() && found.cores > 0.0, "{:?}", found);
        }
    }

    /// Using more of a quota never looks like using less.
    #[test]
    fn more_use_is_more(one in 0..4_000_u64, other in 0..4_000_u64, cores in 0.1..4.0_f64) {
        let of = |used| of_cpu(&[(0, cpu(used, Some(cores), 0, 0))], None);
        let share = |used| compare(&of(0), &of(used)).cpu.unwrap();
        let (less, more) = (one.min(other), one.max(other));
        prop_assert!(share(less) <= share(more));
    }
}
