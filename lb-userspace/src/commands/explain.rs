//! `weir explain`: which backend a flow has or would get, and why.

use std::io::Write as _;

use crate::{
    admin::{
        client::ask,
        protocol::Request,
        report::{BackendState, ExplainVerdict, Explanation},
    },
    cli::{
        ExplainArgs,
        output::Output,
        table::{
            Align::{Left, Right},
            Cell, Table, Tone, printable,
        },
        units,
    },
    commands::backends::state_cell,
    model::Forward,
};

/// Asks and prints.
pub fn run(arguments: &ExplainArgs, output: &mut Output<'_>) -> anyhow::Result<()> {
    let request = Request::Explain {
        protocol: arguments.protocol,
        source: arguments.source,
        destination: arguments.destination,
    };
    let explanation: Explanation = ask(&arguments.connection.socket, &request)?;
    if arguments.format.json {
        output.json(&explanation)?;
    } else {
        let text = render(&explanation, output.colour());
        output.write_all(text.as_bytes())?;
    }
    Ok(output.flush()?)
}

/// What the flow gets, the reason in sentences, then whom it was chosen among.
fn render(explanation: &Explanation, colour: bool) -> String {
    let flow = &explanation.flow;
    let verb = match explanation.verdict {
        ExplainVerdict::Has => "has",
        ExplainVerdict::Would => "would get",
    };
    let what = match &explanation.backend {
        Some(backend) => Tone::Good.paint(&printable(backend), colour),
        None => Tone::Warning.paint("no backend", colour),
    };
    let mut text = format!(
        "{} {} -> {} {verb} {what} ({})\n",
        flow.protocol,
        flow.source,
        flow.destination,
        printable(&explanation.reason)
    );
    if let Some(service) = &explanation.service {
        let policy = explanation.policy.map_or("none", |policy| policy.name());
        let forward = explanation.forward.filter(|forward| *forward != Forward::Nat);
        let forward = forward.map_or_else(String::new, |it| format!(", forward {}", it.name()));
        let line = format!("service {}, policy {policy}{forward}\n", printable(service));
        text.push_str(&line);
    }
    for line in explanation.text.lines() {
        text.push_str(&printable(line));
        text.push('\n');
    }
    if !explanation.candidates.is_empty() {
        text.push('\n');
        text.push_str(&candidates(explanation).render(colour));
    }
    let told = explanation.candidates.iter().filter(|candidate| !candidate.load.is_empty());
    for (index, candidate) in told.enumerate() {
        // A sentence is longer than the rest of a line.
        let gap = if index == 0 { "\n" } else { "" };
        let (backend, load) = (printable(&candidate.backend), printable(&candidate.load));
        let line = format!("{gap}{backend}: {load}\n");
        text.push_str(&line);
    }
    text
}

fn candidates(explanation: &Explanation) -> Table {
    let mut table = Table::new(&[
        ("CANDIDATE", Left),
        ("FLOWS", Right),
        ("REQUESTS", Right),
        ("WEIGHT", Right),
        ("CAPACITY", Right),
        ("", Left),
    ]);
    for candidate in &explanation.candidates {
        let mark = match candidate.state {
            _ if candidate.chosen => Cell::toned("chosen", Tone::Good),
            BackendState::Up => Cell::default(),
            BackendState::Drained | BackendState::Down | BackendState::Closing => {
                state_cell(candidate.state)
            }
        };
        table.row([
            candidate.backend.as_str().into(),
            units::count(candidate.flows).into(),
            units::count(candidate.requests).into(),
            candidate.weight.to_string().into(),
            candidate.capacity.map_or_else(String::new, |it| format!("{it:.1}")).into(),
            mark,
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{commands::fake, model::Protocol};

    fn arguments(daemon: &fake::Daemon, json: bool) -> ExplainArgs {
        let flow = fake::explanation().flow;
        ExplainArgs {
            protocol: flow.protocol,
            source: flow.source,
            destination: flow.destination,
            format: fake::format(json),
            connection: daemon.at(),
        }
    }

    #[test]
    fn a_choice_is_explained() {
        insta::assert_snapshot!(render(&fake::explanation(), false), @r"
        tcp 198.18.0.2:40000 -> 198.18.0.1:80 would get 198.18.10.2:8080 (forwarded)
        service web, policy adaptive
        (12 + 1) / 2 is less than (7 + 1) / 1

        CANDIDATE         FLOWS  REQUESTS  WEIGHT  CAPACITY
        198.18.10.2:8080     12         0       2      48.1  chosen
        198.18.10.3:8080      7         0       1            drained

        198.18.10.2:8080: cpu at 82 %; capacity 48.1, as measured
        ");
    }

    #[test]
    fn a_flow_that_nobody_serves_is_explained() {
        let nobody = Explanation {
            verdict: ExplainVerdict::Would,
            reason: "no-listener".into(),
            service: None,
            backend: None,
            policy: None,
            forward: None,
            candidates: Vec::new(),
            text: "no service listens on 198.18.0.1:80/tcp\x1b[2J".into(),
            ..fake::explanation()
        };
        insta::assert_snapshot!(render(&nobody, false), @r"
        tcp 198.18.0.2:40000 -> 198.18.0.1:80 would get no backend (no-listener)
        no service listens on 198.18.0.1:80/tcp�[2J
        ");
    }

    #[test]
    fn the_daemon_is_asked() {
        let daemon = fake::Daemon::start();
        let text = fake::printed(|output| run(&arguments(&daemon, false), output)).unwrap();
        assert_eq!(text, render(&fake::explanation(), false));
        let json = fake::printed(|output| run(&arguments(&daemon, true), output)).unwrap();
        assert_eq!(serde_json::from_str::<Explanation>(&json).unwrap(), fake::explanation());
        let asked = Request::Explain {
            protocol: Protocol::Tcp,
            source: "198.18.0.2:40000".parse().unwrap(),
            destination: "198.18.0.1:80".parse().unwrap(),
        };
        assert_eq!(daemon.asked(), [asked.clone(), asked]);
    }

    #[test]
    fn the_daemons_refusal_is_the_error() {
        let daemon = fake::Daemon::refusing();
        let error = fake::printed(|output| run(&arguments(&daemon, true), output)).unwrap_err();
        assert_eq!(error.to_string(), "no");
    }
}
