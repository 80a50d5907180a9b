//! Maglev hashing (Eisenbud and others, 2016): a table that hosts fill in turn, each in an order of its own, so that a request's
//! hash finds its host in one look, shares are even to a place or two, and few requests move when a host goes. The table is
//! the one that Envoy makes of the same hosts.

use super::{Ask, HostSet, Last, Members, Plan};
use crate::cluster::hash::xxh64;

#[derive(Debug)]
pub(super) struct Maglev {
    /// The slot of a host for each remainder.
    table: Box<[u32]>,
    /// Where each host of the set begins, and by how much it goes on: they are its own for as long as it is called as it is.
    steps: Box<[(u32, u32)]>,
}

const EMPTY: u32 = u32::MAX;

impl Maglev {
    pub(super) fn new(members: &Members<'_>, size: u32, last: Last<'_>) -> Self {
        if members.slots.is_empty() {
            return Self {
                table: Box::default(),
                steps: Box::default(),
            };
        }
        let steps = steps(members, size, last);
        Self {
            table: filled(members, &steps, size),
            steps,
        }
    }

    pub(super) fn pick(&self, set: &HostSet, ask: &Ask<'_>) -> Option<usize> {
        let hash = ask.hash.unwrap_or_else(|| ask.rng.next());
        let start = usize::try_from(hash.checked_rem(self.table.len() as u64)?).ok()?;
        let (before, after) = self.table.split_at(start);
        let mut onwards = after.iter().chain(before).map(|slot| *slot as usize);
        let found = onwards.find(|slot| !ask.tried.contains(slot));
        // More hosts than places.
        found.or_else(|| set.first_free(ask))
    }
}

/// Where each host begins, and by how much it goes on: hashed, where that is not known from before.
fn steps(members: &Members<'_>, size: u32, last: Last<'_>) -> Box<[(u32, u32)]> {
    let prime = u64::from(size);
    let known = last.and_then(|(set, changed)| {
        let Plan::Maglev(before) = &set.plan else {
            return None;
        };
        // With another size they are others.
        let same = before.table.len() == size as usize;
        same.then_some((&*set.slots, &*before.steps, changed))
    });
    let (slots, before, changed) = known.unwrap_or((&[], &[], &[]));
    let mut old = slots.iter().zip(before).peekable();
    let step = |slot: &u32| {
        while old.next_if(|(before, _)| *before < slot).is_some() {}
        let known = old.next_if(|(before, _)| *before == slot);
        if let Some((_, step)) = known
            && changed.binary_search(slot).is_err()
        {
            return *step;
        }
        let key = (members.label)(*slot).as_bytes();
        let skip = xxh64(key, 1) % (prime - 1) + 1;
        ((xxh64(key, 0) % prime) as u32, skip as u32)
    };
    members.slots.iter().map(step).collect()
}

/// The table, by turns.
fn filled(members: &Members<'_>, steps: &[(u32, u32)], size: u32) -> Box<[u32]> {
    let mut free = Free::of(size);
    let mut table = vec![EMPTY; size as usize];
    // In the first round each takes a place: where hosts are more than places, the rest never comes to its turn.
    let hosts = members.slots.iter().zip(steps).take(table.len());
    let mut hosts: Vec<(u32, Walk)> = hosts.map(|(slot, step)| (*slot, step.into())).collect();
    let mut turns = Turns::of(&members.weights);
    while free.left > 0 {
        for (at, (slot, walk)) in hosts.iter_mut().enumerate() {
            if free.left == 0 {
                break;
            }
            if turns.takes(at)
                && let Some(place) = table.get_mut(free.take(walk) as usize)
            {
                *place = *slot;
            }
        }
        turns.round += 1.0;
    }
    table.into_boxed_slice()
}

/// A host's way through the table. Its size is a prime, so a host's steps reach every place before they repeat one.
struct Walk {
    place: u32,
    skip: u32,
}

impl From<&(u32, u32)> for Walk {
    fn from((place, skip): &(u32, u32)) -> Self {
        Self {
            place: *place,
            skip: *skip,
        }
    }
}

/// The places that nobody has yet, a bit each: those of 65,537 stay in a core's nearest cache. To find one takes the size over
/// the number that are left, on average: half of all the work would be for the last 128.
struct Free {
    taken: Box<[u64]>,
    /// Those that are left, once they are few.
    last: Vec<u32>,
    size: u32,
    left: u32,
}

/// So few that looking at each costs less than walking on.
const LAST: u32 = 128;

impl Free {
    fn of(size: u32) -> Self {
        Self {
            taken: vec![0; size as usize / 64 + 1].into_boxed_slice(),
            last: Vec::new(),
            size,
            left: size,
        }
    }

    /// The next free place of a host; there must be one.
    fn take(&mut self, walk: &mut Walk) -> u32 {
        let here = match self.left > LAST {
            true => self.walk(walk),
            false => self.leap(walk),
        };
        self.left -= 1;
        walk.place = self.after(here, walk.skip);
        here
    }

    fn after(&self, place: u32, skip: u32) -> u32 {
        // Less than twice the size, which is at most 5,000,011.
        let next = place + skip;
        if next >= self.size {
            next - self.size
        } else {
            next
        }
    }

    fn walk(&mut self, walk: &Walk) -> u32 {
        let mut here = walk.place;
        loop {
            let bit = 1 << (here % 64);
            if let Some(word) = self.taken.get_mut(here as usize / 64)
                && *word & bit == 0
            {
                *word |= bit;
                return here;
            }
            here = self.after(here, walk.skip);
        }
    }

    /// The same without the steps between: a place is `(place - here) / skip` of them away, modulo the size, which is a prime.
    fn leap(&mut self, walk: &Walk) -> u32 {
        if self.last.is_empty() {
            let word = |place: u32| self.taken.get(place as usize / 64);
            let is_free =
                |place: &u32| word(*place).is_some_and(|word| word >> (place % 64) & 1 == 0);
            self.last = (0..self.size).filter(is_free).collect();
        }
        let (size, inverse) = (u64::from(self.size), inverse(walk.skip, self.size));
        let steps = |place: u32| {
            let way = (u64::from(place) + size - u64::from(walk.place)) % size;
            way * inverse % size
        };
        let nearest = self
            .last
            .iter()
            .enumerate()
            .min_by_key(|(_, place)| steps(**place));
        match nearest.map(|(at, _)| at) {
            Some(at) => self.last.swap_remove(at),
            None => walk.place,
        }
    }
}

/// What times `number` is 1, modulo a prime (Euclid).
fn inverse(number: u32, prime: u32) -> u64 {
    let (mut a, mut b) = (i64::from(prime), i64::from(number));
    let (mut of_a, mut of_b) = (0, 1);
    while b != 0 {
        let times = a / b;
        (a, b) = (b, a - times * b);
        (of_a, of_b) = (of_b, of_a - times * of_b);
    }
    of_a.rem_euclid(i64::from(prime)) as u64
}

/// Whose turn it is: the heaviest's in each round, others' when their weight has added up to that.
struct Turns {
    round: f64,
    heaviest: f64,
    /// A host's part of all weights, and what it must have added up to before its next turn; none where all weigh the same.
    hosts: Box<[(f64, f64)]>,
}

impl Turns {
    fn of(weights: &[u32]) -> Self {
        let even = weights.windows(2).all(|pair| pair.first() == pair.last());
        let weights = if even { &[] } else { weights };
        let total: f64 = weights.iter().copied().map(f64::from).sum();
        let hosts = weights
            .iter()
            .map(|weight| (f64::from(*weight) / total, 0.0));
        let hosts: Box<[(f64, f64)]> = hosts.collect();
        Self {
            round: 1.0,
            heaviest: hosts.iter().map(|(part, _)| *part).fold(0.0, f64::max),
            hosts,
        }
    }

    fn takes(&mut self, at: usize) -> bool {
        let Some((part, target)) = self.hosts.get_mut(at) else {
            return true;
        };
        let takes = self.round * *part >= *target;
        if takes {
            *target += self.heaviest;
        }
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{live, next_set, set, specs, with};
    use super::*;
    use crate::rng::Rng;
    use ringway_config::Balance;

    fn table(weights: &[u32], size: u32) -> Vec<u32> {
        let maglev = with(&specs(weights), |members| Maglev::new(&members, size, None));
        maglev.table.into_vec()
    }

    #[test]
    fn the_table_of_six_hosts_is_envoys() {
        // What Envoy's own test prints for 127.0.0.1:90 to :95 in a table of 7.
        assert_eq!(table(&[1; 6], 7), [2, 4, 0, 1, 5, 0, 3]);
    }

    #[test]
    fn the_last_places_are_those_that_walking_finds() {
        for seed in 0..40 {
            let rng = Rng::new(seed);
            let size = [2, 61, 251, 1_009][seed as usize % 4];
            let weights: Vec<u32> = (0..1 + rng.below(30))
                .map(|_| 1 + rng.below(3) as u32)
                .collect();
            let specs = specs(&weights);
            let expect = with(&specs, |members| {
                let mut walks: Vec<Walk> =
                    steps(&members, size, None).iter().map(Walk::from).collect();
                let mut turns = Turns::of(&weights);
                let mut table = vec![EMPTY; size as usize];
                while table.contains(&EMPTY) {
                    for (at, walk) in walks.iter_mut().enumerate() {
                        if !table.contains(&EMPTY) || !turns.takes(at) {
                            continue;
                        }
                        while table[walk.place as usize] != EMPTY {
                            walk.place = (walk.place + walk.skip) % size;
                        }
                        table[walk.place as usize] = members.slots[at];
                    }
                    turns.round += 1.0;
                }
                table
            });
            assert_eq!(table(&weights, size), expect, "{seed}");
        }
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

    #[test]
    fn a_table_made_from_another_is_the_one_made_from_nothing() {
        let balance = Balance::Maglev { table_size: 1_009 };
        let all = specs(&[3, 1, 2, 1, 1, 7, 1, 1, 2]);
        let some = |without: u32| -> Vec<_> {
            let hosts = all.iter().filter(|host| host.slot != without);
            hosts.cloned().collect()
        };
        let tables = |set: &HostSet| {
            let Plan::Maglev(maglev) = &set.plan else {
                panic!("a table");
            };
            (maglev.table.clone(), maglev.steps.clone())
        };
        for (from, to, changed) in [(9, 4, 4), (4, 9, 4), (0, 8, 0), (9, 9, 3)] {
            let before = set(balance, &some(from));
            let next = next_set(balance, &some(to), Some((&before, &[changed])));
            assert_eq!(tables(&next), tables(&set(balance, &some(to))));
        }
    }
}
