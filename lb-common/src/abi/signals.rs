//! What a backend shows of itself on the wire: element of `SIGNALS`, by backend id. All CPUs add to
//! it, each time a turn of a flow ends; readers take differences, which survive a wrap.

use super::abi;

/// Buckets of a [`Histogram`].
pub const BUCKETS: usize = 24;

/// Durations by powers of two: bucket `i` counts those of `2^i` up to `2^(i+1)` microseconds, the
/// first one also 0, the last one also all that are longer (8.4 s).
pub type Histogram = [u32; BUCKETS];

/// The bucket of a duration in microseconds.
#[inline]
#[must_use]
pub const fn bucket(micros: u32) -> usize {
    let bits = (u32::BITS - 1 - (micros | 1).leading_zeros()) as usize;
    if bits < BUCKETS { bits } else { BUCKETS - 1 }
}

abi! {
    /// Counters since the backend is there.
    pub struct Signals: 232 {
        /// Sum of the times to first byte, in microseconds.
        pub first_byte_us: u64,
        /// Sum of the handshake round trips, in microseconds.
        pub handshake_us: u64,
        /// Handshakes that the backend answered with a reset.
        pub refused: u64,
        /// Turns that the backend ended without an answer.
        pub reset: u64,
        /// SYNs that came again because nobody had answered.
        pub repeated: u64,
        /// Turns answered, by time to first byte: from the client's first payload to the
        /// backend's.
        pub first_bytes: Histogram,
        /// Handshakes answered, from SYN to SYN-ACK.
        pub handshakes: Histogram,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_the_bucket_of_their_power_of_two() {
        let rows = [
            (0, 0),
            (1, 0),
            (2, 1),
            (3, 1),
            (4, 2),
            (1023, 9),
            (1024, 10),
            (8_388_607, 22),
            (8_388_608, 23),
            (16_777_216, 23),
            (u32::MAX, 23),
        ];
        for (micros, expected) in rows {
            assert_eq!(bucket(micros), expected, "{micros}");
        }
    }
}
