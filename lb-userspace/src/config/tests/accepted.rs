//! Texts that are right.

use std::{fmt::Write as _, path::Path, time::Duration};

use super::{
    super::{ADMIN_SOCKET_DEFAULT, DOCKER_SOCKET_DEFAULT},
    EXAMPLE, mistakes, parse,
};
use crate::model::{
    Algorithm, Attach, Config, Docker, DockerHost, Executor, FlowLimits, Forecast, Hairpin,
    Interfaces, LabelRule, Limits, Ping, Policy, PortRange, Probe, ReportBy, Scale, SelfReport,
    ServiceName, Template, Timeouts, Tunnel, Unserved,
};

fn config(text: &str) -> Config {
    parse("weir.yaml", text).unwrap_or_else(|mistakes| panic!("{mistakes}")).config
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = config("services: [{ name: web, listen: [198.18.0.1:80] }]\n");
    assert_eq!(config.interfaces, Interfaces::Auto);
    assert_eq!(config.attach, Attach::Auto);
    assert_eq!(config.unserved, Unserved::Reset);
    assert_eq!(config.ping, Ping::Answer);
    assert_eq!(config.admin.socket.to_str(), Some(ADMIN_SOCKET_DEFAULT));
    assert_eq!(config.admin.http, Some("127.0.0.1:9090".parse().unwrap()));
    assert_eq!(config.timeouts, Timeouts::default());
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.hairpin, Hairpin::default());
    assert_eq!(config.tunnel, Tunnel::default());
    assert_eq!(config.source_ports, PortRange::SOURCES);
    assert_eq!(config.drain, Duration::from_mins(5));
    let [service] = &config.services[..] else { panic!("{} services", config.services.len()) };
    assert_eq!(service.policy, Policy::Adaptive);
    assert_eq!(service.listens[0].to_string(), "198.18.0.1:80/tcp");
    assert!(service.backends.is_empty() && service.sources.is_empty());
    assert!(service.health.is_none() && service.affinity.is_none());
    assert_eq!(service.limits, FlowLimits::default());
}

#[test]
fn limits_are_rates_and_a_time() {
    let rows = [
        ("{ new-flows: 10000/s }", (Some(10_000), None, Duration::from_secs(1))),
        ("{ per-source: 1/s, burst: 30s }", (None, Some(1), Duration::from_secs(30))),
        (
            "{ new-flows: 100000000/s, per-source: 100/s, burst: 10ms }",
            (Some(100_000_000), Some(100), Duration::from_millis(10)),
        ),
    ];
    for (text, (new_flows, per_source, burst)) in rows {
        let text = format!("services: [{{ name: w, listen: [198.18.0.1:80], limits: {text} }}]");
        let limits = config(&text).services[0].limits;
        assert_eq!(limits, FlowLimits { new_flows, per_source, burst }, "{text}");
    }
}

#[test]
fn the_socket_is_where_the_command_line_looks() {
    assert_eq!(ADMIN_SOCKET_DEFAULT, crate::cli::SOCKET_DEFAULT);
}

#[test]
fn everything_can_be_said() {
    let config = config(
        "services: []
interfaces: [eth0, lan.7]
attach: xdp-generic
unserved: drop
ping: pass
admin: { socket: /tmp/w.sock, http: false }
timeouts:
  tcp-new: 1s
  tcp-established: 1d2h3m4s5ms
  tcp-half-closed: 1m30s
  tcp-closed: 500ms
  udp-new: 7d
  udp-established: 1h
limits: { conns: 1, embryos: 2, services: 3, backends: 4, pages: 16777216 }
hairpin: { v4: 198.18.255.1, v6: 'fd00::ff' }
tunnel: { v4: 198.19.0.0/16, v6: 'fd00:99::/96', gue-port: 6081 }
source-ports: 20000-20001
drain: 1ms
",
    );
    assert_eq!(config.interfaces, Interfaces::Named(vec!["eth0".into(), "lan.7".into()]));
    assert_eq!(config.attach, Attach::XdpGeneric);
    assert_eq!(config.unserved, Unserved::Drop);
    assert_eq!(config.ping, Ping::Pass);
    assert_eq!(config.admin.http, None);
    let timeouts = Timeouts {
        tcp_new: Duration::from_secs(1),
        tcp_established: Duration::from_millis(93_784_005),
        tcp_half_closed: Duration::from_secs(90),
        tcp_closed: Duration::from_millis(500),
        udp_new: Duration::from_hours(168),
        udp_established: Duration::from_hours(1),
    };
    assert_eq!(config.timeouts, timeouts);
    let limits = Limits { conns: 1, embryos: 2, services: 3, backends: 4, pages: 16_777_216 };
    assert_eq!(config.limits, limits);
    assert_eq!(config.hairpin.v4.to_string(), "198.18.255.1");
    assert_eq!(config.hairpin.v6.to_string(), "fd00::ff");
    assert_eq!(config.tunnel.v4.unwrap().to_string(), "198.19.0.0/16");
    assert_eq!(config.tunnel.v6.unwrap().to_string(), "fd00:99::/96");
    assert_eq!(config.tunnel.gue_port, 6081);
    assert_eq!((config.source_ports.first(), config.source_ports.last()), (20_000, 20_001));
    assert_eq!(config.drain, Duration::from_millis(1));
}

/// What a text says about the replicas of its service.
fn scale(fields: &str) -> Scale {
    let service = format!("name: a, listen: [198.18.0.1:80], docker: {{ label: app }}, {fields}");
    let config = config(&format!("services: [{{ {service} }}]\n"));
    *config.services[0].scale.clone().unwrap()
}

#[test]
fn replicas_have_a_bound_and_everything_else_has_a_default() {
    let least = scale("scale: { max: 8 }");
    let expected = Scale {
        min: 1,
        max: 8,
        target_percent: 70,
        tolerance_percent: 10,
        algorithm: Algorithm::Weir(Forecast::Grey),
        capacity: None,
        bucket: Duration::from_secs(15),
        window: 10,
        start_time: None,
        warm_up: Duration::from_secs(30),
        down_window: Duration::from_mins(5),
        cooldown: Duration::from_mins(1),
        executor: Executor::Advise,
        dry_run: false,
    };
    assert_eq!(least, expected);
    let all = scale(
        "policy: random, scale: { min: 2, max: 2, target: 100%, tolerance: 0%, forecast: holt, \
         capacity: 50, bucket: 1s, window: 100, start-time: 2s, warm-up: 1ms, down-window: 3s, \
         cooldown: 4s, executor: docker, template: weir-template=web, dry-run: true }",
    );
    let rule = LabelRule { key: "weir-template".to_owned(), value: Some("web".to_owned()) };
    let expected = Scale {
        min: 2,
        max: 2,
        target_percent: 100,
        tolerance_percent: 0,
        algorithm: Algorithm::Weir(Forecast::Holt),
        capacity: Some(50),
        bucket: Duration::from_secs(1),
        window: 100,
        start_time: Some(Duration::from_secs(2)),
        warm_up: Duration::from_millis(1),
        down_window: Duration::from_secs(3),
        cooldown: Duration::from_secs(4),
        executor: Executor::Docker { template: Some(Template::Label(rule)) },
        dry_run: true,
    };
    assert_eq!(all, expected);
}

#[test]
fn replicas_may_be_the_business_of_a_program() {
    let words = "scale: { max: 3, algorithm: hpa, executor: command, command: [/bin/s, -x, ''] }";
    let scale = scale(words);
    let (program, arguments) = ("/bin/s".into(), vec!["-x".to_owned(), String::new()]);
    let timeout = Duration::from_secs(30);
    assert_eq!(scale.executor, Executor::Command { program, arguments, timeout });
    assert_eq!(scale.algorithm, Algorithm::Hpa);
}

/// What a text says about containers.
fn docker(text: &str) -> Docker {
    parse("weir.yaml", text).unwrap_or_else(|mistakes| panic!("{mistakes}")).docker
}

#[test]
fn containers_are_followed_if_anything_asks_for_them() {
    let chosen = "services: [{ name: a, listen: [198.18.0.1:80], docker: { label: app=a } }]\n";
    let here = |socket: &str| vec![DockerHost::here(socket.into())];
    let engine = || here(DOCKER_SOCKET_DEFAULT);
    for (text, hosts, selectors) in [
        ("services: []\n".to_owned(), vec![], 0),
        (chosen.to_owned(), engine(), 1),
        ("services: []\ndocker: {}\n".to_owned(), engine(), 0),
        ("services: []\ndocker: { enable: false }\n".to_owned(), vec![], 0),
        (format!("{chosen}docker: {{ socket: /run/d.sock }}\n"), here("/run/d.sock"), 1),
    ] {
        let found = docker(&text);
        assert_eq!((found.hosts, found.selectors.len()), (hosts, selectors), "{text}");
    }
}

#[test]
fn hosts_are_this_one_and_others() {
    let text = "services: []
hosts:
  - { name: far, engine: 'tcp://[fd00:18::5]/', reach: routed, tls: { ca: /a, cert: /c, key: /k } }
  - { name: here, cpus: 1500m, zone: a }
  - { name: east, engine: 'unix:///run/e.sock', address: 198.18.5.2, memory: 1Gi, labels: [disk=fast] }
";
    let found = docker(text);
    let told: Vec<String> = found
        .hosts
        .iter()
        .map(|it| format!("{} {} {:?} {:?} {:?}", it.name, it.engine, it.reach, it.cpu, it.memory))
        .collect();
    let expected = [
        "here /var/run/docker.sock None Some(1500) None",
        "far tcp://[fd00:18::5]:2376 Some(Routed) None None",
        "east /run/e.sock Some(Published(198.18.5.2)) None Some(1073741824)",
    ];
    assert_eq!(told, expected);
    assert!(found.has_hosts() && found.hosts[2].labels["disk"] == "fast");
    assert!(!docker("services: []\ndocker: { socket: /run/d.sock }\n").has_hosts());
    // A balancer without containers of its own.
    let alone = format!("{text}docker: {{ enable: false }}\n")
        .replace("  - { name: here, cpus: 1500m, zone: a }\n", "");
    assert_eq!(docker(&alone).hosts.len(), 2);
}

#[test]
fn containers_are_chosen_by_a_label() {
    let text = "services:
  - name: a
    listen: [198.18.0.1:80, '[fd00::1]:80']
    backends: [{ address: 198.18.10.1:80 }]
    docker: { label: app.kind=web=1, port: 8080, network: front_1 }
  - { name: b, listen: [198.18.0.1:81], docker: { label: app } }
";
    let found = docker(text);
    let rule = |name: &str| {
        let selector = &found.selectors[&ServiceName::new(name).unwrap()];
        (selector.label.to_string(), selector.port, selector.network.clone())
    };
    assert_eq!(rule("a"), ("app.kind=web=1".to_owned(), Some(8080), Some("front_1".to_owned())));
    assert_eq!(rule("b"), ("app".to_owned(), None, None));
    let labels = |value: &str| [("app".to_owned(), value.to_owned())].into();
    let [any, one] = ["app", "app=1"].map(|text| super::super::scalar::label_rule(text).unwrap());
    assert!(any.matches(&labels("")) && any.matches(&labels("2")) && one.matches(&labels("1")));
    assert!(
        !one.matches(&labels("2")) && !any.matches(&[("apps".to_owned(), "1".to_owned())].into())
    );
}

#[test]
fn backends_may_be_asked_for_their_load() {
    let http = |path: &str| ReportBy::Http { path: path.to_owned() };
    for (written, by, port, interval_ms) in [
        ("agent: 9000", ReportBy::Agent, Some(9000), 1000),
        ("agent: 1, interval: 100ms", ReportBy::Agent, Some(1), 100),
        ("http: /load", http("/load"), None, 1000),
        ("http: '/load?a=1', port: 81, interval: 3s", http("/load?a=1"), Some(81), 3000),
    ] {
        let text = format!(
            "services: [{{ name: a, listen: [198.18.0.1:80], report: {{ {written} }} }}]\n"
        );
        let interval = Duration::from_millis(interval_ms);
        let expected = Some(SelfReport { by, port, interval });
        assert_eq!(config(&text).services[0].report, expected, "{written}");
    }
}

#[test]
fn a_cgroup_is_a_path_in_its_shortest_form() {
    let service = |cgroup: &str| {
        let backend = format!("{{ address: 198.18.10.1:80, cgroup: {cgroup} }}");
        config(&format!(
            "services: [{{ name: a, listen: [198.18.0.1:80], backends: [{backend}] }}]\n"
        ))
    };
    for (written, meant) in [
        ("/sys/fs/cgroup/cpu/web1", "/sys/fs/cgroup/cpu/web1"),
        ("/sys/fs/cgroup/system.slice/web.service/", "/sys/fs/cgroup/system.slice/web.service"),
        ("//web/./1", "/web/1"),
        // That it does not exist is for the daemon to say.
        ("/no where", "/no where"),
    ] {
        let [service] = &service(written).services[..] else { panic!() };
        assert_eq!(service.backends[0].cgroup.as_deref(), Some(Path::new(meant)), "{written}");
    }
}

#[test]
fn every_policy_has_its_name() {
    for policy in Policy::ALL {
        let name = policy.name();
        let text = format!("services: [{{ name: a, listen: [198.18.0.1:80], policy: {name} }}]\n");
        assert_eq!(config(&text).services[0].policy, policy, "{name}");
    }
}

#[test]
fn the_default_timeout_is_never_longer_than_the_interval() {
    for (interval, timeout_ms) in [("300ms", 300), ("1s", 1000), ("10s", 1000)] {
        let health = format!("{{ tcp: true, interval: {interval} }}");
        let text =
            format!("services: [{{ name: a, listen: [198.18.0.1:80], health: {health} }}]\n");
        let config = config(&text);
        let health = config.services[0].health.as_ref().unwrap();
        assert_eq!(health.timeout, Duration::from_millis(timeout_ms), "{interval}");
        assert_eq!(health.probe, Probe::Tcp);
    }
}

#[test]
fn nothing_is_wrong_with_these() {
    let service = |rest: &str| format!("services: [{{ name: a, {rest} }}]\n");
    for text in [
        "services: []".to_owned(),
        "---\nservices: []\n...\n".to_owned(),
        format!("\u{feff}{EXAMPLE}"),
        EXAMPLE.replace('\n', "\r\n"),
        format!("{}{EXAMPLE}", "# a comment\n".repeat(1000)),
        EXAMPLE.replace("  - name", &format!("{}  - name", "  # a comment\n".repeat(1000))),
        service("listen: [198.18.0.1:80], backends: []"),
        service("listen: ['198.18.0.1:80'], backends: [{ address: 198.18.10.1:80, weight: 0 }]"),
        service("listen: [198.18.0.1:80/tcp], backends: [{ address: 198.18.0.1:81 }]"),
        service("listen: [198.18.0.1:1-65535], backends: [{ address: 198.18.10.1:80 }]"),
        service("listen: ['[fd00::1]:80-90'], backends: [{ address: '[fd00::2]' }]"),
        service("listen: ['[fd00::1]:80-90'], backends: [{ address: 'fd00::2' }]"),
        service("listen: [198.18.0.1:53/udp], health: { http: '/h?a=1', port: 80 }"),
        // The same port of another protocol, of another address, beside a range.
        "services:
  - { name: a, listen: [198.18.0.1:53/udp, 198.18.0.2:53/udp, 198.18.0.1:54-60/udp] }
  - { name: b, listen: [198.18.0.1:53/tcp] }
"
        .to_owned(),
        // A backend of one protocol at the service address of the other.
        "services:
  - { name: a, listen: [198.18.0.1:53/udp], backends: [{ address: 198.18.0.2:53 }] }
  - { name: b, listen: [198.18.0.2:53/tcp], backends: [{ address: 198.18.0.1:53 }] }
"
        .to_owned(),
        "services:
  - { name: a, listen: [198.18.0.1:80], backends: &two [{ address: 198.18.10.1:80 }] }
  - { name: b, listen: [198.18.0.1:81], backends: *two }
limits: { backends: 1 }
"
        .to_owned(),
    ] {
        assert_eq!(mistakes(&text), [""; 0], "{text}");
    }
}

/// A service with this many backends.
fn large(backends: u32) -> String {
    let mut text = "limits: { backends: 16777216 }
services:
  - name: web
    listen: [198.18.0.1:80]
    backends:
"
    .to_owned();
    for number in 0..backends {
        let [_, _, high, low] = number.to_be_bytes();
        writeln!(text, "      - {{ address: 198.19.{high}.{low}:80, weight: 1 }}").unwrap();
    }
    text
}

#[test]
fn a_service_may_be_large() {
    assert_eq!(config(&large(30_000)).services[0].backends.len(), 30_000);
    let rule = "30001 backends; a service has 30000 at most";
    assert_eq!(mistakes(&large(30_001)), [format!("30006:9 {rule}")]);
}

#[test]
fn the_tables_have_a_size() {
    let mut text = "limits: { services: 20000 }\nservices:\n".to_owned();
    for port in 1..=16_385 {
        writeln!(text, "  - {{ name: s{port}, listen: [198.18.0.1:{port}] }}").unwrap();
    }
    assert_eq!(mistakes(&text), ["16387:30 16385 listen addresses; 16384 fit"]);
}

#[test]
fn with_full_nat_backends_may_be_of_the_other_family() {
    let text = |forward: &str| {
        format!(
            "services:
  - name: web
    listen: [198.18.0.1:80, '[fd00::1]:80']
    forward: {forward}
    backends: [{{ address: 198.18.10.2:8080 }}]
  - name: dns
    listen: ['[fd00::1]:53/udp']
    forward: {forward}
    backends: [{{ address: 198.18.10.2:53 }}]
"
        )
    };
    assert_eq!(config(&text("full-nat")).services.len(), 2);
    assert!(parse("weir.yaml", &text("nat")).is_err());
}
