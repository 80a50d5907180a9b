//! What must be when everybody is well again: as if nothing had been.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringway_config::{Balance, Localities};
use ringway_engine::{Asking, Begun, HostSpec, Refused};

use super::super::oracle::{Known, Wish};
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
        self.within_limits(0)?;
        self.rehearsal.close_idle();
        self.within_limits(0)?;
        for core in 0..self.cores.len() {
            let told = &self.cores[core].told;
            must!(
                told.is_well(),
                "core {core} takes somebody for ill: {told:?}"
            );
        }
        let core = self.rng.below(self.plan.cores as u64) as usize;
        self.everybody_is_asked(core)?;
        self.who_is_back_begins_slowly(core)
    }

    /// One request to a core: who gets it.
    pub(super) fn ask_once(&mut self, core: usize) -> Result<Option<Arc<HostSpec>>, Wrong> {
        let asking = Asking {
            hash: Some(self.rng.next()),
            ..Asking::default()
        };
        let request = self.rehearsal.request(core, asking);
        let mut request = request.ok_or("no such core")?;
        let host = match request.begin(&self.wakes.waker(0)) {
            Ok(Begun::At(host)) => host,
            Ok(Begun::Waiting(_)) => return Err("it waits though nobody is there".to_owned()),
            Err(Refused::NoHost) => return Ok(None),
            Err(Refused::Full) => return Err("full when all is over".to_owned()),
        };
        request.end(Some(200), millis(1));
        self.rehearsal.close_idle();
        Ok(Some(host))
    }

    /// Of many requests to one core each host of the first priority has its part.
    fn everybody_is_asked(&mut self, core: usize) -> Result<(), Wrong> {
        let hosts = self.cores[core].told.first(Wish::default());
        let sum: u64 = hosts.iter().map(|host| u64::from(host.weight)).sum();
        // By chance, it takes more to be sure of anything; a part of the runs will do.
        let rounds = match self.rng.below(3) {
            _ if self.config.balance == Balance::RoundRobin => 6,
            0 => 25,
            _ => 0,
        };
        let mut asked: BTreeMap<u64, u64> = BTreeMap::new();
        for _ in 0..(rounds * sum).max(1) {
            let Some(host) = self.ask_once(core)? else {
                must!(hosts.is_empty(), "nobody is asked of {hosts:?}");
                return Ok(());
            };
            let one_of = hosts.iter().any(|known| known.id == host.id);
            must!(one_of, "{} is none of {hosts:?}", host.label);
            *asked.entry(host.id).or_default() += 1;
        }
        for host in hosts.iter().filter(|_| rounds > 0) {
            let times = asked.get(&host.id).copied().unwrap_or(0);
            let share = rounds * u64::from(host.weight);
            must!(
                self.is_enough(host, times, share),
                "{host:?} was asked {times} times of {share}"
            );
        }
        Ok(())
    }

    fn is_enough(&self, host: &Known, times: u64, share: u64) -> bool {
        let zone = self.rehearsal.spec().hosts.iter();
        let mut zone = zone.filter(|spec| spec.id == host.id);
        let zone = zone.next().map(|spec| spec.endpoint.locality.zone.as_str());
        let alike = match &self.config.placement.localities {
            Localities::Ignored => true,
            Localities::Weighted(_) => false,
            // The own zone may take everything.
            Localities::ZoneAware { zone: own, .. } if zone == Some(own) => false,
            Localities::ZoneAware { .. } => return true,
        };
        match self.config.balance {
            Balance::RoundRobin if alike => times.abs_diff(share) <= 2,
            // Six standard deviations, at most.
            Balance::Random if alike => times.abs_diff(share).pow(2) <= 36 * share,
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
