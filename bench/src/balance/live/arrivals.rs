//! What clients will send and when, drawn before anything is sent: the same for every policy of a
//! round, whatever the answers do.

use std::time::Duration;

use crate::balance::sim::random::Random;

/// Mean work of a request, on a whole CPU.
pub(crate) const WORK_S: f64 = 0.004;
/// Variation of the work.
const WORK_CV: f64 = 1.5;

/// A kind of connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Kind {
    /// Part of all connections.
    pub(crate) part: f64,
    /// Requests, one after the other.
    pub(crate) requests: u32,
    /// Mean time from an answer to the next request.
    pub(crate) think_s: f64,
    /// Mean work of a request, on a whole CPU.
    pub(crate) work_s: f64,
}

/// One request a connection.
pub(crate) const SHORT: &[Kind] = &[Kind { part: 1.0, requests: 1, think_s: 0.0, work_s: WORK_S }];
/// A fifth of the connections does most of the work, the others are idle most of their time.
pub(crate) const KEPT: &[Kind] = &[
    Kind { part: 0.2, requests: 50, think_s: 0.02, work_s: WORK_S },
    Kind { part: 0.8, requests: 5, think_s: 2.0, work_s: WORK_S },
];
/// Many connections that do little, for as long as they are wanted.
pub(crate) const MANY: &[Kind] = &[Kind { part: 1.0, requests: 8, think_s: 3.0, work_s: 0.000_02 }];

/// A connection to come.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Arrival {
    /// Since the start of the load.
    pub(crate) due: Duration,
    /// Work of each request, and the time between the last answer and it.
    pub(crate) requests: Vec<(Duration, Duration)>,
}

/// Draws the connections of so many seconds: a Poisson process with so many requests a second.
pub(crate) fn draw(kinds: &[Kind], requests_per_s: f64, seconds: f64, seed: u64) -> Vec<Arrival> {
    let (mut gaps, mut works, mut fates) =
        (Random::new(seed, 11), Random::new(seed, 12), Random::new(seed, 13));
    let mean_requests: f64 = kinds.iter().map(|kind| kind.part * f64::from(kind.requests)).sum();
    let gap_s = mean_requests / requests_per_s;
    let mut arrivals = Vec::new();
    let mut now_s = gaps.exponential(gap_s);
    while now_s < seconds {
        let kind = pick(kinds, fates.part());
        let requests = (0..kind.requests).map(|number| {
            let think_s = if number == 0 { 0.0 } else { fates.exponential(kind.think_s) };
            let work_s = works.lognormal(kind.work_s, WORK_CV);
            (Duration::from_secs_f64(work_s), Duration::from_secs_f64(think_s))
        });
        let due = Duration::from_secs_f64(now_s);
        arrivals.push(Arrival { due, requests: requests.collect() });
        now_s += gaps.exponential(gap_s);
    }
    arrivals
}

fn pick(kinds: &[Kind], part: f64) -> Kind {
    let mut sum = 0.0;
    let found = kinds.iter().find(|kind| {
        sum += kind.part;
        part < sum
    });
    // Parts may add up to a little less than one.
    *found.unwrap_or(&kinds[kinds.len() - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    fn as_much_arrives_as_was_asked_for() {
        for kinds in [SHORT, KEPT] {
            let arrivals = draw(kinds, 100.0, 200.0, 3);
            let requests: usize = arrivals.iter().map(|it| it.requests.len()).sum();
            assert!((requests as f64 / 20_000.0 - 1.0).abs() < 0.1, "{requests}");
            let work: Duration =
                arrivals.iter().flat_map(|it| &it.requests).map(|(work, _)| *work).sum();
            let mean_s = work.as_secs_f64() / requests as f64;
            assert!((mean_s / WORK_S - 1.0).abs() < 0.1, "{mean_s}");
            assert!(arrivals.windows(2).all(|pair| pair[0].due <= pair[1].due));
            assert!(arrivals.iter().all(|it| it.due < Duration::from_secs(200)));
            assert!(arrivals.iter().all(|it| it.requests[0].1.is_zero()));
        }
    }

    #[test]
    fn a_seed_tells_all() {
        assert_eq!(draw(KEPT, 50.0, 5.0, 7), draw(KEPT, 50.0, 5.0, 7));
        assert_ne!(draw(KEPT, 50.0, 5.0, 7), draw(KEPT, 50.0, 5.0, 8));
        assert!(draw(SHORT, 1e-9, 1.0, 1).is_empty());
    }
}
