//! Turn orders: smooth weighted round-robin, which spreads the turns of a heavy backend evenly
//! between those of the others instead of bunching them.

use crate::reconcile::TableBackend;

/// Longest order. Weights that need more are scaled down, at a loss of precision far below what
/// the flows of a service can show.
const TURNS_MAX: u64 = 16384;

/// Backend ids in their order of one full cycle; empty if nobody has weight.
pub(crate) fn turns(backends: &[TableBackend]) -> Vec<u32> {
    let (ids, weights): (Vec<u32>, Vec<u64>) =
        backends.iter().filter(|b| b.weight > 0).map(|b| (b.id, u64::from(b.weight))).unzip();
    let mut waiting = ids.into_iter().zip(shortest(weights)).map(Waiting::new).collect::<Vec<_>>();
    let total: i64 = waiting.iter().map(|w| w.weight).sum();
    (0..total).map(|_| next(&mut waiting, total)).collect()
}

/// How long a backend has been waiting for a turn, in units of weight.
struct Waiting {
    id: u32,
    weight: i64,
    credit: i64,
}

impl Waiting {
    fn new((id, weight): (u32, u64)) -> Self {
        Self { id, weight: weight.cast_signed(), credit: 0 }
    }
}

/// Everyone earns their weight; the richest goes, the first of equals, and pays for all.
fn next(waiting: &mut [Waiting], total: i64) -> u32 {
    let mut richest = 0;
    for index in 0..waiting.len() {
        waiting[index].credit += waiting[index].weight;
        if waiting[index].credit > waiting[richest].credit {
            richest = index;
        }
    }
    waiting[richest].credit -= total;
    waiting[richest].id
}

/// The same proportions with the shortest cycle, nearly the same if that is above [`TURNS_MAX`].
fn shortest(weights: Vec<u64>) -> Vec<u64> {
    let weights = reduced(weights);
    let total: u64 = weights.iter().sum();
    if total <= TURNS_MAX {
        return weights;
    }
    // Rounding up to 1 adds at most one turn a backend: that much room is left.
    let room = TURNS_MAX.saturating_sub(weights.len() as u64);
    reduced(weights.into_iter().map(|weight| (weight * room / total).max(1)).collect())
}

fn reduced(mut weights: Vec<u64>) -> Vec<u64> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    for weight in &mut weights {
        *weight /= divisor;
    }
    weights
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
