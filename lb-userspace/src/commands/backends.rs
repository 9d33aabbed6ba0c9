//! `weir backends`: who serves, how well, and the way packets take there.

use std::io::Write as _;

use crate::{
    admin::{
        client::ask,
        protocol::Request,
        report::{BackendReport, BackendState, LoadReport, missing},
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
    commands::watch,
};

/// Asks and prints, once or each second.
pub fn run(arguments: &WatchArgs, output: &mut Output<'_>) -> anyhow::Result<()> {
    watch::draw(arguments.watch, output, |output| {
        let backends: Vec<BackendReport> = ask(&arguments.connection.socket, &Request::Backends)?;
        if arguments.format.json {
            output.json(&backends)?;
        } else if backends.is_empty() {
            writeln!(output, "no backends: no service has any")?;
        } else {
            output.table(&table(&backends))?;
        }
        Ok(())
    })
}

fn table(backends: &[BackendReport]) -> Table {
    let mut table = Table::new(&[
        ("BACKEND", Left),
        ("SERVICES", Left),
        ("STATE", Left),
        ("HEALTH", Left),
        ("WEIGHT", Right),
        ("FLOWS", Right),
        ("REQUESTS", Right),
        ("CLASS", Left),
        ("BUSY", Right),
        ("R", Right),
        ("CAPACITY", Right),
        ("IN", Right),
        ("OUT", Right),
        ("WAY", Left),
        ("WHY", Left),
        ("LOAD", Left),
    ])
    .elastic(&[("SERVICES", 12), ("HEALTH", 11), ("WHY", 12), ("LOAD", 24)])
    .spare(&[
        "WHY", "OUT", "IN", "WEIGHT", "WAY", "LOAD", "R", "REQUESTS", "CAPACITY", "CLASS",
        "SERVICES",
    ]);
    for backend in backends {
        let load = backend.load.as_ref();
        let figure =
            |value: fn(&LoadReport) -> Option<String>| load.and_then(value).unwrap_or_default();
        table.row([
            backend.endpoint.as_str().into(),
            backend.services.join(",").into(),
            state_cell(backend.state),
            backend.health.as_str().into(),
            backend.weight.to_string().into(),
            units::count(backend.flows).into(),
            units::count(backend.requests).into(),
            figure(|load| Some(load.class.clone())).into(),
            figure(|load| Some(format!("{:.0}%", 100.0 * load.utilisation))).into(),
            figure(|load| load.explained.map(|ratio| format!("{ratio:.1}"))).into(),
            figure(|load| Some(format!("{:.1}", load.capacity))).into(),
            units::bytes(backend.bytes_in).into(),
            units::bytes(backend.bytes_out).into(),
            way(backend).into(),
            why(backend).into(),
            why_so_busy(backend).into(),
        ]);
    }
    table
}

/// `peer veth1a2b`; an interface without a name shows its index.
fn way(backend: &BackendReport) -> String {
    match (backend.interface.as_str(), backend.ifindex) {
        ("", 0) => backend.way.clone(),
        ("", ifindex) => format!("{} #{ifindex}", backend.way),
        (interface, _) => format!("{} {interface}", backend.way),
    }
}

/// What the way does not say itself.
fn why(backend: &BackendReport) -> &str {
    let why = backend.why.strip_prefix(&backend.way).and_then(|rest| rest.strip_prefix(": "));
    let why = why.unwrap_or(&backend.why);
    if why == backend.interface { "" } else { why }
}

/// What limits it, and what is made of that.
fn why_so_busy(backend: &BackendReport) -> String {
    match (&backend.load, backend.no_figures.as_str()) {
        (Some(load), _) => load.text.clone(),
        (None, "") => String::new(),
        (None, why) => missing(why),
    }
}

/// The state in its colour.
pub(super) fn state_cell(state: BackendState) -> Cell {
    let tone = match state {
        BackendState::Up => Tone::Good,
        BackendState::Drained | BackendState::Closing => Tone::Warning,
        BackendState::Down => Tone::Bad,
    };
    Cell::toned(state.name(), tone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::fake;

    #[test]
    fn backends_are_listed_with_the_way_to_them() {
        insta::assert_snapshot!(table(&fake::backends()).render(false), @r"
        BACKEND                   SERVICES  STATE    HEALTH                          WEIGHT  FLOWS  REQUESTS  CLASS  BUSY    R  CAPACITY       IN      OUT  WAY            WHY                     LOAD
        198.18.10.2:8080/tcp      web,api   up       http 200 in 1 ms                     2     12         3  cpu     82%  1.1      48.1  3.4 MiB  1.0 GiB  peer veth1a2b  container of this host  cpu at 82 %; capacity 48.1, as measured
        198.18.10.3:8080/tcp      web,api   down     3 failures: connection refused       2     12         3                              3.4 MiB  1.0 GiB  stack          no neighbour entry      no figures of its host: there is no cgroup /sys/fs/cgroup/cpu/web1
        [fd00:18:10::4]:8080/tcp            closing  not checked                          2     12         3                              3.4 MiB  1.0 GiB  redirect #9    left the configuration
        ");
    }

    #[test]
    fn nothing_is_said_twice() {
        let rows = [
            ("link", "dn0", "dn0", ""),
            ("link", "dn0", "dn0 on br0", "dn0 on br0"),
            ("stack", "", "stack: no route", "no route"),
            ("stack", "", "stacked up", "stacked up"),
            ("stack", "", "", ""),
        ];
        for (way, interface, said, shown) in rows {
            let backend = BackendReport {
                way: way.into(),
                interface: interface.into(),
                why: said.into(),
                ..fake::backends().remove(0)
            };
            assert_eq!(why(&backend), shown, "{said:?}");
        }
    }

    #[test]
    fn addresses_and_states_are_there_in_80_columns() {
        let mut backends = fake::backends();
        backends[0].services = vec!["a-rather-long-service-name-of-a-team".into()];
        let text = table(&backends).render_within(80, false);
        let mut lines = text.lines();
        assert!(lines.all(|line| line.chars().count() <= 80), "{text}");
        for part in ["[fd00:18:10::4]:8080/tcp", "closing", "FLOWS", "a-rather-l", "OUT, IN"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn states_have_colours() {
        for (state, painted) in [
            (BackendState::Up, "\x1b[32mup\x1b[0m"),
            (BackendState::Drained, "\x1b[33mdrained\x1b[0m"),
            (BackendState::Closing, "\x1b[33mclosing\x1b[0m"),
            (BackendState::Down, "\x1b[31mdown\x1b[0m"),
        ] {
            let mut table = Table::new(&[("STATE", Left)]);
            table.row([state_cell(state)]);
            assert!(table.render(true).contains(painted));
            let json = serde_json::to_string(&state).unwrap();
            assert_eq!(json, format!("\"{}\"", state.name()));
        }
    }

    #[test]
    fn the_daemon_is_asked() {
        let daemon = fake::Daemon::start();
        let text = fake::printed(|output| run(&daemon.watch_args(false), output)).unwrap();
        assert_eq!(text, table(&fake::backends()).render(false));
        let json = fake::printed(|output| run(&daemon.watch_args(true), output)).unwrap();
        assert_eq!(serde_json::from_str::<Vec<BackendReport>>(&json).unwrap(), fake::backends());
        assert_eq!(daemon.asked(), [Request::Backends, Request::Backends]);
    }

    #[test]
    fn no_backends_are_said_in_words_and_an_empty_list() {
        let daemon = fake::Daemon::empty();
        let text = fake::printed(|output| run(&daemon.watch_args(false), output)).unwrap();
        assert_eq!(text, "no backends: no service has any\n");
        let json = fake::printed(|output| run(&daemon.watch_args(true), output)).unwrap();
        assert_eq!(json, "[]\n");
    }
}
