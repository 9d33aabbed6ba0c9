use std::collections::{BTreeMap, BTreeSet};

use lb_common::abi::backend::BackendLoad;

use super::*;
use crate::docker::Counts;

/// Reads the text as a scraper does: samples by name and labels. Panics at what a scraper refuses.
fn parse(text: &str) -> BTreeMap<String, u64> {
    let body = text.strip_suffix("# EOF\n").expect("the end marker");
    let (mut types, mut samples) = (BTreeMap::new(), BTreeMap::new());
    let mut family = "";
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            family = name;
            assert!(types.insert(name, kind).is_none(), "{name} is declared twice");
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(rest.ends_with('.'), "{rest}");
        } else {
            let (key, value) = line.rsplit_once(' ').unwrap();
            let name = key.split('{').next().unwrap();
            let suffixes: &[&str] = match types[family] {
                "counter" => &["_total"],
                "gauge" => &[""],
                "info" => &["_info"],
                "histogram" => &["_sum", "_count", "_bucket"],
                other => panic!("{other}"),
            };
            let suffix = name.strip_prefix(family).expect("a sample outside of its family");
            assert!(suffixes.contains(&suffix), "{name}");
            // Sums are seconds, and whole microseconds; other fractions are told in thousandths.
            let scaled =
                |unit: f64| format!("{:.0}", value.parse::<f64>().unwrap() * unit).parse().unwrap();
            let value = match suffix {
                "_sum" => scaled(1e6),
                _ if value.contains('.') => scaled(1e3),
                _ => value.parse().unwrap(),
            };
            let before = samples.insert(key.to_owned(), value);
            assert!(before.is_none(), "{key} is there twice");
        }
    }
    let names: Vec<_> = types.keys().collect();
    for (name, kind) in &types {
        // The names of the samples of one family must not be those of another.
        let total = format!("{name}_total");
        assert!(*kind != "counter" || !names.iter().any(|other| **other == total), "{total}");
    }
    samples
}

fn scale() -> ScaleReport {
    ScaleReport {
        desired: Some(7),
        replicas: 5,
        offered: Some(190.5),
        predicted: Some(320.25),
        capacity: Some(50.0),
        reason: "forecast".to_owned(),
        created: 31,
        removed: 32,
        failed: 33,
        ..ScaleReport::default()
    }
}

fn input() -> MetricsInput {
    let traffic =
        Traffic { flows: 1, packets_in: 2, bytes_in: 3, packets_out: 4, bytes_out: u64::MAX };
    let load = LoadReport {
        class: "cpu".to_owned(),
        utilisation: 0.825,
        reported: None,
        explained: Some(1.125),
        turns_per_s: 39.0,
        in_flight: 4.0,
        error_share: 0.0,
        capacity: 48.125,
        text: String::new(),
    };
    let loads = vec![("198.18.0.1:80".to_owned(), load)];
    let service = |name: &str, loads| ServiceMetrics {
        name: name.to_owned(),
        traffic,
        refused: Refused { by_service: 31, by_source: 32 },
        backends_up: 1,
        backends: 2,
        loads,
        scale: (name == "web").then(scale),
    };
    let mut signals = Signals {
        first_byte_us: 30,
        handshake_us: 2_500_000,
        refused: 5,
        reset: 6,
        repeated: 7,
        ..Default::default()
    };
    signals.first_bytes[..3].copy_from_slice(&[1, 0, 2]);
    signals.handshakes[23] = 4;
    let reading = Reading { load: BackendLoad { flows: 9, requests: 3, changes: 0 }, signals };
    let backend =
        |backend: &str, up| BackendMetrics { backend: backend.to_owned(), traffic, reading, up };
    MetricsInput {
        services: vec![service("web", loads), service("dns", Vec::new())],
        backends: vec![backend("198.18.0.1:80", true), backend("[fd00::1]:80", false)],
        reasons: vec![(Reason::Forwarded, 10), (Reason::NotIp, 11), (Reason::NoBackend, 12)],
        generation: 7,
        reloads_ok: 5,
        reloads_failed: 1,
        round: (Duration::from_millis(250), Duration::from_millis(500)),
        docker: Some(DockerMetrics {
            hosts: BTreeMap::from([(
                "east".to_owned(),
                HostMetrics { connected: true, running: 5 },
            )]),
            containers: BTreeMap::from([("held", 2), ("published", 3)]),
            refused: BTreeMap::from([("label", 4)]),
            counts: Counts { events: 21, lists: 22, last_event_s: 23 },
        }),
    }
}

/// What services and backends tell in the same words.
fn of_each() -> BTreeMap<String, u64> {
    let mut expected = BTreeMap::new();
    for (kind, names) in
        [("service", ["web", "dns"]), ("backend", ["198.18.0.1:80", "[fd00::1]:80"])]
    {
        for name in names {
            let who = format!("{kind}=\"{name}\"");
            let mut put = |metric: &str, more: &str, value: u64| {
                expected.insert(format!("weir_{kind}_{metric}{{{who}{more}}}"), value);
            };
            put("flows_total", "", 1);
            put("packets_total", ",direction=\"in\"", 2);
            put("packets_total", ",direction=\"out\"", 4);
            put("bytes_total", ",direction=\"in\"", 3);
            put("bytes_total", ",direction=\"out\"", u64::MAX);
            if kind == "service" {
                put("refused_flows_total", ",limit=\"new-flows\"", 31);
                put("refused_flows_total", ",limit=\"per-source\"", 32);
                put("backends_up", "", 1);
                put("backends", "", 2);
            } else {
                put("active_flows", "", 9);
                put("up", "", u64::from(name == "198.18.0.1:80"));
                put("requests_in_flight", "", 3);
                put("refused_total", "", 5);
                put("syn_repeated_total", "", 7);
                put("unanswered_total", "", 6);
                put("first_byte_seconds_sum", "", 30);
                put("first_byte_seconds_count", "", 3);
                put("handshake_seconds_sum", "", 2_500_000);
                put("handshake_seconds_count", "", 4);
            }
        }
    }
    expected
}

#[test]
fn every_number_has_its_sample() {
    let mut expected = of_each();
    let version = env!("CARGO_PKG_VERSION");
    let of_web = "service=\"web\",backend=\"198.18.0.1:80\"";
    for (sample, value) in [
        ("weir_packets_total{reason=\"forwarded\",action=\"forward\"}", 10),
        ("weir_packets_total{reason=\"not-ip\",action=\"pass\"}", 11),
        ("weir_packets_total{reason=\"no-backend\",action=\"drop\"}", 12),
        ("weir_config_generation", 7),
        ("weir_config_reloads_total{result=\"ok\"}", 5),
        ("weir_config_reloads_total{result=\"failed\"}", 1),
        ("weir_round_seconds{part=\"load\"}", 250),
        ("weir_round_seconds{part=\"all\"}", 500),
        ("weir_docker_connected", 1),
        ("weir_docker_host_connected{host=\"east\"}", 1),
        ("weir_docker_host_running{host=\"east\"}", 5),
        ("weir_docker_containers{verdict=\"held\"}", 2),
        ("weir_docker_containers{verdict=\"published\"}", 3),
        ("weir_docker_refused{reason=\"label\"}", 4),
        ("weir_docker_events_total", 21),
        ("weir_docker_resyncs_total", 22),
        ("weir_docker_last_event_timestamp_seconds", 23),
        (&format!("weir_build_info{{version=\"{version}\"}}"), 1),
        ("weir_service_replicas{service=\"web\"}", 5),
        ("weir_service_replicas_desired{service=\"web\"}", 7),
        ("weir_service_load_offered{service=\"web\"}", 190_500),
        ("weir_service_load_predicted{service=\"web\"}", 320_250),
        ("weir_service_replica_capacity{service=\"web\"}", 50_000),
        ("weir_service_scale_reason{service=\"web\",reason=\"forecast\"}", 1),
        ("weir_service_replicas_created_total{service=\"web\"}", 31),
        ("weir_service_replicas_removed_total{service=\"web\"}", 32),
        ("weir_service_scale_failures_total{service=\"web\"}", 33),
        (&format!("weir_backend_capacity{{{of_web}}}"), 48_125),
        (&format!("weir_backend_utilisation{{{of_web}}}"), 825),
        (&format!("weir_backend_queue_ratio{{{of_web}}}"), 1125),
        (&format!("weir_backend_load_class{{{of_web},class=\"cpu\"}}"), 1),
    ] {
        expected.insert(sample.to_owned(), value);
    }
    let mut samples = parse(&render(&input()));
    samples.retain(|key, _| !key.contains("_bucket"));
    assert_eq!(samples, expected);
}

#[test]
fn what_is_not_known_of_replicas_is_not_told() {
    let unknown = ScaleReport { desired: None, offered: None, ..scale() };
    let service = ServiceMetrics { scale: Some(unknown), ..ServiceMetrics::default() };
    let input = MetricsInput { services: vec![service], ..MetricsInput::default() };
    let samples = parse(&render(&input));
    let is_told = |name: &str| samples.keys().any(|key| key.starts_with(name));
    assert!(!is_told("weir_service_replicas_desired") && !is_told("weir_service_load_offered"));
    assert!(is_told("weir_service_load_predicted") && is_told("weir_service_replicas{"));
}

#[test]
fn the_names_are_the_published_ones() {
    let samples = parse(&render(&input()));
    let of_histogram =
        |name: &'static str| ["_bucket", "_count", "_sum"].map(|suffix| format!("{name}{suffix}"));
    let published = NAMES.into_iter().flat_map(|name| match name {
        "weir_backend_first_byte_seconds" | "weir_backend_handshake_seconds" => {
            of_histogram(name).to_vec()
        }
        name => vec![name.to_owned()],
    });
    let name = |key: &String| key.split('{').next().unwrap().to_owned();
    let names: BTreeSet<String> = samples.keys().map(name).collect();
    assert_eq!(names, published.collect());
}

#[test]
fn buckets_add_up_and_the_last_one_has_no_end() {
    let samples = parse(&render(&input()));
    let bucket = |metric: &str, bound: &str| {
        let who = "backend=\"198.18.0.1:80\"";
        samples[&format!("weir_backend_{metric}_seconds_bucket{{le=\"{bound}\",{who}}}")]
    };
    let rows = [
        ("first_byte", "0.000002", 1),
        ("first_byte", "0.000004", 1),
        ("first_byte", "0.000008", 3),
        ("first_byte", "+Inf", 3),
        ("handshake", "8.388608", 0),
        ("handshake", "+Inf", 4),
    ];
    for (metric, bound, count) in rows {
        assert_eq!(bucket(metric, bound), count, "{metric} {bound}");
    }
}

#[test]
fn nothing_to_say_is_still_whole() {
    let samples = parse(&render(&MetricsInput::default()));
    let names: Vec<_> = samples.keys().map(|key| key.split('{').next().unwrap()).collect();
    assert_eq!(
        names,
        [
            "weir_build_info",
            "weir_config_generation",
            "weir_config_reloads_total",
            "weir_config_reloads_total",
            "weir_round_seconds",
            "weir_round_seconds",
        ]
    );
}

#[test]
fn the_order_is_that_of_the_input() {
    let text = render(&input());
    assert_eq!(text, render(&input()));
    assert!(text.find("\"web\"") < text.find("\"dns\""));
}

#[test]
fn a_label_cannot_break_out_of_its_quotes() {
    let mut input = input();
    input.backends[0].backend = "a\"} 1\nevil \\".to_owned();
    let samples = parse(&render(&input));
    let escaped = r#"weir_backend_up{backend="a\"} 1\nevil \\"}"#;
    assert_eq!(samples.get(escaped), Some(&1));
    assert!(!samples.keys().any(|key| key.starts_with("evil")));
}

#[test]
fn every_reason_can_be_told() {
    let reasons = Reason::ALL.map(|reason| (reason, reason as u64)).to_vec();
    let samples = parse(&render(&MetricsInput { reasons, ..MetricsInput::default() }));
    let told = samples.keys().filter(|key| key.starts_with("weir_packets_total")).count();
    assert_eq!(told, Reason::COUNT);
}
