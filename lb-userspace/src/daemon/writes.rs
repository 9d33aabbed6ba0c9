//! What a daemon would write for a configuration, without a host.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Instant,
};

use anyhow::Context as _;
use lb_common::abi::backend::way;

use super::{apply, state::State};
use crate::{
    dataplane::links::Resolved,
    maps::Write,
    model::{Config, Forward, Service},
    reconcile::{Memory, Observed, PlanInput, plan},
    table,
};

/// Names of services and backends by their ids in the maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    services: BTreeMap<u32, String>,
    backends: BTreeMap<u32, String>,
}

impl Names {
    /// The service's name; `None` for id 0.
    #[must_use]
    pub fn service(&self, id: u32) -> Option<String> {
        self.services.get(&id).cloned()
    }

    /// The backend's address; `None` for id 0.
    #[must_use]
    pub fn backend(&self, id: u32) -> Option<String> {
        self.backends.get(&id).cloned()
    }
}

/// The maps of a configuration as writes, with the names behind the ids.
#[derive(Clone, Debug, Default)]
pub struct Writes {
    /// The writes, in order.
    pub writes: Vec<Write>,
    /// The names.
    pub names: Names,
}

/// This host's addresses towards backends of full NAT, where there is no host (RFC 5737, RFC 3849).
const SOURCES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];
/// The loopback, by which test runs arrive.
const LINK: u32 = 1;

/// The ways to backends that full NAT needs to know.
fn pretended(config: &Config) -> BTreeMap<IpAddr, Resolved> {
    let full_nat = config.services.iter().filter(|service| service.forward == Forward::FullNat);
    let addresses = full_nat.flat_map(|it| &it.backends).map(|backend| backend.endpoint.address);
    let resolved = |address: IpAddr| Resolved {
        way: way::LINK,
        ifindex: LINK,
        dst_mac: [0; 6],
        src_mac: [0; 6],
        veth: None,
        on_link: true,
        mtu: 1500,
        source: SOURCES.into_iter().find(|own| own.is_ipv4() == address.is_ipv4()),
        of_host: false,
        unresolved: false,
        why: "as pretended".to_owned(),
    };
    addresses.map(|address| (address, resolved(address))).collect()
}

/// What a daemon would write for a configuration on a host where every backend is healthy and is
/// reached through the stack, those of full NAT by a link from a documentation address: `weir simulate`
/// runs packets against that.
pub fn writes_for(config: Config, ticks_per_second: u32) -> anyhow::Result<Writes> {
    let (drain, limits) = (config.drain, apply::room(config.limits));
    let ways = pretended(&config);
    let mut state = State::new(config, ticks_per_second, 0);
    state.set_ways(ways);
    state.update();
    let mut observed = Observed::default();
    let input = PlanInput {
        desired: &state.wanted.desired,
        observed: &observed,
        memory: &Memory::default(),
        flows: &BTreeMap::new(),
        now: Instant::now(),
        drain,
        limits,
        build: table::build,
        scope: state.wanted.scope(),
    };
    let plan = plan(&input).context("the configuration does not fit")?;
    let writes: Vec<_> = plan.steps.into_iter().map(|step| step.write).collect();
    for write in &writes {
        observed.apply(write);
    }
    let id =
        |service: &Service| service.listens.iter().find_map(|listen| observed.service_of(listen));
    let services = state.config.services.iter();
    let names = Names {
        services: services.filter_map(|s| Some((id(s)?, s.name.to_string()))).collect(),
        backends: observed.present_backends().map(|(id, e)| (id, e.to_string())).collect(),
    };
    Ok(Writes { writes, names })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn backends_of_full_nat_see_an_address_of_each_family() {
        let text = "services:
  - { name: a, listen: [198.18.0.1:80], forward: full-nat, backends: [{ address: 198.18.10.2:80 }] }
  - { name: b, listen: [198.18.0.2:80], forward: full-nat, backends: [{ address: '[fd00::2]:80' }] }
  - { name: c, listen: [198.18.0.3:80], backends: [{ address: 198.18.10.3:80 }] }
";
        let config = config::parse("weir.yaml", text).unwrap().config;
        let ways: BTreeMap<IpAddr, (u8, IpAddr)> = writes_for(config, 100)
            .unwrap()
            .writes
            .into_iter()
            .filter_map(|write| {
                let Write::Backend { value, .. } = write else { return None };
                Some((value.address.into(), (value.way, value.source.into())))
            })
            .collect();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let [v4, v6] = SOURCES;
        assert_eq!(ways[&ip("198.18.10.2")], (way::LINK, v4));
        assert_eq!(ways[&ip("fd00::2")], (way::LINK, v6));
        assert_eq!(ways[&ip("198.18.10.3")], (way::STACK, ip("::")));
    }
}
