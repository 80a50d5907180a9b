//! A cluster without connections: what is picked, admitted, counted and told is all as ever, and how long a try takes and how it
//! ends is said by who rehearses. For simulations in which cores, health checks and outlier detection meet; released builds have none of it.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringway_config::{self as config, Endpoint, EndpointAddress, Priority};

use super::breaker::Permit;
use super::spec::assemble;
use super::{
    Active, Ask, At, Cluster, ClusterSets, ClusterSpec, Full, Host, HostPlace, HostSpec, Hosts,
    Maker, Place, Report, Search, Wanted,
};
use crate::observe::Stats;
use crate::rng::Rng;

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
    /// A cluster whose hosts are the endpoints with an address.
    pub fn new(config: config::Cluster, cores: usize, seed: u64) -> Self {
        let stats = Stats::new(cores);
        let hosts = next_hosts(&Hosts::default(), &config, &stats);
        let spec = Arc::new(assemble(config, hosts, HashMap::new(), &stats, None));
        let core = |core| {
            let rng = Rng::new(seed.wrapping_add(core as u64));
            Core {
                cluster: Rc::new(Cluster::new(&spec, core, &rng, None)),
                rng: Rc::new(rng),
            }
        };
        Self {
            cores: (0..cores).map(core).collect(),
            sets: Arc::clone(&spec.sets),
            spec,
            stats,
        }
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
        let Some(Core { cluster, rng }) = self.cores.get_mut(core) else {
            return;
        };
        match &news.0 {
            Said::Version(spec) => {
                let next = Rc::new(Cluster::new(spec, core, rng, Some(cluster)));
                cluster.retire(Some(&next));
                *cluster = next;
            }
            Said::Health(spec, sets) if Arc::ptr_eq(spec, &cluster.spec) => cluster.refresh(sets),
            Said::Health(..) => {}
        }
    }

    /// A client's request comes to a core. None: there is no such core.
    pub fn request(&self, core: usize, hash: Option<u64>) -> Option<Request> {
        let core = self.cores.get(core)?;
        core.cluster.gate.first_try(Priority::Default);
        Some(Request {
            search: Search::new(&core.cluster),
            rng: Rc::clone(&core.rng),
            hash,
            tries: 0,
            further: None,
            held: None,
        })
    }

    /// Requests in flight, as the cores have counted.
    pub fn active(&self) -> i64 {
        let stats = &self.spec.stats;
        stats.sum(|core| core.upstream_rq_active.value())
    }
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

/// A request under way, from try to try. Dropped, it gives back what it holds.
pub struct Request {
    search: Search,
    rng: Rc<Rng>,
    hash: Option<u64>,
    tries: usize,
    /// A further try's place.
    further: Option<Place>,
    held: Option<Held>,
}

/// What a try takes.
struct Held {
    host: Rc<Host>,
    _active: Active,
    _connection: (Option<Permit>, Option<HostPlace>),
}

impl Drop for Held {
    fn drop(&mut self) {
        self.host.stats.cx_active.dec();
    }
}

impl Request {
    /// Begins a try; who is asked.
    pub fn begin(&mut self) -> Result<Arc<HostSpec>, Refused> {
        self.search.follow();
        let cluster = Rc::clone(self.search.cluster());
        if self.tries > 0 {
            // As `proxy/attempts` has it: a token is taken only where there is a host to go to.
            if !cluster.has_other(&self.ask()) {
                return Err(Refused::NoHost);
            }
            self.further = cluster.gate.retry(Priority::Default)?;
        }
        let picked = cluster.pick(&self.ask());
        let (slot, host) = picked.map_err(|_fault| Refused::NoHost)?;
        self.search.note(slot);
        self.tries += 1;
        let admitted = cluster.admit(&host, Priority::Default);
        let active = Active::new(&host, admitted.map_err(|_fault| Refused::Full)?);
        let limits = &cluster.spec.config.limits;
        let at_host = limits.host_connections;
        let at_host = at_host.map(|limit| host.state().connect(limit)).transpose();
        let permit = match limits.connections {
            Some(_) => Some(cluster.gate.try_connect().ok_or(Refused::Full)?),
            None => None,
        };
        let connection = (permit, at_host?);
        host.stats.cx_active.inc();
        self.held = Some(Held {
            host,
            _active: active,
            _connection: connection,
        });
        let slot = u32::try_from(slot).map_err(|_too_many| Refused::NoHost)?;
        let spec = cluster.spec.hosts.get(slot);
        spec.cloned().ok_or(Refused::NoHost)
    }

    /// The try ended after so long: with a status, or without an answer. What control must hear of its host.
    pub fn end(&mut self, status: Option<u16>, elapsed: Duration) -> Option<Report> {
        self.further = None;
        let held = self.held.take()?;
        if status.is_some() {
            self.search.cluster().observe(&held.host, elapsed);
        }
        self.search.cluster().judge(&held.host, status)
    }

    /// How many tries it began.
    pub fn tries(&self) -> usize {
        self.tries
    }

    fn ask(&self) -> Ask<'_> {
        Ask {
            tried: self.search.tried(),
            hash: self.hash,
            ..Ask::new(&self.rng)
        }
    }
}

impl From<Full> for Refused {
    fn from(Full: Full) -> Self {
        Self::Full
    }
}
