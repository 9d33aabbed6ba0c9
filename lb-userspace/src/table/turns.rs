//! Turn orders: smooth weighted round-robin, as nginx interleaves its upstreams.
//!
//! In every round each backend gains its weight; the one that has most is next and pays the sum
//! of all weights. Over one period each has exactly its share, spread as evenly as it goes.

use crate::reconcile::TableBackend;

/// Longest order. Weights whose sum is larger are scaled down, each to at least 1.
const TURNS_MAX: u64 = 16_384;

/// One period of the order, as backend ids.
pub(super) fn table(backends: &[TableBackend]) -> Vec<u32> {
    let weights = shortened(&backends.iter().map(|b| u64::from(b.weight)).collect::<Vec<_>>());
    let total: u64 = weights.iter().sum();
    let mut credit = vec![0_i64; weights.len()];
    let mut order = Vec::new();
    for _ in 0..total {
        for (credit, weight) in credit.iter_mut().zip(&weights) {
            *credit += weight.cast_signed();
        }
        let most = credit.iter().copied().max().unwrap_or(0);
        let Some(next) = credit.iter().position(|credit| *credit == most) else { break };
        credit[next] -= total.cast_signed();
        order.push(backends[next].id);
    }
    order
}

/// The weights without their common divisor, and not too large.
fn shortened(weights: &[u64]) -> Vec<u64> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let weights: Vec<u64> = weights.iter().map(|weight| weight / divisor).collect();
    let total: u64 = weights.iter().sum();
    if total <= TURNS_MAX {
        return weights;
    }
    weights.iter().map(|weight| (weight * TURNS_MAX / total).max(1)).collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::backends, *};

    #[test]
    fn the_order_nginx_documents() {
        assert_eq!(table(&backends(&[5, 1, 1])), [1, 1, 2, 1, 3, 1, 1]);
    }

    #[test]
    fn equal_weights_take_turns_and_common_divisors_do_not_count() {
        assert_eq!(table(&backends(&[1, 1, 1])), [1, 2, 3]);
        assert_eq!(table(&backends(&[100, 100])), [1, 2]);
        assert_eq!(table(&backends(&[200, 100])), [1, 2, 1]);
    }

    #[test]
    fn one_backend_has_every_turn_and_none_has_none() {
        assert_eq!(table(&backends(&[7])), [1]);
        assert_eq!(table(&[]), Vec::<u32>::new());
    }

    #[test]
    fn huge_sums_are_scaled_and_nobody_is_left_out() {
        let mut weights = vec![999; 40];
        weights.push(1);
        weights.push(1000);
        let order = table(&backends(&weights));
        assert!(order.len() as u64 <= TURNS_MAX + 42);
        assert!((1..=42).all(|id| order.contains(&id)));
    }
}
