//! The metrics, as Prometheus reads them.

mod docker;
mod load;
mod scale;
mod text;

use std::time::Duration;

use lb_common::{
    abi::{
        signals::{Histogram, Signals},
        stats::Traffic,
    },
    pipeline::verdict::{Class, Reason},
};

pub use self::docker::{DockerMetrics, HostMetrics};
use self::text::{Family, Kind, Labels, Value, encode};
use crate::{
    admin::report::{LoadReport, ScaleReport},
    dataplane::{counters::Refused, signals::Reading},
};

/// Everything the metrics say, at one moment.
#[derive(Clone, Debug, Default)]
pub struct MetricsInput {
    /// Services, each name once.
    pub services: Vec<ServiceMetrics>,
    /// Backends, each once.
    pub backends: Vec<BackendMetrics>,
    /// Packets by the reason that ended the pipeline, each reason once.
    pub reasons: Vec<(Reason, u64)>,
    /// Generation of the configuration in force.
    pub generation: u32,
    /// Configurations taken.
    pub reloads_ok: u64,
    /// Configurations refused or not applied.
    pub reloads_failed: u64,
    /// How long the last round took: reading and judging the load, and all of it.
    pub round: (Duration, Duration),
    /// Containers, where they are followed.
    pub docker: Option<DockerMetrics>,
}

/// A service.
#[derive(Clone, Debug, Default)]
pub struct ServiceMetrics {
    /// Its name.
    pub name: String,
    /// Its traffic.
    pub traffic: Traffic,
    /// New flows that its limits refused.
    pub refused: Refused,
    /// Backends that take new flows.
    pub backends_up: u64,
    /// All its backends.
    pub backends: u64,
    /// What live load says of its backends, where it balances by it.
    pub loads: Vec<(String, LoadReport)>,
    /// How many replicas it shall have, where that is asked.
    pub scale: Option<ScaleReport>,
}

/// A backend.
#[derive(Clone, Debug, Default)]
pub struct BackendMetrics {
    /// Where it serves.
    pub backend: String,
    /// Its traffic.
    pub traffic: Traffic,
    /// Its signals of load.
    pub reading: Reading,
    /// Whether it is healthy.
    pub up: bool,
}

/// The names of all samples, in the order of the text.
pub const NAMES: [&str; 43] = [
    "weir_service_flows_total",
    "weir_service_packets_total",
    "weir_service_bytes_total",
    "weir_service_refused_flows_total",
    "weir_service_backends_up",
    "weir_service_backends",
    "weir_service_replicas",
    "weir_service_replicas_desired",
    "weir_service_load_offered",
    "weir_service_load_predicted",
    "weir_service_replica_capacity",
    "weir_service_scale_reason",
    "weir_service_replicas_created_total",
    "weir_service_replicas_removed_total",
    "weir_service_scale_failures_total",
    "weir_backend_capacity",
    "weir_backend_utilisation",
    "weir_backend_queue_ratio",
    "weir_backend_load_class",
    "weir_backend_flows_total",
    "weir_backend_packets_total",
    "weir_backend_bytes_total",
    "weir_backend_active_flows",
    "weir_backend_up",
    "weir_backend_requests_in_flight",
    "weir_backend_first_byte_seconds",
    "weir_backend_handshake_seconds",
    "weir_backend_refused_total",
    "weir_backend_syn_repeated_total",
    "weir_backend_unanswered_total",
    "weir_packets_total",
    "weir_config_generation",
    "weir_config_reloads_total",
    "weir_round_seconds",
    "weir_build_info",
    "weir_docker_connected",
    "weir_docker_host_connected",
    "weir_docker_host_running",
    "weir_docker_containers",
    "weir_docker_refused",
    "weir_docker_events_total",
    "weir_docker_last_event_timestamp_seconds",
    "weir_docker_resyncs_total",
];

/// The metrics as `OpenMetrics` text, in a fixed order.
#[must_use]
pub fn render(input: &MetricsInput) -> String {
    let mut families = services(&input.services);
    families.extend(scale::families(&input.services));
    families.extend(load::families(&input.services));
    families.extend(backends(&input.backends));
    families.extend(node(input));
    families.extend(docker::families(input.docker.as_ref()));
    encode(families)
}

fn services(services: &[ServiceMetrics]) -> Vec<Family> {
    let gauge = |name, help, value: fn(&ServiceMetrics) -> u64| {
        let label = |s: &ServiceMetrics| vec![("service", s.name.clone())];
        let samples = services.iter().map(|s| (label(s), Value::Number(value(s))));
        Family { name, help, kind: Kind::Gauge, samples: samples.collect() }
    };
    let names = ["weir_service_flows", "weir_service_packets", "weir_service_bytes"];
    let traffic: Vec<_> = services.iter().map(|s| (&*s.name, &s.traffic)).collect();
    let mut families = traffic_families(names, "service", &traffic);
    families.push(refused(services));
    families.extend([
        gauge("weir_service_backends_up", "Backends that take new flows.", |s| s.backends_up),
        gauge("weir_service_backends", "Backends of the service.", |s| s.backends),
    ]);
    families
}

/// New flows that limits refused.
fn refused(services: &[ServiceMetrics]) -> Family {
    let sample = |service: &ServiceMetrics| {
        let labels =
            |limit: &str| vec![("service", service.name.clone()), ("limit", limit.to_owned())];
        let Refused { by_service, by_source } = service.refused;
        [
            (labels("new-flows"), Value::Number(by_service)),
            (labels("per-source"), Value::Number(by_source)),
        ]
    };
    let (name, help) = ("weir_service_refused_flows", "New flows that a limit refused.");
    let samples = services.iter().flat_map(sample).collect();
    Family { name, help, kind: Kind::Counter, samples }
}

/// A gauge `weir_backend_flows` would have the name of the family of `weir_backend_flows_total`,
/// which `OpenMetrics` forbids: hence `active_flows`.
fn backends(backends: &[BackendMetrics]) -> Vec<Family> {
    let of = |b: &BackendMetrics| vec![("backend", b.backend.clone())];
    let gauge = |name, help, value: fn(&BackendMetrics) -> u64| {
        let samples = backends.iter().map(|b| (of(b), Value::Number(value(b))));
        Family { name, help, kind: Kind::Gauge, samples: samples.collect() }
    };
    let names = ["weir_backend_flows", "weir_backend_packets", "weir_backend_bytes"];
    let traffic: Vec<_> = backends.iter().map(|b| (&*b.backend, &b.traffic)).collect();
    let mut families = traffic_families(names, "backend", &traffic);
    families.extend([
        gauge("weir_backend_active_flows", "Flows the backend has now.", |b| b.reading.load.flows),
        gauge("weir_backend_up", "1 if the backend is healthy, else 0.", |b| u64::from(b.up)),
        gauge(
            "weir_backend_requests_in_flight",
            "Requests that the backend has not answered yet, where its services count them.",
            |b| b.reading.load.requests,
        ),
    ]);
    families.extend(answers(backends));
    families
}

/// How backends answer.
fn answers(backends: &[BackendMetrics]) -> [Family; 5] {
    let of = |b: &BackendMetrics| vec![("backend", b.backend.clone())];
    let counter = |name, help, value: fn(&Signals) -> u64| {
        let number = |b: &BackendMetrics| Value::Number(value(&b.reading.signals));
        let samples = backends.iter().map(|b| (of(b), number(b))).collect();
        Family { name, help, kind: Kind::Counter, samples }
    };
    let histogram = |name, help, value: fn(&Signals) -> (u64, &Histogram)| {
        let of_durations = |b: &BackendMetrics| {
            let (sum_us, counts) = value(&b.reading.signals);
            durations(sum_us, counts)
        };
        let samples = backends.iter().map(|b| (of(b), of_durations(b))).collect();
        Family { name, help, kind: Kind::Histogram, samples }
    };
    [
        histogram(
            "weir_backend_first_byte_seconds",
            "Time from a request to the first byte of its answer.",
            |signals| (signals.first_byte_us, &signals.first_bytes),
        ),
        histogram("weir_backend_handshake_seconds", "Time from SYN to SYN-ACK.", |signals| {
            (signals.handshake_us, &signals.handshakes)
        }),
        counter("weir_backend_refused", "Handshakes answered by a reset.", |s| s.refused),
        counter("weir_backend_syn_repeated", "SYNs that came again unanswered.", |s| s.repeated),
        counter(
            "weir_backend_unanswered",
            "Requests whose flow ended in place of an answer.",
            |s| s.reset,
        ),
    ]
}

/// A histogram of the dataplane, in seconds. Its last bucket has no end.
fn durations(sum_us: u64, counts: &Histogram) -> Value {
    const MICRO: f64 = 1e-6;
    let last = counts.len() - 1;
    let bound = |bucket: usize| {
        let exponent = i32::try_from(bucket).unwrap_or(i32::MAX).saturating_add(1);
        if bucket == last { f64::INFINITY } else { 2_f64.powi(exponent) * MICRO }
    };
    let buckets = counts.iter().enumerate().map(|(at, count)| (bound(at), u64::from(*count)));
    #[expect(clippy::cast_precision_loss, reason = "a sum of durations needs no more precision")]
    let sum = sum_us as f64 * MICRO;
    Value::Histogram { sum, buckets: buckets.collect() }
}

fn node(input: &MetricsInput) -> Vec<Family> {
    let family = |name, help, kind, samples| Family { name, help, kind, samples };
    let reason = |&(reason, count): &(Reason, u64)| {
        let action = action(reason).to_owned();
        (vec![("reason", reason.name().to_owned()), ("action", action)], Value::Number(count))
    };
    let part = |name: &str, took: Duration| {
        (vec![("part", name.to_owned())], Value::Real(took.as_secs_f64()))
    };
    let result = |name: &str, count| (vec![("result", name.to_owned())], Value::Number(count));
    vec![
        family(
            "weir_packets",
            "Packets seen, by the reason that ended the pipeline and what became of them.",
            Kind::Counter,
            input.reasons.iter().map(reason).collect(),
        ),
        family(
            "weir_config_generation",
            "Generation of the configuration in force.",
            Kind::Gauge,
            vec![(vec![], Value::Number(input.generation.into()))],
        ),
        family(
            "weir_config_reloads",
            "Attempts to take a new configuration, by result.",
            Kind::Counter,
            vec![result("ok", input.reloads_ok), result("failed", input.reloads_failed)],
        ),
        family(
            "weir_round_seconds",
            "Time that the daemon's last round took, once a second: live load, and all of it.",
            Kind::Gauge,
            vec![part("load", input.round.0), part("all", input.round.1)],
        ),
        family(
            "weir_build",
            "What is running.",
            Kind::Info,
            vec![(vec![("version", env!("CARGO_PKG_VERSION").to_owned())], Value::Number(1))],
        ),
    ]
}

const fn action(reason: Reason) -> &'static str {
    match reason.class() {
        Class::Forward => "forward",
        Class::Pass => "pass",
        Class::Drop => "drop",
    }
}

/// Flows, packets and bytes of services or backends, which one label tells apart.
fn traffic_families(
    [flows, packets, bytes]: [&'static str; 3],
    label: &'static str,
    traffic: &[(&str, &Traffic)],
) -> Vec<Family> {
    let counter = |name, help, samples| Family { name, help, kind: Kind::Counter, samples };
    let of = |who: &str| vec![(label, who.to_owned())];
    let begun = traffic.iter().map(|(who, t)| (of(who), Value::Number(t.flows)));
    let packet_counts = both_ways(label, traffic, |t| (t.packets_in, t.packets_out));
    let byte_counts = both_ways(label, traffic, |t| (t.bytes_in, t.bytes_out));
    vec![
        counter(flows, "Flows begun.", begun.collect()),
        counter(packets, "Packets of flows, in: from clients.", packet_counts),
        counter(bytes, "Bytes of flows, whole frames, in: from clients.", byte_counts),
    ]
}

/// A sample for each direction: `in` is from clients, `out` to clients.
fn both_ways(
    label: &'static str,
    traffic: &[(&str, &Traffic)],
    counts: fn(&Traffic) -> (u64, u64),
) -> Vec<(Labels, Value)> {
    let sample = |&(who, t): &(&str, &Traffic)| {
        let labels = |way: &str| vec![(label, who.to_owned()), ("direction", way.to_owned())];
        let (inward, outward) = counts(t);
        [(labels("in"), Value::Number(inward)), (labels("out"), Value::Number(outward))]
    };
    traffic.iter().flat_map(sample).collect()
}

#[cfg(test)]
mod tests;
