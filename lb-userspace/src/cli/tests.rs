//! What may be typed, and what may not.

use std::time::Duration;

use clap::{CommandFactory as _, error::ErrorKind};

use super::*;
use crate::{
    model::{Attach, Protocol, ServiceName, Weight},
    placement::Method,
};

fn read(line: &str) -> Result<Command, clap::Error> {
    Cli::read(line.split_whitespace()).map(|cli| cli.command)
}

fn connection(path: &str) -> Connection {
    Connection { socket: path.into() }
}

fn forecast(file: Option<&str>, model: ForecastModel) -> Command {
    Command::Forecast(ForecastArgs {
        file: file.map(PathBuf::from),
        window: 10,
        horizon: 4,
        column: None,
        model,
        format: TEXT,
        plot: None,
    })
}

const JSON: Format = Format { json: true };
const TEXT: Format = Format { json: false };

#[test]
fn the_definitions_are_sound() {
    Cli::command().debug_assert();
}

#[test]
fn daemon_and_file_commands_are_read() {
    let bpffs = PathBuf::from("/sys/fs/bpf");
    for (line, command) in [
        (
            "weir run --config weir.yaml",
            Command::Run(RunArgs { config: "weir.yaml".into(), bpffs: bpffs.clone() }),
        ),
        (
            "weir run --bpffs /b --config=w",
            Command::Run(RunArgs { config: "w".into(), bpffs: "/b".into() }),
        ),
        ("weir demo", Command::Demo(DemoArgs { seconds: 20, attach: Attach::Auto })),
        (
            "weir demo --seconds 5 --attach xdp-generic",
            Command::Demo(DemoArgs { seconds: 5, attach: Attach::XdpGeneric }),
        ),
        ("weir check f --json", Command::Check(CheckArgs { file: "f".into(), format: JSON })),
        (
            "weir decap --interface eth0 --from 198.18.0.0/24",
            Command::Decap(DecapArgs {
                interfaces: vec!["eth0".into()],
                from: vec!["198.18.0.0/24".parse().unwrap()],
                gue_port: 6080,
                format: Format { json: false },
            }),
        ),
        ("weir detach", Command::Detach(DetachArgs { bpffs })),
        (
            "weir docker ls --config w --json",
            Command::Docker(DockerCommand::Ls(DockerLsArgs {
                config: Some("w".into()),
                format: JSON,
                connection: connection(SOCKET_DEFAULT),
            })),
        ),
        (
            "weir simulate --config w --hex - --mode tc",
            Command::Simulate(SimulateArgs {
                config: "w".into(),
                pcap: None,
                hex: Some("-".into()),
                out: None,
                mode: SimulateMode::Tc,
            }),
        ),
        (
            "weir simulate --config w --pcap i --out o",
            Command::Simulate(SimulateArgs {
                config: "w".into(),
                pcap: Some("i".into()),
                hex: None,
                out: Some("o".into()),
                mode: SimulateMode::Xdp,
            }),
        ),
        ("weir forecast", forecast(None, ForecastModel::Auto)),
        ("weir forecast -", forecast(Some("-"), ForecastModel::Auto)),
        (
            "weir forecast --model grey-classic --window=10 load.csv --horizon 4",
            forecast(Some("load.csv"), ForecastModel::GreyClassic),
        ),
        ("weir completions bash", Command::Completions { shell: clap_complete::Shell::Bash }),
    ] {
        assert_eq!(read(line).unwrap(), command, "{line}");
    }
}

#[test]
fn searches_are_read() {
    for (line, command) in [
        (
            "weir place --nodes n --workloads -",
            Command::Place(PlaceArgs {
                nodes: "n".into(),
                workloads: "-".into(),
                seed: 1,
                budget: Duration::from_millis(200),
                iterations: None,
                threads: None,
                method: Method::AntColony,
                alone: false,
                plot: None,
                format: TEXT,
            }),
        ),
        (
            "weir place --nodes n --workloads w --seed 7 --iterations 9 --threads 2 --alone \
             --method kubernetes-sorted --plot p.svg --json",
            Command::Place(PlaceArgs {
                nodes: "n".into(),
                workloads: "w".into(),
                seed: 7,
                budget: Duration::from_millis(200),
                iterations: Some(9),
                threads: Some(2),
                method: Method::KubernetesSorted,
                alone: true,
                plot: Some("p.svg".into()),
                format: JSON,
            }),
        ),
    ] {
        assert_eq!(read(line).unwrap(), command, "{line}");
    }
}

#[test]
fn client_commands_are_read() {
    let usual = connection(SOCKET_DEFAULT);
    let web = ServiceName::new("web").unwrap();
    for (line, command) in [
        ("weir status", Command::Status(StatusArgs { format: TEXT, connection: usual.clone() })),
        (
            "weir services --json --socket /s",
            Command::Services(WatchArgs {
                format: JSON,
                watch: false,
                connection: connection("/s"),
            }),
        ),
        (
            "weir backends --watch",
            Command::Backends(WatchArgs { format: TEXT, watch: true, connection: usual.clone() }),
        ),
        (
            "weir flows --service web --limit 7",
            Command::Flows(FlowsArgs {
                service: Some(web.clone()),
                limit: 7,
                format: TEXT,
                connection: usual.clone(),
            }),
        ),
        (
            "weir drain 198.18.10.2:8080/tcp",
            Command::Drain(DrainArgs {
                backend: "198.18.10.2:8080/tcp".parse().unwrap(),
                connection: usual.clone(),
            }),
        ),
        (
            "weir undrain [fd00::2]:80",
            Command::Undrain(DrainArgs {
                backend: "[fd00::2]:80".parse().unwrap(),
                connection: usual.clone(),
            }),
        ),
        (
            "weir weight web 198.18.10.2:8080 1000",
            Command::Weight(WeightArgs {
                service: web.clone(),
                backend: "198.18.10.2:8080".parse().unwrap(),
                weight: WeightValue::Fixed(Weight::new(1000).unwrap()),
                connection: usual.clone(),
            }),
        ),
        (
            "weir weight web 198.18.10.2:8080 auto",
            Command::Weight(WeightArgs {
                service: web,
                backend: "198.18.10.2:8080".parse().unwrap(),
                weight: WeightValue::Auto,
                connection: usual.clone(),
            }),
        ),
        (
            "weir explain udp [fd00::2]:4000 [fd00::1]:53 --json",
            Command::Explain(ExplainArgs {
                protocol: Protocol::Udp,
                source: "[fd00::2]:4000".parse().unwrap(),
                destination: "[fd00::1]:53".parse().unwrap(),
                format: JSON,
                connection: usual,
            }),
        ),
    ] {
        assert_eq!(read(line).unwrap(), command, "{line}");
    }
}

#[test]
fn wrong_usage_is_exit_code_2_and_says_what_is_wrong() {
    for (line, part) in [
        ("weir balance", "unrecognized subcommand"),
        ("weir --json status", "unexpected argument"),
        ("weir run", "--config <FILE>"),
        ("weir run weir.yaml", "unexpected argument"),
        ("weir run --config", "a value is required"),
        ("weir run --config a --config b", "cannot be used multiple times"),
        ("weir demo --seconds 0", "0 is not in 1..=3600"),
        ("weir demo --seconds soon", "invalid digit"),
        ("weir demo --attach ebpf", "[possible values: auto, xdp, xdp-generic, tc]"),
        ("weir check", "<FILE>"),
        ("weir check a b", "unexpected argument"),
        ("weir status web", "unexpected argument"),
        ("weir status --watch", "unexpected argument"),
        ("weir services --watch --json", "cannot be used with"),
        ("weir flows --limit 0", "0 is not in 1..=100000"),
        ("weir flows --limit 100001", "is not in 1..=100000"),
        ("weir flows --service Web!", "a service is named with"),
        ("weir drain", "<BACKEND>"),
        ("weir drain web", "is not address:port"),
        ("weir drain 198.18.10.2", "is not address:port"),
        ("weir drain 198.18.10.2:80/icmp", "neither tcp nor udp"),
        ("weir undrain [fe80::1%1]:80", "has a zone"),
        ("weir weight web 198.18.10.2:8080", "<N|auto>"),
        ("weir weight web 198.18.10.2:8080 1001", "not auto and not 0 to 1000"),
        ("weir weight web 198.18.10.2:8080 -1", "unexpected argument"),
        ("weir weight web 198.18.10.2:8080 0.5", "not auto and not 0 to 1000"),
        ("weir weight web 198.18.10.2:8080 Auto", "not auto and not 0 to 1000"),
        ("weir weight WEB? 198.18.10.2:8080 1", "a service is named with"),
        ("weir explain tcp 198.18.0.2:1", "<DST>"),
        ("weir explain icmp 198.18.0.2:1 198.18.0.1:1", "neither tcp nor udp"),
        ("weir explain tcp 198.18.0.2 198.18.0.1:1", "is not address:port"),
        ("weir explain tcp 198.18.0.2:0 198.18.0.1:1", "port 0"),
        ("weir explain tcp 0.0.0.0:1 198.18.0.1:1", "no packet has this address"),
        ("weir explain tcp [::]:1 [fd00::1]:1", "no packet has this address"),
        ("weir explain tcp [::ffff:198.18.0.2]:1 198.18.0.1:1", "no packet has this address"),
        ("weir explain tcp [fd00::2]:1 198.18.0.1:1", "not of one address family"),
        ("weir simulate --config w", "--pcap <IN>"),
        ("weir simulate --pcap i", "--config <FILE>"),
        ("weir simulate --config w --pcap i --hex h", "cannot be used with"),
        ("weir simulate --config w --pcap i --mode xdp-generic", "[possible values: xdp, tc]"),
        ("weir simulate --config w --pcap i --out i", "would overwrite the input"),
        ("weir completions", "<SHELL>"),
        ("weir completions cmd", "[possible values: bash"),
    ] {
        refused(line, part);
    }
}

#[test]
fn wrong_usage_of_what_works_on_files_is_as_wrong() {
    for (line, part) in [
        ("weir forecast a b", "unexpected argument"),
        ("weir forecast --window 3", "3 is not in 4..=1000"),
        ("weir forecast --window 1001", "1001 is not in 4..=1000"),
        ("weir forecast --window ten", "invalid digit"),
        ("weir forecast --horizon 0", "0 is not in 1..=1000"),
        ("weir forecast --horizon -1", "unexpected argument"),
        ("weir forecast --model arima", "auto, grey, grey-classic, holt, last]"),
        ("weir forecast --column", "a value is required"),
        ("weir forecast --plot", "a value is required"),
        ("weir forecast --plot p --plot q", "cannot be used multiple times"),
        ("weir place --nodes n", "--workloads <FILE>"),
        ("weir place --nodes - --workloads -", "cannot both be standard input"),
        ("weir place --nodes n --workloads w --budget 0ms", "no time from 1ms to 1h"),
        ("weir place --nodes n --workloads w --budget 2h", "no time from 1ms to 1h"),
        ("weir place --nodes n --workloads w --budget 200", "write 200ms, 5s or 1m"),
        ("weir place --nodes n --workloads w --budget 1.5s", "write 200ms, 5s or 1m"),
        ("weir place --nodes n --workloads w --budget=-1s", "write 200ms, 5s or 1m"),
        ("weir place --nodes n --workloads w --budget 1s --iterations 5", "cannot be used with"),
        ("weir place --nodes n --workloads w --iterations 1000001", "is not in 0..=1000000"),
        ("weir place --nodes n --workloads w --threads 0", "0 is not in 1..=1024"),
        ("weir place --nodes n --workloads w --method best", "[possible values: kubernetes"),
    ] {
        refused(line, part);
    }
}

/// A line is wrong usage, and said to be so.
fn refused(line: &str, part: &str) {
    let error = read(line).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{line}");
    let text = error.to_string();
    assert!(text.contains(part), "{line}: {text}");
}

#[test]
fn help_and_version_are_not_mistakes() {
    let version = read("weir --version").unwrap_err();
    assert_eq!((version.kind(), version.exit_code()), (ErrorKind::DisplayVersion, 0));
    assert_eq!(version.to_string(), format!("weir {}\n", env!("CARGO_PKG_VERSION")));
    let help = read("weir --help").unwrap_err();
    assert_eq!((help.kind(), help.exit_code()), (ErrorKind::DisplayHelp, 0));
    assert_eq!(read("weir").unwrap_err().exit_code(), 2);
}

#[test]
fn every_command_teaches_by_example() {
    for command in Cli::command().get_subcommands().filter(|command| command.get_name() != "help") {
        let name = command.get_name();
        let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(examples.contains("Example"), "{name}");
        assert!(examples.contains(&format!("weir {name}")), "{name}");
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(about.len() > 10, "{name}: {about}");
    }
}
