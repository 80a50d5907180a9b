//! One host of a cluster on one core: its kept connections and its load.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use ringway_config::{Name, Pool};
use socket2::SockAddr;

use super::HostSpec;
use crate::net::{Reader, Stream, Writer};
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
    /// No version of the cluster has it any more: nothing is kept.
    retired: Cell<bool>,
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
            retired: Cell::new(false),
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
            let mut parked = self.idle.borrow_mut().pop()?;
            self.cluster.upstream_cx_idle.dec();
            let silent = is_silent(&mut parked.stream);
            let connection = Connection::over(parked.stream, parked.served, true, self);
            if silent {
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

    /// Closes what is kept, and keeps nothing more.
    pub(super) fn retire(&self) {
        self.retired.set(true);
        self.close_idle();
    }

    fn close_idle(&self) {
        for parked in self.idle.take() {
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
        self.close_idle();
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
    reader: Option<Reader>,
    writer: Option<Writer>,
    /// Requests sent over it before.
    served: u64,
    /// Its end is the connection's end: it was not kept.
    closes: bool,
    /// It was kept from an earlier request: its other end may have closed it meanwhile.
    pub(crate) reused: bool,
    pub(crate) host: Rc<Host>,
}

impl Connection {
    pub(super) fn new(stream: Stream, host: &Rc<Host>) -> Self {
        host.stats.cx_active.inc();
        host.cluster.upstream_cx_active.inc();
        Self::over(stream, 0, false, host)
    }

    fn over(stream: Stream, served: u64, reused: bool, host: &Rc<Host>) -> Self {
        Self {
            reader: Some(stream.reader),
            writer: Some(stream.writer),
            served,
            closes: true,
            reused,
            host: Rc::clone(host),
        }
    }

    /// Takes both sides out; what is not put back is closed by whoever drops it.
    pub(crate) fn take(&mut self) -> Option<(Reader, Writer)> {
        Some((self.reader.take()?, self.writer.take()?))
    }

    /// The reading side.
    pub(crate) fn reader(&mut self) -> Option<&mut Reader> {
        self.reader.as_mut()
    }

    /// Puts the reading side back.
    pub(crate) fn put_reader(&mut self, reader: Reader) {
        self.reader = Some(reader);
    }

    /// Puts the writing side back.
    pub(crate) fn put_writer(&mut self, writer: Writer) {
        self.writer = Some(writer);
    }

    /// Keeps it for the next request, if it is in step: nothing half sent, nothing more to say, and the other end open.
    pub(super) fn park(mut self, pool: &Pool) {
        let host = Rc::clone(&self.host);
        let Some((reader, writer)) = self.take() else {
            return;
        };
        let mut stream = Stream { reader, writer };
        self.served += 1;
        let refused = if pool.max_requests.is_some_and(|max| self.served >= max) {
            Some(&host.cluster.upstream_cx_destroyed_max_requests)
        } else if host.idle.borrow().len() >= pool.max_idle as usize {
            Some(&host.cluster.upstream_cx_idle_overflow)
        } else if !stream.reader.input.is_empty() {
            Some(&host.cluster.stray_bytes)
        } else {
            None
        };
        if let Some(counter) = refused {
            counter.inc();
        } else if !host.retired.get() && !stream.writer.is_broken() && is_silent(&mut stream) {
            host.cluster.upstream_cx_idle.inc();
            host.idle.borrow_mut().push(Parked {
                stream,
                served: self.served,
                since: now_millis(),
            });
            self.closes = false;
            return;
        }
        (self.reader, self.writer) = (Some(stream.reader), Some(stream.writer));
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.closes {
            return;
        }
        self.host.stats.cx_active.dec();
        self.host.cluster.upstream_cx_active.dec();
        self.host.cluster.upstream_cx_destroyed.inc();
        if let Some((reader, writer)) = self.take() {
            Stream { reader, writer }.close();
        }
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
