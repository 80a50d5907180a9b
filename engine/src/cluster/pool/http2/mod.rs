//! HTTP/2 connections to a host: many requests over each, and another connection when those there are full.
//!
//! ```text
//!   checkout ─► a session has room ──────────────────────────────► Slot ─► Call ─► answer
//!           ├─► none has, and more connections are allowed ─► connect, then a Slot of the new session
//!           └─► wait, first come first served: a stream that ends hands its place on
//! ```
//!
//! A place is counted from the slot on, so that nobody takes what was handed to somebody who waits.

mod call;
mod driver;
mod ends;
mod error;
mod session;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ringway_config as config;

use super::super::Host;
use super::http1::Places;
use crate::fault::{Fault, FaultKind, Retry};
use crate::net::Stream;

pub(crate) use call::{Answering, Closed, Receiving, Sender};
use session::Session;
pub(crate) use session::Slot;

/// How many streams a host is taken to allow before it has said so: what most servers allow.
const STREAMS_USUAL: usize = 100;

/// The sessions with a host, and who waits for one.
pub(in crate::cluster) struct Pool {
    sessions: RefCell<Vec<Rc<Session>>>,
    waiting: RefCell<VecDeque<Rc<Waiter>>>,
    /// Connections being made.
    connecting: Cell<usize>,
    /// Streams that the host's newest session allowed.
    usual: Cell<usize>,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            sessions: RefCell::default(),
            waiting: RefCell::default(),
            connecting: Cell::new(0),
            usual: Cell::new(STREAMS_USUAL),
        }
    }
}

/// Where a request finds its place.
pub(in crate::cluster) enum Place {
    Here(Slot),
    /// On a connection that has yet to be made.
    Connect(Connecting),
    /// Where somebody makes room.
    Wait(Waiting),
    /// Nowhere: too many wait already.
    Full,
}

impl Pool {
    /// A place for a request, or how to come by one.
    pub(in crate::cluster) fn place(self: &Rc<Self>, limits: &config::Http2) -> Place {
        let waiting = self.waiting.borrow().len();
        if waiting == 0
            && let Some(slot) = self.slot()
        {
            return Place::Here(slot);
        }
        let (mut open, mut unsettled) = (0, 0);
        for session in &*self.sessions.borrow() {
            open += 1;
            unsettled += usize::from(!session.is_settled());
        }
        let expected = (self.connecting.get() + unsettled).saturating_mul(self.usual.get());
        if waiting >= expected && open + self.connecting.get() < limits.connections as usize {
            return Place::Connect(Connecting::new(self));
        }
        if waiting >= limits.waiting as usize {
            return Place::Full;
        }
        let waiter = Rc::new(Waiter::default());
        self.waiting.borrow_mut().push_back(Rc::clone(&waiter));
        Place::Wait(Waiting {
            pool: Rc::clone(self),
            waiter,
        })
    }

    /// The right to make a connection, if fewer than so many more requests have places here.
    pub(in crate::cluster) fn ahead(
        self: &Rc<Self>,
        wanted: usize,
        limits: &config::Http2,
    ) -> Option<Connecting> {
        let (mut open, mut ready) = (0, 0);
        for session in &*self.sessions.borrow() {
            open += 1;
            // What a host allows that has yet to say so, it usually allows.
            ready += session.room(self.usual.get());
        }
        let connecting = self.connecting.get();
        ready += connecting.saturating_mul(self.usual.get());
        let may = open + connecting < limits.connections as usize;
        (ready < wanted && may).then(|| Connecting::new(self))
    }

    /// A place on the first session that has one: connections that are not needed go idle, and are closed.
    fn slot(&self) -> Option<Slot> {
        let sessions = self.sessions.borrow();
        let session = sessions.iter().find(|session| session.has_room()).cloned();
        // Taking the last place of a session takes it off the list.
        drop(sessions);
        session.as_ref().and_then(Slot::of)
    }

    /// There may be room: hands it to who waits longest.
    fn serve(&self) {
        loop {
            if self.waiting.borrow().is_empty() {
                return;
            }
            let Some(slot) = self.slot() else {
                return;
            };
            let Some(waiter) = self.waiting.borrow_mut().pop_front() else {
                return;
            };
            waiter.tell(Outcome::Slot(slot));
        }
    }

    /// Takes a session off: it takes no more requests.
    fn forget(&self, session: &Session) {
        self.sessions
            .borrow_mut()
            .retain(|kept| !std::ptr::eq(&raw const **kept, session));
        self.stir();
    }

    /// Has all who wait look again, in their order: there may be reason for another connection.
    fn stir(&self) {
        for waiter in self.waiting.take() {
            waiter.tell(Outcome::LookAgain);
        }
    }

    /// A connection could not be made. Where there is no other, nobody who waits can do better.
    fn fail(&self, kind: FaultKind) {
        if self.sessions.borrow().is_empty() && self.connecting.get() == 0 {
            for waiter in self.waiting.take() {
                waiter.tell(Outcome::Failed(kind));
            }
        }
    }

    /// Ends sessions that were unused for too long or are too old, as soon as their streams have ended.
    pub(in crate::cluster) fn sweep(&self, pool: &config::Pool) {
        let sessions = self.sessions.borrow().clone();
        for session in sessions {
            session.sweep(pool);
        }
    }

    /// Ends a session that has nothing to do, if there is one.
    pub(in crate::cluster) fn close_one(&self) -> bool {
        let idle = {
            let sessions = self.sessions.borrow();
            sessions.iter().find(|session| session.is_idle()).cloned()
        };
        if let Some(session) = &idle {
            session.drain();
        }
        idle.is_some()
    }

    /// Whether there is no session, and nobody who waits for one.
    pub(in crate::cluster) fn is_empty(&self) -> bool {
        let nobody = self.waiting.borrow().is_empty() && self.connecting.get() == 0;
        nobody && self.sessions.borrow().is_empty()
    }

    /// Ends all sessions as soon as their streams have ended.
    pub(in crate::cluster) fn drain(&self) {
        for session in self.sessions.take() {
            session.drain();
        }
        self.stir();
    }
}

/// The right to make a connection. Dropped without one, somebody else may try.
pub(in crate::cluster) struct Connecting {
    pool: Rc<Pool>,
    failed: Option<FaultKind>,
}

impl Connecting {
    fn new(pool: &Rc<Pool>) -> Self {
        pool.connecting.set(pool.connecting.get() + 1);
        Self {
            pool: Rc::clone(pool),
            failed: None,
        }
    }

    /// A session over a new connection, and the first place on it.
    pub(in crate::cluster) async fn open(
        self,
        (stream, places): (Stream, Places),
        host: &Host,
        config: &config::Cluster,
    ) -> Result<Slot, Fault> {
        let session =
            Session::start((stream, places), host, config, Rc::downgrade(&self.pool)).await?;
        self.pool.sessions.borrow_mut().push(Rc::clone(&session));
        let slot = Slot::of(&session);
        drop(self);
        slot.ok_or_else(|| Fault::new(FaultKind::Reset).retry(Retry::Safe))
    }

    /// The connection was not made.
    pub(in crate::cluster) fn failed(mut self, kind: FaultKind) {
        self.failed = Some(kind);
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        self.pool.connecting.set(self.pool.connecting.get() - 1);
        if let Some(kind) = self.failed {
            self.pool.fail(kind);
        }
        self.pool.serve();
        self.pool.stir();
    }
}

/// A request that waits for a place.
#[derive(Default)]
struct Waiter {
    outcome: RefCell<Option<Outcome>>,
    waker: Cell<Option<Waker>>,
}

enum Outcome {
    Slot(Slot),
    LookAgain,
    Failed(FaultKind),
}

impl Waiter {
    fn tell(&self, outcome: Outcome) {
        *self.outcome.borrow_mut() = Some(outcome);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A request's place in the queue. Dropped, it is given up, and so is what was handed to it.
pub(in crate::cluster) struct Waiting {
    pool: Rc<Pool>,
    waiter: Rc<Waiter>,
}

impl Waiting {
    /// The place, or `None`: look again.
    pub(in crate::cluster) async fn place(self) -> Result<Option<Slot>, Fault> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Slot>, Fault>> {
        match self.waiter.outcome.borrow_mut().take() {
            Some(Outcome::Slot(slot)) => Poll::Ready(Ok(Some(slot))),
            Some(Outcome::LookAgain) => Poll::Ready(Ok(None)),
            Some(Outcome::Failed(kind)) => Poll::Ready(Err(Fault::new(kind).retry(Retry::Safe))),
            None => {
                self.waiter.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // A slot that it was handed goes back by itself.
        let mut waiting = self.pool.waiting.borrow_mut();
        waiting.retain(|waiter| !Rc::ptr_eq(waiter, &self.waiter));
    }
}
