//! The metrics in `OpenMetrics` text (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).

use std::sync::atomic::AtomicU64;

use lb_common::{
    abi::stats::Traffic,
    pipeline::verdict::{Class, Reason},
};
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::Registry,
};

/// Labels of a metric: name and value.
type Labels = Vec<(&'static str, String)>;

/// A service's numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceMetrics {
    /// Its name.
    pub name: String,
    /// Its traffic.
    pub traffic: Traffic,
    /// Backends that take new flows.
    pub backends_up: u64,
    /// All its backends.
    pub backends: u64,
}

/// A backend's numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendMetrics {
    /// Its name.
    pub backend: String,
    /// Its traffic.
    pub traffic: Traffic,
    /// Open flows.
    pub flows: u64,
    /// Whether it takes new flows.
    pub up: bool,
}

/// All numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricsInput {
    /// Services.
    pub services: Vec<ServiceMetrics>,
    /// Backends.
    pub backends: Vec<BackendMetrics>,
    /// Packets by reason.
    pub reasons: Vec<(Reason, u64)>,
    /// Generation of the desired state.
    pub generation: u32,
    /// Reloads that succeeded.
    pub reloads_ok: u64,
    /// Reloads that failed.
    pub reloads_failed: u64,
}

/// Names of all metrics, as documented.
pub const NAMES: [&str; 14] = [
    "weir_build_info",
    "weir_config_generation",
    "weir_config_reloads_total",
    "weir_packets_total",
    "weir_service_flows_total",
    "weir_service_packets_total",
    "weir_service_bytes_total",
    "weir_service_backends_up",
    "weir_service_backends",
    "weir_backend_flows_total",
    "weir_backend_packets_total",
    "weir_backend_bytes_total",
    "weir_backend_open_flows",
    "weir_backend_up",
];

/// The exposition.
#[must_use]
pub fn render(input: &MetricsInput) -> String {
    let mut registry = Registry::with_prefix("weir");
    let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "The running program", build);
    let generation = Gauge::<u64, AtomicU64>::default();
    generation.set(u64::from(input.generation));
    registry.register("config_generation", "Generation of the desired state", generation);
    let reloads = counter(&mut registry, "config_reloads", "Configurations read again");
    add(&reloads, vec![("result", "ok".to_owned())], input.reloads_ok);
    add(&reloads, vec![("result", "failed".to_owned())], input.reloads_failed);
    let packets = counter(&mut registry, "packets", "Packets by reason");
    for (reason, count) in &input.reasons {
        let action = match reason.class() {
            Class::Forward => "forward",
            Class::Pass => "pass",
            Class::Drop => "drop",
        };
        let labels = vec![("reason", reason.name().to_owned()), ("action", action.to_owned())];
        add(&packets, labels, *count);
    }
    services(&mut registry, &input.services);
    backends(&mut registry, &input.backends);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = encode(&mut text, &registry);
    text
}

fn services(registry: &mut Registry, services: &[ServiceMetrics]) {
    let traffic = TrafficFamilies::register(registry, "service");
    let up = gauge(registry, "service_backends_up", "Backends that take new flows");
    let all = gauge(registry, "service_backends", "Configured backends");
    for service in services {
        let labels = vec![("service", service.name.clone())];
        traffic.add(&labels, &service.traffic);
        set(&up, labels.clone(), service.backends_up);
        set(&all, labels, service.backends);
    }
}

fn backends(registry: &mut Registry, backends: &[BackendMetrics]) {
    let traffic = TrafficFamilies::register(registry, "backend");
    let open = gauge(registry, "backend_open_flows", "Flows that have not ended");
    let up = gauge(registry, "backend_up", "1 if the backend takes new flows");
    for backend in backends {
        let labels = vec![("backend", backend.backend.clone())];
        traffic.add(&labels, &backend.traffic);
        set(&open, labels.clone(), backend.flows);
        set(&up, labels, u64::from(backend.up));
    }
}

/// Flows, packets and bytes of services or backends.
struct TrafficFamilies {
    flows: Family<Labels, Counter>,
    packets: Family<Labels, Counter>,
    bytes: Family<Labels, Counter>,
}

impl TrafficFamilies {
    fn register(registry: &mut Registry, of: &str) -> Self {
        Self {
            flows: counter(registry, &format!("{of}_flows"), "Flows begun"),
            packets: counter(registry, &format!("{of}_packets"), "Packets from and to clients"),
            bytes: counter(registry, &format!("{of}_bytes"), "Bytes from and to clients"),
        }
    }

    fn add(&self, labels: &Labels, traffic: &Traffic) {
        let towards = |direction: &str| {
            let mut labels = labels.clone();
            labels.push(("direction", direction.to_owned()));
            labels
        };
        add(&self.flows, labels.clone(), traffic.flows);
        add(&self.packets, towards("in"), traffic.packets_in);
        add(&self.packets, towards("out"), traffic.packets_out);
        add(&self.bytes, towards("in"), traffic.bytes_in);
        add(&self.bytes, towards("out"), traffic.bytes_out);
    }
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Family<Labels, Counter> {
    let family = Family::default();
    registry.register(name, help, Family::clone(&family));
    family
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Family<Labels, Gauge<u64, AtomicU64>> {
    let family = Family::default();
    registry.register(name, help, Family::clone(&family));
    family
}

fn add(family: &Family<Labels, Counter>, labels: Labels, value: u64) {
    family.get_or_create(&labels).inc_by(value);
}

fn set(family: &Family<Labels, Gauge<u64, AtomicU64>>, labels: Labels, value: u64) {
    family.get_or_create(&labels).set(value);
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn input() -> MetricsInput {
        let traffic =
            Traffic { flows: 3, packets_in: 10, bytes_in: 1000, packets_out: 9, bytes_out: 900 };
        let name = "we\"b\\\n".to_owned();
        MetricsInput {
            services: vec![ServiceMetrics { name, traffic, backends_up: 1, backends: 2 }],
            backends: vec![BackendMetrics {
                backend: "198.18.10.2:8080/tcp".to_owned(),
                traffic,
                flows: 2,
                up: true,
            }],
            reasons: Reason::ALL.into_iter().map(|reason| (reason, 7)).collect(),
            generation: 5,
            reloads_ok: 1,
            reloads_failed: 0,
        }
    }

    /// Samples by name and labels, read by the plainest parser.
    fn samples(text: &str) -> BTreeMap<String, f64> {
        let mut samples = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let value = value.parse().unwrap();
            assert!(samples.insert(series.to_owned(), value).is_none(), "twice: {series}");
        }
        samples
    }

    #[test]
    fn every_number_is_there_once() {
        let text = render(&input());
        let samples = samples(&text);
        let rows = [
            ("weir_config_generation", 5.0),
            ("weir_config_reloads_total{result=\"ok\"}", 1.0),
            ("weir_packets_total{reason=\"no-backend\",action=\"drop\"}", 7.0),
            ("weir_service_flows_total{service=\"we\\\"b\\\\\\n\"}", 3.0),
            ("weir_backend_bytes_total{backend=\"198.18.10.2:8080/tcp\",direction=\"out\"}", 900.0),
            ("weir_backend_up{backend=\"198.18.10.2:8080/tcp\"}", 1.0),
        ];
        for (series, value) in rows {
            assert_eq!(samples.get(series), Some(&value), "{series} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn the_list_of_names_is_the_exposition() {
        let text = render(&input());
        let series = samples(&text).into_keys();
        let names: BTreeSet<String> =
            series.map(|series| series.split('{').next().unwrap().to_owned()).collect();
        assert_eq!(names, NAMES.iter().map(ToString::to_string).collect());
    }

    #[test]
    fn nothing_configured_is_still_valid() {
        assert!(render(&MetricsInput::default()).ends_with("# EOF\n"));
    }
}
