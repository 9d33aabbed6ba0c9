//! Which backend a flow has or would get: the pipeline's own code, on a copy of the maps.

use std::{collections::BTreeMap, net::SocketAddr};

use lb_common::{
    abi::{
        flow::conn_kind,
        service::{Cursor, Service, select},
    },
    pipeline::{
        Flow,
        choose::{Choice, choose},
        flow_key::FlowKey,
        verdict::Reason,
    },
    tables::MemoryTables,
};

use super::{Daemon, answers::name};
use crate::{
    admin::{
        Data,
        report::{Candidate, ExplainVerdict, Explanation, FlowName},
    },
    model::Protocol,
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
        let first = Flow { key, settings, now: 0, tcp_flags: 0 };
        let choice = recorded.unwrap_or_else(|| choose(&tables, &first));
        let reason = Reason::from_number(choice.reason).map_or("unknown", Reason::name);
        let verdict = if recorded.is_some() { ExplainVerdict::Has } else { ExplainVerdict::Would };
        let service = self.service_by_id(choice.service);
        let backends: BTreeMap<u32, String> =
            self.observed.present_backends().map(|(id, e)| (id, name(&e))).collect();
        let backend = backends.get(&choice.backend).cloned();
        let text = text(verdict, reason, backend.as_deref(), service.map(|s| s.policy.name()));
        Ok(Data::Explanation(Box::new(Explanation {
            reason: reason.to_owned(),
            service: service.map(|service| service.name.to_string()),
            policy: service.map(|service| service.policy),
            candidates: self.candidates(service, choice.backend, &tables),
            verdict,
            backend,
            text,
            flow,
        })))
    }

    fn service_by_id(&self, id: u32) -> Option<&crate::model::Service> {
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
                found = Some(Choice { reason: Reason::Forwarded as u32, service, backend });
            }
        });
        found
    }

    fn candidates(
        &self,
        service: Option<&crate::model::Service>,
        chosen: u32,
        tables: &MemoryTables,
    ) -> Vec<Candidate> {
        let Some(service) = service else { return Vec::new() };
        let candidate = |spec: &crate::model::BackendSpec| {
            let id = self.backend_id(&spec.endpoint).unwrap_or(0);
            Candidate {
                backend: name(&spec.endpoint),
                flows: tables.flows.borrow().get(&id).copied().unwrap_or(0),
                weight: self.state.weight(&service.name, spec.endpoint, spec.weight.get()),
                chosen: id == chosen && id != 0,
            }
        };
        service.backends.iter().map(candidate).collect()
    }

    /// The control maps and the backends' flows in plain memory.
    fn copy_of_tables(&self) -> anyhow::Result<MemoryTables> {
        let backends = self.observed.backends.keys().copied();
        let counters = self.dataplane.counters(std::iter::empty(), backends)?;
        let services: Vec<&Service> =
            self.observed.listens.values().chain(self.observed.ranges.values()).collect();
        let turn = |service: &&Service| service.select == select::TURN;
        let turns = services.into_iter().filter(turn).map(|service| service.id);
        let mut given = BTreeMap::new();
        for id in turns {
            let Cursor { turns_v4, turns_v6 } = self.dataplane.maps.turns(id)?;
            given.extend([((id, false), turns_v4), ((id, true), turns_v6)]);
        }
        let ranges = self.observed.ranges.iter();
        let pages = self.observed.pages.iter();
        Ok(MemoryTables {
            settings: self.observed.settings,
            listens: self.observed.listens.clone(),
            ranges: ranges.map(|(prefix, s)| ((prefix.bits, prefix.key), *s)).collect(),
            sources: self.observed.sources.iter().map(|p| (p.bits, p.key)).collect(),
            pages: pages.map(|(index, page)| (*index, page.slots.0.to_vec())).collect(),
            backends: self.observed.backends.clone(),
            flows: counters.flows.into(),
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

fn text(
    verdict: ExplainVerdict,
    reason: &str,
    backend: Option<&str>,
    policy: Option<&str>,
) -> String {
    match (verdict, backend, policy) {
        (ExplainVerdict::Has, Some(backend), _) => {
            format!("the flow is recorded: it has {backend} until it ends")
        }
        (ExplainVerdict::Would, Some(backend), Some(policy @ ("random" | "p2c"))) => {
            format!("policy {policy} draws by chance: {backend} is one such draw")
        }
        (ExplainVerdict::Would, Some(backend), Some(policy)) => {
            format!("a new flow would get {backend} by policy {policy}")
        }
        _ => format!("no backend: {reason}"),
    }
}
