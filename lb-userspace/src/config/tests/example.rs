//! The example, value by value.

use std::time::Duration;

use super::{super::ADMIN_HTTP_DEFAULT, EXAMPLE, parse};
use crate::model::{
    Admin, AllDown, Attach, BackendSpec, Config, Endpoint, FlowLimits, Forward, Hairpin,
    HealthCheck, HostClients, Interfaces, Limits, Listen, Ping, Policy, PortRange, Probe, Protocol,
    Service, ServiceName, Timeouts, Tunnel, Unserved, Weight,
};

fn listen(address: &str, first: u16, last: u16, protocol: Protocol) -> Listen {
    let ports = PortRange::new(first, last).unwrap();
    Listen { address: address.parse().unwrap(), ports, protocol }
}

fn backend(address: &str, port: u16, protocol: Protocol, weight: u16) -> BackendSpec {
    let endpoint = Endpoint { address: address.parse().unwrap(), port, protocol };
    BackendSpec { endpoint, weight: Weight::new(weight).unwrap(), cgroup: None }
}

fn web() -> Service {
    Service {
        name: ServiceName::new("web").unwrap(),
        listens: vec![
            listen("198.18.0.1", 80, 80, Protocol::Tcp),
            listen("fd00:18::1", 80, 80, Protocol::Tcp),
        ],
        policy: Policy::ShortestDelay,
        forward: Forward::Nat,
        backends: vec![
            backend("198.18.10.2", 8080, Protocol::Tcp, 2),
            backend("198.18.10.3", 8080, Protocol::Tcp, 1),
            backend("fd00:18:10::2", 8080, Protocol::Tcp, 1),
        ],
        health: Some(HealthCheck {
            probe: Probe::Http { path: "/healthz".to_owned() },
            interval: Duration::from_secs(2),
            timeout: Duration::from_millis(500),
            rise: 2,
            fall: 3,
            port: None,
            all_down: AllDown::Try,
        }),
        report: None,
        affinity: Some(Duration::from_hours(3)),
        sources: vec!["198.18.0.0/15".parse().unwrap(), "fd00::/8".parse().unwrap()],
        scale: None,
        limits: FlowLimits::default(),
    }
}

fn game() -> Service {
    Service {
        name: ServiceName::new("game").unwrap(),
        listens: vec![listen("198.18.0.1", 27000, 27100, Protocol::Udp)],
        policy: Policy::Maglev,
        forward: Forward::Nat,
        backends: vec![
            backend("198.18.10.2", 0, Protocol::Udp, 1),
            backend("198.18.10.3", 0, Protocol::Udp, 1),
        ],
        health: Some(HealthCheck {
            probe: Probe::Tcp,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            rise: 2,
            fall: 3,
            port: Some(27015),
            all_down: AllDown::Try,
        }),
        report: None,
        affinity: None,
        sources: Vec::new(),
        scale: None,
        limits: FlowLimits::default(),
    }
}

#[test]
fn the_example_is_what_it_says() {
    let expected = Config {
        interfaces: Interfaces::Auto,
        attach: Attach::Auto,
        host_clients: HostClients::Auto,
        unserved: Unserved::Reset,
        ping: Ping::Answer,
        services: vec![web(), game()],
        admin: Admin { socket: "/run/weir/weir.sock".into(), http: Some(ADMIN_HTTP_DEFAULT) },
        timeouts: Timeouts::default(),
        limits: Limits::default(),
        hairpin: Hairpin::default(),
        tunnel: Tunnel::default(),
        source_ports: PortRange::SOURCES,
        drain: Duration::from_mins(5),
    };
    assert_eq!(parse("weir.yaml", EXAMPLE).unwrap().config, expected);
}
