//! Beside Docker's own rules, and those that hosts add to them: none of them is touched, and none
//! stands in the way.

use super::world::World;

const WEB: [&str; 4] = [
    "--label=weir.enable=true",
    "--label=weir.service=web",
    "--label=weir.listen=198.18.1.1:80",
    // Who gets how much must not depend on connections that a load left open.
    "--label=weir.policy=round-robin",
];

/// Runs a program in the balancer's namespace; it must succeed.
fn inside(world: &World, line: &str) -> String {
    let mut words = line.split_whitespace();
    let output = world.lab.lb().command(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The rules without their counters.
fn rules(world: &World) -> Vec<String> {
    let text = inside(world, "iptables-save");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(" [").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn no_rule_is_touched_and_none_stands_in_the_way() {
    let world = World::new("");
    let before = rules(&world);
    assert!(before.iter().any(|rule| rule == ":FORWARD DROP"), "{before:?}");
    for name in ["r1", "r2"] {
        world.engine.run("server", name, &WEB);
        world.wait_up(&[world.engine.address(name, "bridge")]);
    }
    // No port is published, so Docker itself has nothing to add.
    assert_eq!(rules(&world), before);
    let address = world.engine.address("r1", "bridge");
    let raw = format!("iptables -t raw -A PREROUTING -d {address} ! -i docker0 -j DROP");
    for hazard in [
        "true",
        // As engines of version 28 and later do.
        &raw,
        "iptables -I FORWARD -m conntrack --ctstate INVALID -j DROP",
        "sysctl -q net.ipv4.conf.all.rp_filter=1",
        "sysctl -q net.ipv4.ip_forward=0",
        "iptables -F",
        "iptables -t nat -F",
    ] {
        inside(&world, hazard);
        let report = world.load(60);
        assert_eq!((report.failures(), report.from_vip), (0, 60), "{hazard}: {report:?}");
        assert!(["r1", "r2"].iter().all(|name| report.per_backend.contains_key(*name)), "{hazard}");
    }
}
