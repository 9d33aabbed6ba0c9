//! The engine itself: absent, forbidden, ended and started again.

use std::{
    fs::{self, Permissions},
    io::{Read as _, Write as _},
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
    },
    path::Path,
    thread,
};

use lb_userspace::{docker, model::DockerHost};
use nix::{
    sys::signal::Signal,
    unistd::{Uid, setfsuid},
};

use super::{
    image,
    world::{World, eventually},
};

const WEB: [&str; 4] = [
    "--label=weir.enable=true",
    "--label=weir.service=web",
    "--label=weir.listen=198.18.1.1:80",
    // Who gets how much must not depend on connections that a load left open.
    "--label=weir.policy=round-robin",
];

#[test]
fn an_engine_that_is_not_there_is_named_and_followed_when_it_comes() {
    let world = World::without_engine("");
    world.start();
    let status = String::from_utf8(world.weir(&["status"]).stdout).unwrap();
    let socket = world.engine.socket().display().to_string();
    let problem = format!("problem: docker: no Docker engine at {socket}: there is no such socket");
    assert!(status.contains(&problem), "{status}");
    assert!(status.contains("lost for"), "{status}");

    world.engine.start(&world.lab);
    let directory = tempfile::tempdir().unwrap();
    image::import(&world.engine, &image::compile(directory.path()));
    world.engine.run("server", "r1", &WEB);
    world.wait_up(&[&world.engine.address("r1", "bridge")]);
    let status = String::from_utf8(world.weir(&["status"]).stdout).unwrap();
    assert!(!status.contains("problem"), "{status}");
    assert_eq!(world.load(30).failures(), 0);
}

/// Two replicas that take flows.
fn two() -> World {
    let world = World::new("");
    for name in ["r1", "r2"] {
        world.engine.run("server", name, &WEB);
        world.wait_up(&[&world.engine.address(name, "bridge")]);
    }
    world
}

#[test]
fn a_restart_of_the_engine_is_survived_under_load() {
    let world = two();
    let linked = || world.json(&["status"])["docker"]["connected"].as_bool().unwrap();
    // No connection ends: the load keeps those it has.
    let report = world.while_loaded_at(2000, true, || {
        world.engine.end();
        eventually("the loss is seen", || !linked());
        // What was known stays known.
        assert_eq!(world.verdict("r1").0, "published");
        world.engine.start(&world.lab);
        eventually("the engine is seen again", linked);
    });
    assert_eq!(report.failures(), 0, "{report:?}\n{}", world.log());
    assert!(["r1", "r2"].iter().all(|name| report.per_backend[*name] > 0), "{report:?}");
    // And it is followed again.
    world.engine.run("server", "r3", &WEB);
    world.wait_up(&[&world.engine.address("r3", "bridge")]);
    world.engine.docker(&["stop", "-t", "0", "r1"]);
    eventually("a is out", || world.verdict("r1").0 == "still");
    assert_eq!(world.load(60).failures(), 0);
}

#[test]
fn a_container_that_ended_while_the_engine_was_away_is_gone_when_it_is_back() {
    let world = two();
    let address = world.engine.address("r1", "bridge");
    let pid = world.engine.docker(&["inspect", "-f", "{{.State.Pid}}", "r1"]);
    world.engine.end();
    let pid = nix::unistd::Pid::from_raw(pid.parse().unwrap());
    nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
    world.engine.start(&world.lab);
    eventually("a is gone", || world.backend(&address).0 != "up");
    let report = world.load(60);
    assert_eq!((report.failures(), report.per_backend["r2"]), (0, 60), "{report:?}");
}

#[test]
fn a_daemon_that_is_killed_finds_its_containers_again_under_load() {
    let world = two();
    for keep_alive in [false, true] {
        let report = world.while_loaded_at(2000, keep_alive, || {
            world.end(Signal::SIGKILL);
            world.start();
        });
        assert_eq!(report.failures(), 0, "{report:?}\n{}", world.log());
    }
    assert_eq!(world.verdict("r1").0, "published");
}

/// What is said of a socket.
fn obstacle(socket: &Path) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let host = DockerHost::here(socket.to_owned());
    runtime.block_on(docker::containers(&host)).unwrap_err().to_string()
}

#[test]
fn sockets_that_are_no_engine_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let path = |name: &str| directory.path().join(name);

    drop(UnixListener::bind(path("dead")).unwrap());
    assert!(obstacle(&path("dead")).starts_with("nobody listens at "));
    assert!(obstacle(&path("none")).ends_with(": there is no such socket"));
    fs::write(path("file"), "").unwrap();
    assert!(obstacle(&path("file")).starts_with("nobody listens at "));

    let _closed = UnixListener::bind(path("closed")).unwrap();
    fs::set_permissions(path("closed"), Permissions::from_mode(0o600)).unwrap();
    let closed = path("closed");
    // The identity that counts for files belongs to a thread.
    let text = thread::spawn(move || {
        setfsuid(Uid::from_raw(65_534));
        obstacle(&closed)
    });
    let text = text.join().unwrap();
    assert!(text.starts_with("permission denied at "), "{text}");

    for (name, answer, part) in [
        ("echo", "hello\r\n", "no answer to /version"),
        ("web", "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", "404"),
        (
            "old",
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 21\r\n\r\n{\"ApiVersion\":\"1.12\"}",
            "is too old: it speaks API 1.12, and 1.24 is needed",
        ),
    ] {
        let listener = UnixListener::bind(path(name)).unwrap();
        let server = thread::spawn(move || {
            // The first connection only tries the socket.
            for (speaks, stream) in [false, true].into_iter().zip(listener.incoming().flatten()) {
                answer_once(&stream, if speaks { answer } else { "" });
            }
        });
        let text = obstacle(&path(name));
        assert!(text.contains(part), "{name}: {text}");
        server.join().unwrap();
    }
}

/// Reads a request, if one comes, and answers it.
fn answer_once(mut stream: &UnixStream, answer: &str) {
    let mut bytes = [0; 4096];
    if stream.read(&mut bytes).is_ok_and(|count| count > 0) {
        stream.write_all(answer.as_bytes()).unwrap();
    }
}
