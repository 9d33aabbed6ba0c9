//! `weir status`: how the daemon is.

use std::io::Write as _;

use crate::{
    admin::{
        client::ask,
        protocol::Request,
        report::{
            ContainerReport, ContainerVerdict, DockerReport, HostClientsReport, ScaleSummary,
            StatusReport,
        },
    },
    cli::{
        StatusArgs,
        output::Output,
        table::{Tone, facts, printable},
        units,
    },
};

/// Asks and prints.
pub fn run(arguments: &StatusArgs, output: &mut Output<'_>) -> anyhow::Result<()> {
    let report: StatusReport = ask(&arguments.connection.socket, &Request::Status)?;
    if arguments.format.json {
        output.json(&report)?;
    } else {
        let text = render(&report, output.colour());
        output.write_all(text.as_bytes())?;
    }
    Ok(output.flush()?)
}

fn render(report: &StatusReport, colour: bool) -> String {
    let attached: Vec<String> =
        report.attach.iter().map(|at| format!("{} ({})", at.interface, at.hook)).collect();
    let attached = if attached.is_empty() {
        Tone::Bad.paint("nowhere", colour)
    } else {
        printable(&attached.join(", "))
    };
    let tone = if report.backends_up == report.backends_total { Tone::Good } else { Tone::Warning };
    let backends = format!("{} of {} up", report.backends_up, report.backends_total);
    let mut text = facts(&[
        ("version", printable(&report.version)),
        ("process", format!("{}, up {}", report.pid, units::seconds(report.uptime_s))),
        ("configuration", printable(&report.config_path.display().to_string())),
        ("generation", report.generation.to_string()),
        ("last reload", last_reload(report, colour)),
        ("attached to", attached),
        ("host clients", host_clients(&report.host_clients, colour)),
        ("services", report.services.to_string()),
        ("backends", tone.paint(&backends, colour)),
        ("flows", units::count(report.flows)),
    ]);
    if let Some(docker) = &report.docker {
        text.push_str(&containers(docker, colour));
    }
    for scale in &report.scales {
        text.push_str(&replicas(scale));
    }
    for problem in &report.problems {
        let line = format!("problem: {}", printable(problem));
        text.push_str(&Tone::Bad.paint(&line, colour));
        text.push('\n');
    }
    text
}

/// How many replicas a service shall have, and has.
fn replicas(scale: &ScaleSummary) -> String {
    let ScaleSummary { desired, replicas, healthy, .. } = scale;
    let service = printable(&scale.service);
    let desired = desired.map_or_else(|| "?".to_owned(), |desired| desired.to_string());
    let text = printable(&scale.text);
    let told = format!("{service}: {desired} wanted, {healthy} of {replicas} up; {text}");
    facts(&[("replicas     ", told)])
}

/// The engine, how many containers are what, and those that somebody has to look after.
fn containers(docker: &DockerReport, colour: bool) -> String {
    let link = |engine: &str, connected, since_s| {
        let (engine, age) = (printable(engine), units::seconds(since_s));
        let link = if connected {
            Tone::Good.paint("connected", colour)
        } else {
            Tone::Bad.paint("lost", colour)
        };
        format!("{engine}, {link} for {age}")
    };
    let here = docker.socket.as_ref().map(|socket| {
        let socket = socket.display().to_string();
        ("docker       ", link(&socket, docker.connected, docker.since_s))
    });
    let hosts = docker.hosts.iter().map(|host| {
        let cores = host.cpus.as_ref().map_or_else(String::new, |cpus| format!(", {cpus} cores"));
        let memory = host.memory.as_ref().map_or_else(String::new, |it| format!(", {it}"));
        let zone = host.zone.as_ref().map_or_else(String::new, |zone| format!(", zone {zone}"));
        let link = link(&host.engine, host.connected, host.since_s);
        let name = printable(&host.name);
        (
            "host         ",
            format!("{name}: {link}; {} containers run{cores}{memory}{zone}", host.running),
        )
    });
    let count = |verdict| docker.containers.iter().filter(|one| one.verdict == verdict).count();
    let counts = [ContainerVerdict::Published, ContainerVerdict::Held, ContainerVerdict::Refused]
        .map(|verdict| format!("{} {}", count(verdict), verdict.name()));
    let lines: Vec<(&str, String)> =
        here.into_iter().chain(hosts).chain([("containers   ", counts.join(", "))]).collect();
    let mut text = facts(&lines);
    let refused = |one: &&ContainerReport| one.verdict == ContainerVerdict::Refused;
    for container in docker.containers.iter().filter(refused) {
        let (name, why) = (printable(&container.name), printable(&container.why));
        let line = format!("container {name} refused: {why}");
        text.push_str(&Tone::Bad.paint(&line, colour));
        text.push('\n');
    }
    text
}

fn host_clients(report: &HostClientsReport, colour: bool) -> String {
    let missing = printable(&report.missing.join("; "));
    match &report.cgroup {
        None => format!("not balanced: {missing}"),
        Some(cgroup) if missing.is_empty() => printable(&cgroup.display().to_string()),
        Some(cgroup) => {
            let without = Tone::Warning.paint(&format!("without {missing}"), colour);
            format!("{}, {without}", printable(&cgroup.display().to_string()))
        }
    }
}

fn last_reload(report: &StatusReport, colour: bool) -> String {
    let age = units::seconds(report.last_reload.age_s);
    match &report.last_reload.error {
        None => format!("{} {age} ago", Tone::Good.paint("ok", colour)),
        Some(error) => {
            let failed = Tone::Bad.paint("failed", colour);
            format!("{failed} {age} ago, nothing changed: {}", printable(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        admin::report::{HostReport, ReloadReport},
        commands::fake,
    };

    #[test]
    fn a_daemon_at_work_is_described() {
        insta::assert_snapshot!(render(&fake::status(), false), @r"
        version        0.1.0
        process        4242, up 2h05m
        configuration  /etc/weir/weir.yaml
        generation     3
        last reload    ok 3m07s ago
        attached to    lan0 (xdp), lan1 (tc)
        host clients   /sys/fs/cgroup
        services       2
        backends       2 of 3 up
        flows          12k
        ");
    }

    #[test]
    fn what_is_wrong_stands_out() {
        let report = StatusReport {
            attach: Vec::new(),
            host_clients: HostClientsReport {
                cgroup: Some("/sys/fs/cgroup".into()),
                missing: vec!["connect6: no".into()],
            },
            backends_up: 0,
            last_reload: ReloadReport { age_s: 5, error: Some("weir.yaml:3:5: no".into()) },
            problems: vec!["map CONNS4 is full".into(), "bad\x1bname".into()],
            ..fake::status()
        };
        insta::assert_snapshot!(render(&report, false), @r"
        version        0.1.0
        process        4242, up 2h05m
        configuration  /etc/weir/weir.yaml
        generation     3
        last reload    failed 5s ago, nothing changed: weir.yaml:3:5: no
        attached to    nowhere
        host clients   /sys/fs/cgroup, without connect6: no
        services       2
        backends       0 of 3 up
        flows          12k
        problem: map CONNS4 is full
        problem: bad�name
        ");
        let coloured = render(&report, true);
        for part in ["\x1b[31mfailed", "\x1b[31mnowhere", "\x1b[33m0 of 3", "\x1b[31mproblem"] {
            assert!(coloured.contains(part), "{coloured:?}");
        }
    }

    #[test]
    fn containers_are_counted_and_the_refused_ones_named() {
        let report = StatusReport { docker: Some(fake::docker()), ..fake::status() };
        let text = render(&report, false);
        let told: Vec<&str> = text.lines().skip(10).collect();
        assert_eq!(
            told,
            [
                "docker         /var/run/docker.sock, connected for 3m07s",
                "containers     1 published, 1 held, 1 refused",
                "container web-3 refused: label weir.port: no",
            ]
        );
        let host = |name: &str, error: Option<&str>| HostReport {
            name: name.into(),
            engine: "tcp://198.18.5.2:2376".into(),
            connected: error.is_none(),
            since_s: 61,
            error: error.map(Into::into),
            running: 2,
            cpus: error.is_none().then(|| "8".into()),
            memory: error.is_none().then(|| "16Gi".into()),
            zone: Some("a".into()),
        };
        let hosts = vec![host("east", None), host("west", Some("nobody listens"))];
        let others = DockerReport { socket: None, hosts, containers: Vec::new(), ..fake::docker() };
        let expected = [
            "host           east: tcp://198.18.5.2:2376, connected for 1m01s; 2 containers run, 8 cores, 16Gi, zone a",
            "host           west: tcp://198.18.5.2:2376, lost for 1m01s; 2 containers run, zone a",
            "containers     0 published, 0 held, 0 refused",
        ];
        let text = containers(&others, false);
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
        let lost = DockerReport { connected: false, containers: Vec::new(), ..fake::docker() };
        let text = render(&StatusReport { docker: Some(lost), ..fake::status() }, false);
        assert!(text.contains("docker.sock, lost for 3m07s"), "{text}");
        assert!(text.contains("0 published, 0 held, 0 refused"), "{text}");
    }

    #[test]
    fn each_service_that_is_scaled_has_a_line() {
        let scale = |service: &str, desired| ScaleSummary {
            service: service.to_owned(),
            desired,
            replicas: 3,
            healthy: 2,
            text: "keep 3: all is well".to_owned(),
        };
        let scales = vec![scale("api", None), scale("web", Some(3))];
        let text = render(&StatusReport { scales, ..fake::status() }, false);
        let told: Vec<&str> = text.lines().skip(10).collect();
        assert_eq!(
            told,
            [
                "replicas       api: ? wanted, 2 of 3 up; keep 3: all is well",
                "replicas       web: 3 wanted, 2 of 3 up; keep 3: all is well",
            ]
        );
    }

    #[test]
    fn it_says_why_processes_of_the_host_are_not_balanced() {
        let missing = vec!["host-clients is off".to_owned()];
        let report = HostClientsReport { cgroup: None, missing };
        assert_eq!(host_clients(&report, false), "not balanced: host-clients is off");
    }

    #[test]
    fn the_daemon_is_asked() {
        let daemon = fake::Daemon::start();
        let arguments = |json| StatusArgs { format: fake::format(json), connection: daemon.at() };
        let text = fake::printed(|output| run(&arguments(false), output)).unwrap();
        assert_eq!(text, render(&fake::status(), false));
        let json = fake::printed(|output| run(&arguments(true), output)).unwrap();
        assert_eq!(serde_json::from_str::<StatusReport>(&json).unwrap(), fake::status());
        assert_eq!(daemon.asked(), [Request::Status, Request::Status]);
    }

    #[test]
    fn without_a_daemon_it_says_how_to_start_one() {
        let (_directory, connection) = fake::nobody();
        let arguments = StatusArgs { format: fake::format(false), connection };
        let error = fake::printed(|output| run(&arguments, output)).unwrap_err().to_string();
        assert!(error.starts_with("no daemon answers at /"), "{error}");
        assert!(error.ends_with(": start one with \"weir run --config FILE\""), "{error}");
    }
}
