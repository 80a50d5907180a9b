//! Which hosts a pick chooses among: priorities, localities and subsets, by the hosts' health.
//!
//! ```text
//!  metadata → subset ─┐
//!               all ──┴─ priority (by load) ─ locality (by weight) ─ the algorithm's set of hosts
//! ```
//!
//! Control derives it when a snapshot is built and again when health changes, once for all cores, which only exchange one
//! `Arc` for another. So a change among 100,000 hosts costs a core no more than one among three.

mod levels;
mod localities;
mod subsets;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use ringway_config::{Cluster, Fallback, Localities, Locality};

use super::Host;
use super::balance::{Ask, Cursor, HostSet};
use super::hash::xxh64;
use super::hosts::Hosts;
use super::spec::HostSpec;
use crate::rng::Rng;

use levels::Counts;
use localities::Place;
use subsets::Index;
pub(crate) use subsets::MetadataMatch;

/// What a cluster's picks choose among.
#[derive(Debug)]
pub(crate) struct ClusterSets {
    /// Counts up with each derivation.
    pub(crate) epoch: u64,
    all: Arc<Sets>,
    index: Arc<Index>,
    subsets: Vec<Arc<Sets>>,
    fallback: Fallback,
    /// The slot of each host by what a cookie says of it; empty without `sticky`.
    sticky: Arc<HashMap<u64, u32>>,
    strict: bool,
    /// Whether each slot's host may be asked, where `sticky` must know.
    usable: Vec<bool>,
}

/// What a cookie says of a host: nothing that tells its address.
pub(crate) fn sticky_id(host: &HostSpec) -> u64 {
    xxh64(host.label.as_str().as_bytes(), 0x5354_4943_4b59)
}

/// What everything is derived from.
#[derive(Clone, Copy)]
struct Source<'a> {
    config: &'a Cluster,
    zones: &'a HashMap<String, u32>,
}

impl ClusterSets {
    /// Sorts and counts the hosts as they are now.
    pub(super) fn build(
        config: &Cluster,
        hosts: &Hosts,
        zones: &HashMap<String, u32>,
        epoch: u64,
    ) -> Self {
        let source = Source { config, zones };
        let index = config
            .subsets
            .as_ref()
            .map_or_else(Index::default, |subsets| Index::build(subsets, hosts));
        let members: Vec<&Arc<HostSpec>> = hosts.iter().collect();
        let sets = index.members().zip(1..).map(|(members, at)| {
            let members: Vec<_> = members.iter().filter_map(|slot| hosts.get(*slot)).collect();
            Arc::new(Sets::build(source, &members, at))
        });
        let sticky = config.sticky.iter().flat_map(|_| hosts.iter());
        let sticky: HashMap<u64, u32> = sticky.map(|host| (sticky_id(host), host.slot)).collect();
        Self {
            epoch,
            all: Arc::new(Sets::build(source, &members, 0)),
            subsets: sets.collect(),
            index: Arc::new(index),
            fallback: config
                .subsets
                .as_ref()
                .map_or(Fallback::Any, |subsets| subsets.fallback.clone()),
            usable: usable(config, hosts),
            sticky: Arc::new(sticky),
            strict: config.sticky.as_ref().is_some_and(|sticky| sticky.strict),
        }
    }

    /// The same hosts, after the health of these has changed.
    pub(super) fn after(
        &self,
        config: &Cluster,
        hosts: &Hosts,
        zones: &HashMap<String, u32>,
        changed: &[u32],
    ) -> Self {
        let source = Source { config, zones };
        let members: Vec<&Arc<HostSpec>> = hosts.iter().collect();
        let mut subsets = self.subsets.clone();
        let touched = changed.iter().flat_map(|slot| self.index.of(*slot));
        for at in touched.collect::<std::collections::BTreeSet<_>>() {
            let slots = self.index.members().nth(*at as usize).unwrap_or_default();
            let members: Vec<_> = slots.iter().filter_map(|slot| hosts.get(*slot)).collect();
            if let Some(sets) = subsets.get_mut(*at as usize) {
                *sets = Arc::new(Sets::build(source, &members, at + 1));
            }
        }
        Self {
            epoch: self.epoch + 1,
            all: Arc::new(Sets::build(source, &members, 0)),
            subsets,
            index: Arc::clone(&self.index),
            fallback: self.fallback.clone(),
            usable: usable(config, hosts),
            sticky: Arc::clone(&self.sticky),
            strict: self.strict,
        }
    }

    /// What a request chooses among; none: there is nothing as it asks for.
    fn of(&self, ask: &Ask<'_>) -> Option<&Sets> {
        let Some(asked) = &ask.metadata else {
            return Some(&self.all);
        };
        let found = self
            .index
            .find(asked)
            .or_else(|| self.index.default_subset());
        match (found, &self.fallback) {
            (Some(at), _) => self.subsets.get(at as usize).map(|sets| &**sets),
            (None, Fallback::Any) => Some(&self.all),
            (None, Fallback::None | Fallback::Default(_)) => None,
        }
    }

    /// The host that the client's cookie names, if it may be asked.
    fn stuck(&self, ask: &Ask<'_>) -> Stuck {
        let Some(id) = ask.sticky else {
            return Stuck::No;
        };
        let slot = self.sticky.get(&id).map(|slot| *slot as usize);
        let usable =
            slot.filter(|slot| self.usable.get(*slot) == Some(&true) && !ask.tried.contains(slot));
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

fn usable(config: &Cluster, hosts: &Hosts) -> Vec<bool> {
    if config.sticky.is_none() {
        return Vec::new();
    }
    let slots = 0..hosts.slots() as u32;
    let is_usable = |host: &Arc<HostSpec>| host.state.is_healthy() || host.state.is_degraded();
    slots
        .map(|slot| hosts.get(slot).is_some_and(is_usable))
        .collect()
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
    fn build(source: Source<'_>, hosts: &[&Arc<HostSpec>], subset: u32) -> Self {
        let mut by_priority: BTreeMap<u8, Vec<&Arc<HostSpec>>> = BTreeMap::new();
        for host in hosts {
            by_priority
                .entry(host.endpoint.priority)
                .or_default()
                .push(host);
        }
        let counts: Vec<Counts> = by_priority.values().map(|hosts| count(hosts)).collect();
        let placement = &source.config.placement;
        let threshold = u32::from(placement.panic_threshold.basis_points());
        let loads = levels::loads(&counts, placement.overprovisioning, threshold);
        let mut levels = Vec::with_capacity(counts.len());
        for (at, (priority, hosts)) in (0_u16..).zip(&by_priority) {
            let panic = loads.panic.get(usize::from(at)) == Some(&true);
            let is_main = |host: &&Arc<HostSpec>| panic || host.state.is_healthy();
            let is_degraded = |host: &&Arc<HostSpec>| !panic && host.state.is_degraded();
            let key = u64::from(subset) << 32 | u64::from(at) << 17;
            levels.push(Level {
                priority: *priority,
                main: Groups::build(source, hosts, is_main, key),
                degraded: Groups::build(source, hosts, is_degraded, key | 1 << 16),
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
            (sum, at, degraded)
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

fn count(hosts: &[&Arc<HostSpec>]) -> Counts {
    let of = |is: fn(&HostSpec) -> bool| hosts.iter().filter(|host| is(host)).count() as u32;
    Counts {
        total: hosts.len() as u32,
        healthy: of(|host| host.state.is_healthy()),
        degraded: of(|host| host.state.is_degraded()),
    }
}

impl Groups {
    fn build(
        source: Source<'_>,
        hosts: &[&Arc<HostSpec>],
        takes: impl Fn(&&Arc<HostSpec>) -> bool,
        key: u64,
    ) -> Self {
        let config = source.config;
        let set = |hosts: &[&Arc<HostSpec>], at: u64| {
            HostSet::build(&config.balance, config.slow_start.as_ref(), hosts, key + at)
        };
        let usable: Vec<&Arc<HostSpec>> = hosts.iter().copied().filter(&takes).collect();
        if usable.is_empty() {
            return Self::default();
        }
        let placement = &config.placement;
        let mut by_locality: BTreeMap<&Locality, (u32, Vec<&Arc<HostSpec>>)> = BTreeMap::new();
        if placement.localities != Localities::Ignored {
            for host in hosts {
                let (total, usable) = by_locality.entry(&host.endpoint.locality).or_default();
                *total += 1;
                usable.extend(takes(host).then_some(*host));
            }
        }
        let places: Vec<Place<'_>> = by_locality
            .iter()
            .map(|(locality, (total, usable))| Place {
                locality,
                total: *total,
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
            return Self(Box::new([(1, set(&usable, 0))]));
        };
        let mut sum = 0;
        let groups = by_locality.values().zip(weights).zip(0_u64..);
        let groups =
            groups
                .filter(|((_, weight), _)| *weight > 0)
                .map(|(((_, hosts), weight), at)| {
                    sum += weight;
                    (sum, set(hosts, at.min(0xffff)))
                });
        Self(groups.collect())
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
        match self.sets.stuck(ask) {
            Stuck::To(slot) => return Some(slot),
            Stuck::Nowhere => return None,
            Stuck::No => {}
        }
        self.sets.of(ask)?.pick(self, hosts, ask)
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
