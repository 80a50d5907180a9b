//! A ring of hashes on which each host has many places (ketama): a request goes to the first place at or after its own hash.
//! When a host goes, only its requests go elsewhere. The ring is the one that Envoy makes of the same hosts, place by place.

use ringway_config::HashFunction;

use super::{Ask, HostSet, Last, Members, Plan};
use crate::cluster::hash::{STD_HASH_SEED, murmur2, xxh64};

#[derive(Debug)]
pub(super) struct Ring {
    /// Hashes in order, each with the slot of its host.
    points: Box<[(u64, u32)]>,
    /// How many places each host of the set has.
    places: Box<[u32]>,
    function: HashFunction,
}

/// With more hosts than one in so many that have other places than before, the ring is made from the beginning.
const FEW: usize = 8;

impl Ring {
    pub(super) fn new(
        members: &Members<'_>,
        sizes: (u32, u32),
        function: HashFunction,
        last: Last<'_>,
    ) -> Self {
        let places = places(&members.weights, sizes);
        let step = last.and_then(|last| next(members, &places, function, last));
        let points = step.unwrap_or_else(|| {
            let all = members.slots.iter().zip(&places);
            points(members, function, all)
        });
        Self {
            points: points.into_boxed_slice(),
            places: places.into_boxed_slice(),
            function,
        }
    }

    pub(super) fn pick(&self, set: &HostSet, ask: &Ask<'_>) -> Option<usize> {
        let hash = ask.hash.unwrap_or_else(|| ask.rng.next());
        let start = self.points.partition_point(|(point, _)| *point < hash);
        let (before, after) = self.points.split_at(start);
        let mut onwards = after.iter().chain(before).map(|(_, slot)| *slot as usize);
        let found = onwards.find(|slot| !ask.tried.contains(slot));
        // A host so light that it has no place on a ring at its largest.
        found.or_else(|| set.first_free(ask))
    }
}

/// How many places each host has.
fn places(weights: &[u32], (min_size, max_size): (u32, u32)) -> Vec<u32> {
    let total: f64 = weights.iter().copied().map(f64::from).sum();
    let parts = || weights.iter().map(|weight| f64::from(*weight) / total);
    let least = parts().fold(1.0, f64::min);
    // As many points as make the lightest host's share a whole number of them.
    let scale = ((least * f64::from(min_size)).ceil() / least).min(f64::from(max_size));
    let (mut made, mut target) = (0.0, 0.0);
    let of = |part: f64| {
        target += scale * part;
        let mut places = 0;
        while made < target {
            places += 1;
            made += 1.0;
        }
        places
    };
    parts().map(of).collect()
}

/// The places of these hosts, in order.
fn points<'p>(
    members: &Members<'_>,
    function: HashFunction,
    hosts: impl Iterator<Item = (&'p u32, &'p u32)>,
) -> Vec<(u64, u32)> {
    let (mut points, mut key) = (Vec::new(), String::new());
    for (slot, places) in hosts {
        key.clear();
        key.push_str((members.label)(*slot));
        key.push('_');
        let length = key.len();
        for replica in 0..*places {
            key.truncate(length);
            key.push_str(itoa::Buffer::new().format(replica));
            let hash = match function {
                HashFunction::XxHash => xxh64(key.as_bytes(), 0),
                HashFunction::Murmur2 => murmur2(key.as_bytes(), STD_HASH_SEED),
            };
            points.push((hash, *slot));
        }
    }
    points.sort_unstable();
    points
}

/// The ring of before, with other places for the few hosts that have others; none: they are not few.
fn next(
    members: &Members<'_>,
    places: &[u32],
    function: HashFunction,
    (set, changed): (&HostSet, &[u32]),
) -> Option<Vec<(u64, u32)>> {
    let Plan::Ring(before) = &set.plan else {
        return None;
    };
    if before.function != function {
        return None;
    }
    let mut stays = vec![false; members.slots.last().map_or(0, |last| *last as usize + 1)];
    let mut old = set.slots.iter().zip(&before.places).peekable();
    let mut others = Vec::new();
    for (slot, count) in members.slots.iter().zip(places) {
        while old.next_if(|(before, _)| *before < slot).is_some() {}
        let same = old.next_if(|(before, had)| *before == slot && *had == count);
        if same.is_some()
            && changed.binary_search(slot).is_err()
            && let Some(stays) = stays.get_mut(*slot as usize)
        {
            *stays = true;
        } else {
            others.push((slot, count));
        }
    }
    if others.len() > members.slots.len() / FEW {
        return None;
    }
    let new = points(members, function, others.into_iter());
    let kept = before.points.iter().copied();
    let kept = kept.filter(|(_, slot)| stays.get(*slot as usize) == Some(&true));
    let mut merged = Vec::with_capacity(before.points.len() + new.len());
    let mut new = new.into_iter().peekable();
    for point in kept {
        while let Some(point) = new.next_if(|new| *new < point) {
            merged.push(point);
        }
        merged.push(point);
    }
    merged.extend(new);
    Some(merged)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{live, next_set, set, specs, with};
    use super::*;
    use crate::rng::Rng;
    use ringway_config::Balance;

    fn ring(weights: &[u32], size: u32, function: HashFunction) -> Vec<(u64, u32)> {
        let ring = with(&specs(weights), |members| {
            Ring::new(&members, (size, 8 << 20), function, None)
        });
        ring.points.into_vec()
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

    #[test]
    fn a_ring_made_from_another_is_the_one_made_from_nothing() {
        let balance = Balance::RingHash {
            min_size: 64,
            max_size: 8 << 20,
            function: HashFunction::XxHash,
        };
        let all = specs(&[1; 60]);
        let some = |without: u32| -> Vec<_> {
            let hosts = all.iter().filter(|host| host.slot != without);
            hosts.cloned().collect()
        };
        let parts = |set: &HostSet| {
            let Plan::Ring(ring) = &set.plan else {
                panic!("a ring");
            };
            (ring.points.clone(), ring.places.clone())
        };
        for (from, to, changed) in [(99, 4, 4), (4, 99, 4), (0, 59, 0), (99, 99, 3)] {
            let before = set(balance, &some(from));
            let next = next_set(balance, &some(to), Some((&before, &[changed])));
            assert_eq!(parts(&next), parts(&set(balance, &some(to))));
        }
    }
}
