//! The clock of a search, and the line that tells how far it is when it takes long.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use crate::placement::{Budget, Method, Outcome, Problem, Progress, Search, place};

/// Below this nobody waits for anything.
const LONG: Duration = Duration::from_secs(1);
/// The line changes this often.
const REFRESH: Duration = Duration::from_millis(200);

/// How long each method may take, and how long the last one took.
pub(super) struct Clock {
    budget: Duration,
    iterations: Option<u32>,
    elapsed: Duration,
    terminal: bool,
}

impl Clock {
    pub(super) fn new(budget: Duration, iterations: Option<u32>) -> Self {
        let terminal = io::stderr().is_terminal();
        Self { budget, iterations, elapsed: Duration::ZERO, terminal }
    }

    /// How long the last search took. With a number of iterations nobody is told: the whole
    /// answer is then a function of the input.
    pub(super) fn elapsed_ms(&self) -> Option<f64> {
        self.iterations.is_none().then(|| (self.elapsed.as_secs_f64() * 1e4).round() / 10.0)
    }

    /// One method's answer.
    pub(super) fn place(
        &mut self,
        problem: &Problem,
        method: Method,
        seed: u64,
        threads: usize,
    ) -> Outcome {
        let began = Instant::now();
        let whole = self.budget.as_secs_f64();
        let spent = || began.elapsed().as_secs_f64() / whole;
        let budget = match self.iterations {
            Some(iterations) => Budget::iterations(iterations),
            None => Budget::time(u32::MAX - 1, &spent),
        };
        let mut shown: Option<Duration> = None;
        let search = Search { method, seed, threads, budget };
        let outcome = place(problem, &search, &mut |progress| {
            let elapsed = began.elapsed();
            let due = shown.map_or(LONG.min(self.budget / 4), |last| last + REFRESH);
            let waits = self.terminal && (self.budget >= LONG || elapsed >= LONG);
            if waits && elapsed >= due {
                shown = Some(elapsed);
                eprint!("\r\x1b[K{}", self.line(method, progress, elapsed));
                drop(io::stderr().flush());
            }
        });
        if shown.is_some() {
            eprint!("\r\x1b[K");
        }
        self.elapsed = began.elapsed();
        outcome
    }

    fn line(&self, method: Method, progress: &Progress, elapsed: Duration) -> String {
        let of = match self.iterations {
            Some(iterations) => format!("{} of {iterations} iterations", progress.iterations),
            None => format!(
                "{:.1} of {:.1} s, {} iterations",
                elapsed.as_secs_f64(),
                self.budget.as_secs_f64(),
                progress.iterations
            ),
        };
        let best = progress.best;
        format!(
            "{}: {of}, objective {:.4}, {} unplaced",
            method.name(),
            best.objective(),
            best.unplaced
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::Score;

    #[test]
    fn progress_says_what_is_left() {
        let best = Score { deviation: 0.125, unplaced: 2, ..Score::default() };
        let progress = Progress { iterations: 41, best };
        let line = |iterations| {
            let clock = Clock::new(Duration::from_secs(5), iterations);
            clock.line(Method::AntColony, &progress, Duration::from_millis(1250))
        };
        let end = "objective 0.2250, 2 unplaced";
        assert_eq!(line(None), format!("ant-colony: 1.2 of 5.0 s, 41 iterations, {end}"));
        assert_eq!(line(Some(90)), format!("ant-colony: 41 of 90 iterations, {end}"));
    }
}
