//! Backends that tell their own load.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    time::Duration,
};

use lb_userspace::{
    admin::{
        Request,
        report::{BackendReport, BackendState, ServiceReport},
    },
    lab::Topology,
    model::{AllDown, Attach, HealthCheck, Policy, Probe, ReportBy, SelfReport},
};

use super::world::{World, eventually, plan};

const REPORT_PORT: u16 = 9000;

/// What all who connect to a backend's port are told. The threads end with the process of the test.
type Line = Arc<Mutex<String>>;

/// Says something at both addresses of the first backend; `asked`: a request is read before.
fn speak(world: &World, port: u16, asked: bool) -> Line {
    let line = Line::default();
    let backend = &world.lab.backends()[0];
    for address in [IpAddr::V4(backend.v4), IpAddr::V6(backend.v6)] {
        let at = SocketAddr::new(address, port);
        let listener = backend.netns.in_netns(|| TcpListener::bind(at)).unwrap().unwrap();
        let line = Arc::clone(&line);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut request = [0; 4];
                while asked && !request.ends_with(b"\r\n\r\n") {
                    request.rotate_left(1);
                    if stream.read_exact(&mut request[3..]).is_err() {
                        break;
                    }
                }
                let text = line.lock().unwrap().clone();
                stream.write_all(text.as_bytes()).ok();
            }
        });
    }
    line
}

fn say(line: &Line, text: &str) {
    text.clone_into(&mut line.lock().unwrap());
}

fn world(policy: Policy, by: ReportBy) -> World {
    let interval = Duration::from_millis(100);
    World::with(plan(Topology::Bridge), Attach::Tc, policy, |config| {
        config.services[0].report = Some(SelfReport { by, port: Some(REPORT_PORT), interval });
    })
}

fn first(world: &World) -> BackendReport {
    let backends: Vec<BackendReport> = world.ask(&Request::Backends);
    backends.into_iter().find(|it| it.endpoint.starts_with(&world.backend(0))).unwrap()
}

fn service(world: &World) -> ServiceReport {
    world.ask::<Vec<ServiceReport>>(&Request::Services).remove(0)
}

#[test]
fn an_agent_drains_stops_and_weighs_its_backend() {
    let world = world(Policy::WeightedRoundRobin, ReportBy::Agent);
    // Weights of 4, 2, 1.
    let share = || service(&world).backends[0].share;
    assert!((share() - 4.0 / 7.0).abs() < 1e-3, "{}", share());
    let line = speak(&world, REPORT_PORT, false);
    for (text, state, part) in [
        ("up 25%\n", BackendState::Up, 1.0 / 4.0),
        ("drain\n", BackendState::Drained, 0.0),
        ("maint\n", BackendState::Down, 0.0),
        ("ready 200%\n", BackendState::Up, 8.0 / 11.0),
        ("down #disk full\n", BackendState::Down, 0.0),
        ("up 0%\n", BackendState::Drained, 0.0),
        ("100%\n", BackendState::Up, 4.0 / 7.0),
    ] {
        say(&line, text);
        eventually(text, || first(&world).state == state && (share() - part).abs() < 1e-3);
        let served = world.load(70).per_backend.get("b1").copied().unwrap_or(0);
        assert!((served as f64 - 70.0 * part).abs() <= 2.5, "{text}: {served} of 70");
    }
    say(&line, "drain #until noon\n");
    let says = "its agent says drain (until noon)";
    eventually("it is said", || first(&world).health == says);
    // What cannot be read changes nothing.
    say(&line, "SSH-2.0-x\n");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(first(&world).state, BackendState::Drained);
}

#[test]
fn a_report_over_http_counts_until_it_is_old() {
    let by = ReportBy::Http { path: "/load".to_owned() };
    let world = world(Policy::Adaptive, by);
    let given = || service(&world).backends[0].load.clone();
    let says = |text: &str| given().is_some_and(|load| load.text.contains(text));
    eventually("nobody is there", || says("its report: cannot ask for a report"));
    let load = || given().unwrap();
    let line = speak(&world, REPORT_PORT, true);
    say(&line, "HTTP/1.1 200 OK\r\n\r\n{\"application_utilization\":0.75}");
    eventually("it is believed", || load().reported == Some(0.75));
    assert!((load().utilisation - 0.75).abs() < 1e-3, "{:?}", load());
    assert!(load().text.contains("75 % by its own report"), "{}", load().text);
    for lie in ["-1", "NaN", "1e999", "\"much\"", "null"] {
        say(&line, &format!("HTTP/1.1 200 OK\r\n\r\n{{\"application_utilization\":{lie}}}"));
        eventually(lie, || load().text.contains("its report: "));
    }
    // Nonsense for ten seconds: what it said before is forgotten.
    eventually("it is old", || load().reported.is_none());
    assert!(load().utilisation < 0.1, "{:?}", load());
}

#[test]
fn answers_to_health_checks_are_read_for_a_report() {
    let check = HealthCheck {
        probe: Probe::Http { path: "/healthz".to_owned() },
        interval: Duration::from_millis(200),
        timeout: Duration::from_millis(200),
        rise: 1,
        fall: 1,
        port: Some(REPORT_PORT),
        all_down: AllDown::Try,
    };
    let world = World::with(plan(Topology::Bridge), Attach::Tc, Policy::Adaptive, |config| {
        config.services[0].health = Some(check);
    });
    let line = speak(&world, REPORT_PORT, true);
    say(&line, "HTTP/1.1 200 OK\r\nendpoint-load-metrics: cpu_utilization=0.5\r\n\r\n");
    // Until the first round of the loads there is none.
    let load = || service(&world).backends[0].load.clone();
    eventually("it is believed", || load().is_some_and(|load| load.reported == Some(0.5)));
    assert_eq!(first(&world).state, BackendState::Up);
    say(&line, "HTTP/1.1 200 OK\r\nendpoint-load-metrics: cpu_utilization=x\r\n\r\n");
    eventually("it is not understood", || load().unwrap().text.contains("its report: "));
    assert_eq!(first(&world).state, BackendState::Up);
}
