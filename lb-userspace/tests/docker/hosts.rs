//! Engines of two hosts: replicas on both, one that is full, one whose engine ends, and sockets
//! behind certificates.

use std::{
    fs,
    path::{Path, PathBuf},
};

use lb_userspace::{
    docker,
    model::{DockerHost, EngineAddress, Reach, TlsAddress},
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::{
    engine::Engine,
    image,
    world::{World, eventually},
};

/// The other host.
const EAST: &str = "198.18.10.2";

/// A service of so many replicas, each of which needs 0.4 cores.
fn service(min: u32) -> String {
    format!(
        "  - name: web
    listen: [198.18.1.1:80]
    policy: round-robin
    health: {{ tcp: true, interval: 200ms, rise: 1, fall: 2 }}
    docker: {{ label: app=web }}
    scale: {{ min: {min}, max: 6, capacity: 100, bucket: 1s, start-time: 3s, warm-up: 1s, \
         down-window: 2s, cooldown: 1s, executor: docker }}
"
    )
}

/// Two hosts that run an engine each, and a template on the first one, which has so many cores. The
/// balancer has not been started.
fn world(engine: &str, options: Vec<String>, cores: u8) -> (World, Engine) {
    let world = World::with_machines("", 1);
    world.engine.start(&world.lab);
    let rootfs = image::compile(world.path("").as_path());
    image::import(&world.engine, &rootfs);
    let other = Engine::of_another(&world.path(""));
    other.options(options);
    other.start_in(&world.lab.backends()[0].netns);
    world.sections(format!(
        "hosts:
  - {{ name: west, cpus: {cores}, zone: a }}
  - {{ name: east, engine: '{engine}', address: {EAST}, cpus: 900m, memory: 1Gi, zone: b{} }}
",
        if engine.starts_with("tcp:") {
            let file = |name: &str| world.path(name).display().to_string();
            let (ca, cert, key) = (file("ca.pem"), file("cert.pem"), file("key.pem"));
            format!(", tls: {{ ca: {ca}, cert: {cert}, key: {key} }}")
        } else {
            String::new()
        }
    ));
    world.engine.run("server", "web-1", &["--label=app=web", "--cpus=0.4", "--stop-timeout=1"]);
    (world, other)
}

/// Brings the image of the template, the very same one, to the other host.
fn copy_image(world: &World, other: &Engine) {
    let archive = world.path("image.tar");
    let archive = archive.to_str().unwrap();
    world.engine.docker(&["save", "-o", archive, "server"]);
    other.docker(&["load", "-i", archive]);
}

fn told(world: &World, field: &str) -> serde_json::Value {
    world.json(&["services"])[0]["scale"][field].clone()
}

fn healthy(world: &World) -> u64 {
    told(world, "healthy").as_u64().unwrap_or_default()
}

fn trouble(world: &World) -> String {
    told(world, "trouble").as_str().unwrap_or_default().to_owned()
}

/// The replicas on a host.
fn on(engine: &Engine) -> usize {
    engine.docker(&["ps", "-aq", "--filter", "label=app=web"]).lines().count()
}

#[test]
fn replicas_go_to_the_host_with_room_and_leave_the_rest_balanced() {
    let tls = certificates();
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).display().to_string();
    for (name, text) in &tls {
        fs::write(file(name), text).unwrap();
    }
    let options = [
        "-H".to_owned(),
        format!("tcp://{EAST}:2376"),
        "--tlsverify".to_owned(),
        format!("--tlscacert={}", file("ca.pem")),
        format!("--tlscert={}", file("server.pem")),
        format!("--tlskey={}", file("server-key.pem")),
    ];
    let (world, other) = world(&format!("tcp://{EAST}"), options.to_vec(), 1);
    for (name, text) in &tls {
        fs::write(world.path(name), text).unwrap();
    }
    // What the template was made of is not there yet.
    world.configure(&service(4));
    world.start();
    eventually("the image is missed", || {
        trouble(&world)
            .contains("host east has not the very image of the template, server (sha256:")
    });
    copy_image(&world, &other);
    eventually("four answer", || healthy(&world) == 4);
    assert_eq!((on(&world.engine), on(&other)), (2, 2));
    let report = world.load(200);
    assert_eq!((report.failures(), report.per_backend.len()), (0, 4), "{report:?}");
    let listed = String::from_utf8(world.weir(&["docker", "ls"]).stdout).unwrap();
    assert!(listed.contains("east/web-weir-"), "{listed}");
    let status = String::from_utf8(world.weir(&["status"]).stdout).unwrap();
    let line = format!("east: tcp://{EAST}:2376, connected for ");
    assert!(status.contains(&line) && status.contains("2 containers run, 900m cores"), "{status}");

    // Both are full.
    world.configure(&service(5));
    eventually("there is no room", || {
        trouble(&world).contains("no host for a replica: no node is left: 2 too little cpu")
    });
    assert_eq!((on(&world.engine), on(&other), healthy(&world)), (2, 2, 4));

    world.configure(&service(2));
    let report = world.while_loaded_at(20, false, || {
        eventually("one of each host is left", || (on(&world.engine), on(&other)) == (1, 1));
    });
    assert_eq!(report.failures(), 0, "{report:?}");
    refusals(&world, directory.path());
}

#[test]
fn a_host_whose_engine_has_ended_keeps_its_replicas_and_gets_no_more() {
    let socket = tempfile::tempdir().unwrap();
    let socket = socket.path().join("east.sock");
    let options = vec!["-H".to_owned(), format!("unix://{}", socket.display())];
    let (world, other) = world(&socket.display().to_string(), options, 3);
    copy_image(&world, &other);
    world.configure(&service(3));
    world.start();
    eventually("three answer", || healthy(&world) == 3);
    let before = (on(&world.engine), on(&other));
    assert!(before.0 > 0 && before.1 > 0, "{before:?}");
    // What the replica over there is called by itself.
    let there = other.docker(&["ps", "-q", "--filter", "label=app=web"]);
    let connected = |value| format!("weir_docker_host_connected{{host=\"east\"}} {value}");
    assert!(world.metrics().contains(&connected(1)));

    let report = world.while_loaded_at(40, false, || {
        other.end();
        eventually("the loss is told", || world.metrics().contains(&connected(0)));
        // More go where somebody can be asked; fewer would be too few.
        world.configure(&service(4));
        let west = 4 - before.1;
        eventually("the new one is here", || on(&world.engine) == west && healthy(&world) == 4);
        let status = String::from_utf8(world.weir(&["status"]).stdout).unwrap();
        assert!(status.contains("problem: docker east: "), "{status}");
        world.configure(&service(1));
        eventually("fewer are wanted", || told(&world, "desired") == 1);
        std::thread::sleep(std::time::Duration::from_secs(3));
        assert_eq!((on(&world.engine), healthy(&world)), (west, 4));
    });
    assert_eq!(report.failures(), 0, "{report:?}");
    let report = world.load(200);
    assert_eq!(
        (report.failures(), report.per_backend.contains_key(&there)),
        (0, true),
        "{report:?}"
    );

    other.start_in(&world.lab.backends()[0].netns);
    let report = world.while_loaded_at(20, false, || {
        eventually("the rest goes when all can be asked", || {
            (on(&world.engine), on(&other)) == (1, 0)
        });
    });
    assert_eq!(report.failures(), 0, "{report:?}");
}

/// Certificates of an authority and of two ends of it, and those of another authority.
fn certificates() -> Vec<(&'static str, String)> {
    let mut files = Vec::new();
    for (ca, names) in [
        ("ca.pem", [("server.pem", "server-key.pem"), ("cert.pem", "key.pem")]),
        ("other-ca.pem", [("no.pem", "no-key.pem"), ("other.pem", "other-key.pem")]),
    ] {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, ca);
        let key = KeyPair::generate().unwrap();
        files.push((ca, params.self_signed(&key).unwrap().pem()));
        let issuer = Issuer::new(params, key);
        for (cert, key_name) in names {
            let params = CertificateParams::new([EAST.to_owned()]).unwrap();
            let key = KeyPair::generate().unwrap();
            files.push((cert, params.signed_by(&key, &issuer).unwrap().pem()));
            files.push((key_name, key.serialize_pem()));
        }
    }
    files
}

/// Who shows the wrong certificate, or none that can be read, is refused with the reason.
fn refusals(world: &World, directory: &Path) {
    let asked = |port, ca: &str, cert: &str, key: &str| {
        let file = |name: &str| directory.join(name);
        let (ca, cert, key) = (file(ca), file(cert), file(key));
        let tls = TlsAddress { host: EAST.to_owned(), port, ca, cert, key };
        let host = DockerHost {
            engine: EngineAddress::Tls(Box::new(tls)),
            reach: Some(Reach::Routed),
            ..DockerHost::here(PathBuf::new())
        };
        let ask = || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(docker::containers(&host)).map_err(|error| error.to_string())
        };
        world.lab.lb().in_netns(ask).unwrap()
    };
    assert!(asked(2376, "ca.pem", "cert.pem", "key.pem").is_ok());
    for (port, ca, cert, key, expected) in [
        (2376, "ca.pem", "other.pem", "other-key.pem", "received fatal alert: "),
        (2376, "other-ca.pem", "cert.pem", "key.pem", "invalid peer certificate: UnknownIssuer"),
        (2377, "ca.pem", "cert.pem", "key.pem", "Connection refused"),
        (2376, "none.pem", "cert.pem", "key.pem", "none.pem: No such file"),
        (2376, "ca.pem", "key.pem", "key.pem", "key.pem: there is no certificate in it"),
        (2376, "ca.pem", "cert.pem", "cert.pem", "cert.pem: "),
        (2376, "ca.pem", "cert.pem", "other-key.pem", "cert.pem: "),
    ] {
        let error = asked(port, ca, cert, key).unwrap_err();
        assert!(error.contains(expected), "{ca} {cert} {key}: {error}");
        assert!(error.contains(&format!("tcp://{EAST}:{port}")), "{error}");
    }
}
