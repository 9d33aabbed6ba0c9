//! `weir docker ls`: the containers of this host, and what becomes of them.

use std::{collections::BTreeSet, io::Write as _, path::Path};

use crate::{
    admin::{
        client::ask,
        protocol::Request,
        report::{ContainerVerdict, DockerReport},
    },
    cli::{
        DockerLsArgs,
        output::Output,
        table::{Align::Left, Cell, Table, Tone},
    },
    config::{self, Loaded},
    daemon::ports::Ports,
    dataplane::links::Links,
    docker::{self, HostView, Inspected, Link, View},
    model::{Config, Interfaces},
};

/// Asks the daemon, or the engine itself, and prints.
pub fn run(arguments: &DockerLsArgs, output: &mut Output<'_>) -> anyhow::Result<()> {
    let report: DockerReport = match &arguments.config {
        Some(file) => look(file)?,
        None => ask(&arguments.connection.socket, &Request::Docker)?,
    };
    if arguments.format.json {
        output.json(&report)?;
    } else {
        if let Some(error) = &report.error {
            let line = format!("as last seen: {error}");
            writeln!(output, "{}", Tone::Bad.paint(&line, output.colour()))?;
        }
        for host in report.hosts.iter().filter(|host| host.error != report.error) {
            if let Some(error) = &host.error {
                let line = format!("host {} as last seen: {error}", host.name);
                writeln!(output, "{}", Tone::Bad.paint(&line, output.colour()))?;
            }
        }
        if report.containers.is_empty() {
            writeln!(output, "no containers")?;
        } else {
            output.table(&table(&report))?;
        }
    }
    Ok(output.flush()?)
}

/// What a daemon with this configuration would make of the containers.
fn look(file: &Path) -> anyhow::Result<DockerReport> {
    let Loaded { config, docker } = config::load(file)?;
    if docker.hosts.is_empty() {
        let name = file.display();
        anyhow::bail!(
            "{name}: containers are not followed: there is no docker section, and no service chooses containers"
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut views = Vec::new();
    for host in &docker.hosts {
        let asked = runtime.block_on(docker::containers(host));
        let view = match asked {
            // The containers of the others are worth a look.
            Err(error) if docker.hosts.len() > 1 => {
                View { link: Link::Lost { why: error.to_string() }, ..View::default() }
            }
            asked => asked?,
        };
        views.push((host, view));
    }
    let containers: Vec<Inspected> =
        views.iter().flat_map(|(_, view)| view.containers.iter().cloned()).collect();
    let (mut ports, remembered) = Ports::open(docker.state.as_deref());
    remembered?;
    ports.look(&runtime.block_on(uplinks(&config))?)?;
    let discovered =
        ports.with_idle_host(|host| docker::services_of(&containers, &config, &docker, host));
    let hosts: Vec<HostView<'_>> =
        views.iter().map(|(host, view)| HostView { host, view, since_s: 0 }).collect();
    Ok(docker::report(&hosts, &discovered, |_| None))
}

/// The names of the links that clients arrive on.
async fn uplinks(config: &Config) -> anyhow::Result<BTreeSet<String>> {
    let names = match &config.interfaces {
        Interfaces::Named(names) => names.clone(),
        Interfaces::Auto => Links::open()?.default_interfaces().await?,
    };
    Ok(names.into_iter().collect())
}

fn table(report: &DockerReport) -> Table {
    let columns = ["CONTAINER", "ID", "VERDICT", "SERVICES", "LISTEN", "BACKENDS", "WHY"];
    let mut table = Table::new(&columns.map(|column| (column, Left)))
        .elastic(&[("CONTAINER", 16), ("SERVICES", 12), ("LISTEN", 20), ("WHY", 16)])
        .spare(&["ID", "BACKENDS", "SERVICES"]);
    for container in &report.containers {
        let tone = match container.verdict {
            ContainerVerdict::Published => Tone::Good,
            ContainerVerdict::Held => Tone::Warning,
            ContainerVerdict::Refused => Tone::Bad,
            ContainerVerdict::Still | ContainerVerdict::Ignored => Tone::Plain,
        };
        table.row([
            container.name.as_str().into(),
            container.id.get(..12).unwrap_or(&container.id).into(),
            Cell::toned(container.verdict.name(), tone),
            container.services.join(",").into(),
            doors(&container.listens).into(),
            container.endpoints.join(",").into(),
            container.why.as_str().into(),
        ]);
    }
    table
}

/// Where clients dial: one address, and how many more there are. Those on loopback count where
/// there are no others, as every published port is there, too.
fn doors(listens: &[String]) -> String {
    let is_local = |listen: &&String| listen.starts_with("127.") || listen.starts_with("[::1]:");
    let (local, other): (Vec<_>, Vec<_>) = listens.iter().partition(is_local);
    match &(if other.is_empty() { local } else { other })[..] {
        [] => String::new(),
        [only] => (*only).clone(),
        [first, rest @ ..] => format!("{first} +{}", rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::Connection, commands::fake};

    fn arguments(connection: Connection, json: bool) -> DockerLsArgs {
        DockerLsArgs { config: None, format: fake::format(json), connection }
    }

    #[test]
    fn containers_are_listed_with_their_verdicts() {
        insta::assert_snapshot!(table(&fake::docker()).render(false), @r"
        CONTAINER  ID            VERDICT    SERVICES  LISTEN                  BACKENDS             WHY
        db         db0000000000  ignored                                                           not meant for Weir
        old        old000000000  still                                                             exited (0)
        web-1      web-10000000  published  web,api   198.18.0.1:8080/tcp +1  198.18.128.2:80/tcp
        web-2      web-20000000  held       web       127.0.0.1:8080/tcp      198.18.128.3:80/tcp  paused
        web-3      web-30000000  refused                                                           label weir.port: no
        ");
    }

    #[test]
    fn the_daemon_is_asked() {
        let daemon = fake::Daemon::start();
        let ask =
            |json| fake::printed(|output| run(&arguments(daemon.at(), json), output)).unwrap();
        assert_eq!(ask(false), table(&fake::docker()).render(false));
        assert_eq!(serde_json::from_str::<DockerReport>(&ask(true)).unwrap(), fake::docker());
        assert_eq!(daemon.asked(), [Request::Docker, Request::Docker]);
    }

    #[test]
    fn what_the_daemon_refuses_is_said() {
        let daemon = fake::Daemon::refusing();
        let error = fake::printed(|output| run(&arguments(daemon.at(), false), output));
        assert_eq!(error.unwrap_err().to_string(), "no");
    }

    #[test]
    fn without_a_daemon_the_engine_is_asked_and_its_absence_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("weir.yaml");
        let socket = directory.path().join("docker.sock");
        let (_nobody, connection) = fake::nobody();
        for (text, expected) in [
            (
                "services: []\n".to_owned(),
                "containers are not followed: there is no docker section",
            ),
            ("services: [\n".to_owned(), "not YAML"),
            (
                format!("services: []\ndocker: {{ socket: {} }}\n", socket.display()),
                "docker.sock: there is no such socket",
            ),
        ] {
            std::fs::write(&file, &text).unwrap();
            let arguments =
                DockerLsArgs { config: Some(file.clone()), ..arguments(connection.clone(), false) };
            let error = fake::printed(|output| run(&arguments, output)).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
