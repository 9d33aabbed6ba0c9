//! What this host shows of the backends that run on it: their cgroups, once a second.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{debug, info, warn};

use super::{answers::name, capacities::Who, state::State};
use crate::{
    load::{
        host::{self, Cgroup, CgroupError, Meter, Scratch, Share, Unknown, Utilisations},
        sample::{Host, Reading},
    },
    model::Endpoint,
};

/// The backends whose cgroups are read.
#[derive(Debug, Default)]
pub(super) struct Machines {
    /// The host itself; none until it was asked.
    host: Option<host::Host>,
    scratch: Scratch,
    read: BTreeMap<Who, Machine>,
}

/// What leads to the cgroup of a backend of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// A process in it: that of a container.
    Process(u32),
    /// Its path, as somebody wrote it down.
    Cgroup(Arc<Path>),
}

#[derive(Debug)]
struct Machine {
    source: Source,
    /// None while it cannot be found.
    cgroup: Option<Cgroup>,
    meter: Meter,
    last: Last,
    /// Why it does not tell what it should.
    trouble: Option<String>,
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
    /// Looks at all backends that run on this host.
    pub(super) fn look(
        &mut self,
        now: Instant,
        state: &State,
        backends: impl Iterator<Item = Endpoint>,
    ) -> BTreeMap<Who, Host> {
        let cgroups = cgroups(state);
        let source = |endpoint: &Endpoint| {
            // What somebody wrote down counts most.
            let named = cgroups.get(endpoint).map(|path| Source::Cgroup(Arc::clone(path)));
            named.or_else(|| state.process(endpoint).map(Source::Process))
        };
        let here: BTreeMap<Who, Source> = backends
            .filter_map(|endpoint| Some((state.who(&endpoint), source(&endpoint)?)))
            .collect();
        self.read.retain(|who, machine| here.get(who) == Some(&machine.source));
        let mut told = BTreeMap::new();
        if here.is_empty() {
            return told;
        }
        let host = self.host();
        for (who, source) in here {
            let machine = self.read.entry(who.clone()).or_insert_with(|| Machine::new(source));
            machine.look(now, &who.0, &host, &mut self.scratch);
            told.insert(who, machine.last.told(now));
        }
        told
    }

    /// Why a backend's host does not tell what it should; none: it does, or nobody expects it.
    pub(super) fn trouble(&self, who: &Who) -> Option<&str> {
        self.read.get(who)?.trouble.as_deref()
    }

    fn host(&mut self) -> Result<host::Host, String> {
        if let Some(host) = self.host {
            return Ok(host);
        }
        // Each cgroup keeps a few files open.
        if let Err(error) = host::raise_descriptor_limit() {
            debug!(%error, "few cgroups can be read");
        }
        let host = host::host().map_err(|error| error.to_string())?;
        Ok(*self.host.insert(host))
    }
}

/// The cgroups that the configuration names.
fn cgroups(state: &State) -> BTreeMap<Endpoint, &Arc<Path>> {
    let backends = state.config.services.iter().flat_map(|service| &service.backends);
    backends.filter_map(|spec| Some((spec.endpoint, spec.cgroup.as_ref()?))).collect()
}

impl Machine {
    fn new(source: Source) -> Self {
        let (meter, last) = (Meter::default(), Last::default());
        Self { source, cgroup: None, meter, last, trouble: None }
    }

    fn look(
        &mut self,
        now: Instant,
        backend: &Endpoint,
        host: &Result<host::Host, String>,
        scratch: &mut Scratch,
    ) {
        let trouble = self.read(now, host, scratch).err();
        match &trouble {
            same if *same == self.trouble => {}
            None => info!(backend = name(backend), "its host shows figures"),
            // A container that stops is nothing to worry about.
            Some(why) if matches!(self.source, Source::Process(_)) => {
                debug!(backend = name(backend), why, "no figures");
            }
            Some(why) => warn!(backend = name(backend), why, "no figures"),
        }
        self.trouble = trouble;
    }

    fn read(
        &mut self,
        now: Instant,
        host: &Result<host::Host, String>,
        scratch: &mut Scratch,
    ) -> Result<(), String> {
        let host = host.clone()?;
        // What vanished is looked for anew the next time.
        let mut cgroup = match self.cgroup.take() {
            Some(cgroup) => cgroup,
            None => self.source.find(host, scratch).map_err(|error| error.to_string())?,
        };
        let reading = cgroup.read(scratch).map_err(|error| error.to_string())?;
        self.cgroup = Some(cgroup);
        let used = self.meter.take(now, reading, None, None, host);
        self.last.learn(now, &used);
        match used.cpu {
            Err(why @ Unknown::Absent) => Err(format!("CPU: {why}")),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

impl Source {
    fn find(&self, host: host::Host, scratch: &mut Scratch) -> Result<Cgroup, CgroupError> {
        match self {
            Self::Process(pid) => Cgroup::of_process(*pid, host, scratch),
            Self::Cgroup(path) => Cgroup::of_path(path, host, scratch),
        }
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
