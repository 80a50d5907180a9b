//! In turn, by weight: smooth, so that a host of weight 3 among two of weight 1 is not asked three times in a row.
//!
//! With equal weights it is a cursor. With others it is a stride schedule that needs no state for each host: the cursor goes
//! round, and in each round a host of weight `w` among others of at most `max` is asked or passed over, so that in `max`
//! rounds it is asked exactly `w` times, evenly spread. Each host begins at a phase of its own, or light hosts would be asked
//! in the same rounds. A pick takes `max / mean` steps on average, whatever the number of hosts; credits for each host (as
//! nginx keeps them) take as many as there are hosts, a queue of deadlines their logarithm, and both begin anew with every
//! change of the hosts.

use super::{Ask, Cursor, HostSet};

#[derive(Debug)]
pub(super) struct Turns {
    /// Each host's weight and phase; empty where all are equal.
    strides: Box<[(u32, u32)]>,
    max: u32,
}

/// Steps of one pick before it takes whatever host was not tried: only weights far apart and hosts in their slow start get there.
const STEPS: usize = 4096;

impl Turns {
    pub(super) fn new(weights: &[u32]) -> Self {
        let max = weights.iter().copied().max().unwrap_or(1).max(1);
        if weights.iter().all(|weight| *weight == max) {
            return Self {
                strides: Box::default(),
                max,
            };
        }
        // The fractions of a number's multiples by the golden ratio are spread as evenly as any (Weyl).
        let phase = |at: u64| {
            let fraction = (at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((u128::from(fraction) * u128::from(max)) >> 64) as u32
        };
        let strides = (0..).zip(weights).map(|(at, weight)| (*weight, phase(at)));
        Self {
            strides: strides.collect(),
            max,
        }
    }

    pub(super) fn pick(&self, set: &HostSet, cursor: &Cursor, ask: &Ask<'_>) -> Option<usize> {
        let count = set.len();
        let (mut at, mut round) = (cursor.at.get() as usize, cursor.round.get());
        if at >= count {
            at = at.checked_rem(count)?;
        }
        if !ask.tried.is_empty() {
            // With nobody left, going round would not find anybody either.
            set.free_from(0, ask)?;
        }
        let mut found = None;
        for _ in 0..STEPS.max(count) {
            let here = at;
            let now = round;
            at += 1;
            if at == count {
                at = 0;
                round = round.wrapping_add(1);
            }
            if self.is_due(here, now) && set.takes(here, ask) {
                found = Some(here);
                break;
            }
        }
        cursor.at.set(at as u32);
        cursor.round.set(round);
        found.or_else(|| set.free_from(at, ask))
    }

    fn is_due(&self, at: usize, round: u32) -> bool {
        let Some((weight, phase)) = self.strides.get(at) else {
            return true;
        };
        let max = u64::from(self.max);
        (u64::from(round) * u64::from(*weight) + u64::from(*phase)) % max < u64::from(*weight)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{live, set, shares, specs};
    use super::*;
    use crate::rng::Rng;
    use ringway_config::Balance;

    #[test]
    fn equal_hosts_take_turns() {
        let specs = specs(&[5, 5, 5]);
        let (set, hosts) = (set(Balance::RoundRobin, &specs), live(&specs));
        assert_eq!(shares(&set, &hosts, 300, &[]), [100, 100, 100]);
        assert_eq!(shares(&set, &hosts, 300, &[1]), [150, 0, 150]);
    }

    #[test]
    fn weights_are_exact_over_rounds() {
        for seed in 0..200 {
            let rng = Rng::new(seed);
            let weights: Vec<u32> = (0..2 + rng.below(20))
                .map(|_| 1 + rng.below(128) as u32)
                .collect();
            let sum: u32 = weights.iter().sum();
            let specs = specs(&weights);
            let set = set(Balance::RoundRobin, &specs);
            let shares = shares(&set, &live(&specs), sum as usize * 3, &[]);
            for (share, weight) in shares.iter().zip(&weights) {
                // The pick may begin and end within a round.
                assert!(
                    share.abs_diff(3 * *weight as usize) <= 2,
                    "{seed} {weights:?} {shares:?}"
                );
            }
        }
    }

    #[test]
    fn a_heavy_host_is_not_asked_many_times_in_a_row() {
        let specs = specs(&[5, 1, 1]);
        let (set, hosts) = (set(Balance::RoundRobin, &specs), live(&specs));
        let rng = Rng::new(0);
        let cursor = Cursor::default();
        let picks: Vec<_> = (0..70)
            .filter_map(|_| set.pick(&hosts, &cursor, &Ask::new(&rng)))
            .collect();
        let in_a_row = |run: &[usize]| run.iter().all(|pick| *pick == 0);
        assert!(!picks.windows(5).any(in_a_row), "{picks:?}");
    }

    #[test]
    fn the_turns_go_on_where_the_number_of_hosts_changes() {
        let rng = Rng::new(3);
        let cursor = Cursor::random(&rng);
        for count in [7, 2, 9, 1, 4] {
            let specs = specs(&vec![1; count]);
            let (set, hosts) = (set(Balance::RoundRobin, &specs), live(&specs));
            let mut seen = vec![0; count];
            for _ in 0..count {
                seen[set.pick(&hosts, &cursor, &Ask::new(&rng)).unwrap()] += 1;
            }
            assert!(seen.iter().all(|n| *n == 1), "{seen:?}");
        }
    }
}
