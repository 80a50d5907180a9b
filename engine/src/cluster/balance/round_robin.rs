//! In turn, by weight: smooth, so that a host of weight 3 among two of weight 1 is not asked three times in a row.
//!
//! With equal weights it is a cursor. With others each pick adds every host's weight to its credit, takes the host with the
//! most, and takes the sum of the weights off it: over a whole round each host is picked exactly its weight.

use std::rc::Rc;

use super::{Ask, Balance};
use crate::cluster::Host;
use crate::rng::Rng;

pub(in crate::cluster) struct RoundRobin {
    turns: Turns,
}

enum Turns {
    Equal {
        cursor: usize,
    },
    Weighted {
        credits: Vec<(i64, i64)>,
        total: i64,
    },
}

impl RoundRobin {
    /// Cores begin at different hosts, or all would ask the first one first.
    pub(in crate::cluster) fn new(weights: &[u32], rng: &Rng) -> Self {
        let equal = weights.windows(2).all(|pair| pair.first() == pair.last());
        if equal {
            return Self {
                turns: Turns::Equal {
                    cursor: rng.below(weights.len() as u64) as usize,
                },
            };
        }
        let total = weights.iter().map(|weight| i64::from(*weight)).sum();
        let credits = weights
            .iter()
            .map(|weight| (i64::from(*weight), rng.below(u64::from(*weight) + 1) as i64))
            .collect();
        Self {
            turns: Turns::Weighted { credits, total },
        }
    }
}

impl Balance for RoundRobin {
    fn pick(&mut self, hosts: &[Rc<Host>], ask: &Ask<'_>) -> Option<usize> {
        match &mut self.turns {
            Turns::Equal { cursor } => {
                for _ in 0..hosts.len() {
                    let index = *cursor % hosts.len();
                    *cursor = index + 1;
                    if !ask.tried.contains(&index) {
                        return Some(index);
                    }
                }
                None
            }
            Turns::Weighted { credits, total } => {
                for (weight, credit) in credits.iter_mut() {
                    *credit += *weight;
                }
                let untried = credits
                    .iter_mut()
                    .enumerate()
                    .filter(|(index, _)| !ask.tried.contains(index));
                let (index, (_, credit)) = untried.max_by_key(|(_, (_, credit))| *credit)?;
                *credit -= *total;
                Some(index)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{hosts, shares};
    use super::*;

    #[test]
    fn equal_hosts_take_turns() {
        let hosts = hosts(3);
        let mut balance = RoundRobin::new(&[5, 5, 5], &Rng::new(1));
        assert_eq!(shares(&mut balance, &hosts, 300, &[]), [100, 100, 100]);
        assert_eq!(shares(&mut balance, &hosts, 300, &[1]), [150, 0, 150]);
    }

    #[test]
    fn weights_are_exact_over_rounds_and_spread_within_one() {
        let hosts = hosts(3);
        let mut balance = RoundRobin::new(&[5, 1, 1], &Rng::new(2));
        let round = shares(&mut balance, &hosts, 700, &[]);
        assert!(
            round[0].abs_diff(500) <= 1 && round[1].abs_diff(100) <= 1,
            "{round:?}"
        );
        let rng = Rng::new(0);
        let picks: Vec<_> = (0..14)
            .filter_map(|_| {
                balance.pick(
                    &hosts,
                    &Ask {
                        tried: &[],
                        rng: &rng,
                    },
                )
            })
            .collect();
        assert!(
            !picks
                .windows(5)
                .any(|run| run.iter().all(|pick| *pick == 0)),
            "{picks:?}"
        );
    }

    #[test]
    fn no_hosts_is_no_pick() {
        let rng = Rng::new(0);
        assert_eq!(
            RoundRobin::new(&[], &rng).pick(
                &[],
                &Ask {
                    tried: &[],
                    rng: &rng
                }
            ),
            None
        );
    }
}
