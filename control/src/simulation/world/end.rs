//! What must be when everybody is well again: as if nothing had been.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringway_config::{Balance, Localities};
use ringway_engine::HostSpec;

use super::super::{Wrong, millis, must};
use super::World;

impl World {
    /// Everybody is well again and everything over.
    pub(super) fn end(&mut self) -> Result<(), Wrong> {
        must!(
            self.asking.is_empty(),
            "{} requests never ended",
            self.asking.len()
        );
        must!(
            self.rehearsal.active() == 0,
            "{} requests are counted",
            self.rehearsal.active()
        );
        let limits = &self.config.limits;
        let left = self.rehearsal.spec().breakers.remaining(limits);
        must!(
            (left.requests, left.retries, left.connections)
                == (
                    limits.default.requests,
                    limits.default.retries,
                    limits.connections
                ),
            "not all came back: {left:?}"
        );
        for core in 0..self.cores.len() {
            let told = &self.cores[core].told;
            must!(
                told.is_well(),
                "core {core} takes somebody for ill: {told:?}"
            );
        }
        self.everybody_is_asked()
    }

    /// Of many requests to one core each host of the first priority has its part.
    fn everybody_is_asked(&mut self) -> Result<(), Wrong> {
        let spec = Arc::clone(self.rehearsal.spec());
        let Some(first) = spec.hosts.iter().map(|host| host.endpoint.priority).min() else {
            return Ok(());
        };
        let hosts = || {
            spec.hosts
                .iter()
                .filter(|host| host.endpoint.priority == first)
        };
        let sum: u64 = hosts().map(|host| u64::from(host.endpoint.weight)).sum();
        let rounds = 30;
        let mut asked: BTreeMap<u64, u64> = BTreeMap::new();
        let core = self.rng.below(self.plan.cores as u64) as usize;
        for _ in 0..rounds * sum {
            let request = self.rehearsal.request(core, Some(self.rng.next()));
            let mut request = request.ok_or("no such core")?;
            let host = request
                .begin()
                .map_err(|refused| format!("when all is over: {refused:?}"))?;
            must!(
                host.endpoint.priority == first,
                "{} is of another priority",
                host.label
            );
            *asked.entry(host.id).or_default() += 1;
            request.end(Some(200), millis(1));
        }
        for host in hosts() {
            let times = asked.get(&host.id).copied().unwrap_or(0);
            let share = rounds * u64::from(host.endpoint.weight);
            must!(
                self.is_enough(host, times, share),
                "{} was asked {times} times of {share}",
                host.label
            );
        }
        Ok(())
    }

    fn is_enough(&self, host: &HostSpec, times: u64, share: u64) -> bool {
        let alike = match &self.config.placement.localities {
            Localities::Ignored => true,
            Localities::Weighted(_) => false,
            // The own zone may take everything.
            Localities::ZoneAware { zone, .. } if host.endpoint.locality.zone == *zone => false,
            Localities::ZoneAware { .. } => return true,
        };
        match self.config.balance {
            Balance::RoundRobin if alike => times.abs_diff(share) <= 2,
            Balance::RoundRobin
            | Balance::Random
            | Balance::LeastRequest(_)
            | Balance::LeastConnection(_)
            | Balance::RingHash { .. }
            | Balance::Maglev { .. } => times > 0,
            // One may be slower than all others, and one is always the first.
            Balance::PeakEwma { .. } | Balance::RequestRoundRobin => true,
        }
    }
}
