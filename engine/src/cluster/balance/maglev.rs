//! Maglev hashing (Eisenbud and others, 2016): a table that hosts fill in turn, each in an order of its own, so that a request's
//! hash finds its host in one look, shares are even to a place or two, and few requests move when a host goes. The table is
//! the one that Envoy makes of the same hosts.

use std::sync::Arc;

use super::{Ask, HostSet};
use crate::cluster::HostSpec;
use crate::cluster::hash::xxh64;

#[derive(Debug)]
pub(super) struct Maglev {
    /// The place of a host in the set for each remainder.
    table: Box<[u32]>,
}

/// A host that fills the table.
struct Filling {
    offset: u64,
    skip: u64,
    weight: f64,
    /// What its weight must have added up to before it takes its next place.
    target: f64,
    next: u64,
}

const EMPTY: u32 = u32::MAX;

impl Maglev {
    pub(super) fn new(hosts: &[&Arc<HostSpec>], size: u32) -> Self {
        if hosts.is_empty() {
            return Self {
                table: Box::default(),
            };
        }
        let prime = u64::from(size);
        let total: f64 = hosts
            .iter()
            .map(|host| f64::from(host.endpoint.weight))
            .sum();
        let mut filling: Vec<Filling> = hosts
            .iter()
            .map(|host| {
                let key = host.label.as_str().as_bytes();
                Filling {
                    offset: xxh64(key, 0) % prime,
                    skip: xxh64(key, 1) % (prime - 1) + 1,
                    weight: f64::from(host.endpoint.weight) / total,
                    target: 0.0,
                    next: 0,
                }
            })
            .collect();
        let heaviest = filling.iter().map(|host| host.weight).fold(0.0, f64::max);
        let mut table = vec![EMPTY; size as usize];
        let mut left = table.len();
        let mut round = 1.0;
        while left > 0 {
            for (at, host) in (0..).zip(&mut filling) {
                if left == 0 {
                    break;
                }
                if round * host.weight < host.target {
                    continue;
                }
                host.target += heaviest;
                loop {
                    let place = (host.offset + host.skip * host.next) % prime;
                    host.next += 1;
                    // The size is a prime, so its steps reach every place before they repeat one.
                    if let Some(place) = table.get_mut(place as usize)
                        && *place == EMPTY
                    {
                        *place = at;
                        left -= 1;
                        break;
                    }
                }
            }
            round += 1.0;
        }
        Self {
            table: table.into_boxed_slice(),
        }
    }

    pub(super) fn pick(&self, set: &HostSet, ask: &Ask<'_>) -> Option<usize> {
        let hash = ask.hash.unwrap_or_else(|| ask.rng.next());
        let start = usize::try_from(hash.checked_rem(self.table.len() as u64)?).ok()?;
        let (before, after) = self.table.split_at(start);
        let mut onwards = after.iter().chain(before).map(|at| *at as usize);
        let found = onwards.find(|at| set.is_free(*at, ask));
        // More hosts than places.
        found.or_else(|| set.free_from(0, ask))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{live, set, specs};
    use super::*;
    use crate::rng::Rng;
    use ringway_config::Balance;

    fn table(weights: &[u32], size: u32) -> Vec<u32> {
        let specs = specs(weights);
        Maglev::new(&specs.iter().collect::<Vec<_>>(), size)
            .table
            .into_vec()
    }

    #[test]
    fn the_table_of_six_hosts_is_envoys() {
        // What Envoy's own test prints for 127.0.0.1:90 to :95 in a table of 7.
        assert_eq!(table(&[1; 6], 7), [2, 4, 0, 1, 5, 0, 3]);
    }

    #[test]
    fn shares_are_even_and_follow_weights() {
        let count = |table: &[u32], at| table.iter().filter(|host| **host == at).count();
        let even = table(&[7; 10], 65_537);
        assert!((0..10).all(|at| count(&even, at).abs_diff(6553) <= 1));
        let weighted = table(&[1, 2], 17);
        assert_eq!((count(&weighted, 0), count(&weighted, 1)), (6, 11));
    }

    #[test]
    fn few_keys_move_when_a_host_goes() {
        let all = specs(&[1; 20]);
        let balance = Balance::Maglev { table_size: 65_537 };
        let without: Vec<_> = all.iter().filter(|host| host.slot != 3).cloned().collect();
        let (before, after, hosts) = (set(balance, &all), set(balance, &without), live(&all));
        let rng = Rng::new(9);
        let mut moved = 0;
        for _ in 0..10_000 {
            let ask = Ask {
                hash: Some(rng.next()),
                ..Ask::new(&rng)
            };
            let old = before.pick(&hosts, &Default::default(), &ask);
            moved += usize::from(old != after.pick(&hosts, &Default::default(), &ask));
        }
        // A twentieth must; the paper finds few more.
        assert!((400..900).contains(&moved), "{moved}");
    }
}
