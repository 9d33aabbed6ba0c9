//! The real maps.

use aya::{
    Ebpf,
    maps::{Array, HashMap, LpmTrie, Map, MapData, PerCpuArray, PerCpuValues, lpm_trie::Key},
};
use lb_common::abi::{
    backend::{Backend, BackendLoad, backend_state},
    flow::{Conn, FlowKey4, FlowKey6, Origin},
    gate::Gate,
    rate::Rate,
    service::{Cursor, ListenKey, Page, PortSet, RangeKey, Service, SourceKey},
    settings::Settings,
    signals::Signals,
    stats::Traffic,
    trace::Trace,
};

use super::{
    LbMaps, MapError, Prefix, Snapshot, Stopped, Write, batch, loads::Loads, series,
    snapshot::page_span,
};
use crate::dataplane::{LoadError, counters::Refused, signals::Reading};

/// All maps of the loaded object.
pub struct KernelMaps {
    settings: Array<MapData, Settings>,
    ports: Array<MapData, PortSet>,
    pages: Array<MapData, Page>,
    backends: Array<MapData, Backend>,
    listens: HashMap<MapData, ListenKey, Service>,
    ranges: LpmTrie<MapData, RangeKey, Service>,
    sources: LpmTrie<MapData, SourceKey, u32>,
    cursors: Array<MapData, Cursor>,
    trace: Array<MapData, Trace>,
    clock: Array<MapData, u64>,
    pub(crate) conns4: HashMap<MapData, FlowKey4, Conn>,
    pub(crate) conns6: HashMap<MapData, FlowKey6, Conn>,
    pub(crate) embryos: HashMap<MapData, FlowKey6, Conn>,
    pub(crate) datagrams: HashMap<MapData, FlowKey6, Conn>,
    origins: HashMap<MapData, ListenKey, Origin>,
    rates: Array<MapData, Rate>,
    gates: Array<MapData, Gate>,
    load: Loads,
    /// Programs that are loaded later name the map by this descriptor.
    _load: MapData,
    signals: Array<MapData, Signals>,
    heartbeat: Array<MapData, u32>,
    pub(crate) service_stats: PerCpuArray<MapData, Traffic>,
    pub(crate) backend_stats: PerCpuArray<MapData, Traffic>,
    pub(crate) reasons: PerCpuArray<MapData, u64>,
}

/// How many elements are read in the time that a system call takes.
const MANY: usize = 64;

/// Says which map an error is about.
pub(crate) fn error(map: &'static str) -> impl Fn(aya::maps::MapError) -> MapError {
    move |error| {
        let source = if let aya::maps::MapError::SyscallError(error) = error {
            error.io_error
        } else {
            std::io::Error::other(error)
        };
        let full = matches!(source.raw_os_error(), Some(libc::E2BIG | libc::ENOSPC));
        let spec = lb_common::maps::MAPS.iter().find(|spec| spec.name == map);
        match spec {
            Some(spec) if full => MapError::Full { map, capacity: spec.capacity },
            _ => MapError::Kernel { map, source },
        }
    }
}

/// A removal of what is absent is done.
pub(crate) fn gone(
    map: &'static str,
    result: Result<(), aya::maps::MapError>,
) -> Result<(), MapError> {
    match result {
        Err(aya::maps::MapError::KeyNotFound) => Ok(()),
        Err(aya::maps::MapError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(libc::ENOENT) =>
        {
            Ok(())
        }
        other => other.map_err(error(map)),
    }
}

macro_rules! take {
    ($ebpf:expr, $name:literal) => {
        $ebpf
            .take_map($name)
            .ok_or(MapError::Missing($name))
            .and_then(|map| map.try_into().map_err(error($name)))?
    };
}

fn take_loads(ebpf: &mut Ebpf) -> Result<(Loads, MapData), MapError> {
    const NAME: &str = "BACKEND_LOAD";
    let Some(Map::Array(map)) = ebpf.take_map(NAME) else { return Err(MapError::Missing(NAME)) };
    let len = map.info().map_err(error(NAME))?.max_entries();
    let failed = |errno: nix::Error| MapError::Kernel { map: NAME, source: errno.into() };
    Ok((Loads::map(map.fd(), len).map_err(failed)?, map))
}

impl KernelMaps {
    /// Takes the maps out of a loaded object.
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Self, MapError> {
        let (load, held) = take_loads(ebpf)?;
        Ok(Self {
            settings: take!(ebpf, "SETTINGS"),
            ports: take!(ebpf, "PORTS"),
            pages: take!(ebpf, "PAGES"),
            backends: take!(ebpf, "BACKENDS"),
            listens: take!(ebpf, "LISTEN"),
            ranges: take!(ebpf, "LISTEN_RANGE"),
            sources: take!(ebpf, "SOURCES"),
            cursors: take!(ebpf, "CURSORS"),
            trace: take!(ebpf, "TRACE"),
            clock: take!(ebpf, "CLOCK"),
            conns4: take!(ebpf, "CONNS4"),
            conns6: take!(ebpf, "CONNS6"),
            embryos: take!(ebpf, "EMBRYOS"),
            datagrams: take!(ebpf, "DATAGRAMS"),
            origins: take!(ebpf, "ORIGINS"),
            rates: take!(ebpf, "RATES"),
            gates: take!(ebpf, "GATES"),
            load,
            _load: held,
            signals: take!(ebpf, "SIGNALS"),
            heartbeat: take!(ebpf, "HEARTBEAT"),
            service_stats: take!(ebpf, "SERVICE_STATS"),
            backend_stats: take!(ebpf, "BACKEND_STATS"),
            reasons: take!(ebpf, "REASONS"),
        })
    }

    /// What the last traced program run did.
    pub(crate) fn trace(&self) -> Result<Trace, LoadError> {
        Ok(self.trace.get(&0, 0).map_err(error("TRACE"))?)
    }

    /// The ticks that the clock program wrote.
    pub(crate) fn clock(&self) -> Result<u64, LoadError> {
        Ok(self.clock.get(&0, 0).map_err(error("CLOCK"))?)
    }

    /// The turns that a service has given out.
    pub(crate) fn turns(&self, service: u32) -> Result<Cursor, MapError> {
        self.cursors.get(&service, 0).map_err(error("CURSORS"))
    }

    /// Whether backends are chosen by a hash, because too many first packets of a protocol stay unanswered.
    pub(crate) fn is_pressed(&self, datagrams: bool, now: u32) -> Result<bool, MapError> {
        let settings = self.settings.get(&0, 0).map_err(error("SETTINGS"))?;
        let mut gate = self.gates.get(&u32::from(datagrams), 0).map_err(error("GATES"))?;
        Ok(gate.is_pressed(now, settings.ticks_per_second, settings.pressure))
    }

    /// The new flows that the limits of a service refused.
    pub(crate) fn refused_flows(&self, service: u32) -> Result<Refused, MapError> {
        let rate = self.rates.get(&service, 0).map_err(error("RATES"))?;
        Ok(Refused { by_service: rate.refused, by_source: rate.refused_source })
    }

    /// Open flows and requests in flight of backends, in the order of their ids.
    pub(crate) fn loads(&self, ids: &[u32]) -> Vec<BackendLoad> {
        ids.iter().map(|id| self.load.get(*id)).collect()
    }

    /// Corrects open flows and requests in flight of a backend.
    pub fn correct_load(&self, id: u32, flows: i64, requests: i64) {
        self.load.correct(id, flows, requests);
    }

    /// The load of backends, and how they have answered so far, in the order of their ids.
    pub(crate) fn readings(&self, ids: &[u32]) -> Result<Vec<Reading>, MapError> {
        let len = ids.iter().max().map_or(0, |last| *last as usize + 1);
        // Where most elements are wanted, all of them are read at once.
        let all = if ids.len() > MANY && len / 4 < ids.len() {
            batch::read::<Signals>(&self.signals, len).unwrap_or_default()
        } else {
            Vec::new()
        };
        let reading = |id: &u32| {
            let signals = match all.get(*id as usize) {
                Some(signals) => *signals,
                None => self.signals.get(id, 0).map_err(error("SIGNALS"))?,
            };
            Ok(Reading { load: self.load.get(*id), signals })
        };
        ids.iter().map(reading).collect()
    }

    /// When the controller last said that.
    pub(crate) fn heartbeat(&self) -> Result<u32, MapError> {
        self.heartbeat.get(&0, 0).map_err(error("HEARTBEAT"))
    }

    /// Says that the controller looks after the capacities at `now`.
    pub(crate) fn beat(&mut self, now: u32) -> Result<(), MapError> {
        self.heartbeat.set(0, now, 0).map_err(error("HEARTBEAT"))
    }

    /// Replaces a backend.
    fn write_backend(&mut self, id: u32, value: &Backend) -> Result<(), MapError> {
        let old = self.backends.get(&id, 0).map_err(error("BACKENDS"))?;
        self.begin_anew(id, old.generation, value)?;
        self.backends.set(id, value, 0).map_err(error("BACKENDS"))
    }

    /// Another generation is another backend, whose counters begin at zero. Before the first one
    /// they have never been anything else.
    fn begin_anew(&mut self, id: u32, old: u32, new: &Backend) -> Result<(), MapError> {
        if new.state == backend_state::ABSENT || old == new.generation || old == 0 {
            return Ok(());
        }
        self.load.set(id, BackendLoad::default());
        self.signals.set(id, Signals::default(), 0).map_err(error("SIGNALS"))?;
        let cpus = self.backend_stats.get(&id, 0).map_err(error("BACKEND_STATS"))?.len();
        let zeros = PerCpuValues::try_from(vec![Traffic::default(); cpus])
            .map_err(|source| MapError::Kernel { map: "BACKEND_STATS", source })?;
        self.backend_stats.set(id, zeros, 0).map_err(error("BACKEND_STATS"))
    }

    /// Performs the first of these changes and as many of the others like it as the kernel takes
    /// at once. Returns how many are done; none says nothing about why.
    fn write_some(&mut self, writes: &[&Write]) -> Result<usize, MapError> {
        let done = match writes {
            [Write::Backend { .. }, _, ..] => self.write_backends(&series::backends(writes))?,
            [Write::Page { .. }, _, ..] => {
                let (keys, pages) = series::pages(writes);
                batch::update(&self.pages, &keys, &pages)
            }
            [Write::Listen(..), _, ..] => {
                let (keys, services) = series::listens(writes);
                batch::update(&self.listens, &keys, &services)
            }
            _ => 0,
        };
        Ok(done)
    }

    fn write_backends(
        &mut self,
        (ids, values): &(Vec<u32>, Vec<Backend>),
    ) -> Result<usize, MapError> {
        let len = ids.iter().max().map_or(0, |last| *last as usize + 1);
        // To read what lies before the last one must not cost more than to write what is to be.
        if len / MANY > ids.len() {
            return Ok(0);
        }
        let Ok(old) = batch::read::<Backend>(&self.backends, len) else {
            return Ok(0);
        };
        for (id, new) in ids.iter().zip(values) {
            let Some(old) = old.get(*id as usize) else { return Ok(0) };
            self.begin_anew(*id, old.generation, new)?;
        }
        Ok(batch::update(&self.backends, ids, values))
    }

    /// Forgets where backends' handshakes lead back to if no service listens there any longer.
    pub(crate) fn sweep_origins(&mut self) -> Result<(), MapError> {
        let mut stale = Vec::new();
        for (backend, origin) in self.origins.iter().flatten() {
            if !self.is_published(&origin, backend.protocol)? {
                stale.push(backend);
            }
        }
        stale.iter().try_for_each(|backend| gone("ORIGINS", self.origins.remove(backend)))
    }

    /// Whether some service listens on a service address.
    fn is_published(&self, origin: &Origin, protocol: u8) -> Result<bool, MapError> {
        let Origin { address, port, .. } = *origin;
        let found = |map, result| match result {
            Ok(_) => Ok(true),
            Err(aya::maps::MapError::KeyNotFound) => Ok(false),
            Err(other) => Err(error(map)(other)),
        };
        let listen = ListenKey { address, port, protocol, zero: 0 };
        if found("LISTEN", self.listens.get(&listen, 0))? {
            return Ok(true);
        }
        let port = port.to_ne_bytes();
        let range = RangeKey { protocol, address: address.octets(), port, zero: 0 };
        let bits = RangeKey::BITS_BEFORE_PORT + 16;
        found("LISTEN_RANGE", self.ranges.get(&Key::new(bits, range), 0))
    }

    fn read_backends(&self) -> Result<Vec<Backend>, MapError> {
        match batch::read(&self.backends, self.backends.len() as usize) {
            Ok(backends) => Ok(backends),
            // A kernel that knows no batches.
            Err(_) => self.backends.iter().collect::<Result<_, _>>().map_err(error("BACKENDS")),
        }
    }

    /// Whatever lies in the pages that services name.
    fn read_pages(&self, snapshot: &mut Snapshot) -> Result<(), MapError> {
        let services = snapshot.listens.values().chain(snapshot.ranges.values());
        let indices: Vec<u32> = services.flat_map(page_span).collect();
        for index in indices {
            let page = self.pages.get(&index, 0).map_err(error("PAGES"))?;
            snapshot.pages.insert(index, Box::new(page));
        }
        Ok(())
    }
}

impl LbMaps for KernelMaps {
    fn write(&mut self, write: &Write) -> Result<(), MapError> {
        match write {
            Write::Settings(settings) => {
                self.settings.set(0, settings, 0).map_err(error("SETTINGS"))
            }
            Write::Ports { index, set } => {
                self.ports.set(*index, set.as_ref(), 0).map_err(error("PORTS"))
            }
            Write::Backend { id, value } => self.write_backend(*id, value),
            Write::Page { index, page } => {
                self.pages.set(*index, page.as_ref(), 0).map_err(error("PAGES"))
            }
            Write::Listen(key, service) => {
                self.listens.insert(key, service, 0).map_err(error("LISTEN"))
            }
            Write::RemoveListen(key) => gone("LISTEN", self.listens.remove(key)),
            Write::Range(prefix, service) => self
                .ranges
                .insert(&Key::new(prefix.bits, prefix.key), service, 0)
                .map_err(error("LISTEN_RANGE")),
            Write::RemoveRange(prefix) => {
                gone("LISTEN_RANGE", self.ranges.remove(&Key::new(prefix.bits, prefix.key)))
            }
            Write::Source(prefix) => self
                .sources
                .insert(&Key::new(prefix.bits, prefix.key), 1, 0)
                .map_err(error("SOURCES")),
            Write::RemoveSource(prefix) => {
                gone("SOURCES", self.sources.remove(&Key::new(prefix.bits, prefix.key)))
            }
        }
    }

    fn write_all(&mut self, writes: &[&Write]) -> Result<(), Stopped> {
        let mut done = 0;
        while let Some(rest @ [first, ..]) = writes.get(done..) {
            let some = self.write_some(rest).and_then(|some| match some {
                0 => self.write(first).map(|()| 1),
                _ => Ok(some),
            });
            done += some.map_err(|source| Stopped { done, source })?;
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot, MapError> {
        let ports = |index| self.ports.get(&index, 0).map(Box::new).map_err(error("PORTS"));
        let mut snapshot = Snapshot {
            settings: self.settings.get(&0, 0).map_err(error("SETTINGS"))?,
            ports: [ports(0)?, ports(1)?],
            ..Snapshot::default()
        };
        for (id, backend) in (0..).zip(self.read_backends()?) {
            if backend != Backend::default() {
                snapshot.backends.insert(id, backend);
            }
        }
        for entry in &self.listens {
            let (key, service) = entry.map_err(error("LISTEN"))?;
            snapshot.listens.insert(key, service);
        }
        for entry in &self.ranges {
            let (key, service) = entry.map_err(error("LISTEN_RANGE"))?;
            snapshot.ranges.insert(Prefix { bits: key.prefix_len(), key: key.data() }, service);
        }
        for entry in &self.sources {
            let (key, _) = entry.map_err(error("SOURCES"))?;
            snapshot.sources.insert(Prefix { bits: key.prefix_len(), key: key.data() });
        }
        self.read_pages(&mut snapshot)?;
        Ok(snapshot)
    }
}
