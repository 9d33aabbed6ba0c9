//! Ways out, as the kernel's own tables give them in each of the laboratory's networks.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use lb_common::abi::backend::way;
use lb_userspace::{
    dataplane::links::{Links, Resolved, watch},
    lab::{BRIDGE, CLIENT_LINK, DOWNLINK, Lab, LabPlan, Netns, Topology},
};

const PREFIX: &str = "weirlinks";
/// The laboratory's MAC address towards the backends, and that of its first routed link.
const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 10, 1];
const FIRST_LINK_MAC: [u8; 6] = [2, 0, 0, 0, 11, 2];

fn lab(topology: Topology) -> Lab {
    Lab::new(PREFIX, LabPlan { topology, ..LabPlan::default() }).unwrap()
}

fn inside<T: Send>(netns: &Netns, work: impl AsyncFnOnce() -> T + Send) -> T {
    netns
        .in_netns(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(work())
        })
        .unwrap()
}

fn ip(netns: &Netns, arguments: &str) {
    let status = netns.command("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// Both addresses of the first backend.
fn first_backend(lab: &Lab) -> BTreeSet<IpAddr> {
    let backend = &lab.backends()[0];
    [IpAddr::V4(backend.v4), IpAddr::V6(backend.v6)].into()
}

async fn one(links: &Links, address: &str) -> Resolved {
    let address = address.parse().unwrap();
    links.resolve(&[address].into()).await.unwrap().remove(&address).unwrap()
}

/// Nudges until the kernel knows all of them.
async fn settle(links: &Links, addresses: &BTreeSet<IpAddr>) -> BTreeMap<IpAddr, Resolved> {
    for _ in 0..200 {
        let resolved = links.resolve(addresses).await.unwrap();
        if resolved.values().all(|way| !way.unresolved) {
            return resolved;
        }
        for (address, _) in resolved.iter().filter(|(_, way)| way.unresolved) {
            links.nudge(*address);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    links.resolve(addresses).await.unwrap()
}

#[test]
fn a_nudge_turns_the_stack_into_a_way_of_its_own() {
    for (topology, way, src_mac, link, why) in [
        (Topology::Bridge, way::PEER, GATEWAY_MAC, "veth1", "veth1 on br0"),
        (Topology::Routed, way::PEER, FIRST_LINK_MAC, "veth1", "veth1"),
        // The far end of the link is a switch's port, not the backend.
        (Topology::Remote, way::LINK, GATEWAY_MAC, DOWNLINK, "dn0"),
    ] {
        let lab = lab(topology);
        let addresses = first_backend(&lab);
        let (before, after, ifindex) = inside(lab.lb(), async || {
            let links = Links::open().unwrap();
            let before = links.resolve(&addresses).await.unwrap();
            let after = settle(&links, &addresses).await;
            (before, after, links.index_of(link).await.unwrap().unwrap())
        });
        for (address, found) in &before {
            assert_eq!((found.way, found.ifindex, found.veth), (way::STACK, 0, None), "{found:?}");
            let why = format!("stack: neighbour {address} not resolved yet");
            assert_eq!((found.unresolved, &found.why), (true, &why));
        }
        let wanted = Resolved {
            way,
            ifindex,
            dst_mac: lab.backends()[0].mac.0,
            src_mac,
            veth: (way == way::PEER).then_some(ifindex),
            on_link: true,
            mtu: 1500,
            source: None,
            of_host: false,
            unresolved: false,
            why: why.to_owned(),
        };
        for address in &addresses {
            let gateway = if address.is_ipv4() { "198.18.10.1" } else { "fd00:18:10::1" };
            let wanted = Resolved { source: Some(gateway.parse().unwrap()), ..wanted.clone() };
            assert_eq!(after[address], wanted, "{topology:?} {address}");
        }
    }
}

#[test]
fn a_gateway_is_the_next_hop_of_what_lies_behind_it() {
    let lab = lab(Topology::Remote);
    let backend = &lab.backends()[0];
    ip(lab.lb(), &format!("route add 198.19.0.0/24 via {}", backend.v4));
    ip(lab.lb(), &format!("-6 route add fd00:19::/64 via {}", backend.v6));
    let addresses: BTreeSet<IpAddr> =
        ["198.19.0.7", "fd00:19::7"].map(|address| address.parse().unwrap()).into();
    let found = inside(lab.lb(), async || settle(&Links::open().unwrap(), &addresses).await);
    for resolved in found.values() {
        assert_eq!((resolved.way, resolved.dst_mac), (way::LINK, backend.mac.0), "{resolved:?}");
    }
}

#[test]
fn what_has_no_next_hop_stays_with_the_stack() {
    let lab = lab(Topology::Bridge);
    ip(lab.lb(), "route add blackhole 198.19.1.0/24");
    ip(lab.lb(), "route add prohibit 198.19.2.0/24");
    ip(lab.lb(), "-6 route add unreachable fd00:19::/64");
    inside(lab.lb(), async || {
        let links = Links::open().unwrap();
        for (address, why) in [
            ("198.18.10.1", "stack: 198.18.10.1: an address of this host"),
            ("fd00:18:10::1", "stack: fd00:18:10::1: an address of this host"),
            ("127.0.0.1", "stack: 127.0.0.1: an address of this host"),
            ("198.19.0.7", "stack: 198.19.0.7: Network is unreachable"),
            ("198.19.1.7", "stack: 198.19.1.7: Invalid argument"),
            ("198.19.2.7", "stack: 198.19.2.7: Permission denied"),
            ("fd00:19::7", "stack: fd00:19::7: "),
            ("198.18.10.255", "stack: 198.18.10.255: the route's type is"),
            ("224.0.0.7", "stack: 224.0.0.7: "),
        ] {
            let found = one(&links, address).await;
            assert_eq!((found.way, found.unresolved), (way::STACK, false), "{found:?}");
            assert!(found.why.starts_with(why), "{found:?}");
            links.nudge(address.parse().unwrap());
        }
        assert!(links.resolve(&BTreeSet::new()).await.unwrap().is_empty());
    });
}

#[test]
fn nobody_at_an_address_stays_unresolved() {
    let lab = lab(Topology::Bridge);
    inside(lab.lb(), async || {
        let links = Links::open().unwrap();
        for address in ["198.18.10.200", "fd00:18:10::200"] {
            links.nudge(address.parse().unwrap());
            let found = one(&links, address).await;
            assert_eq!((found.way, found.unresolved), (way::STACK, true), "{found:?}");
        }
    });
}

#[test]
fn a_known_neighbour_at_an_unknown_port_stays_unresolved() {
    let lab = lab(Topology::Bridge);
    for address in first_backend(&lab) {
        ip(lab.lb(), &format!("neigh add {address} lladdr 02:00:00:00:63:63 dev {BRIDGE}"));
    }
    inside(lab.lb(), async || {
        let links = Links::open().unwrap();
        for found in links.resolve(&first_backend(&lab)).await.unwrap().values() {
            assert_eq!((found.way, found.unresolved), (way::STACK, true), "{found:?}");
            assert_eq!(found.why, "stack: br0 has not learned the port of 02:00:00:00:63:63 yet");
        }
    });
}

#[test]
fn names_and_indices_agree() {
    let lab = lab(Topology::Bridge);
    inside(lab.lb(), async || {
        let links = Links::open().unwrap();
        let names = links.names().await.unwrap();
        assert!(names.values().any(|name| name == BRIDGE), "{names:?}");
        for (index, name) in &names {
            assert_eq!(links.index_of(name).await.unwrap(), Some(*index));
        }
        assert_eq!(links.index_of("nowhere0").await.unwrap(), None);
        assert!(links.default_interfaces().await.unwrap().is_empty());
    });
    let of_client =
        inside(lab.client(), async || Links::open().unwrap().default_interfaces().await.unwrap());
    assert_eq!(of_client, [CLIENT_LINK]);
}

#[test]
fn a_link_that_goes_is_noticed() {
    let lab = lab(Topology::Bridge);
    inside(lab.lb(), async || {
        let links = Links::open().unwrap();
        let addresses = first_backend(&lab);
        settle(&links, &addresses).await;
        let mut changes = watch().unwrap();
        ip(lab.lb(), "link del veth1");
        let told = tokio::time::timeout(Duration::from_secs(10), changes.recv()).await;
        assert_eq!(told, Ok(Some(())));
        for found in links.resolve(&addresses).await.unwrap().values() {
            assert_eq!(found.way, way::STACK, "{found:?}");
        }
    });
}

#[test]
fn every_kind_of_change_is_noticed() {
    let lab = lab(Topology::Routed);
    // Nobody talks here, so a word can only come from the change.
    let netns = lab.client();
    inside(netns, async || {
        for change in [
            "neigh add 198.18.0.9 lladdr 02:00:00:00:63:63 dev up-c",
            "route add 198.19.0.0/24 via 198.18.0.1",
            "-6 route add fd00:19::/64 via fd00:18::1",
            "link add w0 type veth peer name w1",
            "link del w0",
        ] {
            let mut changes = watch().unwrap();
            ip(netns, change);
            let told = tokio::time::timeout(Duration::from_secs(10), changes.recv()).await;
            assert_eq!(told, Ok(Some(())), "{change}");
        }
    });
}

#[test]
fn what_comes_in_the_pause_after_a_word_is_told_by_another_one() {
    let lab = lab(Topology::Routed);
    let netns = lab.client();
    inside(netns, async || {
        let mut changes = watch().unwrap();
        // Both are there before anybody looks: the second one is found in the pause after the first.
        for host in [100, 101] {
            ip(netns, &format!("neigh add 198.18.0.{host} lladdr 02:00:00:00:63:63 dev up-c"));
        }
        for word in ["first", "second"] {
            let told = tokio::time::timeout(Duration::from_secs(10), changes.recv()).await;
            assert_eq!(told, Ok(Some(())), "{word}");
        }
    });
}

#[test]
fn one_call_takes_thousands_of_addresses() {
    let lab = lab(Topology::Bridge);
    let hosts = (0..10_000_u16).map(u16::to_be_bytes);
    let addresses: BTreeSet<IpAddr> =
        hosts.map(|[high, low]| IpAddr::from([198, 18, high, low])).collect();
    let found = inside(lab.lb(), async || Links::open().unwrap().resolve(&addresses).await);
    assert!(found.unwrap().keys().eq(&addresses));
}

#[test]
fn gro_is_switched_on_at_the_far_end_and_nowhere_else() {
    let plan = LabPlan { gro: false, ..LabPlan::default() };
    let lab = Lab::new(PREFIX, plan).unwrap();
    let gro = |netns: &Netns| {
        let output = netns.command("ethtool").args(["-k", "eth0"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().contains("generic-receive-offload: on\n")
    };
    inside(lab.lb(), async || {
        let links = Links::open().unwrap();
        let veth = links.index_of("veth2").await.unwrap().unwrap();
        assert!(links.enable_gro_at_peer(veth).await.unwrap());
        for bad in [BRIDGE, "lo"] {
            let index = links.index_of(bad).await.unwrap().unwrap();
            assert!(links.enable_gro_at_peer(index).await.is_err(), "{bad}");
        }
        assert!(links.enable_gro_at_peer(9_999).await.is_err());
    });
    let on: Vec<bool> = lab.backends().iter().map(|backend| gro(&backend.netns)).collect();
    assert_eq!(on, [false, true, false]);
}
