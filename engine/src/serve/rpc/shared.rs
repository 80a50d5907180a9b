//! What a client's connection and the tasks of its calls share.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ringway_protocols::Fields;
use ringway_protocols::codec::{
    Codec, DecodeError, Frame, GoAway, Limits, Output, Refusal, Session, Sharing, Side,
};

use super::End;
use crate::request::{FrameEnd, Tie};
use crate::serve::Client;
use crate::serve::root::Keeper;
use crate::time::now_millis;
use crate::view::{KEPT_SMALL, Keeping, Listener, ListenerId, Local};

/// See above.
pub(super) struct Shared {
    pub(super) codec: Arc<dyn Codec>,
    /// What ties upstream connections of its own to it.
    pub(super) tie: Rc<Tie>,
    local: Rc<Local>,
    id: ListenerId,
    /// The listener as the connection found it: its numbers and its limits.
    listener: Rc<Listener>,
    session: RefCell<Box<dyn Session>>,
    out: RefCell<Output>,
    /// Bytes of the part that is being sent.
    writing: Cell<u64>,
    /// Bytes of the frame that has come in part.
    partial: Cell<u64>,
    /// It counts among those for whom something is kept.
    is_kept: Cell<bool>,
    me: Weak<Self>,
    in_flight: Cell<u32>,
    /// When the last call ended, in the core's milliseconds; 0: there was none.
    ended: Cell<u64>,
    /// It was told that no more calls are wanted; whether in words.
    goodbye: Cell<Option<bool>>,
    /// The client has said its last: what is in flight is still answered.
    finishing: Cell<bool>,
    cut: Cell<bool>,
    /// Nobody is there any more.
    gone: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Shared {
    pub(super) fn new(client: &Client, codec: Arc<dyn Codec>) -> Rc<Self> {
        let rpc = &client.listener.spec.config.rpc;
        let limits = Limits {
            frame: usize::try_from(rpc.max_frame.0).unwrap_or(usize::MAX),
            ..Limits::default()
        };
        let session = codec.start(Side::Client, &limits);
        let id = client.local.rpc_ties.get() + 1;
        client.local.rpc_ties.set(id);
        let tie = Rc::new(Tie {
            id,
            ..Tie::default()
        });
        let shared = Rc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            codec,
            tie,
            local: Rc::clone(&client.local),
            id: client.id,
            listener: Rc::clone(&client.listener),
            session: RefCell::new(session),
            out: RefCell::default(),
            writing: Cell::new(0),
            partial: Cell::new(0),
            is_kept: Cell::new(false),
            in_flight: Cell::new(0),
            ended: Cell::new(0),
            goodbye: Cell::new(None),
            finishing: Cell::new(false),
            cut: Cell::new(false),
            gone: Cell::new(false),
            waker: RefCell::default(),
        });
        let end: Weak<Self> = Rc::downgrade(&shared);
        *shared.tie.client.borrow_mut() = Some(end);
        shared
    }

    /// Passes on what answers an upstream's own call. Whether there is such an upstream.
    pub(super) fn answer_upstream(&self, frame: &Frame) -> bool {
        let upstream = self.tie.to_upstream();
        if let Some(upstream) = &upstream {
            upstream.pass(frame);
        }
        upstream.is_some()
    }

    /// Takes the next frame off what came in.
    pub(super) fn decode(&self, input: &mut BytesMut) -> Result<Option<Frame>, DecodeError> {
        self.session.borrow_mut().decode(input)
    }

    /// How many more bytes the frame under way needs.
    pub(super) fn wants(&self, have: usize) -> usize {
        self.session.borrow().wants(have)
    }

    /// A call's headers.
    pub(super) fn headers(&self, frame: &Frame) -> Fields {
        self.session.borrow().headers(frame)
    }

    /// Whether the client takes its answers in the order of its calls: with one call at a time they come so, and calls are also carried
    /// out in that order, as they are by a server of its own.
    pub(super) fn is_serial(&self) -> bool {
        self.codec.sharing() == Sharing::OneAtATime
    }

    /// Whether another call may begin.
    pub(super) fn has_room(&self) -> bool {
        let most = match self.is_serial() {
            true => 1,
            false => self.listener.spec.config.rpc.in_flight,
        };
        self.in_flight.get() < most
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.get() == 0
    }

    /// How long no call has ended.
    pub(super) fn quiet_for(&self) -> Duration {
        Duration::from_millis(now_millis().saturating_sub(self.ended.get()))
    }

    /// Whether no more calls are wanted on this connection.
    pub(super) fn is_leaving(&self) -> bool {
        self.local.draining.get() || self.local.view().listener_of(self.id).is_none()
    }

    /// Tells the client so, once. Says whether the protocol has words for it.
    pub(super) fn say_goodbye(&self) -> bool {
        if let Some(told) = self.goodbye.get() {
            return told;
        }
        let is_known = self.codec.goaway() == GoAway::Known;
        let goaway = match self.listener.spec.config.rpc.goaway.unwrap_or(is_known) {
            true => self.session.borrow_mut().goaway(),
            false => None,
        };
        self.goodbye.set(Some(goaway.is_some()));
        if let Some(goaway) = goaway {
            self.send(&goaway);
        }
        self.goodbye.get().unwrap_or(false)
    }

    pub(super) fn has_said_goodbye(&self) -> bool {
        self.goodbye.get().is_some()
    }

    /// Answers a ping.
    pub(super) fn pong(&self, ping: &Frame) {
        let pong = self.session.borrow_mut().pong(ping);
        if let Some(pong) = pong {
            self.send(&pong);
        }
    }

    /// Answers a call here. Says how many bytes that took: none, if the protocol wants no answer.
    pub(super) fn refuse(&self, call: &Frame, refusal: &Refusal<'_>) -> u64 {
        let reply = self.session.borrow_mut().reply(call, refusal);
        match reply {
            Some(reply) => {
                self.send(&reply);
                reply.bytes.len() as u64
            }
            None => 0,
        }
    }

    /// Puts a frame behind what waits to be sent. A client that lets too much wait is cut: nobody else waits for it.
    pub(super) fn send(&self, frame: &Frame) {
        if self.gone.get() {
            return;
        }
        let mut out = self.out.borrow_mut();
        self.session.borrow_mut().encode(frame, &mut out);
        if out.len() as u64 > self.listener.spec.config.rpc.queue.0 && !self.cut.replace(true) {
            self.listener.stats.limit_rpc_queue.inc();
        }
        drop(out);
        self.note_kept();
        self.wake();
    }

    /// So many bytes have come of a frame that is not whole yet.
    pub(super) fn has_part(&self, bytes: usize) {
        self.partial.set(bytes as u64);
        self.note_kept();
    }

    /// Has the core know how much it keeps for this client, if that is much.
    fn note_kept(&self) {
        let waiting = self.out.borrow().len() as u64 + self.writing.get();
        let bytes = waiting + self.partial.get();
        let kept = &self.local.rpc_kept;
        if bytes > KEPT_SMALL && !self.cut.get() {
            self.is_kept.set(true);
            let limit = self.listener.spec.config.rpc.memory.0;
            kept.note(self.tie.id, bytes, limit, || {
                let me: Weak<Self> = Weak::clone(&self.me);
                me
            });
        } else if self.is_kept.replace(false) {
            kept.forget(self.tie.id);
        }
    }

    /// Ends the connection without another word.
    pub(super) fn cut(&self) {
        self.cut.set(true);
        self.wake();
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.get()
    }

    /// The client takes its answers too slowly.
    pub(super) fn is_too_slow(&self) {
        self.listener.stats.limit_body_too_slow.inc();
    }

    /// The client has said its last.
    pub(super) fn finish(&self) {
        self.finishing.set(true);
    }

    pub(super) fn is_finishing(&self) -> bool {
        self.finishing.get()
    }

    fn is_finished(&self) -> bool {
        self.finishing.get() && self.is_idle() && self.out.borrow().is_empty()
    }

    /// Nobody is there any more: answers that are yet to come are dropped.
    pub(super) fn gone(&self) {
        self.gone.set(true);
        while self.out.borrow_mut().take().is_some() {}
        self.local.rpc_kept.forget(self.tie.id);
        if let Some(upstream) = self.tie.to_upstream() {
            upstream.leave();
        }
    }

    /// The next bytes to send; none when there will be no more.
    pub(super) fn poll_out(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, End>> {
        if self.cut.get() {
            return Poll::Ready(Err(End::Cut));
        }
        let part = self.out.borrow_mut().take();
        self.writing
            .set(part.as_ref().map_or(0, |part| part.len() as u64));
        if self.is_kept.get() {
            self.note_kept();
        }
        if let Some(part) = part {
            return Poll::Ready(Ok(Some(part)));
        }
        if self.is_finished() {
            return Poll::Ready(Ok(None));
        }
        self.listen(cx.waker());
        Poll::Pending
    }

    /// The connection's task listens.
    pub(super) fn listen(&self, waker: &Waker) {
        let mut old = self.waker.borrow_mut();
        if !old.as_ref().is_some_and(|old| old.will_wake(waker)) {
            *old = Some(waker.clone());
        }
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

impl FrameEnd for Shared {
    fn pass(&self, frame: &Frame) {
        self.listener.stats.bytes_sent.add(frame.bytes.len() as u64);
        self.send(frame);
    }

    /// What is in flight is still answered.
    fn leave(&self) {
        self.finish();
        self.wake();
    }
}

impl Keeping for Shared {
    fn end(&self) {
        self.listener.stats.limit_rpc_kept.inc();
        self.cut();
    }
}

/// A call in flight: counted as long as its task lives, however it ends.
pub(super) struct InFlight {
    shared: Rc<Shared>,
    bytes: u64,
}

impl InFlight {
    /// A place for a call of so many bytes; none if the core holds too many already.
    pub(super) fn enter(shared: &Rc<Shared>, bytes: usize) -> Option<Self> {
        let bytes = bytes as u64;
        let limit = shared.listener.spec.config.rpc.memory.0;
        if !shared.local.rpc_budget.take(bytes, limit) {
            return None;
        }
        shared.in_flight.set(shared.in_flight.get() + 1);
        Some(Self {
            shared: Rc::clone(shared),
            bytes,
        })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.local.rpc_budget.give_back(self.bytes);
        shared.in_flight.set(shared.in_flight.get() - 1);
        shared.ended.set(now_millis());
        shared.wake();
    }
}

impl Keeper for InFlight {
    fn panicked(&self) {
        self.shared.local.stats.panics.inc();
        tracing::error!(listener = %self.shared.listener.spec.config.name, "a panic ended a call");
        self.shared.cut();
    }
}
