//! How backends answer, added up in `SIGNALS`.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use lb_common::{
    abi::signals::{BUCKETS, Histogram, bucket},
    tables::Signal,
};

use crate::{context::opaque, maps::SIGNALS, tables::add};

const FIRST_BYTE: u32 = Signal::FirstByte as u32;
const HANDSHAKE: u32 = Signal::Handshake as u32;
const REFUSED: u32 = Signal::Refused as u32;
const RESET: u32 = Signal::Reset as u32;

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
