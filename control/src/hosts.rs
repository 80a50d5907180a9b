//! The hosts of all clusters as control watches them: checks, ejections, and telling the cores.
//!
//! ```text
//!  a probe's verdict ─┐
//!  a core's report ───┼─► marks in the host's record ─► dirty ─► (2 ms) ─► Handle::refresh, once for each cluster
//!  an interval's end ─┘
//! ```

mod eject;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringway_config::{HealthCheck, Name};
use ringway_engine::observe::Stats;
use ringway_engine::rng::Rng;
use ringway_engine::{ClusterSpec, HostSpec, Mark, Snapshot};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::sleep;

use crate::health::{self, Checked, Secure};
use crate::outlier::Log;
use crate::process::Process;
use eject::Watched;

pub(crate) use eject::eject;

/// Changes that come within it are told as one: a thousand hosts that go at once are one derivation.
const GATHER: Duration = Duration::from_millis(2);
/// How often it is looked whether the cores have let go of what was replaced.
const TIDY: Duration = Duration::from_secs(1);

struct Check {
    config: HealthCheck,
    /// What is said of the host: it may have moved.
    revision: u64,
    header: Vec<u8>,
    tls: Secure,
    task: AbortHandle,
}

impl Drop for Check {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is watched.
pub(crate) struct Keeper {
    pub(crate) rng: Rng,
    started: Instant,
    stats: Arc<Stats>,
    /// By the host's id.
    checks: RefCell<HashMap<u64, Check>>,
    /// What the last probe of each host said.
    reasons: RefCell<HashMap<u64, String>>,
    watched: RefCell<BTreeMap<Name, Watched>>,
    /// What became of hosts of late.
    pub(crate) log: RefCell<Log>,
    dirty: RefCell<BTreeMap<Name, BTreeSet<(u32, u64)>>>,
    told: Notify,
    /// Which clusters are watched has changed.
    moved: Notify,
}

impl Keeper {
    pub(crate) fn new(stats: &Arc<Stats>, seed: u64) -> Rc<Self> {
        Rc::new(Self {
            rng: Rng::new(seed),
            started: Instant::now(),
            stats: Arc::clone(stats),
            checks: RefCell::default(),
            reasons: RefCell::default(),
            watched: RefCell::default(),
            log: RefCell::default(),
            dirty: RefCell::default(),
            told: Notify::new(),
            moved: Notify::new(),
        })
    }

    /// Takes over the hosts of a snapshot: new ones are checked, gone ones no more.
    pub(crate) fn follow(self: &Rc<Self>, snapshot: &Snapshot) {
        let mut old = self.checks.take();
        let mut checks = HashMap::new();
        let mut reasons = self.reasons.take();
        let mut kept = HashMap::new();
        for cluster in snapshot.clusters() {
            self.count(cluster);
            for host in cluster.hosts.iter() {
                let Some(config) = &cluster.config.health_check else {
                    self.unchecked(cluster, host);
                    continue;
                };
                if let Some(reason) = reasons.remove(&host.id) {
                    kept.insert(host.id, reason);
                }
                let header = cluster.own_header();
                let tls = Secure::of(cluster, host, config);
                let known = old.remove(&host.id).filter(|check| {
                    check.config == *config
                        && check.revision == host.revision
                        && check.header == header
                        && check.tls.is_same(&tls)
                });
                let check = known.unwrap_or_else(|| self.check(cluster, host, config, header, tls));
                checks.insert(host.id, check);
            }
        }
        self.checks.replace(checks);
        self.reasons.replace(kept);
        self.follow_outliers(snapshot);
        self.moved.notify_one();
    }

    fn check(
        self: &Rc<Self>,
        cluster: &ClusterSpec,
        host: &Arc<HostSpec>,
        config: &HealthCheck,
        header: Vec<u8>,
        tls: Secure,
    ) -> Check {
        let checked = Checked {
            cluster: cluster.config.name.clone(),
            host: Arc::clone(host),
            config: config.clone(),
            header: header.clone(),
            tls: tls.clone(),
            counts: self.stats.watch(&cluster.config.name),
            traffic: Arc::clone(&cluster.stats),
        };
        Check {
            config: config.clone(),
            revision: host.revision,
            header,
            tls,
            task: spawn_local(health::check(checked, Rc::clone(self))).abort_handle(),
        }
    }

    /// Nobody checks it any more: what checks once said does not count.
    fn unchecked(&self, cluster: &ClusterSpec, host: &HostSpec) {
        let mut changed = host.state.mark(Mark::Unhealthy, false);
        changed |= host.state.mark(Mark::Degraded, false);
        if changed {
            self.changed(&cluster.config.name, host);
        }
    }

    /// What a host's last probe said.
    pub(crate) fn note(&self, host: u64, reason: &str) {
        let mut reasons = self.reasons.borrow_mut();
        let said = reasons.entry(host).or_default();
        if said != reason {
            reason.clone_into(said);
        }
    }

    /// The same, to be shown.
    pub(crate) fn reason(&self, host: u64) -> Option<String> {
        self.reasons.borrow().get(&host).cloned()
    }

    /// A host's marks have changed: the cores will hear of it.
    pub(crate) fn changed(&self, cluster: &Name, host: &HostSpec) {
        self.dirty
            .borrow_mut()
            .entry(cluster.clone())
            .or_default()
            .insert((host.slot, host.id));
        self.told.notify_one();
    }

    fn count(&self, cluster: &ClusterSpec) {
        let watch = self.stats.watch(&cluster.config.name);
        let counts = watch.core(0);
        let (mut healthy, mut degraded, mut ejected) = (0, 0, 0);
        for host in cluster.hosts.iter() {
            let out = host.state.has(Mark::Ejected);
            ejected += i64::from(out);
            if !out && !host.state.has(Mark::Unhealthy) {
                degraded += i64::from(host.state.has(Mark::Degraded));
                healthy += i64::from(!host.state.has(Mark::Degraded));
            }
        }
        counts
            .membership_total
            .set(i64::try_from(cluster.hosts.len()).unwrap_or(i64::MAX));
        counts.membership_healthy.set(healthy);
        counts.membership_degraded.set(degraded);
        counts.outlier_ejections_active.set(ejected);
    }

    /// Brings the gauges of what limits leave up to date; they are read seldom, and written only then.
    pub(crate) fn measure(&self, snapshot: &Snapshot) {
        for cluster in snapshot.clusters() {
            let left = cluster.breakers.remaining(&cluster.config.limits);
            let watch = self.stats.watch(&cluster.config.name);
            let counts = watch.core(0);
            for (gauge, left) in [
                (&counts.remaining_cx, left.connections),
                (&counts.remaining_pending, left.pending),
                (&counts.remaining_rq, left.requests),
                (&counts.remaining_retries, left.retries),
                (&counts.remaining_high_rq, left.high_requests),
                (&counts.remaining_high_retries, left.high_retries),
            ] {
                gauge.set(left.map_or(0, i64::from));
            }
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Tells the cores what has changed, for as long as the process lives.
pub(crate) async fn tell(process: Rc<Process>) {
    let keeper = Rc::clone(&process.hosts);
    loop {
        keeper.told.notified().await;
        sleep(GATHER).await;
        let snapshot = process.snapshot();
        for (name, hosts) in keeper.dirty.take() {
            let Some(spec) = snapshot.cluster(&name) else {
                continue;
            };
            let there = hosts.iter().filter(|(slot, id)| spec.hosts.has(*slot, *id));
            let slots: Vec<u32> = there.map(|(slot, _)| *slot).collect();
            if !slots.is_empty() {
                process.handle.borrow_mut().refresh(spec, &slots);
                keeper.count(spec);
            }
        }
    }
}

/// Lets go of what the cores have let go of.
pub(crate) async fn tidy(process: Rc<Process>) {
    loop {
        sleep(TIDY).await;
        process.handle.borrow_mut().tidy();
        process.stats.sweep();
    }
}
