//! Answers to what is asked over the admin doors.

use std::collections::BTreeMap;

use anyhow::Context as _;
use lb_common::{
    abi::{
        backend::way,
        flow::{conn_kind, conn_state},
        stats::Traffic,
    },
    tables::Stage,
};

use super::{Daemon, containers::Containers, source_ports::source};
use crate::{
    admin::{
        Data, Request, Response,
        names::BackendName,
        report::{
            AttachReport, BackendReport, BackendState, DockerReport, FlowReport, FlowsReport,
            HealthReport, ReloadReport, ServiceReport, ShareReport, StatusReport,
        },
    },
    chain::one_line,
    dataplane::{counters::Counters, flows::FlowEntry},
    docker,
    model::{Endpoint, Protocol, Service, ServiceName},
};

impl Daemon {
    /// Answers a question; whatever fails is said in the answer.
    pub(super) async fn answer(&mut self, request: Request) -> Response {
        let result = match request {
            Request::Status => self.status(),
            Request::Services => self.services(),
            Request::Backends => self.backends(),
            Request::Flows { limit, service } => self.flows(limit, service.as_deref()),
            Request::Drain { backend } => return self.drain(&backend, true),
            Request::Undrain { backend } => return self.drain(&backend, false),
            Request::Weight { service, backend, weight } => {
                return self.set_weight(&service, &backend, weight);
            }
            Request::Explain { protocol, source, destination } => {
                self.explain(protocol, source, destination)
            }
            Request::Docker => self.docker(),
            Request::Reload => return self.reload_now().await,
            Request::Metrics => self.metrics(),
            Request::Health => Ok(Data::Health(HealthReport { reasons: self.problems.clone() })),
        };
        result.map_or_else(|error| Response::Err(one_line(&error)), Response::Ok)
    }

    async fn reload_now(&mut self) -> Response {
        self.reload().await;
        match &self.last_reload.error {
            None => Response::done("the configuration is in place"),
            Some(error) => Response::Err(error.clone()),
        }
    }

    pub(super) fn counters(&self) -> anyhow::Result<Counters> {
        let services = self.service_ids();
        let services = services.values().copied();
        let backends = self.observed.backends.keys().copied();
        Ok(self.dataplane.counters(services, backends)?)
    }

    /// The ids of the services, by name, as the maps have them.
    pub(super) fn service_ids(&self) -> BTreeMap<ServiceName, u32> {
        let id = |service: &Service| {
            let mut listens = service.listens.iter();
            listens.find_map(|listen| self.observed.service_of(listen))
        };
        let services = self.state.config.services.iter();
        services.filter_map(|service| Some((service.name.clone(), id(service)?))).collect()
    }

    /// The id of a backend, as the maps have it.
    pub(super) fn backend_id(&self, endpoint: &Endpoint) -> Option<u32> {
        self.observed.backend_of(endpoint)
    }

    fn status(&self) -> anyhow::Result<Data> {
        let up = |endpoint: &Endpoint| self.state.backend_state(endpoint) == BackendState::Up;
        let attach = self.dataplane.attached().into_iter();
        Ok(Data::Status(Box::new(StatusReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: self.started.elapsed().as_secs(),
            generation: u64::from(self.state.generation),
            config_path: self.file.clone().unwrap_or_default(),
            last_reload: ReloadReport {
                age_s: self.last_reload.at.elapsed().as_secs(),
                error: self.last_reload.error.clone(),
            },
            attach: attach
                .map(|(interface, _, hook)| AttachReport { interface, hook: hook.to_string() })
                .collect(),
            host_clients: self.host_clients_report(),
            services: self.state.config.services.len(),
            backends_up: self.state.endpoints().filter(up).count(),
            backends_total: self.state.endpoints().count(),
            flows: self.counters()?.readings.values().map(|reading| reading.load.flows).sum(),
            problems: self.problems.clone(),
            docker: self.docker_report(),
            scales: self.scale_summaries(),
        })))
    }

    fn docker(&self) -> anyhow::Result<Data> {
        let report = self.docker_report();
        let report = report.context("containers are not followed: the configuration has no docker section, and no service chooses containers")?;
        Ok(Data::Docker(Box::new(report)))
    }

    fn docker_report(&self) -> Option<DockerReport> {
        let Containers { engines, discovered, .. } = &self.containers;
        if engines.is_empty() {
            return None;
        }
        let withheld = |endpoint: &Endpoint| self.state.withheld(endpoint).map(|(_, why)| why);
        Some(docker::report(&engines.views(), discovered, withheld))
    }

    fn services(&self) -> anyhow::Result<Data> {
        let (counters, ids) = (self.counters()?, self.service_ids());
        let report = |service: &Service| {
            let id = ids.get(&service.name).copied().unwrap_or(0);
            let traffic = counters.services.get(&id).copied().unwrap_or_default();
            let refused = counters.refused.get(&id).copied().unwrap_or_default();
            ServiceReport {
                name: service.name.to_string(),
                id,
                listens: service.listens.iter().map(ToString::to_string).collect(),
                policy: service.policy,
                forward: service.forward,
                class: self.class_of(service),
                scale: self.scale_report(service),
                backends: self.shares(service),
                flows_total: traffic.flows,
                refused_total: refused.by_service + refused.by_source,
                packets_in: traffic.packets_in,
                packets_out: traffic.packets_out,
                bytes_in: traffic.bytes_in,
                bytes_out: traffic.bytes_out,
            }
        };
        Ok(Data::Services(self.state.config.services.iter().map(report).collect()))
    }

    /// The parts of a service's backends in what arrives over their family.
    fn shares(&self, service: &Service) -> Vec<ShareReport> {
        let part = |spec: &crate::model::BackendSpec| {
            let (endpoint, configured) = (spec.endpoint, spec.weight.get());
            let out_of_reach = self.state.out_of_reach(service, &endpoint);
            let state = self.state.backend_state(&endpoint);
            let unreachable = out_of_reach.is_some() && state == BackendState::Up;
            let state = if unreachable { BackendState::Down } else { state };
            let weight = self.state.weight(&service.name, endpoint, configured);
            let part = match self.state.learned(&service.name, &endpoint) {
                Some(learned) if learned.ejected => 0,
                Some(learned) if learned.capacity > 0 => learned.capacity,
                _ => weight,
            };
            let part = f64::from(part) * f64::from(self.state.reports.percent(&endpoint));
            let part = if state == BackendState::Up && weight > 0 { part } else { 0.0 };
            (endpoint, weight, state, part)
        };
        let parts: Vec<_> = service.backends.iter().map(part).collect();
        let total = |ipv4: bool| -> f64 {
            let family = parts.iter().filter(|(it, ..)| it.address.is_ipv4() == ipv4);
            family.map(|(.., part)| part).sum()
        };
        let totals = [total(false), total(true)];
        let share = |(endpoint, weight, state, part): (Endpoint, u16, BackendState, f64)| {
            let total = totals[usize::from(endpoint.address.is_ipv4())];
            let share = if total > 0.0 { part / total } else { 0.0 };
            let load = self.load_report(service, &endpoint);
            let out_of_reach = self.state.out_of_reach(service, &endpoint);
            ShareReport { endpoint: name(&endpoint), weight, share, state, load, out_of_reach }
        };
        parts.into_iter().map(share).collect()
    }

    fn backends(&self) -> anyhow::Result<Data> {
        let counters = self.counters()?;
        let mut reports: Vec<_> = self
            .state
            .endpoints()
            .map(|endpoint| self.backend_report(endpoint, &counters))
            .collect();
        reports.extend(self.closing_reports(&counters));
        Ok(Data::Backends(reports))
    }

    fn backend_report(&self, endpoint: Endpoint, counters: &Counters) -> BackendReport {
        let id = self.backend_id(&endpoint).unwrap_or(0);
        let traffic = counters.backends.get(&id).copied().unwrap_or_default();
        let resolved = self.state.ways().get(&endpoint.address);
        let ifindex = resolved.map_or(0, |resolved| resolved.ifindex);
        let uses = |service: &&Service| service.backends.iter().any(|b| b.endpoint == endpoint);
        let services: Vec<_> = self.state.config.services.iter().filter(uses).collect();
        let weight = |service: &&Service| {
            let spec = service.backends.iter().find(|spec| spec.endpoint == endpoint);
            spec.map_or(0, |s| self.state.weight(&service.name, endpoint, s.weight.get()))
        };
        let load = services.iter().find_map(|service| self.load_report(service, &endpoint));
        BackendReport {
            endpoint: name(&endpoint),
            id,
            generation: self.observed.backends.get(&id).map_or(0, |backend| backend.generation),
            services: services.iter().map(|service| service.name.to_string()).collect(),
            state: self.state.backend_state(&endpoint),
            health: self.state.health_text(&endpoint),
            weight: services.iter().map(weight).max().unwrap_or(0),
            flows: counters.reading(id).load.flows,
            requests: counters.reading(id).load.requests,
            way: way_name(resolved.map_or(way::STACK, |resolved| resolved.way)).to_owned(),
            ifindex,
            interface: self.names.get(&ifindex).cloned().unwrap_or_default(),
            why: self.why_this_way(&endpoint, &services),
            load,
            no_figures: self.no_figures(&endpoint).unwrap_or_default(),
            ..with_traffic(traffic)
        }
    }

    /// The way to a backend in words, and which services cannot use it.
    fn why_this_way(&self, endpoint: &Endpoint, services: &[&Service]) -> String {
        let way = self.state.ways().get(&endpoint.address);
        let way = way.map_or_else(String::new, |resolved| resolved.why.clone());
        let reach = |service: &&Service| {
            let why = self.state.out_of_reach(service, endpoint)?;
            Some(format!("{}: {why}", service.name))
        };
        let whys = services.iter().filter_map(reach);
        std::iter::once(way).chain(whys).collect::<Vec<_>>().join("; ")
    }

    /// Backends that left the configuration and still have flows.
    fn closing_reports(&self, counters: &Counters) -> Vec<BackendReport> {
        let known: std::collections::BTreeSet<u32> =
            self.state.endpoints().filter_map(|endpoint| self.backend_id(&endpoint)).collect();
        let closing = self.observed.present_backends().filter(|(id, _)| !known.contains(id));
        closing
            .map(|(id, endpoint)| BackendReport {
                endpoint: name(&endpoint),
                id,
                generation: self.observed.backends.get(&id).map_or(0, |b| b.generation),
                state: BackendState::Closing,
                health: "removed from the configuration".to_owned(),
                flows: counters.reading(id).load.flows,
                requests: counters.reading(id).load.requests,
                ..with_traffic(counters.backends.get(&id).copied().unwrap_or_default())
            })
            .collect()
    }

    fn flows(&mut self, limit: usize, service: Option<&str>) -> anyhow::Result<Data> {
        let ids = self.service_ids();
        let names: BTreeMap<u32, String> =
            ids.into_iter().map(|(name, id)| (id, name.to_string())).collect();
        #[expect(clippy::cast_possible_truncation, reason = "flows are stamped with the low half")]
        let now = self.dataplane.ticks()? as u32;
        let rate = self.observed.settings.ticks_per_second.max(1);
        let backends = &self.observed.backends;
        let (mut total, mut flows) = (0, Vec::new());
        self.dataplane.each_flow(|entry| {
            let name = names.get(&entry.conn.service).map_or("", String::as_str);
            let wanted = service.is_none_or(|service| service == name);
            if entry.conn.kind != conn_kind::FORWARD || !wanted {
                return;
            }
            total += 1;
            if flows.len() < limit {
                let source = source(&entry.conn, backends.get(&entry.conn.backend));
                flows.extend(flow_report(&entry, source, name, now, rate));
            }
        });
        Ok(Data::Flows(FlowsReport { total, flows }))
    }

    fn drain(&mut self, backend: &BackendName, drained: bool) -> Response {
        let endpoints = self.state.named(backend);
        if endpoints.is_empty() {
            return Response::Err(format!("there is no backend {backend}"));
        }
        for endpoint in &endpoints {
            self.state.drain(*endpoint, drained);
        }
        self.state.generation = self.state.generation.wrapping_add(1);
        match self.reconcile() {
            Ok(()) if drained => Response::done(format!("{backend} takes no new flows")),
            Ok(()) => Response::done(format!("{backend} takes new flows again")),
            Err(error) => Response::Err(one_line(&error)),
        }
    }

    fn set_weight(
        &mut self,
        service: &str,
        backend: &BackendName,
        weight: Option<u16>,
    ) -> Response {
        let services = &self.state.config.services;
        let Some(found) = services.iter().find(|s| s.name.as_str() == service) else {
            return Response::Err(format!("there is no service {service}"));
        };
        let of_service = found.backends.iter().map(|spec| spec.endpoint);
        let endpoints: Vec<_> = of_service.filter(|endpoint| backend.matches(endpoint)).collect();
        if endpoints.is_empty() {
            return Response::Err(format!("service {service} has no backend {backend}"));
        }
        let service_name = found.name.clone();
        for endpoint in endpoints {
            self.state.set_weight(&service_name, endpoint, weight);
        }
        self.state.generation = self.state.generation.wrapping_add(1);
        match (self.reconcile(), weight) {
            (Err(error), _) => Response::Err(one_line(&error)),
            (Ok(()), Some(weight)) => {
                Response::done(format!("{backend} has weight {weight} in {service}"))
            }
            (Ok(()), None) => {
                Response::done(format!("{backend} has its configured weight in {service} again"))
            }
        }
    }
}

/// A report with a backend's traffic and nothing else.
fn with_traffic(traffic: Traffic) -> BackendReport {
    BackendReport {
        endpoint: String::new(),
        id: 0,
        generation: 0,
        services: Vec::new(),
        state: BackendState::Up,
        health: String::new(),
        weight: 0,
        flows: 0,
        requests: 0,
        packets_in: traffic.packets_in,
        packets_out: traffic.packets_out,
        bytes_in: traffic.bytes_in,
        bytes_out: traffic.bytes_out,
        way: String::new(),
        ifindex: 0,
        interface: String::new(),
        why: String::new(),
        load: None,
        no_figures: String::new(),
    }
}

/// A backend's name in reports: with its protocol.
pub(super) fn name(endpoint: &Endpoint) -> String {
    format!("{endpoint}/{}", endpoint.protocol)
}

const fn way_name(way: u8) -> &'static str {
    match way {
        way::PEER => "peer",
        way::LINK => "link",
        _ => "stack",
    }
}

fn flow_report(
    entry: &FlowEntry,
    source: Option<std::net::SocketAddr>,
    service: &str,
    now: u32,
    rate: u32,
) -> Option<FlowReport> {
    let conn = &entry.conn;
    let age = |since: u32| u64::from(lb_common::pipeline::conntrack::idle(now, since) / rate);
    let state = match (entry.stage, conn.state) {
        (Stage::Embryo, _) if entry.protocol != Protocol::Udp.number() => "handshake",
        (_, conn_state::NEW) => "unanswered",
        (_, conn_state::ESTABLISHED) => "established",
        (_, conn_state::CLOSED) => "closed",
        _ => "closing",
    };
    Some(FlowReport {
        protocol: Protocol::from_number(entry.protocol)?,
        client: entry.source.into(),
        vip: entry.destination.into(),
        backend: (std::net::IpAddr::from(conn.address), u16::from_be(conn.port)).into(),
        source,
        service: service.to_owned(),
        state: state.to_owned(),
        age_s: age(conn.created),
        idle_s: age(conn.last_seen),
    })
}
