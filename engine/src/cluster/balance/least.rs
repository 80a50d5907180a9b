//! The power of choices: of some hosts drawn by weight, the one with the least to do (Mitzenmacher 2001: two choices are
//! almost as even as looking at all, at the price of two looks). What is least is requests in flight, connections, or the
//! time that answers take. Each core knows its own part of that, which is the same for all where clients are spread evenly.

use std::rc::Rc;
use std::time::Duration;

use ringway_config::Choices;

use super::{Ask, HostSet, Weights};
use crate::cluster::Host;
use crate::time::now_millis;

#[derive(Debug)]
pub(super) enum Least {
    Requests(Choices),
    Connections(Choices),
    /// The moving average of answers' times, times what is in flight (peak EWMA, as Finagle has it).
    Time(Choices, Duration),
}

impl Least {
    pub(super) fn pick(
        &self,
        set: &HostSet,
        weights: &Weights,
        hosts: &[Option<Rc<Host>>],
        ask: &Ask<'_>,
    ) -> Option<usize> {
        let (Self::Requests(choices) | Self::Connections(choices) | Self::Time(choices, _)) = self;
        if set.len() <= choices.full_scan as usize {
            return self.of_all(set, weights, hosts, ask);
        }
        let mut best = weights.draw(set, ask)?;
        let mut load = self.load(set, best, hosts);
        for _ in 1..choices.picked {
            let other = weights.draw(set, ask)?;
            if other == best {
                continue;
            }
            let its = self.load(set, other, hosts);
            if its < load {
                (best, load) = (other, its);
            }
        }
        Some(best)
    }

    /// The host with the least load for its weight; of equals, as all are that have nothing to do, one by weight. Were the
    /// heaviest taken of those, a light host would be asked only while all others are busy.
    fn of_all(
        &self,
        set: &HostSet,
        weights: &Weights,
        hosts: &[Option<Rc<Host>>],
        ask: &Ask<'_>,
    ) -> Option<usize> {
        let mut best = None;
        let mut least = f64::INFINITY;
        let mut equals = 0;
        for at in (0..set.len()).filter(|at| set.takes(*at, ask)) {
            let weight = weights.of(at);
            let load = self.load(set, at, hosts) / weight as f64;
            if load > least {
                continue;
            }
            // Each of the equals so far has had its weight's part of this chance (reservoir sampling).
            equals = if load < least {
                weight
            } else {
                equals + weight
            };
            if ask.rng.below(equals) < weight {
                best = Some(at);
            }
            least = load;
        }
        best.or_else(|| set.free_from(ask.rng.below(set.len() as u64) as usize, ask))
    }

    fn load(&self, set: &HostSet, at: usize, hosts: &[Option<Rc<Host>>]) -> f64 {
        let host = set.slot(at).and_then(|slot| hosts.get(slot)?.as_ref());
        // A host that this core never asked has nothing to do for it.
        let Some(host) = host else { return 0.0 };
        match self {
            Self::Requests(_) => f64::from(host.active()),
            Self::Connections(_) => host.stats.cx_active.value() as f64,
            Self::Time(_, decay) => {
                let cost = cost_now(host.latency(), *decay, now_millis());
                let active = f64::from(host.active());
                if cost == 0.0 && active > 0.0 {
                    // Asked, and never answered yet: worse than any that did.
                    return UNKNOWN + active;
                }
                cost * (active + 1.0)
            }
        }
    }
}

/// Microseconds that no average reaches.
const UNKNOWN: f64 = 1e12;

/// A moving average in microseconds and when it was made: it fades towards nothing, so that a host once slow is asked again.
pub(in crate::cluster) fn cost_now((micros, at): (f64, u64), decay: Duration, now: u64) -> f64 {
    let age = now.saturating_sub(at) as f64;
    let span = decay.as_millis().max(1) as f64;
    micros * (-age / span).exp()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{live, set, shares, specs};
    use super::*;
    use crate::cluster::host::Active;
    use ringway_config::Balance;

    fn busy(hosts: &[Option<Rc<Host>>], at: usize, requests: usize) -> Vec<Active> {
        let host = hosts[at].as_ref().unwrap();
        (0..requests)
            .map(|_| Active::new(host, (None, None)))
            .collect()
    }

    #[test]
    fn a_busy_host_is_picked_only_against_itself() {
        let specs = specs(&[1; 4]);
        let (set, hosts) = (
            set(Balance::LeastRequest(Choices::default()), &specs),
            live(&specs),
        );
        let _busy = busy(&hosts, 2, 5);
        let shares = shares(&set, &hosts, 16_000, &[]);
        // Both draws must fall on it: 1 in 16.
        assert!(shares[2].abs_diff(1000) < 200, "{shares:?}");
    }

    #[test]
    fn idle_hosts_share_by_weight() {
        let specs = specs(&[1, 3]);
        let set = set(Balance::LeastRequest(Choices::default()), &specs);
        let shares = shares(&set, &live(&specs), 40_000, &[]);
        assert!(shares[1].abs_diff(30_000) < 600, "{shares:?}");
    }

    #[test]
    fn a_full_scan_never_picks_the_busy_one_and_weighs_the_load() {
        let choices = Choices {
            picked: 2,
            full_scan: 8,
        };
        let specs = specs(&[1, 1, 4]);
        let (set, hosts) = (set(Balance::LeastRequest(choices), &specs), live(&specs));
        let _one = busy(&hosts, 0, 1);
        let _two = busy(&hosts, 1, 1);
        let _four = busy(&hosts, 2, 3);
        assert_eq!(shares(&set, &hosts, 100, &[]), [0, 0, 100]);
        let _more = busy(&hosts, 2, 6);
        assert_eq!(shares(&set, &hosts, 100, &[])[2], 0);
    }

    #[test]
    fn a_full_scan_shares_by_weight_whether_hosts_are_idle_or_busy() {
        let choices = Choices {
            picked: 2,
            full_scan: 8,
        };
        let specs = specs(&[1, 3, 6]);
        for balance in [
            Balance::LeastRequest(choices),
            Balance::LeastConnection(choices),
            Balance::PeakEwma {
                choices,
                decay: Duration::from_secs(10),
            },
        ] {
            // One after the other: each is alone when it is picked.
            let shares = shares(&set(balance, &specs), &live(&specs), 10_000, &[]);
            for (share, expect) in shares.iter().zip([1_000, 3_000, 6_000]) {
                assert!(share.abs_diff(expect) < 200, "{balance:?} {shares:?}");
            }
        }
        let (set, hosts) = (set(Balance::LeastRequest(choices), &specs), live(&specs));
        // A hundred at once, each of which stays.
        let (rng, cursor) = (crate::rng::Rng::new(7), Default::default());
        let mut active = Vec::new();
        for _ in 0..100 {
            let at = set.pick(&hosts, &cursor, &Ask::new(&rng)).unwrap();
            active.extend(busy(&hosts, at, 1));
        }
        let shares: Vec<u32> = hosts.iter().flatten().map(|host| host.active()).collect();
        for (share, expect) in shares.iter().zip([10, 30, 60]) {
            assert!(share.abs_diff(expect) <= 1, "{shares:?}");
        }
    }

    #[test]
    fn the_slow_host_is_asked_less_until_its_peak_has_faded() {
        let decay = Duration::from_secs(10);
        let balance = Balance::PeakEwma {
            choices: Choices::default(),
            decay,
        };
        let specs = specs(&[1; 2]);
        let (set, hosts) = (set(balance, &specs), live(&specs));
        let (slow, fast) = (hosts[0].as_ref().unwrap(), hosts[1].as_ref().unwrap());
        slow.observe(Duration::from_millis(200), decay);
        fast.observe(Duration::from_millis(2), decay);
        let shares = shares(&set, &hosts, 4_000, &[]);
        assert!(
            shares[0].abs_diff(1000) < 150,
            "only against itself: {shares:?}"
        );
        let (micros, at) = slow.latency();
        assert!((micros - 200_000.0).abs() < 1.0);
        assert!(cost_now((micros, at), decay, at + 100_000) < 100.0);
        // A quicker answer lowers the average little by little, a slower one raises it at once.
        slow.observe(Duration::from_millis(10), decay);
        assert!(slow.latency().0 > 100_000.0);
        slow.observe(Duration::from_millis(900), decay);
        assert!((slow.latency().0 - 900_000.0).abs() < 1.0);
    }
}
