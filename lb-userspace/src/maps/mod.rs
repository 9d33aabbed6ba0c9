//! The door to the dataplane's control maps. `kernel` opens it on the real maps, `memory` on a
//! twin in this process: golden tests, `weir explain` and fault injection.

mod batch;
pub mod dump;
pub mod kernel;
mod loads;
pub mod memory;
mod series;
pub mod snapshot;

use std::collections::{BTreeMap, BTreeSet};

use lb_common::abi::{
    backend::Backend,
    service::{ListenKey, Page, PortSet, RangeKey, Service, SourceKey},
    settings::Settings,
};

/// An LPM key with its prefix length in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix<K> {
    /// Bits of `key` that count.
    pub bits: u32,
    /// The key, zero beyond `bits`.
    pub key: K,
}

/// One change of one map element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Replace the settings.
    Settings(Settings),
    /// Replace the pre-filter of a protocol; index 0 is TCP, 1 is UDP.
    Ports {
        /// Index in `PORTS`.
        index: u32,
        /// The whole set.
        set: Box<PortSet>,
    },
    /// Replace a backend; [`Backend::default`] frees its id.
    Backend {
        /// Backend id.
        id: u32,
        /// The whole entry.
        value: Backend,
    },
    /// Replace a page of a slot table.
    Page {
        /// Page number.
        index: u32,
        /// The whole page.
        page: Box<Page>,
    },
    /// Publish a service under a listen address.
    Listen(ListenKey, Service),
    /// Withdraw it.
    RemoveListen(ListenKey),
    /// Publish a service under a part of a port range.
    Range(Prefix<RangeKey>, Service),
    /// Withdraw it.
    RemoveRange(Prefix<RangeKey>),
    /// Allow a source prefix.
    Source(Prefix<SourceKey>),
    /// Forbid it again.
    RemoveSource(Prefix<SourceKey>),
}

/// Everything the control maps hold, without what is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The settings.
    pub settings: Settings,
    /// The pre-filters: TCP, UDP.
    pub ports: [Box<PortSet>; 2],
    /// Backends in use, by id.
    pub backends: BTreeMap<u32, Backend>,
    /// Pages that services name, by number.
    pub pages: BTreeMap<u32, Box<Page>>,
    /// Services under exact listen addresses.
    pub listens: BTreeMap<ListenKey, Service>,
    /// Services under parts of port ranges.
    pub ranges: BTreeMap<Prefix<RangeKey>, Service>,
    /// Allowed sources.
    pub sources: BTreeSet<Prefix<SourceKey>>,
}

/// Why a map did not do as it was told.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The map has no room.
    #[error("map {map} is full ({capacity} elements): raise its limit in the configuration")]
    Full {
        /// Map name.
        map: &'static str,
        /// Its capacity.
        capacity: u32,
    },
    /// The map is not in the object or not pinned.
    #[error("map {0} is missing")]
    Missing(&'static str),
    /// Anything else the kernel said.
    #[error("map {map}: {source}")]
    Kernel {
        /// Map name.
        map: &'static str,
        /// The kernel's answer.
        source: std::io::Error,
    },
}

/// Where a series of changes stopped.
#[derive(Debug)]
pub struct Stopped {
    /// How many are done.
    pub done: usize,
    /// Why the next one is not.
    pub source: MapError,
}

/// The door.
pub trait LbMaps {
    /// Performs one change; doing it twice is harmless, removing what is absent too.
    fn write(&mut self, write: &Write) -> Result<(), MapError>;
    /// Performs changes in order, until one fails.
    fn write_all(&mut self, writes: &[&Write]) -> Result<(), Stopped> {
        let mut numbered = writes.iter().enumerate();
        numbered.try_for_each(|(done, write)| {
            self.write(write).map_err(|source| Stopped { done, source })
        })
    }
    /// Reads everything back.
    fn snapshot(&self) -> Result<Snapshot, MapError>;
}
