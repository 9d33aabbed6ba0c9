//! What live load says of the backends of services that balance by it.

use super::{
    ServiceMetrics,
    text::{Family, Kind, Labels, Value},
};
use crate::admin::report::LoadReport;

pub(super) fn families(services: &[ServiceMetrics]) -> [Family; 4] {
    let gauge = |name, help, value: fn(&LoadReport) -> f64| {
        let samples = each(services, |labels, load| (labels, Value::Real(value(load))));
        Family { name, help, kind: Kind::Gauge, samples }
    };
    let ratio = |service: &ServiceMetrics| {
        let known = service.loads.iter().filter_map(|(backend, load)| {
            let labels = vec![("service", service.name.clone()), ("backend", backend.clone())];
            Some((labels, Value::Real(load.explained?)))
        });
        known.collect::<Vec<_>>()
    };
    let ratios = services.iter().flat_map(ratio).collect();
    let class = |mut labels: Labels, load: &LoadReport| {
        labels.push(("class", load.class.clone()));
        (labels, Value::Number(1))
    };
    [
        gauge(
            "weir_backend_capacity",
            "Requests a second that the backend can serve; its weight while none was measured.",
            |load| load.capacity,
        ),
        gauge("weir_backend_utilisation", "How busy the backend is, 0 to 1.", |load| {
            load.utilisation
        }),
        Family {
            name: "weir_backend_queue_ratio",
            help: "Requests in flight relative to those that the busiest known resource explains.",
            kind: Kind::Gauge,
            samples: ratios,
        },
        Family {
            name: "weir_backend_load_class",
            help: "What limits the backend: always 1.",
            kind: Kind::Gauge,
            samples: each(services, class),
        },
    ]
}

fn each(
    services: &[ServiceMetrics],
    sample: impl Fn(Labels, &LoadReport) -> (Labels, Value),
) -> Vec<(Labels, Value)> {
    let of = |service: &ServiceMetrics| {
        let labels = |backend: &String| {
            vec![("service", service.name.clone()), ("backend", backend.clone())]
        };
        let samples = service.loads.iter().map(|(backend, load)| sample(labels(backend), load));
        samples.collect::<Vec<_>>()
    };
    services.iter().flat_map(of).collect()
}
