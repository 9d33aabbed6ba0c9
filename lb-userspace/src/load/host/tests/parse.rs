//! Texts of single files.

use proptest::prelude::*;

use super::super::{
    parse::{self, Direction},
    reading::{Device, IoCounts, IoRates, Quota},
};

fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

const fn device(major: u32, minor: u32) -> Device {
    Device { major, minor }
}

#[test]
fn numbers_are_digits_and_nothing_else() {
    #[rustfmt::skip]
    let table: [(&[u8], Option<u64>); 16] = [
        (b"0\n",                        Some(0)),
        (b"4096\n",                     Some(4096)),
        (b"007",                        Some(7)),
        (b" 12 \n",                     Some(12)),
        (b"18446744073709551615\n",     Some(u64::MAX)),
        (b"18446744073709551616\n",     None),
        (b"99999999999999999999999\n",  None),
        (b"",                           None),
        (b"\n",                         None),
        (b"-1\n",                       None),
        (b"+1\n",                       None),
        (b"1.5\n",                      None),
        (b"1e3\n",                      None),
        (b"0x10\n",                     None),
        (b"1 2\n",                      None),
        (b"\xff\xfe",                   None),
    ];
    for (text, expected) in table {
        assert_eq!(parse::number(text), expected, "{}", shown(text));
    }
}

/// `cpu.stat` of both versions.
const STAT_V1: &[u8] =
    b"nr_periods 80\nnr_throttled 43\nthrottled_time 3513208541\nnr_bursts 0\nburst_time 0\n";
const STAT_V2: &[u8] = b"usage_usec 5113842\nuser_usec 4001000\nsystem_usec 1112842\n\
    nr_periods 120\nnr_throttled 7\nthrottled_usec 215344\n";

#[test]
fn a_key_is_a_whole_word() {
    #[rustfmt::skip]
    let table: [(&[u8], &[u8], Option<u64>); 16] = [
        (STAT_V1, b"nr_periods",      Some(80)),
        (STAT_V1, b"nr_throttled",    Some(43)),
        (STAT_V1, b"throttled_time",  Some(3_513_208_541)),
        (STAT_V2, b"usage_usec",      Some(5_113_842)),
        (STAT_V2, b"throttled_usec",  Some(215_344)),
        (b"low 0\noom 3\noom_kill 2\noom_group_kill 1\n", b"oom_kill", Some(2)),
        (b"inactive_file 1\ntotal_inactive_file 2\n", b"total_inactive_file", Some(2)),
        (b"total_inactive_file 2\n",  b"inactive_file", None),
        (STAT_V1, b"usage_usec",      None),
        (STAT_V1, b"nr_period",       None),
        (b"nr_periods",               b"nr_periods", None),
        (b"nr_periods \n",            b"nr_periods", None),
        (b"nr_periods\t80\n",         b"nr_periods", None),
        (b"nr_periods -3\n",          b"nr_periods", None),
        (b"nr_periods 8 0\n",         b"nr_periods", None),
        (b"",                         b"nr_periods", None),
    ];
    for (text, key, expected) in table {
        assert_eq!(parse::keyed(text, key), expected, "{} in {}", shown(key), shown(text));
    }
}

#[test]
fn limits_that_are_none() {
    #[rustfmt::skip]
    let table: [(&[u8], Option<u64>); 12] = [
        (b"268435456\n",            Some(268_435_456)),
        (b"0\n",                    Some(0)),
        (b"max\n",                  None),
        // With pages of 4 KiB and of 64 KiB.
        (b"9223372036854771712\n",  None),
        (b"9223372036854710272\n",  None),
        (b"18446744073709551615\n", None),
        (b"maximum\n",              None),
        (b"MAX\n",                  None),
        (b"-1\n",                   None),
        (b"1G\n",                   None),
        (b"99999999999999999999\n", None),
        (b"",                       None),
    ];
    for (text, expected) in table {
        assert_eq!(parse::limit(text), expected, "{}", shown(text));
    }
}

#[test]
fn a_quota_has_a_period() {
    let quota = |quota, period| Some(Quota::new(quota, period).unwrap());
    #[rustfmt::skip]
    let table: [(&[u8], _); 12] = [
        (b"25000 100000\n",    quota(25_000, 100_000)),
        (b"250000 100000",     quota(250_000, 100_000)),
        (b"max 100000\n",      None),
        (b"max\n",             None),
        (b"25000\n",           None),
        (b"25000 0\n",         None),
        (b"0 100000\n",        None),
        (b"-1 100000\n",       None),
        (b"25000 max\n",       None),
        (b"max 100000 1\n",    None),
        (b"25000,100000\n",    None),
        (b"",                  None),
    ];
    for (text, expected) in table {
        assert_eq!(parse::quota_v2(text), expected, "{}", shown(text));
    }
    assert!((Quota::new(25_000, 100_000).unwrap().cores() - 0.25).abs() < f64::EPSILON);
}

#[test]
fn cpus_are_counted() {
    #[rustfmt::skip]
    let table: [(&[u8], Option<u32>); 17] = [
        (b"0\n",         Some(1)),
        (b"0-1\n",       Some(2)),
        (b"0-3,8,10-11", Some(7)),
        (b"8191",        Some(1)),
        (b"\n",          None),
        (b"",            None),
        (b"0,\n",        None),
        (b",0\n",        None),
        (b"3-0\n",       None),
        (b"0-\n",        None),
        (b"-3\n",        None),
        (b"0-1-2\n",     None),
        (b"0 1\n",       None),
        (b"all\n",       None),
        (b"8192",        None),
        (b"0-18446744073709551615", None),
        (b"0-99999999999999999999", None),
    ];
    for (text, expected) in table {
        assert_eq!(parse::cpu_count(text), expected, "{}", shown(text));
    }
}

#[test]
fn pressure_is_the_total_of_some() {
    #[rustfmt::skip]
    let table: [(&[u8], Option<u64>); 9] = [
        (b"some avg10=79.83 avg60=48.76 avg300=29.69 total=3529326895\n\
           full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n", Some(3_529_326_895)),
        (b"full avg10=0.00 avg60=0.00 avg300=0.00 total=7\nsome total=9\n", Some(9)),
        (b"full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n", None),
        (b"some avg10=0.00 avg60=0.00 avg300=0.00\n", None),
        (b"some total=\n",       None),
        (b"some total=-4\n",     None),
        (b"some total 4\n",      None),
        (b"something total=4\n", None),
        (b"",                    None),
    ];
    for (text, expected) in table {
        assert_eq!(parse::pressure(text), expected, "{}", shown(text));
    }
}

fn v2(text: &[u8]) -> Vec<(Device, [u64; 4])> {
    let mut found = Vec::new();
    parse::io_v2(text, |device, counts| {
        let IoCounts { read_bytes, written_bytes, reads, writes } = counts;
        found.push((device, [read_bytes, written_bytes, reads, writes]));
    });
    found
}

#[test]
fn io_is_told_by_device() {
    type Counts = (Device, [u64; 4]);
    #[rustfmt::skip]
    let table: [(&[u8], &[Counts]); 12] = [
        (b"8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0\n\
           8:0 rbytes=90430464 wbytes=299008000 rios=8950 wios=1252 dbytes=50331648 dios=3021\n",
         &[(device(8, 16), [1_459_200, 314_773_504, 192, 353]),
           (device(8, 0), [90_430_464, 299_008_000, 8950, 1252])]),
        (b"254:0 wios=1 rbytes=2 cost.usage=7\n", &[(device(254, 0), [2, 0, 0, 1])]),
        // Devices without counts and without the end of their line.
        (b"7:7 7:6 254:0 rbytes=5 wbytes=6 rios=7 wios=8\n", &[(device(254, 0), [5, 6, 7, 8])]),
        (b"8:0 rbytes=5 8:1 wbytes=6\n",
         &[(device(8, 0), [5, 0, 0, 0]), (device(8, 1), [0, 6, 0, 0])]),
        (b"7:7 \n",                          &[]),
        (b"rbytes=5 wbytes=6\n",             &[]),
        (b"254 rbytes=5\n",                  &[]),
        (b":0 rbytes=5\n",                   &[]),
        (b"254:4294967296 rbytes=5\n",       &[]),
        (b"254:0 rbytes=x wbytes=6\n",       &[]),
        (b"254:0 rbytes\n",                  &[]),
        (b"",                                &[]),
    ];
    for (text, expected) in table {
        assert_eq!(v2(text), expected, "{}", shown(text));
    }
}

fn v1(text: &[u8]) -> Vec<(Device, Direction, u64)> {
    let mut found = Vec::new();
    parse::io_v1(text, |device, direction, count| found.push((device, direction, count)));
    found
}

#[test]
fn io_of_v1_is_told_by_direction() {
    let text = b"254:0 Read 0\n254:0 Write 1048576\n254:0 Sync 2101248\n254:0 Async 0\n\
        254:0 Discard 1052672\n254:0 Total 2101248\nTotal 2101248\n";
    let of = device(254, 0);
    assert_eq!(v1(text), [(of, Direction::Read, 0), (of, Direction::Write, 1_048_576)]);
    for text in [
        "Total 0\n",
        "254:0 Read\n",
        "254:0 Read -1\n",
        "254:0 Read 1 2\n",
        "254:0 read 1\n",
        "254 Read 1\n",
        "Read 1\n",
        "",
    ] {
        assert_eq!(v1(text.as_bytes()), [], "{text}");
    }
}

#[test]
fn limits_of_devices() {
    type Limits = (Device, IoRates);
    let found = |text: &[u8]| {
        let mut found = Vec::new();
        parse::io_limits_v2(text, |device, rates| found.push((device, rates)));
        found
    };
    let none = IoRates::default();
    let two = IoRates { read_bytes: Some(2_097_152), writes: Some(120), ..none };
    #[rustfmt::skip]
    let table: [(&[u8], &[Limits]); 8] = [
        (b"8:16 rbps=2097152 wbps=max riops=max wiops=120\n", &[(device(8, 16), two)]),
        (b"8:16 rbps=max wbps=max riops=max wiops=max\n",     &[(device(8, 16), none)]),
        // A rate of nothing would divide by nothing.
        (b"8:16 rbps=0\n",    &[(device(8, 16), none)]),
        (b"8:16 rbps=-1\n",   &[(device(8, 16), none)]),
        (b"8:16\n",           &[(device(8, 16), none)]),
        (b"rbps=2097152\n",   &[]),
        (b"8:x rbps=1\n",     &[]),
        (b"",                 &[]),
    ];
    for (text, expected) in table {
        assert_eq!(found(text), expected, "{}", shown(text));
    }
}

#[test]
fn limits_of_devices_in_v1() {
    let found = |text: &[u8]| {
        let mut found = Vec::new();
        parse::io_limits_v1(text, |device, rate| found.push((device, rate)));
        found
    };
    assert_eq!(found(b"8:0 1048576\n254:0 7\n"), [(device(8, 0), 1_048_576), (device(254, 0), 7)]);
    for text in ["", "8:0\n", "8:0 0\n", "8:0 max\n", "8:0 1 2\n", "80 1\n", "8:0:1 1\n", "8: 1\n"]
    {
        assert_eq!(found(text.as_bytes()), [], "{text}");
    }
}

proptest! {
    /// Whatever the bytes: an answer, and no panic.
    #[test]
    fn any_bytes_are_read(text in bytes(), key in bytes()) {
        parse::number(&text);
        parse::keyed(&text, &key);
        parse::limit(&text);
        parse::quota_v2(&text);
        parse::pressure(&text);
        prop_assert!(parse::cpu_count(&text).is_none_or(|count| count > 0));
        parse::io_v1(&text, |_, _, _| {});
        parse::io_v2(&text, |_, _| {});
        parse::io_limits_v1(&text, |_, rate| assert!(rate > 0));
        parse::io_limits_v2(&text, |_, _| {});
    }

    #[test]
    fn what_is_written_is_read(
        major: u32, minor: u32, counts: [u64; 4], quota in 1_u64.., period in 1_u64..,
    ) {
        let [a, b, c, d] = counts;
        let line = format!("{major}:{minor} rbytes={a} wbytes={b} rios={c} wios={d}\n");
        prop_assert_eq!(v2(line.as_bytes()), [(device(major, minor), counts)]);
        let text = format!("{quota} {period}\n");
        prop_assert_eq!(parse::quota_v2(text.as_bytes()), Quota::new(quota, period));
        prop_assert_eq!(parse::number(format!("{a}\n").as_bytes()), Some(a));
    }
}

/// Bytes, half of them of the alphabet of these files.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let likely = prop::sample::select(&b"0123456789 \n:,-=amxRWeadirtotlsrbywi"[..]);
    prop::collection::vec(prop_oneof![likely, any::<u8>()], 0..200)
}
