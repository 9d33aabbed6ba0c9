//! How many replicas services shall have, for whoever starts and stops them.

use super::{
    ServiceMetrics,
    text::{Family, Kind, Labels, Value},
};
use crate::admin::report::ScaleReport;

pub(super) fn families(services: &[ServiceMetrics]) -> [Family; 9] {
    let real = |name, help, value: fn(&ScaleReport) -> Option<f64>| {
        let samples = each(services, |labels, scale| Some((labels, Value::Real(value(scale)?))));
        Family { name, help, kind: Kind::Gauge, samples }
    };
    let number = |name, help, kind, value: fn(&ScaleReport) -> Option<u64>| {
        let samples = each(services, |labels, scale| Some((labels, Value::Number(value(scale)?))));
        Family { name, help, kind, samples }
    };
    let reason = |mut labels: Labels, scale: &ScaleReport| {
        labels.push(("reason", scale.reason.clone()));
        Some((labels, Value::Number(1)))
    };
    [
        number(
            "weir_service_replicas",
            "Replicas of the service, without those on their way out.",
            Kind::Gauge,
            |scale| Some(scale.replicas.into()),
        ),
        number(
            "weir_service_replicas_desired",
            "Replicas that the service shall have.",
            Kind::Gauge,
            |scale| scale.desired.map(u64::from),
        ),
        real(
            "weir_service_load_offered",
            "Requests a second that came in the last bucket, answered or not.",
            |scale| scale.offered,
        ),
        real("weir_service_load_predicted", "Requests a second to be ready for.", |scale| {
            scale.predicted
        }),
        real(
            "weir_service_replica_capacity",
            "Requests a second that a replica can take.",
            |scale| scale.capacity,
        ),
        Family {
            name: "weir_service_scale_reason",
            help: "What decided the number of replicas: always 1.",
            kind: Kind::Gauge,
            samples: each(services, reason),
        },
        number("weir_service_replicas_created", "Replicas made.", Kind::Counter, |scale| {
            Some(scale.created)
        }),
        number("weir_service_replicas_removed", "Replicas taken away.", Kind::Counter, |scale| {
            Some(scale.removed)
        }),
        number(
            "weir_service_scale_failures",
            "What went wrong with replicas, or with the command that cares for them.",
            Kind::Counter,
            |scale| Some(scale.failed),
        ),
    ]
}

/// A sample for each service that is scaled; what is not known has none.
fn each(
    services: &[ServiceMetrics],
    sample: impl Fn(Labels, &ScaleReport) -> Option<(Labels, Value)>,
) -> Vec<(Labels, Value)> {
    let of = |service: &ServiceMetrics| {
        let labels = vec![("service", service.name.clone())];
        sample(labels, service.scale.as_ref()?)
    };
    services.iter().filter_map(of).collect()
}
