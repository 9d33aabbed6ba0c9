//! The real maps.

use std::collections::BTreeMap;

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

use super::{LbMaps, MapError, Prefix, Snapshot, Write, loads::Loads, snapshot::page_span};
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

    /// Open flows and requests in flight of backends, by id.
    pub(crate) fn loads<'a>(
        &self,
        ids: impl Iterator<Item = &'a u32>,
    ) -> BTreeMap<u32, BackendLoad> {
        ids.map(|id| (*id, self.load.get(*id))).collect()
    }

    /// Corrects open flows and requests in flight of a backend.
    pub fn correct_load(&self, id: u32, flows: i64, requests: i64) {
        self.load.correct(id, flows, requests);
    }

    /// The load of a backend, and how it has answered so far.
    pub(crate) fn reading(&self, id: u32) -> Result<Reading, MapError> {
        let signals = self.signals.get(&id, 0).map_err(error("SIGNALS"))?;
        Ok(Reading { load: self.load.get(id), signals })
    }

    /// When the controller last said that.
    pub(crate) fn heartbeat(&self) -> Result<u32, MapError> {
        self.heartbeat.get(&0, 0).map_err(error("HEARTBEAT"))
    }

    /// Says that the controller looks after the capacities at `now`.
    pub(crate) fn beat(&mut self, now: u32) -> Result<(), MapError> {
        self.heartbeat.set(0, now, 0).map_err(error("HEARTBEAT"))
    }

    /// The generations of all backends that are not absent, by id.
    pub(crate) fn generations(&self) -> Result<BTreeMap<u32, u32>, MapError> {
        let mut generations = BTreeMap::new();
        for (id, backend) in (0..).zip(self.backends.iter()) {
            let backend = backend.map_err(error("BACKENDS"))?;
            if backend.state != backend_state::ABSENT {
                generations.insert(id, backend.generation);
            }
        }
        Ok(generations)
    }

    /// Replaces a backend. Another generation is another backend, whose counters begin at zero.
    fn write_backend(&mut self, id: u32, value: &Backend) -> Result<(), MapError> {
        let old = self.backends.get(&id, 0).map_err(error("BACKENDS"))?;
        if value.state != backend_state::ABSENT && old.generation != value.generation {
            self.load.set(id, BackendLoad::default());
            self.signals.set(id, Signals::default(), 0).map_err(error("SIGNALS"))?;
            let cpus = self.backend_stats.get(&id, 0).map_err(error("BACKEND_STATS"))?.len();
            let zeros = PerCpuValues::try_from(vec![Traffic::default(); cpus])
                .map_err(|source| MapError::Kernel { map: "BACKEND_STATS", source })?;
            self.backend_stats.set(id, zeros, 0).map_err(error("BACKEND_STATS"))?;
        }
        self.backends.set(id, value, 0).map_err(error("BACKENDS"))
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

    fn snapshot(&self) -> Result<Snapshot, MapError> {
        let ports = |index| self.ports.get(&index, 0).map(Box::new).map_err(error("PORTS"));
        let mut snapshot = Snapshot {
            settings: self.settings.get(&0, 0).map_err(error("SETTINGS"))?,
            ports: [ports(0)?, ports(1)?],
            ..Snapshot::default()
        };
        for (id, backend) in (0..).zip(self.backends.iter()) {
            let backend = backend.map_err(error("BACKENDS"))?;
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
