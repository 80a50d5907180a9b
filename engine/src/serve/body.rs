//! The body of a client's HTTP/1 request, pulled off its connection.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use ringway_protocols::Fields;
use ringway_protocols::http1::{BodyDecoder, BodyLimits, Piece, Violation};
use ringway_protocols::message::Framing;

use super::pace::Pace;
use crate::fault::{Fault, FaultKind};
use crate::net::Reader;
use crate::proxy::RequestBody;
use crate::time::Timer;
use crate::view::Listener;

/// What a read for a small body, or for a client that may go away, makes room for.
const SMALL_READ: usize = 4 << 10;
/// What a read for a large body makes room for.
const BULK_READ: usize = 64 << 10;

/// A request's body.
pub(super) struct ClientBody<'c> {
    reader: &'c mut Reader,
    listener: &'c Listener,
    decoder: BodyDecoder,
    framing: Framing,
    trailers: Option<Fields>,
    pace: Pace,
    /// Made when the client is first waited for.
    timer: Option<Timer>,
    received: u64,
    max: u64,
}

impl<'c> ClientBody<'c> {
    pub(super) fn new(reader: &'c mut Reader, listener: &'c Listener, framing: Framing) -> Self {
        let limits = &listener.spec.config.limits;
        Self {
            reader,
            listener,
            decoder: BodyDecoder::new(framing, BodyLimits::from(&listener.head_limits)),
            framing,
            trailers: None,
            pace: Pace::new(limits),
            timer: None,
            received: 0,
            max: limits.body.map_or(u64::MAX, |size| size.0),
        }
    }

    #[cold]
    fn violation(&self, violation: Violation) -> Fault {
        self.listener.stats.violation.inc(violation.index());
        Fault::new(FaultKind::ClientProtocol).because(violation.name())
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let bulk = self
            .decoder
            .remaining_hint()
            .is_none_or(|left| left > SMALL_READ as u64);
        match self
            .reader
            .poll_fill(if bulk { BULK_READ } else { SMALL_READ }, cx)
        {
            Poll::Ready(Ok(moved @ 1..)) => {
                self.pace.moved(moved);
                self.pace.stop();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(0)) => Poll::Ready(Err(Fault::new(FaultKind::ClientGone))),
            Poll::Ready(Err(error)) => {
                Poll::Ready(Err(Fault::new(FaultKind::ClientGone).because(error)))
            }
            Poll::Pending => {
                let timer = self.timer.get_or_insert_with(Timer::new);
                while timer.poll_until(self.pace.deadline(), cx).is_ready() {
                    if !self.pace.is_kept() {
                        self.listener.stats.limit_body_too_slow.inc();
                        return Poll::Ready(Err(Fault::new(FaultKind::ClientTooSlow)));
                    }
                }
                Poll::Pending
            }
        }
    }
}

impl RequestBody for ClientBody<'_> {
    fn framing(&self) -> Framing {
        self.framing
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Fault>> {
        loop {
            match self.decoder.decode(&mut self.reader.input) {
                Ok(Piece::Data(bytes)) => {
                    self.received += bytes.len() as u64;
                    self.listener.stats.bytes_received.add(bytes.len() as u64);
                    if self.received > self.max {
                        self.listener.stats.limit_body_too_large.inc();
                        return Poll::Ready(Err(Fault::new(FaultKind::BodyTooLarge)));
                    }
                    return Poll::Ready(Ok(Some(bytes)));
                }
                Ok(Piece::End(trailers)) => {
                    self.trailers = trailers;
                    return Poll::Ready(Ok(None));
                }
                Ok(Piece::NeedMore) => ready!(self.poll_fill(cx))?,
                Err(violation) => return Poll::Ready(Err(self.violation(violation))),
            }
        }
    }

    fn trailers(&mut self) -> Option<Fields> {
        self.trailers.take()
    }

    fn take_time(&mut self) {
        self.pace.lift();
    }

    fn hurry(&mut self) {
        self.pace.ask();
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Bytes of the next request: the client is there, and what it does next is not known before they are taken.
        if !self.reader.input.is_empty() {
            return Poll::Pending;
        }
        match self.reader.poll_fill(SMALL_READ, cx) {
            Poll::Ready(Ok(1..)) | Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(()),
        }
    }
}
