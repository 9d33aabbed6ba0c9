//! What is wrong with a container is said, and the others go on.

use lb_userspace::lab::LB_V4;

use super::world::{World, eventually};

/// `--label` options.
fn labels<'a>(labels: &[&'a str]) -> Vec<String> {
    labels.iter().map(|label: &&'a str| format!("--label={label}")).collect()
}

fn run(world: &World, name: &str, options: &[&str], with: &[&str]) {
    let labels = labels(with);
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    world.engine.run("server", name, &[options, &labels[..]].concat());
}

#[test]
fn each_refusal_is_named_and_the_rest_keeps_working() {
    let enable = "weir.enable=true";
    let web = "weir.service=web";
    let listen = "weir.listen=198.18.1.1:80";
    let world = World::new("");
    run(&world, "good", &[], &[enable, web, listen, "weir.policy=round-robin"]);
    run(&world, "bad", &[], &[enable, web, listen, "weir.port=http"]);
    run(&world, "thief", &[], &[enable, listen]);
    run(&world, "nowhere", &[], &[enable]);
    run(&world, "lonely", &["--network=none"], &[enable, web]);
    run(&world, "host", &["--network=host"], &[enable, web]);
    // The host itself has no way to what is on a macvlan of its own link.
    let macvlan = ["network", "create", "-d", "macvlan", "-o", "parent=up0"];
    world.engine.docker(&[&macvlan[..], &["--subnet=198.18.0.0/24", "far-net"]].concat());
    run(&world, "far", &["--network=far-net", "--ip=198.18.0.77"], &[enable, web]);
    run(&world, "other", &[], &["app=x"]);
    run(&world, "unsure", &[], &[listen]);
    let shared = ["--network=container:other", "-e", "PORT=8081"];
    run(&world, "guest", &shared, &[enable, web, "weir.port=8081"]);
    for (name, verdict, why) in [
        ("good", "published", ""),
        ("bad", "refused", "label weir.port: `http` is not a port"),
        ("thief", "refused", "service thief wants 198.18.1.1:80/tcp, which service web has"),
        (
            "far",
            "held",
            "neighbour 198.18.0.77 not resolved yet; its network is a macvlan, which this host",
        ),
        ("nowhere", "refused", "where does service nowhere listen?"),
        ("lonely", "refused", "network mode none"),
        ("host", "published", ""),
        ("other", "ignored", "no label weir.enable=true"),
        ("unsure", "ignored", "but not weir.enable=true"),
        ("guest", "published", ""),
    ] {
        eventually(&format!("{name} is {verdict}"), || world.verdict(name).0 == verdict);
        let (_, found) = world.verdict(name);
        assert!(found.contains(why), "{name}: {found}");
    }
    let [good, other] = ["good", "other"].map(|name| world.engine.address(name, "bridge"));
    world.wait_up(&[good, other, LB_V4.to_string()]);
    let report = world.load(60);
    assert_eq!(report.failures(), 0, "{report:?}");
    // A guest has the name of the container whose network it shares.
    assert_eq!(report.per_backend.keys().collect::<Vec<_>>(), ["good", "host", "other"]);

    let status = String::from_utf8(world.weir(&["status"]).stdout).unwrap();
    for part in ["connected for", "3 published, 1 held, 4 refused", "container bad refused: label"]
    {
        assert!(status.contains(part), "{part}: {status}");
    }
    the_metrics_say_the_same(&world);
    let file = world.path("weir.yaml");
    let mut dry = world.lab.lb().command(env!("CARGO_BIN_EXE_weir"));
    let dry = dry.args(["docker", "ls", "--json", "--config"]).arg(&file).output().unwrap();
    let dry: serde_json::Value = serde_json::from_slice(&dry.stdout).unwrap();
    // Without a daemon nobody knows the ways.
    let told = |report: &serde_json::Value| {
        let list = report["containers"].as_array().unwrap();
        list.iter().filter(|one| one["name"] != "far").cloned().collect::<Vec<_>>()
    };
    assert_eq!(told(&dry), told(&world.json(&["docker", "ls"])));
}

fn the_metrics_say_the_same(world: &World) {
    let metrics = world.metrics();
    for sample in [
        "weir_docker_connected 1",
        "weir_docker_containers{verdict=\"held\"} 1",
        "weir_docker_containers{verdict=\"ignored\"} 2",
        "weir_docker_containers{verdict=\"published\"} 3",
        "weir_docker_containers{verdict=\"refused\"} 4",
        "weir_docker_refused{reason=\"label\"} 1",
        "weir_docker_refused{reason=\"listen\"} 2",
        "weir_docker_refused{reason=\"network\"} 1",
    ] {
        assert!(metrics.lines().any(|line| line == sample), "{sample}: {metrics}");
    }
    let number = |name: &str| -> u64 {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    // Each container was made, connected, started.
    assert!(number("weir_docker_events_total ") >= 20, "{metrics}");
    assert!(number("weir_docker_resyncs_total ") >= 1, "{metrics}");
    assert!(number("weir_docker_last_event_timestamp_seconds ") > 1_000_000_000, "{metrics}");
}

#[test]
fn a_container_that_is_not_ready_waits_for_its_check() {
    let world = World::new("");
    // Nothing serves where the check looks.
    let with = [
        "weir.enable=true",
        "weir.service=web",
        "weir.listen=198.18.1.1:80",
        "weir.health.tcp=true",
        "weir.health.interval=100ms",
        "weir.health.rise=1",
    ];
    let wrong = [&with[..], &["weir.port=9"]].concat();
    run(&world, "slow", &[], &wrong);
    run(&world, "ready", &[], &with);
    let [slow, ready] = ["slow", "ready"].map(|name| world.engine.address(name, "bridge"));
    world.wait_up(&[&ready]);
    let (state, why) = world.backend(&slow);
    assert_eq!(state, "down", "{why}");
    let report = world.load(60);
    assert_eq!((report.failures(), report.per_backend["ready"]), (0, 60), "{report:?}");
}
