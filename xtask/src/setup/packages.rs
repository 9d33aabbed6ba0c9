//! Packages of the operating system: only by apt, only as root, only what is missing.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::shell::{self, say};

/// A program, or the path of a file, and the Debian package that brings it.
type Program = (&'static str, &'static str);

/// What the tests in network namespaces call.
pub(crate) const TEST_PROGRAMS: [Program; 8] = [
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("curl", "curl"),
    ("nginx", "nginx-light"),
    ("iperf3", "iperf3"),
    ("tcpdump", "tcpdump"),
    ("ethtool", "ethtool"),
    ("nft", "nftables"),
];

/// The Docker engine; what it is asked with is in its package, or in one of its own.
pub(crate) const ENGINE_PROGRAMS: [Program; 2] = [("dockerd", "docker.io"), ("tar", "tar")];
pub(crate) const ENGINE_CLIENT: [Program; 2] =
    [("docker", "docker-cli"), ("docker-compose", "docker-compose")];

/// What the bench calls besides.
pub(crate) const BENCH_PROGRAMS: [Program; 4] = [
    ("wrk", "wrk"),
    ("haproxy", "haproxy"),
    ("iptables-restore", "iptables"),
    ("/usr/lib/nginx/modules/ngx_stream_module.so", "libnginx-mod-stream"),
];

/// Programs whose packages start services that nobody here asked for.
const WITH_SERVICES: [(&str, &[&str]); 3] = [
    ("nginx", &["nginx"]),
    ("haproxy", &["haproxy"]),
    // The socket first: it would start the service again.
    ("dockerd", &["docker.socket", "docker", "containerd"]),
];

/// Sees to it that programs exist.
pub(crate) fn ensure_programs(programs: &[Program]) -> Result<()> {
    let missing: Vec<Program> =
        programs.iter().copied().filter(|(program, _)| !exists(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    if let Some(obstacle) = apt_obstacle() {
        bail!("{obstacle}; please install {} and try again", packages.join(", "));
    }
    apt_install(&packages)?;
    for (_, services) in WITH_SERVICES.iter().filter(|(name, _)| names(&missing, name)) {
        services.iter().for_each(|service| stop(service));
    }
    Ok(())
}

fn exists(program: &str) -> bool {
    let is_path = program.starts_with('/');
    if is_path { Path::new(program).exists() } else { shell::find_program(program).is_some() }
}

fn names(programs: &[Program], name: &str) -> bool {
    programs.iter().any(|(program, _)| *program == name)
}

/// Why packages cannot be installed here, if so.
pub(crate) fn apt_obstacle() -> Option<&'static str> {
    if !Path::new("/usr/bin/apt-get").exists() {
        return Some("there is no apt-get");
    }
    (!shell::is_root()).then_some("apt-get needs root")
}

/// Installs packages; the lists are updated only when the first try fails.
pub(crate) fn apt_install(packages: &[&str]) -> Result<()> {
    say(format!("setup: installing {} by apt-get", packages.join(", ")));
    if shell::run(&mut install_command(packages)).is_ok() {
        return Ok(());
    }
    say("setup: updating the package lists");
    shell::run(apt().arg("update"))?;
    shell::run(&mut install_command(packages))
}

fn install_command(packages: &[&str]) -> Command {
    let mut command = apt();
    command.args(["install", "-y", "--no-install-recommends"]).args(packages);
    command
}

fn apt() -> Command {
    let mut command = Command::new("/usr/bin/apt-get");
    // In run level 1 Debian's maintainer scripts start no service.
    command.arg("-qq").env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    command
}

/// systemd has no run levels: it may have started the service that came with a package just
/// installed, on a port somebody else wants.
fn stop(service: &str) {
    if Path::new("/run/systemd/system").exists() {
        let stopped = shell::run(Command::new("systemctl").args(["disable", "--now", service]));
        if let Err(error) = stopped {
            say(format!("setup: {service} may be running now: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_exist_need_nothing() {
        ensure_programs(&[("sh", "dash")]).unwrap();
        ensure_programs(&[("/etc/passwd", "base-passwd")]).unwrap();
        ensure_programs(&[]).unwrap();
    }

    #[test]
    fn no_service_is_started_and_nobody_is_asked() {
        let command = install_command(&["curl", "wrk"]);
        let line = shell::line_of(&command);
        assert_eq!(line, "/usr/bin/apt-get -qq install -y --no-install-recommends curl wrk");
        let variables: Vec<_> = command.get_envs().map(|(name, _)| name).collect();
        assert_eq!(variables, ["DEBIAN_FRONTEND", "RUNLEVEL"]);
    }
}
