//! A cluster as a snapshot knows it, and the record of each host that all cores share with control.
//!
//! A host has a slot: a small number that stays its own from snapshot to snapshot, so that what is known of it by number (a
//! core's live side of it, a request's list of hosts tried) stays true while others come and go. Slots of hosts that are
//! gone are given to new ones; an `id` that is never used twice tells them apart.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use ringway_config::{self as config, Endpoint, Name};
use socket2::SockAddr;

use super::sets::ClusterSets;
use crate::observe::{ClusterStats, HostStats, PerCore, Stats};
use crate::time::now_millis;

/// A host as the snapshot knows it.
#[derive(Debug)]
pub struct HostSpec {
    /// Tells it from every other host that the process has had.
    pub(crate) id: u64,
    /// Its number in its cluster.
    pub slot: u32,
    /// Where to connect to.
    pub address: SockAddr,
    /// How it is called in logs and metrics.
    pub label: Name,
    /// What the operator says of it: weight, priority, locality, metadata.
    pub endpoint: Endpoint,
    /// Its numbers.
    pub stats: Arc<PerCore<HostStats>>,
    /// What control and the cores know of it now.
    pub state: Arc<HostState>,
}

/// Why a host is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Active health checks fail, or none has been answered yet.
    Unhealthy = 1,
    /// Its errors stand out.
    Ejected = 2,
    /// It answers that it is not at its best: asked only where too few others are left.
    Degraded = 4,
}

/// What control and the cores know of a host now. The marks are control's to write; the errors in a row the cores'.
#[derive(Debug)]
pub struct HostState {
    marks: AtomicU32,
    /// When it came, or came back, in milliseconds of the coarse clock: where a slow start begins. Written by control.
    since: AtomicU64,
}

impl HostState {
    fn new() -> Self {
        Self {
            marks: AtomicU32::new(0),
            since: AtomicU64::new(now_millis()),
        }
    }

    /// Sets or takes a mark; whether that changed anything. Control's alone: there is one writer.
    pub fn mark(&self, mark: Mark, on: bool) -> bool {
        let old = self.marks.load(Relaxed);
        let new = if on {
            old | mark as u32
        } else {
            old & !(mark as u32)
        };
        if old == new {
            return false;
        }
        if is_out(old) && !is_out(new) {
            self.since.store(now_millis(), Relaxed);
        }
        self.marks.store(new, Relaxed);
        true
    }

    /// Whether it has a mark.
    pub fn has(&self, mark: Mark) -> bool {
        self.marks.load(Relaxed) & mark as u32 != 0
    }

    pub(crate) fn is_healthy(&self) -> bool {
        self.marks.load(Relaxed) == 0
    }

    pub(crate) fn is_degraded(&self) -> bool {
        self.marks.load(Relaxed) == Mark::Degraded as u32
    }

    pub(crate) fn since(&self) -> u64 {
        self.since.load(Relaxed)
    }
}

fn is_out(marks: u32) -> bool {
    marks & (Mark::Unhealthy as u32 | Mark::Ejected as u32) != 0
}

/// The hosts of a cluster, by slot.
#[derive(Debug, Default)]
pub struct Hosts {
    slots: Vec<Option<Arc<HostSpec>>>,
    count: usize,
}

impl Hosts {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<HostSpec>> {
        self.slots.iter().flatten()
    }

    /// The host of a slot.
    pub(crate) fn get(&self, slot: u32) -> Option<&Arc<HostSpec>> {
        self.slots.get(slot as usize)?.as_ref()
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
        self.slots.len()
    }

    /// Whether it is still here.
    pub(crate) fn has(&self, slot: u32, id: u64) -> bool {
        self.get(slot).is_some_and(|host| host.id == id)
    }

    /// The next version's hosts: those that stay keep slot, state and numbers. One address is one host; written twice, its
    /// weights add up.
    pub(crate) fn next(
        &self,
        wanted: Vec<(SockAddr, String, Endpoint)>,
        cluster: &Name,
        stats: &Stats,
    ) -> Self {
        let mut last: HashMap<&str, &Arc<HostSpec>> = self
            .iter()
            .map(|host| (host.label.as_str(), host))
            .collect();
        let mut slots: Vec<Option<Arc<HostSpec>>> = vec![None; self.slots.len()];
        let mut fresh = Vec::new();
        for (address, label, endpoint) in merged(wanted) {
            let Some(old) = last.remove(label.as_str()) else {
                fresh.push((address, label, endpoint));
                continue;
            };
            let same = old.endpoint == endpoint && old.address == address;
            let host = if same {
                Arc::clone(old)
            } else {
                Arc::new(HostSpec {
                    id: old.id,
                    slot: old.slot,
                    address,
                    label: old.label.clone(),
                    endpoint,
                    stats: Arc::clone(&old.stats),
                    state: Arc::clone(&old.state),
                })
            };
            if let Some(slot) = slots.get_mut(old.slot as usize) {
                *slot = Some(host);
            }
        }
        let count = self.count - last.len() + fresh.len();
        let mut free: Vec<usize> = (0..slots.len())
            .rev()
            .filter(|slot| slots[*slot].is_none())
            .collect();
        for (address, label, endpoint) in fresh {
            let slot = free.pop().unwrap_or_else(|| {
                slots.push(None);
                slots.len() - 1
            });
            let label = Name::new(&label);
            slots[slot] = Some(Arc::new(HostSpec {
                id: next_id(),
                slot: u32::try_from(slot).unwrap_or(u32::MAX),
                address,
                endpoint,
                stats: stats.host(cluster, &label),
                state: Arc::new(HostState::new()),
                label,
            }));
        }
        Self { slots, count }
    }

    /// Whether every host is the very same as in `other`.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.slots.len() == other.slots.len()
            && self
                .slots
                .iter()
                .zip(&other.slots)
                .all(|(a, b)| match (a, b) {
                    (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                    (None, None) => true,
                    (Some(_), None) | (None, Some(_)) => false,
                })
    }
}

/// One entry for each address.
fn merged(wanted: Vec<(SockAddr, String, Endpoint)>) -> Vec<(SockAddr, String, Endpoint)> {
    let mut places: HashMap<String, usize> = HashMap::with_capacity(wanted.len());
    let mut out: Vec<(SockAddr, String, Endpoint)> = Vec::with_capacity(wanted.len());
    for (address, label, endpoint) in wanted {
        if let Some(place) = places.get(&label) {
            let (_, _, first) = &mut out[*place];
            first.weight = first.weight.saturating_add(endpoint.weight);
            continue;
        }
        places.insert(label.clone(), out.len());
        out.push((address, label, endpoint));
    }
    out
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Relaxed)
}

/// A cluster as the snapshot knows it: addresses resolved.
#[derive(Debug)]
pub struct ClusterSpec {
    /// What the operator wants.
    pub config: config::Cluster,
    /// The hosts; empty while no name resolves.
    pub hosts: Hosts,
    /// Which hosts are chosen among, as of when this was built.
    pub(crate) sets: Arc<ClusterSets>,
    /// The hosts of each zone of the cluster that zone-aware routing measures itself by.
    pub(crate) sources: HashMap<String, u32>,
    /// Its numbers.
    pub stats: Arc<PerCore<ClusterStats>>,
}

/// A cluster of these hosts.
pub(crate) fn assemble(
    config: config::Cluster,
    hosts: Hosts,
    sources: HashMap<String, u32>,
    stats: &Stats,
) -> ClusterSpec {
    let sets = ClusterSets::build(&config, &hosts, &sources, 0);
    ClusterSpec {
        stats: stats.cluster(&config.name),
        sets: Arc::new(sets),
        config,
        hosts,
        sources,
    }
}

impl ClusterSpec {
    /// What the health of these hosts (their slots), which has changed, makes of `last`.
    pub(crate) fn derive(&self, last: &ClusterSets, changed: &[u32]) -> Arc<ClusterSets> {
        Arc::new(last.after(&self.config, &self.hosts, &self.sources, changed))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use ringway_config::EndpointAddress;

    use super::*;

    fn wanted(ports: &[u16]) -> Vec<(SockAddr, String, Endpoint)> {
        let one = |port: &u16| {
            let address = SocketAddr::from(([127, 0, 0, 1], *port));
            let endpoint = Endpoint::new(EndpointAddress::Ip(address));
            (address.into(), address.to_string(), endpoint)
        };
        ports.iter().map(one).collect()
    }

    #[test]
    fn a_host_keeps_its_slot_and_a_free_one_is_given_anew() {
        let (stats, name) = (Stats::new(1), Name::new("c"));
        let first = Hosts::default().next(wanted(&[1, 2, 3]), &name, &stats);
        let slots = |hosts: &Hosts| -> Vec<(u32, String)> {
            hosts
                .iter()
                .map(|host| (host.slot, host.label.to_string()))
                .collect()
        };
        let second = first.next(wanted(&[3, 1, 9]), &name, &stats);
        let expect = [(0, "127.0.0.1:1"), (1, "127.0.0.1:9"), (2, "127.0.0.1:3")];
        let expect: Vec<_> = expect.iter().map(|(n, l)| (*n, (*l).to_owned())).collect();
        assert_eq!(slots(&second), expect);
        assert_eq!((first.len(), second.len()), (3, 3));
        let (old, new) = (first.get(1).unwrap(), second.get(1).unwrap());
        assert!(old.id != new.id && !second.has(1, old.id));
        assert!(second.is_same(&second.next(wanted(&[1, 3, 9]), &name, &stats)));
        let third = second.next(wanted(&[9]), &name, &stats);
        assert_eq!((third.len(), third.slots()), (1, 3));
    }

    #[test]
    fn one_address_is_one_host_with_the_sum_of_its_weights() {
        let hosts = Hosts::default().next(wanted(&[1, 1, 2]), &Name::new("c"), &Stats::new(1));
        let weights: Vec<_> = hosts.iter().map(|host| host.endpoint.weight).collect();
        assert_eq!(weights, [2, 1]);
    }

    #[test]
    fn marks_come_and_go_and_coming_back_begins_a_slow_start() {
        let state = HostState::new();
        assert!(state.is_healthy());
        state.since.store(0, Relaxed);
        assert!(state.mark(Mark::Unhealthy, true) && !state.mark(Mark::Unhealthy, true));
        assert!(state.mark(Mark::Ejected, true) && state.has(Mark::Ejected));
        assert!(state.mark(Mark::Unhealthy, false) && !state.is_healthy());
        assert_eq!(state.since(), 0);
        assert!(state.mark(Mark::Ejected, false) && state.is_healthy());
        assert!(state.since() > 0);
        state.mark(Mark::Degraded, true);
        assert!(!state.is_healthy() && state.is_degraded());
    }
}
