//! One HTTP/2 connection to a host: its places, and when it takes no more.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::SendRequest;
use ringway_config as config;

use super::super::super::Host;
use super::super::http1::Places;
use super::Pool;
use super::driver::Driver;
use super::ends::Ends;
use crate::fault::Fault;
use crate::http2::Window;
use crate::net::Stream;
use crate::observe::{ClusterStats, HostStats, Slot as Stats};
use crate::time::now_millis;

/// The number of streams that the codec says as long as the other end's SETTINGS have not come: nobody allows as many.
pub(super) const UNSETTLED: usize = usize::MAX - 1;

/// PINGs that are sent because requests went without an answer, between two answers: gRPC's servers close a connection at the third
/// that comes while they send nothing.
const ASKED_MAX: u32 = 2;

/// A connection.
pub(super) struct Session {
    pool: Weak<Pool>,
    /// Absent from the moment on when no more requests are taken.
    sender: RefCell<Option<SendRequest<Bytes>>>,
    /// Requests that have a place here.
    active: Cell<usize>,
    /// Requests begun.
    begun: Cell<u64>,
    /// Streams that the other end allows now, within our own limit; as many as it was told by refusals.
    limit: Cell<usize>,
    ceiling: Cell<usize>,
    /// The most streams that we want.
    streams: usize,
    max_requests: Option<u64>,
    /// The most interim answers to one request.
    pub(super) interim_answers: u32,
    /// The other end's first SETTINGS have come.
    settled: Cell<bool>,
    /// Who waits for that, or for the connection's end.
    settling: RefCell<Vec<Waker>>,
    ended: Cell<bool>,
    born: u64,
    /// When its last stream ended.
    quiet_since: Cell<u64>,
    /// Whether it may be dead: the next thing to do is to ask it.
    suspect: Cell<bool>,
    /// PINGs for that reason since it last answered a request.
    asked_in_vain: Cell<u32>,
    pub(super) window: Window,
    pub(super) ends: Rc<Ends>,
    driver: RefCell<Option<Waker>>,
    pub(super) host: Stats<HostStats>,
    pub(super) cluster: Stats<ClusterStats>,
    /// Under the limits of connections, as long as it lives.
    _places: Places,
}

impl Session {
    /// Greets the other end of a new connection, and starts the task that drives it.
    pub(super) async fn start(
        (stream, places): (Stream, Places),
        host: &Host,
        config: &config::Cluster,
        pool: Weak<Pool>,
    ) -> Result<Rc<Self>, Fault> {
        let http2 = &config.http2;
        let ends = Rc::default();
        let (sender, driver) = Driver::greet(stream, http2, &ends).await?;
        let session = Rc::new(Self {
            pool,
            sender: RefCell::new(Some(sender)),
            active: Cell::new(0),
            begun: Cell::new(0),
            // Until its SETTINGS are here nobody knows whether it takes a second one at a time.
            limit: Cell::new(1),
            ceiling: Cell::new(usize::MAX),
            streams: http2.streams as usize,
            max_requests: config.pool.max_requests,
            interim_answers: config.interim_answers,
            settled: Cell::new(false),
            settling: RefCell::default(),
            ended: Cell::new(false),
            born: now_millis(),
            quiet_since: Cell::new(now_millis()),
            suspect: Cell::new(false),
            asked_in_vain: Cell::new(0),
            window: window(http2),
            ends,
            driver: RefCell::new(None),
            host: host.stats.clone(),
            cluster: host.cluster.clone(),
            _places: places,
        });
        session.host.cx_active.inc();
        session.cluster.upstream_cx_active.inc();
        driver.spawn(Rc::clone(&session));
        Ok(session)
    }

    pub(super) fn is_settled(&self) -> bool {
        self.settled.get() || self.is_leaving()
    }

    /// Nobody has a place here.
    pub(super) fn is_idle(&self) -> bool {
        self.active.get() == 0
    }

    /// How many more it takes; where that is not known yet, what is usual.
    pub(super) fn room(&self, usual: usize) -> usize {
        let limit = self.limit.get().min(self.ceiling.get());
        let limit = if self.is_settled() { limit } else { usual };
        limit.saturating_sub(self.active.get())
    }

    pub(super) fn has_room(&self) -> bool {
        self.active.get() < self.limit.get().min(self.ceiling.get())
    }

    fn is_leaving(&self) -> bool {
        self.sender.borrow().is_none()
    }

    /// The other end has said how many streams it allows, perhaps others than before.
    pub(super) fn settle(&self) {
        let allowed = self
            .sender
            .borrow()
            .as_ref()
            .map(SendRequest::current_max_send_streams);
        self.settling.take().into_iter().for_each(Waker::wake);
        let Some(allowed) = allowed.filter(|allowed| *allowed != UNSETTLED) else {
            return;
        };
        let limit = allowed.min(self.streams);
        if self.settled.replace(true) && limit == self.limit.get() {
            return;
        }
        self.limit.set(limit);
        if let Some(pool) = self.pool.upgrade() {
            pool.usual.set(limit.max(1));
            pool.serve();
            pool.stir();
        }
    }

    /// Until the other end's first SETTINGS, as a codec's handle knows them, are here or never will be. A session that takes no more
    /// requests has them too.
    pub(super) fn poll_heard(&self, by: &SendRequest<Bytes>, cx: &mut Context<'_>) -> Poll<()> {
        if self.ended.get() || by.current_max_send_streams() != UNSETTLED {
            return Poll::Ready(());
        }
        self.settling.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// The connection has ended.
    pub(super) fn end(&self) {
        self.ended.set(true);
        self.settling.take().into_iter().for_each(Waker::wake);
        self.drain();
    }

    /// The other end refused a stream though it allows more: it is taken at its deeds.
    pub(super) fn refused(&self) {
        self.ceiling.set(self.active.get().saturating_sub(1).max(1));
    }

    /// It answered: it may be asked for one more than it was.
    pub(super) fn answered(&self) {
        self.ceiling.set(self.ceiling.get().saturating_add(1));
        self.asked_in_vain.set(0);
    }

    /// A request ended without an answer: the connection may be dead.
    pub(super) fn suspect(&self) {
        if self.asked_in_vain.get() < ASKED_MAX {
            self.asked_in_vain.set(self.asked_in_vain.get() + 1);
            self.suspect.set(true);
            self.wake();
        }
    }

    pub(super) fn take_suspicion(&self) -> bool {
        self.suspect.replace(false)
    }

    /// Takes no more requests; it closes when its streams have ended.
    pub(super) fn drain(&self) {
        // Dropping the codec's handle is what tells it that no stream will follow.
        let sender = self.sender.borrow_mut().take();
        if sender.is_some() {
            drop(sender);
            self.settled.set(true);
            self.wake();
            if let Some(pool) = self.pool.upgrade() {
                pool.forget(self);
            }
        }
    }

    /// Drains it if it was unused for too long, or is too old.
    pub(super) fn sweep(&self, pool: &config::Pool) {
        let now = now_millis();
        let since = |then: u64| std::time::Duration::from_millis(now.saturating_sub(then));
        let unused = self.is_idle() && since(self.quiet_since.get()) >= pool.idle_timeout;
        if unused {
            self.cluster.upstream_cx_closed_idle.inc();
        }
        let old = pool.max_age.is_some_and(|max| since(self.born) >= max);
        if old {
            self.cluster.upstream_cx_destroyed_max_age.inc();
        }
        if unused || old {
            self.drain();
        }
    }

    /// The driver listens.
    pub(super) fn listen(&self, waker: &Waker) {
        let mut driver = self.driver.borrow_mut();
        if !driver.as_ref().is_some_and(|old| old.will_wake(waker)) {
            *driver = Some(waker.clone());
        }
    }

    pub(super) fn wake(&self) {
        if let Some(driver) = &*self.driver.borrow() {
            driver.wake_by_ref();
        }
    }

    /// Stops if the other end wants no more requests.
    pub(super) fn check(&self, cx: &mut Context<'_>) {
        let refused = match &mut *self.sender.borrow_mut() {
            Some(sender) => matches!(sender.poll_ready(cx), Poll::Ready(Err(_))),
            None => false,
        };
        if refused {
            self.cluster.upstream_cx_goaway.inc();
            self.drain();
        }
    }
}

pub(super) fn window(config: &config::Http2) -> Window {
    let (first, max) = (config.stream_window, config.stream_window_max);
    Window::new(first, max, config.connection_window_max, config.streams)
}

impl Drop for Session {
    fn drop(&mut self) {
        self.host.cx_active.dec();
        self.cluster.upstream_cx_active.dec();
        self.cluster.upstream_cx_destroyed.inc();
    }
}

/// A place for one request. Dropped, it is free again.
pub(crate) struct Slot {
    pub(super) session: Rc<Session>,
    /// The codec's handle, until the request is sent.
    pub(super) sender: Option<SendRequest<Bytes>>,
    /// Another request went over this connection before.
    pub(super) reused: bool,
}

impl Slot {
    /// A place on a session, if it has one.
    pub(super) fn of(session: &Rc<Session>) -> Option<Self> {
        if !session.has_room() {
            return None;
        }
        let sender = session.sender.borrow().clone()?;
        session.active.set(session.active.get() + 1);
        if session.window.enter() {
            session.wake();
        }
        let begun = session.begun.get() + 1;
        session.begun.set(begun);
        if begun > 1 {
            session.cluster.upstream_cx_reused.inc();
        }
        if session.max_requests.is_some_and(|max| begun >= max) {
            session.cluster.upstream_cx_destroyed_max_requests.inc();
            session.drain();
        }
        Some(Self {
            session: Rc::clone(session),
            sender: Some(sender),
            reused: begun > 1,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let session = &self.session;
        session.active.set(session.active.get() - 1);
        session.window.leave();
        if session.active.get() == 0 {
            session.quiet_since.set(now_millis());
        }
        if let Some(pool) = session.pool.upgrade() {
            pool.serve();
        }
    }
}
