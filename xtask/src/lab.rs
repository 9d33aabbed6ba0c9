//! `cargo xtask lab`: a client, a balancer and three backends in network namespaces.
//!
//! ```text
//! weir-client 198.18.0.2 --- 198.18.0.1 weir-lb 198.18.10.1 (br0) --- 198.18.10.2..4 weir-b1..3
//!             fd00:18::2 --- fd00:18::1         fd00:18:10::1     --- fd00:18:10::2..4
//! ```

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Subcommand;

use crate::setup;
use crate::shell::{self, say};

/// What to do with the lab.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Make it
    Up,
    /// Remove it
    Down,
    /// A shell inside one of its namespaces
    Shell {
        /// client, lb, b1, b2 or b3
        #[arg(default_value = "lb")]
        place: String,
    },
}

const NAMESPACES: [&str; 5] = ["weir-client", "weir-lb", "weir-b1", "weir-b2", "weir-b3"];

pub(crate) fn run(command: Command) -> Result<ExitCode> {
    ensure!(shell::is_root(), "the lab needs root: it makes network namespaces");
    match command {
        Command::Up => up().map(|()| ExitCode::SUCCESS),
        Command::Down => down().map(|()| ExitCode::SUCCESS),
        Command::Shell { place } => enter(&place),
    }
}

fn up() -> Result<()> {
    setup::ensure_programs(&[
        ("ip", "iproute2"),
        ("nsenter", "util-linux"),
        ("ethtool", "ethtool"),
        ("sysctl", "procps"),
    ])?;
    if let Some(name) = NAMESPACES.into_iter().find(|name| handle(name).exists()) {
        bail!("{name} exists already; `cargo xtask lab down` removes it");
    }
    let made = plan().iter().try_for_each(|line| execute(line));
    if made.is_err() {
        down()?;
    }
    made?;
    println!("{MADE}");
    Ok(())
}

const MADE: &str = "\
weir-client  eth0  198.18.0.2/24    fd00:18::2/64
weir-lb      eth0  198.18.0.1/24    fd00:18::1/64
weir-lb      br0   198.18.10.1/24   fd00:18:10::1/64   over b1, b2, b3
weir-b1      eth0  198.18.10.2/24   fd00:18:10::2/64
weir-b2      eth0  198.18.10.3/24   fd00:18:10::3/64
weir-b3      eth0  198.18.10.4/24   fd00:18:10::4/64

next, for example:
  cargo xtask lab shell b1         # and there: python3 -m http.server 8080
  cargo xtask lab shell            # and there: target/release/weir run --config weir.yaml
  cargo xtask lab shell client     # and there: curl http://198.18.0.1/
  cargo xtask lab down";

/// Every command, in order, as a person would type it.
fn plan() -> Vec<String> {
    let mut lines: Vec<String> = NAMESPACES.iter().map(|it| format!("ip netns add {it}")).collect();
    lines.extend(NAMESPACES.iter().map(|it| format!("ip -n {it} link set lo up")));
    lines.push(veth("weir-lb", "eth0", "weir-client"));
    lines.extend(address("weir-client", "eth0", "198.18.0.2/24", "fd00:18::2/64"));
    lines.extend(address("weir-lb", "eth0", "198.18.0.1/24", "fd00:18::1/64"));
    lines.extend(default_routes("weir-client", "198.18.0.1", "fd00:18::1"));
    lines.push("ip -n weir-lb link add br0 type bridge forward_delay 0".to_owned());
    lines.extend(address("weir-lb", "br0", "198.18.10.1/24", "fd00:18:10::1/64"));
    for number in 1..=3 {
        let (name, port, host) = (format!("weir-b{number}"), format!("b{number}"), number + 1);
        lines.push(veth("weir-lb", &port, &name));
        lines.push(format!("ip -n weir-lb link set {port} master br0 up"));
        let [v4, v6] = [format!("198.18.10.{host}/24"), format!("fd00:18:10::{host}/64")];
        lines.extend(address(&name, "eth0", &v4, &v6));
        lines.extend(default_routes(&name, "198.18.10.1", "fd00:18:10::1"));
    }
    let inside = |name: &str, line: &str| format!("nsenter --net=/run/netns/{name} {line}");
    lines
        .push(inside("weir-lb", "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"));
    // What leaves a veth has unfinished checksums, which no frame of a real network card has; and
    // XDP may redirect only into a veth whose peer polls, which GRO makes it do.
    for name in NAMESPACES.into_iter().filter(|name| *name != "weir-lb") {
        lines.push(inside(name, "ethtool -K eth0 tx off gro on"));
    }
    lines
}

fn veth(here: &str, device: &str, there: &str) -> String {
    format!("ip -n {here} link add {device} type veth peer name eth0 netns {there}")
}

fn address(name: &str, device: &str, v4: &str, v6: &str) -> [String; 3] {
    [
        format!("ip -n {name} address add {v4} dev {device}"),
        // Nobody else can have the address, and without the check it is usable at once.
        format!("ip -n {name} address add {v6} dev {device} nodad"),
        format!("ip -n {name} link set {device} up"),
    ]
}

fn default_routes(name: &str, v4: &str, v6: &str) -> [String; 2] {
    [
        format!("ip -n {name} route add default via {v4}"),
        format!("ip -n {name} -6 route add default via {v6}"),
    ]
}

/// The words of these lines hold no blanks, so no shell is needed.
fn execute(line: &str) -> Result<()> {
    let mut words = line.split_whitespace();
    let program = words.next().context("an empty command")?;
    let path = shell::find_program(program).with_context(|| format!("{program} is missing"))?;
    shell::output(process::Command::new(path).args(words)).map(|_| ())
}

fn down() -> Result<()> {
    for name in NAMESPACES.into_iter().filter(|name| handle(name).exists()) {
        execute(&format!("ip netns delete {name}"))?;
        say(format!("lab: removed {name}"));
    }
    Ok(())
}

/// By `nsenter`: `ip netns exec` would mount another /sys and hide cgroups and pinned programs.
fn enter(place: &str) -> Result<ExitCode> {
    let name = format!("weir-{place}");
    ensure!(NAMESPACES.contains(&name.as_str()), "no such place: {place} (client, lb, b1, b2, b3)");
    let handle = handle(&name);
    ensure!(handle.exists(), "there is no lab; `cargo xtask lab up` makes it");
    let user_shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
    say(format!("lab: a shell in {name}; `exit` leaves it"));
    let mut command = process::Command::new("nsenter");
    let error = command.arg(format!("--net={}", handle.display())).arg(user_shell).exec();
    Err(error).context("cannot start nsenter")
}

fn handle(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_stays_inside_the_lab() {
        for line in plan() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let inside = match words.as_slice() {
                ["ip", "netns", "add", name] | ["ip", "-n", name, ..] => NAMESPACES.contains(name),
                ["nsenter", net, ..] => {
                    net.strip_prefix("--net=/run/netns/").is_some_and(|it| NAMESPACES.contains(&it))
                }
                _ => false,
            };
            assert!(inside, "{line}");
        }
    }

    #[test]
    fn every_address_of_the_page_is_given() {
        let plan = plan().join("\n");
        for word in MADE.split_whitespace().filter(|word| word.ends_with("/24")) {
            assert!(plan.contains(&format!("address add {word} ")), "{word}");
        }
    }

    #[test]
    fn an_unknown_place_is_refused() {
        for place in ["", "b4", "../x", "weir-lb"] {
            let error = enter(place).unwrap_err().to_string();
            assert!(error.starts_with("no such place"), "{place:?}: {error}");
        }
    }
}
