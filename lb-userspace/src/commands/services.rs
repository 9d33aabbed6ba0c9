//! `weir services`: what is balanced, who gets which share, and the traffic.

use std::io::Write as _;

use crate::{
    admin::{
        client::ask,
        protocol::Request,
        report::{BackendState, ScaleReport, ServiceReport, ShareReport},
    },
    cli::{
        WatchArgs,
        output::Output,
        table::{
            Align::{Left, Right},
            Cell, Table, Tone,
        },
        units,
    },
    commands::{backends::state_cell, watch},
    model::Forward,
};

/// Asks and prints, once or each second.
pub fn run(arguments: &WatchArgs, output: &mut Output<'_>) -> anyhow::Result<()> {
    watch::draw(arguments.watch, output, |output| {
        let services: Vec<ServiceReport> = ask(&arguments.connection.socket, &Request::Services)?;
        if arguments.format.json {
            output.json(&services)?;
        } else if services.is_empty() {
            writeln!(output, "no services: the configuration names none")?;
        } else {
            output.table(&table(&services))?;
        }
        Ok(())
    })
}

/// A row a service, below it one for each further listen address and each backend.
fn table(services: &[ServiceReport]) -> Table {
    let mut table = Table::new(&[
        ("SERVICE", Left),
        ("LISTEN", Left),
        ("POLICY", Left),
        ("WEIGHT", Right),
        ("SHARE", Right),
        ("STATE", Left),
        ("OPENED", Right),
        ("IN", Right),
        ("OUT", Right),
        ("LOAD", Left),
    ])
    .elastic(&[("SERVICE", 28), ("LOAD", 24)])
    .spare(&["OUT", "IN", "POLICY", "OPENED", "LOAD"]);
    for service in services {
        let mut listens = service.listens.iter();
        let first = listens.next().map(String::as_str).unwrap_or_default();
        table.row([
            service.name.as_str().into(),
            first.into(),
            policy(service).into(),
            Cell::default(),
            Cell::default(),
            summary(&service.backends),
            units::count(service.flows_total).into(),
            units::bytes(service.bytes_in).into(),
            units::bytes(service.bytes_out).into(),
            service.class.as_deref().unwrap_or_default().into(),
        ]);
        for listen in listens {
            table.row([Cell::default(), listen.as_str().into()]);
        }
        if let Some(scale) = &service.scale {
            table.row(scale_row(scale));
        }
        for backend in &service.backends {
            table.row([
                format!("  {}", backend.endpoint).into(),
                Cell::default(),
                Cell::default(),
                backend.weight.to_string().into(),
                units::percent(backend.share).into(),
                state_cell(backend.state),
                Cell::default(),
                Cell::default(),
                Cell::default(),
                remark(backend).into(),
            ]);
        }
    }
    table
}

/// The policy, and the forward mode where it is another than most.
fn policy(service: &ServiceReport) -> String {
    let policy = service.policy.name();
    match service.forward {
        Forward::Nat => policy.to_owned(),
        forward @ (Forward::Dsr | Forward::Ipip | Forward::Gue | Forward::FullNat) => {
            format!("{policy}, {}", forward.name())
        }
    }
}

/// What keeps a backend from serving, or what its load says.
fn remark(backend: &ShareReport) -> &str {
    let load = backend.load.as_ref().map_or("", |load| load.text.as_str());
    backend.out_of_reach.as_deref().unwrap_or(load)
}

/// How many replicas there shall be, how many there are, and why.
fn scale_row(scale: &ScaleReport) -> [Cell; 10] {
    let ScaleReport { desired, replicas, healthy, min, max, text, trouble, .. } = scale;
    let desired = desired.map_or_else(|| "?".to_owned(), |desired| desired.to_string());
    let tone = match trouble {
        Some(_) => Tone::Bad,
        None if *healthy < *replicas => Tone::Warning,
        None => Tone::Good,
    };
    let mut text = text.clone();
    if !scale.draining.is_empty() {
        text = format!("{text}; {} on their way out", scale.draining.len());
    }
    let mut row = <[Cell; 10]>::default();
    row[0] = format!("  replicas ({})", scale.executor).into();
    row[1] = format!("{desired} of {min} to {max}").into();
    row[5] = Cell::toned(&format!("{healthy} of {replicas} up"), tone);
    row[9] = trouble.as_ref().unwrap_or(&text).as_str().into();
    row
}

fn summary(backends: &[ShareReport]) -> Cell {
    let up = backends.iter().filter(|backend| backend.state == BackendState::Up).count();
    let tone = match up {
        0 => Tone::Bad,
        _ if up < backends.len() => Tone::Warning,
        _ => Tone::Good,
    };
    Cell::toned(&format!("{up} of {} up", backends.len()), tone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::fake;

    #[test]
    fn services_are_listed_with_their_backends() {
        insta::assert_snapshot!(table(&fake::services()).render(false), @r"
        SERVICE               LISTEN               POLICY    WEIGHT   SHARE  STATE      OPENED       IN      OUT  LOAD
        web                   198.18.0.1:80/tcp    adaptive                  1 of 2 up    1.2k  3.4 MiB  1.0 GiB  cpu
                              [fd00:18::1]:80/tcp
          198.18.10.2:8080                                        2  100.0%  up                                   cpu at 82 %; capacity 48.1, as measured
          198.18.10.3:8080                                        0    0.0%  drained
        dns                   198.18.0.1:53/udp    maglev                    0 of 1 up       0      0 B      0 B
          [fd00:18:10::4]:53                                      1    0.0%  down
        ");
    }

    #[test]
    fn replicas_have_a_row_of_their_own() {
        let mut services = fake::services();
        services.truncate(1);
        services[0].scale = Some(fake::scale());
        let said = |services: &[ServiceReport]| {
            let text = table(services).render(false);
            text.lines().nth(3).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            said(&services),
            "replicas (docker) 7 of 2 to 8 4 of 5 up from 4 to 7: 320.0 requests/s are expected in \
             90 s, 190.0 are offered; 1 on their way out"
        );
        let trouble = Some("web-weir-3: it ended by itself".to_owned());
        services[0].scale = Some(ScaleReport { desired: None, trouble, ..fake::scale() });
        let line = "replicas (docker) ? of 2 to 8 4 of 5 up web-weir-3: it ended by itself";
        assert_eq!(said(&services), line);
    }

    #[test]
    fn a_service_that_serves_nobody_stands_out() {
        let mut services = fake::services();
        services[0].backends.clear();
        services[0].listens.clear();
        let text = table(&services).render(true);
        assert!(text.contains("\x1b[31m0 of 0 up\x1b[0m"), "{text:?}");
    }

    #[test]
    fn the_daemon_is_asked() {
        let daemon = fake::Daemon::start();
        let arguments = |json| daemon.watch_args(json);
        let text = fake::printed(|output| run(&arguments(false), output)).unwrap();
        assert_eq!(text, table(&fake::services()).render(false));
        let json = fake::printed(|output| run(&arguments(true), output)).unwrap();
        assert_eq!(serde_json::from_str::<Vec<ServiceReport>>(&json).unwrap(), fake::services());
        assert_eq!(daemon.asked(), [Request::Services, Request::Services]);
    }

    #[test]
    fn no_services_are_said_in_words_and_an_empty_list() {
        let daemon = fake::Daemon::empty();
        let text = fake::printed(|output| run(&daemon.watch_args(false), output)).unwrap();
        assert_eq!(text, "no services: the configuration names none\n");
        let json = fake::printed(|output| run(&daemon.watch_args(true), output)).unwrap();
        assert_eq!(json, "[]\n");
    }

    #[test]
    fn a_watch_ends_with_the_daemon() {
        let (_directory, connection) = fake::nobody();
        let arguments = WatchArgs { format: fake::format(false), watch: true, connection };
        let error = fake::printed(|output| run(&arguments, output)).unwrap_err();
        assert!(error.to_string().starts_with("no daemon answers"), "{error}");
    }
}
