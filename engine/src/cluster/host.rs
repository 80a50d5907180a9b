//! One host of a cluster on one core: its kept connections and its load.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use ringway_config::{Name, Pool};
use socket2::SockAddr;

use super::HostSpec;
use crate::net::Stream;
use crate::observe::{ClusterStats, HostStats, Slot};
use crate::time::now_millis;

/// What a read for the head of an answer makes room for: a head and a small body in one receive.
pub(crate) const ANSWER_READ: usize = 16 << 10;

/// A host.
pub(crate) struct Host {
    address: SockAddr,
    /// Its name in logs.
    pub(crate) label: Rc<str>,
    name: Name,
    pub(crate) stats: Slot<HostStats>,
    cluster: Slot<ClusterStats>,
    /// Kept connections, the most recently used last: those in front go idle, and are closed.
    idle: RefCell<Vec<Parked>>,
    /// Requests in flight on this core.
    active: Cell<u32>,
}

struct Parked {
    stream: Stream,
    served: u64,
    since: u64,
}

impl Host {
    pub(super) fn new(spec: &HostSpec, core: usize, cluster: Slot<ClusterStats>) -> Self {
        Self {
            address: spec.address.clone(),
            label: Rc::from(spec.label.as_str()),
            name: spec.label.clone(),
            stats: spec.stats.slot(core),
            cluster,
            idle: RefCell::default(),
            active: Cell::new(0),
        }
    }

    pub(super) fn is_same(&self, spec: &HostSpec) -> bool {
        self.name == spec.label && self.address == spec.address
    }

    pub(super) fn address(&self) -> &SockAddr {
        &self.address
    }

    /// Requests in flight on this core.
    pub(crate) fn active(&self) -> u32 {
        self.active.get()
    }

    /// The newest kept connection that its other end has left open and silent.
    pub(super) fn unpark(self: &Rc<Self>) -> Option<Connection> {
        loop {
            let parked = self.idle.borrow_mut().pop()?;
            self.cluster.upstream_cx_idle.dec();
            let mut connection = Connection {
                stream: Some(parked.stream),
                served: parked.served,
                reused: true,
                host: Rc::clone(self),
            };
            if connection.is_silent() {
                return Some(connection);
            }
            self.cluster.upstream_cx_closed_idle.inc();
        }
    }

    /// Closes connections kept longer than `idle_timeout`, and those that the other end closed.
    pub(super) fn sweep(&self, idle_timeout: Duration) {
        let oldest = now_millis()
            .saturating_sub(u64::try_from(idle_timeout.as_millis()).unwrap_or(u64::MAX));
        let mut closed = Vec::new();
        let mut idle = self.idle.borrow_mut();
        let mut at = 0;
        while let Some(parked) = idle.get_mut(at) {
            if parked.since <= oldest || !is_silent(&mut parked.stream) {
                closed.push(idle.remove(at));
            } else {
                at += 1;
            }
        }
        drop(idle);
        for parked in closed {
            self.cluster.upstream_cx_closed_idle.inc();
            self.cluster.upstream_cx_idle.dec();
            self.close(parked.stream);
        }
    }

    fn close(&self, stream: Stream) {
        self.stats.cx_active.dec();
        self.cluster.upstream_cx_active.dec();
        self.cluster.upstream_cx_destroyed.inc();
        stream.close();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for parked in self.idle.take() {
            self.cluster.upstream_cx_idle.dec();
            self.close(parked.stream);
        }
    }
}

/// Nothing has come and the other end is open. The read that this starts is the one that will take the next answer.
fn is_silent(stream: &mut Stream) -> bool {
    stream.reader.input.is_empty()
        && stream
            .reader
            .poll_fill(ANSWER_READ, &mut Context::from_waker(Waker::noop()))
            .is_pending()
}

/// A connection to a host, in use by one request. Dropped, it is closed.
pub(crate) struct Connection {
    stream: Option<Stream>,
    /// Requests sent over it.
    served: u64,
    /// It was kept from an earlier request: its other end may have closed it meanwhile.
    pub(crate) reused: bool,
    pub(crate) host: Rc<Host>,
}

impl Connection {
    pub(super) fn new(stream: Stream, host: &Rc<Host>) -> Self {
        host.stats.cx_active.inc();
        host.cluster.upstream_cx_active.inc();
        Self {
            stream: Some(stream),
            served: 0,
            reused: false,
            host: Rc::clone(host),
        }
    }

    /// The stream; none only while it is being taken apart.
    pub(crate) fn stream(&mut self) -> Option<&mut Stream> {
        self.stream.as_mut()
    }

    fn is_silent(&mut self) -> bool {
        self.stream.as_mut().is_some_and(is_silent)
    }

    /// Keeps it, if it has nothing to say, for the next request.
    pub(super) fn park(mut self, pool: &Pool) {
        let host = Rc::clone(&self.host);
        self.served += 1;
        if pool.max_requests.is_some_and(|max| self.served >= max) {
            host.cluster.upstream_cx_destroyed_max_requests.inc();
            return;
        }
        if host.idle.borrow().len() >= pool.max_idle as usize {
            host.cluster.upstream_cx_idle_overflow.inc();
            return;
        }
        let has_input = self
            .stream
            .as_ref()
            .is_some_and(|stream| !stream.reader.input.is_empty());
        if has_input {
            host.cluster.stray_bytes.inc();
            return;
        }
        if !self.is_silent() {
            return;
        }
        if let Some(stream) = self.stream.take() {
            host.cluster.upstream_cx_idle.inc();
            host.idle.borrow_mut().push(Parked {
                stream,
                served: self.served,
                since: now_millis(),
            });
        }
    }

    /// The stream for good, as a tunnel needs it; the numbers go on counting it until the guard is dropped.
    pub(crate) fn into_tunnel(mut self) -> Option<(Stream, TunnelGuard)> {
        let stream = self.stream.take()?;
        Some((
            stream,
            TunnelGuard {
                host: Rc::clone(&self.host),
            },
        ))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.host.close(stream);
        }
    }
}

/// Counts a connection that became a tunnel.
pub(crate) struct TunnelGuard {
    host: Rc<Host>,
}

impl Drop for TunnelGuard {
    fn drop(&mut self) {
        self.host.stats.cx_active.dec();
        self.host.cluster.upstream_cx_active.dec();
        self.host.cluster.upstream_cx_destroyed.inc();
    }
}

/// Counts a request in flight at a host.
pub(crate) struct Active {
    host: Rc<Host>,
}

impl Active {
    pub(crate) fn new(host: &Rc<Host>) -> Self {
        host.active.set(host.active.get() + 1);
        host.stats.rq_active.inc();
        host.stats.rq_total.inc();
        host.cluster.upstream_rq_total.inc();
        host.cluster.upstream_rq_active.inc();
        Self {
            host: Rc::clone(host),
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
