//! Hosts by metadata: an index from keys and values to the hosts that have them, made once per snapshot.
//!
//! A pick hashes what the route asks for, looks the hash up and compares the pairs, whatever the number of hosts and subsets. What a change of health moves is only the sets of the subsets that the host is in.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use ringway_config::{Fallback, Selector, SelectorFallback, Subsets};

use crate::cluster::hash::xxh64;
use crate::cluster::hosts::Hosts;
use crate::cluster::spec::HostSpec;

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
            hash: hash_of(pairs.iter()),
            pairs,
        })
    }
}

fn hash_of<'a>(pairs: impl Iterator<Item = &'a (String, String)>) -> u64 {
    pairs.fold(0, |hash, (key, value)| {
        // Each text's length is in its hash, so pairs cannot run into one another.
        xxh64(value.as_bytes(), xxh64(key.as_bytes(), hash))
    })
}

/// Keys that are hashes already.
#[derive(Clone, Default)]
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

/// A subset: what its hosts have in common, and which they are, in order.
#[derive(Clone, Debug)]
struct Subset {
    pairs: Arc<[(String, String)]>,
    members: Arc<Vec<u32>>,
    /// Another one of the same hash.
    next: Option<u32>,
}

impl Subset {
    fn join(&mut self, slot: u32) {
        // Two selectors of the same keys find the same subset twice.
        if let Err(at) = self.members.binary_search(&slot) {
            Arc::make_mut(&mut self.members).insert(at, slot);
        }
    }

    fn leave(&mut self, slot: u32) {
        if let Ok(at) = self.members.binary_search(&slot) {
            Arc::make_mut(&mut self.members).remove(at);
        }
    }
}

/// The subsets of a cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    subsets: Vec<Subset>,
    /// By hash; what else has the same hash is found from there.
    by_hash: Arc<HashMap<u64, u32, BuildHasherDefault<Same>>>,
    /// The hosts of `fallback: default`.
    default: Option<u32>,
}

impl Index {
    /// Sorts the hosts into subsets.
    pub(super) fn build(config: &Subsets, hosts: &Hosts) -> Self {
        let mut index = Self::default();
        if config.falls_to_default() {
            index.default = Some(0);
            index.subsets.push(Subset {
                pairs: config.default.as_slice().into(),
                members: Arc::default(),
                next: None,
            });
        }
        for host in hosts.iter() {
            index.join(config, host);
        }
        index
    }

    /// The same where the hosts of some slots (before, and now) are others.
    pub(super) fn next<'h>(
        &self,
        config: &Subsets,
        changes: impl Iterator<Item = (Option<&'h HostSpec>, Option<&'h HostSpec>)>,
    ) -> Self {
        let mut next = self.clone();
        for (old, new) in changes {
            if let Some(old) = old {
                for at in self.of(config, old) {
                    if let Some(subset) = next.subsets.get_mut(at as usize) {
                        subset.leave(old.slot);
                    }
                }
            }
            if let Some(new) = new {
                next.join(config, new);
            }
        }
        next
    }

    /// Whether so many subsets have lost all their members that it is better made anew.
    pub(super) fn is_worn(&self) -> bool {
        let empty = self
            .subsets
            .iter()
            .filter(|subset| subset.members.is_empty());
        empty.count() > self.subsets.len() / 2 + 1
    }

    /// Joins a host to its subsets, which are made where they are not there yet.
    fn join(&mut self, config: &Subsets, host: &HostSpec) {
        for selector in &config.selectors {
            let Some(pairs) = selected(&selector.keys, host) else {
                continue;
            };
            let hash = hash_of(pairs.iter().copied());
            let at = self.at(hash, pairs.iter().copied());
            let at = at.unwrap_or_else(|| {
                let at = self.subsets.len() as u32;
                let next = Arc::make_mut(&mut self.by_hash).insert(hash, at);
                self.subsets.push(Subset {
                    pairs: pairs.into_iter().cloned().collect(),
                    members: Arc::default(),
                    next,
                });
                at
            });
            if let Some(subset) = self.subsets.get_mut(at as usize) {
                subset.join(host.slot);
            }
        }
        if let Some(at) = self.default
            && let Some(subset) = self.subsets.get_mut(at as usize)
            && has_all(host, &subset.pairs)
        {
            subset.join(host.slot);
        }
    }

    /// The subset of these pairs.
    fn at<'p>(
        &self,
        hash: u64,
        pairs: impl Iterator<Item = &'p (String, String)> + Clone,
    ) -> Option<u32> {
        let mut at = self.by_hash.get(&hash).copied();
        while let Some(here) = at {
            let subset = self.subsets.get(here as usize)?;
            if subset.pairs.iter().eq(pairs.clone()) {
                return at;
            }
            at = subset.next;
        }
        None
    }

    /// How many subsets share a hash, at most.
    #[cfg(test)]
    pub(super) fn longest_chain(&self) -> usize {
        let length = |at: &u32| {
            let next = |at: &u32| self.subsets.get(*at as usize)?.next;
            std::iter::successors(Some(*at), next).count()
        };
        self.by_hash.values().map(length).max().unwrap_or(0)
    }

    /// The members of each subset.
    pub(super) fn members(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        self.subsets.iter().map(|subset| &**subset.members)
    }

    /// Whether the host of a slot is among those chosen.
    pub(super) fn has(&self, choice: Choice, slot: u32) -> bool {
        match choice {
            Choice::Subset(at) => {
                let subset = self.subsets.get(at as usize);
                subset.is_some_and(|subset| subset.members.binary_search(&slot).is_ok())
            }
            Choice::All => true,
            Choice::Nobody => false,
        }
    }

    /// The subsets that a host is in.
    pub(super) fn of(&self, config: &Subsets, host: &HostSpec) -> Vec<u32> {
        let of_selector = |selector: &Selector| {
            let pairs = selected(&selector.keys, host)?;
            let hash = hash_of(pairs.iter().copied());
            self.at(hash, pairs.into_iter())
        };
        let own = config.selectors.iter().filter_map(of_selector);
        let default = self.default.filter(|at| {
            let subset = self.subsets.get(*at as usize);
            subset.is_some_and(|subset| has_all(host, &subset.pairs))
        });
        own.chain(default).collect()
    }

    /// Whom a request goes to: the hosts with exactly these keys and values, if there are any; else those that its selector falls
    /// back to, or the cluster.
    pub(super) fn choose(&self, config: &Subsets, asked: Option<MetadataMatch<'_>>) -> Choice {
        let mut fallback = config.fallback;
        let mut asked = asked.map(|asked| (asked.hash, asked.pairs, None::<&[String]>));
        while let Some((hash, all, of)) = asked {
            let is_asked = |key: &String| of.is_none_or(|of| of.contains(key));
            let pairs = all.iter().filter(|(key, _)| is_asked(key));
            let found = self.at(hash, pairs.clone()).filter(|at| {
                let subset = self.subsets.get(*at as usize);
                subset.is_some_and(|subset| !subset.members.is_empty())
            });
            if let Some(at) = found {
                return Choice::Subset(at);
            }
            let keys = pairs.map(|(key, _)| key);
            let mut selectors = config.selectors.iter();
            let selector = selectors.find(|selector| keys.clone().eq(&selector.keys));
            match selector.map(|selector| &selector.fallback) {
                // Fewer keys each time, so that this ends.
                Some(SelectorFallback::Keys(fewer)) => {
                    let pairs = all.iter().filter(|(key, _)| fewer.contains(key));
                    let hash = hash_of(pairs);
                    asked = Some((hash, all, Some(fewer)));
                }
                Some(SelectorFallback::Own(own)) => {
                    fallback = *own;
                    break;
                }
                Some(SelectorFallback::Cluster) | None => break,
            }
        }
        match fallback {
            Fallback::None => Choice::Nobody,
            Fallback::Any => Choice::All,
            Fallback::Default => self.default.map_or(Choice::Nobody, Choice::Subset),
        }
    }
}

/// Whom a request goes to.
#[derive(Clone, Copy)]
pub(super) enum Choice {
    /// A subset.
    Subset(u32),
    /// All hosts.
    All,
    /// Nobody.
    Nobody,
}

/// The pairs of a host that a selector names, if it has them all.
fn selected<'h>(selector: &[String], host: &'h HostSpec) -> Option<Vec<&'h (String, String)>> {
    let metadata = &host.endpoint.metadata;
    let value = |key: &String| {
        let at = metadata.binary_search_by(|(name, _)| name.cmp(key)).ok()?;
        metadata.get(at)
    };
    selector.iter().map(value).collect()
}

fn has_all(host: &HostSpec, pairs: &[(String, String)]) -> bool {
    let metadata = &host.endpoint.metadata;
    pairs.iter().all(|pair| metadata.contains(pair))
}
