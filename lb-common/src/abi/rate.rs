//! Limits of new flows: buckets of tokens, each kept as the one time at which it is full again (the
//! generic cell rate algorithm, ITU-T I.371).

use super::abi;

abi! {
    /// The bucket of a service, shared by all CPUs, and whom its limits refused: element of `RATES`, by
    /// service id.
    pub struct Rate: 24 {
        /// When the bucket is full again, in nanoseconds of the kernel's clock.
        pub full_at_ns: u64,
        /// Flows that were too many for the service.
        pub refused: u64,
        /// Flows that were too many for their source.
        pub refused_source: u64,
    }
}

abi! {
    /// The bucket of a source: value of `SOURCE_RATES`.
    pub struct SourceRate: 8 {
        /// When the bucket is full again, in nanoseconds of the kernel's clock.
        pub full_at_ns: u64,
    }
}

/// A token that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Now, in nanoseconds.
    pub now_ns: u64,
    /// Time in which the bucket gets one token.
    pub interval_ns: u64,
    /// Time in which an empty bucket gets full.
    pub burst_ns: u64,
}

impl Token {
    /// When the bucket will be full after the token is taken; 0 if there is none.
    #[inline]
    #[must_use]
    pub const fn take(&self, full_at_ns: u64) -> u64 {
        let from = if full_at_ns < self.now_ns { self.now_ns } else { full_at_ns };
        if from - self.now_ns > self.burst_ns { 0 } else { from.wrapping_add(self.interval_ns) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// How many of so many tries, one every `pause_ns`, find a token: 100 a second, a burst of 50 ms.
    fn taken(full_at_ns: &mut u64, now_ns: &mut u64, tries: u32, pause_ns: u64) -> u32 {
        (0..tries).fold(0, |taken, _| {
            *now_ns += pause_ns;
            let token = Token { now_ns: *now_ns, interval_ns: 10 * MS, burst_ns: 50 * MS };
            match token.take(*full_at_ns) {
                0 => taken,
                next => {
                    *full_at_ns = next;
                    taken + 1
                }
            }
        })
    }

    #[test]
    fn a_bucket_holds_a_burst_and_fills_at_its_rate() {
        let (mut full, mut now) = (0, 1000 * MS);
        for (what, tries, pause_ns, expected) in [
            ("a burst at once, and the one that is always there", 100, 0, 6),
            ("then its rate", 1000, MS, 100),
            ("slower than that all pass", 50, 10 * MS, 50),
            ("a pause fills it, and no more than that", 1, 10_000 * MS, 1),
            ("the rest of the burst", 100, 0, 5),
        ] {
            assert_eq!(taken(&mut full, &mut now, tries, pause_ns), expected, "{what}");
        }
    }
}
