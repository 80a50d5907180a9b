//! What picks go by of each host, by slot, in few bytes: sorting and counting 100,000 hosts reads one short table instead of
//! each host's record, and the next version of the table is a copy with a few entries of its own.

use std::collections::HashMap;

use ringway_config::{Cluster, Localities, Locality};

use super::levels::Counts;
use crate::cluster::hosts::Hosts;
use crate::cluster::spec::Mark;

/// A host is there.
const HERE: u8 = 1 << 7;

/// What is known of a host.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fact {
    weight: u32,
    /// The number of its locality, where they are told apart.
    locality: u32,
    pub(super) priority: u8,
    /// [`Mark`]s, and whether there is a host.
    flags: u8,
}

impl Fact {
    pub(super) fn is_here(self) -> bool {
        self.flags & HERE != 0
    }

    pub(super) fn is_healthy(self) -> bool {
        self.flags == HERE
    }

    pub(super) fn is_degraded(self) -> bool {
        self.flags == HERE | Mark::Degraded as u8
    }

    fn has(self, mark: Mark) -> bool {
        self.flags & mark as u8 != 0
    }
}

/// A cluster's hosts, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// All of them.
    pub total: u32,
    /// Those that may be asked, and are at their best.
    pub healthy: u32,
    /// Those that may be asked where too few others are left.
    pub degraded: u32,
    /// Those that are out for their errors.
    pub ejected: u32,
}

/// What is known of all hosts.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    of: Vec<Fact>,
    /// When each came, where there is a slow start.
    since: Vec<u64>,
    numbers: HashMap<Locality, u32>,
    localities: Vec<Locality>,
}

impl Facts {
    /// Reads all hosts.
    pub(super) fn build(config: &Cluster, hosts: &Hosts) -> Self {
        let mut facts = Self::default();
        facts.read(config, hosts, 0..hosts.slots() as u32);
        facts
    }

    /// Reads the hosts of these slots anew.
    pub(super) fn read(
        &mut self,
        config: &Cluster,
        hosts: &Hosts,
        slots: impl Iterator<Item = u32>,
    ) {
        self.of.resize(hosts.slots(), Fact::default());
        if config.slow_start.is_some() {
            self.since.resize(hosts.slots(), 0);
        }
        let apart = config.placement.localities != Localities::Ignored;
        for slot in slots {
            let host = hosts.get(slot);
            let fact = host.map_or_else(Fact::default, |host| Fact {
                weight: host.endpoint.weight,
                locality: if apart {
                    self.number(&host.endpoint.locality)
                } else {
                    0
                },
                priority: host.endpoint.priority,
                flags: host.state.marks() | HERE,
            });
            if let Some(place) = self.of.get_mut(slot as usize) {
                *place = fact;
            }
            if let Some(since) = self.since.get_mut(slot as usize) {
                *since = host.map_or(0, |host| host.state.since());
            }
        }
    }

    fn number(&mut self, locality: &Locality) -> u32 {
        if let Some(number) = self.numbers.get(locality) {
            return *number;
        }
        let number = self.localities.len() as u32;
        self.localities.push(locality.clone());
        self.numbers.insert(locality.clone(), number);
        number
    }

    /// What is known of the host of a slot.
    pub(super) fn get(&self, slot: u32) -> Fact {
        self.of.get(slot as usize).copied().unwrap_or_default()
    }

    /// The slots that have a host, in order.
    pub(super) fn slots(&self) -> impl Iterator<Item = u32> {
        let here = (0_u32..).zip(&self.of).filter(|(_, fact)| fact.is_here());
        here.map(|(slot, _)| slot)
    }

    /// The weights of these.
    pub(super) fn weights(&self, slots: &[u32]) -> Vec<u32> {
        slots.iter().map(|slot| self.get(*slot).weight).collect()
    }

    /// When these came.
    pub(super) fn since(&self, slots: &[u32]) -> Vec<u64> {
        let of = |slot: &u32| self.since.get(*slot as usize).copied().unwrap_or(0);
        slots.iter().map(of).collect()
    }

    /// These by locality, in the order of the localities' names.
    pub(super) fn by_locality(&self, slots: &[u32]) -> Vec<(&Locality, Vec<u32>)> {
        let mut all: Vec<(&Locality, Vec<u32>)> = self
            .localities
            .iter()
            .map(|locality| (locality, Vec::new()))
            .collect();
        for slot in slots {
            if let Some((_, members)) = all.get_mut(self.get(*slot).locality as usize) {
                members.push(*slot);
            }
        }
        all.retain(|(_, members)| !members.is_empty());
        all.sort_by_key(|(locality, _)| *locality);
        all
    }

    /// These by priority, the first that is asked first.
    pub(super) fn by_priority(&self, slots: impl Iterator<Item = u32>) -> Vec<(u8, Vec<u32>)> {
        let mut all: Vec<(u8, Vec<u32>)> = Vec::new();
        for slot in slots {
            let priority = self.get(slot).priority;
            match all.iter_mut().find(|(known, _)| *known == priority) {
                Some((_, members)) => members.push(slot),
                None => all.push((priority, vec![slot])),
            }
        }
        all.sort_by_key(|(priority, _)| *priority);
        all
    }

    /// These, counted.
    pub(super) fn count(&self, slots: &[u32]) -> Counts {
        let mut counts = Counts {
            total: slots.len() as u32,
            ..Counts::default()
        };
        for slot in slots {
            let fact = self.get(*slot);
            counts.healthy += u32::from(fact.is_healthy());
            counts.degraded += u32::from(fact.is_degraded());
        }
        counts
    }

    /// All of them, counted.
    pub(super) fn census(&self) -> Census {
        let mut census = Census::default();
        for fact in self.of.iter().filter(|fact| fact.is_here()) {
            census.total += 1;
            census.healthy += u32::from(fact.is_healthy());
            census.degraded += u32::from(fact.is_degraded());
            census.ejected += u32::from(fact.has(Mark::Ejected));
        }
        census
    }
}
