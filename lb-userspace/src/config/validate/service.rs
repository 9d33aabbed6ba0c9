//! One service at a time, and their names.

use std::{collections::BTreeMap, time::Duration};

use ipnet::IpNet;

use super::{
    super::{
        error::{Mistake, Place, Report},
        field::{At, Field, List},
        raw::{RawAffinity, RawFlowLimits, RawService, RawSources},
        scalar,
    },
    backends::{self, Backends},
    docker, health,
    listens::{self, Listens},
    report, scale,
};
use crate::model::{
    FlowLimits, Forward, HealthCheck, Policy, Scale, Selector, SelfReport, Service, ServiceName,
};

/// A service whose own values were looked at, with their places.
pub(super) struct Checked {
    pub(super) place: Place,
    pub(super) name: Option<ServiceName>,
    pub(super) listens: Listens,
    pub(super) backends: Backends,
    policy: Policy,
    forward: Forward,
    health: Option<HealthCheck>,
    report: Option<SelfReport>,
    affinity: Option<Duration>,
    pub(super) sources: Vec<At<IpNet>>,
    limits: FlowLimits,
    pub(super) selector: Option<At<Selector>>,
    pub(super) scale: Option<At<Scale>>,
}

impl Checked {
    pub(super) fn into_service(self) -> Option<Service> {
        Some(Service {
            name: self.name?,
            listens: self.listens.list.iter().map(|at| at.value).collect(),
            policy: self.policy,
            forward: self.forward,
            backends: self.backends.list.into_iter().map(|at| at.value).collect(),
            health: self.health,
            report: self.report,
            affinity: self.affinity,
            sources: self.sources.iter().map(|at| at.value).collect(),
            scale: self.scale.map(|at| Box::new(at.value)),
            limits: self.limits,
        })
    }
}

pub(super) fn services(raw: &List<RawService>, report: &mut Report) -> Vec<Checked> {
    let mut lines = BTreeMap::new();
    raw.elements().map(|raw| service(raw, &mut lines, report)).collect()
}

fn service(
    At { value: raw, place }: &At<RawService>,
    lines: &mut BTreeMap<ServiceName, u32>,
    report: &mut Report,
) -> Checked {
    let name = name(raw, *place, lines, report);
    let listens = listens::listens(&raw.listen, *place, report);
    let policy = raw.policy.parse_or(report, scalar::policy, Policy::Adaptive);
    let forward = raw.forward.parse(report, scalar::forward).map(|at| at.value);
    let forward = forward.unwrap_or_default();
    let alone = raw.docker.is_absent();
    let backends = backends::backends(&raw.backends, &listens, forward, alone, report);
    let health = raw.health.given().and_then(|at| health::health(at, &listens, &backends, report));
    let asked = raw.report.given();
    let self_report = asked.and_then(|at| report::self_report(at, &listens, &backends, report));
    let affinity = affinity(&raw.affinity, report);
    let sources = sources(&raw.sources, report);
    let limits = limits(&raw.limits, report);
    let selector = docker::selector(&raw.docker, report);
    let scale = scale::scale(raw, policy, report);
    let policy = policy.unwrap_or(Policy::Adaptive);
    let place = *place;
    Checked {
        place,
        name,
        listens,
        backends,
        policy,
        forward,
        health,
        report: self_report,
        affinity,
        sources,
        limits,
        selector,
        scale,
    }
}

fn name(
    raw: &RawService,
    place: Place,
    lines: &mut BTreeMap<ServiceName, u32>,
    report: &mut Report,
) -> Option<ServiceName> {
    raw.name.required(report, place, || Mistake::new("this service has no `name`"));
    let At { value: name, place } = raw.name.parse(report, scalar::service_name)?;
    if let Some(line) = lines.get(&name) {
        let message = format!("the name `{name}` is taken by the service in line {line}");
        report.add(place, Mistake::new(message));
        return None;
    }
    lines.insert(name.clone(), place.line);
    Some(name)
}

fn affinity(raw: &Field<RawAffinity>, report: &mut Report) -> Option<Duration> {
    let At { value: raw, place } = raw.given()?;
    raw.client_ip.required(report, *place, || {
        Mistake::new("this affinity has no `client-ip`").hint("such as `{ client-ip: 3h }`")
    });
    Some(raw.client_ip.parse(report, scalar::duration)?.value)
}

fn limits(raw: &Field<RawFlowLimits>, report: &mut Report) -> FlowLimits {
    let mut limits = FlowLimits::default();
    let Some(At { value: raw, place }) = raw.given() else { return limits };
    if raw.new_flows.is_absent() && raw.per_source.is_absent() {
        let mistake = Mistake::new("these limits have neither `new-flows` nor `per-source`");
        report.add(*place, mistake.hint("such as `{ per-source: 100/s }`"));
    }
    limits.new_flows = raw.new_flows.parse(report, scalar::rate).map(|at| at.value);
    limits.per_source = raw.per_source.parse(report, scalar::rate).map(|at| at.value);
    if let Some(burst) = raw.burst.parse(report, scalar::burst) {
        limits.burst = burst.value;
    }
    limits
}

fn sources(raw: &Field<RawSources>, report: &mut Report) -> Vec<At<IpNet>> {
    let Some(At { value: raw, place }) = raw.given() else { return Vec::new() };
    let hint = "without `sources` everybody may connect";
    let allow = raw
        .allow
        .required(report, *place, || Mistake::new("these sources have no `allow`").hint(hint));
    if let Some(At { value, place }) = allow
        && value.is_empty()
    {
        report.add(*place, Mistake::new("`allow` is empty, so nobody may connect").hint(hint));
    }
    raw.allow.elements().filter_map(|at| at.parse(report, scalar::network)).collect()
}
