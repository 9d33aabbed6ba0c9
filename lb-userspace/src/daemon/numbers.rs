//! The daemon's numbers, for whoever scrapes them.

use std::collections::BTreeMap;

use lb_common::abi::stats::Traffic;

use super::{Daemon, answers::name};
use crate::{
    admin::{
        Data,
        report::{BackendState, LoadReport},
    },
    dataplane::{counters::Refused, signals::Reading},
    metrics::{self, BackendMetrics, MetricsInput, ServiceMetrics},
    model::{BackendSpec, Endpoint, Service},
};

impl Daemon {
    pub(super) fn metrics(&self) -> anyhow::Result<Data> {
        let (counters, ids) = (self.counters()?, self.service_ids());
        let is_up = |endpoint: &Endpoint| self.state.backend_state(endpoint) == BackendState::Up;
        let service = |service: &Service| ServiceMetrics {
            name: service.name.to_string(),
            traffic: traffic(&counters.services, ids.get(&service.name).copied()),
            refused: refused(&counters.refused, ids.get(&service.name).copied()),
            backends_up: service.backends.iter().filter(|b| is_up(&b.endpoint)).count() as u64,
            backends: service.backends.len() as u64,
            loads: self.loads(service),
            scale: self.scale_report(service),
        };
        let backend = |endpoint: Endpoint| {
            let id = self.backend_id(&endpoint);
            BackendMetrics {
                backend: name(&endpoint),
                traffic: traffic(&counters.backends, id),
                reading: id.map_or_else(Reading::default, |id| counters.reading(id)),
                up: is_up(&endpoint),
            }
        };
        let input = MetricsInput {
            services: self.state.config.services.iter().map(service).collect(),
            backends: self.state.endpoints().map(backend).collect(),
            reasons: counters.reasons.clone(),
            generation: self.state.generation,
            reloads_ok: self.reloads_ok,
            reloads_failed: self.reloads_failed,
            round: self.round,
            docker: self.docker_metrics(),
        };
        Ok(Data::Metrics(metrics::render(&input)))
    }
}

impl Daemon {
    /// What live load says of a service's backends.
    fn loads(&self, service: &Service) -> Vec<(String, LoadReport)> {
        let load = |spec: &BackendSpec| {
            Some((name(&spec.endpoint), self.load_report(service, &spec.endpoint)?))
        };
        service.backends.iter().filter_map(load).collect()
    }
}

fn refused(all: &BTreeMap<u32, Refused>, id: Option<u32>) -> Refused {
    id.and_then(|id| all.get(&id).copied()).unwrap_or_default()
}

fn traffic(all: &BTreeMap<u32, Traffic>, id: Option<u32>) -> Traffic {
    id.and_then(|id| all.get(&id).copied()).unwrap_or_default()
}
