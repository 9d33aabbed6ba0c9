//! Counts of first packets (`GATES`), and buckets of tokens (`RATES`, `SOURCE_RATES`), which CPUs empty at
//! the same time.

use core::{
    intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd},
    ptr::read_volatile,
};

use aya_ebpf::bindings::BPF_NOEXIST;
use lb_common::abi::{
    rate::{SourceRate, Token},
    service::AffinityKey,
};

use crate::{
    maps::{GATES, RATES, SOURCE_RATES},
    tables::add,
};

/// How often a token is tried for while other CPUs take theirs.
const TRIES: u32 = 4;

/// Takes a token out of a bucket. Who meets others at every try gets one: in a moment in which so many
/// find some, there is no more than one too many for each CPU.
#[inline]
fn take(full_at_ns: *mut u64, token: &Token) -> bool {
    for _ in 0..TRIES {
        // SAFETY: the pointer is into a map element; other CPUs change it, hence volatile.
        let old = unsafe { read_volatile(full_at_ns) };
        let new = token.take(old);
        if new == 0 {
            return false;
        }
        // SAFETY: the pointer is into a map element, 8-byte aligned.
        let (_, done) = unsafe {
            atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(
                full_at_ns, old, new,
            )
        };
        if done {
            return true;
        }
    }
    true
}

/// Takes a token out of a service's bucket.
#[inline]
pub fn take_of_service(service: u32, token: &Token) -> bool {
    let Some(rate) = RATES.get_ptr_mut(service) else { return true };
    // SAFETY: the pointer is to a map element.
    take(unsafe { &raw mut (*rate).full_at_ns }, token)
}

/// Takes a token out of a source's bucket. Who finds no room for one is limited by the service's only.
#[inline]
pub fn take_of_source(source: &AffinityKey, token: &Token) -> bool {
    if let Some(rate) = SOURCE_RATES.get_ptr_mut(source) {
        // SAFETY: the pointer is to a map element.
        return take(unsafe { &raw mut (*rate).full_at_ns }, token);
    }
    let first = SourceRate { full_at_ns: token.take(0) };
    if SOURCE_RATES.insert(source, &first, u64::from(BPF_NOEXIST)).is_ok() {
        return true;
    }
    match SOURCE_RATES.get_ptr_mut(source) {
        // SAFETY: as above.
        Some(rate) => take(unsafe { &raw mut (*rate).full_at_ns }, token),
        None => true,
    }
}

/// Counts a flow that a limit refused.
#[inline]
pub fn refused(service: u32, of_source: bool) {
    let Some(rate) = RATES.get_ptr_mut(service) else { return };
    // SAFETY: the pointer is to a map element.
    let counter = unsafe {
        if of_source { &raw mut (*rate).refused_source } else { &raw mut (*rate).refused }
    };
    add(counter, 1);
}

/// Counts the first packet of a flow.
#[inline]
pub fn flow_unmet(datagrams: bool) {
    if let Some(gate) = GATES.get_ptr_mut(u32::from(datagrams)) {
        // SAFETY: the pointer is into a map element, 4-byte aligned.
        unsafe { atomic_xadd::<u32, u32, { AtomicOrdering::Relaxed }>(&raw mut (*gate).level, 1) };
    }
}

/// Takes a flow off the count again, unless that began anew meanwhile. A function of its own in the kernel,
/// which returns nothing, so that what follows is verified once.
#[inline(never)]
pub fn flow_met(datagrams: bool) -> u32 {
    if let Some(gate) = GATES.get_ptr_mut(u32::from(datagrams)) {
        // SAFETY: the pointer is into a map element, 4-byte aligned; other CPUs change it, hence volatile.
        unsafe {
            let level = &raw mut (*gate).level;
            if read_volatile(level) != 0 {
                atomic_xadd::<u32, u32, { AtomicOrdering::Relaxed }>(level, u32::MAX);
            }
        }
    }
    0
}
