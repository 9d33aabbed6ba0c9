//! The backends of a service: each once, of a family that is listened on, never a VIP.

use std::{collections::BTreeMap, net::IpAddr, path::Path};

use super::{
    super::{
        address,
        error::{Mistake, Place, Report, shown},
        field::{At, List},
        raw::RawBackend,
        scalar,
    },
    listens::{Index, Listens, overlapping},
    service::Checked,
};
use crate::model::{BackendSpec, Endpoint, Forward, Listen, PortRange, Protocol, Weight};

/// Most backends of a service: a slot table has two slots for each, and 65537 at most.
const BACKENDS_MAX: usize = 30_000;

/// The backends of a service; the place is that of the address.
pub(in crate::config) struct Backends {
    pub(super) list: Vec<At<BackendSpec>>,
    /// Whether every one of them was understood.
    complete: bool,
}

/// `alone`: nobody else serves these listen addresses.
pub(in crate::config) fn backends(
    raw: &List<RawBackend>,
    listens: &Listens,
    forward: Forward,
    alone: bool,
    report: &mut Report,
) -> Backends {
    let list: Vec<At<BackendSpec>> =
        raw.elements().filter_map(|raw| backend(raw, listens, forward, report)).collect();
    let given = raw.given().map_or(0, |at| at.value.len());
    let backends = Backends { complete: list.len() == given, list };
    if let Some(At { place, .. }) = raw.elements().nth(BACKENDS_MAX) {
        let message = format!("{given} backends; a service has {BACKENDS_MAX} at most");
        report.add(*place, Mistake::new(message));
    }
    each_once(&backends, report);
    // With full NAT they may be of either.
    if forward != Forward::FullNat {
        families(&backends, listens, alone, report);
    }
    backends
}

fn backend(
    At { value: raw, place }: &At<RawBackend>,
    listens: &Listens,
    forward: Forward,
    report: &mut Report,
) -> Option<At<BackendSpec>> {
    raw.address.required(report, *place, || Mistake::new("this backend has no `address`"));
    let weight = raw.weight.parse_or(report, scalar::weight, Weight::DEFAULT);
    let cgroup = raw.cgroup.parse(report, scalar::cgroup).map(|at| at.value);
    let At { value: (address, port), place } = raw.address.parse(report, address::backend)?;
    if let Some(port) = port.filter(|_| forward.is_direct()) {
        untranslated(listens, forward, At { value: port, place }, report)?;
    }
    let keeps_port = forward.is_direct() || listens.all_are_ranges();
    if port.is_none() && listens.complete && !keeps_port {
        let mistake = Mistake::new(format!("a backend needs a port; `{address}` has none"));
        let hint = "only where every `listen` is a range of ports, the destination port is kept";
        report.add(place, mistake.hint(hint));
        return None;
    }
    // Without a protocol nothing is listened on, and that is reported.
    let protocol = listens.protocol().unwrap_or(Protocol::Tcp);
    let endpoint = Endpoint { address, port: port.unwrap_or_default(), protocol };
    let weight = weight.unwrap_or(Weight::DEFAULT);
    Some(At { value: BackendSpec { endpoint, weight, cgroup }, place })
}

/// Where packets are not translated, a backend serves the port that the client dialled.
fn untranslated(
    listens: &Listens,
    forward: Forward,
    At { value: port, place }: At<u16>,
    report: &mut Report,
) -> Option<()> {
    let other = listens.list.iter().find(|at| {
        let ports = at.value.ports;
        !ports.is_single() || ports.first() != port
    });
    let Some(At { value: listen, .. }) = other else { return Some(()) };
    let message = format!(
        "port {port} is not that of `{listen}`, and `forward: {}` translates nothing",
        forward.name()
    );
    report.add(place, Mistake::new(message).hint("leave the port out: the one dialled is kept"));
    None
}

fn each_once(backends: &Backends, report: &mut Report) {
    let mut lines = BTreeMap::new();
    for At { value: BackendSpec { endpoint, .. }, place } in &backends.list {
        if let Some(line) = lines.insert(*endpoint, place.line) {
            let message =
                format!("backend {} is listed twice, before in line {line}", name(*endpoint));
            report.add(*place, Mistake::new(message).hint("a larger `weight` gives it more flows"));
        }
    }
}

fn name(Endpoint { address, port, protocol }: Endpoint) -> String {
    if port == 0 {
        format!("`{address}`")
    } else {
        format!("`{}`", Endpoint { address, port, protocol })
    }
}

/// Backends of a family serve the VIPs of that family: neither may be alone.
fn families(backends: &Backends, listens: &Listens, alone: bool, report: &mut Report) {
    if !listens.complete || backends.list.is_empty() {
        return;
    }
    let addresses = || backends.list.iter().map(|at| at.value.endpoint.address);
    for (family, of_family) in
        [("IPv4", IpAddr::is_ipv4 as fn(&IpAddr) -> bool), ("IPv6", IpAddr::is_ipv6)]
    {
        let listen = listens.list.iter().find(|at| of_family(&at.value.address));
        let Some(At { value, place }) = listen else {
            let alone = |at: &&At<BackendSpec>| of_family(&at.value.endpoint.address);
            for At { value, place } in backends.list.iter().filter(alone) {
                let backend = name(value.endpoint);
                let message =
                    format!("backend {backend} is {family}, but no `listen` of the service is");
                report.add(*place, Mistake::new(message).hint(FAMILIES));
            }
            continue;
        };
        if alone && backends.complete && !addresses().any(|address| of_family(&address)) {
            let message = format!("`{value}` is {family}, but no backend of the service is");
            report.add(*place, Mistake::new(message).hint(FAMILIES));
        }
    }
}

const FAMILIES: &str = "the backends of a family serve the addresses of that family";

/// Reports backends that are VIPs: their packets would come back for ever.
pub(super) fn without_loops(services: &[Checked], report: &mut Report) {
    let mut index = Index::new();
    for at in services.iter().flat_map(|service| &service.listens.list) {
        if overlapping(&index, at.value).is_none() {
            let Listen { address, ports, protocol } = at.value;
            index.insert((address, protocol, ports.first()), *at);
        }
    }
    for service in services {
        for At { value: backend, place } in &service.backends.list {
            report_loop(&index, service, backend.endpoint, *place, report);
        }
    }
}

/// Reports backends whose services do not agree about their processes.
pub(super) fn of_one_cgroup(services: &[Checked], report: &mut Report) {
    let mut said: BTreeMap<Endpoint, (&Path, Place)> = BTreeMap::new();
    for At { value, place } in services.iter().flat_map(|service| &service.backends.list) {
        let Some(cgroup) = value.cgroup.as_deref() else { continue };
        let (first, Place { line, .. }) = *said.entry(value.endpoint).or_insert((cgroup, *place));
        if first != cgroup {
            let message = format!(
                "the cgroup of backend {} is {} here and {} in line {line}",
                name(value.endpoint),
                shown(&cgroup.to_string_lossy()),
                shown(&first.to_string_lossy())
            );
            report
                .add(*place, Mistake::new(message).hint("once is enough: it is the same backend"));
        }
    }
}

fn report_loop(
    index: &Index,
    service: &Checked,
    endpoint: Endpoint,
    place: Place,
    report: &mut Report,
) {
    let Endpoint { address, port, protocol } = endpoint;
    let own = || service.listens.list.iter().map(|at| at.value.ports);
    // A backend without a port is asked on every port of its service.
    let ports: Vec<PortRange> =
        PortRange::new(port, port).map_or_else(|| own().collect(), |one| vec![one]);
    let vip =
        ports.into_iter().find_map(|ports| overlapping(index, Listen { address, ports, protocol }));
    if let Some(At { value: vip, place: Place { line, .. } }) = vip {
        let message = format!(
            "backend {} is the service address {} in line {line}",
            name(endpoint),
            shown(&vip.to_string())
        );
        report.add(place, Mistake::new(message).hint("name where the service runs"));
    }
}
