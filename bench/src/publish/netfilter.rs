//! nftables and iptables: rules, in one transaction.

use std::{io::Write as _, process::Stdio, time::Instant};

use anyhow::{Context as _, Result, ensure};

use super::{
    Step, milliseconds, ports,
    site::{SERVER_PORT, Site},
};

/// Who writes the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    NftRules,
    NftMap,
    Iptables,
}

/// What the tool is told, in its own words.
struct Rules {
    all: String,
    one_more: String,
    none: &'static str,
}

pub(super) fn measure(site: &Site, tool: Tool, count: u16) -> Result<Vec<(Step, f64)>> {
    let (_, more) = ports(count);
    let Rules { all, one_more, none } = rules(site, tool, count);
    let mut steps = Vec::new();
    for (step, rules, port) in [(Step::Publish, all, more - 1), (Step::Add, one_more, more)] {
        let start = Instant::now();
        apply(site, tool, &rules)?;
        site.connect(Site::vip(), port)?;
        steps.push((step, milliseconds(start)));
    }
    let start = Instant::now();
    apply(site, tool, none)?;
    steps.push((Step::Remove, milliseconds(start)));
    Ok(steps)
}

/// What publishes one port.
pub(super) fn example(site: &Site, tool: Tool) -> String {
    rules(site, tool, 1).all
}

fn rules(site: &Site, tool: Tool, count: u16) -> Rules {
    let (vip, server) = (Site::vip(), site.server());
    let to = format!("{server}:{SERVER_PORT}");
    let rule = |port: u16| match tool {
        Tool::NftRules => {
            format!("add rule ip weirbench pre ip daddr {vip} tcp dport {port} dnat to {to}\n")
        }
        Tool::NftMap => {
            format!("add element ip weirbench published {{ {port} : {server} }}\n")
        }
        Tool::Iptables => format!(
            "-A PREROUTING -d {vip}/32 -p tcp -m tcp --dport {port} -j DNAT --to-destination {to}\n"
        ),
    };
    let (head, tail, none) = match tool {
        Tool::NftRules => (
            "table ip weirbench {\nchain pre { type nat hook prerouting priority dstnat;\n}\n}\n"
                .to_owned(),
            "",
            "delete table ip weirbench\n",
        ),
        Tool::NftMap => (
            format!(
                "table ip weirbench {{\nmap published {{ type inet_service : ipv4_addr; }}\n\
                 chain pre {{ type nat hook prerouting priority dstnat;\n\
                 ip daddr {vip} dnat to tcp dport map @published:{SERVER_PORT}\n}}\n}}\n"
            ),
            "",
            "delete table ip weirbench\n",
        ),
        Tool::Iptables => ("*nat\n".to_owned(), "COMMIT\n", "*nat\n-F PREROUTING\nCOMMIT\n"),
    };
    let (range, more) = ports(count);
    let start = if tool == Tool::Iptables { head.as_str() } else { "" };
    let one_more = [start, &rule(more), tail].concat();
    let all = [head.clone(), range.map(rule).collect(), tail.to_owned()].concat();
    Rules { all, one_more, none }
}

fn apply(site: &Site, tool: Tool, rules: &str) -> Result<()> {
    let (program, arguments) = match tool {
        Tool::NftRules | Tool::NftMap => ("nft", ["-f", "-"]),
        Tool::Iptables => ("iptables-restore", ["--noflush", "--wait"]),
    };
    let mut command = site.lab.lb().command(program);
    let mut child = command.args(arguments).stdin(Stdio::piped()).spawn().context(program)?;
    child.stdin.take().context("no input")?.write_all(rules.as_bytes())?;
    ensure!(child.wait()?.success(), "{program} refused its rules");
    Ok(())
}
