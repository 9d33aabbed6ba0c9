//! A controller without its shell: the state that it carries from plan to plan.

use std::{
    cell::Cell,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use lb_common::abi::{
    backend::Backend,
    service::{Service, select},
};
use lb_userspace::{
    maps::{
        LbMaps as _, Snapshot,
        dump::{listen_text, range_text},
        memory::Fault,
    },
    model::{Endpoint, Limits, Policy, Protocol},
    reconcile::{
        BuiltTable, Desired, ExecuteError, Memory, Observed, Plan, PlanError, PlanInput, Scope,
        TableBackend, execute, plan,
    },
};

use crate::watched::Watched;

/// How long backends that left keep their flows here.
const DRAIN: Duration = Duration::from_mins(1);

/// Slots of the hash tables here: more than a page holds.
const HASH_SLOTS: usize = 300;

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) desired: Desired,
    pub(crate) flows: BTreeMap<u32, u64>,
    pub(crate) maps: Watched,
    observed: Observed,
    memory: Memory,
    limits: Limits,
}

impl World {
    pub(crate) fn new(limits: Limits, now: Instant) -> Self {
        Self {
            desired: Desired::default(),
            flows: BTreeMap::new(),
            maps: Watched::new(limits, now),
            observed: Observed::default(),
            memory: Memory::default(),
            limits,
        }
    }

    pub(crate) fn advance(&mut self, time: Duration) {
        self.maps.now += time;
    }

    pub(crate) fn plan(&self) -> Result<Plan, PlanError> {
        self.plan_in(Scope::All)
    }

    /// A plan that looks at no more than it has to.
    pub(crate) fn plan_in(&self, scope: Scope<'_>) -> Result<Plan, PlanError> {
        plan(&PlanInput {
            desired: &self.desired,
            observed: &self.observed,
            memory: &self.memory,
            flows: &self.flows,
            now: self.maps.now,
            drain: DRAIN,
            limits: self.limits,
            build,
            scope,
        })
    }

    /// Carries a plan out as the daemon does.
    pub(crate) fn execute(&mut self, plan: &Plan) -> Result<usize, ExecuteError> {
        self.memory = plan.next.clone();
        let result = execute(plan, &mut self.maps, &mut self.observed);
        let (seen, there) = (&self.observed, self.snapshot());
        assert_eq!(**seen, there, "the executor's picture of the maps");
        // What follows from it is what would follow from a fresh look.
        let fresh = Observed::from(there);
        assert_eq!(seen.present_count(), fresh.present_count());
        assert!(seen.addresses().eq(fresh.addresses()));
        for (_, endpoint) in seen.present_backends() {
            assert_eq!(seen.backend_of(&endpoint), fresh.backend_of(&endpoint));
        }
        result
    }

    pub(crate) fn run(&mut self) -> Plan {
        let plan = self.plan().unwrap();
        assert_eq!(self.execute(&plan).unwrap(), plan.steps.len());
        plan
    }

    /// A new controller adopts the maps. A start takes longer than a page rests.
    pub(crate) fn restart(&mut self) {
        self.memory = Memory::default();
        self.observed = self.snapshot().into();
        self.advance(Duration::from_secs(1));
    }

    pub(crate) fn inject(&mut self, fault: Fault) {
        self.maps.maps.inject(fault);
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.maps.snapshot().unwrap()
    }
}

thread_local! {
    static BUILT: Cell<usize> = const { Cell::new(0) };
}

/// How many tables this thread has built since it was last asked.
pub(crate) fn tables_built() -> usize {
    BUILT.take()
}

/// Tables whose content a reader can work out.
pub(crate) fn build(policy: Policy, backends: &[TableBackend]) -> BuiltTable {
    BUILT.set(BUILT.get() + 1);
    let each = || backends.iter().map(|backend| backend.id);
    let by_weight = || backends.iter().flat_map(|b| std::iter::repeat_n(b.id, b.weight as usize));
    let pairs = || backends.iter().flat_map(|backend| [backend.id, backend.weight]);
    let triples = || backends.iter().flat_map(|b| [b.id, b.capacity, b.weight]);
    let (select, entries): (u8, Vec<u32>) = match policy {
        Policy::Maglev | Policy::AdaptiveMaglev => {
            (select::HASH_FLOW, by_weight().cycle().take(HASH_SLOTS).collect())
        }
        Policy::SourceHash => (select::HASH_SOURCE, each().cycle().take(HASH_SLOTS).collect()),
        Policy::RoundRobin => (select::TURN, each().collect()),
        Policy::WeightedRoundRobin | Policy::Classic => (select::TURN, by_weight().collect()),
        Policy::Random => (select::RANDOM, by_weight().collect()),
        Policy::P2c => (select::SAMPLE_TWO, each().collect()),
        Policy::LeastConnections | Policy::WeightedLeastConnections => {
            (select::SCAN_LEAST, pairs().collect())
        }
        Policy::ShortestDelay => (select::SCAN_DELAY, pairs().collect()),
        Policy::Adaptive => (select::SCAN_REQUESTS, triples().collect()),
    };
    let len = entries.len() / row_words(select);
    BuiltTable { select, entries, len: u32::try_from(len).unwrap() }
}

/// Words of a slot.
fn row_words(select: u8) -> usize {
    match select {
        select::SCAN_LEAST | select::SCAN_DELAY => 2,
        select::SCAN_REQUESTS => 3,
        _ => 1,
    }
}

/// What clients get from the maps, without ids and page numbers: per listen address the service
/// entry and the backends of its table in order.
pub(crate) type Meaning = BTreeMap<String, (u8, u8, u16, Vec<Endpoint>)>;

/// The meaning of map contents.
pub(crate) fn meaning(snapshot: &Snapshot) -> Meaning {
    let exact = snapshot.listens.iter().map(|(key, service)| (listen_text(key), service));
    let ranges = snapshot.ranges.iter().map(|(key, service)| (range_text(key), service));
    let entry = |(key, service): (String, &Service)| {
        let ids = snapshot.table_words(service).step_by(row_words(service.select));
        let backends = ids.map(|id| endpoint(&snapshot.backends[&id])).collect();
        (key, (service.select, service.flags, service.usable, backends))
    };
    exact.chain(ranges).map(entry).collect()
}

fn endpoint(backend: &Backend) -> Endpoint {
    Endpoint {
        address: backend.address.into(),
        port: u16::from_be(backend.port),
        protocol: Protocol::from_number(u8::try_from(backend.protocol).unwrap()).unwrap(),
    }
}
