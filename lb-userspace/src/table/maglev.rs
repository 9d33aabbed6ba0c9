//! Consistent hashing by weight: Maglev (Eisenbud et al., NSDI 2016, section 3.4).
//!
//! Every backend walks its own permutation of the slots and takes the next free one when its turn
//! comes. In each round a backend earns its weight, and a slot costs the largest weight. Everyone
//! begins one round short of a slot, so every backend holds at least one, and a share is off by
//! at most one slot a backend. The result depends on identities and weights alone, so nodes that
//! agree on them agree on the table.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::reconcile::TableBackend;

/// Primes, each about twice the one before. One above 65536 is the largest the paper found useful.
const SIZES: [u32; 9] = [251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65537];
/// Slots a backend must have on average, so that shares are off by about a percent at most.
const SLOTS_PER_BACKEND: usize = 100;

/// Slots of a table for so many backends.
pub(crate) fn table_size(backends: usize) -> u32 {
    let wanted = backends.saturating_mul(SLOTS_PER_BACKEND);
    let [.., largest] = SIZES;
    SIZES.into_iter().find(|&size| size as usize >= wanted).unwrap_or(largest)
}

/// Backend ids by slot; empty if nobody has weight.
pub(crate) fn maglev(backends: &[TableBackend]) -> Vec<u32> {
    let mut order: Vec<&TableBackend> = backends.iter().filter(|b| b.weight > 0).collect();
    order.sort_unstable_by_key(|b| b.identity);
    let size = table_size(order.len());
    let mut walks: Vec<Walk> = order.iter().map(|b| Walk::new(b, size)).collect();
    let dearest = order.iter().map(|b| u64::from(b.weight)).max().unwrap_or(0);

    // Counting rounds one by one costs rounds times backends when one weight dwarfs the others.
    // The round of a backend's slot number `k` is known: the first in which it has earned `k`.
    let mut turns: BinaryHeap<Reverse<(u64, usize)>> =
        (0..order.len()).map(|index| Reverse((0, index))).collect();
    let mut table: Vec<Option<u32>> = vec![None; size as usize];
    for _ in 0..size {
        let Some(mut next) = turns.peek_mut() else { return Vec::new() };
        let Reverse((_, index)) = *next;
        let (backend, walk) = (order[index], &mut walks[index]);
        walk.take(&mut table, backend.id);
        *next = Reverse(((walk.taken * dearest).div_ceil(u64::from(backend.weight)), index));
    }
    table.into_iter().flatten().collect()
}

/// A backend on its way through its permutation of the slots.
struct Walk {
    at: u32,
    skip: u32,
    size: u32,
    taken: u64,
}

impl Walk {
    fn new(backend: &TableBackend, size: u32) -> Self {
        let text = format!("{}/{}", backend.identity, backend.identity.protocol);
        let hash = stable_hash(text.as_bytes());
        // The two halves of a well mixed hash are independent. The size is prime, so every skip
        // but 0 visits all slots.
        Self {
            at: remainder(hash >> 32, size),
            skip: remainder(hash & u64::from(u32::MAX), size - 1) + 1,
            size,
            taken: 0,
        }
    }

    /// Takes the next free slot; there must be one.
    fn take(&mut self, table: &mut [Option<u32>], id: u32) {
        while table[self.at as usize].is_some() {
            self.at = (self.at + self.skip) % self.size;
        }
        table[self.at as usize] = Some(id);
        self.taken += 1;
    }
}

fn remainder(number: u64, divisor: u32) -> u32 {
    u32::try_from(number % u64::from(divisor)).unwrap_or(0)
}

/// FNV-1a with the finaliser of splitmix64. It must never change: nodes of different versions
/// would then disagree on where a flow goes.
fn stable_hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
#[path = "maglev_tests.rs"]
mod tests;
