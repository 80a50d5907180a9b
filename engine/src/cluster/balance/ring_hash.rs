//! A ring of hashes on which each host has many places (ketama): a request goes to the first place at or after its own hash.
//! When a host goes, only its requests go elsewhere. The ring is the one that Envoy makes of the same hosts, place by place.

use std::sync::Arc;

use ringway_config::HashFunction;

use super::{Ask, HostSet};
use crate::cluster::HostSpec;
use crate::cluster::hash::{STD_HASH_SEED, murmur2, xxh64};

#[derive(Debug)]
pub(super) struct Ring {
    /// Hashes in order, each with the place of its host in the set.
    points: Box<[(u64, u32)]>,
}

impl Ring {
    pub(super) fn new(
        hosts: &[&Arc<HostSpec>],
        (min_size, max_size): (u32, u32),
        function: HashFunction,
    ) -> Self {
        let total: f64 = hosts
            .iter()
            .map(|host| f64::from(host.endpoint.weight))
            .sum();
        let weights: Vec<f64> = hosts
            .iter()
            .map(|host| f64::from(host.endpoint.weight) / total)
            .collect();
        let least = weights.iter().copied().fold(1.0, f64::min);
        // As many points as make the lightest host's share a whole number of them.
        let scale = ((least * f64::from(min_size)).ceil() / least).min(f64::from(max_size));
        let mut points = Vec::with_capacity(scale.ceil() as usize);
        let (mut made, mut target) = (0.0, 0.0);
        let mut key = String::new();
        for (at, (host, weight)) in (0..).zip(hosts.iter().zip(&weights)) {
            target += scale * weight;
            let mut replica = 0_u32;
            while made < target {
                key.clear();
                key.push_str(host.label.as_str());
                key.push('_');
                key.push_str(itoa::Buffer::new().format(replica));
                let hash = match function {
                    HashFunction::XxHash => xxh64(key.as_bytes(), 0),
                    HashFunction::Murmur2 => murmur2(key.as_bytes(), STD_HASH_SEED),
                };
                points.push((hash, at));
                replica += 1;
                made += 1.0;
            }
        }
        points.sort_unstable();
        Self {
            points: points.into_boxed_slice(),
        }
    }

    pub(super) fn pick(&self, set: &HostSet, ask: &Ask<'_>) -> Option<usize> {
        let hash = ask.hash.unwrap_or_else(|| ask.rng.next());
        let start = self.points.partition_point(|(point, _)| *point < hash);
        let (before, after) = self.points.split_at(start);
        let onwards = after.iter().chain(before).map(|(_, at)| *at as usize);
        let found = onwards.into_iter().find(|at| set.is_free(*at, ask));
        // A host so light that it has no place on a ring at its largest.
        found.or_else(|| set.free_from(0, ask))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{live, set, specs};
    use super::*;
    use crate::rng::Rng;
    use ringway_config::Balance;

    fn ring(weights: &[u32], size: u32, function: HashFunction) -> Vec<(u64, u32)> {
        let specs = specs(weights);
        let hosts: Vec<_> = specs.iter().collect();
        Ring::new(&hosts, (size, 8 << 20), function)
            .points
            .into_vec()
    }

    #[test]
    fn the_ring_of_six_hosts_is_envoys() {
        // The positions that Envoy's own test prints for 127.0.0.1:90 to :95 on a ring of 12.
        let expect = [
            (833_437_586_790_550_860, 4),
            (928_266_305_478_181_108, 2),
            (1_033_482_794_131_418_490, 0),
            (3_551_244_743_356_806_947, 5),
            (3_851_675_632_748_031_481, 3),
            (5_583_722_120_771_150_861, 1),
            (6_311_230_543_546_372_928, 1),
            (7_700_377_290_971_790_572, 3),
            (13_144_177_310_400_110_813, 5),
            (13_444_792_449_719_432_967, 2),
            (15_516_499_411_664_133_160, 4),
            (16_117_243_373_044_804_889, 0),
        ];
        assert_eq!(ring(&[1; 6], 12, HashFunction::XxHash), expect);
    }

    #[test]
    fn keys_go_to_the_first_place_at_or_after_them() {
        let specs = specs(&[1; 6]);
        let balance = Balance::RingHash {
            min_size: 12,
            max_size: 12,
            function: HashFunction::XxHash,
        };
        let (set, hosts) = (set(balance, &specs), live(&specs));
        let rng = Rng::new(0);
        for (hash, expect) in [
            (0, 4),
            (u64::MAX, 4),
            (3_551_244_743_356_806_947, 5),
            (3_551_244_743_356_806_948, 3),
        ] {
            let ask = Ask {
                hash: Some(hash),
                ..Ask::new(&rng)
            };
            assert_eq!(
                set.pick(&hosts, &Default::default(), &ask),
                Some(expect),
                "{hash}"
            );
        }
    }

    #[test]
    fn points_follow_weights() {
        let points = ring(&[1, 2, 5], 1000, HashFunction::Murmur2);
        let of = |at| points.iter().filter(|(_, host)| *host == at).count();
        assert_eq!((of(0), of(1), of(2)), (125, 250, 625));
    }

    #[test]
    fn a_host_that_goes_moves_its_own_keys_only() {
        let all = specs(&[1; 10]);
        // A hundred places for each host, in both rings.
        let balance = |min_size| Balance::RingHash {
            min_size,
            max_size: 8 << 20,
            function: HashFunction::XxHash,
        };
        let without: Vec<_> = all.iter().filter(|host| host.slot != 3).cloned().collect();
        let (before, after, hosts) = (
            set(balance(1000), &all),
            set(balance(900), &without),
            live(&all),
        );
        let rng = Rng::new(9);
        for _ in 0..5_000 {
            let ask = Ask {
                hash: Some(rng.next()),
                ..Ask::new(&rng)
            };
            let old = before.pick(&hosts, &Default::default(), &ask);
            let new = after.pick(&hosts, &Default::default(), &ask);
            assert!(old == new || old == Some(3), "{old:?} {new:?}");
        }
    }
}
