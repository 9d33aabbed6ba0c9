//! The control maps as a twin in this process: capacities as in the kernel, faults on demand.

use std::io;

use lb_common::maps::{LISTENS_MAX, RANGES_MAX, SOURCES_MAX};

use super::{LbMaps, MapError, Snapshot, Write};
use crate::model::Limits;

/// Which writes go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// None.
    #[default]
    Never,
    /// The `n`-th from now on, counted from 0; the ones after it succeed.
    Nth(usize),
    /// All to the map of this name.
    Map(&'static str),
}

/// Control maps without a kernel.
#[derive(Clone, Debug, Default)]
pub struct MemoryMaps {
    content: Snapshot,
    limits: Limits,
    fault: Fault,
}

impl MemoryMaps {
    /// Empty maps of these capacities.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Maps that hold `content`.
    #[must_use]
    pub fn with_content(content: Snapshot, limits: Limits) -> Self {
        Self { content, limits, fault: Fault::Never }
    }

    /// Chooses which of the following writes go wrong.
    pub fn inject(&mut self, fault: Fault) {
        self.fault = fault;
    }

    fn fails(&mut self, map: &str) -> bool {
        match self.fault {
            Fault::Never => false,
            Fault::Nth(0) => {
                self.fault = Fault::Never;
                true
            }
            Fault::Nth(n) => {
                self.fault = Fault::Nth(n - 1);
                false
            }
            Fault::Map(name) => name == map,
        }
    }

    /// The capacity that `write` would exceed.
    fn exceeded(&self, write: &Write) -> Option<u32> {
        let (needed, capacity) = match write {
            Write::Ports { index, .. } => (*index, 1),
            Write::Backend { id, .. } => (*id, self.limits.backends.saturating_sub(1)),
            Write::Page { index, .. } => (*index, self.limits.pages.saturating_sub(1)),
            Write::Listen(key, _) => (
                grown(self.content.listens.len(), self.content.listens.contains_key(key)),
                LISTENS_MAX,
            ),
            Write::Range(key, _) => (
                grown(self.content.ranges.len(), self.content.ranges.contains_key(key)),
                RANGES_MAX,
            ),
            Write::Source(key) => {
                (grown(self.content.sources.len(), self.content.sources.contains(key)), SOURCES_MAX)
            }
            Write::Settings(_)
            | Write::RemoveListen(_)
            | Write::RemoveRange(_)
            | Write::RemoveSource(_) => return None,
        };
        (needed > capacity).then_some(capacity)
    }
}

/// Elements after a write to a map of `len` elements.
fn grown(len: usize, known: bool) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX).saturating_add(u32::from(!known))
}

impl LbMaps for MemoryMaps {
    fn write(&mut self, write: &Write) -> Result<(), MapError> {
        let map = write.map();
        if self.fails(map) {
            return Err(MapError::Kernel { map, source: io::Error::other("injected fault") });
        }
        if let Some(capacity) = self.exceeded(write) {
            return Err(MapError::Full { map, capacity });
        }
        self.content.apply(write);
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot, MapError> {
        let mut snapshot = self.content.clone();
        snapshot.forget_unnamed_pages();
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use lb_common::abi::{
        backend::Backend,
        service::{ListenKey, Service},
    };

    use super::*;

    fn listen(port: u16) -> Write {
        Write::Listen(ListenKey { port, ..ListenKey::default() }, Service::default())
    }

    #[test]
    fn only_the_nth_write_fails() {
        let mut maps = MemoryMaps::default();
        maps.inject(Fault::Nth(1));
        let results: Vec<bool> = (1..=4).map(|port| maps.write(&listen(port)).is_ok()).collect();
        assert_eq!(results, [true, false, true, true]);
        assert_eq!(maps.snapshot().unwrap().listens.len(), 3);
    }

    #[test]
    fn a_broken_map_fails_alone_and_until_it_is_mended() {
        let mut maps = MemoryMaps::default();
        maps.inject(Fault::Map("LISTEN"));
        assert!(maps.write(&listen(1)).is_err());
        assert!(maps.write(&listen(1)).is_err());
        assert!(maps.write(&Write::Backend { id: 1, value: Backend::default() }).is_ok());
        maps.inject(Fault::Never);
        assert!(maps.write(&listen(1)).is_ok());
    }

    #[test]
    fn what_lies_beyond_an_array_is_refused() {
        let limits = Limits { backends: 4, pages: 2, ..Limits::default() };
        let rows = [
            ("last backend", Write::Backend { id: 3, value: Backend::default() }, true),
            ("backend too far", Write::Backend { id: 4, value: Backend::default() }, false),
            ("last page", Write::Page { index: 1, page: Box::default() }, true),
            ("page too far", Write::Page { index: 2, page: Box::default() }, false),
            ("udp", Write::Ports { index: 1, set: Box::default() }, true),
            ("no such protocol", Write::Ports { index: 2, set: Box::default() }, false),
        ];
        for (what, write, fits) in rows {
            assert_eq!(MemoryMaps::new(limits).write(&write).is_ok(), fits, "{what}");
        }
    }

    #[test]
    fn a_full_hash_still_takes_what_it_knows() {
        let mut maps = MemoryMaps::default();
        for port in 0..16_384 {
            maps.write(&listen(port)).unwrap();
        }
        assert!(matches!(maps.write(&listen(16_384)), Err(MapError::Full { map: "LISTEN", .. })));
        maps.write(&listen(0)).unwrap();
        maps.write(&Write::RemoveListen(ListenKey::default())).unwrap();
        maps.write(&listen(16_384)).unwrap();
    }
}
