//! What this host shows of the backends that are its containers: their cgroups, once a second.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tracing::debug;

use super::{capacities::Who, state::State};
use crate::{
    load::{
        host::{self, Cgroup, Meter, Scratch, Share, Unknown, Utilisations},
        sample::{Host, Reading},
    },
    model::Endpoint,
};

/// The containers whose cgroups are read.
#[derive(Debug, Default)]
pub(super) struct Machines {
    /// The host itself; none until it was asked.
    host: Option<host::Host>,
    scratch: Scratch,
    read: BTreeMap<Who, Machine>,
}

#[derive(Debug)]
struct Machine {
    cgroup: Cgroup,
    meter: Meter,
    last: Last,
}

/// The utilisations of the last readings that told something, and when.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    cpu: Known,
    throttled: Known,
    memory: Known,
    io: Known,
    network: Known,
    cores: f64,
}

type Known = Option<(Instant, f64)>;

impl Machines {
    /// Looks at all backends that are containers of this host.
    pub(super) fn look(
        &mut self,
        now: Instant,
        state: &State,
        backends: impl Iterator<Item = Endpoint>,
    ) -> BTreeMap<Who, Host> {
        let here: BTreeMap<Who, u32> = backends
            .filter_map(|endpoint| Some((state.who(&endpoint), state.process(&endpoint)?)))
            .collect();
        self.read.retain(|who, _| here.contains_key(who));
        here.into_iter().filter_map(|(who, pid)| self.one(now, who, pid)).collect()
    }

    fn one(&mut self, now: Instant, who: Who, pid: u32) -> Option<(Who, Host)> {
        let host = self.host()?;
        if !self.read.contains_key(&who) {
            let found = Cgroup::of_process(pid, host, &mut self.scratch);
            let cgroup = found.inspect_err(|error| debug!(%error, pid, "no figures")).ok()?;
            let machine = Machine { cgroup, meter: Meter::default(), last: Last::default() };
            self.read.insert(who.clone(), machine);
        }
        let machine = self.read.get_mut(&who)?;
        match machine.cgroup.read(&mut self.scratch) {
            Ok(reading) => {
                let used = machine.meter.take(now, reading, None, None, host);
                machine.last.learn(now, &used);
            }
            Err(error) => debug!(%error, pid, "no figures"),
        }
        Some((who, machine.last.told(now)))
    }

    fn host(&mut self) -> Option<host::Host> {
        if self.host.is_none() {
            self.host = host::host().inspect_err(|error| debug!(%error, "no figures")).ok();
            // Each cgroup keeps a few files open.
            if let Err(error) = host::raise_descriptor_limit() {
                debug!(%error, "few containers can be read");
            }
        }
        self.host
    }
}

impl Last {
    fn learn(&mut self, now: Instant, used: &Utilisations) {
        let learn = |known: &mut Known, share: Share| match share {
            Ok(share) => *known = Some((now, share)),
            Err(Unknown::Absent | Unknown::Unlimited) => *known = None,
            // For the moment: what was known grows old.
            Err(
                Unknown::First
                | Unknown::Restarted
                | Unknown::Reset
                | Unknown::TooSoon
                | Unknown::TooLate
                | Unknown::Implausible,
            ) => {}
        };
        learn(&mut self.cpu, used.cpu);
        learn(&mut self.throttled, used.throttled);
        learn(&mut self.memory, used.memory);
        learn(&mut self.io, used.io);
        learn(&mut self.network, used.network);
        self.cores = used.cores;
    }

    fn told(&self, now: Instant) -> Host {
        let reading = |known: Known| {
            let (at, value) = known?;
            let age: Duration = now.saturating_duration_since(at);
            Some(Reading { value, age })
        };
        Host {
            cpu: reading(self.cpu),
            throttled: reading(self.throttled),
            memory: reading(self.memory),
            io: reading(self.io),
            network: reading(self.network),
            reported: None,
            cores: (self.cores > 0.0).then_some(self.cores),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(cpu: Share, io: Share) -> Utilisations {
        let unknown = Err(Unknown::Absent);
        Utilisations {
            cpu,
            memory: unknown,
            io,
            network: Err(Unknown::Unlimited),
            throttled: unknown,
            stalled: host::Stalled { cpu: unknown, memory: unknown, io: unknown },
            cores: 0.5,
            working_set: None,
            memory_limit: 0,
            oom_kills: 0,
        }
    }

    #[test]
    fn a_look_that_tells_nothing_lets_the_last_one_grow_old() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut last = Last::default();
        assert_eq!(last.told(start), Host::default());
        last.learn(at(1), &used(Ok(0.25), Ok(0.5)));
        last.learn(at(2), &used(Err(Unknown::Reset), Err(Unknown::Absent)));
        let told = last.told(at(4));
        let old = Reading { value: 0.25, age: Duration::from_secs(3) };
        assert_eq!((told.cpu, told.io, told.network), (Some(old), None, None));
        assert_eq!(told.cores, Some(0.5));
    }
}
