//! The hosts of a cluster, by slot, and the step from one version of them to the next.
//!
//! A change of one host among 100,000 should cost little more than finding it: what stands before and behind the change in
//! the order that was asked for is only compared, slots are shared by the chunk, and the step says which slots it has
//! emptied, so that a core need not look for them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ringway_config::{Endpoint, Name};
use socket2::SockAddr;

use super::spec::{HostSpec, HostState};
use crate::observe::Stats;

/// Slots are shared between versions by so many.
const CHUNK: usize = 512;
/// Changes of more hosts at once are found by maps of all.
const FEW: usize = 8;

/// Where a host is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// At an address.
    Ip(SocketAddr),
    /// At a Unix socket.
    Unix(PathBuf),
    /// At whichever of a name's addresses takes a connection first.
    Name(String, u16, Vec<SocketAddr>),
}

impl Location {
    /// How it is called.
    fn label(&self) -> String {
        match self {
            Self::Ip(address) => address.to_string(),
            Self::Unix(path) => path.display().to_string(),
            Self::Name(name, port, _) => format!("{name}:{port}"),
        }
    }

    /// Where to connect to, in the order of trying; none for a path that is too long, which no configuration has.
    pub fn addresses(&self) -> Vec<SockAddr> {
        match self {
            Self::Ip(address) => vec![(*address).into()],
            Self::Unix(path) => SockAddr::unix(path).into_iter().collect(),
            Self::Name(_, _, addresses) => {
                let addresses = addresses.iter().copied();
                addresses.map(SockAddr::from).collect()
            }
        }
    }
}

/// A host as it is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'w> {
    pub(crate) at: At<'w>,
    pub(crate) endpoint: &'w Endpoint,
}

/// A [`Location`], borrowed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum At<'w> {
    Ip(SocketAddr),
    Unix(&'w Path),
    Name(&'w str, u16, &'w [SocketAddr]),
}

/// What tells hosts of one cluster apart: of a name, not where it leads to.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key<'k> {
    Ip(SocketAddr),
    Unix(&'k Path),
    Name(&'k str, u16),
}

impl Key<'_> {
    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        Hash::hash(self, &mut hasher);
        hasher.finish()
    }
}

impl<'w> At<'w> {
    fn key(&self) -> Key<'w> {
        match *self {
            Self::Ip(address) => Key::Ip(address),
            Self::Unix(path) => Key::Unix(path),
            Self::Name(name, port, _) => Key::Name(name, port),
        }
    }

    fn to_location(self) -> Location {
        match self {
            Self::Ip(address) => Location::Ip(address),
            Self::Unix(path) => Location::Unix(path.to_owned()),
            Self::Name(name, port, addresses) => {
                Location::Name(name.to_owned(), port, addresses.to_vec())
            }
        }
    }
}

impl Location {
    fn key(&self) -> Key<'_> {
        match self {
            Self::Ip(address) => Key::Ip(*address),
            Self::Unix(path) => Key::Unix(path),
            Self::Name(name, port, _) => Key::Name(name, *port),
        }
    }

    fn is(&self, at: &At<'_>) -> bool {
        match (self, at) {
            (Self::Ip(own), At::Ip(other)) => own == other,
            (Self::Unix(own), At::Unix(other)) => own == other,
            (Self::Name(own, port, addresses), At::Name(name, other, found)) => {
                own == name && port == other && addresses == found
            }
            (Self::Ip(_) | Self::Unix(_) | Self::Name(..), _) => false,
        }
    }
}

impl HostSpec {
    fn is(&self, wanted: &Wanted<'_>) -> bool {
        self.location.is(&wanted.at) && self.endpoint == *wanted.endpoint
    }
}

/// What new hosts are made with.
#[derive(Clone, Copy)]
pub(crate) struct Maker<'m> {
    pub(crate) cluster: &'m Name,
    pub(crate) stats: &'m Stats,
    /// New ones count as unhealthy until a health check has said otherwise.
    pub(crate) checked: bool,
}

impl Maker<'_> {
    fn make(&self, slot: u32, location: Location, endpoint: Endpoint) -> Arc<HostSpec> {
        let label = Name::new(&location.label());
        Arc::new(HostSpec {
            id: next_id(),
            slot,
            revision: next_id(),
            location,
            endpoint,
            stats: self.stats.host(self.cluster, &label),
            state: Arc::new(HostState::new(self.checked)),
            label,
        })
    }
}

/// The same host with other words, or at other addresses of its name: it keeps all that is known of it.
fn renewed(old: &HostSpec, location: Location, endpoint: Endpoint) -> Arc<HostSpec> {
    Arc::new(HostSpec {
        id: old.id,
        slot: old.slot,
        revision: next_id(),
        location,
        label: old.label.clone(),
        endpoint,
        stats: Arc::clone(&old.stats),
        state: Arc::clone(&old.state),
    })
}

/// Hosts of neighbouring slots.
#[derive(Clone, Debug, Default)]
struct Chunk {
    hosts: Vec<Option<Arc<HostSpec>>>,
    /// A hash of each one's place, so that looking for a place looks at few hosts.
    hashes: Vec<u64>,
}

/// The hosts of a cluster, by slot.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    chunks: Vec<Arc<Chunk>>,
    count: usize,
    /// Slots without a host, the lowest last.
    free: Vec<u32>,
    /// The slots in the order in which their hosts were asked for; empty where one was asked for twice.
    order: Vec<u32>,
    version: u64,
    /// The version that it was made from, the slots whose hosts of then are gone, and all that have changed.
    from: u64,
    left: Vec<u32>,
    changed: Vec<u32>,
}

impl Hosts {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<HostSpec>> {
        let chunks = self.chunks.iter();
        chunks.flat_map(|chunk| chunk.hosts.iter()).flatten()
    }

    /// The host of a slot.
    pub fn get(&self, slot: u32) -> Option<&Arc<HostSpec>> {
        let slot = slot as usize;
        let chunk = self.chunks.get(slot / CHUNK)?;
        chunk.hosts.get(slot % CHUNK)?.as_ref()
    }

    fn set(&mut self, slot: u32, host: Option<Arc<HostSpec>>) {
        let slot = slot as usize;
        while self.chunks.len() <= slot / CHUNK {
            self.chunks.push(Arc::default());
        }
        if let Some(chunk) = self.chunks.get_mut(slot / CHUNK) {
            let chunk = Arc::make_mut(chunk);
            let at = slot % CHUNK;
            if chunk.hosts.len() <= at {
                chunk.hosts.resize(at + 1, None);
                chunk.hashes.resize(at + 1, 0);
            }
            if let (Some(place), Some(hash)) = (chunk.hosts.get_mut(at), chunk.hashes.get_mut(at)) {
                *hash = host.as_ref().map_or(0, |host| host.location.key().hash());
                *place = host;
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many slots there are, free ones too.
    pub(crate) fn slots(&self) -> usize {
        let full = self.chunks.len().saturating_sub(1) * CHUNK;
        self.chunks.last().map_or(0, |last| full + last.hosts.len())
    }

    /// Whether it is still here.
    pub fn has(&self, slot: u32, id: u64) -> bool {
        self.get(slot).is_some_and(|host| host.id == id)
    }

    /// Whether every host is the very same as in `other`.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.version == other.version
    }

    /// The slots whose hosts of `last` are gone; none: this was not made from it, and they must be looked for.
    pub(crate) fn left(&self, last: &Self) -> Option<&[u32]> {
        match self.version == last.version {
            true => Some(&[]),
            false => (self.from == last.version).then_some(&self.left),
        }
    }

    /// The slots that are not as in `last`; none: this was not made from it, and all must be looked at.
    pub fn changed(&self, last: &Self) -> Option<&[u32]> {
        match self.version == last.version {
            true => Some(&[]),
            false => (self.from == last.version).then_some(&self.changed),
        }
    }

    /// The next version's hosts: those that stay keep slot, state and numbers. One place is one host; written twice, its weights add up.
    pub(crate) fn next(&self, wanted: &[Wanted<'_>], maker: Maker<'_>) -> Self {
        let next = self.step((0, 0), wanted, maker);
        next.unwrap_or_else(|| self.rebuilt(wanted, maker))
    }

    /// The same, where so many that were wanted first and last are wanted again and these between; none: it takes more than a step.
    pub(crate) fn step(
        &self,
        (head, tail): (usize, usize),
        wanted: &[Wanted<'_>],
        maker: Maker<'_>,
    ) -> Option<Self> {
        // Each is one place.
        if self.order.len() != self.count || self.count == 0 {
            return None;
        }
        let old = self.order.get(head..self.count.checked_sub(tail)?)?;
        let is = |(slot, wanted): (&u32, &Wanted<'_>)| {
            self.get(*slot).is_some_and(|host| host.is(wanted))
        };
        let same = old.iter().zip(wanted).take_while(|pair| is(*pair)).count();
        let (old, new) = (old.get(same..)?, wanted.get(same..)?);
        let ends = old.iter().rev().zip(new.iter().rev());
        let ends = ends.take_while(|pair| is(*pair)).count();
        let old = old.get(..old.len() - ends)?;
        let new = new.get(..new.len() - ends)?;
        if old.is_empty() && new.is_empty() {
            return Some(self.clone());
        }
        let few = old.len() <= FEW && new.len() <= FEW;
        (few && self.are_new(old, new)).then(|| self.replaced(head + same, old, new, maker))
    }

    /// Whether these differ from one another and from all hosts but the `old` ones.
    fn are_new(&self, old: &[u32], new: &[Wanted<'_>]) -> bool {
        let keys: Vec<Key<'_>> = new.iter().map(|wanted| wanted.at.key()).collect();
        let differ = (1..).zip(&keys).all(|(next, key)| {
            let mut others = keys.iter().skip(next);
            others.all(|other| other != key)
        });
        let hashes: Vec<u64> = keys.iter().map(Key::hash).collect();
        let is_other = |chunk: &Chunk, at: usize| {
            let host = chunk.hosts.get(at).and_then(Option::as_ref);
            host.is_none_or(|host| !keys.contains(&host.location.key()) || old.contains(&host.slot))
        };
        differ
            && self.chunks.iter().all(|chunk| {
                let mut known = chunk.hashes.iter().enumerate();
                known.all(|(at, hash)| !hashes.contains(hash) || is_other(chunk, at))
            })
    }

    /// The same hosts with those of these slots, which stand together at a place of the order, replaced by these.
    fn replaced(&self, at: usize, old: &[u32], new: &[Wanted<'_>], maker: Maker<'_>) -> Self {
        let mut next = self.clone();
        let (mut changed, mut left) = (Vec::new(), Vec::new());
        let before: Vec<&Arc<HostSpec>> = old.iter().filter_map(|slot| self.get(*slot)).collect();
        for host in &before {
            let stays = new.iter().any(|one| one.at.key() == host.location.key());
            if !stays {
                next.set(host.slot, None);
                next.free.push(host.slot);
                left.push(host.slot);
            }
        }
        next.free.sort_unstable_by(|a, b| b.cmp(a));
        let slots = new.iter().map(|wanted| {
            let known = before
                .iter()
                .find(|host| host.location.key() == wanted.at.key());
            match known {
                Some(host) if host.is(wanted) => host.slot,
                Some(host) => {
                    let host = renewed(host, wanted.at.to_location(), wanted.endpoint.clone());
                    let slot = host.slot;
                    next.set(slot, Some(host));
                    changed.push(slot);
                    slot
                }
                None => {
                    let slot = next.add(wanted.at.to_location(), wanted.endpoint.clone(), maker);
                    changed.push(slot);
                    slot
                }
            }
        });
        let slots: Vec<u32> = slots.collect();
        next.count = self.count + new.len() - old.len();
        next.order.splice(at..at + old.len(), slots);
        next.came_from(self, changed, left);
        next
    }

    /// Notes what it was made from, if it is another.
    fn came_from(&mut self, last: &Self, mut changed: Vec<u32>, left: Vec<u32>) {
        changed.extend(&left);
        changed.sort_unstable();
        changed.dedup();
        if !changed.is_empty() {
            self.version = next_id();
            self.from = last.version;
            self.left = left;
            self.changed = changed;
        }
    }

    /// A new host, in the lowest free slot.
    fn add(&mut self, location: Location, endpoint: Endpoint, maker: Maker<'_>) -> u32 {
        let slot = self.free.pop();
        let slot = slot.unwrap_or_else(|| u32::try_from(self.slots()).unwrap_or(u32::MAX));
        self.set(slot, Some(maker.make(slot, location, endpoint)));
        slot
    }

    /// The same by maps of all.
    fn rebuilt(&self, wanted: &[Wanted<'_>], maker: Maker<'_>) -> Self {
        let mut last: HashMap<Key<'_>, &Arc<HostSpec>> = HashMap::with_capacity(self.count);
        last.extend(self.iter().map(|host| (host.location.key(), host)));
        let merged = merged(wanted);
        let mut next = self.clone();
        let (mut changed, mut fresh) = (Vec::new(), Vec::new());
        let mut order = Vec::with_capacity(merged.len());
        for (at, endpoint) in &merged {
            let Some(old) = last.remove(&at.key()) else {
                fresh.push((order.len(), *at, endpoint));
                order.push(u32::MAX);
                continue;
            };
            order.push(old.slot);
            if !old.location.is(at) || old.endpoint != **endpoint {
                let host = renewed(old, at.to_location(), endpoint.clone().into_owned());
                next.set(old.slot, Some(host));
                changed.push(old.slot);
            }
        }
        let left: HashSet<u32> = last.values().map(|host| host.slot).collect();
        for slot in &left {
            next.set(*slot, None);
            next.free.push(*slot);
        }
        next.free.sort_unstable_by(|a, b| b.cmp(a));
        for (place, at, endpoint) in fresh {
            let slot = next.add(at.to_location(), endpoint.clone().into_owned(), maker);
            changed.push(slot);
            if let Some(entry) = order.get_mut(place) {
                *entry = slot;
            }
        }
        next.count = merged.len();
        let plain = merged.len() == wanted.len();
        next.order = if plain { order } else { Vec::new() };
        next.came_from(self, changed, left.into_iter().collect());
        next
    }
}

/// One entry for each place.
fn merged<'w>(wanted: &[Wanted<'w>]) -> Vec<(At<'w>, Cow<'w, Endpoint>)> {
    let mut places: HashMap<Key<'w>, usize> = HashMap::with_capacity(wanted.len());
    let mut out: Vec<(At<'w>, Cow<'w, Endpoint>)> = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        match places.get(&wanted.at.key()) {
            Some(place) => {
                if let Some((_, first)) = out.get_mut(*place) {
                    let sum = first.weight.saturating_add(wanted.endpoint.weight);
                    first.to_mut().weight = sum;
                }
            }
            None => {
                places.insert(wanted.at.key(), out.len());
                out.push((wanted.at, Cow::Borrowed(wanted.endpoint)));
            }
        }
    }
    out
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Relaxed)
}

#[cfg(test)]
pub(in crate::cluster) mod tests {
    use ringway_config::EndpointAddress;

    use super::*;
    use crate::rng::Rng;

    /// Hosts made from `last` for endpoints with addresses.
    pub(in crate::cluster) fn next(last: &Hosts, endpoints: &[Endpoint], stats: &Stats) -> Hosts {
        let wanted = endpoints.iter().map(|endpoint| {
            let EndpointAddress::Ip(address) = endpoint.address else {
                panic!("an address");
            };
            let at = At::Ip(address);
            Wanted { at, endpoint }
        });
        let maker = Maker {
            cluster: &Name::new("c"),
            stats,
            checked: false,
        };
        last.next(&wanted.collect::<Vec<_>>(), maker)
    }

    fn endpoint(port: u16, weight: u32) -> Endpoint {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Endpoint {
            weight,
            ..Endpoint::new(EndpointAddress::Ip(address))
        }
    }

    fn ports(ports: &[u16]) -> Vec<Endpoint> {
        ports.iter().map(|port| endpoint(*port, 1)).collect()
    }

    fn slots(hosts: &Hosts) -> Vec<(u32, String)> {
        let hosts = hosts.iter();
        hosts
            .map(|host| (host.slot, host.label.to_string()))
            .collect()
    }

    #[test]
    fn a_host_keeps_its_slot_and_a_free_one_is_given_anew() {
        let stats = Stats::new(1);
        let first = next(&Hosts::default(), &ports(&[1, 2, 3]), &stats);
        let second = next(&first, &ports(&[3, 1, 9]), &stats);
        let expect = [(0, "127.0.0.1:1"), (1, "127.0.0.1:9"), (2, "127.0.0.1:3")];
        let expect: Vec<_> = expect.iter().map(|(n, l)| (*n, (*l).to_owned())).collect();
        assert_eq!(slots(&second), expect);
        assert_eq!((first.len(), second.len()), (3, 3));
        let (old, new) = (first.get(1).unwrap(), second.get(1).unwrap());
        assert!(old.id != new.id && !second.has(1, old.id));
        assert!(second.is_same(&next(&second, &ports(&[1, 3, 9]), &stats)));
        let third = next(&second, &ports(&[9]), &stats);
        assert_eq!((third.len(), third.slots()), (1, 3));
        assert_eq!(third.left(&first), None);
        let mut left = third.left(&second).unwrap().to_vec();
        left.sort_unstable();
        assert_eq!(left, [0, 2]);
    }

    #[test]
    fn one_address_is_one_host_with_the_sum_of_its_weights() {
        let stats = Stats::new(1);
        let hosts = next(&Hosts::default(), &ports(&[1, 1, 2]), &stats);
        let weights =
            |hosts: &Hosts| -> Vec<u32> { hosts.iter().map(|host| host.endpoint.weight).collect() };
        assert_eq!(weights(&hosts), [2, 1]);
        let hosts = next(&hosts, &ports(&[1, 2]), &stats);
        assert_eq!(weights(&hosts), [1, 1]);
        let hosts = next(&hosts, &ports(&[1, 2, 2]), &stats);
        assert_eq!(weights(&hosts), [1, 2]);
    }

    #[test]
    fn a_name_is_the_same_host_wherever_it_leads() {
        let stats = Stats::new(1);
        let endpoint = Endpoint::new(EndpointAddress::Name("a".to_owned(), 80));
        let maker = Maker {
            cluster: &Name::new("c"),
            stats: &stats,
            checked: false,
        };
        let found = |last: &u8| SocketAddr::from(([127, 0, 0, *last], 80));
        let next = |hosts: &Hosts, last: &[u8]| {
            let addresses: Vec<_> = last.iter().map(found).collect();
            let at = At::Name("a", 80, &addresses);
            let endpoint = &endpoint;
            hosts.next(&[Wanted { at, endpoint }], maker)
        };
        let first = next(&Hosts::default(), &[1]);
        let second = next(&first, &[2, 3]);
        let (old, new) = (first.get(0).unwrap(), second.get(0).unwrap());
        assert_eq!((old.id, new.location.addresses().len()), (new.id, 2));
        assert!(!second.is_same(&first) && second.is_same(&next(&second, &[2, 3])));
        assert_eq!(second.left(&first), Some(&[][..]));
    }

    #[test]
    fn whatever_changes_the_short_way_and_the_long_way_agree() {
        for seed in 0..300 {
            let (rng, stats) = (Rng::new(seed), Stats::new(1));
            let (mut quick, mut slow) = (Hosts::default(), Hosts::default());
            let mut list: Vec<(u16, u32)> = (0..rng.below(40)).map(|n| (n as u16, 1)).collect();
            for _ in 0..20 {
                for _ in 0..rng.below(4) {
                    let at = rng.below(list.len() as u64 + 1) as usize;
                    match rng.below(4) {
                        0 => list.insert(at, (rng.below(60) as u16, 1)),
                        1 if at < list.len() => list[at].1 += 1,
                        2 if at < list.len() => list[at].0 = rng.below(60) as u16,
                        _ if at < list.len() => drop(list.remove(at)),
                        _ => {}
                    }
                }
                let endpoints: Vec<_> = list.iter().map(|(port, w)| endpoint(*port, *w)).collect();
                let before = quick.clone();
                quick = next(&quick, &endpoints, &stats);
                // Without an order nothing is known of what stood where.
                slow.order.clear();
                slow = next(&slow, &endpoints, &stats);
                let of = |hosts: &Hosts| -> Vec<(String, u32)> {
                    let hosts = hosts.iter();
                    let mut all: Vec<_> = hosts
                        .map(|host| (host.label.to_string(), host.endpoint.weight))
                        .collect();
                    all.sort();
                    all
                };
                assert_eq!(of(&quick), of(&slow), "{seed} {list:?}");
                assert_eq!(quick.len(), quick.iter().count(), "{seed}");
                let gone = before.iter().filter(|host| !quick.has(host.slot, host.id));
                let mut gone: Vec<u32> = gone.map(|host| host.slot).collect();
                let mut left = quick.left(&before).unwrap().to_vec();
                gone.sort_unstable();
                left.sort_unstable();
                assert_eq!(gone, left, "{seed}");
                let slots = 0..before.slots().max(quick.slots()) as u32;
                let other = |slot: &u32| {
                    let of = |hosts: &Hosts| hosts.get(*slot).map(|host| host.revision);
                    of(&before) != of(&quick)
                };
                let expect: Vec<u32> = slots.filter(other).collect();
                assert_eq!(quick.changed(&before), Some(&expect[..]), "{seed}");
                for host in quick.iter() {
                    assert!(Arc::ptr_eq(quick.get(host.slot).unwrap(), host));
                }
            }
        }
    }
}
