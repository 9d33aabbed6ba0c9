//! The ports that a container was created with, from the engine's words.

use std::net::IpAddr;

use bollard::models::{PortBinding, PortMap};

use super::{inspected::Binding, read};
use crate::model::{HostPorts, PortRange, Protocol, Publish};

/// A run of ports this long that keep their numbers was a range to whoever named it: the engine
/// tells each port of it by itself.
const RANGE_MIN: u16 = 16;

/// What was asked for, and what the engine has made of it.
pub(super) fn bindings(asked: &PortMap, published: &PortMap) -> Vec<Binding> {
    let mut found = Vec::new();
    for (name, bindings) in asked {
        let Some((port, protocol)) = read::port(name) else { continue };
        let Some(container) = PortRange::new(port, port) else { continue };
        let made = published.get(name).and_then(Option::as_deref).unwrap_or_default();
        for binding in bindings.iter().flatten() {
            let Some((host, by_engine)) = host_ports(binding, made) else { continue };
            let address = address(binding);
            found.push(Binding {
                publish: Publish { address, host, container, protocol },
                by_engine,
            });
        }
    }
    // The engine's order is another one each time.
    found.sort_by_key(order);
    found.dedup();
    join(&found)
}

type Order = (Protocol, Option<IpAddr>, HostPorts, u16);

fn order(Binding { publish, .. }: &Binding) -> Order {
    (publish.protocol, publish.address, publish.host, publish.container.first())
}

/// No address, and one that does not parse, stand for all.
fn address(binding: &PortBinding) -> Option<IpAddr> {
    binding.host_ip.as_deref()?.parse().ok()
}

/// The ports of the host that a binding means, and whether the engine has them. Of a range the
/// engine has taken one, which is then the one that is meant.
fn host_ports(binding: &PortBinding, made: &[PortBinding]) -> Option<(HostPorts, bool)> {
    let text = binding.host_port.as_deref().unwrap_or_default();
    if matches!(text, "" | "0") {
        return Some((HostPorts::Auto, false));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = PortRange::new(first.parse().ok()?, last.parse().ok()?)?;
    let numbers = made.iter().filter_map(|made| made.host_port.as_deref()?.parse().ok());
    let taken = numbers.filter(|port| range.contains(*port)).min();
    match taken.and_then(|port| PortRange::new(port, port)) {
        Some(port) => Some((HostPorts::Fixed(port), true)),
        None if range.is_single() => Some((HostPorts::Fixed(range), false)),
        None => Some((HostPorts::Within(range), false)),
    }
}

/// Makes ranges of long runs of adjacent ports.
fn join(sorted: &[Binding]) -> Vec<Binding> {
    let mut joined: Vec<Binding> = Vec::new();
    let mut rest = sorted;
    while let [first, ..] = rest {
        let run = rest.iter().zip(0..).take_while(|(next, at)| follows(first, next, *at)).count();
        let (run, others) = rest.split_at(run.max(1));
        rest = others;
        let width = u16::try_from(run.len()).unwrap_or(u16::MAX);
        let begin = first.publish.container.first();
        let range = PortRange::new(begin, begin.saturating_add(width - 1));
        match range.filter(|_| width >= RANGE_MIN) {
            Some(range) => joined.push(Binding {
                publish: Publish {
                    host: HostPorts::Fixed(range),
                    container: range,
                    ..first.publish
                },
                by_engine: run.iter().all(|binding| binding.by_engine),
            }),
            None => joined.extend(run),
        }
    }
    joined
}

/// Whether a binding is the one so many ports after the first, and leads to the same number.
fn follows(first: &Binding, next: &Binding, after: u16) -> bool {
    let Some(port) = first.publish.container.first().checked_add(after) else { return false };
    let Some(single) = PortRange::new(port, port) else { return false };
    let expected = Publish { host: HostPorts::Fixed(single), container: single, ..first.publish };
    next.publish == expected
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&str, &str, &str)]) -> PortMap {
        let mut map = PortMap::new();
        for (port, address, host) in lines {
            let binding = PortBinding {
                host_ip: Some((*address).to_owned()),
                host_port: Some((*host).to_owned()),
            };
            map.entry((*port).to_owned()).or_default().get_or_insert_default().push(binding);
        }
        map
    }

    fn told(asked: &PortMap, made: &PortMap) -> Vec<String> {
        let line = |Binding { publish, by_engine }: &Binding| {
            let Publish { address, host, container, protocol } = publish;
            let address = address.map_or_else(|| "any".to_owned(), |one| one.to_string());
            let whose = if *by_engine { " by the engine" } else { "" };
            format!("{address} {host:?} to {container}/{protocol}{whose}")
                .replace("PortRange { first: ", "")
                .replace(", last: ", "-")
                .replace(" }", "")
        };
        bindings(asked, made).iter().map(line).collect()
    }

    #[test]
    fn what_was_asked_for_is_read() {
        for (asked, made, expected) in [
            (
                ("80/tcp", "", "8080"),
                ("80/tcp", "0.0.0.0", "8080"),
                "any Fixed(8080-8080) to 80/tcp by the engine",
            ),
            (
                ("80/tcp", "", "8080"),
                ("81/tcp", "0.0.0.0", "8080"),
                "any Fixed(8080-8080) to 80/tcp",
            ),
            (
                ("53/udp", "127.0.0.1", "53"),
                ("53/udp", "127.0.0.1", "53"),
                "127.0.0.1 Fixed(53-53) to 53/udp by the engine",
            ),
            (
                ("80/tcp", "", "8000-8010"),
                ("80/tcp", "0.0.0.0", "8003"),
                "any Fixed(8003-8003) to 80/tcp by the engine",
            ),
            (
                ("80/tcp", "::", "8000-8010"),
                ("80/tcp", "0.0.0.0", "9003"),
                ":: Within(8000-8010) to 80/tcp",
            ),
            (("80/tcp", "", ""), ("80/tcp", "0.0.0.0", "32768"), "any Auto to 80/tcp"),
            (("80/tcp", "", "0"), ("80/tcp", "0.0.0.0", "32768"), "any Auto to 80/tcp"),
        ] {
            assert_eq!(told(&map(&[asked]), &map(&[made])), [expected]);
        }
    }

    #[test]
    fn what_is_no_port_of_ours_is_left_out() {
        for asked in [
            ("80/sctp", "", "80"),
            ("x/tcp", "", "80"),
            ("80/tcp", "", "http"),
            ("80/tcp", "", "90-80"),
            ("0/tcp", "", "80"),
        ] {
            assert_eq!(told(&map(&[asked]), &PortMap::new()), [""; 0], "{asked:?}");
        }
        assert_eq!(bindings(&PortMap::from([("80/tcp".to_owned(), None)]), &PortMap::new()), []);
    }

    #[test]
    fn long_runs_are_ranges_and_short_ones_are_not() {
        let run = |count: u16, shift: u16| {
            let ports: Vec<_> = (7000..7000 + count)
                .map(|port| (format!("{port}/udp"), (port + shift).to_string()))
                .collect();
            let lines: Vec<_> = ports.iter().map(|(port, host)| (&**port, "", &**host)).collect();
            map(&lines)
        };
        assert_eq!(told(&run(100, 0), &PortMap::new()), ["any Fixed(7000-7099) to 7000-7099/udp"]);
        assert_eq!(
            told(&run(16, 0), &run(16, 0)),
            ["any Fixed(7000-7015) to 7000-7015/udp by the engine"]
        );
        assert_eq!(told(&run(15, 0), &PortMap::new()).len(), 15);
        assert_eq!(told(&run(100, 1), &PortMap::new()).len(), 100);
    }
}
