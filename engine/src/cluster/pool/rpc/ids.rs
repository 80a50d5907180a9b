//! Under which ids calls go on a connection.
//!
//! An answer finds its call by its id alone, so that no id is given twice while an answer to it may come. Where there are
//! billions of them, they come round after hours, and only those of calls in flight are left out; where there are few, so are those of calls
//! that were given up: their answers would be taken for the next ones'.

use std::cell::Cell;

use ringway_protocols::codec::Sharing;

/// With so many ids they come round too late for any answer: at 100,000 calls a second, after some minutes.
const MANY: u64 = 1 << 24;

/// Whose ids calls go under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ids {
    /// Ours, up to the largest.
    Ours(u64),
    /// The client's: nobody else's calls are here.
    Theirs,
    /// There are none, and one call at a time.
    None,
}

impl Ids {
    /// Those of a connection. `bound`: it is one client's alone.
    pub(super) fn of(sharing: Sharing, bound: bool) -> Self {
        match sharing {
            Sharing::OneAtATime => Self::None,
            Sharing::Multiplexed { bits } if !bound => Self::Ours(largest(bits)),
            Sharing::Multiplexed { .. } | Sharing::Bound => Self::Theirs,
        }
    }

    /// Whether the id of a call that was given up has to be kept out of use.
    pub(super) fn are_few(self) -> bool {
        matches!(self, Self::Ours(max) if max < MANY)
    }

    /// Whether so many calls were given up that the ids of a connection run out.
    pub(super) fn run_out(self, given_up: usize) -> bool {
        matches!(self, Self::Ours(max) if given_up as u64 > max / 4)
    }

    /// The next one that is free, behind the last.
    pub(super) fn next(self, last: &Cell<u64>, is_taken: impl Fn(u64) -> bool) -> u64 {
        let max = match self {
            Self::Ours(max) => max,
            Self::Theirs | Self::None => u64::from(u32::MAX >> 1),
        };
        // At most three in four are taken (`most`, `run_out`): this ends.
        loop {
            let next = match last.get() >= max {
                true => 1,
                false => last.get() + 1,
            };
            last.set(next);
            match self {
                Self::Ours(_) if is_taken(next) => {}
                Self::Ours(_) | Self::None => return next,
                // Only pings are ours, and out of the way of a client that counts up.
                Self::Theirs => return max - next,
            }
        }
    }
}

/// How many calls may be in flight on a connection where `limit` may: no more than half of the ids.
pub(super) fn most(sharing: Sharing, limit: u32) -> u32 {
    match sharing {
        Sharing::OneAtATime => 1,
        Sharing::Multiplexed { bits } => {
            let half = u32::try_from(largest(bits) / 2).unwrap_or(u32::MAX);
            limit.min(half).max(1)
        }
        Sharing::Bound => limit,
    }
}

fn largest(bits: u8) -> u64 {
    (1 << bits.clamp(1, 63)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(bits: u8, last: u64, taken: &[u64], count: usize) -> Vec<u64> {
        let ids = Ids::of(Sharing::Multiplexed { bits }, false);
        let last = Cell::new(last);
        (0..count)
            .map(|_| ids.next(&last, |id| taken.contains(&id)))
            .collect()
    }

    #[test]
    fn ids_begin_again_behind_the_largest_and_are_never_zero_or_negative() {
        assert_eq!(ids(31, 0, &[], 3), [1, 2, 3]);
        let max = (1 << 31) - 1;
        assert_eq!(ids(31, max - 2, &[], 4), [max - 1, max, 1, 2]);
        let max = (1 << 63) - 1;
        assert_eq!(ids(63, max - 1, &[], 2), [max, 1]);
        assert_eq!(ids(1, 0, &[], 2), [1, 1]);
    }

    #[test]
    fn ids_of_calls_in_flight_are_passed_over() {
        assert_eq!(ids(31, (1 << 31) - 2, &[(1 << 31) - 1, 1, 2], 2), [3, 4]);
        assert_eq!(ids(3, 6, &[7, 1, 3], 3), [2, 4, 5]);
    }

    #[test]
    fn where_ids_are_few_so_are_calls() {
        let most = |bits| most(Sharing::Multiplexed { bits }, 4096);
        assert_eq!([1, 2, 8, 16, 63].map(most), [1, 1, 127, 4096, 4096]);
        assert_eq!(super::most(Sharing::OneAtATime, 4096), 1);
        let of = |bits| Ids::of(Sharing::Multiplexed { bits }, false);
        assert_eq!(
            [16, 24, 31].map(|bits| of(bits).are_few()),
            [true, true, false]
        );
        assert_eq!(
            [0, 63, 64].map(|count| of(8).run_out(count)),
            [false, false, true]
        );
        assert!(of(1).run_out(1));
        assert!(!Ids::None.run_out(100));
    }
}
