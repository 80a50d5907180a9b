//! Which hosts may be asked, by what a core was told last: the rules of `docs/balancing.md` in their plainest form.

use std::rc::Rc;

use ringway_config::{Cluster, EndpointAddress, Fallback};
use ringway_engine::{HostSpec, Hosts, Mark};

use super::plan::STAGES;

/// What is known of a host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) id: u64,
    pub(super) port: u16,
    pub(super) priority: u8,
    pub(super) weight: u32,
    /// Its place among the stages.
    stage: usize,
    healthy: bool,
    degraded: bool,
}

/// What does not change in a run.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// In per cent, and in hundredths of one.
    overprovisioning: u64,
    threshold: u64,
    /// Where there are subsets.
    fallback: Option<Fallback>,
    /// Whether who has a cookie is asked for no other host.
    strict: bool,
}

/// What was told of all hosts at once.
#[derive(Debug)]
pub(super) struct Told {
    rules: Rc<Rules>,
    hosts: Vec<Known>,
    /// The priorities whose hosts' health is disregarded: where all are chosen among, or those of a stage.
    panic: [Vec<u8>; 1 + STAGES.len()],
}

/// What a request asks by.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wish {
    /// A stage; beyond the last one, one that no host is of.
    pub(super) stage: Option<usize>,
    /// The port of the host that its cookie names.
    pub(super) cookie: Option<u16>,
}

/// Whom it is to go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// One of those that may be asked.
    Any,
    /// This one and no other.
    Host(u64),
    Nobody,
}

impl Rules {
    pub(super) fn of(config: &Cluster) -> Self {
        let placement = &config.placement;
        Self {
            overprovisioning: u64::from(placement.overprovisioning),
            threshold: u64::from(placement.panic_threshold.basis_points()),
            fallback: config.subsets.as_ref().map(|subsets| subsets.fallback),
            strict: config.sticky.as_ref().is_some_and(|sticky| sticky.strict),
        }
    }
}

/// The port of a host; every one has an address.
pub(super) fn port(host: &HostSpec) -> u16 {
    match host.endpoint.address {
        EndpointAddress::Ip(at) => at.port(),
        EndpointAddress::Name(..) | EndpointAddress::Unix(_) => 0,
    }
}

impl Told {
    pub(super) fn of(hosts: &Hosts, rules: &Rc<Rules>) -> Self {
        let known = hosts.iter().map(|host| {
            let out = host.state.has(Mark::Unhealthy) || host.state.has(Mark::Ejected);
            let degraded = host.state.has(Mark::Degraded);
            let port = port(host);
            Known {
                id: host.id,
                port,
                priority: host.endpoint.priority,
                weight: host.endpoint.weight,
                stage: usize::from(port) % STAGES.len(),
                healthy: !out && !degraded,
                degraded: !out && degraded,
            }
        });
        let hosts: Vec<Known> = known.collect();
        let mut panic: [Vec<u8>; 1 + STAGES.len()] = Default::default();
        for (at, panic) in panic.iter_mut().enumerate() {
            let stage = at.checked_sub(1);
            if stage.is_none() || rules.fallback.is_some() {
                let of = |host: &&Known| stage.is_none_or(|stage| host.stage == stage);
                *panic = panics(&hosts.iter().filter(of).collect::<Vec<_>>(), rules);
            }
        }
        Self {
            rules: Rc::clone(rules),
            hosts,
            panic,
        }
    }

    /// Those that a request chooses among: all (none), those of a stage, or nobody at all.
    fn chosen(&self, wish: Wish) -> Result<Option<usize>, ()> {
        let Some(fallback) = self.rules.fallback else {
            return Ok(None);
        };
        let there = |stage: &usize| self.hosts.iter().any(|host| host.stage == *stage);
        match (wish.stage.filter(there), fallback) {
            (Some(stage), _) => Ok(Some(stage)),
            (None, Fallback::Any) => Ok(None),
            (None, Fallback::Default) => Ok(Some(0)),
            (None, Fallback::None) => Err(()),
        }
    }

    /// Those that may be asked, healthy or not where there is panic.
    fn usable(&self, wish: Wish) -> impl Iterator<Item = &Known> {
        let chosen = self.chosen(wish);
        let at = chosen.map_or(0, |stage| stage.map_or(0, |stage| stage + 1));
        let panic = self.panic.get(at).map_or(&[][..], |panic| panic);
        self.hosts.iter().filter(move |host| {
            let of = chosen.is_ok_and(|stage| stage.is_none_or(|stage| host.stage == stage));
            of && (host.healthy || host.degraded || panic.contains(&host.priority))
        })
    }

    /// Whom a request is to go to that has tried these.
    pub(super) fn due(&self, wish: Wish, tried: &[u64]) -> Due {
        let mut open = self.usable(wish).filter(|host| !tried.contains(&host.id));
        let Some(port) = wish.cookie else {
            return open.next().map_or(Due::Nobody, |_| Due::Any);
        };
        let mut open = open.peekable();
        let some = open.peek().is_some();
        // Panic makes no difference to who has a cookie.
        let named = open.find(|host| host.port == port && (host.healthy || host.degraded));
        match named {
            Some(host) => Due::Host(host.id),
            None if self.rules.strict || !some => Due::Nobody,
            None => Due::Any,
        }
    }

    /// Whether a host may be asked.
    pub(super) fn may_ask(&self, id: u64, wish: Wish) -> bool {
        self.usable(wish).any(|host| host.id == id)
    }

    /// Whether it is there at all.
    pub(super) fn has(&self, id: u64) -> bool {
        self.hosts.iter().any(|host| host.id == id)
    }

    /// All that are there.
    pub(super) fn ids(&self) -> impl Iterator<Item = u64> {
        self.hosts.iter().map(|host| host.id)
    }

    /// Whether some priority is in panic.
    pub(super) fn is_in_panic(&self) -> bool {
        !self.panic[0].is_empty()
    }

    /// Whether everybody is well.
    pub(super) fn is_well(&self) -> bool {
        self.hosts.iter().all(|host| host.healthy)
    }

    /// Those of the first priority of those that are chosen among.
    pub(super) fn first(&self, wish: Wish) -> Vec<Known> {
        let first = self.usable(wish).map(|host| host.priority).min();
        let hosts = self.usable(wish);
        hosts
            .filter(|host| Some(host.priority) == first)
            .copied()
            .collect()
    }
}

/// The priorities in panic: those with few usable hosts, while all priorities together cannot carry everything.
fn panics(hosts: &[&Known], rules: &Rules) -> Vec<u8> {
    let mut priorities: Vec<u8> = hosts.iter().map(|host| host.priority).collect();
    priorities.sort_unstable();
    priorities.dedup();
    let counted = |priority: u8, is: fn(&Known) -> bool| {
        let of = hosts.iter().filter(|host| host.priority == priority);
        of.filter(|host| is(host)).count() as u64
    };
    let carried = priorities.iter().map(|at| {
        let part = |of: u64| (rules.overprovisioning * of / counted(*at, |_| true)).min(100);
        part(counted(*at, |host| host.healthy)) + part(counted(*at, |host| host.degraded))
    });
    if carried.sum::<u64>() >= 100 {
        return Vec::new();
    }
    priorities.retain(|at| {
        let usable = counted(*at, |host| host.healthy || host.degraded);
        usable * 10_000 < rules.threshold * counted(*at, |_| true)
    });
    priorities
}
