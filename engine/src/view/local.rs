//! What the tasks of one core share.

use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::Waker;

use super::connections::Connections;
use super::date::Date;
use super::{Budget, Handshakes, Kept, Listener, Reporter, Ticket, View};
use crate::cluster::Report;
use crate::net::Pipes;
use crate::observe::log_ring::LogSink;
use crate::observe::{CoreStats, Slot};
use crate::rng::Rng;

/// What the cores of the process share: limits that mean the process (settled question 15).
#[derive(Debug)]
pub(crate) struct Shared {
    /// Client connections open.
    pub(crate) open: Arc<AtomicU64>,
    /// How many there may be; written by control.
    pub(crate) max_connections: AtomicU64,
    /// Pipes that each core may have; written by control.
    pub(crate) pipes: Arc<AtomicU32>,
    /// Listening sockets that may yet let somebody in, over all cores.
    pub(crate) gates: Arc<AtomicU64>,
    /// To control.
    pub(crate) reporter: Reporter,
}

/// Counts a listening socket of a core, from before the core hears of it until it lets nobody in any more.
#[derive(Debug)]
pub(crate) struct OpenGate(Arc<AtomicU64>);

impl OpenGate {
    pub(crate) fn new(gates: &Arc<AtomicU64>) -> Self {
        gates.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(gates))
    }
}

impl Drop for OpenGate {
    fn drop(&mut self) {
        // After the last connection it let in was counted, for whoever sees this.
        self.0.fetch_sub(1, Ordering::Release);
    }
}

/// One core's own.
pub(crate) struct Local {
    pub(crate) core: usize,
    pub(crate) rng: Rc<Rng>,
    pub(crate) stats: Slot<CoreStats>,
    pub(crate) logs: LogSink,
    pub(crate) date: Date,
    /// Through which large transfers go.
    pub(crate) pipes: Pipes,
    pub(crate) connections: Rc<Connections>,
    /// Those that have not yet ended their handshake.
    pub(crate) handshakes: Rc<Handshakes>,
    /// Answers say `Connection: close` from now on.
    pub(crate) draining: Cell<bool>,
    /// No listener lets anybody in any more.
    closed: Cell<bool>,
    /// There may be connections whose listener is gone.
    leaving: Cell<bool>,
    view: RefCell<Rc<View>>,
    shared: Arc<Shared>,
    /// What RPC calls in flight take.
    pub(crate) rpc_budget: Budget,
    /// What is kept for clients of RPC protocols.
    pub(crate) rpc_kept: Kept,
    /// Clients' connections of RPC protocols so far: each has its number.
    pub(crate) rpc_ties: Cell<u64>,
    /// Accepting tasks that wait for a connection to end.
    waiting: RefCell<Vec<Waker>>,
}

impl Local {
    pub(crate) fn new(
        core: usize,
        rng: Rng,
        stats: Slot<CoreStats>,
        logs: LogSink,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            core,
            rng: Rc::new(rng),
            pipes: Pipes::new(Arc::clone(&shared.pipes), stats.clone()),
            stats,
            logs,
            date: Date::default(),
            connections: Rc::default(),
            handshakes: Rc::default(),
            draining: Cell::new(false),
            closed: Cell::new(false),
            leaving: Cell::new(false),
            view: RefCell::new(Rc::new(View::empty())),
            shared,
            rpc_budget: Budget::default(),
            rpc_kept: Kept::default(),
            rpc_ties: Cell::new(0),
            waiting: RefCell::default(),
        }
    }

    /// Tells control of a host, if there is something to tell.
    pub(crate) fn report(&self, report: Option<Report>) {
        if let Some(report) = report
            && !self.shared.reporter.tell(report)
        {
            self.stats.reports_dropped.inc();
        }
    }

    /// The newest view.
    pub(crate) fn view(&self) -> Rc<View> {
        Rc::clone(&self.view.borrow())
    }

    pub(crate) fn replace_view(&self, view: View) {
        let old = self.view.replace(Rc::new(view));
        old.retire(&self.view());
        self.leaving.set(true);
        self.end_leaving();
    }

    /// Every connection is to end, as soon as it is between requests.
    pub(crate) fn close(&self) {
        self.draining.set(true);
        self.closed.set(true);
        self.leaving.set(true);
        self.end_leaving();
    }

    /// Ends connections that are between requests and whose listener is gone. Those that are not come to it later.
    pub(crate) fn end_leaving(&self) {
        if !self.leaving.get() {
            return;
        }
        let view = self.view();
        let gone = |id| self.closed.get() || view.listener_of(id).is_none();
        self.leaving.set(self.connections.end_idle(gone));
    }

    /// Counts one more connection, if the limits allow it; `release` or a [`Ticket`] takes it off again.
    pub(crate) fn admit(&self, listener: &Listener) -> bool {
        let max = listener.spec.config.limits.connections.unwrap_or(u64::MAX);
        let all = self.shared.max_connections.load(Ordering::Relaxed);
        if !enter(&self.shared.open, all) {
            return false;
        }
        if !enter(&listener.spec.open, max) {
            self.shared.open.fetch_sub(1, Ordering::Relaxed);
            listener.stats.limit_connections.inc();
            return false;
        }
        true
    }

    /// Takes off a connection that was admitted and did not come.
    pub(crate) fn release(&self, listener: &Listener) {
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
        listener.spec.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// The place of a connection that was admitted.
    pub(crate) fn ticket(&self, fd: RawFd, listener: &Listener) -> Ticket {
        if self.view().listener_of(listener.id).is_none() || self.closed.get() {
            self.leaving.set(true);
        }
        Ticket::new(&self.connections, fd, listener.id)
    }

    /// A connection that was admitted has ended: makes room, and says so to those who wait for it.
    pub(crate) fn ended(&self, listener: &Listener) {
        self.release(listener);
        let waiting = self.waiting.take();
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Wakes when a connection of this core has ended.
    pub(crate) fn wait_for_end(&self, waker: &Waker) {
        self.waiting.borrow_mut().push(waker.clone());
    }
}

/// Adds one, unless there are `max`.
fn enter(open: &AtomicU64, max: u64) -> bool {
    if open.fetch_add(1, Ordering::Relaxed) < max {
        return true;
    }
    open.fetch_sub(1, Ordering::Relaxed);
    false
}
