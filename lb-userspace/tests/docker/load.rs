//! Live load of containers, as their cgroups show it.

use serde_json::Value;

use super::world::{World, eventually};

const ADAPTIVE: [&str; 4] = [
    "--label=weir.enable=true",
    "--label=weir.service=web",
    "--label=weir.listen=198.18.1.1:80",
    "--cpus=0.1",
];

/// What is known of the load of the backend at an address.
fn load_of(world: &World, address: &str) -> Value {
    let services = world.json(&["services"]);
    let backends = services[0]["backends"].as_array().unwrap();
    let is_it = |one: &&Value| one["endpoint"].as_str().unwrap().starts_with(address);
    backends.iter().find(is_it).unwrap()["load"].clone()
}

#[test]
fn a_container_that_is_out_of_cpu_is_known_to_be() {
    let world = World::new("");
    let [busy, idle] = ["r1", "r2"].map(|name| {
        world.engine.run("server", name, &ADAPTIVE);
        world.engine.address(name, "bridge")
    });
    world.wait_up(&[&busy, &idle]);
    // What it does beside its requests, until the container ends.
    world.engine.docker(&["exec", "-d", "r1", "/server", "burn", "60"]);
    world.while_loaded_at(40, false, || {
        eventually("its CPU quota is used up", || {
            let text = load_of(&world, &busy)["text"].as_str().unwrap_or_default().to_owned();
            text.contains("cpu at 9") || text.contains("cpu at 100 %")
        });
    });
    let used = |address: &str| load_of(&world, address)["utilisation"].as_f64().unwrap();
    assert!(used(&busy) > 0.9 && used(&idle) < 0.7, "{} {}", used(&busy), used(&idle));
}
