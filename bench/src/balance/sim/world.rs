//! The simulation itself: a queue of events, and what each of them causes.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{
    outcome::{Outcome, Trace},
    policy::{Chooser, Policy},
    random::Random,
    scenario::{FAILED_WORK, Scenario, WORK_CV},
    server::{Moment, Server},
    signals::{Mind, TICK_S},
};

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A connection comes.
    Arrival,
    /// A server is done with a request, unless its epoch is another one by then.
    Done { server: usize, epoch: u64 },
    /// A connection sends its next request.
    Request { connection: usize },
    /// The controller's second is over.
    Tick,
    /// A server changes its speed.
    Change { index: usize },
}

/// A connection.
#[derive(Clone, Copy, Debug)]
struct Connection {
    server: usize,
    requests_left: u32,
    think_s: f64,
}

/// A request; its number is that of its connection's latest.
#[derive(Clone, Copy, Debug)]
struct Request {
    connection: usize,
    sent_s: f64,
    fails: bool,
}

pub(crate) struct World<'s> {
    scenario: &'s Scenario,
    servers: Vec<Server>,
    chooser: Chooser,
    mind: Mind,
    events: BinaryHeap<Reverse<(Moment, u64, Event)>>,
    sequence: u64,
    connections: Vec<Connection>,
    requests: Vec<Request>,
    arrivals: Random,
    work: Random,
    fate: Random,
    outcome: Outcome,
}

/// Runs a scenario to its end.
pub(crate) fn simulate(scenario: &Scenario, policy: Policy, seed: u64) -> Outcome {
    let servers: Vec<Server> = scenario.servers.iter().copied().map(Server::new).collect();
    let mut chooser = Chooser::new(policy.pick(), Random::new(seed, 4), servers.len());
    let mind = Mind::new(policy, &servers, &mut chooser);
    let outcome = Outcome::new(servers.len());
    let mut world = World {
        scenario,
        servers,
        chooser,
        mind,
        events: BinaryHeap::new(),
        sequence: 0,
        connections: Vec::new(),
        requests: Vec::new(),
        arrivals: Random::new(seed, 1),
        work: Random::new(seed, 2),
        fate: Random::new(seed, 3),
        outcome,
    };
    world.run();
    world.finish()
}

impl World<'_> {
    fn run(&mut self) {
        self.schedule_arrival(0.0);
        self.schedule(TICK_S, Event::Tick);
        for (index, change) in self.scenario.changes.iter().enumerate() {
            self.schedule(change.at_s, Event::Change { index });
        }
        while let Some(Reverse((Moment(now_s), _, event))) = self.events.pop() {
            if now_s > self.scenario.seconds {
                break;
            }
            self.happen(now_s, event);
        }
    }

    fn happen(&mut self, now_s: f64, event: Event) {
        match event {
            Event::Arrival => {
                self.connect(now_s);
                self.schedule_arrival(now_s);
            }
            Event::Request { connection } => self.request(now_s, connection),
            Event::Done { server, epoch } if self.servers[server].epoch == epoch => {
                self.done(now_s, server);
            }
            Event::Done { .. } => {}
            Event::Tick => {
                let decision = self.mind.tick(now_s, &mut self.servers, &mut self.chooser);
                if let Some(decision) = decision {
                    self.outcome.trace.push(Trace::new(now_s, &decision));
                }
                self.schedule(now_s + TICK_S, Event::Tick);
            }
            Event::Change { index } => {
                let change = self.scenario.changes[index];
                self.servers[change.server].set_speed(now_s, change.speed);
                self.foresee(change.server);
                self.mind.speed_changed(&self.servers, &mut self.chooser);
            }
        }
    }

    fn schedule(&mut self, at_s: f64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((Moment(at_s), self.sequence, event)));
    }

    fn schedule_arrival(&mut self, now_s: f64) {
        let pause_s = self.arrivals.exponential(1.0 / self.scenario.connections_per_s());
        self.schedule(now_s + pause_s, Event::Arrival);
    }

    /// Tells when the next request of a server will be done.
    fn foresee(&mut self, server: usize) {
        let epoch = self.servers[server].epoch;
        if let Some(at_s) = self.servers[server].next_done_s() {
            self.schedule(at_s, Event::Done { server, epoch });
        }
    }

    fn connect(&mut self, now_s: f64) {
        let mut left = self.arrivals.part();
        let kinds = &self.scenario.kinds;
        let kind = kinds.iter().find(|kind| {
            left -= kind.part;
            left < 0.0
        });
        let Some(kind) = kind.or(kinds.last()) else { return };
        let server = self.chooser.choose(&self.servers);
        self.servers[server].connections += 1;
        let connection = self.connections.len();
        let (requests_left, think_s) = (kind.requests, kind.think_s);
        self.connections.push(Connection { server, requests_left, think_s });
        self.outcome.connected(now_s, server);
        self.request(now_s, connection);
    }

    fn request(&mut self, now_s: f64, connection: usize) {
        let server = self.connections[connection].server;
        self.connections[connection].requests_left -= 1;
        // Drawn for every request, so that all policies meet the same ones.
        let (work_s, luck) = (self.work.lognormal(self.scenario.work_s, WORK_CV), self.fate.part());
        let fails = luck < self.servers[server].spec.failing;
        let work_s = if fails { FAILED_WORK * work_s } else { work_s };
        let request = self.requests.len();
        self.requests.push(Request { connection, sent_s: now_s, fails });
        self.servers[server].push(now_s, request, work_s);
        self.foresee(server);
    }

    fn done(&mut self, now_s: f64, server: usize) {
        let Some(request) = self.servers[server].pop(now_s) else { return };
        let Request { connection, sent_s, fails } = self.requests[request];
        let tally = &mut self.servers[server].tally;
        tally.ended += 1;
        tally.failed += u64::from(fails);
        tally.waited_s += now_s - sent_s;
        self.foresee(server);
        if sent_s >= self.scenario.warm_up_s {
            self.outcome.ended(now_s - sent_s, fails);
        }
        let Connection { requests_left, think_s, .. } = self.connections[connection];
        // A failed request takes its connection with it.
        if requests_left == 0 || fails {
            self.servers[server].connections -= 1;
        } else {
            let pause_s = self.work.exponential(think_s);
            self.schedule(now_s + pause_s, Event::Request { connection });
        }
    }

    /// What is not done by the end has waited so long at least.
    fn finish(mut self) -> Outcome {
        let end_s = self.scenario.seconds;
        for request in self.servers.iter().flat_map(Server::unfinished) {
            let sent_s = self.requests[request].sent_s;
            if sent_s >= self.scenario.warm_up_s {
                self.outcome.ended(end_s - sent_s, false);
            }
        }
        self.outcome
    }
}
