//! A pick by chance, in proportion to weights.

use super::{Ask, HostSet};

/// Weights summed up, so that a random point finds its host by halving; hosts of one weight need none.
#[derive(Debug)]
pub(super) struct Weights {
    /// The sum of the weights up to and with each host; empty where all are equal.
    sums: Box<[u64]>,
}

/// Draws before a pick looks for what was not tried in order: with half of the weight tried, one in 256 gets there.
const DRAWS: usize = 8;

impl Weights {
    pub(super) fn new(weights: &[u32]) -> Self {
        if weights.windows(2).all(|pair| pair.first() == pair.last()) {
            return Self {
                sums: Box::default(),
            };
        }
        let sums = weights.iter().scan(0, |sum, weight| {
            *sum += u64::from(*weight);
            Some(*sum)
        });
        Self {
            sums: sums.collect(),
        }
    }

    /// The weight of the host at a place: one, where all are equal.
    pub(super) fn of(&self, at: usize) -> u64 {
        let sum = |at: usize| self.sums.get(at).copied();
        let before = at.checked_sub(1).and_then(sum).unwrap_or(0);
        sum(at).map_or(1, |sum| sum - before).max(1)
    }

    /// A host by weight, among those not tried.
    pub(super) fn draw(&self, set: &HostSet, ask: &Ask<'_>) -> Option<usize> {
        for _ in 0..DRAWS {
            let at = match self.sums.last() {
                Some(total) => {
                    let point = ask.rng.below(*total);
                    self.sums.partition_point(|sum| *sum <= point)
                }
                None => ask.rng.below(set.len() as u64) as usize,
            };
            if at < set.len() && set.takes(at, ask) {
                return Some(at);
            }
        }
        set.free_from(ask.rng.below(set.len() as u64) as usize, ask)
    }
}
