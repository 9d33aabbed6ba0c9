//! From text to addresses: what a service listens on, where a backend serves.

use std::net::{IpAddr, Ipv4Addr};

use super::error::{Mistake, nearest, shown};
use crate::model::{Listen, PortRange, Protocol};

/// Decimal digits and nothing else: no sign, no space, no `0x`.
pub(super) fn plain_number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// `198.18.0.1:80/tcp`, `[fd00::1]:80`, `198.18.0.1:27000-27100/udp`.
pub(super) fn listen(text: &str) -> Result<Listen, Mistake> {
    listen_at(text, host_address)
}

/// What services listen on, where `address` says which addresses may be named.
pub(super) fn listen_at(
    text: &str,
    address: impl FnOnce(&str, &str) -> Result<IpAddr, Mistake>,
) -> Result<Listen, Mistake> {
    let (place, protocol) = match text.split_once('/') {
        Some((place, word)) => (place, protocol(word)?),
        None => (text, Protocol::Tcp),
    };
    let (named, ports) = split(place);
    let address = address(named, text)?;
    let ports = ports.ok_or_else(|| {
        Mistake::new(format!("{} has no port", shown(text)))
            .hint(format!("such as `{}`", with_port(address, "80")))
    })?;
    Ok(Listen { address, ports: port_range(ports)?, protocol })
}

/// Where a backend serves, with its port unless that is left out.
pub(super) fn backend(text: &str) -> Result<(IpAddr, Option<u16>), Mistake> {
    if let Some((place, _)) = text.split_once('/') {
        return Err(Mistake::new(format!("{} is not an address with a port", shown(text)))
            .hint(format!("a backend has the protocol of its service: {}", shown(place))));
    }
    let (address, port) = split(text);
    let address = host_address(address, text)?;
    Ok((address, port.map(port_number).transpose()?))
}

/// One address, of a kind that a host can have.
pub(super) fn host_address(address: &str, text: &str) -> Result<IpAddr, Mistake> {
    let parsed: IpAddr = address.parse().map_err(|_| not_an_address(address, text))?;
    checked_family(parsed, text)?;
    let kind = match parsed {
        address if address.is_unspecified() => "the unspecified address",
        address if address.is_multicast() => "a multicast address",
        IpAddr::V4(Ipv4Addr::BROADCAST) => "the broadcast address",
        IpAddr::V4(_) | IpAddr::V6(_) => return Ok(parsed),
    };
    Err(Mistake::new(format!("{} is {kind}", shown(address)))
        .hint("name the one address that packets carry"))
}

/// Refuses IPv4 addresses in IPv6 clothes: packets never carry them, and the tables hold IPv4 in
/// this form.
pub(super) fn checked_family(address: IpAddr, text: &str) -> Result<(), Mistake> {
    let IpAddr::V6(v6) = address else { return Ok(()) };
    match v6.to_ipv4_mapped() {
        None => Ok(()),
        Some(v4) => Err(Mistake::new(format!("{} is an IPv4-mapped address", shown(text)))
            .hint(format!("write it as `{v4}`"))),
    }
}

/// A port.
pub(super) fn port_number(text: &str) -> Result<u16, Mistake> {
    let port = plain_number(text).and_then(|port| u16::try_from(port).ok());
    port.filter(|port| *port != 0).ok_or_else(|| {
        Mistake::new(format!("{} is not a port; ports run from 1 to 65535", shown(text)))
    })
}

pub(super) fn port_range(text: &str) -> Result<PortRange, Mistake> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port_number(first)?, port_number(last)?);
    PortRange::new(first, last).ok_or_else(|| {
        Mistake::new(format!("port range {} ends before it begins", shown(text)))
            .hint(format!("`{last}-{first}`"))
    })
}

pub(super) fn protocol(word: &str) -> Result<Protocol, Mistake> {
    match word {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        other => {
            let mistake = Mistake::new(format!("unknown protocol {}", shown(other)));
            let near = nearest(other, ["tcp", "udp"]);
            Err(mistake.hint(match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`tcp` or `udp`".to_owned(),
            }))
        }
    }
}

/// Splits the port off; an IPv6 address has it outside its brackets.
fn split(text: &str) -> (&str, Option<&str>) {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match (bracketed, text.split_once(':')) {
        (Some((address, "")), _) => (address, None),
        (Some((address, rest)), _) if rest.starts_with(':') => (address, rest.get(1..)),
        (Some(_), _) | (None, None) => (text, None),
        (None, Some((_, port))) if port.contains(':') => (text, None),
        (None, Some((address, port))) => (address, Some(port)),
    }
}

fn not_an_address(address: &str, text: &str) -> Mistake {
    let unbracketed = || {
        let (address, port) = text.split('/').next()?.rsplit_once(':')?;
        let address: IpAddr = address.parse().ok()?;
        Some(format!("an IPv6 address has brackets: `{}`", with_port(address, port)))
    };
    let name = || {
        let is_name = address.bytes().any(|byte| byte.is_ascii_alphabetic())
            && !address.contains([':', '[', ']']);
        is_name.then(|| "names are not resolved; write the address".to_owned())
    };
    let shape = || "such as `198.18.0.1:80` or `[fd00::1]:80`".to_owned();
    Mistake::new(format!("{} is not an IP address", shown(address)))
        .hint(unbracketed().or_else(name).unwrap_or_else(shape))
}

fn with_port(address: IpAddr, port: &str) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}:{port}"),
        IpAddr::V6(address) => format!("[{address}]:{port}"),
    }
}
