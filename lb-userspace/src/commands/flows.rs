//! `weir flows`: who talks to whom through this host.

use std::io::Write as _;

use crate::{
    admin::{client::ask, protocol::Request, report::FlowsReport},
    cli::{
        FlowsArgs,
        output::Output,
        table::{
            Align::{Left, Right},
            Cell, Table,
        },
        units,
    },
};

/// Asks and prints.
pub fn run(arguments: &FlowsArgs, output: &mut Output<'_>) -> anyhow::Result<()> {
    let limit = usize::try_from(arguments.limit)?;
    let service = arguments.service.as_ref().map(ToString::to_string);
    let request = Request::Flows { limit, service };
    let report: FlowsReport = ask(&arguments.connection.socket, &request)?;
    if arguments.format.json {
        output.json(&report)?;
    } else if report.flows.is_empty() {
        writeln!(output, "no flows")?;
    } else {
        output.table(&table(&report))?;
        let shown = report.flows.len() as u64;
        if shown < report.total {
            writeln!(output, "{shown} of {} flows: --limit shows more", report.total)?;
        }
    }
    Ok(output.flush()?)
}

fn table(report: &FlowsReport) -> Table {
    let mut columns = vec![
        ("PROTO", Left),
        ("CLIENT", Left),
        ("VIP", Left),
        ("BACKEND", Left),
        ("SERVICE", Left),
        ("STATE", Left),
        ("AGE", Right),
        ("IDLE", Right),
    ];
    // Most flows have the client's own.
    let sources = report.flows.iter().any(|flow| flow.source.is_some());
    if sources {
        columns.insert(3, ("SOURCE", Left));
    }
    let mut table =
        Table::new(&columns).elastic(&[("SERVICE", 8)]).spare(&["AGE", "IDLE", "SERVICE", "PROTO"]);
    for flow in &report.flows {
        let source = flow.source.map_or_else(String::new, |source| source.to_string());
        let mut cells: Vec<Cell> = vec![
            flow.protocol.to_string().into(),
            flow.client.to_string().into(),
            flow.vip.to_string().into(),
            flow.backend.to_string().into(),
            flow.service.as_str().into(),
            flow.state.as_str().into(),
            units::seconds(flow.age_s).into(),
            units::seconds(flow.idle_s).into(),
        ];
        if sources {
            cells.insert(3, source.into());
        }
        table.row(cells);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{commands::fake, model::ServiceName};

    fn arguments(daemon: &fake::Daemon, limit: u32, json: bool) -> FlowsArgs {
        let service = ServiceName::new("web");
        FlowsArgs { service, limit, format: fake::format(json), connection: daemon.at() }
    }

    #[test]
    fn flows_are_listed_and_those_left_out_are_counted() {
        let daemon = fake::Daemon::start();
        let text = fake::printed(|output| run(&arguments(&daemon, 2, false), output)).unwrap();
        insta::assert_snapshot!(text, @r"
        PROTO  CLIENT            VIP              BACKEND               SERVICE  STATE          AGE  IDLE
        tcp    198.18.0.2:40000  198.18.0.1:80    198.18.10.2:8080      web      established  3m07s    2s
        tcp    [fd00::2]:40001   [fd00:18::1]:80  [fd00:18:10::4]:8080  web      new             0s    0s
        2 of 60000 flows: --limit shows more
        ");
        let asked = Request::Flows { limit: 2, service: Some("web".into()) };
        assert_eq!(daemon.asked(), [asked]);
    }

    #[test]
    fn a_source_of_this_host_is_shown_where_there_is_one() {
        let mut report = fake::flows();
        report.flows[0].source = Some("198.18.10.1:20000".parse().unwrap());
        insta::assert_snapshot!(table(&report).render(false), @r"
        PROTO  CLIENT            VIP              SOURCE             BACKEND               SERVICE  STATE          AGE  IDLE
        tcp    198.18.0.2:40000  198.18.0.1:80    198.18.10.1:20000  198.18.10.2:8080      web      established  3m07s    2s
        tcp    [fd00::2]:40001   [fd00:18::1]:80                     [fd00:18:10::4]:8080  web      new             0s    0s
        ");
    }

    #[test]
    fn json_says_how_many_there_are() {
        let daemon = fake::Daemon::start();
        let json = fake::printed(|output| run(&arguments(&daemon, 1, true), output)).unwrap();
        assert_eq!(serde_json::from_str::<FlowsReport>(&json).unwrap(), fake::flows());
    }

    #[test]
    fn no_flows_are_said_in_words() {
        let daemon = fake::Daemon::empty();
        let text = fake::printed(|output| run(&arguments(&daemon, 1, false), output)).unwrap();
        assert_eq!(text, "no flows\n");
    }

    #[test]
    fn the_daemons_refusal_is_the_error() {
        let daemon = fake::Daemon::refusing();
        let error = fake::printed(|output| run(&arguments(&daemon, 1, false), output)).unwrap_err();
        assert_eq!(error.to_string(), "no");
    }
}
