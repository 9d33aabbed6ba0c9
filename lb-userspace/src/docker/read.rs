//! From what the engine says to what matters here. No I/O.

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, EndpointSettings,
    EventMessage, EventMessageTypeEnum, HealthStatusEnum, HostConfig, NetworkInspect, PortMap,
};
use nix::sys::signal::Signal;

use super::{
    bindings,
    inspected::{Addresses, DockerHealth, Inspected, NetworkKind, NetworkMode, Open, State},
};
use crate::{model::Protocol, placement::Amounts};

/// The first of the real-time signals, as C libraries count them.
const SIGRTMIN: i32 = 34;
/// The engine's period of a quota where none is named, in microseconds.
const CPU_PERIOD: u64 = 100_000;

/// A container, and its process; `None` if it has no id.
pub(super) fn inspected(raw: ContainerInspectResponse) -> Option<(Inspected, Option<i64>)> {
    let id = raw.id.filter(|id| !id.is_empty())?;
    let config = raw.config.unwrap_or_default();
    let state = raw.state.unwrap_or_default();
    let host = raw.host_config.unwrap_or_default();
    let limits = limits(&host);
    let mode = host.network_mode.unwrap_or_default();
    let settings = raw.network_settings.unwrap_or_default();
    let networks = settings.networks.unwrap_or_default();
    let published = settings.ports.unwrap_or_default();
    let exposed = config.exposed_ports.unwrap_or_default();
    let signal = config.stop_signal.as_deref().and_then(signal_number);
    let container = Inspected {
        id,
        name: raw.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        created: raw.created.unwrap_or_default(),
        started: state.started_at.clone().unwrap_or_default(),
        stopping: state.status == Some(ContainerStateStatusEnum::STOPPING),
        health: health(&state),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        exposed: exposed.iter().filter_map(|text| port(text)).collect(),
        bindings: bindings::bindings(&host.port_bindings.unwrap_or_default(), &published),
        publish_all: host.publish_all_ports.unwrap_or_default(),
        open: open(&published),
        limits,
        home: None,
        mode: NetworkMode::of(&mode),
        networks: networks.iter().map(|(name, end)| (name.clone(), addresses(end))).collect(),
        netns: None,
        pid: None,
        stop_signal: signal.unwrap_or(Signal::SIGTERM as i32),
        state: self::state(&state),
    };
    let runs = !matches!(container.state, State::Still(_));
    Some((container, state.pid.filter(|pid| runs && *pid > 0)))
}

/// The processor and the memory that it may have; 0: there is no limit.
fn limits(host: &HostConfig) -> Amounts {
    let amount = |number: Option<i64>| number.and_then(|it| u64::try_from(it).ok()).unwrap_or(0);
    let quota = || {
        let (quota, period) = (amount(host.cpu_quota), amount(host.cpu_period));
        quota.saturating_mul(1000).div_ceil(if period == 0 { CPU_PERIOD } else { period })
    };
    let cpu = match amount(host.nano_cpus) {
        0 => quota(),
        nano => nano.div_ceil(1_000_000),
    };
    [cpu, amount(host.memory), 0, 0]
}

/// The ports that the engine publishes, in an order of their own.
fn open(published: &PortMap) -> Vec<Open> {
    let mut found: Vec<Open> = Vec::new();
    for (name, bindings) in published {
        let Some((port, protocol)) = port(name) else { continue };
        for binding in bindings.iter().flatten() {
            let address = binding.host_ip.as_deref().and_then(|text| text.parse().ok());
            let host = binding.host_port.as_deref().and_then(|text| text.parse().ok());
            let open = address.zip(host);
            found.extend(open.map(|(address, host)| Open { port, protocol, address, host }));
        }
    }
    found.sort_unstable();
    found
}

fn state(state: &ContainerState) -> State {
    let status = state.status.unwrap_or(ContainerStateStatusEnum::EMPTY);
    match status {
        ContainerStateStatusEnum::PAUSED => State::Paused,
        ContainerStateStatusEnum::RUNNING | ContainerStateStatusEnum::STOPPING => State::Running,
        ContainerStateStatusEnum::EXITED => {
            State::Still(format!("exited ({})", state.exit_code.unwrap_or_default()))
        }
        ContainerStateStatusEnum::EMPTY
        | ContainerStateStatusEnum::CREATED
        | ContainerStateStatusEnum::RESTARTING
        | ContainerStateStatusEnum::REMOVING
        | ContainerStateStatusEnum::DEAD => State::Still(status.to_string()),
    }
}

fn health(state: &ContainerState) -> Option<DockerHealth> {
    match state.health.as_ref()?.status? {
        HealthStatusEnum::EMPTY | HealthStatusEnum::NONE => None,
        HealthStatusEnum::STARTING => Some(DockerHealth::Starting),
        HealthStatusEnum::HEALTHY => Some(DockerHealth::Healthy),
        HealthStatusEnum::UNHEALTHY => Some(DockerHealth::Unhealthy),
    }
}

fn addresses(endpoint: &EndpointSettings) -> Addresses {
    // An address that there is none of is empty text.
    let parse = |text: &Option<String>| text.as_deref().unwrap_or_default().to_owned();
    Addresses {
        v4: parse(&endpoint.ip_address).parse().ok(),
        v6: parse(&endpoint.global_ipv6_address).parse().ok(),
        kind: NetworkKind::default(),
    }
}

/// The networks of a container: their names and ids.
pub(super) fn networks(raw: &ContainerInspectResponse) -> Vec<(String, String)> {
    let networks = raw.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let pair = |(name, end): (&String, &EndpointSettings)| {
        let id = end.network_id.clone().filter(|id| !id.is_empty())?;
        Some((name.clone(), id))
    };
    networks.into_iter().flatten().filter_map(pair).collect()
}

/// The addresses of a container in a network that lists its members.
pub(super) fn member(network: &NetworkInspect, container: &str) -> Addresses {
    let members = network.containers.as_ref();
    let Some(end) = members.and_then(|members| members.get(container)) else {
        return Addresses::default();
    };
    // With the length of the network's prefix.
    let address = |text: &Option<String>| {
        text.as_deref().unwrap_or_default().split('/').next().unwrap_or_default().to_owned()
    };
    Addresses {
        v4: address(&end.ipv4_address).parse().ok(),
        v6: address(&end.ipv6_address).parse().ok(),
        kind: NetworkKind::Overlay,
    }
}

/// `80/tcp`; ports of other protocols are none of ours.
pub(super) fn port(text: &str) -> Option<(u16, Protocol)> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    port.parse().ok().filter(|port| *port != 0).map(|port| (port, protocol))
}

/// `15`, `SIGTERM`, `TERM` or `SIGRTMIN+3`.
fn signal_number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let name = text.strip_prefix("SIG").unwrap_or(text);
    if let Some(offset) = name.strip_prefix("RTMIN") {
        let offset: i32 = if offset.is_empty() { 0 } else { offset.parse().ok()? };
        return Some(SIGRTMIN + offset);
    }
    format!("SIG{name}").parse::<Signal>().ok().map(|signal| signal as i32)
}

/// What an event is a hint of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// Nothing that matters.
    Nothing,
    /// A container may look different.
    Changed(String),
    /// A container got a signal.
    Signal(String, i32),
    /// A container's processes are gone. Its address may be another one's in a moment.
    Died(String),
}

/// Reads an event.
pub(super) fn hint(event: &EventMessage) -> Hint {
    let Some(actor) = &event.actor else { return Hint::Nothing };
    let attribute = |name: &str| actor.attributes.as_ref()?.get(name).cloned();
    let action = event.action.as_deref().unwrap_or_default();
    if event.typ == Some(EventMessageTypeEnum::NETWORK) {
        let container = attribute("container").filter(|_| action.ends_with("connect"));
        return container.map_or(Hint::Nothing, Hint::Changed);
    }
    let Some(id) = actor.id.clone() else { return Hint::Nothing };
    match (event.typ, action) {
        (Some(EventMessageTypeEnum::CONTAINER), "kill") => {
            let signal = attribute("signal").and_then(|text| signal_number(&text));
            signal.map_or(Hint::Nothing, |signal| Hint::Signal(id, signal))
        }
        (Some(EventMessageTypeEnum::CONTAINER), "die") => Hint::Died(id),
        (
            Some(EventMessageTypeEnum::CONTAINER),
            "create" | "start" | "restart" | "stop" | "pause" | "unpause" | "rename" | "update"
            | "destroy" | "oom",
        ) => Hint::Changed(id),
        (Some(EventMessageTypeEnum::CONTAINER), other) if other.starts_with("health_status") => {
            Hint::Changed(id)
        }
        (Some(_) | None, _) => Hint::Nothing,
    }
}

/// Signals that end a program by habit, whatever signal it is stopped with.
const ENDING: [Signal; 4] = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGKILL, Signal::SIGTERM];

/// Whether a signal is the beginning of a container's end; programs take others as orders, such as
/// to read their configuration again.
pub(super) fn ends(container: &Inspected, signal: i32) -> bool {
    signal == container.stop_signal || ENDING.iter().any(|ending| *ending as i32 == signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an engine of API 1.41 says of a container, shortened.
    const INSPECT: &str = r#"{
        "Id": "4fa6e0f0c678", "Created": "2026-11-23T12:00:00.5Z", "Name": "/web-1",
        "State": { "Status": "STATUS", "Running": true, "Paused": false, "Pid": 4242,
            "ExitCode": 137, "StartedAt": "2026-11-23T12:00:01.25Z",
            "Health": { "Status": "HEALTH", "FailingStreak": 0, "Log": [] } },
        "HostConfig": { "NetworkMode": "front", "PublishAllPorts": true,
            "PortBindings": { "80/tcp": [ { "HostIp": "", "HostPort": "8080" } ] } },
        "Config": { "ExposedPorts": { "80/tcp": {}, "53/udp": {}, "9/sctp": {} },
            "Labels": { "weir.enable": "true" }, "StopSignal": "SIGWINCH" },
        "NetworkSettings": { "Networks": {
            "front": { "IPAddress": "198.18.144.2", "GlobalIPv6Address": "" },
            "back": { "IPAddress": "", "GlobalIPv6Address": "fd00:18:10::2" } } }
    }"#;

    fn read(status: &str, health: &str) -> (Inspected, Option<i64>) {
        let text = INSPECT.replace("STATUS", status).replace("HEALTH", health);
        inspected(serde_json::from_str(&text).unwrap()).unwrap()
    }

    #[test]
    fn a_container_is_read() {
        let (container, pid) = read("running", "healthy");
        assert_eq!((container.name.as_str(), pid), ("web-1", Some(4242)));
        assert_eq!(container.started, "2026-11-23T12:00:01.25Z");
        assert_eq!(container.health, Some(DockerHealth::Healthy));
        let mut exposed = container.exposed.clone();
        exposed.sort_unstable();
        assert_eq!(exposed, [(53, Protocol::Udp), (80, Protocol::Tcp)]);
        assert_eq!(container.networks["front"].v4, "198.18.144.2".parse().ok());
        assert_eq!(container.networks["front"].v6, None);
        assert_eq!(container.networks["back"].v6, "fd00:18:10::2".parse().ok());
        assert!(container.publish_all && container.bindings.len() == 1, "{container:?}");
        assert_eq!((container.mode.clone(), container.stop_signal), (NetworkMode::Networks, 28));
    }

    #[test]
    fn the_address_on_the_bridge_is_the_one_of_this_container() {
        let text = r#"{ "Driver": "bridge", "Containers": {
            "c1": { "IPv4Address": "198.18.144.3/24", "IPv6Address": "" },
            "c2": { "IPv4Address": "", "IPv6Address": "fd00:18:10::3/64" },
            "ingress-sbox": { "IPv4Address": "198.18.144.2/24" } } }"#;
        let network: NetworkInspect = serde_json::from_str(text).unwrap();
        let of = |id| member(&network, id);
        assert_eq!((of("c1").v4, of("c1").v6), ("198.18.144.3".parse().ok(), None));
        assert_eq!((of("c2").v4, of("c2").v6), (None, "fd00:18:10::3".parse().ok()));
        assert!(of("c3").is_empty() && member(&NetworkInspect::default(), "c1").is_empty());
    }

    #[test]
    fn states_are_told_apart() {
        for (status, health, state, pid) in [
            ("paused", "none", State::Paused, true),
            ("exited", "starting", State::Still("exited (137)".to_owned()), false),
            ("restarting", "unhealthy", State::Still("restarting".to_owned()), false),
            ("created", "", State::Still("created".to_owned()), false),
            ("dead", "", State::Still("dead".to_owned()), false),
        ] {
            let (container, process) = read(status, health);
            assert_eq!((container.state, process.is_some()), (state, pid), "{status}");
            let checked = !matches!(health, "none" | "");
            assert_eq!(container.health.is_some(), checked, "{health}");
        }
    }

    #[test]
    fn what_has_no_id_is_no_container() {
        assert_eq!(inspected(serde_json::from_str("{}").unwrap()), None);
        assert_eq!(inspected(serde_json::from_str(r#"{ "Id": "" }"#).unwrap()), None);
        let (bare, pid) = inspected(serde_json::from_str(r#"{ "Id": "1" }"#).unwrap()).unwrap();
        assert_eq!((bare.state, bare.stop_signal, pid), (State::Still(String::new()), 15, None));
    }

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [
            ("15", Some(15)),
            ("SIGTERM", Some(15)),
            ("QUIT", Some(3)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMIN", Some(34)),
            ("SIGNONE", None),
            ("", None),
            ("RTMIN+x", None),
        ] {
            assert_eq!(signal_number(text), number, "{text}");
        }
    }

    #[test]
    fn only_what_ends_a_program_ends_it() {
        let (container, _) = read("running", "");
        for (signal, expected) in [
            (15, true),
            (9, true),
            (2, true),
            (3, true),
            (28, true),
            (1, false),
            (10, false),
            (12, false),
        ] {
            assert_eq!(ends(&container, signal), expected, "{signal}");
        }
    }

    #[test]
    fn events_are_hints() {
        let id = || "c1".to_owned();
        for (typ, action, attributes, expected) in [
            ("container", "start", "", Hint::Changed(id())),
            ("container", "health_status: unhealthy", "", Hint::Changed(id())),
            ("container", "die", r#""exitCode":"0""#, Hint::Died(id())),
            ("container", "kill", r#""signal":"15""#, Hint::Signal(id(), 15)),
            ("container", "kill", r#""signal":"HUP""#, Hint::Signal(id(), 1)),
            ("container", "kill", "", Hint::Nothing),
            ("container", "exec_start: sh", "", Hint::Nothing),
            ("container", "attach", "", Hint::Nothing),
            ("network", "connect", r#""container":"c2""#, Hint::Changed("c2".to_owned())),
            ("network", "disconnect", r#""container":"c2""#, Hint::Changed("c2".to_owned())),
            ("network", "create", "", Hint::Nothing),
            ("network", "connect", "", Hint::Nothing),
            ("image", "pull", "", Hint::Nothing),
            ("volume", "die", "", Hint::Nothing),
        ] {
            let text = format!(
                r#"{{"Type":"{typ}","Action":"{action}","Actor":{{"ID":"c1","Attributes":{{{attributes}}}}}}}"#
            );
            let event: EventMessage = serde_json::from_str(&text).unwrap();
            assert_eq!(hint(&event), expected, "{text}");
        }
        assert_eq!(hint(&EventMessage::default()), Hint::Nothing);
    }
}
