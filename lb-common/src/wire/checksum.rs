//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! Sums are kept in 64 bits and folded once, at the end. One's complement sums do not depend on
//! byte order, so all words stay as they lie in memory.

/// Folds a sum to 16 bits.
#[inline]
#[must_use]
pub const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// What replacing the word `old` by `new` adds to a sum.
#[inline]
#[must_use]
pub const fn difference(old: u32, new: u32) -> u64 {
    !old as u64 + new as u64
}

/// The checksum after words whose [`difference`]s sum up to `delta` have been replaced:
/// `HC' = ~(~HC + ~m + m')`.
#[inline]
#[must_use]
pub const fn update(checksum: u16, delta: u64) -> u16 {
    !fold(!checksum as u64 + delta)
}

/// Like [`update`] for UDP, where a computed 0 is sent as 0xffff (RFC 768). A checksum of 0 on
/// IPv4 means that the sender computed none; that stays.
#[inline]
#[must_use]
pub const fn update_udp(checksum: u16, delta: u64) -> u16 {
    if checksum == 0 {
        return 0;
    }
    match update(checksum, delta) {
        0 => 0xffff,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 1071 computed from scratch, in the plainest way.
    fn from_scratch(words: &[u32]) -> u16 {
        let mut sum: u32 = 0;
        for word in words {
            for half in [word & 0xffff, word >> 16] {
                sum += half;
                if sum > 0xffff {
                    sum = (sum & 0xffff) + 1;
                }
            }
        }
        !(sum as u16)
    }

    #[test]
    fn the_example_of_rfc_1624() {
        // Section 4: HC = 0xdd2f, m = 0x5555, m' = 0x3285 gives 0x0000.
        assert_eq!(update(0xdd2f, difference(0x5555, 0x3285)), 0x0000);
    }

    #[test]
    fn no_udp_checksum_stays_none_and_a_computed_zero_is_sent_as_all_ones() {
        assert_eq!(update_udp(0, difference(1, 2)), 0);
        assert_eq!(update_udp(0xdd2f, difference(0x5555, 0x3285)), 0xffff);
    }

    proptest! {
        #[test]
        fn an_update_equals_a_new_computation(words in prop::collection::vec(1u32.., 2..12), new in 1u32..) {
            let old = words[0];
            let mut changed = words.clone();
            changed[0] = new;
            prop_assert_eq!(update(from_scratch(&words), difference(old, new)), from_scratch(&changed));
        }
    }
}
