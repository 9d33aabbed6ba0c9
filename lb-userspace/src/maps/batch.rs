//! Many elements of a map by one system call. aya has no such call, and ten thousand services are
//! a hundred thousand elements.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
};

use aya::{Pod, maps::InnerMap};

// Commands of bpf(2), `enum bpf_cmd` in linux/bpf.h.
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;
const BPF_MAP_UPDATE_BATCH: libc::c_int = 26;

/// The part of `union bpf_attr` that batches use.
#[derive(Default)]
#[repr(C)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Writes elements in order. Returns how many are written: all of them, or those before one that
/// the kernel did not take.
pub(super) fn update<K: Pod, V: Pod>(map: &impl InnerMap, keys: &[K], values: &[V]) -> usize {
    let len = keys.len().min(values.len());
    let mut attributes = Attributes {
        keys: keys.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count: u32::try_from(len).unwrap_or(u32::MAX),
        ..Attributes::default()
    };
    // SAFETY: `keys` and `values` have at least `count` elements of what the map holds.
    let result = unsafe { call(BPF_MAP_UPDATE_BATCH, map.fd().as_fd(), &mut attributes) };
    match result {
        Ok(()) => len,
        // A kernel that knows no batches leaves the count alone.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => 0,
        Err(_) => (attributes.count as usize).min(len.saturating_sub(1)),
    }
}

/// The first `len` elements of an array.
pub(super) fn read<V: Pod + Default>(array: &impl InnerMap, len: usize) -> io::Result<Vec<V>> {
    let mut keys = vec![0_u32; len];
    let mut values = vec![V::default(); len];
    let mut next = 0_u32;
    let mut attributes = Attributes {
        out_batch: (&raw mut next) as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: u32::try_from(len).map_err(io::Error::other)?,
        ..Attributes::default()
    };
    // SAFETY: `keys` and `values` have `count` elements of what an array holds, and `next` a key.
    match unsafe { call(BPF_MAP_LOOKUP_BATCH, array.fd().as_fd(), &mut attributes) } {
        Ok(()) => {}
        // That is how the kernel says that these were all.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
        Err(error) => return Err(error),
    }
    values.truncate(attributes.count as usize);
    Ok(values)
}

/// # Safety
///
/// The addresses among the attributes must be those of as many keys and values of the map as they
/// count, and may be written to by commands that read.
unsafe fn call(
    command: libc::c_int,
    map: BorrowedFd<'_>,
    attributes: &mut Attributes,
) -> io::Result<()> {
    attributes.map_fd = map.as_raw_fd().cast_unsigned();
    let attributes: *mut Attributes = attributes;
    // SAFETY: the attributes are a prefix of what the kernel reads, and say what the caller vouches
    // for.
    match unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<Attributes>()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
