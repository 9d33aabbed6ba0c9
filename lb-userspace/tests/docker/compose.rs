//! The example for Compose, as it is in the repository, with the image of these tests in the place of
//! one from a registry.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use lb_userspace::lab::LB_V4;

use super::{
    image::PORT,
    world::{World, eventually},
};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/docker").join(name)
}

/// A program beside the example, with the engine of this test.
fn call(world: &World, program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    world.engine.environment(&mut command);
    command.current_dir(example("")).args(arguments);
    command.env("IMAGE", "server").env("PORT", PORT.to_string());
    command.env("COMPOSE_PROJECT_NAME", "shop").env("COMPOSE", "docker-compose");
    let (weir, socket) = (env!("CARGO_BIN_EXE_weir"), world.path("weir.sock"));
    command.env("WEIR", format!("{weir} docker ls --socket {}", socket.display()));
    let output: Output = command.output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The replicas, by what they call themselves: the beginning of their ids.
fn replicas(world: &World) -> BTreeSet<String> {
    let ids = call(world, "docker-compose", &["ps", "-q", "web"]);
    ids.split_whitespace().map(|id| id.get(..12).unwrap().to_owned()).collect()
}

#[test]
fn the_example_does_what_it_says_and_all_replicas_are_replaced_under_load() {
    let world = World::new("");
    call(&world, "docker-compose", &["up", "-d"]);
    let published = || {
        let report = world.json(&["docker", "ls"]);
        let list = report["containers"].as_array().unwrap().clone();
        list.iter().filter(|one| one["verdict"] == "published").count()
    };
    eventually("three replicas are published", || published() == 3);
    assert_eq!(world.service("web").0, ["198.18.0.1:80/tcp"]);
    let address = SocketAddr::new(LB_V4.into(), 80);
    let names = |report: &lb_userspace::demo::tally::LoadReport| {
        report.per_backend.keys().cloned().collect::<BTreeSet<String>>()
    };
    let (old, report) = (replicas(&world), world.load_at(address, 120));
    // Who of them gets how much is the policy's business, and an idle one may get nothing.
    assert!(report.failures() == 0 && names(&report).is_subset(&old), "{old:?} {report:?}");

    let report = world.while_loaded_at_address(address, || {
        call(&world, "./roll.sh", &["web"]);
    });
    assert_eq!(report.failures(), 0, "{report:?}\n{}", world.log());
    let (new, report) = (replicas(&world), world.load_at(address, 120));
    assert!(new.len() == 3 && new.is_disjoint(&old), "{old:?} {new:?}");
    assert!(report.failures() == 0 && names(&report).is_subset(&new), "{new:?} {report:?}");
    assert_eq!(published(), 3);
}

#[test]
fn its_configuration_is_one() {
    let output = Command::new(env!("CARGO_BIN_EXE_weir"))
        .arg("check")
        .arg(example("weir.yaml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}
