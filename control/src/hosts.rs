//! The hosts of all clusters as control watches them: checks, ejections, and telling the cores.
//!
//! ```text
//!  a probe's verdict ─┐
//!  a core's report ───┼─► marks in the host's record ─► dirty ─► Handle::refresh, once for each cluster, and 2 ms of rest
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
use ringway_engine::{Census, ClusterSpec, HostSpec, Mark, Snapshot};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::sleep;

use crate::health::{self, Checked, Secure};
use crate::outlier::Log;
use crate::process::Process;
use eject::Watched;

pub(crate) use eject::eject;

/// The first change is told at once; those that come within this time after it, as one: of a thousand hosts that go, few derivations.
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

/// Hosts of a cluster whose marks have changed, by slot and id, and since when.
type Dirty = (Instant, BTreeSet<(u32, u64)>);

/// A cluster as it is followed.
struct Followed {
    spec: Arc<ClusterSpec>,
    header: Vec<u8>,
    /// By the host's id.
    checks: HashMap<u64, Check>,
}

/// What is watched.
pub(crate) struct Keeper {
    pub(crate) rng: Rng,
    started: Instant,
    stats: Arc<Stats>,
    clusters: RefCell<BTreeMap<Name, Followed>>,
    /// What the last probe of each host said.
    reasons: RefCell<HashMap<u64, String>>,
    watched: RefCell<BTreeMap<Name, Watched>>,
    /// What became of hosts of late.
    pub(crate) log: RefCell<Log>,
    dirty: RefCell<BTreeMap<Name, Dirty>>,
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
            clusters: RefCell::default(),
            reasons: RefCell::default(),
            watched: RefCell::default(),
            log: RefCell::default(),
            dirty: RefCell::default(),
            told: Notify::new(),
            moved: Notify::new(),
        })
    }

    /// Takes over the hosts of a snapshot: new ones are checked, gone ones no more. A cluster that has not changed costs nothing, and
    /// one with a few other hosts what these cost.
    pub(crate) fn follow(self: &Rc<Self>, snapshot: &Snapshot) {
        let mut old = self.clusters.take();
        let mut clusters = BTreeMap::new();
        for spec in snapshot.clusters() {
            let name = &spec.config.name;
            let last = old.remove(name);
            let followed = match last {
                Some(last) if Arc::ptr_eq(&last.spec, spec) => last,
                last => {
                    self.count(name, spec.census());
                    self.follow_outliers(spec, last.as_ref().map(|last| &last.spec));
                    self.follow_cluster(spec, last)
                }
            };
            clusters.insert(name.clone(), followed);
        }
        for (name, gone) in &old {
            self.watched.borrow_mut().remove(name);
            let mut reasons = self.reasons.borrow_mut();
            gone.spec
                .hosts
                .iter()
                .for_each(|host| drop(reasons.remove(&host.id)));
        }
        self.clusters.replace(clusters);
        self.moved.notify_one();
    }

    /// A cluster's hosts, where they are others than before or are checked in another way.
    fn follow_cluster(
        self: &Rc<Self>,
        spec: &Arc<ClusterSpec>,
        last: Option<Followed>,
    ) -> Followed {
        let header = spec.own_header();
        let (before, mut checks, same) = match last {
            Some(last) => {
                let same = last.spec.config.health_check == spec.config.health_check
                    && last.header == header
                    && last.spec.is_secured_as(spec);
                (Some(last.spec), last.checks, same)
            }
            None => (None, HashMap::new(), false),
        };
        let step = before.as_ref().filter(|_| same);
        let step = step.and_then(|before| spec.hosts.changed(&before.hosts));
        let slots: Vec<u32> = match step {
            Some(changed) => changed.to_vec(),
            None => {
                let there = spec.hosts.iter().map(|host| host.slot);
                let gone = before.iter().flat_map(|before| before.hosts.iter());
                let mut all: Vec<u32> = there.chain(gone.map(|host| host.slot)).collect();
                all.sort_unstable();
                all.dedup();
                all
            }
        };
        for slot in slots {
            let gone = before.as_ref().and_then(|before| before.hosts.get(slot));
            let host = spec.hosts.get(slot);
            if let Some(gone) = gone.filter(|gone| host.is_none_or(|host| host.id != gone.id)) {
                checks.remove(&gone.id);
                self.reasons.borrow_mut().remove(&gone.id);
            }
            if let Some(host) = host {
                self.follow_host(spec, host, &header, &mut checks);
            }
        }
        Followed {
            spec: Arc::clone(spec),
            header,
            checks,
        }
    }

    fn follow_host(
        self: &Rc<Self>,
        cluster: &ClusterSpec,
        host: &Arc<HostSpec>,
        header: &[u8],
        checks: &mut HashMap<u64, Check>,
    ) {
        let old = checks.remove(&host.id);
        let Some(config) = &cluster.config.health_check else {
            self.reasons.borrow_mut().remove(&host.id);
            return self.unchecked(cluster, host);
        };
        let tls = Secure::of(cluster, host, config);
        let known = old.filter(|check| {
            check.config == *config
                && check.revision == host.revision
                && check.header == header
                && check.tls.is_same(&tls)
        });
        let check =
            known.unwrap_or_else(|| self.check(cluster, host, config, header.to_vec(), tls));
        checks.insert(host.id, check);
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
        let mut dirty = self.dirty.borrow_mut();
        let of_cluster = dirty.entry(cluster.clone());
        let (_, hosts) = of_cluster.or_insert_with(|| (Instant::now(), BTreeSet::new()));
        hosts.insert((host.slot, host.id));
        self.told.notify_one();
    }

    fn count(&self, cluster: &Name, hosts: Census) {
        let watch = self.stats.watch(cluster);
        let counts = watch.core(0);
        for (gauge, count) in [
            (&counts.membership_total, hosts.total),
            (&counts.membership_healthy, hosts.healthy),
            (&counts.membership_degraded, hosts.degraded),
            (&counts.outlier_ejections_active, hosts.ejected),
        ] {
            gauge.set(i64::from(count));
        }
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
        let snapshot = process.snapshot();
        for (name, (since, hosts)) in keeper.dirty.take() {
            let Some(spec) = snapshot.cluster(&name) else {
                continue;
            };
            let there = hosts.iter().filter(|(slot, id)| spec.hosts.has(*slot, *id));
            let slots: Vec<u32> = there.map(|(slot, _)| *slot).collect();
            if !slots.is_empty() {
                let hosts = process.handle.borrow_mut().refresh(spec, &slots, since);
                keeper.count(&name, hosts);
            }
        }
        sleep(GATHER).await;
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
