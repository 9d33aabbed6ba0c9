//! What the labels of a container say: the values of `weir.yaml`, by the same parsers, with the
//! same messages.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ipnet::IpNet;

use super::{
    address,
    error::{Diagnostic, Mistake, Place, Report, escaped},
    field::{At, Field},
    label_names::{LABELS, Label, NAMED, OF_CONTAINER, label, unknown},
    label_scale,
    publish::{listen_address, publish},
    raw::{RawHealth, RawReport, Text},
    scalar,
    validate::{backends, health, listens::Listens, report},
    wishes::{self, Wishes, elements},
};
use crate::model::{
    Forward, HealthCheck, Listen, Policy, Publish, Scale, SelfReport, ServiceName, Weight,
};

pub use super::label_names::PREFIX;

/// The value of `listen` for an automatic port of each port that the container exposes.
const AUTO: &str = "auto";

/// What the labels of one container say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Whether any of them is meant for Weir.
    pub any: bool,
    /// Whether the container may be a backend.
    pub enable: Option<bool>,
    /// The Docker network that it is reached through.
    pub network: Option<String>,
    /// Where replicas like it go.
    pub wishes: Wishes,
    /// Whether there are labels of services by their names.
    pub several: bool,
    /// The services that it belongs to: one, or those that have names, in the order of these.
    pub services: Vec<Terms>,
}

/// What labels say of one service, and of the container in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Its name.
    pub name: Option<ServiceName>,
    /// Where clients reach it.
    pub wanted: Option<Wanted>,
    /// How it chooses.
    pub policy: Option<Policy>,
    /// How long a client address keeps its backend.
    pub affinity: Option<Duration>,
    /// Who may connect to it.
    pub sources: Option<Vec<IpNet>>,
    /// How its backends are checked.
    pub health: Option<HealthCheck>,
    /// Where its backends tell their load.
    pub report: Option<SelfReport>,
    /// How many replicas it shall have.
    pub scale: Option<Scale>,
    /// Where the container serves.
    pub port: Option<u16>,
    /// Its share of the new flows.
    pub weight: Option<Weight>,
}

/// Where clients reach a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Here; an unspecified address stands for all those of the host.
    Listen(Vec<Listen>),
    /// At these ports of the host.
    Publish(Vec<Publish>),
    /// At automatic ports, one for each port that the container exposes.
    Auto,
}

/// Reads the labels of a container, or tells every mistake in them.
pub fn read(labels: &BTreeMap<String, String>) -> Result<Labels, Vec<String>> {
    let ours: Vec<(&str, &str)> = labels
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?, value.as_str())))
        .collect();
    let mut report = Report::default();
    let read = fill(&ours, &mut report);
    let found = report.finish("", "").list().iter().map(|found| line(&ours, found)).collect();
    let found: Vec<String> = found;
    if found.is_empty() { Ok(read) } else { Err(found) }
}

/// The values of the labels that there are, by service and key.
type Values<'a> = BTreeMap<(Option<&'a str>, &'static str), At<String>>;

fn fill(ours: &[(&str, &str)], report: &mut Report) -> Labels {
    if ours.is_empty() {
        return Labels::default();
    }
    let mut values = Values::new();
    for (at, (name, value)) in ours.iter().enumerate() {
        match label(name) {
            None => report.add(place(at), unknown(name)),
            Some(Label { service, key }) => {
                let value = At { value: value.trim().to_owned(), place: place(at) };
                values.insert((service, key), value);
            }
        }
    }
    let names: BTreeSet<&str> = values.keys().filter_map(|(service, _)| *service).collect();
    let plain = |key: &'static str| values.get(&(None, key)).cloned();
    let mut read = Labels {
        any: true,
        enable: value(plain("enable"), scalar::truth, report),
        network: value(plain("network"), scalar::network_name, report),
        wishes: wishes::wishes(&plain, report),
        several: !names.is_empty(),
        services: Vec::new(),
    };
    if names.is_empty() {
        let name = value(plain("service"), scalar::service_name, report);
        read.services.push(Terms { name, ..terms(&plain, report) });
    }
    if !names.is_empty() {
        refuse_plain(&mut values, report);
    }
    for name in names {
        let text = |key: &'static str| values.get(&(Some(name), key)).cloned();
        let first = values.iter().find(|((service, _), _)| *service == Some(name));
        let at = first.map(|(_, at)| At { value: name.to_owned(), place: at.place });
        let name = value(at, scalar::service_name, report);
        read.services.push(Terms { name, ..terms(&text, report) });
    }
    let scaled = |key: &&(Option<&str>, &'static str)| key.1.starts_with("scale.");
    let mut scaled = values.iter().filter(|(key, _)| scaled(key));
    if let Some((first, _)) = scaled.next()
        && let Some((_, At { place, .. })) = scaled.find(|(other, _)| other.0 != first.0)
    {
        let mistake =
            Mistake::new("two services say how many containers of its kind there shall be");
        report.add(*place, mistake.hint("`scale` of one of them is enough"));
    }
    read
}

/// Beside services with names nobody knows which of them a label without one is about.
fn refuse_plain(values: &mut Values<'_>, report: &mut Report) {
    for key in LABELS.into_iter().skip(OF_CONTAINER - 1) {
        if let Some(At { place, .. }) = values.remove(&(None, key)) {
            let mistake = Mistake::new("it does not say of which service");
            let key = if key == "service" { String::new() } else { format!(".{key}") };
            report.add(place, mistake.hint(format!("`{PREFIX}{NAMED}NAME{key}` does")));
        }
    }
}

/// What is said of one service.
fn terms(text: &dyn Fn(&'static str) -> Option<At<String>>, report: &mut Report) -> Terms {
    let auto = text("listen").is_some_and(|at| at.value == AUTO);
    let listens = text("listen").filter(|_| !auto).map(|at| listens(&at, report));
    let published = text("publish").map(|at| published(text, &at, report));
    let health = health(text, listens.as_ref(), report);
    let self_report = self_report(text, listens.as_ref(), report);
    let listens = listens.map(|listens| listens.list.iter().map(|at| at.value).collect());
    let wanted = match (auto, listens, published) {
        (true, ..) => Some(Wanted::Auto),
        (false, Some(listens), _) => Some(Wanted::Listen(listens)),
        (false, None, published) => published.map(Wanted::Publish),
    };
    Terms {
        name: None,
        wanted,
        policy: value(text("policy"), scalar::policy, report),
        affinity: value(text("affinity"), scalar::duration, report),
        sources: text("sources").map(|at| {
            let networks = elements(&at);
            let networks = networks.elements().filter_map(|at| at.parse(report, scalar::network));
            networks.map(|at| at.value).collect()
        }),
        health,
        report: self_report,
        scale: first(text, "scale.").and_then(|place| label_scale::scale(text, place, report)),
        port: value(text("port"), address::port_number, report),
        weight: value(text("weight"), scalar::weight, report),
    }
}

/// What is published. It says where clients dial, and which ports of the container they get.
fn published(
    text: &dyn Fn(&'static str) -> Option<At<String>>,
    at: &At<String>,
    report: &mut Report,
) -> Vec<Publish> {
    for (other, what) in [("listen", "where clients dial"), ("port", "where the container serves")]
    {
        if text(other).is_some() {
            let mistake = Mistake::new(format!("this label and `{other}` both say {what}"));
            report.add(at.place, mistake.hint("remove one of them"));
        }
    }
    let list: Vec<(String, Publish)> = elements(at)
        .elements()
        .filter_map(|element| {
            let text = element.value.clone();
            element.parse(report, publish).map(|at| (text, at.value))
        })
        .collect();
    for (at_one, (text, one)) in list.iter().enumerate() {
        if let Some((other, _)) = list.iter().take(at_one).find(|(_, other)| one.overlaps(other)) {
            let message = format!("`{text}` publishes a port that `{other}` has");
            report.add(at.place, Mistake::new(message));
        }
    }
    list.into_iter().map(|(_, publish)| publish).collect()
}

/// A place that leads back to the label.
fn place(label: usize) -> Place {
    Place { line: u32::try_from(label).unwrap_or(u32::MAX), ..Place::default() }
}

fn line(labels: &[(&str, &str)], found: &Diagnostic) -> String {
    let Diagnostic { line, message, hint, .. } = found;
    let label = usize::try_from(*line).ok().and_then(|at| labels.get(at));
    // A label is called whatever its writer liked, and a terminal shows it.
    let name = escaped(label.map_or("", |(name, _)| name));
    let hint = hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
    format!("label {PREFIX}{name}: {message}{hint}")
}

pub(super) fn value<V>(
    text: Option<At<String>>,
    parser: impl FnOnce(&str) -> Result<V, Mistake>,
    report: &mut Report,
) -> Option<V> {
    text?.parse(report, parser).map(|at| at.value)
}

/// One element of it. Labels may leave the address to the host.
fn listen(text: &str) -> Result<Listen, Mistake> {
    address::listen_at(text, listen_address)
}

/// What the service listens on: all of one protocol, and never nothing.
fn listens(at: &At<String>, report: &mut Report) -> Listens {
    let elements = elements(at);
    let list: Vec<At<Listen>> =
        elements.elements().filter_map(|at| at.parse(report, listen)).collect();
    let mut protocols = list.iter().map(|at| at.value.protocol);
    if let Some(first) = protocols.next()
        && let Some(other) = protocols.find(|protocol| *protocol != first)
    {
        let mistake = Mistake::new(format!("{first} and {other} in one service"));
        report.add(at.place, mistake.hint("a service has one protocol; make a second service"));
    }
    let overlap = list.iter().enumerate().find_map(|(at, one)| {
        let mut rest = list.iter().skip(at + 1);
        rest.find(|other| meet(one.value, other.value)).map(|other| (one.value, other.value))
    });
    if let Some((one, other)) = overlap {
        report.add(at.place, Mistake::new(format!("`{other}` overlaps `{one}`")));
    }
    Listens { list, complete: true }
}

/// Whether a packet could be meant for both.
fn meet(one: Listen, other: Listen) -> bool {
    let of_one = Listen { address: other.address, ..one };
    one.address.is_ipv4() == other.address.is_ipv4()
        && [one, other].iter().any(|listen| listen.address.is_unspecified())
        && of_one.overlaps(other)
        || one.overlaps(other)
}

fn health(
    text: &dyn Fn(&'static str) -> Option<At<String>>,
    listens: Option<&Listens>,
    report: &mut Report,
) -> Option<HealthCheck> {
    let place = first(text, "health.")?;
    let field = |name: &'static str| -> Text { text(name).map_or(Field::Absent, Field::Given) };
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
    let raw = At { value: raw, place };
    let nowhere = nowhere();
    let listens = listens.unwrap_or(&nowhere);
    let backends = backends::backends(&Field::Absent, listens, Forward::Nat, false, report);
    health::health(&raw, listens, &backends, report)
}

fn self_report(
    text: &dyn Fn(&'static str) -> Option<At<String>>,
    listens: Option<&Listens>,
    report: &mut Report,
) -> Option<SelfReport> {
    let place = first(text, "report.")?;
    let field = |name: &'static str| -> Text { text(name).map_or(Field::Absent, Field::Given) };
    let raw = RawReport {
        agent: field("report.agent"),
        http: field("report.http"),
        port: field("report.port"),
        interval: field("report.interval"),
    };
    let raw = At { value: raw, place };
    let nowhere = nowhere();
    let listens = listens.unwrap_or(&nowhere);
    let backends = backends::backends(&Field::Absent, listens, Forward::Nat, false, report);
    report::self_report(&raw, listens, &backends, report)
}

/// The place of the first label of a group, if there is one.
fn first(text: &dyn Fn(&'static str) -> Option<At<String>>, group: &str) -> Option<Place> {
    let mut labels = LABELS.iter().filter(|label| label.starts_with(group));
    labels.find_map(|label| text(label)).map(|at| at.place)
}

/// Where the service listens may be said elsewhere; whether a port is missing shows there.
const fn nowhere() -> Listens {
    Listens { list: Vec::new(), complete: false }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{Probe, ReportBy};

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
            "weir.affinity=3h",
            "weir.report.http=/load",
            "weir.report.port=9000",
            "app=web",
            "com.docker.compose.service=web",
        ]))
        .unwrap();
        let Labels { any, enable, network, services, several, .. } = read;
        assert!(!several);
        assert_eq!((any, enable, network.as_deref()), (true, Some(true), Some("front")));
        let [terms] = &services[..] else { panic!("{services:?}") };
        assert_eq!(wanted(terms), "at 198.18.0.1:80/tcp [fd00:18::1]:80/tcp");
        assert_eq!(terms.sources.as_ref().unwrap().len(), 2);
        let health = terms.health.as_ref().unwrap();
        assert_eq!(health.probe, Probe::Http { path: "/healthz".to_owned() });
        let times = (health.interval, health.timeout, health.rise, health.fall);
        assert_eq!(times, (Duration::from_millis(500), Duration::from_millis(500), 1, 3));
        let report = terms.report.as_ref().unwrap();
        assert_eq!(report.by, ReportBy::Http { path: "/load".to_owned() });
        assert_eq!((report.port, report.interval), (Some(9000), Duration::from_secs(1)));
        assert_eq!((terms.port, terms.affinity), (Some(8080), Some(Duration::from_hours(3))));
        assert_eq!(terms.weight.map(Weight::get), Some(3));
        assert_eq!(terms.policy, Some(Policy::Maglev));
        assert_eq!(terms.name.as_ref().map(ServiceName::as_str), Some("web"));
    }

    /// Where a service is reached, in words.
    fn wanted(terms: &Terms) -> String {
        match &terms.wanted {
            None => "not said".to_owned(),
            Some(Wanted::Auto) => "auto".to_owned(),
            Some(Wanted::Listen(list)) => {
                let list: Vec<_> = list.iter().map(ToString::to_string).collect();
                format!("at {}", list.join(" "))
            }
            Some(Wanted::Publish(list)) => {
                let list: Vec<_> = list.iter().map(|one| one.container.to_string()).collect();
                format!("ports {}", list.join(" "))
            }
        }
    }

    #[test]
    fn one_container_has_several_services() {
        let read = read(&labels(&[
            "weir.enable=true",
            "weir.network=front",
            "weir.services.web.publish=8080:80, 443",
            "weir.services.web.health.port=80",
            "weir.services.web.health.http=/",
            "weir.services.admin.listen=127.0.0.1:9000",
            "weir.services.admin.port=9000",
            "weir.services.a.b.listen=auto",
            "weir.services.none.weight=0",
        ]))
        .unwrap();
        let told = read.services.iter().map(|terms| {
            let name = terms.name.as_ref().unwrap();
            format!("{name} {} {:?}", wanted(terms), terms.port)
        });
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                "a.b auto None",
                "admin at 127.0.0.1:9000/tcp Some(9000)",
                "none not said None",
                "web ports 80 443 None",
            ]
        );
        assert_eq!(read.services[3].health.as_ref().unwrap().port, Some(80));
        assert_eq!(read.network.as_deref(), Some("front"));
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
        (
            &["weir.scale.min=2"],
            &["label weir.scale.min: these replicas have no `max` (such as `{ min: 2, max: 8 }`)"],
        ),
        (
            &["weir.scale.max=2", "weir.scale.min=3", "weir.scale.target=0%"],
            &[
                "label weir.scale.max: at most 2 replicas, but at least 3",
                "label weir.scale.target: `0%` is not a part from 1% to 100% (a whole number with `%`, such as `70%`)",
            ],
        ),
        (
            &["weir.scale.max=2", "weir.policy=maglev"],
            &[
                "label weir.scale.max: these replicas need a `capacity`: `maglev` measures none (flows a second that a replica can take, or `policy: adaptive`)",
            ],
        ),
        (
            &["weir.scale.max=2", "weir.scale.executor=command"],
            &["label weir.scale.executor: no programs are run for labels (`advise` or `docker`)"],
        ),
        (
            &["weir.scale.max=2", "weir.scale.template=x"],
            &[
                "label weir.scale.template: `template` means nothing with `executor: advise` (`executor: docker`)",
            ],
        ),
        (
            &["weir.services.a.scale.max=2", "weir.services.b.scale.max=2"],
            &[
                "label weir.services.b.scale.max: two services say how many containers of its kind there shall be (`scale` of one of them is enough)",
            ],
        ),
        (
            &["weir.place.cpu=much", "weir.place.select=disk", "weir.place.spread=0"],
            &[
                "label weir.place.cpu: \"much\" is not a quantity: write cores such as 500m or 2",
                "label weir.place.select: `disk` has no value (such as `disk=fast`)",
                "label weir.place.spread: `0` is not a whole number from 1 to 1000",
            ],
        ),
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

    /// What several services, and published ports, add to them.
    const MORE: &[(&[&str], &[&str])] = &[
        (
            &["weir.services.web.prot=80"],
            &[
                "label weir.services.web.prot: there is no such label (did you mean `weir.services.web.port`?)",
            ],
        ),
        (
            &["weir.services=web,admin"],
            &[
                "label weir.services: there is no such label (each service by its name: `weir.services.NAME.listen`)",
            ],
        ),
        (
            &["weir.services.Web.port=80"],
            &[
                "label weir.services.Web.port: `Web` is not a name for a service (1 to 63 of `a-z 0-9 - _ .`, beginning with a letter or digit)",
            ],
        ),
        (
            &["weir.services.web.port=80", "weir.listen=198.18.0.1:80", "weir.service=web"],
            &[
                "label weir.listen: it does not say of which service (`weir.services.NAME.listen` does)",
                "label weir.service: it does not say of which service (`weir.services.NAME` does)",
            ],
        ),
        (
            &["weir.services.web.network=front"],
            &[
                "label weir.services.web.network: there is no such label (after `weir.services.web.` comes one of `listen`, `publish`, `port`, `weight`, `policy`, `affinity`, `sources`, `health.tcp`, `health.http`, `health.interval`, `health.timeout`, `health.rise`, `health.fall`, `health.port`, `health.all-down`, `report.agent`, `report.http`, `report.port`, `report.interval`, `scale.min`, `scale.max`, `scale.target`, `scale.tolerance`, `scale.algorithm`, `scale.forecast`, `scale.capacity`, `scale.bucket`, `scale.window`, `scale.start-time`, `scale.warm-up`, `scale.down-window`, `scale.cooldown`, `scale.executor`, `scale.template`, `scale.dry-run`)",
            ],
        ),
        (
            &["weir.publish=8080:80, 8080:81"],
            &["label weir.publish: `8080:81` publishes a port that `8080:80` has"],
        ),
        (
            &["weir.publish=8080:80,127.0.0.1:8081:80,[fd00::1]:8080:80,0.0.0.0:8080:80/udp"],
            &["label weir.publish: `[fd00::1]:8080:80` publishes a port that `8080:80` has"],
        ),
        (
            &["weir.publish=8080:80,nginx"],
            &["label weir.publish: `nginx` is not a port; ports run from 1 to 65535"],
        ),
        (
            &["weir.publish=80", "weir.listen=auto", "weir.port=80"],
            &[
                "label weir.publish: this label and `listen` both say where clients dial (remove one of them)",
                "label weir.publish: this label and `port` both say where the container serves (remove one of them)",
            ],
        ),
        (
            &["weir.listen=0.0.0.0:80, 198.18.0.1:70-90"],
            &["label weir.listen: `198.18.0.1:70-90/tcp` overlaps `0.0.0.0:80/tcp`"],
        ),
        (
            &["weir.listen=auto, 198.18.0.1:80"],
            &[
                "label weir.listen: `auto` is not an IP address (names are not resolved; write the address)",
            ],
        ),
        (
            &["weir.affinity=true"],
            &[
                "label weir.affinity: `true` is not a duration (write whole numbers with `d`, `h`, `m`, `s` or `ms`, such as `1m30s`)",
            ],
        ),
    ];

    #[test]
    fn every_mistake_names_its_label() {
        for (words, expected) in MISTAKES.iter().chain(MORE) {
            assert_eq!(read(&labels(words)).unwrap_err(), *expected, "{words:?}");
        }
    }
}
