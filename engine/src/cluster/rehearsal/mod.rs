//! A cluster without connections: what is picked, admitted, waited for, counted and told is all as ever; how long a try takes and
//! how it ends, and what time it is, is said by who rehearses. For simulations in which cores, health checks and outlier detection
//! meet; released builds have none of it.

mod kept;
mod request;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringway_config::{self as config, Endpoint, EndpointAddress, Priority};

use super::spec::assemble;
use super::{At, Cluster, ClusterSets, ClusterSpec, Full, Hosts, Maker, Wanted};
use crate::net::{Bell, Doorbell};
use crate::observe::Stats;
use crate::rng::Rng;
use crate::time::feign;

use kept::Shelf;
pub use request::{Asking, Begun, Request};

/// A cluster, control's side of it and each core's.
pub struct Rehearsal {
    stats: Stats,
    spec: Arc<ClusterSpec>,
    sets: Arc<ClusterSets>,
    cores: Vec<Core>,
}

struct Core {
    cluster: Rc<Cluster>,
    rng: Rc<Rng>,
    /// Its idle connections, of all hosts.
    shelf: Rc<Shelf>,
    doorbell: Option<Doorbell>,
}

/// What control has to tell every core, in the order in which it came to be.
#[derive(Clone)]
pub struct News(Said);

#[derive(Clone)]
enum Said {
    Version(Arc<ClusterSpec>),
    Health(Arc<ClusterSpec>, Arc<ClusterSets>),
}

/// Why there is no try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Nobody is left to be asked.
    NoHost,
    /// A limit is reached.
    Full,
}

impl Rehearsal {
    /// A cluster whose hosts are the endpoints with an address. It is as early as can be.
    pub fn new(config: config::Cluster, cores: usize, seed: u64) -> Self {
        feign(Some(0));
        let stats = Stats::new(cores);
        let hosts = next_hosts(&Hosts::default(), &config, &stats);
        let spec = Arc::new(assemble(config, hosts, HashMap::new(), &stats, None));
        let (bells, doorbells) = bells(&spec, cores);
        spec.breakers.connect(&bells.into());
        let mut doorbells = doorbells.into_iter();
        let core = |core| {
            let rng = Rng::new(seed.wrapping_add(core as u64));
            Core {
                cluster: Rc::new(Cluster::new(&spec, core, &rng, None)),
                rng: Rc::new(rng),
                shelf: Rc::default(),
                doorbell: doorbells.next(),
            }
        };
        Self {
            cores: (0..cores).map(core).collect(),
            sets: Arc::clone(&spec.sets),
            spec,
            stats,
        }
    }

    /// So late is it now, for all that happens on this thread.
    pub fn at(&self, now: Duration) {
        feign(u64::try_from(now.as_millis()).ok());
    }

    /// The newest version, as control knows it.
    pub fn spec(&self) -> &Arc<ClusterSpec> {
        &self.spec
    }

    /// A version with other endpoints.
    pub fn replace(&mut self, endpoints: Vec<Endpoint>) -> News {
        let config = config::Cluster {
            endpoints: endpoints.into_iter().collect(),
            ..self.spec.config.clone()
        };
        let hosts = next_hosts(&self.spec.hosts, &config, &self.stats);
        let next = assemble(config, hosts, HashMap::new(), &self.stats, Some(&self.spec));
        self.spec = Arc::new(next);
        self.sets = Arc::clone(&self.spec.sets);
        News(Said::Version(Arc::clone(&self.spec)))
    }

    /// The marks of these hosts (their slots) have changed.
    pub fn derive(&mut self, changed: &[u32]) -> News {
        self.sets = self.spec.derive(&self.sets, changed);
        News(Said::Health(Arc::clone(&self.spec), Arc::clone(&self.sets)))
    }

    /// A core hears of it.
    pub fn hear(&mut self, core: usize, news: &News) {
        let Some(Core {
            cluster,
            rng,
            shelf,
            ..
        }) = self.cores.get_mut(core)
        else {
            return;
        };
        match &news.0 {
            Said::Version(spec) => {
                let next = Rc::new(Cluster::new(spec, core, rng, Some(cluster)));
                cluster.retire(Some(&next));
                *cluster = next;
                shelf.sweep();
            }
            Said::Health(spec, sets) if Arc::ptr_eq(spec, &cluster.spec) => cluster.refresh(sets),
            Said::Health(..) => {}
        }
    }

    /// Which cores' bells ring; they are silent again.
    pub fn rung(&self) -> Vec<usize> {
        let rung = |core: &Core| core.doorbell.as_ref().is_some_and(Doorbell::is_rung);
        let cores = self.cores.iter().enumerate();
        cores
            .filter_map(|(at, core)| rung(core).then_some(at))
            .collect()
    }

    /// A core whose bell has rung sees to who waits.
    pub fn serve(&self, core: usize) {
        if let Some(Core { cluster, shelf, .. }) = self.cores.get(core) {
            shelf.serve(cluster);
        }
    }

    /// A client's request comes to a core. None: there is no such core.
    pub fn request(&self, core: usize, asking: Asking) -> Option<Request> {
        let core = self.cores.get(core)?;
        core.cluster.gate.first_try(Priority::Default);
        Some(Request::new(core, asking))
    }

    /// Requests in flight, as the cores have counted.
    pub fn active(&self) -> i64 {
        let stats = &self.spec.stats;
        stats.sum(|core| core.upstream_rq_active.value())
    }

    /// Idle connections: how many, or those to a host.
    pub fn idle(&self, host: Option<u64>) -> usize {
        self.cores.iter().map(|core| core.shelf.count(host)).sum()
    }

    /// Closes all that are idle.
    pub fn close_idle(&self) {
        self.cores.iter().for_each(|core| core.shelf.clear());
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        feign(None);
    }
}

/// Where cores are rung; nowhere, where nobody ever waits.
fn bells(spec: &ClusterSpec, cores: usize) -> (Vec<Bell>, Vec<Doorbell>) {
    let waits = spec.config.limits.connections.is_some();
    let cores = if waits { cores } else { 0 };
    (0..cores).filter_map(|_| Bell::pair().ok()).unzip()
}

fn next_hosts(last: &Hosts, config: &config::Cluster, stats: &Stats) -> Hosts {
    let wanted = config.endpoints.iter().filter_map(|endpoint| {
        let EndpointAddress::Ip(address) = endpoint.address else {
            return None;
        };
        let at = At::Ip(address);
        Some(Wanted { at, endpoint })
    });
    let maker = Maker {
        cluster: &config.name,
        stats,
        checked: config.health_check.is_some(),
    };
    last.next(&wanted.collect::<Vec<_>>(), maker)
}

impl From<Full> for Refused {
    fn from(Full: Full) -> Self {
        Self::Full
    }
}
