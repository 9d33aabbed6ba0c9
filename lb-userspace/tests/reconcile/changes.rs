//! Plans out of what changed alone: over random histories they are the plans that look at
//! everything.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use lb_userspace::{
    maps::memory::Fault,
    model::{Endpoint, Limits},
    reconcile::{Changes, Desired, Scope},
};
use proptest::{collection::vec, option, prelude::*};

use crate::{
    histories::{Event, endpoints, event, live},
    script::perform,
    world::{World, tables_built},
};

/// What happens between two plans without another configuration.
#[derive(Clone, Debug)]
struct Turn {
    /// Services whose weights are drawn anew, by bit, and the weights.
    services: u8,
    weights: [u32; 8],
    /// Backends whose state or way is another one, by bit.
    flipped: u8,
    moved: u8,
    /// Backend ids with flows, by bit.
    busy: u8,
    pause_ms: u64,
    fault: Option<usize>,
    restart: bool,
}

fn turn() -> impl Strategy<Value = Turn> {
    let rare = || prop_oneof![2 => Just(0_u8), 1 => any::<u8>()];
    let weights = proptest::array::uniform8(0..4_u32);
    let pause_ms = prop_oneof![Just(0_u64), Just(400), Just(1000), Just(61_000)];
    let fault = option::weighted(0.1, 0..6_usize);
    let restart = proptest::bool::weighted(0.05);
    let what = (rare(), weights, rare(), rare());
    (what, any::<u8>(), pause_ms, fault, restart).prop_map(
        |((services, weights, flipped, moved), busy, pause_ms, fault, restart)| Turn {
            services,
            weights,
            flipped,
            moved,
            busy,
            pause_ms,
            fault,
            restart,
        },
    )
}

/// A configuration, and what happens until the next one.
fn eras() -> impl Strategy<Value = Vec<(Event, Vec<Turn>)>> {
    vec((event(), vec(turn(), 0..8)), 1..4)
}

/// Does to a desired state what a turn says.
fn take(turn: &Turn, desired: &mut Desired) {
    let endpoints = endpoints();
    let place = |endpoint: &Endpoint| endpoints.iter().position(|it| it == endpoint).unwrap();
    for (at, service) in desired.services.iter_mut().enumerate() {
        for backend in &mut service.backends {
            if turn.services >> at & 1 == 1 {
                backend.weight = turn.weights[place(&backend.endpoint)];
                backend.capacity = backend.weight * 3;
            }
        }
    }
    for (endpoint, entry) in &mut desired.backends {
        entry.takes_new ^= turn.flipped >> place(endpoint) & 1 == 1;
        entry.link.ifindex += u32::from(turn.moved >> place(endpoint) & 1);
    }
}

/// What is different, found by looking at all of it.
fn difference(before: &Desired, after: &Desired) -> Changes {
    let entries = before.backends.iter().zip(&after.backends);
    let mut backends: BTreeSet<Endpoint> =
        entries.filter(|(old, new)| old != new).map(|(_, (endpoint, _))| *endpoint).collect();
    for (old, new) in before.services.iter().zip(&after.services) {
        let parts = old.backends.iter().zip(&new.backends);
        backends.extend(parts.filter(|(old, new)| old != new).map(|(_, new)| new.endpoint));
    }
    let has = |at: &usize| {
        after.services[*at].backends.iter().any(|backend| backends.contains(&backend.endpoint))
    };
    let services = (0..after.services.len()).filter(has).collect();
    Changes { services, backends }
}

/// Lives through a turn with plans of either kind, which must be the same.
fn take_turn(world: &mut World, turn: &Turn, pending: &mut Changes) {
    let before = world.desired.clone();
    take(turn, &mut world.desired);
    world.desired.generation += 1;
    let Changes { services, backends } = difference(&before, &world.desired);
    pending.services.extend(services);
    pending.backends.extend(backends);
    world.flows = (0..8).map(|bit| (bit, u64::from(turn.busy >> bit & 1))).collect();
    world.advance(Duration::from_millis(turn.pause_ms));
    if turn.restart {
        world.restart();
    }
    let (all, only) = (world.plan(), world.plan_in(Scope::Only(pending)));
    assert_eq!(only, all);
    let Ok(plan) = only else { return };
    world.inject(turn.fault.map_or(Fault::Never, Fault::Nth));
    if world.execute(&plan).is_ok() {
        *pending = Changes::default();
    }
    world.inject(Fault::Never);
}

fn same_plans(limits: Limits, eras: &[(Event, Vec<Turn>)]) {
    let mut world = World::new(limits, Instant::now());
    for (event, turns) in eras {
        // What does not fit is not taken over.
        if !live(&mut world, std::slice::from_ref(event)) {
            continue;
        }
        // The configuration itself is always planned with a look at everything.
        let plan = world.plan().unwrap();
        world.execute(&plan).unwrap();
        let mut pending = Changes::default();
        for turn in turns {
            take_turn(&mut world, turn, &mut pending);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_changed_is_enough_to_plan(eras in eras()) {
        same_plans(Limits::default(), &eras);
    }

    #[test]
    fn what_changed_is_enough_where_pages_are_few(eras in eras()) {
        same_plans(Limits { pages: 12, ..Limits::default() }, &eras);
    }
}

/// Three services of two backends each, in place.
fn three_services() -> World {
    let mut world = World::new(Limits::default(), Instant::now());
    for n in 0..3 {
        let backends = format!("198.18.10.{n}:80,198.18.11.{n}:80");
        let listen = format!("198.18.0.{n}:80/tcp");
        perform(
            &mut world,
            &format!("service s{n} listen={listen} policy=maglev backends={backends}"),
        );
    }
    world.run();
    world
}

#[test]
fn the_tables_of_other_services_are_not_built() {
    let mut world = three_services();
    tables_built();
    let before = world.desired.clone();
    perform(&mut world, "down 198.18.10.1:80");
    let changes = difference(&before, &world.desired);
    assert_eq!(changes.services, BTreeSet::from([1]));
    let plan = world.plan_in(Scope::Only(&changes)).unwrap();
    assert_eq!(tables_built(), 1);
    assert!(!plan.steps.is_empty());
    world.execute(&plan).unwrap();
    assert_eq!(world.plan_in(Scope::Only(&Changes::default())).unwrap().steps, []);
    assert_eq!(tables_built(), 0, "nothing to do is nothing to look at");
}

#[test]
fn after_a_failure_everything_is_looked_at() {
    let mut world = three_services();
    perform(&mut world, "down 198.18.10.1:80");
    let plan = world.plan().unwrap();
    world.inject(Fault::Nth(1));
    world.execute(&plan).unwrap_err();
    tables_built();
    // Nothing has changed since, and still there is something to do.
    let again = world.plan_in(Scope::Only(&Changes::default())).unwrap();
    assert_eq!(tables_built(), 3);
    world.inject(Fault::Never);
    world.execute(&again).unwrap();
    assert_eq!(world.plan().unwrap().steps, []);
}
