//! Which host, and a connection to it.
//!
//! A [`ClusterSpec`] is the snapshot's side, shared by all cores; a `Cluster` is one core's live side of it, with its
//! own pools and its own balancing state.

mod balance;
mod host;
mod picker;
mod pool;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use ringway_config::{self as config, Balance as Policy};
use socket2::SockAddr;

use crate::fault::{Fault, FaultKind, Retry};
use crate::net::{ConnectError, connect};
use crate::observe::{ClusterStats, HostStats, PerCore, Slot};
use crate::rng::Rng;
use crate::time::{Deadline, Timer};

pub(crate) use balance::Ask;
use balance::{Balance, LeastRequest, Random, RoundRobin};
pub(crate) use host::{Active, Host};
pub use picker::Picker;
pub(crate) use pool::{ANSWER_READ, Connection, Lease};

/// A host as the snapshot knows it.
#[derive(Debug)]
pub struct HostSpec {
    /// Where to connect to.
    pub address: SockAddr,
    /// How it is called in logs and metrics.
    pub label: config::Name,
    /// Its share.
    pub weight: u32,
    /// Its numbers.
    pub stats: Arc<PerCore<HostStats>>,
}

/// A cluster as the snapshot knows it: addresses resolved.
#[derive(Debug)]
pub struct ClusterSpec {
    /// What the operator wants.
    pub config: config::Cluster,
    /// The hosts; empty while no name resolves.
    pub hosts: Vec<HostSpec>,
    /// Its numbers.
    pub stats: Arc<PerCore<ClusterStats>>,
}

/// A core's live side of a cluster.
pub(crate) struct Cluster {
    pub(crate) spec: Arc<ClusterSpec>,
    pub(crate) stats: Slot<ClusterStats>,
    /// Its name, of this core's own, so that a request's copy of it bounces no line between cores.
    pub(crate) name: config::Name,
    hosts: Vec<Rc<Host>>,
    balance: RefCell<Box<dyn Balance>>,
    /// Copies of requests under way to this cluster on this core.
    pub(crate) mirrors_in_flight: Cell<u32>,
}

impl Cluster {
    /// The live side for a core. Hosts that `last` had at the same address go on with their connections.
    pub(crate) fn new(
        spec: &Arc<ClusterSpec>,
        core: usize,
        rng: &Rng,
        last: Option<&Self>,
    ) -> Self {
        let stats = spec.stats.slot(core);
        let host = |spec: &HostSpec| match last
            .and_then(|last| last.hosts.iter().find(|host| host.is_same(spec)))
        {
            Some(host) => Rc::clone(host),
            None => Rc::new(Host::new(spec, core, stats.clone())),
        };
        let hosts: Vec<_> = spec.hosts.iter().map(host).collect();
        let weights: Vec<u32> = spec.hosts.iter().map(|host| host.weight).collect();
        let balance: Box<dyn Balance> = match spec.config.balance {
            Policy::RoundRobin => Box::new(RoundRobin::new(&weights, rng)),
            Policy::Random => Box::new(Random::new(&weights)),
            Policy::LeastRequest => Box::new(LeastRequest::new(&weights)),
        };
        Self {
            spec: Arc::clone(spec),
            stats,
            name: config::Name::new(spec.config.name.as_str()),
            hosts,
            balance: RefCell::new(balance),
            mirrors_in_flight: Cell::new(0),
        }
    }

    /// A host that was not tried yet.
    pub(crate) fn pick(&self, tried: &[usize], rng: &Rng) -> Result<(usize, Rc<Host>), Fault> {
        let index = self
            .balance
            .borrow_mut()
            .pick(&self.hosts, &Ask { tried, rng });
        match index.and_then(|index| Some((index, Rc::clone(self.hosts.get(index)?)))) {
            Some(picked) => Ok(picked),
            None => {
                self.stats.upstream_rq_no_host.inc();
                Err(Fault::new(FaultKind::NoHost))
            }
        }
    }

    /// The right to send one request to the host, over a kept connection that is still good or a new one. `fresh`: a new one.
    pub(crate) async fn checkout(
        &self,
        host: &Rc<Host>,
        fresh: bool,
        timer: &Timer,
    ) -> Result<Lease, Fault> {
        if !fresh && let Some(kept) = host.http1.unpark(host) {
            self.stats.upstream_cx_reused.inc();
            return Ok(Lease::Http1(kept));
        }
        self.stats.upstream_cx_total.inc();
        host.stats.cx_total.inc();
        let deadline = Deadline::after(self.spec.config.connect_timeout);
        let begun = Instant::now();
        let connected = timer.within(deadline, connect(host.address())).await;
        let fault = match connected {
            Ok(Ok(stream)) => {
                self.stats.upstream_cx_connect_time.record(begun.elapsed());
                return Ok(Lease::Http1(Connection::new(stream, host)));
            }
            Ok(Err(error @ ConnectError::Refused(_))) => {
                Fault::new(FaultKind::ConnectRefused).because(error)
            }
            Ok(Err(error @ ConnectError::Failed(_))) => {
                Fault::new(FaultKind::ConnectFailed).because(error)
            }
            Err(_elapsed) => Fault::new(FaultKind::ConnectTimeout),
        };
        host.stats.cx_connect_fail.inc();
        if fault.kind == FaultKind::ConnectTimeout {
            self.stats.upstream_cx_connect_timeout.inc();
        } else {
            self.stats.upstream_cx_connect_fail.inc();
        }
        Err(fault.retry(Retry::Safe))
    }

    /// Keeps a connection that is in step for the next request, within the pool's limits.
    pub(crate) fn park(&self, connection: Connection) {
        connection.park(&self.spec.config.pool);
    }

    /// Closes the pools of hosts that the next version of the cluster does not have.
    pub(crate) fn retire(&self, next: Option<&Self>) {
        for host in &self.hosts {
            let stays =
                next.is_some_and(|next| next.hosts.iter().any(|kept| Rc::ptr_eq(kept, host)));
            if !stays {
                host.retire();
            }
        }
    }

    /// Closes what was unused for too long, or what the other end closed.
    pub(crate) fn sweep(&self) {
        for host in &self.hosts {
            host.sweep(self.spec.config.pool.idle_timeout);
        }
    }
}
