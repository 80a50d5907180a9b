//! Hosts by metadata: an index from keys and values to the hosts that have them, made once per snapshot.
//!
//! A pick hashes what the route asks for, looks the hash up and compares the pairs, whatever the number of hosts and subsets. What a change of health moves is only the sets of the subsets that the host is in.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use ringway_config::Subsets;

use crate::cluster::hash::xxh64;
use crate::cluster::hosts::Hosts;

/// What a route asks of the hosts' metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MetadataMatch<'a> {
    pairs: &'a [(String, String)],
    hash: u64,
}

impl<'a> MetadataMatch<'a> {
    /// The pairs, sorted by key; none where there are none.
    pub(crate) fn new(pairs: &'a [(String, String)]) -> Option<Self> {
        (!pairs.is_empty()).then(|| Self {
            hash: hash(
                pairs
                    .iter()
                    .map(|(key, value)| (key.as_str(), value.as_str())),
            ),
            pairs,
        })
    }
}

fn hash<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> u64 {
    pairs.fold(0, |hash, (key, value)| {
        // Each text's length is in its hash, so pairs cannot run into one another.
        xxh64(value.as_bytes(), xxh64(key.as_bytes(), hash))
    })
}

/// Keys that are hashes already.
#[derive(Default)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh64(bytes, self.0);
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// A subset: what its hosts have in common, and which they are.
#[derive(Debug)]
struct Subset {
    pairs: Box<[(String, String)]>,
    members: Vec<u32>,
}

/// The subsets of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Index {
    subsets: Vec<Subset>,
    /// By hash: mostly one.
    by_hash: HashMap<u64, Vec<u32>, BuildHasherDefault<Same>>,
    /// The subsets that each host (by slot) is in.
    of_host: Vec<Vec<u32>>,
    /// The hosts of `fallback: default`.
    default: Option<u32>,
}

impl Index {
    /// Sorts the hosts into subsets.
    pub(super) fn build(config: &Subsets, hosts: &Hosts) -> Self {
        let mut index = Self {
            of_host: vec![Vec::new(); hosts.slots()],
            ..Self::default()
        };
        for host in hosts.iter() {
            let metadata = &host.endpoint.metadata;
            for selector in &config.selectors {
                let value = |key: &String| {
                    let at = metadata.binary_search_by(|(name, _)| name.cmp(key)).ok()?;
                    metadata.get(at)
                };
                let pairs: Option<Vec<&(String, String)>> = selector.iter().map(value).collect();
                if let Some(pairs) = pairs {
                    index.add(&pairs, host.slot);
                }
            }
        }
        if let ringway_config::Fallback::Default(pairs) = &config.fallback {
            index.add_default(pairs, hosts);
        }
        index
    }

    fn add(&mut self, pairs: &[&(String, String)], slot: u32) {
        let hash = hash(pairs.iter().map(|pair| (pair.0.as_str(), pair.1.as_str())));
        let known = self.by_hash.entry(hash).or_default();
        let found = known.iter().copied().find(|at| {
            let subset = self.subsets.get(*at as usize);
            subset.is_some_and(|subset| subset.pairs.iter().eq(pairs.iter().copied()))
        });
        let at = found.unwrap_or_else(|| {
            let at = self.subsets.len() as u32;
            known.push(at);
            self.subsets.push(Subset {
                pairs: pairs.iter().map(|pair| (*pair).clone()).collect(),
                members: Vec::new(),
            });
            at
        });
        self.join(at, slot);
    }

    fn add_default(&mut self, pairs: &[(String, String)], hosts: &Hosts) {
        let at = self.subsets.len() as u32;
        self.subsets.push(Subset {
            pairs: pairs.into(),
            members: Vec::new(),
        });
        self.default = Some(at);
        for host in hosts.iter() {
            if pairs
                .iter()
                .all(|pair| host.endpoint.metadata.contains(pair))
            {
                self.join(at, host.slot);
            }
        }
    }

    fn join(&mut self, at: u32, slot: u32) {
        if let Some(subset) = self.subsets.get_mut(at as usize)
            && let Some(of_host) = self.of_host.get_mut(slot as usize)
            // Two selectors of the same keys find the same subset twice.
            && of_host.last() != Some(&at)
        {
            subset.members.push(slot);
            of_host.push(at);
        }
    }

    /// How many subsets share a hash, at most.
    #[cfg(test)]
    pub(super) fn longest_chain(&self) -> usize {
        self.by_hash.values().map(Vec::len).max().unwrap_or(0)
    }

    /// The members of each subset.
    pub(super) fn members(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        self.subsets.iter().map(|subset| &*subset.members)
    }

    /// The subsets that a host is in.
    pub(super) fn of(&self, slot: u32) -> &[u32] {
        self.of_host
            .get(slot as usize)
            .map_or(&[], |subsets| subsets)
    }

    /// The hosts of `fallback: default`.
    pub(super) fn default_subset(&self) -> Option<u32> {
        self.default
    }

    /// The subset of exactly these keys and values.
    pub(super) fn find(&self, asked: &MetadataMatch<'_>) -> Option<u32> {
        let candidates = self.by_hash.get(&asked.hash)?;
        candidates.iter().copied().find(|at| {
            let subset = self.subsets.get(*at as usize);
            subset.is_some_and(|subset| *subset.pairs == *asked.pairs)
        })
    }
}
