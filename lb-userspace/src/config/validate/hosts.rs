//! The hosts whose containers are backends.

use std::{net::IpAddr, path::PathBuf};

use super::super::{
    address,
    error::{Mistake, Place, Report, shown},
    field::{At, Field, List},
    raw::{RawHost, RawTls},
    scalar, wishes,
};
use crate::{
    model::{DockerHost, EngineAddress, Reach, ServiceName, TlsAddress},
    placement::Dimension,
};

/// Each has a connection that stays open, and a part in every decision.
const HOSTS_MAX: usize = 64;
/// The port of engines behind TLS.
const PORT_DEFAULT: u16 = 2376;

/// All hosts, this one first if its engine is followed.
pub(super) fn hosts(
    raw: &List<RawHost>,
    here: Option<PathBuf>,
    report: &mut Report,
) -> Vec<DockerHost> {
    let mut others: Vec<DockerHost> = Vec::new();
    let mut here = here.map(DockerHost::here);
    let mut described = false;
    for At { value: raw, place } in raw.elements() {
        let Some(host) = host(raw, *place, report) else { continue };
        match (&mut here, host.reach) {
            (_, Some(_)) => others.push(host),
            (Some(_), None) if described => {
                let mistake = Mistake::new("another host without `engine` is this one as well");
                report.add(*place, mistake);
            }
            (Some(here), None) => {
                described = true;
                *here = DockerHost { engine: here.engine.clone(), ..host };
            }
            (None, None) => {
                let mistake = Mistake::new("this host has no engine that is followed");
                report.add(*place, mistake.hint("`docker` has `enable: false`"));
            }
        }
    }
    let all: Vec<DockerHost> = here.into_iter().chain(others).collect();
    without_twins(raw, &all, report);
    all
}

/// A container that two hosts have would be one too many.
fn without_twins(raw: &List<RawHost>, all: &[DockerHost], report: &mut Report) {
    let Field::Given(At { place, .. }) = raw else { return };
    for (at, host) in all.iter().enumerate() {
        let before = all.get(..at).unwrap_or_default();
        if before.iter().any(|other| other.name == host.name) {
            let mistake = Mistake::new(format!("two hosts are called `{}`", host.name));
            let hint = "this one is called `local` unless an entry without `engine` says otherwise";
            report.add(*place, if host.name == "local" { mistake.hint(hint) } else { mistake });
        } else if let Some(other) = before.iter().find(|other| other.engine == host.engine) {
            let message = format!("hosts `{}` and `{}` have one engine", other.name, host.name);
            report.add(*place, Mistake::new(message));
        }
    }
    if all.len() > HOSTS_MAX {
        report.add(*place, Mistake::new(format!("{} hosts are more than {HOSTS_MAX}", all.len())));
    }
}

fn host(raw: &RawHost, place: Place, report: &mut Report) -> Option<DockerHost> {
    raw.name.required(report, place, || Mistake::new("this host has no `name`"));
    let name = raw.name.parse(report, name).map(|at| at.value);
    let zone = raw.zone.parse(report, self::name).map(|at| at.value);
    let amount = |field: &Field<String>, dimension, report: &mut Report| {
        field.parse(report, some(dimension)).map(|at| at.value)
    };
    let cpu = amount(&raw.cpus, Dimension::Cpu, report);
    let memory = amount(&raw.memory, Dimension::Memory, report);
    let labels = raw.labels.elements().filter_map(|at| at.parse(report, wishes::pair));
    let labels = labels.map(|at| at.value).collect();
    let engine = raw.engine.parse(report, engine);
    let address = raw.address.parse(report, |text| address::host_address(text, text));
    let address = address.map(|at| at.value);
    if raw.engine.is_absent() {
        of_this_host(raw, report);
        let here = DockerHost::here(PathBuf::new());
        return Some(DockerHost { name: name?, cpu, memory, zone, labels, ..here });
    }
    let reach = reach(raw, address, place, report);
    let engine = secured(engine?, &raw.tls, report);
    Some(DockerHost {
        name: name?,
        engine: engine?,
        reach: Some(reach?),
        cpu,
        memory,
        zone,
        labels,
    })
}

/// Its containers are here.
fn of_this_host(raw: &RawHost, report: &mut Report) {
    let fields = [
        ("tls", raw.tls.given().map(|at| at.place)),
        ("reach", raw.reach.given().map(|at| at.place)),
        ("address", raw.address.given().map(|at| at.place)),
    ];
    for (field, place) in fields {
        if let Some(place) = place {
            let mistake = Mistake::new(format!("`{field}` means nothing without `engine`"));
            report.add(place, mistake.hint("a host without `engine` is this one"));
        }
    }
}

fn reach(
    raw: &RawHost,
    address: Option<IpAddr>,
    place: Place,
    report: &mut Report,
) -> Option<Reach> {
    const KNOWN: [&str; 2] = ["published", "routed"];
    let word = |text: &str| scalar::one_of("way to containers", text, &KNOWN);
    if raw.reach.parse_or(report, word, KNOWN[0])? == KNOWN[1] {
        if let Field::Given(At { place, .. }) = raw.address {
            let mistake = Mistake::new("`address` means nothing with `reach: routed`");
            report.add(place, mistake.hint("containers have addresses of their own"));
        }
        return Some(Reach::Routed);
    }
    raw.address.required(report, place, || {
        Mistake::new("this host has no `address`")
            .hint("the one that its ports are published at, or `reach: routed`")
    });
    address.map(Reach::Published)
}

/// What an engine is called before its certificates are known.
enum Engine {
    Unix(PathBuf),
    Tcp(String, u16),
}

fn engine(text: &str) -> Result<Engine, Mistake> {
    if let Some(rest) = text.strip_prefix("tcp://") {
        return tcp(rest, text);
    }
    if text.starts_with("ssh://") {
        let mistake = Mistake::new("engines are not asked over ssh: the daemon starts no programs");
        return Err(mistake.hint(
            "`ssh -NL /run/east.sock:/var/run/docker.sock user@host`, and `engine: /run/east.sock`",
        ));
    }
    let path = text.strip_prefix("unix://").unwrap_or(text);
    if !path.starts_with('/') {
        let mistake = Mistake::new(format!("{} is not an engine", shown(text)));
        return Err(mistake.hint("the path of a socket, or `tcp://host:2376`"));
    }
    scalar::socket_path(path).map(Engine::Unix)
}

fn tcp(rest: &str, text: &str) -> Result<Engine, Mistake> {
    let wrong = || {
        Mistake::new(format!("{} is not an engine", shown(text))).hint("such as `tcp://host:2376`")
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(wrong)?)),
        None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':');
    if host.is_empty() || !host.bytes().all(is_name) {
        return Err(wrong());
    }
    let port = port.map_or(Ok(PORT_DEFAULT), address::port_number)?;
    Ok(Engine::Tcp(host.to_owned(), port))
}

/// Whoever may ask an engine is root on its host.
fn secured(
    At { value, place }: At<Engine>,
    tls: &Field<RawTls>,
    report: &mut Report,
) -> Option<EngineAddress> {
    match value {
        Engine::Unix(path) => {
            if let Field::Given(At { place, .. }) = tls {
                let mistake = Mistake::new("`tls` means nothing for a socket");
                report.add(*place, mistake.hint("`engine: tcp://host:2376`"));
            }
            Some(EngineAddress::Unix(path))
        }
        Engine::Tcp(host, port) => {
            let At { value: raw, place } = tls.required(report, place, || {
                Mistake::new("an engine over TCP needs `tls`")
                    .hint("such as `{ ca: /etc/weir/ca.pem, cert: ..., key: ... }`")
            })?;
            let mut file = |name: &str, field: &Field<String>| {
                field.required(report, *place, || Mistake::new(format!("there is no `{name}`")));
                field.parse(report, scalar::file_path).map(|at| at.value)
            };
            let (ca, cert, key) =
                (file("ca", &raw.ca), file("cert", &raw.cert), file("key", &raw.key));
            let (ca, cert, key) = (ca?, cert?, key?);
            Some(EngineAddress::Tls(Box::new(TlsAddress { host, port, ca, cert, key })))
        }
    }
}

/// What services are called, hosts and zones may be.
fn name(text: &str) -> Result<String, Mistake> {
    let wrong = || {
        Mistake::new(format!("{} is not a name", shown(text)))
            .hint("1 to 63 of `a-z 0-9 - _ .`, beginning with a letter or digit")
    };
    ServiceName::new(text).map(|name| name.as_str().to_owned()).ok_or_else(wrong)
}

/// A host without any has no room.
fn some(dimension: Dimension) -> impl Fn(&str) -> Result<u64, Mistake> {
    move |text| match wishes::amount(dimension)(text)? {
        0 => Err(Mistake::new(format!("a host without {} has no replicas", dimension.name()))),
        amount => Ok(amount),
    }
}
