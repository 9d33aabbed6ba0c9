//! Replicas that the daemon starts and stops by load.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::world::{World, eventually};

/// A service whose replicas can take 100 requests a second.
fn service(executor: &str) -> String {
    format!(
        "  - name: web
    listen: [198.18.1.1:80]
    health: {{ tcp: true, interval: 200ms, rise: 1 }}
    docker: {{ label: app=web }}
    scale: {{ max: 4, capacity: 100, bucket: 1s, start-time: 1s, warm-up: 1s, down-window: 3s, \
         cooldown: 1s, {executor} }}
"
    )
}

/// What is said of the replicas.
fn told(world: &World) -> Value {
    world.json(&["services"])[0]["scale"].clone()
}

fn count(world: &World, field: &str) -> u64 {
    told(world)[field].as_u64().unwrap_or_default()
}

fn trouble(world: &World) -> String {
    told(world)["trouble"].as_str().unwrap_or_default().to_owned()
}

/// Names of all containers.
fn containers(world: &World) -> Vec<String> {
    let names = world.engine.docker(&["ps", "-a", "--format", "{{.Names}}"]);
    let mut names: Vec<String> = names.lines().map(str::to_owned).collect();
    names.sort();
    names
}

fn inspect(world: &World, container: &str, format: &str) -> String {
    world.engine.docker(&["inspect", "-f", format, container])
}

#[test]
fn replicas_come_under_load_and_go_without_losing_a_request() {
    let world = World::new(&service("executor: docker"));
    let options = [
        "--label=app=web",
        "-e",
        "COLOUR=blue",
        "-p",
        "8099:8080",
        "--cpus=0.9",
        "--stop-timeout=1",
    ];
    world.engine.run("server", "web-1", &options);
    world.engine.run("server", "stranger", &["--label=io.weir.replica-of=other"]);
    world.wait_up(&[world.engine.address("web-1", "bridge")]);
    let report = world.while_loaded_at(280, false, || {
        eventually("four serve", || count(&world, "healthy") == 4);
    });
    assert_eq!((report.failures(), count(&world, "desired")), (0, 4), "{report:?}");
    let made = ["stranger", "web-1", "web-weir-1", "web-weir-2", "web-weir-3"];
    assert_eq!(containers(&world), made);
    let of_clone = |format: &str| inspect(&world, "web-weir-1", format);
    assert_eq!(of_clone("{{.HostConfig.NanoCpus}} {{.Config.Labels.app}}"), "900000000 web");
    assert!(of_clone("{{.Config.Env}}").contains("COLOUR=blue"));
    assert_eq!(of_clone("{{.HostConfig.PortBindings}}"), "map[]");
    let metrics = world.metrics();
    assert!(metrics.contains("weir_service_replicas_desired{service=\"web\"} 4"), "{metrics}");
    assert!(metrics.contains("weir_service_replicas_created_total{service=\"web\"} 3"));
    // One that is made meanwhile is somebody's, and stays.
    world.engine.run("server", "web-2", &["--label=app=web"]);
    let report = world.while_loaded_at(20, false, || {
        eventually("nobody goes who was not made", || {
            containers(&world) == ["stranger", "web-1", "web-2"]
        });
    });
    assert_eq!((report.failures(), count(&world, "removed")), (0, 3), "{report:?}");
    eventually("the status says so", || {
        let status = String::from_utf8(world.weir(&["status"]).stdout).unwrap();
        status.contains("web: 1 wanted, 2 of 2 up; ")
    });
}

#[test]
fn a_template_that_never_ran_is_enough() {
    let world = World::new(&service("min: 2, executor: docker, template: kind=template"));
    let labels = ["--label=app=web", "--label=kind=template"];
    world.engine.docker(&[&["create", "--name", "stencil"], &labels[..], &["server"]].concat());
    eventually("two serve", || count(&world, "healthy") == 2);
    assert_eq!(containers(&world), ["stencil", "web-weir-1", "web-weir-2"]);
    assert_eq!(world.load(20).failures(), 0);
}

#[test]
fn a_replica_that_is_undrained_by_hand_stays() {
    let world = World::new(&service("min: 3, executor: docker"));
    world.engine.run("server", "web-1", &["--label=app=web", "--stop-timeout=1"]);
    eventually("three serve", || count(&world, "healthy") == 3);
    let last = |name: &str| format!("{}:8080", world.engine.address(name, "bridge"));
    world.configure(&service("executor: docker"));
    let kept = std::cell::RefCell::new(String::new());
    world.while_loaded_at(20, false, || {
        eventually("one is on its way out", || {
            let draining = told(&world)["draining"].clone();
            let Some(name) = draining[0].as_str() else { return false };
            kept.replace(name.to_owned());
            world.weir(&["undrain", &last(name)]).status.success()
        });
        let two = ["web-1", &kept.borrow()].map(str::to_owned);
        eventually("the other one goes", || containers(&world) == two);
        assert_eq!(world.backend(&world.engine.address(&two[1], "bridge")).0, "up");
        // And it goes with somebody's leave.
        assert!(world.weir(&["drain", &last(&two[1])]).status.success());
        assert!(world.weir(&["undrain", &last(&two[1])]).status.success());
    });
    assert!(world.log().contains("replica undrained by hand: it stays"), "{}", world.log());
}

#[test]
fn labels_ask_for_replicas_as_the_file_does() {
    let world = World::new("");
    let labels = [
        "--label=weir.enable=true",
        "--label=weir.service=web",
        "--label=weir.listen=198.18.1.1:80",
        "--label=weir.scale.min=4",
        "--label=weir.scale.max=5",
        "--label=weir.scale.bucket=1s",
        "--label=weir.scale.executor=docker",
    ];
    world.engine.run("server", "web-1", &labels);
    eventually("four serve", || count(&world, "healthy") == 4);
    let all = ["web-1", "web-weir-1", "web-weir-2", "web-weir-3"];
    assert_eq!(containers(&world), all);
    assert_eq!((world.load(20).failures(), count(&world, "max")), (0, 5));
    // Three starts are enough to know how long they take.
    eventually("it is told how long", || {
        let status = String::from_utf8(world.weir(&["status"]).stdout).unwrap();
        status.contains("; nine of ten replicas answer after ")
    });
    let start = told(&world)["start_s"].as_f64().unwrap();
    assert!((1.0..30.0).contains(&start), "{start}");
    // The number of a service that is gone is nobody's.
    world.engine.docker(&[&["rm", "-f"], &all[..]].concat());
    eventually("nobody asks", || world.json(&["services"]).as_array().unwrap().is_empty());
    assert_eq!(containers(&world), [""; 0]);
}

#[test]
fn what_a_replica_can_take_is_learned() {
    let world = World::new(&service("executor: advise").replace("capacity: 100, ", ""));
    world.engine.run("server", "web-1", &["--label=app=web", "--cpus=0.1"]);
    world.wait_up(&[world.engine.address("web-1", "bridge")]);
    let why = || told(&world)["text"].as_str().unwrap_or_default().to_owned();
    eventually("nobody knows", || why().ends_with("nor utilisation is known"));
    assert_eq!((&told(&world)["capacity"], count(&world, "desired")), (&Value::Null, 1));
    world.while_loaded_at(100, false, || {
        eventually("it was measured", || {
            told(&world)["capacity"].as_f64().is_some_and(|it| it > 20.0)
        });
        eventually("the load counts", || {
            told(&world)["offered"].as_f64().is_some_and(|it| it > 80.0)
        });
    });
}

#[test]
fn a_replica_that_is_drained_keeps_its_connections() {
    let world = World::new(&service("executor: docker"));
    world.engine.run("server", "web-1", &["--label=app=web", "--stop-timeout=1"]);
    world.wait_up(&[world.engine.address("web-1", "bridge")]);
    world.while_loaded_at(280, false, || {
        eventually("four serve", || count(&world, "healthy") == 4);
    });
    // Who is on the way out stays where nobody takes replicas away any more.
    world.while_loaded_at(40, true, || {
        eventually("some are drained", || {
            !told(&world)["draining"].as_array().is_none_or(Vec::is_empty)
        });
        world.configure(&service("executor: advise"));
        eventually("all serve again", || count(&world, "healthy") == 4);
    });
    world.configure(&service("executor: docker"));
    // The connections of this load begin while there are four, and are not given up.
    let report = world.while_loaded_at(40, true, || {
        eventually("some are drained", || count(&world, "desired") == 1);
        std::thread::sleep(Duration::from_secs(3));
        assert!(count(&world, "removed") < 3, "{}", world.log());
    });
    assert_eq!(report.failures(), 0, "{report:?}");
    eventually("they go when their connections have", || containers(&world) == ["web-1"]);
}

#[test]
fn what_cannot_be_a_template_is_told_and_changes_nothing() {
    let world = World::new(&service("min: 2, executor: docker, template: nobody"));
    world.engine.run("server", "web-1", &["--label=app=web"]);
    world.engine.run("server", "hosted", &["--network=host", "-e", "PORT=9999"]);
    eventually("nobody is missed", || {
        trouble(&world).starts_with("there is no container called nobody to make replicas after")
    });
    let status = world.json(&["status"]);
    let problems = status["problems"].to_string();
    assert!(problems.contains("scale web: there is no container called nobody"), "{problems}");
    world.configure(&service("min: 2, executor: docker, template: hosted"));
    eventually("the host's network is no template", || {
        trouble(&world).starts_with("container hosted has network mode host: replicas need")
    });
    assert_eq!(containers(&world), ["hosted", "web-1"]);
    world.configure(&service("min: 2, executor: docker"));
    eventually("two serve", || count(&world, "healthy") == 2);
    eventually("all is well", || world.json(&["status"])["problems"] == Value::Array(Vec::new()));
    assert_eq!(containers(&world), ["hosted", "web-1", "web-weir-1"]);
}

#[test]
fn replicas_that_end_or_never_answer_slow_the_next_ones_down() {
    let world = World::new(&service("min: 3, executor: docker, template: kind=template"));
    world.engine.run("server", "web-1", &["--label=app=web"]);
    let create = |name: &str, words: &[&str]| {
        let head = ["create", "--name", name, "--label=app=web", "--label=kind=template"];
        let image = ["--entrypoint=/server", "--stop-timeout=1", "server"];
        world.engine.docker(&[&head[..], &image, words].concat());
    };
    create("ends", &["check"]);
    eventually("it ended", || trouble(&world).contains("ended by itself: exited (0); tried again"));
    eventually("it was taken away", || containers(&world) == ["ends", "web-1"]);
    let (failed, created) = (count(&world, "failed"), count(&world, "created"));
    assert!(failed >= 1 && created <= 2, "{failed} {created}");
    assert_eq!((count(&world, "healthy"), count(&world, "desired")), (1, 3));
    world.engine.docker(&["rm", "ends"]);
    create("mute", &["burn", "60"]);
    eventually("it is given up", || trouble(&world).contains("it has not answered for 3 s"));
    eventually("it was taken away", || containers(&world) == ["mute", "web-1"]);
}

#[test]
fn without_an_engine_and_after_a_sudden_death_nobody_is_taken_away() {
    let world = World::new(&service("executor: docker"));
    world.engine.run("server", "web-1", &["--label=app=web", "--stop-timeout=1"]);
    world.wait_up(&[world.engine.address("web-1", "bridge")]);
    world.while_loaded_at(280, false, || {
        eventually("four serve", || count(&world, "healthy") == 4);
    });
    world.end(Signal::SIGKILL);
    world.configure(&service("executor: docker, down-window: 1m").replace("down-window: 3s, ", ""));
    world.start();
    eventually("it knows how many there are", || count(&world, "desired") == 4);
    let why = || told(&world)["text"].as_str().unwrap_or_default().to_owned();
    eventually("fewer would do", || why().contains("not for all of the last 60 s"));
    world.engine.end();
    eventually("it waits for the engine", || {
        trouble(&world).starts_with("replicas stay as they are: ")
    });
    assert_eq!(count(&world, "replicas"), 4);
    world.configure(&service("executor: docker"));
    world.engine.start(&world.lab);
    eventually("only one is left", || containers(&world) == ["web-1"]);
}

#[test]
fn a_program_is_told_the_number_and_may_fail() {
    let world = World::new("");
    let (script, said) = (world.path("scale"), world.path("said"));
    let text = format!(
        "#!/bin/sh\necho \"$1 $WEIR_SERVICE $WEIR_CURRENT $WEIR_DESIRED $WEIR_REASON\" >> {0}\n\
         test $(wc -l < {0}) -gt 1 || {{ echo no room >&2; exit 7; }}\n",
        said.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let executor = format!("executor: command, command: [{}, now]", script.display());
    world.configure(&service(&executor));
    // A daemon without such a service has given up the right to run programs.
    eventually("it is refused", || {
        let refused = world.json(&["status"])["last_reload"]["error"].clone();
        refused.as_str().is_some_and(|why| why.contains("restart it for `scale.executor: command`"))
    });
    world.engine.run("server", "web-1", &["--label=app=web"]);
    world.end(Signal::SIGTERM);
    world.start();
    world.wait_up(&[world.engine.address("web-1", "bridge")]);
    world.while_loaded_at(120, false, || {
        eventually("it failed", || {
            let failed = "the command failed: exit status: 7: no room; tried again in ";
            trouble(&world).starts_with(failed)
        });
        eventually("it was tried again", || trouble(&world).is_empty());
    });
    let said = fs::read_to_string(said).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.len() >= 2 && lines[0].starts_with("now web 1 2 "), "{said}");
    assert!(lines[0].contains("requests/s"), "{said}");
    assert_eq!(containers(&world), ["web-1"], "nobody else starts any");
}

#[test]
fn advice_and_dry_runs_start_nobody() {
    let world = World::new(&service("executor: docker, dry-run: true"));
    world.engine.run("server", "web-1", &["--label=app=web"]);
    world.wait_up(&[world.engine.address("web-1", "bridge")]);
    let desired = "weir_service_replicas_desired{service=\"web\"} 4";
    world.while_loaded_at(280, false, || {
        eventually("it is said", || world.metrics().contains(desired));
        let text = told(&world)["text"].as_str().unwrap().to_owned();
        assert!(
            text.ends_with("; would make a replica; would make a replica; would make a replica")
        );
        world.configure(&service("executor: advise"));
        eventually("it is said in short", || {
            !told(&world)["text"].as_str().unwrap().contains("would make")
        });
        assert!(world.metrics().contains(desired), "{}", world.metrics());
    });
    assert_eq!(containers(&world), ["web-1"]);
}
