//! Containers and a configuration, and what becomes of them: a row is a description, the services
//! of the file, the containers, and a line for each container and each service.

mod hosts;
mod ports;
mod rows;

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    Addresses, Binding, Discovered, DockerHealth, Host, Inspected, Leases, NetworkMode, Open,
    Refusal, State, Verdict, services_of,
};
use crate::{
    config::{self, Loaded},
    model::{Config, Docker, Home, HostPorts, Listen, PortRange, Protocol, Publish, Reach},
};

/// Description, services of the file, containers, expectation.
type Row<'a> = (&'a str, &'a str, &'a [&'a str], &'a [&'a str]);

#[test]
fn every_container_gets_its_verdict() {
    let failed: Vec<String> = rows::ROWS
        .iter()
        .chain(ports::ROWS)
        .chain(hosts::ROWS)
        .map(|(description, file, containers, expected)| {
            (description, told(&discover(file, containers)), expected)
        })
        .filter(|(_, found, expected)| found != *expected)
        .map(|(description, found, expected)| {
            format!("{description}\n  found    {found:#?}\n  expected {expected:#?}")
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn the_order_of_the_list_decides_nothing() {
    for (description, file, containers, _) in
        rows::ROWS.iter().chain(ports::ROWS).chain(hosts::ROWS)
    {
        let Loaded { config, docker } = loaded(file);
        let mut containers: Vec<Inspected> = made(containers);
        let forth = on_host(&containers, &config, &docker);
        containers.reverse();
        assert_eq!(on_host(&containers, &config, &docker), forth, "{description}");
    }
}

#[test]
fn a_start_makes_another_backend_of_a_container() {
    let container =
        "a net=bridge:198.18.128.2 weir.enable=true weir.listen=198.18.0.1:80 expose=80";
    let first = discover("", &[container]);
    let again = discover("", &[&format!("{container} started=later")]);
    let incarnation = |found: &Discovered| {
        found.backends.values().map(|backend| backend.incarnation.clone()).collect::<Vec<_>>()
    };
    assert_eq!(first.services, again.services);
    assert_ne!(incarnation(&first), incarnation(&again));
}

#[test]
fn the_dataplane_has_room_for_so_many() {
    let row = |n: u8| {
        format!(
            "c{n} net=bridge:198.18.128.{n} weir.enable=true weir.listen=198.18.0.{n}:80 expose=80"
        )
    };
    let containers: Vec<String> = (1..=3).map(row).collect();
    let containers: Vec<&str> = containers.iter().map(String::as_str).collect();
    for (limits, what) in [("services: 2", "services"), ("backends: 2", "backends")] {
        let text = format!("services: []\nlimits: {{ {limits} }}\n");
        let Loaded { config, docker } = config::parse("weir.yaml", &text).unwrap();
        let found = on_host(&made(&containers), &config, &docker);
        assert_eq!((found.services.len(), found.backends.len()), (2, 2), "{limits}");
        let refused = Verdict::Refused(vec![Refusal::NoRoom {
            what: if what == "services" { "services" } else { "backends" },
            limit: 2,
        }]);
        assert_eq!(found.containers[2].verdict, refused, "{limits}");
    }
}

/// A host of two addresses, on which somebody listens on port 22.
fn on_host(containers: &[Inspected], config: &Config, docker: &Docker) -> Discovered {
    on_host_with(&Leases::default(), containers, config, docker)
}

fn on_host_with(
    leases: &Leases,
    containers: &[Inspected],
    config: &Config,
    docker: &Docker,
) -> Discovered {
    let addresses = ["198.18.0.1", "fd00:18::1"].map(|text| text.parse().unwrap());
    let hold = |listen: Listen| !listen.ports.contains(22);
    let host = Host { addresses: &addresses, leases, hold: &hold };
    services_of(containers, config, docker, &host)
}

#[test]
fn a_host_without_an_address_has_no_containers_of_its_own() {
    let Loaded { config, docker } = loaded("");
    let containers = made(&["a mode=host weir.enable=true weir.listen=198.18.1.1:80 weir.port=81"]);
    let (leases, hold) = (Leases::default(), |_| true);
    for (addresses, expected) in [
        (&[][..], "a: refused, network mode host, and no uplink has an address to reach it at"),
        (&["fd00:18::1"], "a: refused, it has no IPv4 address, and service a listens on no other"),
        (&["fd00:18::1", "198.18.0.1"], "a: published"),
    ] {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let host = Host { addresses: &addresses, leases: &leases, hold: &hold };
        let found = services_of(&containers, &config, &docker, &host);
        assert_eq!(told(&found)[0], expected);
    }
}

#[test]
fn ports_are_held_for_services_that_listen_and_for_no_others() {
    let found = discover(
        "",
        &[
            "a net=n:198.18.144.2 expose=80 weir.enable=true weir.listen=198.18.0.1:8080",
            "b net=n:198.18.144.3 weir.enable=true weir.publish=8080:80",
            "c net=n:198.18.144.4 -p=8081:80 weir.enable=true",
            "d net=n:198.18.144.5 weir.enable=true weir.publish=198.18.0.2:8080:80,40001:81/udp",
            "e net=n:198.18.144.6 -P expose=80 weir.enable=true",
        ],
    );
    let held: Vec<_> = found.held.iter().map(ToString::to_string).collect();
    let [one, two, automatic, udp] = &held[..] else { panic!("{held:?}") };
    assert_eq!([one, two, udp], ["198.18.0.1:8080/tcp", "198.18.0.2:8080/tcp", "[::]:40001/udp"]);
    assert!(automatic.starts_with("[::]:4000"), "{automatic}");
}

#[test]
fn an_automatic_port_is_the_one_that_is_remembered() {
    let Loaded { config, docker } = loaded("");
    let containers = made(&[
        "a net=n:198.18.144.2 -P expose=80 weir.enable=true",
        "b net=n:198.18.144.3 -P expose=80 weir.enable=true",
    ]);
    for (text, expected) in [
        (r#"{"ports":{"a 80/tcp":40002,"b 80/tcp":40000}}"#, [40002, 40000]),
        (r#"{"ports":{"a 80/tcp":40001,"b 80/tcp":40002}}"#, [40001, 40002]),
    ] {
        let leases = Leases::from_text(text).unwrap();
        let found = on_host_with(&leases, &containers, &config, &docker);
        let ports: Vec<_> =
            found.services.iter().map(|service| service.listens[0].ports.first()).collect();
        assert_eq!((ports, &found.leases), (expected.to_vec(), &leases), "{text}");
    }
}

fn loaded(services: &str) -> Loaded {
    let text = if services.is_empty() {
        "services: []\ndocker: { ports: 40000-40002 }\n".to_owned()
    } else {
        format!("services:\n{services}docker: {{ ports: 40000-40002 }}\n")
    };
    config::parse("weir.yaml", &text).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn discover(services: &str, containers: &[&str]) -> Discovered {
    let Loaded { config, docker } = loaded(services);
    on_host(&made(containers), &config, &docker)
}

/// Containers in the order in which they were made.
fn made(lines: &[&str]) -> Vec<Inspected> {
    lines
        .iter()
        .zip(1..)
        .map(|(line, at)| Inspected { created: format!("{at:04}"), ..container(line) })
        .collect()
}

/// `name net=NETWORK:ADDRESS[,ADDRESS] mode=MODE state=STATE health=HEALTH expose=PORT[/udp]
/// netns=INODE stopping started=TIME -p=[ADDRESS+]HOST:PORT[/udp] -P open=ADDRESS+HOST:PORT[/udp]
/// cpu=MILLICORES memory=BYTES label=value…`, where `_` in a value is a space, and at the end
/// `home=HOST[@ADDRESS]`.
fn container(line: &str) -> Inspected {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap().to_owned();
    let mut container = Inspected {
        id: format!("{name:0<12}"),
        name,
        started: "once".to_owned(),
        ..Inspected::default()
    };
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "net" => {
                let (network, list) = value.split_once(':').unwrap();
                container.networks.insert(network.to_owned(), addresses(list));
            }
            "mode" => container.mode = NetworkMode::of(value),
            "netns" => container.netns = value.parse().ok(),
            "stopping" => container.stopping = true,
            "started" => container.started = value.to_owned(),
            "state" if value == "paused" => container.state = State::Paused,
            "state" => container.state = State::Still(value.to_owned()),
            "health" => {
                container.health = Some(match value {
                    "starting" => DockerHealth::Starting,
                    "healthy" => DockerHealth::Healthy,
                    _ => DockerHealth::Unhealthy,
                });
            }
            "expose" => {
                let port = value.strip_suffix("/udp");
                let protocol = if port.is_some() { Protocol::Udp } else { Protocol::Tcp };
                container.exposed.push((port.unwrap_or(value).parse().unwrap(), protocol));
            }
            "-P" => container.publish_all = true,
            "open" => container.open.push(open(value)),
            "cpu" => container.limits[0] = value.parse().unwrap(),
            "memory" => container.limits[1] = value.parse().unwrap(),
            "home" => container.settle(Some(home(value))),
            "-p" => container.bindings.push(binding(value)),
            label => {
                container.labels.insert(label.to_owned(), value.replace('_', " "));
            }
        }
    }
    container
}

/// A port of the host that leads to the container.
fn open(text: &str) -> Open {
    let (address, rest) = text.split_once('+').unwrap();
    let (host, port) = rest.split_once(':').unwrap();
    let (port, protocol) = match port.strip_suffix("/udp") {
        Some(port) => (port, Protocol::Udp),
        None => (port, Protocol::Tcp),
    };
    let (address, host, port) = (address.parse().unwrap(), host.parse(), port.parse());
    Open { port: port.unwrap(), protocol, address, host: host.unwrap() }
}

/// Another host, at an address or routed to.
fn home(text: &str) -> Home {
    let (name, reach) = match text.split_once('@') {
        Some((name, address)) => (name, Reach::Published(address.parse().unwrap())),
        None => (text, Reach::Routed),
    };
    Home { name: name.to_owned(), reach }
}

/// What the engine makes of `-p`: it publishes the port itself.
fn binding(text: &str) -> Binding {
    let (address, rest) = text.split_once('+').unwrap_or(("", text));
    let (host, port) = rest.split_once(':').unwrap();
    let (port, protocol) = match port.strip_suffix("/udp") {
        Some(port) => (port, Protocol::Udp),
        None => (port, Protocol::Tcp),
    };
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        PortRange::new(first.parse().unwrap(), last.parse().unwrap()).unwrap()
    };
    let auto = host.is_empty();
    let host = if auto { HostPorts::Auto } else { HostPorts::Fixed(range(host)) };
    let (address, container) = (address.parse().ok(), range(port));
    Binding { publish: Publish { address, host, container, protocol }, by_engine: !auto }
}

fn addresses(list: &str) -> Addresses {
    let parts = || list.split(',');
    Addresses {
        v4: parts().find_map(|text| text.parse().ok()),
        v6: parts().find_map(|text| text.parse().ok()),
        kind: super::NetworkKind::default(),
    }
}

/// A line for each container, then one for each service.
fn told(found: &Discovered) -> Vec<String> {
    let containers = found.containers.iter().map(|finding| {
        let verdict = match &finding.verdict {
            Verdict::Ignored(why) => format!("ignored, {why}"),
            Verdict::Still(word) => word.clone(),
            Verdict::Refused(refusals) => format!("refused, {}", Refusal::sentence(refusals)),
            Verdict::Published { held: None, .. } => "published".to_owned(),
            Verdict::Published { held: Some(held), .. } => format!("held, {held}"),
        };
        format!("{}: {verdict}", finding.name)
    });
    let services = found.services.iter().map(|service| {
        let listens: Vec<_> = service.listens.iter().map(ToString::to_string).collect();
        let backends: BTreeMap<String, u16> =
            service.backends.iter().map(|b| (b.endpoint.to_string(), b.weight.get())).collect();
        let backends: Vec<_> =
            backends.iter().map(|(end, weight)| format!("{end}*{weight}")).collect();
        let health = if service.health.is_some() { " checked" } else { "" };
        let sources = service.sources.iter().map(|network| format!(" from {network}"));
        let sources: String = sources.collect();
        let (name, policy) = (&service.name, service.policy.name());
        format!(
            "{name} at {} {policy}{health}{sources} -> {}",
            listens.join(" "),
            backends.join(" ")
        )
    });
    containers.chain(services).collect()
}
