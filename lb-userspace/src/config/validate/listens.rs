//! What services listen on: one protocol a service, no VIP and port twice.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    super::{
        address,
        error::{Mistake, Place, Report},
        field::{At, List},
    },
    service::Checked,
};
use crate::model::{Listen, Protocol};

/// The listen addresses of a service.
pub(in crate::config) struct Listens {
    pub(in crate::config) list: Vec<At<Listen>>,
    /// Whether every one of them was understood, so that what is missing is truly missing.
    pub(in crate::config) complete: bool,
}

impl Listens {
    /// The protocol of the service, known from its first listen address.
    pub(super) fn protocol(&self) -> Option<Protocol> {
        self.list.first().map(|first| first.value.protocol)
    }

    /// Whether a backend may leave its port out: then every packet keeps the port it has.
    pub(super) fn all_are_ranges(&self) -> bool {
        self.list.iter().all(|at| !at.value.ports.is_single())
    }
}

pub(super) fn listens(raw: &List<String>, service: Place, report: &mut Report) -> Listens {
    let none = || {
        Mistake::new("this service has no `listen`").hint("such as `listen: [198.18.0.1:80/tcp]`")
    };
    if let Some(At { value, place }) = raw.required(report, service, none)
        && value.is_empty()
    {
        report.add(*place, none());
    }
    let list: Vec<At<Listen>> =
        raw.elements().filter_map(|at| at.parse(report, address::listen)).collect();
    let complete = !list.is_empty() && raw.given().is_some_and(|at| at.value.len() == list.len());
    let mut listens = Listens { list, complete };
    one_protocol(&mut listens, report);
    listens
}

fn one_protocol(listens: &mut Listens, report: &mut Report) {
    let Some(At { value: first, place: at_first }) = listens.list.first().copied() else { return };
    let Listens { list, complete } = listens;
    list.retain(|at| {
        let same = at.value.protocol == first.protocol;
        if !same {
            let (found, expected, line) = (at.value, first.protocol, at_first.line);
            let message =
                format!("`{found}` is not {expected}, the protocol of this service in line {line}");
            let hint = "a service has one protocol; make a second service";
            report.add(at.place, Mistake::new(message).hint(hint));
        }
        *complete &= same;
        same
    });
}

/// The listen addresses by VIP, protocol and first port.
pub(super) type Index = BTreeMap<(IpAddr, Protocol, u16), At<Listen>>;

/// The entry of an index that shares a port with `listen`.
pub(super) fn overlapping(index: &Index, listen: Listen) -> Option<&At<Listen>> {
    let Listen { address, ports, protocol } = listen;
    // Entries do not overlap one another, so the last one that begins early enough decides.
    let key = |port| (address, protocol, port);
    let (_, near) = index.range(key(0)..=key(ports.last())).next_back()?;
    near.value.ports.overlaps(ports).then_some(near)
}

/// Reports every VIP and port that is listened on twice.
pub(super) fn without_overlap(services: &[Checked], report: &mut Report) {
    let mut index = Index::new();
    for at in services.iter().flat_map(|service| &service.listens.list) {
        let At { value: listen, place } = *at;
        let Some(other) = overlapping(&index, listen) else {
            index.insert((listen.address, listen.protocol, listen.ports.first()), *at);
            continue;
        };
        let (found, line) = (other.value, other.place.line);
        let message = if found == listen {
            format!("`{listen}` is listened on twice, first in line {line}")
        } else {
            format!("`{listen}` overlaps `{found}` in line {line}")
        };
        report.add(place, Mistake::new(message));
    }
}
