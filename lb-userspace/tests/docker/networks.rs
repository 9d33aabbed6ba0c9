//! Networks that are no bridges of this host.

use std::net::{Ipv4Addr, SocketAddr};

use lb_userspace::lab::{LB_V4, UPLINK};

use super::world::{World, eventually};

const WEB: [&str; 4] = [
    "--label=weir.enable=true",
    "--label=weir.service=web",
    "--label=weir.listen=198.18.1.1:80",
    "--label=weir.policy=round-robin",
];

#[test]
fn a_fixed_address_in_a_network_of_the_user_s_own_is_reached() {
    let world = World::new("");
    world.engine.docker(&["network", "create", "--subnet=198.18.150.0/24", "front"]);
    let options = ["--network=front", "--ip=198.18.150.77"];
    world.engine.run("server", "r1", &[&WEB[..], &options].concat());
    world.wait_up(&["198.18.150.77"]);
    let report = world.load(60);
    assert_eq!((report.failures(), report.from_vip), (0, 60), "{report:?}");
    assert_eq!(world.json(&["backends"])[0]["way"], "peer");
}

#[test]
fn containers_of_an_overlay_are_reached_over_the_bridge_of_this_host() {
    let world = World::for_swarm();
    let pool = ["--default-addr-pool", "198.18.176.0/20"];
    world
        .engine
        .docker(&[&["swarm", "init", "--advertise-addr", "198.18.0.1"], &pool[..]].concat());
    world.engine.docker(&["network", "create", "-d", "overlay", "--attachable", "mesh"]);
    for name in ["r1", "r2"] {
        world.engine.run("server", name, &[&WEB[..], &["--network=mesh"]].concat());
    }
    let published = |name: &str| world.verdict(name).0 == "published";
    eventually("both are published", || published("r1") && published("r2"));
    let report = world.load(60);
    assert_eq!((report.failures(), report.per_backend.len()), (0, 2), "{report:?}");
    let backends = world.json(&["backends"]);
    assert!(backends.as_array().unwrap().iter().all(|one| one["way"] == "peer"), "{backends}");

    // Tasks of a Swarm service. Its own balancer needs IPVS; Weir does not.
    let labels = ["weir.enable=true", "weir.publish=8088:8080", "weir.policy=round-robin"];
    let labels = labels.map(|label| format!("--container-label={label}"));
    let mut create =
        vec!["service", "create", "-d", "--name=shop", "--network=mesh", "--replicas=2"];
    create.extend(labels.iter().map(String::as_str));
    create.extend(["--stop-grace-period=1s", "--no-resolve-image", "server"]);
    world.engine.docker(&create);
    let tasks = || {
        let report = world.json(&["docker", "ls"]);
        let list = report["containers"].as_array().unwrap().clone();
        let of_shop = |one: &&serde_json::Value| one["name"].as_str().unwrap().starts_with("shop.");
        list.iter().filter(of_shop).filter(|one| one["verdict"] == "published").count()
    };
    eventually("the tasks are published", || tasks() == 2);
    let report = world.load_at(SocketAddr::new(LB_V4.into(), 8088), 60);
    assert_eq!((report.failures(), report.per_backend.len()), (0, 2), "{report:?}");
    assert_eq!(world.service("shop").1, 60);
    world.engine.docker(&["service", "rm", "shop"]);
    eventually("the tasks are gone", || tasks() == 0);
    world.engine.docker(&["rm", "-f", "r1", "r2"]);
    world.engine.docker(&["swarm", "leave", "--force"]);
}

/// Where the kernel knows these networks, the container waits for a way into them; where it does
/// not, the engine refuses to start it.
#[test]
fn links_on_an_uplink_are_held_with_the_reason_until_the_host_is_in_the_network() {
    let world = World::new("");
    for (at, driver, mode) in
        [(11, "ipvlan", "l2"), (12, "ipvlan", "l3"), (13, "macvlan", "bridge")]
    {
        let (subnet, name) = (format!("--subnet=198.18.{at}.0/24"), format!("{driver}-{mode}"));
        let (parent, option) = (format!("parent={UPLINK}"), format!("{driver}_mode={mode}"));
        let create = ["network", "create", "-d", driver, "-o", &parent, "-o", &option];
        world.engine.docker(&[&create[..], &[&subnet, &name]].concat());
        let network = format!("--network={name}");
        let run = ["run", "-d", "--name", &name, "--hostname", &name, &network];
        let started = world.engine.try_docker(&[&run[..], &WEB, &["server"]].concat());
        eventually(&format!("{name} is seen"), || !world.verdict(&name).0.is_empty());
        match started {
            Ok(_) => eventually(&format!("{name} is held"), || {
                let (verdict, why) = world.verdict(&name);
                verdict == "held" && why.contains(&format!("{driver}, which this host is not in"))
            }),
            Err(error) => {
                assert!(error.contains("operation not supported"), "{error}");
                assert_eq!(world.verdict(&name), ("still".to_owned(), "created".to_owned()));
            }
        }
        if driver == "ipvlan" {
            world.engine.docker(&["rm", "-f", &name]);
            world.engine.docker(&["network", "rm", &name]);
        }
    }
    // What the hint says.
    let ip = |arguments: &str| {
        let mut command = world.lab.lb().command("ip");
        let status = command.args(arguments.split_whitespace()).status().unwrap();
        assert!(status.success(), "{arguments}");
    };
    let address = Ipv4Addr::new(198, 18, 13, 2);
    assert_eq!(world.engine.address("macvlan-bridge", "macvlan-bridge"), address.to_string());
    ip(&format!("link add shim link {UPLINK} type macvlan mode bridge"));
    ip("addr add 198.18.13.1/24 dev shim");
    ip("link set shim up");
    world.wait_up(&[address.to_string()]);
    let report = world.load(60);
    assert_eq!((report.failures(), report.from_vip), (0, 60), "{report:?}");
}
