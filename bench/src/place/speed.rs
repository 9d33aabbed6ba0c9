//! What more threads save.

use anyhow::Result;
use serde::Serialize;

use super::{synthetic, timed};
use crate::stats::Spread;

const ITERATIONS: u32 = 8;
const THREADS: [usize; 3] = [1, 2, 4];

/// The time of the same search with one thread, divided by that with some.
#[derive(Debug, Serialize)]
pub(super) struct Speed {
    pub(super) threads: usize,
    pub(super) ratios: Vec<f64>,
    seconds: Vec<f64>,
}

/// Times all numbers of threads in each round, one after the other.
pub(super) fn measure(seed: u64, rounds: usize) -> Result<Vec<Speed>> {
    let problem = synthetic::cluster(&synthetic::TIMED, seed)?.problem;
    let times: Vec<[f64; 3]> =
        (0..rounds).map(|_| THREADS.map(|threads| timed(&problem, ITERATIONS, threads))).collect();
    let speed = |(index, threads)| Speed {
        threads,
        ratios: times.iter().map(|it| it[0] / it[index]).collect(),
        seconds: times.iter().map(|it| it[index]).collect(),
    };
    Ok(THREADS.into_iter().enumerate().map(speed).collect())
}

pub(super) fn render(speed: &[Speed]) -> String {
    let line = |Speed { threads, ratios, seconds }: &Speed| {
        let (Spread { median, min, max }, time) = (Spread::of(ratios)?, Spread::of(seconds)?);
        let ms = time.median * 1e3;
        Some(format!(
            "  {threads} {ms:8.0} ms   {median:.2} ({min:.2} .. {max:.2}) times as fast\n"
        ))
    };
    let head = format!("{ITERATIONS} iterations on 40 nodes\n");
    std::iter::once(head).chain(speed.iter().filter_map(line)).collect()
}
