//! `BACKEND_LOAD` as memory: the kernel's own counters, which the programs add to while they are
//! read and corrected here.

use std::{
    num::NonZeroUsize,
    os::fd::AsFd,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use lb_common::abi::backend::BackendLoad;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// Counters of one backend: what [`BackendLoad`] is, shared with the kernel.
#[repr(C)]
struct Shared {
    flows: AtomicU64,
    requests: AtomicU64,
    changes: AtomicU64,
}

const _: () = assert!(
    size_of::<Shared>() == size_of::<BackendLoad>()
        && align_of::<Shared>() == align_of::<BackendLoad>()
);

/// The elements of the map, by backend id.
#[derive(Debug)]
pub(crate) struct Loads {
    base: NonNull<Shared>,
    bytes: NonZeroUsize,
    len: usize,
}

// SAFETY: the memory is atomics, and stays where it is until the value is dropped.
unsafe impl Send for Loads {}
// SAFETY: as above.
unsafe impl Sync for Loads {}

impl Loads {
    /// Maps an array of so many elements into memory; it has to allow that (`BPF_F_MMAPABLE`).
    pub(crate) fn map(array: &impl AsFd, len: u32) -> nix::Result<Self> {
        let len = len as usize;
        let bytes = len.checked_mul(size_of::<Shared>()).and_then(NonZeroUsize::new);
        let bytes = bytes.ok_or(nix::errno::Errno::EINVAL)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at a place of the kernel's choice.
        let base = unsafe { mmap(None, bytes, access, MapFlags::MAP_SHARED, array, 0) }?;
        Ok(Self { base: base.cast(), bytes, len })
    }

    fn shared(&self, backend: u32) -> Option<&Shared> {
        let elements = NonNull::slice_from_raw_parts(self.base, self.len);
        // SAFETY: the mapping has `len` elements, page-aligned, for as long as `self`, and any bytes
        // are counters.
        unsafe { elements.as_ref() }.get(backend as usize)
    }

    /// The load of a backend; none beyond the end of the map.
    pub(crate) fn get(&self, backend: u32) -> BackendLoad {
        self.shared(backend).map_or_else(BackendLoad::default, |shared| BackendLoad {
            flows: shared.flows.load(Relaxed),
            requests: shared.requests.load(Relaxed),
            changes: shared.changes.load(Relaxed),
        })
    }

    /// Sets the load of a backend that nobody uses yet.
    pub(crate) fn set(&self, backend: u32, load: BackendLoad) {
        if let Some(shared) = self.shared(backend) {
            shared.flows.store(load.flows, Relaxed);
            shared.requests.store(load.requests, Relaxed);
            shared.changes.store(load.changes, Relaxed);
        }
    }

    /// Corrects open flows and requests in flight while the programs go on counting.
    pub(crate) fn correct(&self, backend: u32, flows: i64, requests: i64) {
        if let Some(shared) = self.shared(backend) {
            shared.flows.fetch_add(flows.cast_unsigned(), Relaxed);
            shared.requests.fetch_add(requests.cast_unsigned(), Relaxed);
        }
    }
}

impl Drop for Loads {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nothing refers to it any more. If it could
        // not be undone, it would end with the process.
        if let Err(error) = unsafe { munmap(self.base.cast(), self.bytes.get()) } {
            tracing::debug!(%error, "the backends' counters stay mapped");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loads(len: u32) -> Loads {
        let file = tempfile::tempfile().unwrap();
        file.set_len(u64::from(len) * size_of::<Shared>() as u64).unwrap();
        Loads::map(&file, len).unwrap()
    }

    #[test]
    fn counters_are_corrected_up_and_down() {
        let loads = loads(3);
        loads.set(2, BackendLoad { flows: 5, requests: 7, changes: 9 });
        loads.correct(2, -3, 4);
        assert_eq!(loads.get(2), BackendLoad { flows: 2, requests: 11, changes: 9 });
        assert_eq!(loads.get(1), BackendLoad::default());
    }

    #[test]
    fn what_is_beyond_the_end_is_nothing() {
        let loads = loads(3);
        loads.set(3, BackendLoad { flows: 1, ..BackendLoad::default() });
        loads.correct(u32::MAX, 1, 1);
        assert_eq!(loads.get(3), BackendLoad::default());
        assert!(Loads::map(&tempfile::tempfile().unwrap(), 0).is_err());
    }
}
