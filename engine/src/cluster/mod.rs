//! Which host, and a connection to it.
//!
//! A [`ClusterSpec`] is the snapshot's side, shared by all cores; a `Cluster` is one core's live side of it, with its
//! own pools and its own balancing state.

mod ahead;
mod balance;
mod breaker;
mod checkout;
mod group;
mod hash;
mod host;
mod hosts;
mod open;
mod permits;
mod picker;
mod pool;
#[cfg(debug_assertions)]
mod rehearsal;
mod search;
mod secure;
mod sets;
mod spec;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use ringway_config::{self as config, Balance};

use crate::fault::{Fault, FaultKind};
use crate::net::tls;
use crate::observe::{Calls, ClusterStats, RpcCalls, Slot};
use crate::rng::Rng;

pub(crate) use balance::Ask;
pub use breaker::{Breakers, Remaining};
pub(crate) use breaker::{Full, Gate, Permit, Place};
use checkout::Speaks;
pub(crate) use checkout::Want;
pub(crate) use group::Group;
pub(crate) use hash::{of_address, xxh64};
pub(crate) use host::{Active, Host, RequestPlaces};
pub(crate) use hosts::{At, Maker, Wanted};
pub use hosts::{Hosts, Location};
pub use picker::Picker;
pub(crate) use pool::{
    ANSWER_READ, Answering, BULK_READ, Closed, Connection, Lease, Receiving, RpcSlot, Sender,
    Slot as StreamSlot,
};
#[cfg(debug_assertions)]
pub use rehearsal::{Asking, Begun, News, Refused, Rehearsal, Request};
pub(crate) use search::Search;
pub(crate) use secure::HostTls;
pub use sets::Census;
use sets::Live;
pub(crate) use sets::{ClusterSets, MetadataMatch, sticky_id};
pub(crate) use spec::HostPlace;
pub(crate) use spec::assemble;
pub use spec::{ClusterSpec, HostSpec, HostState, Mark, Streak};

/// A host's errors in a row have reached a threshold of its cluster.
#[derive(Clone, Debug)]
pub struct Report {
    /// The cluster.
    pub cluster: config::Name,
    /// The host's id.
    pub host: u64,
    /// Which errors.
    pub streak: Streak,
}

/// A core's live side of a cluster.
pub(crate) struct Cluster {
    pub(crate) spec: Arc<ClusterSpec>,
    pub(crate) stats: Slot<ClusterStats>,
    /// Calls of gRPC, by method.
    pub(crate) calls: Slot<Calls>,
    /// Calls of its RPC protocol, by method.
    pub(crate) rpc_calls: Option<Slot<RpcCalls>>,
    /// Its name, of this core's own, so that a request's copy of it bounces no line between cores.
    pub(crate) name: config::Name,
    core: usize,
    /// This core's side of TLS, with its sessions.
    client: Option<tls::Client>,
    /// The hosts that this core has asked, by slot; all versions of the cluster share them.
    hosts: Rc<RefCell<Vec<Option<Rc<Host>>>>>,
    live: RefCell<Live>,
    pub(crate) gate: Gate,
    /// There is a newer version, or the cluster is gone: hosts made for this one are kept by nobody.
    retired: Cell<bool>,
    /// What took its place last; all versions of the cluster share it.
    newest: Rc<RefCell<Weak<Self>>>,
    /// How long answers' times count, where the balancing goes by them.
    decay: Option<Duration>,
    /// Copies of requests under way to this cluster on this core.
    pub(crate) mirrors_in_flight: Cell<u32>,
}

impl Cluster {
    /// The live side for a core. Hosts that `last` had go on with their connections.
    pub(crate) fn new(
        spec: &Arc<ClusterSpec>,
        core: usize,
        rng: &Rng,
        last: Option<&Self>,
    ) -> Self {
        let decay = match spec.config.balance {
            Balance::PeakEwma { decay, .. } => Some(decay),
            Balance::RoundRobin
            | Balance::Random
            | Balance::LeastRequest(_)
            | Balance::LeastConnection(_)
            | Balance::RingHash { .. }
            | Balance::Maglev { .. }
            | Balance::RequestRoundRobin => None,
        };
        let client = match (&spec.tls, last.map(|last| (&last.spec.tls, &last.client))) {
            (Some((shared, _)), Some((Some((before, _)), Some(own)))) if shared.is_same(before) => {
                Some(own.clone())
            }
            (shared, _) => shared.as_ref().map(|(shared, _)| shared.for_core()),
        };
        Self {
            client,
            spec: Arc::clone(spec),
            stats: spec.stats.slot(core),
            calls: spec.calls.slot(core),
            rpc_calls: spec.rpc_calls.as_ref().map(|calls| calls.slot(core)),
            name: config::Name::new(spec.config.name.as_str()),
            core,
            hosts: last.map_or_else(Rc::default, |last| Rc::clone(&last.hosts)),
            live: RefCell::new(Live::new(&spec.sets, rng)),
            gate: Gate::new(
                &spec.breakers,
                &spec.config.limits,
                core,
                last.map(|last| &last.gate),
            ),
            retired: Cell::new(false),
            newest: last.map_or_else(Rc::default, |last| Rc::clone(&last.newest)),
            decay,
            mirrors_in_flight: Cell::new(0),
        }
    }

    /// Whether no other version has taken its place.
    #[inline]
    fn is_newest(&self) -> bool {
        !self.retired.get()
    }

    /// The version that has taken its place, and speaks as it does; none: the cluster is gone.
    fn newest(&self) -> Option<Rc<Self>> {
        let protocol = |cluster: &Self| cluster.spec.codec.as_ref().map(|codec| codec.name());
        let newest = self.newest.borrow().upgrade();
        newest.filter(|newest| protocol(newest) == protocol(self))
    }

    /// Which host has a slot.
    fn id_of(&self, slot: usize) -> Option<u64> {
        let host = self.spec.hosts.get(u32::try_from(slot).ok()?)?;
        Some(host.id)
    }

    /// A host that was not tried yet, by its slot.
    pub(crate) fn pick(&self, ask: &Ask<'_>) -> Result<(usize, Rc<Host>), Fault> {
        let picked = self.live.borrow().pick(&self.hosts.borrow(), ask);
        match picked.and_then(|slot| Some((slot, self.host(slot)?))) {
            Some(picked) => Ok(picked),
            None => {
                self.stats.upstream_rq_no_host.inc();
                Err(Fault::new(FaultKind::NoHost))
            }
        }
    }

    /// This core's side of the host of a slot; made when it is first asked for.
    fn host(&self, slot: usize) -> Option<Rc<Host>> {
        let spec = self.spec.hosts.get(u32::try_from(slot).ok()?)?;
        if let Some(Some(host)) = self.hosts.borrow().get(slot)
            && host.id() == spec.id
            && host.is_secured_by(self.client.as_ref())
        {
            host.follow(spec);
            return Some(Rc::clone(host));
        }
        Some(self.new_host(slot, spec))
    }

    #[cold]
    fn new_host(&self, slot: usize, spec: &HostSpec) -> Rc<Host> {
        let tls = self.host_tls(spec);
        let host = Rc::new(Host::new(spec, self.core, self.stats.clone(), tls));
        if self.retired.get() {
            host.leave();
            return host;
        }
        let mut hosts = self.hosts.borrow_mut();
        if hosts.len() <= slot {
            hosts.resize(self.spec.hosts.slots().max(slot + 1), None);
        }
        let place = hosts.get_mut(slot);
        let before = place.and_then(|place| place.replace(Rc::clone(&host)));
        drop(hosts);
        if let Some(before) = before {
            before.leave();
        }
        host
    }

    /// Takes over what control derived from its hosts' health.
    pub(crate) fn refresh(&self, sets: &Arc<ClusterSets>) {
        self.live.borrow_mut().exchange(sets);
    }

    /// The core was rung: see [`Gate::serve`].
    pub(crate) fn serve(&self) {
        self.gate.serve(|| {
            let hosts = self.hosts.borrow();
            let wants_room = |host: &&Rc<Host>| self.gate.wants_room(host.id());
            let closed = hosts
                .iter()
                .flatten()
                .filter(wants_room)
                .any(|host| host.close_one());
            if closed {
                self.stats.upstream_cx_closed_for_room.inc();
            }
            closed
        });
    }

    /// Whether there is a host that was not tried yet.
    pub(crate) fn has_other(&self, ask: &Ask<'_>) -> bool {
        let picked = self.live.borrow().pick(&self.hosts.borrow(), ask);
        picked.is_some()
    }

    /// A try at a host ended: with that status, or without an answer. What control must hear of it.
    pub(crate) fn judge(&self, host: &Host, status: Option<u16>) -> Option<Report> {
        let outlier = self.spec.config.outlier.as_ref()?;
        let streak = host.state().count(outlier, status)?;
        Some(Report {
            cluster: self.name.clone(),
            host: host.id(),
            streak,
        })
    }

    /// The priority of a slot's host as [`Ask::avoid`] has it.
    pub(crate) fn priority_bit(&self, slot: usize) -> u128 {
        let slot = u32::try_from(slot).ok();
        let host = slot.and_then(|slot| self.spec.hosts.get(slot));
        host.map_or(0, |host| 1 << (host.endpoint.priority & 127))
    }

    /// The host of a slot, if this core ever asked it.
    pub(crate) fn asked(&self, slot: usize) -> Option<Rc<Host>> {
        self.hosts.borrow().get(slot)?.clone()
    }

    /// An answer of a host came after so long.
    pub(crate) fn observe(&self, host: &Host, elapsed: Duration) {
        if let Some(decay) = self.decay {
            host.observe(elapsed, decay);
        }
    }

    /// Keeps a connection that is in step for the next request, within the pool's limits.
    pub(crate) fn park(&self, mut connection: Connection) {
        if self.gate.wants_room(connection.host.id()) {
            self.stats.upstream_cx_closed_for_room.inc();
        } else {
            connection.park(&self.spec.config.pool);
        }
        // Its places are free before others are served.
        drop(connection);
        self.made_room();
    }

    /// Another version takes its place, or none. Closes the pools of hosts that this does not have.
    pub(crate) fn retire(&self, next: Option<&Rc<Self>>) {
        if next.is_some_and(|next| std::ptr::eq(&**next, self)) {
            return;
        }
        self.retired.set(true);
        self.newest
            .replace(next.map(Rc::downgrade).unwrap_or_default());
        let mut gone = Vec::new();
        if let Some(next) = next
            && let Some(left) = next.spec.hosts.left(&self.spec.hosts)
            && self.is_secured_as(next)
        {
            let mut hosts = self.hosts.borrow_mut();
            let places = left
                .iter()
                .map(|slot| hosts.get_mut(*slot as usize)?.take());
            gone.extend(places.flatten());
            drop(hosts);
            return self.dismiss(&gone);
        }
        for (slot, place) in (0..).zip(self.hosts.borrow_mut().iter_mut()) {
            let stays = |host: &Rc<Host>| {
                next.is_some_and(|next| {
                    next.spec.hosts.has(slot, host.id()) && host.is_secured_by(next.client.as_ref())
                })
            };
            gone.extend(place.take_if(|host| !stays(host)));
        }
        self.dismiss(&gone);
    }

    /// These hosts are gone: their pools close, and who waits for a connection to one of them hears of it.
    fn dismiss(&self, gone: &[Rc<Host>]) {
        gone.iter().for_each(|host| host.leave());
        self.gate.stir();
    }

    /// Whether its connections are secured by the same side of TLS.
    fn is_secured_as(&self, other: &Self) -> bool {
        match (&self.client, &other.client) {
            (None, None) => true,
            (Some(own), Some(other)) => own.is_same(other),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    /// Closes what was unused for too long, or what the other end closed.
    pub(crate) fn sweep(&self) {
        // A session of HTTP/2 that has gone idle meanwhile makes room here, and not before.
        self.serve();
        for host in self.hosts.borrow().iter().flatten() {
            host.sweep(&self.spec.config.pool);
        }
    }
}
