//! Which hosts may be asked, by what a core was told last: the rules of `docs/balancing.md` in their plainest form.

use ringway_engine::{Hosts, Mark};

/// What is known of a host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    id: u64,
    priority: u8,
    healthy: bool,
    degraded: bool,
}

/// What was told of all hosts at once.
#[derive(Clone, Debug)]
pub(super) struct Told {
    hosts: Vec<Known>,
    /// The priorities whose hosts' health is disregarded.
    panic: Vec<u8>,
}

impl Told {
    /// `overprovisioning` in per cent, `threshold` in hundredths of one.
    pub(super) fn of(hosts: &Hosts, overprovisioning: u32, threshold: u16) -> Self {
        let known = hosts.iter().map(|host| {
            let out = host.state.has(Mark::Unhealthy) || host.state.has(Mark::Ejected);
            let degraded = host.state.has(Mark::Degraded);
            Known {
                id: host.id,
                priority: host.endpoint.priority,
                healthy: !out && !degraded,
                degraded: !out && degraded,
            }
        });
        let hosts: Vec<Known> = known.collect();
        let panic = panics(&hosts, u64::from(overprovisioning), u64::from(threshold));
        Self { hosts, panic }
    }

    /// Whether some priority is in panic.
    pub(super) fn is_in_panic(&self) -> bool {
        !self.panic.is_empty()
    }

    fn takes(&self, host: &Known) -> bool {
        host.healthy || host.degraded || self.panic.contains(&host.priority)
    }

    /// Whether a host may be asked; none: it was not there.
    pub(super) fn may_ask(&self, id: u64) -> Option<bool> {
        let host = self.hosts.iter().find(|host| host.id == id)?;
        Some(self.takes(host))
    }

    /// A host that may be asked and is none of these.
    pub(super) fn other(&self, tried: &[u64]) -> Option<u64> {
        let mut others = self.hosts.iter().filter(|host| !tried.contains(&host.id));
        others.find(|host| self.takes(host)).map(|host| host.id)
    }

    /// Whether everybody is well.
    pub(super) fn is_well(&self) -> bool {
        self.hosts.iter().all(|host| host.healthy)
    }
}

/// The priorities in panic: those with few usable hosts, while all priorities together cannot carry everything.
fn panics(hosts: &[Known], overprovisioning: u64, threshold: u64) -> Vec<u8> {
    let mut priorities: Vec<u8> = hosts.iter().map(|host| host.priority).collect();
    priorities.sort_unstable();
    priorities.dedup();
    let counted = |priority: u8, is: fn(&Known) -> bool| {
        let of = hosts.iter().filter(|host| host.priority == priority);
        of.filter(|host| is(host)).count() as u64
    };
    let carried = priorities.iter().map(|at| {
        let part = |of: u64| (overprovisioning * of / counted(*at, |_| true)).min(100);
        part(counted(*at, |host| host.healthy)) + part(counted(*at, |host| host.degraded))
    });
    if carried.sum::<u64>() >= 100 {
        return Vec::new();
    }
    priorities.retain(|at| {
        let usable = counted(*at, |host| host.healthy || host.degraded);
        usable * 10_000 < threshold * counted(*at, |_| true)
    });
    priorities
}
