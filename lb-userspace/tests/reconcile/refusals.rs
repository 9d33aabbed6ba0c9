//! What cannot be planned, what has to wait, and what a new controller finds.

use std::time::{Duration, Instant};

use lb_common::abi::{
    ABI_VERSION,
    backend::{Backend, backend_state},
    service::service_flag,
};
use lb_userspace::{
    maps::{LbMaps as _, Write, memory::Fault},
    model::Limits,
    reconcile::PlanError,
};

use crate::{
    script::perform,
    world::{World, meaning},
};

const WEB: &str = "service web listen=198.18.0.1:80/tcp policy=round-robin";

fn world(limits: Limits, events: &[&str]) -> World {
    let mut world = World::new(limits, Instant::now());
    for event in events {
        perform(&mut world, event);
    }
    world
}

fn small() -> Limits {
    Limits { services: 3, backends: 4, pages: 3, ..Limits::default() }
}

#[test]
fn what_can_never_fit_is_refused() {
    let rows: [(&str, Vec<String>, &str); 6] = [
        (
            "a service too many",
            (0..3).map(|n| format!("service s{n} listen=198.18.0.{n}:80/tcp policy=random")).collect(),
            "3 services do not fit: the dataplane is loaded for 2",
        ),
        (
            "a backend too many",
            vec![format!("{WEB} backends=198.18.1.1:1,198.18.1.2:1,198.18.1.3:1,198.18.1.4:1")],
            "4 backends do not fit: the dataplane is loaded for 3",
        ),
        (
            "a page too many",
            (0..2)
                .map(|n| format!("service s{n} listen=198.18.0.{n}:80/tcp policy=maglev backends=198.18.1.1:1"))
                .collect(),
            "4 pages of slot tables do not fit: the dataplane is loaded for 3",
        ),
        (
            "one address twice",
            vec![WEB.to_owned(), WEB.replace("web", "dup")],
            "services web and dup both listen on 198.18.0.1:80/tcp",
        ),
        (
            "one address twice, once as part of a range",
            vec![
                "service a listen=198.18.0.1:8-15/tcp policy=random backends=198.18.1.1:1".to_owned(),
                "service b listen=198.18.0.1:8-17/tcp policy=random backends=198.18.1.1:1".to_owned(),
            ],
            "services a and b both listen on 198.18.0.1:8-15/tcp",
        ),
        (
            "sources beyond measure",
            vec![{
                let nets: Vec<String> =
                    (0..=65_536).map(|n: u32| format!("198.18.{}.{}/{}", n / 256 % 256, n % 256, 32 - n / 65_536)).collect();
                format!("{WEB} sources={}", nets.join(","))
            }],
            "65537 prefixes of sources do not fit: the dataplane is loaded for 65536",
        ),
    ];
    for (what, events, message) in rows {
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        let error = world(small(), &events).plan().unwrap_err();
        assert_eq!(error.to_string(), message, "{what}");
    }
}

#[test]
fn a_service_may_not_name_a_backend_that_nobody_lists() {
    let mut world = world(small(), &[&format!("{WEB} backends=198.18.1.1:1")]);
    world.desired.backends.clear();
    let error = world.plan().unwrap_err();
    assert!(matches!(&error, PlanError::Unlisted { .. }));
    assert_eq!(error.to_string(), "service web: backend 198.18.1.1:1 is not among the backends");
}

#[test]
fn a_backend_waits_for_an_id_and_the_others_serve_meanwhile() {
    let mut world = world(small(), &[&format!("{WEB} backends=198.18.1.1:1,198.18.1.2:1")]);
    world.run();
    perform(&mut world, &format!("{WEB} backends=198.18.1.3:1,198.18.1.4:1"));
    world.flows = [(1, 1), (2, 1)].into();
    let waits = |world: &mut World| -> Vec<String> {
        world.run().waiting.iter().map(ToString::to_string).collect()
    };
    let served = |world: &World| {
        let entries = meaning(&world.snapshot());
        entries["198.18.0.1:80/tcp"].3.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let message = "service web waits for a free id for its backend 198.18.1.4:1";
    assert_eq!(waits(&mut world), [message]);
    assert_eq!(served(&world), ["198.18.1.3:1"]);
    world.advance(Duration::from_mins(1));
    assert_eq!(waits(&mut world), [message], "the drain time is over: this plan frees the ids");
    assert_eq!(waits(&mut world), Vec::<String>::new());
    assert_eq!(served(&world), ["198.18.1.3:1", "198.18.1.4:1"]);
}

#[test]
fn a_table_waits_for_pages_and_the_old_one_serves_meanwhile() {
    let hash = WEB.replace("round-robin", "maglev");
    let mut world = world(small(), &[&format!("{hash} backends=198.18.1.1:1,198.18.1.2:1")]);
    world.run();
    let before = meaning(&world.snapshot());
    perform(&mut world, &format!("{hash} backends=198.18.1.1:1"));
    for _ in 0..3 {
        let waiting = world.run().waiting;
        assert_eq!(waiting.len(), 1);
        let message = "service web waits for 2 free pages in a row for its table";
        assert_eq!(waiting[0].to_string(), message);
        assert_eq!(meaning(&world.snapshot()), before, "the slots of who left are skipped");
        world.advance(Duration::from_mins(2));
    }
    perform(&mut world, &format!("{WEB} backends=198.18.1.1:1"));
    assert_eq!(world.run().waiting, [], "one page is enough");
}

#[test]
fn who_may_connect_does_not_wait_for_pages() {
    let hash = WEB.replace("round-robin", "maglev");
    let mut world = world(small(), &[&format!("{hash} backends=198.18.1.1:1,198.18.1.2:1")]);
    world.run();
    perform(&mut world, &format!("{hash} backends=198.18.1.1:1 sources=198.18.0.0/15"));
    assert_eq!(world.run().waiting.len(), 1);
    let service = *world.snapshot().services().next().unwrap();
    assert_eq!((service.flags, service.table_len), (service_flag::SOURCES, 300));
    assert_eq!(world.snapshot().sources.len(), 1);
    assert_eq!(world.plan().unwrap().steps, []);
}

#[test]
fn what_a_waiting_service_has_left_still_passes_the_filter() {
    let game = "service game listen=198.18.0.1:27000-27100/udp policy=maglev";
    let mut world = world(small(), &[&format!("{game} backends=198.18.1.1:0")]);
    world.run();
    perform(&mut world, &format!("{game} backends=198.18.1.2:9"));
    for _ in 0..3 {
        assert_eq!(world.run().waiting.len(), 1);
        world.advance(Duration::from_mins(2));
    }
    let bits = |world: &World| {
        let ports = &world.snapshot().ports[1].backends;
        ports.iter().map(|word| word.count_ones()).sum::<u32>()
    };
    assert_eq!(bits(&world), 102, "the table still names a backend that answers from the range");
    perform(&mut world, &game.replace("maglev", "random backends=198.18.1.2:9"));
    world.run();
    world.advance(Duration::from_mins(2));
    world.run();
    assert_eq!(bits(&world), 1);
}

#[test]
fn sources_left_over_under_an_id_go_before_the_next_service_gets_it() {
    let mut world = world(Limits::default(), &[&format!("{WEB} sources=198.18.0.0/15")]);
    world.run();
    perform(&mut world, "remove web");
    world.inject(Fault::Map("SOURCES"));
    let plan = world.plan().unwrap();
    world.execute(&plan).unwrap_err();
    world.inject(Fault::Never);
    perform(&mut world, &format!("{} sources=fd00::/8", WEB.replace("web", "other")));
    let plan = world.run();
    let position = |map, wanted: fn(&Write) -> bool| {
        let found = plan.steps.iter().position(|s| s.write.map() == map && wanted(&s.write));
        found.unwrap()
    };
    let cleared = position("SOURCES", |write| matches!(write, Write::RemoveSource(_)));
    assert!(cleared < position("LISTEN", |_| true), "{plan:?}");
}

#[test]
fn services_that_swap_places_wait_for_ids_and_pages() {
    let put = |n: u32| {
        format!("service s{n} listen=198.18.0.{n}:80/tcp policy=random backends=198.18.1.1:1")
    };
    let mut world = world(small(), &[&put(1), &put(2)]);
    world.run();
    for event in ["remove s1", "remove s2", &put(3), &put(4)] {
        perform(&mut world, event);
    }
    let plan = world.run();
    let messages: Vec<String> = plan.waiting.iter().map(ToString::to_string).collect();
    let expected =
        ["service s3 waits for a free service id", "service s4 waits for a free service id"];
    assert_eq!(messages, expected);
    let waiting = world.run().waiting;
    assert_eq!(waiting.len(), 1, "one page is fresh, the others rest: {waiting:?}");
    assert_eq!(waiting[0].to_string(), "service s4 waits for 1 free pages in a row for its table");
    world.advance(Duration::from_secs(1));
    assert_eq!(world.run().waiting, []);
    assert_eq!(meaning(&world.snapshot()).len(), 2);
}

#[test]
fn a_new_controller_changes_nothing_but_what_changed() {
    let mut world =
        world(Limits::default(), &[&format!("{WEB} backends=198.18.1.1:1,198.18.1.2:1")]);
    world.desired.generation = 7;
    world.run();
    world.restart();
    assert_eq!(world.plan().unwrap().steps, []);
    world.desired.generation = 1;
    let writes: Vec<&str> = world.run().steps.iter().map(|step| step.write.map()).collect();
    assert_eq!(writes, ["SETTINGS"], "a generation that begins anew rewrites no service");
}

#[test]
fn a_new_controller_cleans_up_what_it_does_not_know() {
    let mut world = world(Limits::default(), &[&format!("{WEB} backends=198.18.1.1:1")]);
    let foreign = Backend {
        state: backend_state::UP,
        protocol: 99,
        generation: 4,
        address: std::net::IpAddr::from([198, 18, 1, 1]).into(),
        ..Backend::default()
    };
    world.maps.write(&Write::Ports { index: 0, set: Box::new(full()) }).unwrap();
    world.maps.write(&Write::Backend { id: 1, value: foreign }).unwrap();
    world.restart();
    world.run();
    let backends = world.snapshot().backends;
    assert_eq!(
        (backends[&1].state, backends[&2].state),
        (backend_state::CLOSED, backend_state::UP)
    );
    world.advance(Duration::from_secs(1));
    world.run();
    let freed = Backend { generation: 4, ..Backend::default() };
    assert_eq!(world.snapshot().backends[&1], freed);
    assert_eq!(world.snapshot().settings.abi_version, ABI_VERSION);
}

fn full() -> lb_common::abi::service::PortSet {
    lb_common::abi::service::PortSet { services: [u64::MAX; 1024], backends: [u64::MAX; 1024] }
}

#[test]
fn a_backend_that_comes_back_in_time_is_the_same() {
    let mut world =
        world(Limits::default(), &[&format!("{WEB} backends=198.18.1.1:1,198.18.1.2:1")]);
    world.run();
    let before = world.snapshot().backends;
    perform(&mut world, &format!("{WEB} backends=198.18.1.2:1"));
    world.flows = [(1, 1)].into();
    world.run();
    assert_eq!(world.snapshot().backends[&1].state, backend_state::CLOSED);
    world.advance(Duration::from_secs(59));
    world.run();
    perform(&mut world, &format!("{WEB} backends=198.18.1.1:1,198.18.1.2:1"));
    world.run();
    assert_eq!(world.snapshot().backends, before);
    // It left in between: a second leave has its whole drain time again.
    perform(&mut world, &format!("{WEB} backends=198.18.1.2:1"));
    world.run();
    world.advance(Duration::from_secs(59));
    world.run();
    assert_eq!(world.snapshot().backends[&1].state, backend_state::CLOSED);
}

#[test]
fn no_flow_is_counted_before_the_closing_had_time_to_settle() {
    let mut world = world(Limits::default(), &[&format!("{WEB} backends=198.18.1.1:1")]);
    world.run();
    perform(&mut world, WEB);
    world.run();
    let state = |world: &World| world.snapshot().backends[&1].state;
    world.advance(Duration::from_millis(999));
    world.run();
    assert_eq!(state(&world), backend_state::CLOSED);
    world.advance(Duration::from_millis(1));
    world.run();
    assert_eq!(state(&world), backend_state::ABSENT);
}
