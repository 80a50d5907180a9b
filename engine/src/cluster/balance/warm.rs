//! Slow start: a host that is new, or healthy again, takes only a part of the picks that fall on it, and more with time.

use ringway_config::SlowStart;

use crate::rng::Rng;
use crate::time::now_millis;

/// When each host of a set came, where one of them is still in its slow start.
#[derive(Debug)]
pub(super) struct Warm {
    since: Box<[u64]>,
    oldest: u64,
    /// When the last of them has its whole share.
    until: u64,
    window: u64,
    /// The least share, in ten thousandths.
    least: u64,
}

const WHOLE: u64 = 10_000;

impl Warm {
    pub(super) fn new(config: &SlowStart, since: Vec<u64>) -> Option<Self> {
        Self::of(config, since.into_boxed_slice(), now_millis())
    }

    fn of(config: &SlowStart, since: Box<[u64]>, now: u64) -> Option<Self> {
        let window = u64::try_from(config.window.as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let until = since.iter().max()?.saturating_add(window);
        let oldest = *since.iter().min()?;
        // Hosts that came together have equal parts, whatever they are.
        (now < until && oldest + window > oldest).then_some(Self {
            since,
            oldest,
            until,
            window,
            least: u64::from(config.min_weight.basis_points()).max(1),
        })
    }

    /// Whether the host at a place takes a pick that fell on it.
    pub(super) fn takes(&self, at: usize, rng: &Rng) -> bool {
        let now = now_millis();
        now >= self.until || rng.below(WHOLE) < self.part(at, now)
    }

    /// Its part, in ten thousandths of the part of the host that is here longest: where all are new, none is held back.
    fn part(&self, at: usize, now: u64) -> u64 {
        let of = |since: u64| {
            let grown = now.saturating_sub(since).saturating_mul(WHOLE) / self.window;
            grown.clamp(self.least, WHOLE)
        };
        let since = self.since.get(at).copied().unwrap_or(0);
        of(since) * WHOLE / of(self.oldest)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use ringway_config::Percent;

    fn warm(since: &[u64], now: u64) -> Option<Warm> {
        let config = SlowStart {
            window: Duration::from_secs(10),
            min_weight: Percent::new(10.0).unwrap(),
        };
        Warm::of(&config, since.into(), now)
    }

    #[test]
    fn a_new_host_grows_from_its_least_to_its_whole_share() {
        let warm = warm(&[0, 100_000], 100_000).unwrap();
        for (now, expect) in [
            (100_000, 1_000),
            (100_500, 1_000),
            (102_500, 2_500),
            (105_000, 5_000),
            (110_000, 10_000),
            (999_000, 10_000),
        ] {
            assert_eq!(warm.part(1, now), expect, "at {now}");
            assert_eq!(warm.part(0, now), WHOLE);
        }
    }

    #[test]
    fn hosts_that_came_together_are_not_held_back() {
        let warm = warm(&[5_000, 5_000, 5_000], 5_100).unwrap();
        assert!((0..3).all(|at| warm.part(at, 5_100) == WHOLE));
    }

    #[test]
    fn after_the_window_there_is_nothing_to_look_at() {
        assert!(warm(&[0, 1_000], 11_000).is_none());
        assert!(warm(&[], 0).is_none());
    }
}
