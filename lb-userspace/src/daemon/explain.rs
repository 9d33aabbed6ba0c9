//! Which backend a flow has or would get: the pipeline's own code, on a copy of the maps.

use std::{collections::BTreeMap, net::SocketAddr};

use lb_common::{
    abi::{
        flow::conn_kind,
        service::{self, Cursor, select},
    },
    pipeline::{
        Flow,
        choose::{Choice, choose},
        flow_key::FlowKey,
        verdict::Reason,
    },
    tables::{MemoryTables, Tables as _},
};

use super::{Daemon, answers::name};
use crate::{
    admin::{
        Data,
        report::{BackendState, Candidate, ExplainVerdict, Explanation, FlowName},
    },
    model::{BackendSpec, Forward, Policy, Protocol, Service},
};

impl Daemon {
    /// Explains a flow without touching the dataplane's state.
    pub(super) fn explain(
        &mut self,
        protocol: Protocol,
        source: SocketAddr,
        destination: SocketAddr,
    ) -> anyhow::Result<Data> {
        let flow = FlowName { protocol, source, destination };
        let recorded = self.recorded_backend(&flow);
        let tables = self.copy_of_tables()?;
        let (key, settings) = (&key(&flow), &tables.settings);
        let first = Flow { key, settings, now: 0, tcp_flags: 0, payload: false };
        let choice = recorded.unwrap_or_else(|| choose(&tables, &first, false, true));
        let reason = Reason::from_number(choice.reason);
        let verdict = if recorded.is_some() { ExplainVerdict::Has } else { ExplainVerdict::Would };
        let service = self.service_by_id(choice.service);
        let backends: BTreeMap<u32, String> =
            self.observed.present_backends().map(|(id, e)| (id, name(&e))).collect();
        let backend = backends.get(&choice.backend).cloned();
        let text = match (verdict, &backend, service) {
            (ExplainVerdict::Has, Some(_), _) => "the flow is recorded, until it ends".to_owned(),
            (ExplainVerdict::Would, Some(_), Some(service)) => why_chosen(service),
            _ => why_nobody(reason, &flow),
        };
        Ok(Data::Explanation(Box::new(Explanation {
            reason: reason.map_or("unknown", Reason::name).to_owned(),
            service: service.map(|service| service.name.to_string()),
            policy: service.map(|service| service.policy),
            forward: service.map(|service| service.forward),
            candidates: self.candidates(service, choice.backend, &tables, flow.destination),
            verdict,
            backend,
            text,
            flow,
        })))
    }

    fn service_by_id(&self, id: u32) -> Option<&Service> {
        let ids = self.service_ids();
        self.state.config.services.iter().find(|s| ids.get(&s.name) == Some(&id) && id != 0)
    }

    /// The entry of the flow table, if there is one.
    fn recorded_backend(&self, flow: &FlowName) -> Option<Choice> {
        let mut found = None;
        self.dataplane.each_flow(|entry| {
            let same = entry.protocol == flow.protocol.number()
                && SocketAddr::from(entry.source) == flow.source
                && SocketAddr::from(entry.destination) == flow.destination;
            if same && entry.conn.kind == conn_kind::FORWARD {
                let (service, backend) = (entry.conn.service, entry.conn.backend);
                let reason = Reason::Forwarded as u32;
                found = Some(Choice { reason, service, backend, flags: 0 });
            }
        });
        found
    }

    fn candidates(
        &self,
        service: Option<&Service>,
        chosen: u32,
        tables: &MemoryTables,
        destination: SocketAddr,
    ) -> Vec<Candidate> {
        let Some(service) = service else { return Vec::new() };
        let candidate = |spec: &BackendSpec| {
            let id = self.backend_id(&spec.endpoint).unwrap_or(0);
            Candidate {
                backend: name(&spec.endpoint),
                flows: tables.load(id, false),
                requests: tables.load(id, true),
                weight: self.state.weight(&service.name, spec.endpoint, spec.weight.get()),
                capacity: self.load_report(service, &spec.endpoint).map(|load| load.capacity),
                load: self.load_text(service, &spec.endpoint),
                state: match self.state.out_of_reach(service, &spec.endpoint) {
                    Some(_) => BackendState::Down,
                    None => self.state.backend_state(&spec.endpoint),
                },
                chosen: id == chosen && id != 0,
            }
        };
        // The backends of a family serve the addresses of that family.
        let own = |spec: &BackendSpec| spec.endpoint.address.is_ipv4() == destination.is_ipv4();
        let crosses = service.forward == Forward::FullNat && !service.backends.iter().any(own);
        let family = |spec: &&BackendSpec| own(spec) != crosses;
        service.backends.iter().filter(family).map(candidate).collect()
    }

    /// The control maps and the backends' flows in plain memory.
    fn copy_of_tables(&self) -> anyhow::Result<MemoryTables> {
        let backends = self.observed.backends.keys().copied();
        let counters = self.dataplane.counters(std::iter::empty(), backends)?;
        let services: Vec<&service::Service> =
            self.observed.listens.values().chain(self.observed.ranges.values()).collect();
        let turn = |service: &&service::Service| service.select == select::TURN;
        let turns = services.into_iter().filter(turn).map(|service| service.id);
        let mut given = BTreeMap::new();
        for id in turns {
            let Cursor { turns_v4, turns_v6 } = self.dataplane.maps.turns(id)?;
            given.extend([((id, false), turns_v4), ((id, true), turns_v6)]);
        }
        let loads = counters.readings.iter().map(|(id, reading)| (*id, reading.load));
        let ranges = self.observed.ranges.iter();
        let pages = self.observed.pages.iter();
        Ok(MemoryTables {
            settings: self.observed.settings,
            listens: self.observed.listens.clone(),
            ranges: ranges.map(|(prefix, s)| ((prefix.bits, prefix.key), *s)).collect(),
            sources: self.observed.sources.iter().map(|p| (p.bits, p.key)).collect(),
            pages: pages.map(|(index, page)| (*index, page.slots.0.to_vec())).collect(),
            backends: self.observed.backends.clone(),
            flows: loads
                .clone()
                .map(|(id, load)| (id, load.flows))
                .collect::<BTreeMap<_, _>>()
                .into(),
            requests: loads
                .map(|(id, load)| (id, load.requests))
                .collect::<BTreeMap<_, _>>()
                .into(),
            heartbeat: self.dataplane.heartbeat()?,
            turns: given.into(),
            ..MemoryTables::default()
        })
    }
}

fn key(flow: &FlowName) -> FlowKey {
    let end = |address: SocketAddr| (address.ip().into(), address.port().to_be());
    let (source, destination) = (end(flow.source), end(flow.destination));
    FlowKey::new(flow.source.is_ipv6(), source, destination, flow.protocol.number())
}

fn why_chosen(service: &Service) -> String {
    let why = match service.policy {
        Policy::Adaptive => "it has the fewest requests in flight for its capacity",
        Policy::ShortestDelay | Policy::WeightedLeastConnections => {
            "it has the fewest flows for its weight"
        }
        Policy::LeastConnections => "it has the fewest flows",
        Policy::AdaptiveMaglev | Policy::Maglev => {
            "the hash of the flow's addresses and ports leads to it"
        }
        Policy::SourceHash => "the hash of the client's address leads to it",
        Policy::RoundRobin | Policy::WeightedRoundRobin | Policy::Classic => "its turn is next",
        Policy::Random | Policy::P2c => "chance decides, and this is one such draw",
    };
    let kept = service.affinity.map(|_| "; a client with affinity keeps the one it had");
    format!("{why}{}", kept.unwrap_or_default())
}

fn why_nobody(reason: Option<Reason>, flow: &FlowName) -> String {
    match reason {
        Some(Reason::NoListener | Reason::NotService) => {
            format!("no service listens on {}/{}", flow.destination, flow.protocol)
        }
        Some(Reason::NoBackend) => "no backend of the service takes new flows".to_owned(),
        Some(Reason::SourceDenied) => {
            format!("the service does not allow {}", flow.source.ip())
        }
        other => format!("ends as {}", other.map_or("unknown", Reason::name)),
    }
}
