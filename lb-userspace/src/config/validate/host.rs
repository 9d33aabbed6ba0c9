//! What is not a service: interfaces, doors, timeouts, limits, hairpin addresses.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use super::super::{
    address::{host_address, plain_number},
    error::{Mistake, Report, shown},
    field::{At, Field},
    raw::{OneOrMany, RawAdmin, RawHairpin, RawLimits, RawTimeouts, Text},
    scalar,
};
use crate::model::{Admin, Hairpin, Interfaces, Limits, PortRange, Timeouts};

/// Unix socket of the command line unless configured otherwise.
pub const ADMIN_SOCKET_DEFAULT: &str = "/run/weir/weir.sock";
/// Where metrics and health are unless configured otherwise.
pub const ADMIN_HTTP_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);
/// How long a removed backend keeps its flows unless configured otherwise.
pub const DRAIN_DEFAULT: Duration = Duration::from_mins(5);

/// Largest limit: what a kernel map of small entries can hold without taking gigabytes.
const LIMIT_MAX: u32 = 16 * 1024 * 1024;

pub(super) fn interfaces(raw: &Field<OneOrMany>, report: &mut Report) -> Interfaces {
    let Some(At { value, place }) = raw.given() else { return Interfaces::Auto };
    let names = match value {
        OneOrMany::One(word) if word == "auto" => return Interfaces::Auto,
        OneOrMany::One(word) => {
            let message = format!("{} is neither `auto` nor a list of names", shown(word));
            report.add(*place, Mistake::new(message).hint("names stand in brackets: `[eth0]`"));
            return Interfaces::Auto;
        }
        OneOrMany::Many(names) => names,
    };
    if names.is_empty() {
        let mistake = Mistake::new("no interface, so no client");
        report.add(*place, mistake.hint("`auto` takes those of the default routes"));
    }
    let mut lines = BTreeMap::new();
    let mut unique = Vec::new();
    for At { value: name, place } in
        names.iter().filter_map(|name| name.parse(report, scalar::interface)).collect::<Vec<_>>()
    {
        if let Some(line) = lines.get(&name) {
            let message = format!("interface `{name}` is listed twice, first in line {line}");
            report.add(place, Mistake::new(message));
            continue;
        }
        lines.insert(name.clone(), place.line);
        unique.push(name);
    }
    Interfaces::Named(unique)
}

pub(super) fn admin(raw: &Field<RawAdmin>, report: &mut Report) -> Admin {
    let mut admin =
        Admin { socket: PathBuf::from(ADMIN_SOCKET_DEFAULT), http: Some(ADMIN_HTTP_DEFAULT) };
    if let Some(At { value: raw, .. }) = raw.given() {
        set(&mut admin.socket, &raw.socket, report, scalar::socket_path);
        set(&mut admin.http, &raw.http, report, scalar::admin_http);
    }
    admin
}

pub(super) fn timeouts(raw: &Field<RawTimeouts>, report: &mut Report) -> Timeouts {
    let mut timeouts = Timeouts::default();
    if let Some(At { value: raw, .. }) = raw.given() {
        for (timeout, text) in [
            (&mut timeouts.tcp_new, &raw.tcp_new),
            (&mut timeouts.tcp_established, &raw.tcp_established),
            (&mut timeouts.tcp_half_closed, &raw.tcp_half_closed),
            (&mut timeouts.tcp_closed, &raw.tcp_closed),
            (&mut timeouts.udp_new, &raw.udp_new),
            (&mut timeouts.udp_established, &raw.udp_established),
        ] {
            set(timeout, text, report, scalar::duration);
        }
    }
    timeouts
}

/// The limits, and where they stand: a total that exceeds one is no mistake of its own where the
/// limit itself is wrong.
pub(super) fn limits(raw: &Field<RawLimits>, report: &mut Report) -> Limits {
    let mut limits = Limits::default();
    if let Some(At { value: raw, .. }) = raw.given() {
        for (limit, text) in [
            (&mut limits.conns, &raw.conns),
            (&mut limits.embryos, &raw.embryos),
            (&mut limits.services, &raw.services),
            (&mut limits.backends, &raw.backends),
            (&mut limits.pages, &raw.pages),
        ] {
            set(limit, text, report, scalar::integer(1, LIMIT_MAX));
        }
    }
    limits
}

pub(super) fn hairpin(raw: &Field<RawHairpin>, report: &mut Report) -> Hairpin {
    let mut hairpin = Hairpin::default();
    if let Some(At { value: raw, .. }) = raw.given() {
        set(&mut hairpin.v4, &raw.v4, report, hairpin_v4);
        set(&mut hairpin.v6, &raw.v6, report, hairpin_v6);
    }
    hairpin
}

fn hairpin_v4(text: &str) -> Result<Ipv4Addr, Mistake> {
    match hairpin_address(text)? {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(_) => Err(Mistake::new(format!("{} is not an IPv4 address", shown(text)))),
    }
}

fn hairpin_v6(text: &str) -> Result<Ipv6Addr, Mistake> {
    match hairpin_address(text)? {
        IpAddr::V6(address) => Ok(address),
        IpAddr::V4(_) => Err(Mistake::new(format!("{} is not an IPv6 address", shown(text)))),
    }
}

fn hairpin_address(text: &str) -> Result<IpAddr, Mistake> {
    let address = host_address(text, text)?;
    if address.is_loopback() {
        let mistake = Mistake::new(format!("{} is a loopback address", shown(text)));
        return Err(mistake.hint("a backend would answer itself instead of this host"));
    }
    Ok(address)
}

/// Replaces a default.
fn set<V>(
    value: &mut V,
    text: &Text,
    report: &mut Report,
    parser: impl FnOnce(&str) -> Result<V, Mistake>,
) {
    if let Some(parsed) = text.parse(report, parser) {
        *value = parsed.value;
    }
}

/// `first-last`
pub(super) fn source_ports(text: &str) -> Result<PortRange, Mistake> {
    let bounds = text.split_once('-').unwrap_or((text, text));
    let port = |text| plain_number(text).and_then(|number| u16::try_from(number).ok());
    let range = port(bounds.0).zip(port(bounds.1));
    range.and_then(|(first, last)| PortRange::new(first, last)).ok_or_else(|| {
        Mistake::new(format!("{} is no range of ports", shown(text)))
            .hint("two ports from 1 to 65535, the smaller one first, such as `10000-32767`")
    })
}
