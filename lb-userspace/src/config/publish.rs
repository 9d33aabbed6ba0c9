//! Published ports, in the words of `docker run -p`: `[address:][port of the host:]port of the
//! container[/protocol]`.

use std::net::IpAddr;

use super::{
    address::{host_address, port_range, protocol},
    error::{Mistake, shown},
};
use crate::model::{HostPorts, PortRange, Protocol, Publish};

/// One element of the label `weir.publish`.
pub(super) fn publish(text: &str) -> Result<Publish, Mistake> {
    let (place, protocol) = match text.split_once('/') {
        Some((place, word)) => (place, protocol(word)?),
        None => (text, Protocol::Tcp),
    };
    let (address, ports) = split(place).ok_or_else(|| shape(text))?;
    let address = address.map(|address| listen_address(address, text)).transpose()?;
    let (host, container) = match ports.split_once(':') {
        Some((host, container)) => (host, container),
        None => ("", ports),
    };
    if container.is_empty() || container.contains(':') {
        return Err(shape(text));
    }
    let container = port_range(container)?;
    // Docker takes no port, and port 0, for any port.
    let host = match host {
        "" | "0" => HostPorts::Auto,
        host => host_ports(port_range(host)?, container)?,
    };
    Ok(Publish { address, host, container, protocol })
}

/// One address of a host, or an unspecified one, which stands for all of its family.
pub(super) fn listen_address(address: &str, text: &str) -> Result<IpAddr, Mistake> {
    match address.parse::<IpAddr>() {
        Ok(any) if any.is_unspecified() => Ok(any),
        Ok(_) | Err(_) => host_address(address, text),
    }
}

/// The address, if there is one, and the rest.
fn split(text: &str) -> Option<(Option<&str>, &str)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, ports) = rest.split_once("]:")?;
        return Some((Some(address), ports));
    }
    match text.split(':').count() {
        1 | 2 => Some((None, text)),
        3 => text.split_once(':').map(|(address, ports)| (Some(address), ports)),
        _ => None,
    }
}

fn host_ports(host: PortRange, container: PortRange) -> Result<HostPorts, Mistake> {
    match (host.width(), container.width()) {
        (host_width, width) if host_width == width => Ok(HostPorts::Fixed(host)),
        (_, 1) => Ok(HostPorts::Within(host)),
        (host_width, width) => Err(Mistake::new(format!(
            "{host_width} ports of the host, `{host}`, for {width} of the container, `{container}`"
        ))
        .hint("as many here as there, or one of the container for any one of the host")),
    }
}

fn shape(text: &str) -> Mistake {
    Mistake::new(format!("{} names no port to publish", shown(text))).hint(
        "as with `docker run -p`: `8080:80`, `198.18.0.1:8080:80/tcp`, `[fd00::1]:53:53/udp`, or \
         `80` for an automatic port of the host",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        match publish(text) {
            Ok(Publish { address, host, container, protocol }) => {
                let address = address.map_or_else(|| "any".to_owned(), |one| one.to_string());
                let host = match host {
                    HostPorts::Fixed(ports) => ports.to_string(),
                    HostPorts::Within(ports) => format!("one of {ports}"),
                    HostPorts::Auto => "auto".to_owned(),
                };
                format!("{address} {host} to {container}/{protocol}")
            }
            Err(mistake) => mistake.message,
        }
    }

    #[test]
    fn docker_s_words_are_understood() {
        for (text, expected) in [
            ("80", "any auto to 80/tcp"),
            ("443/udp", "any auto to 443/udp"),
            (":80", "any auto to 80/tcp"),
            ("0:80", "any auto to 80/tcp"),
            ("8080:80", "any 8080 to 80/tcp"),
            ("127.0.0.1:9000:9000/udp", "127.0.0.1 9000 to 9000/udp"),
            ("127.0.0.1::80", "127.0.0.1 auto to 80/tcp"),
            ("0.0.0.0:8080:80", "0.0.0.0 8080 to 80/tcp"),
            ("[::]:8080:80", ":: 8080 to 80/tcp"),
            ("[fd00::1]:53:53/udp", "fd00::1 53 to 53/udp"),
            ("8000-8010:80-90", "any 8000-8010 to 80-90/tcp"),
            ("8000-8010:80", "any one of 8000-8010 to 80/tcp"),
            ("80-90", "any auto to 80-90/tcp"),
            ("198.18.0.1:7000-7100:7000-7100/udp", "198.18.0.1 7000-7100 to 7000-7100/udp"),
        ] {
            assert_eq!(told(text), expected, "{text}");
        }
    }

    #[test]
    fn what_docker_refuses_is_refused() {
        for (text, expected) in [
            ("", "`\"\"` names no port to publish"),
            ("8080:", "`8080:` names no port to publish"),
            ("127.0.0.1:8080:", "`127.0.0.1:8080:` names no port to publish"),
            ("fd00::1:80:80", "`fd00::1:80:80` names no port to publish"),
            ("[fd00::1]80:80", "`[fd00::1]80:80` names no port to publish"),
            ("[fd00::1]:80:80:80", "`[fd00::1]:80:80:80` names no port to publish"),
            ("localhost:80:80", "`localhost` is not an IP address"),
            ("224.0.0.1:80:80", "`224.0.0.1` is a multicast address"),
            ("[::ffff:198.18.0.1]:80:80", "`[::ffff:198.18.0.1]:80:80` is an IPv4-mapped address"),
            ("80/sctp", "unknown protocol `sctp`"),
            ("http", "`http` is not a port; ports run from 1 to 65535"),
            ("8080:0", "`0` is not a port; ports run from 1 to 65535"),
            ("8080:65536", "`65536` is not a port; ports run from 1 to 65535"),
            ("90-80:80", "port range `90-80` ends before it begins"),
            (
                "8000-8010:80-91",
                "11 ports of the host, `8000-8010`, for 12 of the container, `80-91`",
            ),
            ("8000:80-91", "1 ports of the host, `8000`, for 12 of the container, `80-91`"),
            ("0-5:80-85", "`0` is not a port; ports run from 1 to 65535"),
        ] {
            assert_eq!(told(text), expected, "{text}");
        }
    }
}
