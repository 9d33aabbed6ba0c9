//! The kernel's ticks: the programs stamp flows with jiffies, whose rate only the kernel knows.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{Dataplane, LoadError, testrun};

/// The rates a kernel may be built with (`CONFIG_HZ`).
const RATES: [u32; 4] = [100, 250, 300, 1000];
/// Long enough to tell 250 from 300.
const WINDOW: Duration = Duration::from_millis(60);

impl Dataplane {
    /// The jiffies now.
    pub fn ticks(&mut self) -> Result<u64, LoadError> {
        testrun::run(self.classifier("weir_clock")?, &[0; 64])?;
        self.maps.clock()
    }

    /// Measures how many ticks a second has.
    pub fn ticks_per_second(&mut self) -> Result<u32, LoadError> {
        let (first, start) = (self.ticks()?, Instant::now());
        thread::sleep(WINDOW);
        let (last, end) = (self.ticks()?, Instant::now());
        Ok(nearest(last.saturating_sub(first), end - start))
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a handful of ticks, of which only the nearest rate is wanted"
)]
fn nearest(ticks: u64, elapsed: Duration) -> u32 {
    let measured = ticks as f64 / elapsed.as_secs_f64().max(1e-9);
    let distance = |rate: &u32| (f64::from(*rate).ln() - measured.max(1.0).ln()).abs();
    RATES.into_iter().min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(250)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_rate_is_taken() {
        let rows = [(6, 60, 100), (5, 60, 100), (15, 60, 250), (18, 60, 300), (60, 60, 1000)];
        for (ticks, ms, rate) in rows {
            assert_eq!(nearest(ticks, Duration::from_millis(ms)), rate, "{ticks} in {ms} ms");
        }
        assert_eq!(nearest(0, Duration::ZERO), 100);
    }
}
