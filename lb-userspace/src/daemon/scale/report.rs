//! The scalers as they are told.

use std::time::Instant;

use super::{
    super::Daemon,
    Last, Scaling,
    sight::{Seen, Sight},
};
use crate::{
    admin::report::{ScaleReport, ScaleSummary},
    autoscale::{Decision, Standing},
    forecast::Model,
    model::{Algorithm, Executor, Service, ServiceName},
};

impl Daemon {
    /// How many replicas a service shall have, and why; none if nobody asks.
    pub(in super::super) fn scale_report(&self, service: &Service) -> Option<ScaleReport> {
        let scaling = self.scalers.services.get(&service.name)?;
        let sight = self.sight();
        let replicas = sight.replicas(&service.name, &scaling.trade);
        let drains = |id: &str| scaling.trade.drains(id);
        let count = |wanted: &[Standing]| {
            let is = |one: &&_| {
                let one: &crate::autoscale::Replica = one;
                wanted.contains(&one.standing) && !drains(&one.id)
            };
            u32::try_from(replicas.iter().filter(is).count()).unwrap_or(u32::MAX)
        };
        let draining = replicas.iter().filter(|one| drains(&one.id));
        Some(ScaleReport {
            replicas: count(&[Standing::Healthy, Standing::Starting]),
            healthy: count(&[Standing::Healthy]),
            draining: draining.map(|one| one.name.clone()).collect(),
            ..Self::told(scaling)
        })
    }

    /// The same in a line for each service.
    pub(in super::super) fn scale_summaries(&self) -> Vec<ScaleSummary> {
        let services = self.state.config.services.iter();
        let summary = |service: &Service| {
            let report = self.scale_report(service)?;
            Some(ScaleSummary {
                service: service.name.to_string(),
                desired: report.desired,
                replicas: report.replicas,
                healthy: report.healthy,
                text: report.text,
            })
        };
        services.filter_map(summary).collect()
    }

    /// What can be seen without a look at the dataplane.
    pub(super) fn sight(&self) -> Sight<'_> {
        let seen: std::collections::BTreeMap<ServiceName, Seen> = <_>::default();
        let (state, capacities, containers) = (&self.state, &self.capacities, &self.containers);
        Sight { now: Instant::now(), state, capacities, containers, seen }
    }

    /// What is known without a look at the replicas.
    fn told(scaling: &Scaling) -> ScaleReport {
        let now = Instant::now();
        let Scaling { scale, trade, .. } = scaling;
        let last = scaling.last.as_ref();
        let (created, removed, failed) = match &scale.executor {
            Executor::Advise => (0, 0, 0),
            Executor::Command { .. } => (0, 0, trade.hook.counts.1),
            Executor::Docker { .. } => {
                let counts = trade.fleet.counts;
                (counts.created, counts.removed, counts.failed)
            }
        };
        ScaleReport {
            desired: scaling.asked,
            replicas: 0,
            healthy: 0,
            min: scale.min,
            max: scale.max,
            algorithm: match scale.algorithm {
                Algorithm::Weir(_) => "weir".to_owned(),
                Algorithm::Hpa => "hpa".to_owned(),
            },
            executor: scale.executor.name().to_owned(),
            dry_run: scale.dry_run,
            offered: last.and_then(|last| last.offered),
            predicted: last.and_then(|last| last.decision.expected),
            capacity: last.and_then(|last| last.capacity),
            model: last.and_then(|last| model(&last.decision)),
            reason: last.map_or("waiting", |last| last.decision.reason.name()).to_owned(),
            text: text(scaling, last),
            age_s: last.map(|last| now.saturating_duration_since(last.at).as_secs()),
            draining: Vec::new(),
            created,
            removed,
            failed,
            trouble: trade.trouble(now),
            start_s: scale
                .start_time
                .or_else(|| trade.fleet.start_time())
                .map(|it| it.as_secs_f64()),
        }
    }
}

fn text(scaling: &Scaling, last: Option<&Last>) -> String {
    let Some(last) = last else {
        let seconds = scaling.scale.bucket.as_secs();
        return format!("waiting for the load of the first {seconds} s");
    };
    let mut text = last.decision.to_string();
    if let (None, Some(start)) = (scaling.scale.start_time, scaling.trade.fleet.start_time()) {
        let start = format!("; nine of ten replicas answer after {:.0} s", start.as_secs_f64());
        text.push_str(&start);
    }
    for would in &scaling.trade.would {
        text.push_str("; ");
        text.push_str(would);
    }
    text
}

/// What the forecast was made with.
fn model(decision: &Decision) -> Option<String> {
    Some(match &decision.outlook.as_ref()?.model {
        Model::Grey(_, accuracy) => format!("grey model, grade {}", accuracy.grade().number()),
        Model::Holt(_) => "Holt's method".to_owned(),
        Model::Last(Some(unfit)) => format!("last value: {unfit}"),
        Model::Last(None) => "last value".to_owned(),
    })
}
