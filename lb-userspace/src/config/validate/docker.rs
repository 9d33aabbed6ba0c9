//! Containers as backends: whether they are followed, and which services choose some.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    super::{
        address,
        error::{Mistake, Report},
        field::{At, Field, List},
        raw::{RawDocker, RawHost, RawSelector},
        scalar,
    },
    hosts,
    scale::without_containers,
    service::Checked,
};
use crate::model::{Admin, Docker, PortRange, Selector};

/// The engine's socket unless configured otherwise.
pub const DOCKER_SOCKET_DEFAULT: &str = "/var/run/docker.sock";

/// The file of automatic ports, beside the admin socket.
const STATE_NAME: &str = "ports.json";

/// A service that chooses containers has them followed; so has the section itself.
pub(super) fn docker(
    raw: &Field<RawDocker>,
    others: &List<RawHost>,
    services: &[Checked],
    admin: &Admin,
    report: &mut Report,
) -> Docker {
    let (mut enable, mut socket) = (true, PathBuf::from(DOCKER_SOCKET_DEFAULT));
    let mut ports = PortRange::DYNAMIC;
    let mut state = admin.socket.with_file_name(STATE_NAME);
    if let Some(At { value: raw, .. }) = raw.given() {
        ports = raw.ports.parse_or(report, address::port_range, ports).unwrap_or(ports);
        state = raw.state.parse_or(report, scalar::file_path, state).unwrap_or_default();
        enable = raw.enable.parse_or(report, scalar::truth, true).unwrap_or(true);
        socket = raw.socket.parse_or(report, scalar::socket_path, socket).unwrap_or_default();
    }
    let chosen =
        || services.iter().filter_map(|service| Some((service, service.selector.as_ref()?)));
    if !enable && others.is_absent() {
        for (_, At { place, .. }) in chosen() {
            let mistake = Mistake::new("this service chooses containers, which are not followed");
            report.add(*place, mistake.hint("`docker` has `enable: false`"));
        }
    }
    let selectors: BTreeMap<_, _> = chosen()
        .filter_map(|(service, at)| Some((service.name.clone()?, at.value.clone())))
        .collect();
    let wanted = raw.given().is_some() || !selectors.is_empty() || !others.is_absent();
    let here = (enable && wanted).then_some(socket);
    let hosts = hosts::hosts(others, here, report);
    let follow = !hosts.is_empty();
    if !follow {
        for service in services {
            without_containers(service.scale.as_ref(), report);
        }
    }
    Docker { hosts, ports, state: follow.then_some(state), selectors }
}

pub(super) fn selector(raw: &Field<RawSelector>, report: &mut Report) -> Option<At<Selector>> {
    let At { value: raw, place } = raw.given()?;
    raw.label.required(report, *place, || {
        Mistake::new("these containers have no `label`").hint("such as `{ label: app=web }`")
    });
    let label = raw.label.parse(report, scalar::label_rule);
    let port = raw.port.parse(report, address::port_number).map(|at| at.value);
    let network = raw.network.parse(report, scalar::network_name).map(|at| at.value);
    Some(At { value: Selector { label: label?.value, port, network }, place: *place })
}
