//! Random histories: any sequence of desired states, faults, pauses and restarts, with plenty of
//! room and with hardly any. The invariants are checked by [`crate::watched`] at every write.

use std::time::{Duration, Instant};

use lb_common::abi::service::service_flag;
use lb_userspace::{
    maps::memory::Fault,
    model::{Endpoint, Forward, Limits, Policy, Protocol, ServiceName},
    reconcile::{
        BackendEntry, BuiltTable, Desired, DesiredBackend, DesiredService, Link, Plan, Rates,
        TableBackend, Waiting,
    },
};
use proptest::{collection::vec, option, prelude::*};

use crate::{
    script::listen,
    world::{Meaning, World, build, meaning},
};

/// One service as drawn: which of its listens, policy, weights of all backends, extras.
type Draw = (u8, usize, [u32; 8], bool, u8);

/// What happens between two plans.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    services: Vec<Option<Draw>>,
    /// Turns the VIPs around, so that listens move from service to service.
    shift: usize,
    /// Backends that take new flows, by bit.
    healthy: u8,
    interface: u32,
    /// Backend ids with flows, by bit.
    busy: u8,
    pause_ms: u64,
    fault: Option<usize>,
    restart: bool,
}

pub(crate) fn event() -> impl Strategy<Value = Event> {
    let weights = proptest::array::uniform8(prop_oneof![2 => Just(0_u32), 3 => 1..4_u32]);
    let draw = (1..16_u8, 0..Policy::ALL.len(), weights, any::<bool>(), 0..4_u8);
    let pause_ms = prop_oneof![Just(0_u64), Just(400), Just(1000), Just(61_000)];
    let fault = option::weighted(0.3, 0..12_usize);
    let services = vec(option::weighted(0.7, draw), 4);
    let rest = (0..4_usize, any::<u8>(), 0..2_u32, any::<u8>(), pause_ms);
    (services, rest, fault, proptest::bool::weighted(0.1)).prop_map(
        |(services, (shift, healthy, interface, busy, pause_ms), fault, restart)| Event {
            services,
            shift,
            healthy,
            interface,
            busy,
            pause_ms,
            fault,
            restart,
        },
    )
}

/// The eighth backend keeps the port of the packet.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let text = |n: u16| if n < 5 { format!("198.18.10.{n}") } else { format!("fd00:18:10::{n}") };
    let port = |n: u16| if n == 4 { 0 } else { 8080 + n % 2 };
    let one =
        |n| Endpoint { address: text(n).parse().unwrap(), port: port(n), protocol: Protocol::Tcp };
    (0..8).map(one).collect()
}

pub(crate) fn desired(event: &Event, generation: u32) -> Desired {
    let endpoints = endpoints();
    let drawn = event.services.iter().enumerate();
    let services: Vec<DesiredService> = drawn
        .filter_map(|(n, draw)| {
            let (listens, policy, weights, affinity, sources) = draw.as_ref()?;
            let vip = (n + event.shift) % 4;
            let all = [
                format!("198.18.0.{vip}:80/tcp"),
                format!("198.18.0.{vip}:81/tcp"),
                format!("198.18.0.{vip}:27000-27010/tcp"),
                format!("[fd00:18::{vip}]:80/tcp"),
            ];
            let chosen = all.iter().enumerate().filter(|(bit, _)| listens >> bit & 1 == 1);
            // Weight 0 with an odd index is a drained backend, with an even one no backend.
            let backends = endpoints.iter().zip(weights).enumerate();
            let backends = backends.filter(|(index, (_, w))| **w > 0 || index % 2 == 1);
            let nets = ["198.18.0.0/15", "fd00::/8"].iter().enumerate();
            let nets = nets.filter(|(bit, _)| sources >> bit & 1 == 1);
            Some(DesiredService {
                forward: Forward::default(),
                name: ServiceName::new(&format!("s{n}")).unwrap(),
                listens: chosen.map(|(_, text)| listen(text)).collect(),
                policy: Policy::ALL[*policy],
                backends: backends
                    .map(|(_, (e, weight))| DesiredBackend {
                        endpoint: *e,
                        weight: *weight,
                        capacity: *weight,
                    })
                    .collect(),
                affinity_ticks: u32::from(*affinity) * 500,
                sources: nets.map(|(_, net)| net.parse().unwrap()).collect(),
                rates: Rates::default(),
            })
        })
        .collect();
    let named = services.iter().flat_map(|service| &service.backends);
    let backends = named.map(|backend| {
        let index = endpoints.iter().position(|e| *e == backend.endpoint).unwrap();
        let link = Link { ifindex: event.interface, ..Link::default() };
        (
            backend.endpoint,
            BackendEntry { takes_new: event.healthy >> index & 1 == 1, is_down: false, link },
        )
    });
    let backends = backends.collect();
    Desired { generation, services, backends, ..Desired::default() }
}

/// What clients should get: worked out from the desired state alone, port by port.
fn expected(desired: &Desired) -> Meaning {
    let mut meaning = Meaning::new();
    for service in &desired.services {
        for listen in &service.listens {
            let list: Vec<TableBackend> = (0..)
                .zip(&service.backends)
                .filter(|(_, backend)| {
                    let same = backend.endpoint.address.is_ipv4() == listen.address.is_ipv4();
                    same && backend.weight > 0 && desired.backends[&backend.endpoint].takes_new
                })
                .map(|(id, b)| TableBackend {
                    id,
                    identity: b.endpoint,
                    weight: b.weight,
                    capacity: b.capacity,
                })
                .collect();
            let table =
                if list.is_empty() { BuiltTable::default() } else { build(service.policy, &list) };
            let stride = table.entries.len() / (table.len.max(1) as usize);
            let ids = table.entries.iter().step_by(stride.max(1));
            let backends: Vec<Endpoint> =
                ids.map(|id| service.backends[*id as usize].endpoint).collect();
            let mut flags = 0;
            flags |= if service.policy.counts_requests() { service_flag::TURNS } else { 0 };
            flags |= if service.sources.is_empty() { 0 } else { service_flag::SOURCES };
            flags |= if service.affinity_ticks == 0 { 0 } else { service_flag::AFFINITY };
            let usable = u16::try_from(list.len()).unwrap();
            let keys = if listen.ports.is_single() {
                vec![listen.to_string()]
            } else {
                // 27000-27010 in prefixes.
                let parts = ["27000-27007", "27008-27009", "27010-27010"];
                parts.iter().map(|part| format!("{}:{part}/tcp", listen.address)).collect()
            };
            for key in keys {
                meaning.insert(key, (table.select, flags, usable, backends.clone()));
            }
        }
    }
    meaning
}

/// Lives through `events`; returns whether the last desired state fits.
pub(crate) fn live(world: &mut World, events: &[Event]) -> bool {
    let mut fits = true;
    for (generation, event) in (1..).zip(events) {
        let before = std::mem::replace(&mut world.desired, desired(event, generation));
        world.flows = (0..8).map(|bit| (bit, u64::from(event.busy >> bit & 1))).collect();
        world.advance(Duration::from_millis(event.pause_ms));
        if event.restart {
            world.restart();
        }
        let Ok(plan) = world.plan() else {
            world.desired = before;
            fits = false;
            continue;
        };
        fits = true;
        if let Some(n) = event.fault {
            world.inject(Fault::Nth(n));
        }
        let done = world.execute(&plan).is_ok();
        world.inject(Fault::Never);
        if done && plan.waiting.is_empty() {
            assert_eq!(meaning(&world.snapshot()), expected(&world.desired));
            let again = world.plan().unwrap();
            assert_eq!(again.steps, [], "a plan on its own result");
        }
    }
    fits
}

/// Plans again and again, without flows, until nothing more can come of it. Where pages are few,
/// every round has a service or two wait for those that the round before left behind.
pub(crate) fn settle(world: &mut World) -> Plan {
    world.flows.clear();
    let mut idle = 0;
    for _ in 0..40 {
        let plan = world.run();
        world.advance(Duration::from_secs(61));
        // A plan without steps may begin to wait for something; the one after it has waited.
        idle = if plan.steps.is_empty() { idle + 1 } else { 0 };
        if idle == 2 {
            break;
        }
    }
    world.run()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn with_room_everything_is_in_place_after_one_plan(events in vec(event(), 1..8)) {
        let mut world = World::new(Limits::default(), Instant::now());
        prop_assert!(live(&mut world, &events));
        world.run();
        prop_assert_eq!(meaning(&world.snapshot()), expected(&world.desired));
        prop_assert_eq!(world.plan().unwrap().waiting, []);
    }

    #[test]
    fn with_few_ids_everything_is_in_place_in_the_end(events in vec(event(), 1..8)) {
        let limits = Limits { services: 5, backends: 9, ..Limits::default() };
        let mut world = World::new(limits, Instant::now());
        prop_assert!(live(&mut world, &events));
        let plan = settle(&mut world);
        prop_assert_eq!((plan.steps, plan.waiting), (vec![], vec![]));
        prop_assert_eq!(meaning(&world.snapshot()), expected(&world.desired));
    }

    #[test]
    fn with_few_pages_tables_wait_and_nothing_else(events in vec(event(), 1..8)) {
        let limits = Limits { pages: 9, ..Limits::default() };
        let mut world = World::new(limits, Instant::now());
        if live(&mut world, &events) {
            let plan = settle(&mut world);
            let is_table = |waiting: &Waiting| matches!(waiting, Waiting::Pages { .. });
            prop_assert!(plan.waiting.iter().all(is_table), "{:?}", plan.waiting);
            prop_assert_eq!(plan.steps, vec![]);
            if plan.waiting.is_empty() {
                prop_assert_eq!(meaning(&world.snapshot()), expected(&world.desired));
            }
        }
    }

    #[test]
    fn what_goes_leaves_nothing_but_generations(events in vec(event(), 1..5)) {
        let mut world = World::new(Limits::default(), Instant::now());
        live(&mut world, &events);
        world.desired = Desired::default();
        settle(&mut world);
        let left = world.snapshot();
        prop_assert!(left.listens.is_empty() && left.ranges.is_empty() && left.sources.is_empty());
        prop_assert!(left.pages.is_empty());
        prop_assert!(left.ports.iter().all(|set| **set == lb_common::abi::service::PortSet::default()));
        prop_assert!(left.backends.values().all(|backend| backend.state == 0));
    }
}
