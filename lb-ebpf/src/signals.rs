//! How loaded backends are (`BACKEND_LOAD`), and how they answer (`SIGNALS`).

use core::{
    intrinsics::{AtomicOrdering, atomic_xadd},
    ptr::read_volatile,
};

use lb_common::{
    abi::signals::{BUCKETS, Histogram, bucket},
    tables::Signal,
};

use crate::{
    context::opaque,
    maps::{BACKEND_LOAD, SIGNALS},
    tables::add,
};

const FIRST_BYTE: u32 = Signal::FirstByte as u32;
const HANDSHAKE: u32 = Signal::Handshake as u32;
const REFUSED: u32 = Signal::Refused as u32;
const RESET: u32 = Signal::Reset as u32;

/// A backend's counter of open flows, or of requests in flight, and that of their changes.
#[inline]
fn counters(backend: u32, requests: bool) -> Option<(*mut u64, *mut u64)> {
    let load = BACKEND_LOAD.get_ptr_mut(backend)?;
    // The compiler knows that a flag is 0 or 1, the verifier wants to see it.
    let index = opaque(usize::from(requests)) & 1;
    // SAFETY: the element begins with these two counters.
    let counter = unsafe { load.cast::<u64>().add(index) };
    // SAFETY: the pointer is to a map element.
    Some((counter, unsafe { &raw mut (*load).changes }))
}

/// Adds one to a counter.
#[inline(never)]
pub fn raise(backend: u32, requests: bool) -> u32 {
    if let Some((counter, changes)) = counters(backend, requests) {
        add(counter, 1);
        add(changes, 1);
    }
    0
}

/// Takes one off a counter, unless it was corrected meanwhile and has none.
#[inline(never)]
pub fn lower(backend: u32, requests: bool) -> u32 {
    if let Some((counter, changes)) = counters(backend, requests) {
        // SAFETY: the pointer is into a map element; other CPUs change it, hence volatile.
        if unsafe { read_volatile(counter) } != 0 {
            add(counter, u64::MAX);
            add(changes, 1);
        }
    }
    0
}

/// Open flows of a backend, or its requests in flight.
#[inline]
pub fn load(backend: u32, requests: bool) -> u64 {
    match counters(backend, requests) {
        // SAFETY: the pointer is into a map element; other CPUs change it, hence volatile.
        Some((counter, _)) => unsafe { read_volatile(counter) },
        None => 0,
    }
}

/// Adds an answer. A function of its own in the kernel, called once or twice a turn.
#[inline(never)]
pub fn note(backend: u32, signal: u32, micros: u32) -> u32 {
    let Some(signals) = SIGNALS.get_ptr_mut(backend) else { return 0 };
    // SAFETY: the pointer is to a map element, whose fields others add to as well.
    unsafe {
        match signal {
            FIRST_BYTE => {
                add(&raw mut (*signals).first_byte_us, u64::from(micros));
                count(&raw mut (*signals).first_bytes, micros);
            }
            HANDSHAKE => {
                add(&raw mut (*signals).handshake_us, u64::from(micros));
                count(&raw mut (*signals).handshakes, micros);
            }
            REFUSED => add(&raw mut (*signals).refused, 1),
            RESET => add(&raw mut (*signals).reset, 1),
            _ => add(&raw mut (*signals).repeated, 1),
        }
    }
    0
}

#[inline]
fn count(histogram: *mut Histogram, micros: u32) {
    // The compiler knows the bound that `bucket` keeps, the verifier wants to see it.
    let bucket = opaque(bucket(micros));
    if bucket < BUCKETS {
        // SAFETY: inside the histogram, which is part of a map element, 4-byte aligned.
        unsafe {
            let counter = histogram.cast::<u32>().add(bucket);
            atomic_xadd::<u32, u32, { AtomicOrdering::Relaxed }>(counter, 1);
        }
    }
}
