//! A fault at every write of every scenario.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use lb_userspace::{
    maps::{Write, memory::Fault},
    model::Limits,
};

use crate::{
    scenarios::histories,
    script::perform,
    world::{World, meaning},
};

/// Calls `with` for every plan of every scenario, with the world before it.
fn every_plan(mut with: impl FnMut(&str, &World)) {
    for (name, blocks) in histories() {
        let mut world = World::new(Limits::default(), Instant::now());
        for (index, events) in blocks.iter().enumerate() {
            for event in events {
                perform(&mut world, event);
            }
            world.desired.generation = u32::try_from(index).unwrap() + 1;
            with(&format!("{name}, plan {index}"), &world);
            world.run();
        }
    }
}

#[test]
fn any_write_may_fail_and_the_next_plan_makes_up_for_it() {
    every_plan(|what, before| {
        let mut smooth = before.clone();
        let steps = smooth.run().steps.len();
        for n in 0..steps {
            let mut world = before.clone();
            world.inject(Fault::Nth(n));
            let plan = world.plan().unwrap();
            let error = world.execute(&plan).unwrap_err();
            assert_eq!((error.step, &error.why), (n, &plan.steps[n].why), "{what}");
            world.run();
            assert_eq!(world.snapshot(), smooth.snapshot(), "{what}, write {n}");
            assert_eq!(world.plan().unwrap().steps, [], "{what}, write {n}");
        }
    });
}

/// What a write does, without to what.
fn kind(write: &Write) -> &'static str {
    match write {
        Write::Settings(_) => "settings",
        Write::Ports { .. } => "ports",
        Write::Backend { .. } => "backend",
        Write::Page { .. } => "page",
        Write::Listen(..) => "listen",
        Write::RemoveListen(_) => "remove listen",
        Write::Range(..) => "range",
        Write::RemoveRange(_) => "remove range",
        Write::Source(_) => "source",
        Write::RemoveSource(_) => "remove source",
    }
}

#[test]
fn every_kind_of_write_is_among_those_that_fail() {
    let mut kinds = BTreeSet::new();
    every_plan(|_, before| {
        kinds.extend(before.clone().run().steps.iter().map(|step| kind(&step.write)));
    });
    assert_eq!(kinds.len(), 10, "{kinds:?}");
}

#[test]
fn a_controller_that_died_at_any_write_is_succeeded() {
    every_plan(|what, before| {
        let mut smooth = before.clone();
        let steps = smooth.run().steps.len();
        for n in 0..steps {
            let mut world = before.clone();
            world.inject(Fault::Nth(n));
            let plan = world.plan().unwrap();
            world.execute(&plan).unwrap_err();
            world.restart();
            world.run();
            assert_eq!(meaning(&world.snapshot()), meaning(&smooth.snapshot()), "{what}, {n}");
            assert_eq!(world.plan().unwrap().steps, [], "{what}, write {n}");
        }
    });
}

#[test]
fn while_one_map_is_broken_the_others_stay_right() {
    for map in ["SETTINGS", "PORTS", "BACKENDS", "PAGES", "LISTEN", "LISTEN_RANGE", "SOURCES"] {
        every_plan(|what, before| {
            let mut smooth = before.clone();
            smooth.run();
            let mut world = before.clone();
            world.inject(Fault::Map(map));
            for _ in 0..3 {
                let plan = world.plan().unwrap();
                let touched = plan.steps.iter().any(|step| step.write.map() == map);
                assert_eq!(world.execute(&plan).is_err(), touched, "{what}, {map}");
            }
            world.inject(Fault::Never);
            world.run();
            assert_eq!(world.snapshot(), smooth.snapshot(), "{what}, {map}");
        });
    }
}

#[test]
fn nothing_changes_when_nothing_happens() {
    every_plan(|what, before| {
        let mut world = before.clone();
        world.run();
        let again = world.plan().unwrap();
        assert_eq!(again.steps, [], "{what}");
        world.advance(Duration::from_millis(999));
        assert_eq!(world.plan().unwrap().steps, [], "{what}, before anything has rested");
    });
}
