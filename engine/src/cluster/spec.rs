//! A cluster as a snapshot knows it, and the record of each host that all cores share with control.
//!
//! A host has a slot: a small number that stays its own from snapshot to snapshot, so that what is known of it by number (a
//! core's live side of it, a request's list of hosts tried) stays true while others come and go. Slots of hosts that are
//! gone are given to new ones; an `id` that is never used twice tells them apart.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use ringway_config::{self as config, Endpoint, Name, Outlier};
use ringway_protocols::codec::{Codec, Sharing};

use super::breaker::{Breakers, Full};
use super::hosts::{Hosts, Location};
use super::sets::{Census, ClusterSets, Source};
use crate::net::tls;
use crate::observe::{Calls, ClusterStats, HostStats, PerCore, RpcCalls, Stats};
use crate::time::now_millis;

/// A host as the snapshot knows it.
#[derive(Debug)]
pub struct HostSpec {
    /// Tells it from every other host that the process has had.
    pub id: u64,
    /// Its number in its cluster.
    pub slot: u32,
    /// Tells what is said of it here from what other versions say.
    pub revision: u64,
    /// Where it is.
    pub location: Location,
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
    /// Errors in a row, by [`Streak`]. Written by all cores and by control, and only where `outlier` is configured; a success
    /// writes only where there is something to take back.
    errors: [AtomicU32; 3],
    /// Connections and requests in the whole process, counted only where there is a limit. Written by all cores.
    in_use: Arc<[AtomicU32; 2]>,
}

/// A place under a limit of a host; given back when dropped.
#[derive(Debug)]
pub(crate) struct HostPlace {
    in_use: Arc<[AtomicU32; 2]>,
    which: usize,
}

impl Drop for HostPlace {
    fn drop(&mut self) {
        if let Some(used) = self.in_use.get(self.which) {
            used.fetch_sub(1, Relaxed);
        }
    }
}

/// Errors in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streak {
    /// Answers 500 to 599, and failures without an answer.
    ServerErrors,
    /// Answers 502 to 504, and failures without an answer.
    GatewayErrors,
    /// Failures without an answer.
    LocalErrors,
}

impl HostState {
    /// Of a host whose health is checked nothing good is known before the first answer.
    pub(super) fn new(checked: bool) -> Self {
        let marks = if checked { Mark::Unhealthy as u32 } else { 0 };
        Self {
            marks: AtomicU32::new(marks),
            since: AtomicU64::new(now_millis()),
            errors: Default::default(),
            in_use: Arc::default(),
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

    /// A place for a connection.
    pub(crate) fn connect(&self, limit: u32) -> Result<HostPlace, Full> {
        self.place(0, limit)
    }

    /// A place for a request.
    pub(crate) fn request(&self, limit: u32) -> Result<HostPlace, Full> {
        self.place(1, limit)
    }

    fn place(&self, which: usize, limit: u32) -> Result<HostPlace, Full> {
        let more = |used: u32| (used < limit).then_some(used + 1);
        let used = self.in_use.get(which).ok_or(Full)?;
        used.fetch_update(Relaxed, Relaxed, more)
            .map_err(|_full| Full)?;
        Ok(HostPlace {
            in_use: Arc::clone(&self.in_use),
            which,
        })
    }

    /// Counts how a try ended: its status, or none without an answer. A streak whose threshold this very one has reached.
    pub(crate) fn count(&self, outlier: &Outlier, status: Option<u16>) -> Option<Streak> {
        let bad = [
            (
                Streak::ServerErrors,
                outlier.consecutive_5xx,
                status.is_none_or(|status| status >= 500),
            ),
            (
                Streak::GatewayErrors,
                outlier.consecutive_gateway,
                status.is_none_or(|status| matches!(status, 502..=504)),
            ),
            (
                Streak::LocalErrors,
                outlier.consecutive_local,
                status.is_none(),
            ),
        ];
        let mut reached = None;
        for (errors, (streak, threshold, bad)) in self.errors.iter().zip(bad) {
            if !bad {
                if errors.load(Relaxed) != 0 {
                    errors.store(0, Relaxed);
                }
            } else if threshold > 0 && errors.fetch_add(1, Relaxed) + 1 == threshold {
                reached = Some(streak);
            }
        }
        reached
    }

    /// Begins all streaks anew: control has taken its decision.
    pub fn forget_errors(&self) {
        self.errors
            .iter()
            .for_each(|errors| errors.store(0, Relaxed));
    }

    /// Whether it has a mark.
    pub fn has(&self, mark: Mark) -> bool {
        self.marks.load(Relaxed) & mark as u32 != 0
    }

    /// All marks.
    pub(crate) fn marks(&self) -> u8 {
        // There are three.
        self.marks.load(Relaxed) as u8
    }

    pub(crate) fn since(&self) -> u64 {
        self.since.load(Relaxed)
    }
}

fn is_out(marks: u32) -> bool {
    marks & (Mark::Unhealthy as u32 | Mark::Ejected as u32) != 0
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
    /// Hosts that are not as the sets have them.
    pub(crate) touched: Touched,
    /// What it has in use: the same over snapshots.
    pub breakers: Arc<Breakers>,
    /// The hosts of each zone of the cluster that zone-aware routing measures itself by.
    pub(crate) sources: HashMap<String, u32>,
    /// Its numbers.
    pub stats: Arc<PerCore<ClusterStats>>,
    /// Its side of TLS, and the files that this was made from.
    pub(crate) tls: Option<(tls::Client, tls::Files)>,
    /// Calls of gRPC to it, by method.
    pub calls: Arc<PerCore<Calls>>,
    /// What its hosts speak, if it is an RPC protocol.
    pub(crate) codec: Option<Arc<dyn Codec>>,
    /// Calls of that to it, by method.
    pub(crate) rpc_calls: Option<Arc<PerCore<RpcCalls>>>,
}

/// A cluster of these hosts, without TLS. `last` is its last version, whose places in use stay.
pub(crate) fn assemble(
    config: config::Cluster,
    hosts: Hosts,
    sources: HashMap<String, u32>,
    stats: &Stats,
    last: Option<&ClusterSpec>,
) -> ClusterSpec {
    let numbers = stats.cluster(&config.name);
    let breakers = last.map_or_else(
        || Breakers::new(numbers.iter().count()),
        |last| Arc::clone(&last.breakers),
    );
    let source = Source {
        config: &config,
        hosts: &hosts,
        zones: &sources,
    };
    let step = last.and_then(|last| last.step(source));
    let sets = step.unwrap_or_else(|| ClusterSets::build(source));
    ClusterSpec {
        touched: Touched::new(hosts.slots()),
        stats: numbers,
        calls: stats.calls(&config.name),
        breakers,
        codec: None,
        rpc_calls: None,
        sets: Arc::new(sets),
        config,
        hosts,
        sources,
        tls: None,
    }
}

/// Slots whose hosts' health has changed since their cluster's sets were made, a bit each. Written by control.
#[derive(Debug)]
pub(crate) struct Touched(Box<[AtomicU64]>);

impl Touched {
    fn new(slots: usize) -> Self {
        Self((0..slots.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    fn note(&self, slots: &[u32]) {
        for slot in slots {
            if let Some(word) = self.0.get(*slot as usize / 64) {
                word.store(word.load(Relaxed) | 1 << (slot % 64), Relaxed);
            }
        }
    }

    fn slots(&self) -> impl Iterator<Item = u32> {
        let words = (0_u32..)
            .zip(&self.0)
            .map(|(at, word)| (at, word.load(Relaxed)));
        let some = words.filter(|(_, word)| *word != 0);
        some.flat_map(|(at, word)| {
            let bits = (0..64).filter(move |bit| word & 1 << bit != 0);
            bits.map(move |bit| at * 64 + bit)
        })
    }
}

impl ClusterSpec {
    /// Whether each client of its RPC protocol has connections of its own.
    pub(crate) fn is_bound(&self) -> bool {
        let codec = self.codec.as_ref();
        self.config.rpc.bound || codec.is_some_and(|codec| codec.sharing() == Sharing::Bound)
    }

    /// What the health of these hosts (their slots), which has changed, makes of `last`.
    pub(crate) fn derive(&self, last: &ClusterSets, changed: &[u32]) -> Arc<ClusterSets> {
        self.touched.note(changed);
        let source = Source {
            config: &self.config,
            hosts: &self.hosts,
            zones: &self.sources,
        };
        Arc::new(last.next(source, &self.hosts, changed))
    }

    /// What its sets become with a few other hosts; none: they are to be made from the beginning.
    fn step(&self, source: Source<'_>) -> Option<ClusterSets> {
        let (old, new) = (&self.config, source.config);
        let same = old.balance == new.balance
            && old.slow_start == new.slow_start
            && old.placement == new.placement
            && old.subsets == new.subsets
            && old.sticky == new.sticky
            && self.sources == *source.zones;
        let changed = source.hosts.changed(&self.hosts).filter(|_| same)?;
        // The sets are of when this was built: what has become of its hosts' health since is read with the rest.
        let mut changed: Vec<u32> = changed
            .iter()
            .copied()
            .chain(self.touched.slots())
            .collect();
        changed.sort_unstable();
        changed.dedup();
        Some(self.sets.next(source, &self.hosts, &changed))
    }

    /// Whether its side of TLS is the very same as another version's.
    pub fn is_secured_as(&self, other: &Self) -> bool {
        match (&self.tls, &other.tls) {
            (None, None) => true,
            (Some((own, _)), Some((other, _))) => own.is_same(other),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    /// Its hosts, counted as of when this was built.
    pub fn census(&self) -> Census {
        self.sets.census()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_streak_is_reported_once_by_who_completes_it() {
        let state = HostState::new(false);
        let outlier = Outlier {
            consecutive_5xx: 3,
            consecutive_gateway: 2,
            consecutive_local: 0,
            interval: std::time::Duration::from_secs(1),
            base_ejection: std::time::Duration::from_secs(1),
            max_ejection: std::time::Duration::from_secs(1),
            jitter: std::time::Duration::ZERO,
            max_ejected: config::Percent::ALL,
            success_rate: None,
            failure: None,
        };
        let count = |status| state.count(&outlier, status);
        assert_eq!(count(Some(500)), None);
        assert_eq!(count(Some(503)), None);
        assert_eq!(count(Some(200)), None);
        assert_eq!(count(Some(500)), None);
        assert_eq!(count(None), None);
        assert_eq!(count(Some(500)), Some(Streak::ServerErrors));
        assert_eq!(count(Some(500)), None);
        assert_eq!(count(Some(502)), None);
        assert_eq!(count(None), Some(Streak::GatewayErrors));
        state.forget_errors();
        assert_eq!(state.count(&outlier, Some(504)), None);
        assert_eq!(
            state.count(&outlier, Some(504)),
            Some(Streak::GatewayErrors)
        );
    }

    #[test]
    fn marks_come_and_go_and_coming_back_begins_a_slow_start() {
        let state = HostState::new(false);
        assert_eq!(state.marks(), 0);
        state.since.store(0, Relaxed);
        assert!(state.mark(Mark::Unhealthy, true) && !state.mark(Mark::Unhealthy, true));
        assert!(state.mark(Mark::Ejected, true) && state.has(Mark::Ejected));
        assert!(state.mark(Mark::Unhealthy, false) && state.marks() != 0);
        assert_eq!(state.since(), 0);
        assert!(state.mark(Mark::Ejected, false) && state.marks() == 0);
        assert!(state.since() > 0);
        state.mark(Mark::Degraded, true);
        assert_eq!(state.marks(), Mark::Degraded as u8);
    }
}
