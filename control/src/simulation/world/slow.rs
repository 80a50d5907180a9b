//! A host that is back takes a little at first and more with time, up to its share.

use std::time::Duration;

use ringway_config::{Balance, Localities};
use ringway_engine::{Mark, News};

use super::super::oracle::Wish;
use super::super::{Wrong, must};
use super::World;

/// Requests at each moment that is looked at.
const PICKS: u64 = 200;

impl World {
    /// One goes and comes back, and what it is asked is counted at its beginning, on its way and at its end.
    pub(super) fn who_is_back_begins_slowly(&mut self, core: usize) -> Result<(), Wrong> {
        let Some(slow) = self.config.slow_start.clone() else {
            return Ok(());
        };
        let known = self.cores[core].told.first(Wish::default());
        // Where shares are plain to say.
        let plain = matches!(self.config.balance, Balance::RoundRobin | Balance::Random)
            && self.config.placement.localities == Localities::Ignored;
        let all = self.rehearsal.spec().hosts.len();
        if !plain || known.len() < 2 || known.len() != all {
            return Ok(());
        }
        let back = known[self.rng.below(known.len() as u64) as usize];
        let host = self.watch.host(back.id).ok_or("it is not watched")?;
        // After everybody else's own beginning.
        let mut now = self.now + slow.window;
        for out in [true, false] {
            now += Duration::from_millis(10);
            self.rehearsal.at(now);
            host.state.mark(Mark::Ejected, out);
            let news: News = self.rehearsal.derive(&[host.slot]);
            self.rehearsal.hear(core, &news);
        }
        let sum: u32 = known.iter().map(|host| host.weight).sum();
        let (own, others) = (f64::from(back.weight), f64::from(sum - back.weight));
        let least = f64::from(slow.min_weight.basis_points()) / 10_000.0;
        let mut before = 0;
        for step in 0..=3_u32 {
            self.rehearsal.at(now + slow.window * step / 3);
            let mut taken = 0;
            for _ in 0..PICKS {
                let asked = self.ask_once(core)?.ok_or("nobody is asked")?;
                taken += u64::from(asked.id == back.id);
            }
            let part = own * (f64::from(step) / 3.0).max(least);
            let share = part / (part + others);
            let picks = PICKS as f64;
            let deviation = (picks * share * (1.0 - share)).sqrt();
            // A pick that was passed over eight times takes whoever is next: it may be the one.
            let off = (taken as f64 - picks * share).abs();
            let is_near = off <= 6.0 * deviation + 0.04 * picks;
            must!(
                is_near,
                "{taken} of {PICKS} went to {} at {step} thirds, due is {share}",
                host.label
            );
            let has_grown = taken as f64 + 6.0 * deviation >= before as f64;
            must!(has_grown, "{taken} after {before} at {step} thirds");
            before = taken;
        }
        self.sum.slow += 1;
        Ok(())
    }
}
