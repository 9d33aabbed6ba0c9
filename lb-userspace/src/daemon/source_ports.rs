//! Flows of full NAT come from addresses of this host, as its own connections do: if they took the same
//! ports, either would get the other's answers.

use std::{fs, net::SocketAddr};

use anyhow::{Context as _, bail};
use lb_common::abi::{backend::Backend, flow::Conn};

use super::Daemon;
use crate::model::{Config, Forward, PortRange};

/// The ports that the kernel takes for connections of the host's own, over IPv6 too.
const LOCAL: &str = "/proc/sys/net/ipv4/ip_local_port_range";

impl Daemon {
    /// Says so where both may take the same ports.
    pub(super) fn look_at_source_ports(&self) -> anyhow::Result<()> {
        let config = &self.state.config;
        if !in_use(config) {
            return Ok(());
        }
        let text = fs::read_to_string(LOCAL).with_context(|| format!("cannot read {LOCAL}"))?;
        check(config.source_ports, &text)
    }
}

fn in_use(config: &Config) -> bool {
    config.services.iter().any(|service| service.forward == Forward::FullNat)
}

fn check(ports: PortRange, text: &str) -> anyhow::Result<()> {
    let bounds: Vec<u16> = text.split_whitespace().filter_map(|it| it.parse().ok()).collect();
    let [first, last] = bounds[..] else { bail!("{LOCAL} says {text:?}") };
    if ports.first() <= last && first <= ports.last() {
        bail!(
            "{}-{} overlap with the ports of this host's own connections, {first}-{last} (sysctl \
             net.ipv4.ip_local_port_range): connections to a backend of `forward: full-nat` may \
             get each other's answers; change either",
            ports.first(),
            ports.last()
        );
    }
    Ok(())
}

/// Whom the backend of a flow sees, where that is an address and a port of this host.
pub(super) fn source(conn: &Conn, backend: Option<&Backend>) -> Option<SocketAddr> {
    let backend = backend.filter(|it| conn.is_full_nat() && it.generation == conn.generation)?;
    Some((std::net::IpAddr::from(backend.source), u16::from_be(conn.peer_port)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_the_host_takes_for_itself_are_none_for_flows() {
        let rows = [
            (PortRange::SOURCES, "32768\t60999\n", true),
            (PortRange::SOURCES, "32767\t60999\n", false),
            (PortRange::SOURCES, "1024\t65535\n", false),
            (PortRange::SOURCES, "1024\t10000\n", false),
            (PortRange::SOURCES, "1024\t9999\n", true),
            (PortRange::new(61_000, 65_535).unwrap(), "32768\t60999\n", true),
            (PortRange::new(40_000, 40_000).unwrap(), "32768\t60999\n", false),
            (PortRange::SOURCES, "", false),
            (PortRange::SOURCES, "32768\n", false),
            (PortRange::SOURCES, "a b\n", false),
        ];
        for (ports, text, fine) in rows {
            assert_eq!(check(ports, text).is_ok(), fine, "{ports:?} {text:?}");
        }
        let told = check(PortRange::SOURCES, "1024\t65535\n").unwrap_err().to_string();
        assert!(told.contains("10000-32767 overlap"), "{told}");
        assert!(told.contains("net.ipv4.ip_local_port_range"), "{told}");
    }
}
