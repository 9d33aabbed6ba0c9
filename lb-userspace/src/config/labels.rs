//! What the labels of a container say: the values of `weir.yaml`, by the same parsers, with the
//! same messages.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::{
    address,
    decode::list,
    error::{Diagnostic, Mistake, Place, Report, nearest},
    field::{At, Field, List},
    raw::{RawHealth, Text},
    scalar,
    validate::{backends, health, listens::Listens},
};
use crate::model::{HealthCheck, Listen, Policy, ServiceName, Weight};

/// What all labels that are meant for Weir begin with.
pub const PREFIX: &str = "weir.";

/// All labels, without their prefix.
pub const LABELS: [&str; 16] = [
    "enable",
    "service",
    "listen",
    "port",
    "weight",
    "policy",
    "network",
    "sources",
    "health.tcp",
    "health.http",
    "health.interval",
    "health.timeout",
    "health.rise",
    "health.fall",
    "health.port",
    "health.all-down",
];

/// What the labels of one container say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Whether any of them is meant for Weir.
    pub any: bool,
    /// Whether the container may be a backend.
    pub enable: Option<bool>,
    /// The service that it belongs to.
    pub service: Option<ServiceName>,
    /// What that service listens on.
    pub listens: Option<Vec<Listen>>,
    /// How that service chooses.
    pub policy: Option<Policy>,
    /// Who may connect to that service.
    pub sources: Option<Vec<IpNet>>,
    /// How the backends of that service are checked.
    pub health: Option<HealthCheck>,
    /// Where the container serves.
    pub port: Option<u16>,
    /// Its share of the new flows.
    pub weight: Option<Weight>,
    /// The Docker network that it is reached through.
    pub network: Option<String>,
}

/// Reads the labels of a container, or tells every mistake in them.
pub fn read(labels: &BTreeMap<String, String>) -> Result<Labels, Vec<String>> {
    let ours: Vec<(&str, &str)> = labels
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?, value.as_str())))
        .collect();
    let mut report = Report::default();
    for (at, (name, _)) in ours.iter().enumerate() {
        if !LABELS.contains(name) {
            report.add(place(at), unknown(name));
        }
    }
    let text = |name: &str| {
        let at = ours.iter().position(|(label, _)| *label == name)?;
        Some(At { value: ours.get(at)?.1.trim().to_owned(), place: place(at) })
    };
    let read = fill(&text, !ours.is_empty(), &mut report);
    let found = report.finish("", "").list().iter().map(|found| line(&ours, found)).collect();
    let found: Vec<String> = found;
    if found.is_empty() { Ok(read) } else { Err(found) }
}

fn fill(text: &dyn Fn(&str) -> Option<At<String>>, any: bool, report: &mut Report) -> Labels {
    let listens = text("listen").map(|at| listens(&at, report));
    let health = health(text, listens.as_ref(), report);
    let mut labels = Labels { any, health, ..Labels::default() };
    labels.listens = listens.map(|listens| listens.list.iter().map(|at| at.value).collect());
    labels.enable = value(text("enable"), scalar::truth, report);
    labels.service = value(text("service"), scalar::service_name, report);
    labels.policy = value(text("policy"), scalar::policy, report);
    labels.port = value(text("port"), address::port_number, report);
    labels.weight = value(text("weight"), scalar::weight, report);
    labels.network = value(text("network"), scalar::network_name, report);
    labels.sources = text("sources").map(|at| {
        let networks = elements(&at);
        let networks = networks.elements().filter_map(|at| at.parse(report, scalar::network));
        networks.map(|at| at.value).collect()
    });
    labels
}

/// A place that leads back to the label.
fn place(label: usize) -> Place {
    Place { line: u32::try_from(label).unwrap_or(u32::MAX), ..Place::default() }
}

fn line(labels: &[(&str, &str)], found: &Diagnostic) -> String {
    let Diagnostic { line, message, hint, .. } = found;
    let label = usize::try_from(*line).ok().and_then(|at| labels.get(at));
    let name = label.map_or("", |(name, _)| name);
    let hint = hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
    format!("label {PREFIX}{name}: {message}{hint}")
}

fn unknown(name: &str) -> Mistake {
    let mistake = Mistake::new("there is no such label");
    match nearest(name, LABELS) {
        Some(near) => mistake.hint(format!("did you mean `{PREFIX}{near}`?")),
        None => mistake.hint(format!("after `{PREFIX}` comes one of {}", list(&LABELS))),
    }
}

fn value<V>(
    text: Option<At<String>>,
    parser: impl FnOnce(&str) -> Result<V, Mistake>,
    report: &mut Report,
) -> Option<V> {
    text?.parse(report, parser).map(|at| at.value)
}

/// What the service listens on: all of one protocol, and never nothing.
fn listens(at: &At<String>, report: &mut Report) -> Listens {
    let elements = elements(at);
    let list: Vec<At<Listen>> =
        elements.elements().filter_map(|at| at.parse(report, address::listen)).collect();
    let mut protocols = list.iter().map(|at| at.value.protocol);
    if let Some(first) = protocols.next()
        && let Some(other) = protocols.find(|protocol| *protocol != first)
    {
        let mistake = Mistake::new(format!("{first} and {other} in one service"));
        report.add(at.place, mistake.hint("a service has one protocol; make a second service"));
    }
    let overlap = list.iter().enumerate().find_map(|(at, one)| {
        let mut rest = list.iter().skip(at + 1);
        rest.find(|other| one.value.overlaps(other.value)).map(|other| (one.value, other.value))
    });
    if let Some((one, other)) = overlap {
        report.add(at.place, Mistake::new(format!("`{other}` overlaps `{one}`")));
    }
    Listens { list, complete: true }
}

/// The elements of a list whose values stand between commas.
fn elements(At { value, place }: &At<String>) -> List<String> {
    let element = |text: &str| Field::Given(At { value: text.trim().to_owned(), place: *place });
    Field::Given(At { value: value.split(',').map(element).collect(), place: *place })
}

fn health(
    text: &dyn Fn(&str) -> Option<At<String>>,
    listens: Option<&Listens>,
    report: &mut Report,
) -> Option<HealthCheck> {
    let first =
        LABELS.iter().filter(|label| label.starts_with("health.")).find_map(|label| text(label))?;
    let field = |name: &str| -> Text { text(name).map_or(Field::Absent, Field::Given) };
    let raw = RawHealth {
        tcp: field("health.tcp"),
        http: field("health.http"),
        interval: field("health.interval"),
        timeout: field("health.timeout"),
        rise: field("health.rise"),
        fall: field("health.fall"),
        port: field("health.port"),
        all_down: field("health.all-down"),
    };
    // Where the service listens may be said elsewhere; whether a port is missing shows there.
    let nowhere = Listens { list: Vec::new(), complete: false };
    let listens = listens.unwrap_or(&nowhere);
    let backends = backends::backends(&Field::Absent, listens, false, report);
    health::health(&At { value: raw, place: first.place }, listens, &backends, report)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::Probe;

    /// `name=value` in words, without the prefix.
    fn labels(words: &[&str]) -> BTreeMap<String, String> {
        let pair = |word: &&str| {
            let (name, value) = word.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        };
        words.iter().map(pair).collect()
    }

    #[test]
    fn everything_can_be_said() {
        let read = read(&labels(&[
            "weir.enable=true",
            "weir.service=web",
            "weir.listen=198.18.0.1:80/tcp, [fd00:18::1]:80",
            "weir.port=8080",
            "weir.weight=3",
            "weir.policy=maglev",
            "weir.network=front",
            "weir.sources=198.18.0.0/15, fd00::/8",
            "weir.health.http=/healthz",
            "weir.health.interval=500ms",
            "weir.health.rise=1",
            "app=web",
            "com.docker.compose.service=web",
        ]))
        .unwrap();
        let listens: Vec<_> = read.listens.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(listens, ["198.18.0.1:80/tcp", "[fd00:18::1]:80/tcp"]);
        assert_eq!(read.sources.unwrap().len(), 2);
        let health = read.health.unwrap();
        assert_eq!(health.probe, Probe::Http { path: "/healthz".to_owned() });
        let times = (health.interval, health.timeout, health.rise, health.fall);
        assert_eq!(times, (Duration::from_millis(500), Duration::from_millis(500), 1, 3));
        assert_eq!((read.any, read.enable, read.port), (true, Some(true), Some(8080)));
        assert_eq!(read.weight.map(Weight::get), Some(3));
        assert_eq!(read.policy, Some(Policy::Maglev));
        assert_eq!(read.network.as_deref(), Some("front"));
        assert_eq!(read.service.as_ref().map(ServiceName::as_str), Some("web"));
    }

    #[test]
    fn labels_of_others_say_nothing() {
        for words in [&[][..], &["app=web", "weirdo=1", "weir=1", "traefik.enable=true"]] {
            assert_eq!(read(&labels(words)).unwrap(), Labels::default(), "{words:?}");
        }
    }

    /// Labels, and what is wrong with them.
    const MISTAKES: &[(&[&str], &[&str])] = &[
        (&["weir.enable=yes"], &["label weir.enable: `yes` is neither `true` nor `false`"]),
        (&["weir.enable="], &["label weir.enable: `\"\"` is neither `true` nor `false`"]),
        (
            &["weir.prot=80"],
            &["label weir.prot: there is no such label (did you mean `weir.port`?)"],
        ),
        (
            &["weir.health.htp=/"],
            &["label weir.health.htp: there is no such label (did you mean `weir.health.http`?)"],
        ),
        (
            &["weir.port=http", "weir.weight=1001"],
            &[
                "label weir.port: `http` is not a port; ports run from 1 to 65535",
                "label weir.weight: weight `1001` is not a whole number from 0 to 1000",
            ],
        ),
        (&["weir.port=0"], &["label weir.port: `0` is not a port; ports run from 1 to 65535"]),
        (
            &["weir.service=Web"],
            &[
                "label weir.service: `Web` is not a name for a service (1 to 63 of `a-z 0-9 - _ .`, beginning with a letter or digit)",
            ],
        ),
        (
            &["weir.policy=maglv"],
            &["label weir.policy: unknown policy `maglv` (did you mean `maglev`?)"],
        ),
        (
            &["weir.listen=198.18.0.1"],
            &["label weir.listen: `198.18.0.1` has no port (such as `198.18.0.1:80`)"],
        ),
        (
            &["weir.listen=198.18.0.1:80,198.18.0.1:53/udp"],
            &[
                "label weir.listen: tcp and udp in one service (a service has one protocol; make a second service)",
            ],
        ),
        (
            &["weir.listen=198.18.0.1:80-90,198.18.0.1:85"],
            &["label weir.listen: `198.18.0.1:85/tcp` overlaps `198.18.0.1:80-90/tcp`"],
        ),
        (
            &["weir.sources=198.18.0.0/15,198.18.0.1"],
            &["label weir.sources: `198.18.0.1` has no prefix length (`198.18.0.1/32`)"],
        ),
        (
            &["weir.network=a b"],
            &[
                "label weir.network: `a b` is not the name of a Docker network (of `a-z A-Z 0-9 - _ .`, beginning with a letter or digit)",
            ],
        ),
        (
            &["weir.health.interval=2s"],
            &[
                "label weir.health.interval: this health check is neither `tcp` nor `http` (`tcp: true`, or `http: /path`)",
            ],
        ),
        (
            &["weir.health.tcp=true", "weir.health.interval=1s", "weir.health.timeout=2s"],
            &["label weir.health.timeout: timeout 2s is longer than the interval, 1s"],
        ),
        (
            &["weir.health.tcp=true", "weir.listen=198.18.0.1:53/udp"],
            &[
                "label weir.health.tcp: this health check needs a `port`: a UDP port cannot be probed (name one where every backend answers over TCP)",
            ],
        ),
    ];

    #[test]
    fn every_mistake_names_its_label() {
        for (words, expected) in MISTAKES {
            assert_eq!(read(&labels(words)).unwrap_err(), *expected, "{words:?}");
        }
    }
}
