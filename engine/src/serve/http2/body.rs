//! The body of a client's HTTP/2 request. What has gone on is given back to the client's windows, so that an upstream that is slow
//! with one stream slows only that.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use ringway_protocols::Fields;
use ringway_protocols::http1::Violation;
use ringway_protocols::http2;
use ringway_protocols::http2::codec::{Broken, By, Reason};
use ringway_protocols::message::Framing;

use super::handle::{Handle, gone};
use super::limits;
use super::shared::Shared;
use crate::fault::{Fault, FaultKind};
use crate::proxy::RequestBody;
use crate::serve::pace::Pace;
use crate::time::Timer;
use crate::view::Listener;

/// A request's body.
pub(super) struct StreamBody<'c> {
    stream: &'c Handle,
    listener: &'c Listener,
    framing: Framing,
    /// Handed out, and not yet given back: it may still be on its way.
    held: usize,
    ended: bool,
    trailers: Option<Fields>,
    pace: Pace,
    /// Made when the client is first waited for.
    timer: Option<Timer>,
    received: u64,
    max: u64,
    /// Its share of the connection's windows.
    open: Option<Open>,
}

/// A body that may come: while there are many, each has less room.
struct Open(Rc<Shared>);

impl Open {
    fn new(shared: &Rc<Shared>) -> Self {
        if shared.window.enter() {
            shared.wake();
        }
        Self(Rc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.window.leave();
    }
}

impl<'c> StreamBody<'c> {
    pub(super) fn new(stream: &'c Handle, listener: &'c Listener, framing: Framing) -> Self {
        let limits = &listener.spec.config.limits;
        Self {
            stream,
            listener,
            framing,
            held: 0,
            ended: framing == Framing::Empty,
            trailers: None,
            pace: Pace::new(limits),
            timer: None,
            received: 0,
            max: limits.body.map_or(u64::MAX, |size| size.0),
            open: (framing != Framing::Empty).then(|| Open::new(stream.shared())),
        }
    }

    /// Waits for the end of a body that is to be empty: HTTP/1 has nothing for bytes that come all the same.
    pub(super) fn poll_empty(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        match ready!(self.poll_next(cx))? {
            None => {
                self.framing = Framing::Empty;
                Poll::Ready(Ok(()))
            }
            Some(_) => Poll::Ready(Err(self.violation(Violation::LengthInvalid))),
        }
    }

    /// The stream behind it, for a tunnel.
    pub(super) fn stream(&mut self) -> &'c Handle {
        let stream = self.stream;
        self.open.get_or_insert_with(|| Open::new(stream.shared()));
        stream
    }

    #[cold]
    fn violation(&self, violation: Violation) -> Fault {
        self.listener.stats.violation.inc(violation.index());
        Fault::new(FaultKind::ClientProtocol).because(violation.name())
    }

    fn give_back(&mut self) {
        if self.held > 0 {
            self.stream.release(self.held);
            self.held = 0;
        }
    }

    /// Looks after the client's pace while there is nothing to hand out.
    fn poll_pace(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Fault>> {
        let timer = self.timer.get_or_insert_with(Timer::new);
        while timer.poll_until(self.pace.deadline(), cx).is_ready() {
            if !self.pace.is_kept() {
                self.listener.stats.limit_body_too_slow.inc();
                return Poll::Ready(Err(Fault::new(FaultKind::ClientTooSlow)));
            }
        }
        Poll::Pending
    }

    /// All of it has come.
    fn end(&mut self) -> Result<Option<Bytes>, Fault> {
        if let Some(mut fields) = self.stream.take_trailers() {
            http2::trailers(&mut fields, &limits(self.listener))
                .map_err(|violation| self.violation(violation))?;
            self.trailers = Some(fields);
        }
        self.ended = true;
        Ok(None)
    }
}

impl RequestBody for StreamBody<'_> {
    fn framing(&self) -> Framing {
        self.framing
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Fault>> {
        if self.ended {
            return Poll::Ready(Ok(None));
        }
        self.give_back();
        let bytes = match self.stream.poll_data(cx) {
            Poll::Ready(Ok(Some(bytes))) => bytes,
            Poll::Ready(Ok(None)) => return Poll::Ready(self.end()),
            Poll::Ready(Err(why)) => return Poll::Ready(Err(broken(why))),
            Poll::Pending => return self.poll_pace(cx),
        };
        self.held = bytes.len();
        self.received += bytes.len() as u64;
        self.pace.moved(bytes.len());
        self.pace.stop();
        self.listener.stats.bytes_received.add(bytes.len() as u64);
        let shared = self.stream.shared();
        if shared.window.received(bytes.len()) {
            shared.wake();
        }
        if self.received > self.max {
            self.listener.stats.limit_body_too_large.inc();
            return Poll::Ready(Err(Fault::new(FaultKind::BodyTooLarge)));
        }
        Poll::Ready(Ok(Some(bytes)))
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.trailers.take()
    }

    fn take_time(&mut self) {
        self.pace.lift();
    }

    /// Never: who serves the stream watches it for its whole life.
    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// The stream ended before the body did.
#[cold]
fn broken(broken: Broken) -> Fault {
    match broken {
        Broken {
            by: By::Rule,
            reason: Reason::PROTOCOL_ERROR | Reason::FLOW_CONTROL_ERROR,
        } => Fault::new(FaultKind::ClientProtocol).because(broken),
        Broken { .. } => gone(broken),
    }
}
