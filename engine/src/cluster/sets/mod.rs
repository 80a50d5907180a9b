//! Which hosts a pick chooses among: priorities, localities and subsets, by the hosts' health.
//!
//! ```text
//!  metadata → subset ─┐
//!               all ──┴─ priority (by load) ─ locality (by weight) ─ the algorithm's set of hosts
//! ```
//!
//! Control derives it when a snapshot is built and again when health changes, once for all cores, which only exchange one
//! `Arc` for another. So a change among 100,000 hosts costs a core no more than one among three.

mod facts;
mod levels;
mod localities;
mod subsets;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use ringway_config::{Cluster, Localities};

use super::Host;
use super::balance::{Ask, Cursor, HostSet, Members};
use super::hash::xxh64;
use super::hosts::Hosts;
use crate::rng::Rng;

pub use facts::Census;
use facts::{Fact, Facts};
use levels::Counts;
use localities::Place;
pub(crate) use subsets::MetadataMatch;
use subsets::{Choice, Index};

/// What a cluster's picks choose among.
#[derive(Debug)]
pub(crate) struct ClusterSets {
    /// Counts up with each derivation.
    pub(crate) epoch: u64,
    facts: Facts,
    all: Arc<Sets>,
    index: Index,
    subsets: Vec<Arc<Sets>>,
    /// What routes may ask by; none: they cannot.
    rules: Option<Arc<ringway_config::Subsets>>,
    /// The slot of each host by what a cookie says of it; empty without `sticky`.
    sticky: Arc<HashMap<u64, u32>>,
    strict: bool,
}

/// What a cookie says of a host: nothing that tells its address.
pub(crate) fn sticky_id(label: &str) -> u64 {
    xxh64(label.as_bytes(), 0x5354_4943_4b59)
}

/// What everything is derived from.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) config: &'a Cluster,
    pub(crate) hosts: &'a Hosts,
    /// The hosts of each zone of the cluster that zone-aware routing measures itself by.
    pub(crate) zones: &'a HashMap<String, u32>,
}

/// The same, with what is known of the hosts, and which of them (their slots) are others than before.
#[derive(Clone, Copy)]
struct Known<'a> {
    source: Source<'a>,
    facts: &'a Facts,
    changed: &'a [u32],
}

impl ClusterSets {
    /// Sorts and counts the hosts as they are now.
    pub(super) fn build(source: Source<'_>) -> Self {
        let Source { config, hosts, .. } = source;
        let index = config.subsets.as_ref();
        let index = index.map_or_else(Index::default, |subsets| Index::build(subsets, hosts));
        let facts = Facts::build(config, hosts);
        let known = Known {
            source,
            facts: &facts,
            changed: &[],
        };
        let subsets = index.members().zip(1..).map(|(members, at)| {
            let members = members.iter().copied();
            Arc::new(Sets::build(known, members, at, None))
        });
        let subsets = subsets.collect();
        let all = Arc::new(Sets::build(known, facts.slots(), 0, None));
        let sticky = config.sticky.iter().flat_map(|_| hosts.iter());
        let sticky: HashMap<u64, u32> = sticky
            .map(|host| (sticky_id(host.label.as_str()), host.slot))
            .collect();
        Self {
            epoch: 0,
            facts,
            all,
            subsets,
            index,
            rules: config.subsets.clone().map(Arc::new),
            sticky: Arc::new(sticky),
            strict: config.sticky.as_ref().is_some_and(|sticky| sticky.strict),
        }
    }

    /// The same rules for other hosts, or for hosts of another health: where these slots are others than `before`.
    pub(super) fn next(&self, source: Source<'_>, before: &Hosts, changed: &[u32]) -> Self {
        let Source { config, hosts, .. } = source;
        let mut facts = self.facts.clone();
        facts.read(config, hosts, changed.iter().copied());
        let (index, touched) = self.next_index(source, before, changed);
        let known = Known {
            source,
            facts: &facts,
            changed,
        };
        let mut subsets = self.subsets.clone();
        for (at, members) in index.members().enumerate() {
            if !touched.contains(&(at as u32)) && at < subsets.len() {
                continue;
            }
            let last = subsets.get(at).map(|last| &**last);
            let members = members.iter().copied();
            let sets = Arc::new(Sets::build(known, members, at as u32 + 1, last));
            match subsets.get_mut(at) {
                Some(place) => *place = sets,
                None => subsets.push(sets),
            }
        }
        subsets.truncate(index.members().len());
        let all = Arc::new(Sets::build(known, facts.slots(), 0, Some(&self.all)));
        Self {
            epoch: self.epoch + 1,
            facts,
            all,
            subsets,
            index,
            rules: self.rules.clone(),
            sticky: self.next_sticky(source, before, changed),
            strict: self.strict,
        }
    }

    /// The index, and the subsets that are others.
    fn next_index(
        &self,
        source: Source<'_>,
        before: &Hosts,
        changed: &[u32],
    ) -> (Index, BTreeSet<u32>) {
        let Some(config) = &source.config.subsets else {
            return (Index::default(), BTreeSet::new());
        };
        let pair = |slot: &u32| (before.get(*slot), source.hosts.get(*slot));
        let moved = changed
            .iter()
            .map(pair)
            .filter(|(old, new)| old.map(|host| host.revision) != new.map(|host| host.revision));
        let moved = moved.map(|(old, new)| (old.map(|host| &**host), new.map(|host| &**host)));
        let mut index = self.index.next(config, moved);
        if index.is_worn() {
            index = Index::build(config, source.hosts);
            let all = 0..index.members().len() as u32;
            return (index, all.collect());
        }
        let both = changed
            .iter()
            .map(pair)
            .flat_map(|(old, new)| old.into_iter().chain(new));
        let touched = both.flat_map(|host| index.of(config, host)).collect();
        (index, touched)
    }

    fn next_sticky(
        &self,
        source: Source<'_>,
        before: &Hosts,
        changed: &[u32],
    ) -> Arc<HashMap<u64, u32>> {
        let mut sticky = Arc::clone(&self.sticky);
        if source.config.sticky.is_none() || source.hosts.is_same(before) {
            return sticky;
        }
        let map = Arc::make_mut(&mut sticky);
        for host in changed.iter().filter_map(|slot| before.get(*slot)) {
            map.remove(&sticky_id(host.label.as_str()));
        }
        let new = changed.iter().filter_map(|slot| source.hosts.get(*slot));
        map.extend(new.map(|host| (sticky_id(host.label.as_str()), host.slot)));
        sticky
    }

    /// The hosts, counted.
    pub(crate) fn census(&self) -> Census {
        self.facts.census()
    }

    /// Whom a request asks for.
    fn choose(&self, ask: &Ask<'_>) -> Choice {
        let rules = self.rules.as_ref();
        rules.map_or(Choice::All, |rules| self.index.choose(rules, ask.metadata))
    }

    /// What it chooses among; none: there is nothing as it asks for.
    fn of(&self, choice: Choice) -> Option<&Sets> {
        match choice {
            Choice::Subset(at) => self.subsets.get(at as usize).map(|sets| &**sets),
            Choice::All => Some(&self.all),
            Choice::Nobody => None,
        }
    }

    /// The host that the client's cookie names, if it may be asked and is one of those that the request asks for.
    fn stuck(&self, ask: &Ask<'_>, choice: Choice) -> Stuck {
        let Some(id) = ask.sticky else {
            return Stuck::No;
        };
        let slot = self.sticky.get(&id).map(|slot| *slot as usize);
        let usable = slot.filter(|slot| {
            let fact = self.facts.get(*slot as u32);
            (fact.is_healthy() || fact.is_degraded())
                && !ask.tried.contains(slot)
                && self.index.has(choice, *slot as u32)
        });
        match usable {
            Some(slot) => Stuck::To(slot),
            None if self.strict => Stuck::Nowhere,
            None => Stuck::No,
        }
    }
}

enum Stuck {
    No,
    To(usize),
    Nowhere,
}

/// What picks among some hosts choose from.
#[derive(Debug)]
struct Sets {
    levels: Box<[Level]>,
    /// The loads summed up, with the level and whether it is its degraded hosts' part; one entry: all goes there.
    shares: Box<[(u32, u16, bool)]>,
}

/// The hosts of a priority.
#[derive(Debug)]
struct Level {
    priority: u8,
    /// The healthy ones; in panic, all.
    main: Groups,
    degraded: Groups,
}

/// Sets of hosts by locality, with their weights summed up; one, where localities are not told apart.
#[derive(Debug, Default)]
struct Groups(Box<[(u64, HostSet)]>);

impl Sets {
    /// Sorts these slots' hosts; what `last` knows of those that have not changed is taken over.
    fn build(
        known: Known<'_>,
        slots: impl Iterator<Item = u32>,
        subset: u32,
        last: Option<&Self>,
    ) -> Self {
        let by_priority = known.facts.by_priority(slots);
        let counts = by_priority
            .iter()
            .map(|(_, slots)| known.facts.count(slots));
        let counts: Vec<Counts> = counts.collect();
        let placement = &known.source.config.placement;
        let threshold = u32::from(placement.panic_threshold.basis_points());
        let loads = levels::loads(&counts, placement.overprovisioning, threshold);
        let mut levels = Vec::with_capacity(counts.len());
        for (at, (priority, slots)) in (0_u16..).zip(&by_priority) {
            let panic = loads.panic.get(usize::from(at)) == Some(&true);
            let is_main = |fact: Fact| panic || fact.is_healthy();
            let is_degraded = |fact: Fact| !panic && fact.is_degraded();
            let key = u64::from(subset) << 32 | u64::from(at) << 17;
            let mut before = last.into_iter().flat_map(|last| &last.levels);
            let before = before.find(|level| level.priority == *priority);
            let main = (key, before.map(|level| &level.main));
            let degraded = (key | 1 << 16, before.map(|level| &level.degraded));
            levels.push(Level {
                priority: *priority,
                main: Groups::build(known, slots, is_main, main),
                degraded: Groups::build(known, slots, is_degraded, degraded),
            });
        }
        let mut sum = 0;
        let main = (0..)
            .zip(&loads.healthy)
            .map(|(at, load)| (at, *load, false));
        let degraded = (0..)
            .zip(&loads.degraded)
            .map(|(at, load)| (at, *load, true));
        let shares = main.chain(degraded).filter(|(_, load, _)| *load > 0);
        let shares = shares.map(|(at, load, degraded)| {
            sum += load;
            // In panic all of a priority's hosts are its main ones, and the part of the degraded ones is theirs too.
            let panic = loads.panic.get(usize::from(at)) == Some(&true);
            (sum, at, degraded && !panic)
        });
        Self {
            shares: shares.collect(),
            levels: levels.into_boxed_slice(),
        }
    }

    fn pick(&self, live: &Live, hosts: &[Option<Rc<Host>>], ask: &Ask<'_>) -> Option<usize> {
        let chosen = match &*self.shares {
            [(_, level, degraded)] if ask.avoid == 0 => (*level, *degraded),
            [] => return None,
            shares => self.choose(shares, ask)?,
        };
        let groups = |(level, degraded): (u16, bool)| {
            let level = self.levels.get(usize::from(level))?;
            Some(if degraded {
                &level.degraded
            } else {
                &level.main
            })
        };
        let first = groups(chosen).and_then(|groups| groups.pick(live, hosts, ask));
        if first.is_some() || ask.tried.is_empty() {
            return first;
        }
        // All of that part was tried: whoever is left, the best first.
        let main = self.levels.iter().map(|level| &level.main);
        let degraded = self.levels.iter().map(|level| &level.degraded);
        main.chain(degraded)
            .find_map(|groups| groups.pick(live, hosts, ask))
    }

    /// The part that a request falls into; of priorities that it is to avoid only where there is no other.
    fn choose(&self, shares: &[(u32, u16, bool)], ask: &Ask<'_>) -> Option<(u16, bool)> {
        let avoided = |level: u16| {
            let level = self.levels.get(usize::from(level));
            level.is_some_and(|level| ask.avoid & (1 << level.priority) != 0)
        };
        let allowed = shares.iter().any(|(_, level, _)| !avoided(*level));
        let loads = shares.iter().scan(0, |before, (sum, level, degraded)| {
            let load = sum - std::mem::replace(before, *sum);
            Some((load, *level, *degraded))
        });
        let open: Vec<_> = loads
            .filter(|(_, level, _)| !allowed || !avoided(*level))
            .collect();
        let total: u32 = open.iter().map(|(load, ..)| load).sum();
        // A hash must fall into the same part each time.
        let random = ask
            .hash
            .map_or_else(|| ask.rng.next(), |hash| hash.rotate_left(32));
        let mut point = (random % u64::from(total.max(1))) as u32;
        for (load, level, degraded) in open {
            match point.checked_sub(load) {
                Some(rest) => point = rest,
                None => return Some((level, degraded)),
            }
        }
        None
    }
}

impl Groups {
    fn build(
        known: Known<'_>,
        slots: &[u32],
        takes: impl Fn(Fact) -> bool,
        (key, last): (u64, Option<&Self>),
    ) -> Self {
        let Known { source, facts, .. } = known;
        let usable = |slots: &[u32]| -> Vec<u32> {
            let slots = slots.iter().copied();
            slots.filter(|slot| takes(facts.get(*slot))).collect()
        };
        let all = usable(slots);
        if all.is_empty() {
            return Self::default();
        }
        let last = last.and_then(Self::only);
        let placement = &source.config.placement;
        if placement.localities == Localities::Ignored {
            return Self(Box::new([(1, known.set(all, key, last))]));
        }
        let by_locality = facts.by_locality(slots);
        let parts: Vec<Vec<u32>> = by_locality.iter().map(|(_, slots)| usable(slots)).collect();
        let places: Vec<Place<'_>> = by_locality
            .iter()
            .zip(&parts)
            .map(|(part, usable)| Place {
                locality: part.0,
                total: part.1.len() as u32,
                usable: usable.len() as u32,
            })
            .collect();
        let weights = localities::weights(
            &placement.localities,
            placement.overprovisioning,
            &places,
            source.zones,
        );
        let Some(weights) = weights.filter(|weights| weights.iter().any(|weight| *weight > 0))
        else {
            return Self(Box::new([(1, known.set(all, key, last))]));
        };
        // Where the own zone takes everything, the others have no part; further tries go there all the same.
        let further = matches!(placement.localities, Localities::ZoneAware { .. });
        let mut sum = 0;
        let groups = parts.into_iter().zip(weights).zip(0_u64..);
        let groups = groups
            .filter(|((_, weight), _)| *weight > 0 || further)
            .map(|((slots, weight), at)| {
                sum += weight;
                (sum, known.set(slots, key + at.min(0xffff), None))
            });
        Self(groups.collect())
    }

    /// The set of hosts, where localities are not told apart.
    fn only(&self) -> Option<&HostSet> {
        match &*self.0 {
            [(_, only)] => Some(only),
            _ => None,
        }
    }

    fn pick(&self, live: &Live, hosts: &[Option<Rc<Host>>], ask: &Ask<'_>) -> Option<usize> {
        if let [(_, only)] = &*self.0 {
            return live.pick_of(only, hosts, ask);
        }
        let total = self.0.last()?.0;
        let random = ask
            .hash
            .map_or_else(|| ask.rng.next(), |hash| hash.rotate_left(16));
        let point = ((u128::from(random) * u128::from(total)) >> 64) as u64;
        let at = self.0.partition_point(|(sum, _)| *sum <= point);
        let (before, after) = self.0.split_at_checked(at)?;
        let mut in_turn = after.iter().chain(before);
        in_turn.find_map(|(_, set)| live.pick_of(set, hosts, ask))
    }
}

impl Known<'_> {
    fn set(self, slots: Vec<u32>, key: u64, last: Option<&HostSet>) -> HostSet {
        let config = self.source.config;
        let since = match config.slow_start {
            Some(_) => self.facts.since(&slots),
            None => Vec::new(),
        };
        let hosts = self.source.hosts;
        let label = |slot| hosts.get(slot).map_or("", |host| host.label.as_str());
        let members = Members {
            weights: self.facts.weights(&slots),
            since,
            slots,
            label: &label,
        };
        let last = last.map(|last| (last, self.changed));
        HostSet::build(
            (&config.balance, config.slow_start.as_ref()),
            members,
            key,
            last,
        )
    }
}

/// A core's side of it: its places in the turns.
pub(super) struct Live {
    pub(super) sets: Arc<ClusterSets>,
    /// Of the set that most clusters have as their only one.
    first: Cursor,
    others: RefCell<HashMap<u64, Cursor>>,
}

impl Live {
    pub(super) fn new(sets: &Arc<ClusterSets>, rng: &Rng) -> Self {
        Self {
            sets: Arc::clone(sets),
            first: Cursor::random(rng),
            others: RefCell::default(),
        }
    }

    /// Newer sets; turns go on where they were.
    pub(super) fn exchange(&mut self, sets: &Arc<ClusterSets>) -> Arc<ClusterSets> {
        std::mem::replace(&mut self.sets, Arc::clone(sets))
    }

    /// The slot of a host that was not tried yet.
    pub(super) fn pick(&self, hosts: &[Option<Rc<Host>>], ask: &Ask<'_>) -> Option<usize> {
        let choice = self.sets.choose(ask);
        match self.sets.stuck(ask, choice) {
            Stuck::To(slot) => return Some(slot),
            Stuck::Nowhere => return None,
            Stuck::No => {}
        }
        self.sets.of(choice)?.pick(self, hosts, ask)
    }

    fn pick_of(&self, set: &HostSet, hosts: &[Option<Rc<Host>>], ask: &Ask<'_>) -> Option<usize> {
        if set.is_empty() {
            return None;
        }
        if set.key == 0 {
            return set.pick(hosts, &self.first, ask);
        }
        let mut others = self.others.borrow_mut();
        let cursor = others
            .entry(set.key)
            .or_insert_with(|| Cursor::random(ask.rng));
        set.pick(hosts, cursor, ask)
    }
}
