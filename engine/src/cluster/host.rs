//! One host of a cluster on one core: its load, and its pools.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringway_config::Pool;
use socket2::SockAddr;

use super::balance::cost_now;
use super::group::{Group, Groups};
use super::pool::http1::Kept;
use super::pool::http2;
use super::pool::rpc;
use super::{HostPlace, HostSpec, HostState, HostTls, Place, Speaks};
use crate::net::tls::Client;
use crate::observe::{ClusterStats, HostStats, Slot};
use crate::time::now_millis;

/// How much an answer quicker than the average counts at least, however soon it comes after another.
const LEAST_STEP: f64 = 0.01;

/// A host.
pub(crate) struct Host {
    id: u64,
    state: Arc<HostState>,
    /// What the cluster's newest version says of it; its groups are told the same.
    told: Rc<Told>,
    tls: Option<HostTls>,
    /// What it has chosen to speak, where that is its choice.
    agreed: Cell<Option<Speaks>>,
    /// Its name in logs.
    pub(crate) label: Rc<str>,
    pub(crate) stats: Slot<HostStats>,
    pub(super) cluster: Slot<ClusterStats>,
    /// What is said first on each connection (the PROXY protocol).
    pub(super) header: Option<Bytes>,
    /// This host for connections that are kept apart.
    pub(super) groups: Groups,
    /// HTTP/1 connections between two requests.
    pub(super) http1: Kept,
    /// HTTP/2 connections.
    pub(super) http2: Rc<http2::Pool>,
    /// Connections of RPC protocols.
    pub(super) rpc: Rc<rpc::Pool>,
    /// Requests in flight on this core.
    active: Cell<u32>,
    /// Connections being made before they are needed.
    pub(super) coming: Cell<usize>,
    /// The moving average of its answers' times in microseconds, and when it was made.
    latency: Cell<(f64, u64)>,
    /// No version of the cluster has it any more: nothing is kept.
    retired: Cell<bool>,
}

/// What a version of a cluster says of a host.
struct Told {
    revision: Cell<u64>,
    /// Where to connect to, in the order of trying.
    addresses: RefCell<Rc<[SockAddr]>>,
    /// No version has it any more, or none that connects in the same way.
    gone: Cell<bool>,
}

impl Host {
    pub(super) fn new(
        spec: &HostSpec,
        core: usize,
        cluster: Slot<ClusterStats>,
        tls: Option<HostTls>,
    ) -> Self {
        Self {
            id: spec.id,
            state: Arc::clone(&spec.state),
            tls,
            agreed: Cell::new(None),
            told: Rc::new(Told {
                revision: Cell::new(spec.revision),
                addresses: RefCell::new(spec.location.addresses().into()),
                gone: Cell::new(false),
            }),
            label: Rc::from(spec.label.as_str()),
            stats: spec.stats.slot(core),
            cluster,
            header: None,
            groups: Groups::default(),
            http1: Kept::default(),
            http2: Rc::default(),
            rpc: Rc::default(),
            active: Cell::new(0),
            coming: Cell::new(0),
            latency: Cell::new((0.0, 0)),
            retired: Cell::new(false),
        }
    }

    /// The same host for connections of a group.
    pub(super) fn of_group(&self, group: &Group) -> Self {
        let tls = self.tls.clone().map(|tls| HostTls {
            name: group.name.clone().or(tls.name),
            ..tls
        });
        Self {
            id: self.id,
            state: Arc::clone(&self.state),
            tls,
            agreed: Cell::new(None),
            told: Rc::clone(&self.told),
            label: Rc::clone(&self.label),
            stats: self.stats.clone(),
            cluster: self.cluster.clone(),
            header: group.header.clone(),
            groups: Groups::default(),
            http1: Kept::default(),
            http2: Rc::default(),
            rpc: Rc::default(),
            active: Cell::new(0),
            coming: Cell::new(0),
            latency: Cell::new((0.0, 0)),
            retired: Cell::new(false),
        }
    }

    /// Tells it from every other host that the process has had.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// What control and the cores know of it now.
    pub(super) fn state(&self) -> &HostState {
        &self.state
    }

    /// What it has chosen to speak.
    pub(super) fn agreed(&self) -> Option<Speaks> {
        self.agreed.get()
    }

    /// It chose.
    pub(super) fn agree(&self, speaks: Option<Speaks>) {
        self.agreed.set(speaks);
    }

    /// How connections to it are made secure, if they are.
    pub(super) fn tls(&self) -> Option<&HostTls> {
        self.tls.as_ref()
    }

    /// Whether they are made so by this side of TLS, as those that it keeps were.
    pub(super) fn is_secured_by(&self, client: Option<&Client>) -> bool {
        match (&self.tls, client) {
            (None, None) => true,
            (Some(tls), Some(client)) => tls.client.is_same(client),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    /// Takes over what the cluster's newest version says of it.
    #[inline]
    pub(super) fn follow(&self, spec: &HostSpec) {
        if self.told.revision.get() != spec.revision {
            self.told.revision.set(spec.revision);
            let addresses = spec.location.addresses().into();
            self.told.addresses.replace(addresses);
        }
    }

    /// The moving average of its answers' times in microseconds, and when it was made.
    pub(super) fn latency(&self) -> (f64, u64) {
        self.latency.get()
    }

    /// An answer took so long: a peak counts at once and whole, what is below the average by and by.
    pub(super) fn observe(&self, elapsed: Duration, decay: Duration) {
        let now = now_millis();
        let micros = elapsed.as_secs_f64() * 1e6;
        let old = cost_now(self.latency.get(), decay, now);
        let before = self.latency.get().1;
        let average = if micros >= old {
            micros
        } else {
            let kept = cost_now((1.0, before), decay, now);
            old + (micros - old) * (1.0 - kept).max(LEAST_STEP)
        };
        self.latency.set((average, now));
    }

    /// Where to connect to, in the order of trying.
    pub(super) fn addresses(&self) -> Rc<[SockAddr]> {
        Rc::clone(&self.told.addresses.borrow())
    }

    /// Requests in flight on this core.
    pub(crate) fn active(&self) -> u32 {
        self.active.get()
    }

    /// Whether no version of the cluster has it any more.
    pub(super) fn is_retired(&self) -> bool {
        self.retired.get()
    }

    /// Whether that is so of the host whose group this is, too: who waits for a connection to it does so in vain.
    pub(super) fn is_gone(&self) -> bool {
        self.told.gone.get()
    }

    /// Closes connections that were kept too long or are too old, and those that the other end closed.
    pub(super) fn sweep(&self, pool: &Pool) {
        self.http1.sweep(self, pool);
        self.http2.sweep(pool);
        self.rpc.sweep(pool);
        self.groups.sweep(pool);
    }

    /// Whether no connection is kept or being made.
    pub(super) fn is_unused(&self) -> bool {
        self.http1.is_empty() && self.http2.is_empty() && self.rpc.is_empty()
    }

    /// Closes a connection that is idle, if there is one.
    pub(super) fn close_one(&self) -> bool {
        self.http1.close_one(self)
            || self.http2.close_one()
            || self.rpc.close_one()
            || self.groups.close_one()
    }

    /// No version of the cluster has it any more.
    pub(super) fn leave(&self) {
        self.told.gone.set(true);
        self.retire();
    }

    /// Closes what is kept, and keeps nothing more. Requests under way go on to their end.
    pub(super) fn retire(&self) {
        self.retired.set(true);
        self.http1.close(self);
        self.http2.drain();
        self.rpc.drain();
        self.groups.retire();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.http1.close(self);
        self.http2.drain();
        self.rpc.drain();
    }
}

/// A request's places under the limits of its cluster and of its host.
pub(crate) type RequestPlaces = (Option<Place>, Option<HostPlace>);

/// Counts a request in flight at a host.
pub(crate) struct Active {
    host: Rc<Host>,
    _places: RequestPlaces,
}

impl Active {
    pub(crate) fn new(host: &Rc<Host>, places: RequestPlaces) -> Self {
        host.active.set(host.active.get() + 1);
        host.stats.rq_active.inc();
        host.stats.rq_total.inc();
        host.cluster.upstream_rq_total.inc();
        host.cluster.upstream_rq_active.inc();
        Self {
            host: Rc::clone(host),
            _places: places,
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.host.active.set(self.host.active.get() - 1);
        self.host.stats.rq_active.dec();
        self.host.cluster.upstream_rq_active.dec();
    }
}
