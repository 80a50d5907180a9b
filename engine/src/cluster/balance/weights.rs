//! A pick by chance, in proportion to weights.

use super::Ask;

/// Weights summed up, so that a random point finds its host by halving.
pub(super) struct Weights {
    /// The sum of the weights up to and with each host.
    sums: Vec<u64>,
}

/// Draws before a pick looks for what was not tried in order: with half of the weight tried, one in 256 gets there.
const DRAWS: usize = 8;

impl Weights {
    pub(super) fn new(weights: &[u32]) -> Self {
        let sums = weights.iter().scan(0, |sum, weight| {
            *sum += u64::from(*weight);
            Some(*sum)
        });
        Self {
            sums: sums.collect(),
        }
    }

    /// A host by weight, among those not tried; one of no weight only where nothing else is left.
    pub(super) fn draw(&self, ask: &Ask<'_>) -> Option<usize> {
        let total = self.sums.last().copied()?;
        if total > 0 {
            for _ in 0..DRAWS {
                let point = ask.rng.below(total);
                let index = self.sums.partition_point(|sum| *sum <= point);
                if !ask.tried.contains(&index) {
                    return Some(index);
                }
            }
        }
        let start = ask.rng.below(self.sums.len() as u64) as usize;
        let in_turn = (start..self.sums.len()).chain(0..start);
        in_turn.into_iter().find(|index| !ask.tried.contains(index))
    }
}
