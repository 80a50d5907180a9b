//! One call on an RPC connection: its place there, its frame, and the wait for its answer.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::Entry;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringway_protocols::codec::{self, Frame};

use super::ids::Ids;
use super::session::{Session, State};
use crate::fault::{Fault, FaultKind, Retry};
use crate::time::now_millis;

/// What a call waits for.
#[derive(Default)]
pub(super) struct Call {
    /// The id that its frame has.
    pub(super) id: u64,
    answer: RefCell<Option<Result<Frame, FaultKind>>>,
    waker: Cell<Option<Waker>>,
}

impl Call {
    pub(super) fn settle(&self, answer: Result<Frame, FaultKind>) {
        *self.answer.borrow_mut() = Some(answer);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A place for one call. Dropped, it is free again.
pub(crate) struct Slot {
    session: Rc<Session>,
    /// Other calls went over this connection before.
    reused: bool,
}

impl Slot {
    pub(super) fn new(session: &Rc<Session>) -> Self {
        session.active.set(session.active.get() + 1);
        let begun = session.begun.get() + 1;
        session.begun.set(begun);
        if begun > 1 {
            session.cluster.upstream_cx_reused.inc();
        }
        if session.max_requests.is_some_and(|max| begun >= max) {
            session.cluster.upstream_cx_destroyed_max_requests.inc();
            session.leave();
        }
        Self {
            session: Rc::clone(session),
            reused: begun > 1,
        }
    }

    /// The headers of a call.
    pub(crate) fn headers(&self, frame: &Frame) -> ringway_protocols::Fields {
        self.session.protocol.borrow().headers(frame)
    }

    /// Headers changed; none if the frame can carry them and did.
    pub(crate) fn amend(
        &self,
        frame: &Frame,
        changes: &[codec::Change<'_>],
    ) -> Result<Frame, codec::AmendError> {
        self.session.protocol.borrow().amend(frame, changes)
    }

    /// The call with less time, where it can say so.
    pub(crate) fn limit(&self, frame: &Frame, left: Duration) -> Option<Frame> {
        self.session.protocol.borrow().limit(frame, left)
    }

    /// Counts headers that a frame could not carry.
    pub(crate) fn count_unamended(&self) {
        self.session.cluster.rpc_unamended.inc();
    }

    /// Sends what gets no answer.
    pub(crate) fn send(self, mut frame: Frame) -> Result<(), Fault> {
        self.room()?;
        if let Ids::Ours(_) = self.session.ids {
            frame.id = self.session.next_id();
        }
        self.session.write(&frame);
        Ok(())
    }

    /// Sends a call.
    pub(crate) fn call(self, mut frame: Frame) -> Result<Answering, Fault> {
        self.room()?;
        let key = match self.session.ids {
            Ids::Ours(_) => self.session.next_id(),
            Ids::Theirs => frame.id,
            Ids::None => 0,
        };
        if let Ids::Ours(_) = self.session.ids {
            frame.id = key;
        }
        let call = Rc::new(Call {
            id: frame.id,
            ..Call::default()
        });
        let mut calls = self.session.calls.borrow_mut();
        match calls.entry(key) {
            Entry::Occupied(_) => {
                let why = "a call with that id is in flight";
                return Err(Fault::new(FaultKind::ClientProtocol).because(why));
            }
            Entry::Vacant(place) => place.insert(Some(Rc::clone(&call))),
        };
        drop(calls);
        self.session.write(&frame);
        Ok(Answering {
            key,
            call,
            slot: self,
        })
    }

    fn room(&self) -> Result<(), Fault> {
        if self.session.state.get() == State::Closed {
            return Err(Fault::new(FaultKind::Reset).retry(Retry::Safe));
        }
        if self.session.out.borrow().len() > self.session.buffer {
            self.session.cluster.rpc_buffer_full.inc();
            return Err(Fault::new(FaultKind::Overflow).retry(Retry::Safe));
        }
        Ok(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let session = &self.session;
        session.active.set(session.active.get() - 1);
        if session.active.get() == 0 {
            session.quiet_since.set(now_millis());
            session.wake();
        }
        if let Some(pool) = session.pool.upgrade() {
            pool.stir();
        }
    }
}

/// Waits for the answer to a call. Dropped before, the answer will find nobody.
pub(crate) struct Answering {
    key: u64,
    call: Rc<Call>,
    slot: Slot,
}

impl Future for Answering {
    type Output = Result<Frame, Fault>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.call.answer.borrow_mut().take() {
            Some(Ok(frame)) => Poll::Ready(Ok(frame)),
            Some(Err(kind)) => {
                let retry = match (kind, self.slot.reused) {
                    (FaultKind::Reset, true) => Retry::IfReused,
                    (FaultKind::Reset, false) => Retry::IfIdempotent,
                    _ => Retry::Never,
                };
                Poll::Ready(Err(Fault::new(kind).retry(retry)))
            }
            None => {
                self.call.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let session = &self.slot.session;
        let mut calls = session.calls.borrow_mut();
        let Entry::Occupied(mut waiting) = calls.entry(self.key) else {
            return;
        };
        if !waiting
            .get()
            .as_ref()
            .is_some_and(|call| Rc::ptr_eq(call, &self.call))
        {
            // It has its answer, and its id is another's by now.
            return;
        }
        if session.ids.are_few() {
            waiting.insert(None);
        } else {
            waiting.remove();
        }
        let given_up = calls.values().filter(|call| call.is_none());
        let run_out = session.ids.are_few() && session.ids.run_out(given_up.count());
        drop(calls);
        if session.ids == Ids::None {
            // Its answer would be taken for the next one's: there is no taking a call back.
            session.close(FaultKind::Reset);
        } else if run_out {
            session.leave();
        }
    }
}
