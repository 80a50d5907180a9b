//! Ejecting hosts and taking them back: the detector's decisions, carried out.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ringway_config::Outlier;
use ringway_engine::{ClusterSpec, HostSpec, Mark, Report, Reports, Streak};
use tokio::net::unix::pipe::Receiver;
use tokio::time::sleep;

use super::Keeper;
use crate::outlier::{Cause, Change, Detector, Event, Tally};
use crate::process::Process;

/// A cluster whose outliers are looked for.
pub(super) struct Watched {
    detector: Detector,
    spec: Arc<ClusterSpec>,
    config: Outlier,
    /// The hosts by id.
    hosts: BTreeMap<u64, Arc<HostSpec>>,
    /// How often each was ejected.
    ejections: BTreeMap<u64, u32>,
    /// When its interval ends.
    due: Duration,
}

impl Watched {
    fn new(spec: &Arc<ClusterSpec>, config: &Outlier, due: Duration) -> Self {
        Self {
            detector: Detector::default(),
            spec: Arc::clone(spec),
            config: config.clone(),
            hosts: BTreeMap::new(),
            ejections: BTreeMap::new(),
            due,
        }
    }

    /// Another host, or the same with other words, in the place of one.
    fn replace(&mut self, old: Option<&Arc<HostSpec>>, new: Option<&Arc<HostSpec>>) {
        if let Some(old) = old.filter(|old| new.is_none_or(|new| new.id != old.id)) {
            self.detector.forget(old.id);
            self.hosts.remove(&old.id);
            self.ejections.remove(&old.id);
        }
        if let Some(new) = new {
            self.detector.learn(new.id);
            self.hosts.insert(new.id, Arc::clone(new));
        }
    }

    fn replace_all(&mut self, spec: &ClusterSpec) {
        self.detector.follow(spec.hosts.iter().map(|host| host.id));
        let hosts = spec.hosts.iter();
        self.hosts = hosts.map(|host| (host.id, Arc::clone(host))).collect();
        let hosts = &self.hosts;
        self.ejections.retain(|id, _| hosts.contains_key(id));
    }
}

/// Nothing is due for so long, where nothing is watched.
const IDLE: Duration = Duration::from_secs(3600);

impl Keeper {
    /// Takes over whether a cluster is watched, and its hosts.
    pub(super) fn follow_outliers(
        &self,
        spec: &Arc<ClusterSpec>,
        before: Option<&Arc<ClusterSpec>>,
    ) {
        let name = &spec.config.name;
        let mut all = self.watched.borrow_mut();
        let Some(config) = &spec.config.outlier else {
            if all.remove(name).is_some() {
                drop(all);
                self.let_back(spec);
            }
            return;
        };
        let due = self.now() + config.interval;
        let step = before.and_then(|before| Some((before, spec.hosts.changed(&before.hosts)?)));
        match (all.get_mut(name), step) {
            (Some(watched), Some((before, changed))) => {
                for slot in changed {
                    watched.replace(before.hosts.get(*slot), spec.hosts.get(*slot));
                }
            }
            (Some(watched), None) => watched.replace_all(spec),
            (None, _) => {
                let mut watched = Watched::new(spec, config, due);
                watched.replace_all(spec);
                all.insert(name.clone(), watched);
            }
        }
        if let Some(watched) = all.get_mut(name) {
            watched.spec = Arc::clone(spec);
            watched.config = config.clone();
            watched.due = watched.due.min(due);
        }
    }

    /// Nobody looks for outliers there any more.
    fn let_back(&self, spec: &ClusterSpec) {
        for host in spec.hosts.iter() {
            if host.state.mark(Mark::Ejected, false) {
                self.changed(&spec.config.name, host);
            }
        }
    }

    /// A core says that a host's errors in a row have reached a threshold.
    fn reported(&self, report: &Report) {
        let cause = match report.streak {
            Streak::ServerErrors => Cause::Consecutive5xx,
            Streak::GatewayErrors => Cause::ConsecutiveGateway,
            Streak::LocalErrors => Cause::ConsecutiveLocal,
        };
        let mut watched = self.watched.borrow_mut();
        if let Some(cluster) = watched.get_mut(&report.cluster) {
            self.decide(cluster, report.host, cause);
        }
    }

    fn decide(&self, cluster: &mut Watched, id: u64, cause: Cause) {
        let now = self.now();
        let change = cluster
            .detector
            .eject(id, cause, &cluster.config, now, &self.rng);
        let Some(host) = cluster.hosts.get(&id).cloned() else {
            return;
        };
        host.state.forget_errors();
        if let Some(change) = change {
            self.carry_out(cluster, &host, change);
        }
    }

    fn carry_out(&self, cluster: &mut Watched, host: &HostSpec, change: Change) {
        let name = &cluster.spec.config.name;
        let watch = self.stats.watch(name);
        let counts = watch.core(0);
        let label = &host.label;
        let ejections = cluster.ejections.entry(host.id).or_default();
        let changed = match change {
            Change::Ejected { cause, time } => {
                *ejections += 1;
                counts.outlier_ejections.inc();
                tracing::warn!(cluster = %name, host = %label, cause = cause.name(), ?time, "host ejected");
                host.state.mark(Mark::Ejected, true)
            }
            Change::Spared(cause) => {
                counts.outlier_ejections_overflow.inc();
                tracing::info!(cluster = %name, host = %label, cause = cause.name(), "host not ejected: `max_ejected` are out");
                false
            }
            Change::Back => {
                tracing::info!(cluster = %name, host = %label, "ejected host is back");
                host.state.forget_errors();
                host.state.mark(Mark::Ejected, false)
            }
        };
        self.log.borrow_mut().push(Event {
            at: SystemTime::now(),
            cluster: name.clone(),
            host: label.clone(),
            change,
            ejections: *ejections,
        });
        if changed {
            self.changed(name, host);
        }
    }

    /// Does what is due, and says when to look again.
    fn turn(&self) -> Duration {
        let now = self.now();
        let mut next = now + IDLE;
        for cluster in self.watched.borrow_mut().values_mut() {
            for id in cluster.detector.back(now) {
                if let Some(host) = cluster.hosts.get(&id).cloned() {
                    self.carry_out(cluster, &host, Change::Back);
                }
            }
            if cluster.due <= now {
                cluster.due = now + cluster.config.interval;
                let tallies = tallies(cluster);
                let found = cluster.detector.interval(&tallies, &cluster.config);
                for (id, cause) in found {
                    self.decide(cluster, id, cause);
                }
            }
            let back = cluster.detector.next_back();
            next = next.min(cluster.due).min(back.unwrap_or(next));
        }
        next.saturating_sub(self.now())
    }
}

/// What the cores have counted of each host; nothing, where no rate is looked at.
fn tallies(cluster: &Watched) -> BTreeMap<u64, Tally> {
    if cluster.config.success_rate.is_none() && cluster.config.failure.is_none() {
        return BTreeMap::new();
    }
    let tally = |host: &Arc<HostSpec>| {
        let answers = host.stats.sum(|core| core.rq_time.read().count());
        let bad = host.stats.sum(|core| core.rq_error.value());
        let silent = host.stats.sum(|core| core.rq_local_error.value());
        Tally {
            good: (answers + silent).saturating_sub(bad),
            bad,
        }
    };
    let hosts = cluster.hosts.iter();
    hosts.map(|(id, host)| (*id, tally(host))).collect()
}

/// Hears what cores report and does what is due, for as long as the process lives.
pub(crate) async fn eject(process: Rc<Process>, reports: Reports) {
    let keeper = Rc::clone(&process.hosts);
    let bell = reports
        .bell
        .try_clone()
        // An eventfd is read like a pipe, and `Receiver` asks no more of it.
        .and_then(Receiver::from_owned_fd_unchecked);
    let bell = match bell {
        Ok(bell) => bell,
        Err(error) => {
            tracing::error!(%error, "outliers are not looked for: the cores cannot be heard");
            return;
        }
    };
    loop {
        let wait = keeper.turn();
        // None of these loses anything when another is first.
        tokio::select! {
            rung = bell.readable() => {
                if rung.is_ok() {
                    let _silent = bell.try_read(&mut [0; 8]);
                }
                while let Some(report) = reports.next() {
                    keeper.reported(&report);
                }
            }
            () = keeper.moved.notified() => {}
            () = sleep(wait) => {}
        }
    }
}
