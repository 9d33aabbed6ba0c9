//! The outer side of tunnels.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::super::{
    error::{Mistake, Report, shown},
    field::{At, Field},
    raw::RawTunnel,
    scalar,
};
use crate::model::Tunnel;

pub(super) fn tunnel(raw: &Field<RawTunnel>, report: &mut Report) -> Tunnel {
    let Some(At { value: raw, .. }) = raw.given() else { return Tunnel::default() };
    let port = |text: &str| scalar::integer(1, u32::from(u16::MAX))(text);
    let port = raw.gue_port.parse(report, port).and_then(|at| u16::try_from(at.value).ok());
    Tunnel {
        v4: raw.v4.parse(report, v4).map(|at| at.value),
        v6: raw.v6.parse(report, v6).map(|at| at.value),
        gue_port: port.unwrap_or(Tunnel::GUE_PORT),
    }
}

fn v4(text: &str) -> Result<Ipv4Net, Mistake> {
    match scalar::network(text)? {
        IpNet::V4(network) => usable(network, network.addr().is_loopback(), text),
        IpNet::V6(_) => Err(Mistake::new(format!("{} is not an IPv4 network", shown(text)))),
    }
}

fn v6(text: &str) -> Result<Ipv6Net, Mistake> {
    match scalar::network(text)? {
        IpNet::V6(network) => usable(network, network.addr().is_loopback(), text),
        IpNet::V4(_) => Err(Mistake::new(format!("{} is not an IPv6 network", shown(text)))),
    }
}

/// Backends are to see who it is.
fn usable<N: Into<IpNet> + Copy>(network: N, loopback: bool, text: &str) -> Result<N, Mistake> {
    let net: IpNet = network.into();
    let address = net.addr();
    if loopback || address.is_multicast() || address.is_unspecified() {
        let mistake =
            Mistake::new(format!("{} has addresses that no packet comes from", shown(text)));
        return Err(mistake.hint("a network that leads to nobody else, such as `198.18.255.0/24`"));
    }
    Ok(network)
}
