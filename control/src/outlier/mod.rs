//! Hosts whose errors stand out: who is ejected, for how long, and when it comes back.
//!
//! [`Detector`] is the whole of it for one cluster, without clock, chance or sockets: time and randomness are arguments, so
//! that a simulation runs it through hours in a moment. Cores count; a core whose count of errors in a row reaches a
//! threshold tells control, which asks the detector. Rates are looked at once in an interval.

mod events;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use ringway_config::Outlier;
use ringway_engine::rng::Rng;

pub(crate) use events::{Event, Log};

/// Why a host was ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Cause {
    /// Answers 500 to 599 in a row.
    Consecutive5xx,
    /// Answers 502 to 504 in a row.
    ConsecutiveGateway,
    /// Failures without an answer in a row.
    ConsecutiveLocal,
    /// A rate of success far below that of the others.
    SuccessRate,
    /// Too large a part of its requests fails.
    FailurePercentage,
}

impl Cause {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Consecutive5xx => "consecutive_5xx",
            Self::ConsecutiveGateway => "consecutive_gateway",
            Self::ConsecutiveLocal => "consecutive_local",
            Self::SuccessRate => "success_rate",
            Self::FailurePercentage => "failure_percentage",
        }
    }
}

/// What became of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is out for so long.
    Ejected { cause: Cause, time: Duration },
    /// It would be, but so many are already.
    Spared(Cause),
    /// It is back.
    Back,
}

/// A host's requests since it is known, by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) good: u64,
    pub(crate) bad: u64,
}

#[derive(Debug, Default)]
struct Record {
    /// When it comes back, if it is out.
    until: Option<Duration>,
    /// How often it was out of late.
    times: u32,
    /// Its requests at the end of the last interval.
    last: Tally,
}

/// The hosts of a cluster, by id, and what is known of each. Times are since some fixed moment.
#[derive(Debug, Default)]
pub(crate) struct Detector {
    hosts: BTreeMap<u64, Record>,
}

impl Detector {
    /// Takes over which hosts there are: of those that are gone all is forgotten.
    pub(crate) fn follow(&mut self, hosts: impl Iterator<Item = u64>) {
        let mut old = std::mem::take(&mut self.hosts);
        self.hosts = hosts
            .map(|id| (id, old.remove(&id).unwrap_or_default()))
            .collect();
    }

    /// There is one more.
    pub(crate) fn learn(&mut self, host: u64) {
        self.hosts.entry(host).or_default();
    }

    /// It is gone.
    pub(crate) fn forget(&mut self, host: u64) {
        self.hosts.remove(&host);
    }

    /// How many are out.
    pub(crate) fn ejected(&self) -> usize {
        self.hosts
            .values()
            .filter(|host| host.until.is_some())
            .count()
    }

    /// When the first of those that are out comes back.
    pub(crate) fn next_back(&self) -> Option<Duration> {
        self.hosts.values().filter_map(|host| host.until).min()
    }

    /// A host's errors stand out.
    pub(crate) fn eject(
        &mut self,
        id: u64,
        cause: Cause,
        config: &Outlier,
        now: Duration,
        rng: &Rng,
    ) -> Option<Change> {
        let (out, all) = (self.ejected(), self.hosts.len());
        let host = self.hosts.get_mut(&id)?;
        if host.until.is_some() {
            return None;
        }
        let most = u64::from(config.max_ejected.basis_points()) * all as u64;
        if out > 0 && (out as u64 + 1) * 10_000 > most {
            return Some(Change::Spared(cause));
        }
        host.times = host.times.saturating_add(1);
        let time = config.base_ejection.saturating_mul(host.times);
        let jitter = u64::try_from(config.jitter.as_millis()).unwrap_or(u64::MAX);
        let jitter = Duration::from_millis(rng.below(jitter.saturating_add(1)));
        let time = time.min(config.max_ejection) + jitter;
        host.until = Some(now + time);
        Some(Change::Ejected { cause, time })
    }

    /// Those whose time is over.
    pub(crate) fn back(&mut self, now: Duration) -> Vec<u64> {
        let over = |host: &mut Record| host.until.take_if(|until| *until <= now).is_some();
        let hosts = self.hosts.iter_mut();
        hosts
            .filter_map(|(id, host)| over(host).then_some(*id))
            .collect()
    }

    /// The end of an interval: whose rates stand out. A host that was in all the while is forgiven one of its times.
    pub(crate) fn interval(
        &mut self,
        tallies: &BTreeMap<u64, Tally>,
        config: &Outlier,
    ) -> Vec<(u64, Cause)> {
        let mut rates = Vec::new();
        for (id, host) in &mut self.hosts {
            let now = tallies.get(id).copied().unwrap_or_default();
            // Numbers that began anew say nothing of what lies between.
            let good = now.good.checked_sub(host.last.good).unwrap_or(now.good);
            let bad = now.bad.checked_sub(host.last.bad).unwrap_or(now.bad);
            host.last = now;
            if host.until.is_none() {
                host.times = host.times.saturating_sub(1);
                rates.push((*id, good, good + bad));
            }
        }
        let mut found = Vec::new();
        if let Some(config) = &config.success_rate {
            let few = enough(&rates, config.requests, config.min_hosts);
            let factor = f64::from(config.stdev_factor) / 1000.0;
            found.extend(below(&few, factor).map(|id| (id, Cause::SuccessRate)));
        }
        if let Some(config) = &config.failure {
            let few = enough(&rates, config.requests, config.min_hosts);
            let threshold = f64::from(config.threshold.basis_points()) / 10_000.0;
            let failing = few.iter().filter(|(_, rate)| 1.0 - rate >= threshold);
            found.extend(failing.map(|(id, _)| (*id, Cause::FailurePercentage)));
        }
        found
    }
}

/// Rates of success of the hosts with requests enough, if these are enough.
fn enough(rates: &[(u64, u64, u64)], requests: u32, hosts: u32) -> Vec<(u64, f64)> {
    let with = rates
        .iter()
        .filter(|(_, _, all)| *all >= u64::from(requests));
    let rates: Vec<(u64, f64)> = with
        .map(|(id, good, all)| (*id, *good as f64 / *all as f64))
        .collect();
    if rates.len() < hosts as usize {
        return Vec::new();
    }
    rates
}

/// Those further below the mean than so many standard deviations.
fn below(rates: &[(u64, f64)], factor: f64) -> impl Iterator<Item = u64> {
    let count = rates.len().max(1) as f64;
    let mean = rates.iter().map(|(_, rate)| rate).sum::<f64>() / count;
    let variance = rates
        .iter()
        .map(|(_, rate)| (rate - mean).powi(2))
        .sum::<f64>()
        / count;
    let least = mean - factor * variance.sqrt();
    rates
        .iter()
        .filter(move |(_, rate)| *rate < least)
        .map(|(id, _)| *id)
}
