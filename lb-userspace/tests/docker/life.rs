//! Containers start, stop, pause, fall sick and move, under load.

use super::world::{World, eventually};

/// The labels of a replica of `web`.
const WEB: [&str; 4] = [
    "--label=weir.enable=true",
    "--label=weir.service=web",
    "--label=weir.listen=198.18.1.1:80",
    // Who gets how much must not depend on connections that a load left open.
    "--label=weir.policy=round-robin",
];

/// Two replicas that take flows, and their addresses.
fn two(image: &str) -> (World, [String; 2]) {
    let world = World::new("");
    let addresses = ["r1", "r2"].map(|name| {
        world.engine.run(image, name, &WEB);
        world.engine.address(name, "bridge")
    });
    world.wait_up(&[&addresses[0], &addresses[1]]);
    (world, addresses)
}

#[test]
fn replicas_behind_one_port_share_the_requests() {
    let (world, [a, _]) = two("server");
    let report = world.load(200);
    assert_eq!((report.answered(), report.failures()), (200, 0), "{report:?}");
    assert_eq!(report.from_vip, 200, "{report:?}");
    assert!(["r1", "r2"].iter().all(|name| report.per_backend[*name] >= 20), "{report:?}");
    let backends = world.json(&["backends"]);
    assert!(backends.as_array().unwrap().iter().all(|one| one["way"] == "peer"), "{backends}");
    let listing = world.weir(&["docker", "ls"]).stdout;
    let listing = String::from_utf8(listing).unwrap();
    assert!(
        listing.contains(&format!("published  web       198.18.1.1:80/tcp  {a}:8080/tcp")),
        "{listing}"
    );
}

#[test]
fn a_replica_that_stops_loses_no_request_and_one_that_starts_is_added() {
    let (world, _) = two("server");
    let report = world.while_loaded(false, || {
        world.engine.docker(&["stop", "-t", "1", "r1"]);
    });
    assert_eq!(report.failures(), 0, "{report:?}\n{}", world.log());
    let (verdict, why) = world.verdict("r1");
    assert_eq!((verdict.as_str(), why.as_str()), ("still", "exited (137)"));
    assert!(!world.load(50).per_backend.contains_key("r1"));

    let report = world.while_loaded(false, || {
        world.engine.docker(&["start", "r1"]);
        let address = world.engine.address("r1", "bridge");
        world.wait_up(&[&address]);
        world.engine.run("server", "r3", &WEB);
        world.wait_up(&[&world.engine.address("r3", "bridge")]);
    });
    assert_eq!(report.failures(), 0, "{report:?}\n{}", world.log());
    let report = world.load(90);
    assert_eq!(report.failures(), 0, "{report:?}");
    assert!(["r1", "r2", "r3"].iter().all(|name| report.per_backend[*name] > 0), "{report:?}");
}

#[test]
fn six_replicas_are_replaced_under_2000_requests_per_second() {
    let world = World::new("");
    let start = |name: &str| {
        world.engine.run("server", name, &WEB);
        world.wait_up(&[world.engine.address(name, "bridge")]);
    };
    let [old, new] = ["old", "new"].map(|age| [1, 2, 3, 4, 5, 6].map(|n| format!("{age}{n}")));
    for name in &old {
        start(name);
    }
    let report = world.while_loaded_at(2000, false, || {
        for (old, new) in old.iter().zip(&new) {
            start(new);
            // The longest request of a busy machine is shorter than this.
            world.engine.docker(&["stop", "-t", "3", old]);
            world.engine.docker(&["rm", old]);
        }
    });
    assert_eq!(report.failures(), 0, "{report:?}\n{}", world.log());
    let report = world.load(120);
    assert_eq!(report.failures(), 0, "{report:?}");
    assert!(report.per_backend.keys().eq(&new), "{report:?}");
}

#[test]
fn a_signal_that_ends_nothing_takes_nobody_out() {
    let (world, [a, _]) = two("server");
    world.engine.docker(&["kill", "--signal=HUP", "r1"]);
    // Events come in order: when this one was seen, so was the other.
    world.engine.docker(&["rename", "r1", "again"]);
    eventually("the new name", || world.verdict("again").0 == "published");
    assert_eq!(world.backend(&a).0, "up");
}

#[test]
fn a_paused_replica_is_taken_out_and_brought_back() {
    let (world, [a, _]) = two("server");
    world.engine.docker(&["pause", "r1"]);
    eventually("a is out", || world.backend(&a).0 == "down");
    assert_eq!(world.backend(&a).1, "r1: paused");
    assert_eq!(world.verdict("r1"), ("held".to_owned(), "paused".to_owned()));
    let report = world.load(60);
    assert_eq!((report.failures(), report.per_backend["r2"]), (0, 60), "{report:?}");
    world.engine.docker(&["unpause", "r1"]);
    world.wait_up(&[&a]);
    assert!(world.load(60).per_backend.contains_key("r1"));
}

#[test]
fn a_sick_replica_is_taken_out_and_brought_back() {
    // They come in only after Docker's check has passed.
    let (world, [a, _]) = two("checked");
    world.engine.docker(&["exec", "r1", "/server", "sick"]);
    eventually("a is out", || world.backend(&a).0 == "down");
    assert_eq!(world.backend(&a).1, "r1: Docker's health check fails");
    let report = world.load(60);
    assert_eq!((report.failures(), report.per_backend["r2"]), (0, 60), "{report:?}");
    world.engine.docker(&["exec", "r1", "/server", "well"]);
    world.wait_up(&[&a]);
}

#[test]
fn a_replica_that_moves_to_another_network_is_followed() {
    let (world, [a, b]) = two("server");
    world.engine.docker(&["network", "create", "--subnet=198.18.150.0/24", "other"]);
    world.engine.docker(&["network", "disconnect", "bridge", "r1"]);
    eventually("a has no address", || world.verdict("r1").1 == "it has no address");
    world.engine.docker(&["network", "connect", "--ip=198.18.150.77", "other", "r1"]);
    world.wait_up(&["198.18.150.77", &b]);
    // Nobody has the old address any more: its flows are over, and so is its entry.
    eventually("the old place is forgotten", || world.backend(&a).0.is_empty());
    let report = world.load(60);
    assert_eq!(report.failures(), 0, "{report:?}");
    assert!(report.per_backend.contains_key("r1"), "{report:?}");
    world.engine.docker(&["network", "connect", "bridge", "r1"]);
    eventually("a is in two networks", || world.verdict("r1").1.contains("(bridge, other)"));
    assert_eq!(world.load(60).per_backend["r2"], 60);
}

#[test]
fn the_next_container_at_an_address_is_another_backend() {
    let (world, [a, _]) = two("server");
    let generation = |address: &str| {
        let backends = world.json(&["backends"]);
        let prefix = format!("{address}:");
        let mut all = backends.as_array().unwrap().iter();
        let found = all.find(|one| one["endpoint"].as_str().unwrap().starts_with(&prefix));
        found.unwrap()["generation"].as_u64().unwrap()
    };
    let before = generation(&a);
    world.engine.docker(&["kill", "r1"]);
    world.engine.run("server", "r3", &WEB);
    assert_eq!(world.engine.address("r3", "bridge"), a, "the engine gives a free address away");
    world.wait_up(&[&a]);
    assert_ne!(generation(&a), before);
    let report = world.load(60);
    assert_eq!(report.failures(), 0, "{report:?}");
    assert!(report.per_backend.contains_key("r3"), "{report:?}");
}

#[test]
fn a_service_that_no_longer_chooses_a_replica_leaves_it_its_connections() {
    let web = |label: &str| {
        format!("  - {{ name: web, listen: [198.18.1.1:80], docker: {{ label: {label} }} }}\n")
    };
    let world = World::new(&web("set"));
    world.engine.run("server", "r1", &["--label=set=1"]);
    world.engine.run("server", "r2", &["--label=set=2"]);
    let [a, b] = ["r1", "r2"].map(|name| world.engine.address(name, "bridge"));
    world.wait_up(&[&a, &b]);
    let report = world.while_loaded(true, || {
        world.configure(&web("set=2"));
        eventually("a has left", || world.backend(&a).0 == "closing");
    });
    assert_eq!(report.failures(), 0, "{report:?}\n{}", world.log());
    assert_eq!(world.load(60).per_backend["r2"], 60);
}
