//! What is going on at the moment and how long it will be, for who waits: one line that is written
//! over on a terminal, and now and then a line in a log.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    time::{Duration, Instant},
};

/// The time between two lines in a log.
const LOG_EVERY: Duration = Duration::from_secs(30);

/// A job of some steps. Dropping it clears its line.
#[derive(Debug)]
pub(crate) struct Progress {
    bench: &'static str,
    steps: usize,
    done: usize,
    began: Instant,
    logged: Option<Instant>,
}

impl Progress {
    pub(crate) fn new(bench: &'static str, steps: usize) -> Self {
        Self { bench, steps, done: 0, began: Instant::now(), logged: None }
    }

    /// Says what begins; the step before is done.
    pub(crate) fn step(&mut self, what: &str) {
        let elapsed = self.began.elapsed();
        let line = line(self.bench, self.done, self.steps, elapsed, what);
        self.done += 1;
        let mut out = stderr().lock();
        let terminal = out.is_terminal();
        if !terminal && self.logged.is_some_and(|last| last.elapsed() < LOG_EVERY) {
            return;
        }
        self.logged = Some(Instant::now());
        let (before, after) = if terminal { ("\r\x1b[K", "") } else { ("", "\n") };
        // Nobody misses a line that cannot be shown.
        let _unseen = write!(out, "{before}{line}{after}").and_then(|()| out.flush());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let mut out = stderr().lock();
        if out.is_terminal() {
            let _unseen = write!(out, "\r\x1b[K").and_then(|()| out.flush());
        }
    }
}

/// The rest takes as long a step as what is done took; a tenth of it tells enough.
fn line(bench: &str, done: usize, steps: usize, elapsed: Duration, what: &str) -> String {
    let now = done + 1;
    let mut line = format!("{bench}: {now} of {steps}, {what}");
    if done > 0 && done * 10 >= steps && steps > done {
        let rest = elapsed.as_secs_f64() / whole(done) * whole(steps - done);
        line = format!("{line}, {} more", lasting(rest));
    }
    line
}

/// Seconds for people.
pub(crate) fn lasting(seconds: f64) -> String {
    if seconds < 90.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}

#[expect(clippy::cast_precision_loss, reason = "steps are few")]
fn whole(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_when_it_is_known() {
        for (done, steps, seconds, expected) in [
            (0, 20, 0, "it: 1 of 20, now"),
            (1, 20, 9, "it: 2 of 20, now"),
            (2, 20, 8, "it: 3 of 20, now, 72 s more"),
            (10, 20, 600, "it: 11 of 20, now, 10 min more"),
            (20, 20, 600, "it: 21 of 20, now"),
            (0, 0, 0, "it: 1 of 0, now"),
        ] {
            assert_eq!(line("it", done, steps, Duration::from_secs(seconds), "now"), expected);
        }
    }
}
