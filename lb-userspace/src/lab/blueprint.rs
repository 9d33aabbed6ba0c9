//! From a plan to every namespace, link, address and route, as values.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

use super::plan::{self, LabPlan, Mac, Topology};

/// A namespace's part in the laboratory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Lb,
    Switch,
    /// Counted from 1.
    Backend(u8),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("cl"),
            Self::Lb => f.write_str("lb"),
            Self::Switch => f.write_str("sw"),
            Self::Backend(n) => write!(f, "b{n}"),
        }
    }
}

/// Path under `/proc/sys` and value.
pub(super) type Sysctl = (&'static str, &'static str);

pub(super) struct Blueprint {
    pub(super) nodes: Vec<Node>,
    pub(super) veths: Vec<[End; 2]>,
}

pub(super) struct Node {
    pub(super) role: Role,
    pub(super) sysctls: Vec<Sysctl>,
    pub(super) bridge: Option<End>,
}

/// One end of a veth, or a bridge.
pub(super) struct End {
    pub(super) role: Role,
    pub(super) link: String,
    pub(super) mac: Mac,
    pub(super) addresses: Vec<IpNet>,
    pub(super) routes: Vec<Route>,
    /// A port of the bridge in its namespace.
    pub(super) bridged: bool,
    pub(super) checksum_offload: Option<bool>,
    pub(super) gro: Option<bool>,
}

/// A route over the link it belongs to.
#[derive(Clone, Copy)]
pub(super) struct Route {
    pub(super) to: IpNet,
    pub(super) via: Option<IpAddr>,
}

impl Blueprint {
    pub(super) fn draw(plan: LabPlan) -> Self {
        let gateway = pair(plan, plan::GATEWAY_V4, plan::GATEWAY_V6);
        let mut nodes = vec![node(plan, Role::Client), node(plan, Role::Lb)];
        let mut veths = vec![uplink(plan)];
        match plan.topology {
            Topology::Bridge => {
                let bridge = End::new(Role::Lb, plan::BRIDGE, plan::GATEWAY_MAC);
                nodes[1].bridge = Some(bridge.with_subnets(&gateway));
            }
            Topology::Routed => {}
            Topology::Remote => {
                let mut switch = node(plan, Role::Switch);
                switch.bridge = Some(End::new(Role::Switch, plan::BRIDGE, plan::SWITCH_MAC));
                nodes.push(switch);
                let port = End::new(Role::Switch, "up", Mac::new(12, 2)).bridged().facing_lb(plan);
                let downlink = End::new(Role::Lb, plan::DOWNLINK, plan::GATEWAY_MAC);
                veths.push([port, downlink.with_subnets(&gateway)]);
            }
        }
        nodes.extend((1..=plan.backends).map(|n| node(plan, Role::Backend(n))));
        veths.extend((1..=plan.backends).map(|n| backend_link(plan, n, &gateway)));
        Self { nodes, veths }
    }
}

fn uplink(plan: LabPlan) -> [End; 2] {
    let lb = pair(plan, plan::LB_V4, plan::LB_V6);
    let client = End::new(Role::Client, plan::CLIENT_LINK, plan::CLIENT_MAC)
        .with_subnets(&pair(plan, plan::CLIENT_V4, plan::CLIENT_V6))
        .with_default_routes(&lb)
        .facing_lb(plan);
    [client, End::new(Role::Lb, plan::UPLINK, plan::LB_MAC).with_subnets(&lb)]
}

fn backend_link(plan: LabPlan, n: u8, gateway: &[IpAddr]) -> [End; 2] {
    let addresses = pair(plan, plan::backend_v4(n), plan::backend_v6(n));
    let inside = End::new(Role::Backend(n), "eth0", plan::backend_mac(n)).facing_lb(plan);
    let outside = |role| End::new(role, &plan::host_link(n), plan::host_link_mac(n));
    match plan.topology {
        Topology::Bridge => {
            let inside = inside.with_subnets(&addresses).with_default_routes(gateway);
            [inside, outside(Role::Lb).bridged()]
        }
        Topology::Remote => {
            let inside = inside.with_subnets(&addresses).with_default_routes(gateway);
            [inside, outside(Role::Switch).bridged()]
        }
        Topology::Routed => {
            let inside = inside.with_hosts(&addresses).with_host_routes(gateway);
            let outside = outside(Role::Lb).with_hosts(gateway).with_host_routes(&addresses);
            [inside.with_default_routes(gateway), outside]
        }
    }
}

impl End {
    fn new(role: Role, link: &str, mac: Mac) -> Self {
        Self {
            role,
            link: link.to_owned(),
            mac,
            addresses: Vec::new(),
            routes: Vec::new(),
            bridged: false,
            checksum_offload: None,
            gro: None,
        }
    }

    fn with_subnets(mut self, addresses: &[IpAddr]) -> Self {
        self.addresses.extend(addresses.iter().map(|a| net(*a, if a.is_ipv4() { 24 } else { 64 })));
        self
    }

    fn with_hosts(mut self, addresses: &[IpAddr]) -> Self {
        self.addresses.extend(addresses.iter().map(|a| IpNet::from(*a)));
        self
    }

    fn with_host_routes(mut self, to: &[IpAddr]) -> Self {
        self.routes.extend(to.iter().map(|a| Route { to: IpNet::from(*a), via: None }));
        self
    }

    fn with_default_routes(mut self, via: &[IpAddr]) -> Self {
        self.routes.extend(via.iter().map(|a| {
            let everything =
                if a.is_ipv4() { IpNet::V4(<_>::default()) } else { IpNet::V6(<_>::default()) };
            Route { to: everything, via: Some(*a) }
        }));
        self
    }

    fn bridged(mut self) -> Self {
        self.bridged = true;
        self
    }

    fn facing_lb(mut self, plan: LabPlan) -> Self {
        self.checksum_offload = Some(plan.checksum_offload);
        self.gro = Some(plan.gro);
        self
    }
}

fn pair(plan: LabPlan, v4: std::net::Ipv4Addr, v6: std::net::Ipv6Addr) -> Vec<IpAddr> {
    let mut addresses = vec![IpAddr::V4(v4)];
    addresses.extend(plan.ipv6.then_some(IpAddr::V6(v6)));
    addresses
}

/// A prefix length above the width of the address falls back to a host's.
fn net(address: IpAddr, prefix_len: u8) -> IpNet {
    IpNet::new(address, prefix_len).unwrap_or_else(|_| IpNet::from(address))
}

fn node(plan: LabPlan, role: Role) -> Node {
    let forwarding = if role == Role::Lb && plan.forwarding { "1" } else { "0" };
    // Forwarding comes first: the kernel resets other settings with it. Many settings of a new
    // namespace are copies of the host's, so those that matter are set, not trusted.
    let mut sysctls = vec![
        ("net/ipv4/ip_forward", forwarding),
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/default/rp_filter", "0"),
    ];
    if plan.ipv6 {
        sysctls.extend([
            ("net/ipv6/conf/all/forwarding", forwarding),
            ("net/ipv6/conf/default/forwarding", forwarding),
            // Duplicate address detection would keep addresses from use for a second.
            ("net/ipv6/conf/all/accept_dad", "0"),
            ("net/ipv6/conf/default/accept_dad", "0"),
            ("net/ipv6/conf/default/accept_ra", "0"),
        ]);
    }
    if role == Role::Client {
        // A load of fresh connections would run out of ports within a minute.
        sysctls.push(("net/ipv4/ip_local_port_range", "1024 65535"));
        sysctls.push(("net/ipv4/tcp_tw_reuse", "1"));
    }
    Node { role, sysctls, bridge: None }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// One line per link end: where it is, its addresses and its routes.
    fn describe(plan: LabPlan) -> String {
        let blueprint = Blueprint::draw(plan);
        let mut text = String::new();
        let bridges = blueprint.nodes.iter().filter_map(|node| node.bridge.as_ref());
        for end in bridges.chain(blueprint.veths.iter().flatten()) {
            write!(text, "{} {} {}", end.role, end.link, end.mac).unwrap();
            for address in &end.addresses {
                write!(text, " {address}").unwrap();
            }
            for route in &end.routes {
                let via = route.via.map_or_else(|| "link".to_owned(), |via| via.to_string());
                write!(text, " [{} {via}]", route.to).unwrap();
            }
            text.push_str(if end.bridged { " bridged\n" } else { "\n" });
        }
        text
    }

    #[test]
    fn backends_on_a_bridge() {
        let plan = LabPlan { backends: 2, ..LabPlan::default() };
        insta::assert_snapshot!(describe(plan));
    }

    #[test]
    fn backends_on_routed_links() {
        let plan = LabPlan { backends: 1, topology: Topology::Routed, ..LabPlan::default() };
        insta::assert_snapshot!(describe(plan));
    }

    #[test]
    fn backends_behind_a_switch() {
        let plan = LabPlan { backends: 1, topology: Topology::Remote, ..LabPlan::default() };
        insta::assert_snapshot!(describe(plan));
    }

    #[test]
    fn without_ipv6_nothing_speaks_it() {
        for topology in [Topology::Bridge, Topology::Routed, Topology::Remote] {
            let plan = LabPlan { ipv6: false, topology, ..LabPlan::default() };
            let text = describe(plan);
            assert!(!text.contains("fd00"), "{topology:?}: {text}");
            let blueprint = Blueprint::draw(plan);
            let mut keys = blueprint.nodes.iter().flat_map(|node| &node.sysctls);
            assert!(keys.all(|(key, _)| !key.contains("ipv6")), "{topology:?}");
        }
    }

    #[test]
    fn only_the_balancer_forwards_and_only_if_asked() {
        for (forwarding, wanted) in [(true, "1"), (false, "0")] {
            let blueprint = Blueprint::draw(LabPlan { forwarding, ..LabPlan::default() });
            for node in &blueprint.nodes {
                let value = node.sysctls.iter().find(|(key, _)| *key == "net/ipv4/ip_forward");
                let wanted = if node.role == Role::Lb { wanted } else { "0" };
                assert_eq!(value.unwrap().1, wanted, "{}", node.role);
            }
        }
    }

    #[test]
    fn macs_addresses_and_names_are_unique_at_the_largest_size() {
        let plan = LabPlan { backends: plan::BACKENDS_MAX, ..LabPlan::default() };
        let blueprint = Blueprint::draw(plan);
        let ends = || blueprint.veths.iter().flatten();
        let macs: std::collections::BTreeSet<_> = ends().map(|end| end.mac.0).collect();
        assert_eq!(macs.len(), ends().count());
        let names: std::collections::BTreeSet<_> =
            ends().map(|end| (end.role.to_string(), end.link.clone())).collect();
        assert_eq!(names.len(), ends().count());
        assert!(ends().all(|end| end.link.len() < 16));
    }
}
