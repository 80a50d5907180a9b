//! Control's side of a run: the tracks of probes and the detector of outliers, and whether what they decide keeps its bounds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ringway_config::Cluster;
use ringway_engine::rng::Rng;
use ringway_engine::{HostSpec, Hosts, Mark};

use super::{Wrong, must};
use crate::health::track::{Answer, Track};
use crate::outlier::{Cause, Change, Detector, Tally};

/// What came of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    Nothing,
    Ejected,
    Spared,
}

#[derive(Default)]
pub(super) struct Watch {
    detector: Detector,
    hosts: BTreeMap<u64, Arc<HostSpec>>,
    tracks: BTreeMap<u64, Track>,
    tallies: BTreeMap<u64, Tally>,
    /// Errors in a row of each host, since something was decided of it.
    errors: BTreeMap<u64, u32>,
    /// How often each was out of late, and until when it is.
    times: BTreeMap<u64, u32>,
    out: BTreeMap<u64, Duration>,
    /// Whose marks have changed, by slot and id.
    pub(super) dirty: BTreeSet<(u32, u64)>,
}

impl Watch {
    /// Takes over the hosts of a version; the ids of those that are to be probed from now on.
    pub(super) fn follow(&mut self, hosts: &Hosts) -> Vec<u64> {
        let before = std::mem::take(&mut self.hosts);
        let now = hosts.iter().map(|host| (host.id, Arc::clone(host)));
        self.hosts = now.collect();
        let hosts = &self.hosts;
        self.tracks.retain(|id, _| hosts.contains_key(id));
        self.times.retain(|id, _| hosts.contains_key(id));
        self.out.retain(|id, _| hosts.contains_key(id));
        for gone in before.keys().filter(|id| !hosts.contains_key(id)) {
            self.detector.forget(*gone);
        }
        let new = hosts.keys().filter(|id| !before.contains_key(id));
        let new: Vec<u64> = new.copied().collect();
        new.iter().for_each(|id| self.detector.learn(*id));
        new
    }

    pub(super) fn host(&self, id: u64) -> Option<Arc<HostSpec>> {
        self.hosts.get(&id).cloned()
    }

    fn mark(&mut self, id: u64, mark: Mark, on: bool) -> bool {
        let Some(host) = self.hosts.get(&id) else {
            return false;
        };
        let changed = host.state.mark(mark, on);
        if changed {
            self.dirty.insert((host.slot, id));
        }
        changed
    }

    /// A probe's answer: whether it set the mark, and how long to the next.
    pub(super) fn probed(
        &mut self,
        id: u64,
        answer: &Answer,
        config: &Cluster,
        rng: &Rng,
    ) -> Option<(bool, Duration)> {
        let check = config.health_check.as_ref()?;
        if !self.hosts.contains_key(&id) {
            return None;
        }
        let track = self.tracks.entry(id).or_default();
        let verdict = track.after(answer, check);
        let wait = track.wait(check, false, rng);
        self.mark(id, Mark::Degraded, *answer == Answer::Degraded);
        let marked = verdict.is_some_and(|healthy| self.mark(id, Mark::Unhealthy, !healthy));
        Some((marked && verdict == Some(false), wait))
    }

    /// A try ended. `reported`: the core said that this completed a streak.
    pub(super) fn ended(
        &mut self,
        id: u64,
        status: Option<u16>,
        reported: bool,
        config: &Cluster,
    ) -> Result<(), Wrong> {
        let good = status.is_some_and(|status| status < 500);
        let tally = self.tallies.entry(id).or_default();
        tally.good += u64::from(good);
        tally.bad += u64::from(!good);
        let errors = self.errors.entry(id).or_default();
        *errors = if good { 0 } else { *errors + 1 };
        let threshold = config
            .outlier
            .as_ref()
            .map(|outlier| outlier.consecutive_5xx);
        let due = Some(*errors) == threshold;
        must!(
            reported == due,
            "{errors} errors in a row of {threshold:?}: reported {reported}"
        );
        Ok(())
    }

    /// As `hosts/eject` decides.
    pub(super) fn decide(
        &mut self,
        id: u64,
        cause: Cause,
        now: Duration,
        config: &Cluster,
        rng: &Rng,
    ) -> Result<Came, Wrong> {
        let Some(outlier) = &config.outlier else {
            return Err("a report without outlier detection".to_owned());
        };
        let change = self.detector.eject(id, cause, outlier, now, rng);
        let Some(host) = self.hosts.get(&id) else {
            must!(change.is_none(), "a host that is gone was ejected");
            return Ok(Came::Nothing);
        };
        host.state.forget_errors();
        self.errors.insert(id, 0);
        let time = match change {
            None | Some(Change::Back) => {
                must!(self.out.contains_key(&id), "nothing became of a report");
                return Ok(Came::Nothing);
            }
            Some(Change::Spared(_)) => {
                must!(!self.out.is_empty(), "spared though nobody is out");
                return Ok(Came::Spared);
            }
            Some(Change::Ejected { time, .. }) => time,
        };
        let times = self.times.entry(id).or_default();
        *times += 1;
        let least = (outlier.base_ejection * *times).min(outlier.max_ejection);
        must!(
            (least..=least + outlier.jitter).contains(&time),
            "out for {time:?} the time number {times}"
        );
        let twice = self.out.insert(id, now + time);
        must!(twice.is_none(), "ejected while it is out");
        let most = u64::from(outlier.max_ejected.basis_points()) * self.hosts.len() as u64;
        let out = self.out.len() as u64;
        must!(
            out == 1 || out * 10_000 <= most,
            "{out} of {} are out",
            self.hosts.len()
        );
        self.mark(id, Mark::Ejected, true);
        Ok(Came::Ejected)
    }

    /// The end of an interval: who stands out.
    pub(super) fn interval(&mut self, config: &Cluster) -> Vec<(u64, Cause)> {
        let Some(outlier) = &config.outlier else {
            return Vec::new();
        };
        for (id, times) in &mut self.times {
            if !self.out.contains_key(id) {
                *times = times.saturating_sub(1);
            }
        }
        self.detector.interval(&self.tallies, outlier)
    }

    /// Those whose time is over come back.
    pub(super) fn back(&mut self, now: Duration) -> Result<(), Wrong> {
        for id in self.detector.back(now) {
            let due = self.out.remove(&id);
            must!(due.is_some_and(|due| due <= now), "back too early");
            if let Some(host) = self.hosts.get(&id) {
                host.state.forget_errors();
            }
            self.errors.insert(id, 0);
            self.mark(id, Mark::Ejected, false);
        }
        must!(self.out.values().all(|due| *due > now), "back too late");
        Ok(())
    }

    pub(super) fn next_back(&self) -> Option<Duration> {
        self.detector.next_back()
    }
}
