//! Containers as backends: whether they are followed, and which services choose some.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    super::{
        address,
        error::{Mistake, Report},
        field::{At, Field},
        raw::{RawDocker, RawSelector},
        scalar,
    },
    service::Checked,
};
use crate::model::{Docker, Selector};

/// The engine's socket unless configured otherwise.
pub const DOCKER_SOCKET_DEFAULT: &str = "/var/run/docker.sock";

/// A service that chooses containers has them followed; so has the section itself.
pub(super) fn docker(raw: &Field<RawDocker>, services: &[Checked], report: &mut Report) -> Docker {
    let (mut enable, mut socket) = (true, PathBuf::from(DOCKER_SOCKET_DEFAULT));
    if let Some(At { value: raw, .. }) = raw.given() {
        enable = raw.enable.parse_or(report, scalar::truth, true).unwrap_or(true);
        socket = raw.socket.parse_or(report, scalar::socket_path, socket).unwrap_or_default();
    }
    let chosen =
        || services.iter().filter_map(|service| Some((service, service.selector.as_ref()?)));
    if !enable {
        for (_, At { place, .. }) in chosen() {
            let mistake = Mistake::new("this service chooses containers, which are not followed");
            report.add(*place, mistake.hint("`docker` has `enable: false`"));
        }
    }
    let selectors: BTreeMap<_, _> = chosen()
        .filter_map(|(service, at)| Some((service.name.clone()?, at.value.clone())))
        .collect();
    let follow = enable && (raw.given().is_some() || !selectors.is_empty());
    Docker { socket: follow.then_some(socket), selectors }
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
