//! The body of a client's HTTP/2 request. What has gone on is given back to the client's windows, so that an upstream that is slow
//! with one stream slows only that.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream, StreamId};
use ringway_protocols::Fields;
use ringway_protocols::http1::Violation;
use ringway_protocols::http2;
use ringway_protocols::message::Framing;

use super::request;
use super::shared::Shared;
use crate::fault::{Fault, FaultKind};
use crate::http2::{Window, to_fields};
use crate::proxy::RequestBody;
use crate::serve::pace::Pace;
use crate::time::Timer;
use crate::view::Listener;

/// A request's body.
pub(super) struct StreamBody<'c> {
    stream: RecvStream,
    listener: &'c Listener,
    shared: &'c Rc<Shared>,
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
struct Open {
    shared: Rc<Shared>,
    known: Option<StreamId>,
}

impl Open {
    fn new(shared: &Rc<Shared>) -> Self {
        if shared.window.enter() {
            shared.wake();
        }
        Self {
            shared: Rc::clone(shared),
            known: None,
        }
    }

    fn know(&mut self, stream: &mut RecvStream) {
        if self.known.is_none() {
            self.known = Some(self.shared.window.know(stream));
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.window.leave();
        if let Some(stream) = self.known {
            self.shared.window.forget(stream);
        }
    }
}

impl<'c> StreamBody<'c> {
    pub(super) fn new(
        stream: RecvStream,
        listener: &'c Listener,
        shared: &'c Rc<Shared>,
        framing: Framing,
    ) -> Self {
        let limits = &listener.spec.config.limits;
        Self {
            stream,
            listener,
            shared,
            framing,
            held: 0,
            ended: framing == Framing::Empty,
            trailers: None,
            pace: Pace::new(limits),
            timer: None,
            received: 0,
            max: limits.body.map_or(u64::MAX, |size| size.0),
            open: (framing != Framing::Empty).then(|| Open::new(shared)),
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

    /// The stream behind it, for a tunnel, and what hears of what was passed on.
    pub(super) fn stream(&mut self) -> (&mut RecvStream, &Shared) {
        let shared = self.shared;
        let open = self.open.get_or_insert_with(|| Open::new(shared));
        open.know(&mut self.stream);
        (&mut self.stream, shared)
    }

    fn violation(&self, violation: Violation) -> Fault {
        self.listener.stats.violation.inc(violation.index());
        Fault::new(FaultKind::ClientProtocol).because(violation.name())
    }

    fn give_back(&mut self) {
        if self.held > 0 {
            // It fails only for a stream that has ended, which has no window.
            let _ended = self.stream.flow_control().release_capacity(self.held);
            self.shared.passed(self.held);
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

    fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Fault>> {
        let trailers = match self.stream.poll_trailers(cx) {
            Poll::Ready(Ok(trailers)) => trailers,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(broken(error))),
            Poll::Pending => return self.poll_pace(cx),
        };
        if let Some(trailers) = trailers {
            let mut fields = to_fields(&trailers);
            if let Err(violation) = http2::trailers(&mut fields, &request::limits(self.listener)) {
                return Poll::Ready(Err(self.violation(violation)));
            }
            self.trailers = Some(fields);
        }
        self.ended = true;
        Poll::Ready(Ok(None))
    }
}

impl Drop for StreamBody<'_> {
    fn drop(&mut self) {
        if self.framing != Framing::Empty || self.open.is_some() {
            // What nobody has taken goes with the stream.
            self.shared
                .passed(self.stream.flow_control().used_capacity());
        }
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
        loop {
            let bytes = match self.stream.poll_data(cx) {
                Poll::Ready(Some(Ok(bytes))) => bytes,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(broken(error))),
                Poll::Ready(None) => return self.poll_trailers(cx),
                Poll::Pending => return self.poll_pace(cx),
            };
            if bytes.is_empty() {
                continue;
            }
            self.held = bytes.len();
            self.received += bytes.len() as u64;
            self.pace.moved(bytes.len());
            self.pace.stop();
            self.listener.stats.bytes_received.add(bytes.len() as u64);
            if self.shared.window.received(bytes.len()) {
                self.shared.wake();
            }
            if let Some(open) = self
                .open
                .as_mut()
                .filter(|_| Window::is_much(self.received))
            {
                open.know(&mut self.stream);
            }
            if self.received > self.max {
                self.listener.stats.limit_body_too_large.inc();
                return Poll::Ready(Err(Fault::new(FaultKind::BodyTooLarge)));
            }
            return Poll::Ready(Ok(Some(bytes)));
        }
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
fn broken(error: h2::Error) -> Fault {
    let kind = match error.reason() {
        Some(Reason::PROTOCOL_ERROR | Reason::FLOW_CONTROL_ERROR) if error.is_library() => {
            FaultKind::ClientProtocol
        }
        Some(_) | None => FaultKind::ClientGone,
    };
    Fault::new(kind).because(error)
}
