//! What is simulated: servers, arrivals, and what happens meanwhile.

/// Mean work of a request, in seconds of a server of speed 1.
pub(crate) const WORK_S: f64 = 0.02;
/// Variation of the work.
pub(crate) const WORK_CV: f64 = 1.5;

/// What a server does with several requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// It shares its time among them, as threads do.
    Shared,
    /// One after the other, as an event loop does. It has one core.
    Line,
}

/// A server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerSpec {
    /// Work it does in a second.
    pub(crate) speed: f64,
    /// Requests it serves at this speed each at the same time; the more there are, the less
    /// each gets.
    pub(crate) cores: f64,
    /// Part of the busy time in which it uses its CPU; the rest goes to a disk.
    pub(crate) cpu_part: f64,
    pub(crate) order: Order,
    /// Share of requests that fail, at a twentieth of the work.
    pub(crate) failing: f64,
}

impl ServerSpec {
    pub(crate) const fn of_speed(speed: f64) -> Self {
        Self { speed, cores: 1.0, cpu_part: 1.0, order: Order::Shared, failing: 0.0 }
    }
}

/// What a failed request costs, of the work it would have been.
pub(crate) const FAILED_WORK: f64 = 0.05;

/// A kind of connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// Part of all connections.
    pub(crate) part: f64,
    /// Requests, one after the other.
    pub(crate) requests: u32,
    /// Mean time from an answer to the next request.
    pub(crate) think_s: f64,
}

/// Some server does so much work a second from then on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) at_s: f64,
    pub(crate) server: usize,
    pub(crate) speed: f64,
}

/// A scenario. Requests arrive as a Poisson process whatever the answers do.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) servers: Vec<ServerSpec>,
    /// Work that arrives, of what all servers together can do at first.
    pub(crate) load: f64,
    /// Mean work of a request.
    pub(crate) work_s: f64,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) changes: Vec<Change>,
    pub(crate) seconds: f64,
    /// Requests that come before do not count.
    pub(crate) warm_up_s: f64,
}

/// Six backends, of which two do half and two a quarter of what the first two do.
pub(crate) const SPEEDS: [f64; 6] = [1.0, 1.0, 0.5, 0.5, 0.25, 0.25];

impl Scenario {
    /// Short connections to unequal servers.
    pub(crate) fn unequal(load: f64) -> Self {
        Self {
            servers: SPEEDS.map(ServerSpec::of_speed).to_vec(),
            load,
            work_s: WORK_S,
            kinds: vec![Kind { part: 1.0, requests: 1, think_s: 0.0 }],
            changes: Vec::new(),
            seconds: 340.0,
            warm_up_s: 40.0,
        }
    }

    /// The first server loses 70 % of its speed for a while.
    pub(crate) fn antagonist() -> Self {
        let change = |at_s, speed| Change { at_s, server: 0, speed };
        Self { changes: vec![change(100.0, 0.3), change(250.0, 1.0)], ..Self::unequal(0.7) }
    }

    /// A fifth of the connections does most of the work, the others are idle most of their time.
    pub(crate) fn keep_alive() -> Self {
        let hot = Kind { part: 0.2, requests: 50, think_s: 0.02 };
        let cold = Kind { part: 0.8, requests: 5, think_s: 2.0 };
        Self { kinds: vec![hot, cold], ..Self::unequal(0.7) }
    }

    /// The two slowest servers wait for a disk most of the time.
    pub(crate) fn disk() -> Self {
        let mut scenario = Self::unequal(0.7);
        for server in &mut scenario.servers[4..] {
            server.cpu_part = 0.15;
        }
        scenario
    }

    /// A server fails half of its requests, fast.
    pub(crate) fn sinkhole() -> Self {
        let mut scenario = Self::unequal(0.7);
        scenario.servers[2].failing = 0.5;
        scenario
    }

    /// Servers that finish what they began before they look at the next.
    pub(crate) fn lines() -> Self {
        let mut scenario = Self::unequal(0.7);
        for server in &mut scenario.servers {
            server.order = Order::Line;
        }
        scenario
    }

    /// Connections a second.
    pub(crate) fn connections_per_s(&self) -> f64 {
        let work_per_s: f64 = self.servers.iter().map(|server| server.speed * server.cores).sum();
        let requests: f64 = self.kinds.iter().map(|it| it.part * f64::from(it.requests)).sum();
        self.load * work_per_s / (self.work_s * requests)
    }
}
