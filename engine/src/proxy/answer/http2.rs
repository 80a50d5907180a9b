//! The body of an HTTP/2 upstream's answer, pulled off its stream.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use ringway_protocols::Fields;
use ringway_protocols::message::Framing;

use super::super::exchange::Stopped;
use super::super::exchange::http2::{Rest, SendFuture};
use crate::cluster::{Active, Receiving, Sender};
use crate::fault::Fault;
use crate::observe::{ClusterStats, Slot};

/// The body of an answer. What is dropped before both directions have ended resets the stream.
pub(crate) struct Body<'a> {
    /// Sending the request, if it goes on behind the answer.
    outgoing: Option<SendFuture<'a>>,
    /// The way of the request, once it is sent.
    sender: Option<Sender>,
    /// Dropped after them: with it goes the stream's place.
    receiving: Option<Receiving>,
    framing: Framing,
    /// It is a tunnel's beginning.
    switch: bool,
    /// Its data have ended, or all of it.
    data_ended: bool,
    trailers: Option<Fields>,
    stats: Slot<ClusterStats>,
    /// Counts the try as in flight until the body's end.
    _active: Active,
}

impl<'a> Body<'a> {
    pub(in crate::proxy) fn new(
        (framing, switch): (Framing, bool),
        rest: Rest<'a>,
        receiving: Receiving,
        active: Active,
        stats: Slot<ClusterStats>,
    ) -> Self {
        let (outgoing, sender) = match rest {
            Rest::Sent(sender) => (None, Some(sender)),
            Rest::Going(outgoing) => (Some(outgoing), None),
        };
        Self {
            outgoing,
            sender,
            receiving: Some(receiving),
            framing,
            switch,
            data_ended: false,
            trailers: None,
            stats,
            _active: active,
        }
    }

    pub(super) fn framing(&self) -> Framing {
        self.framing
    }

    /// Goes on with sending the request, for as long as nobody pulls.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        let Some(outgoing) = &mut self.outgoing else {
            return Ok(());
        };
        let Poll::Ready((sender, sent)) = outgoing.as_mut().poll(cx) else {
            return Ok(());
        };
        self.outgoing = None;
        self.sender = Some(sender);
        match sent {
            Ok(()) | Err(Stopped::Upstream) => Ok(()),
            Err(Stopped::Client(fault)) => Err(fault),
        }
    }

    /// The next bytes; `None` at the end. Nothing is lost if it is left pending.
    ///
    /// An answer that has no body is whole with its head (RFC 9110 §6.4.1). What comes behind it all the same is nobody's: a client of
    /// HTTP/1 would take it for the next answer.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Fault>> {
        self.drive(cx)?;
        let Some(receiving) = &mut self.receiving else {
            return Poll::Ready(Ok(None));
        };
        if self.framing == Framing::Empty && !self.switch {
            let stray = matches!(receiving.poll_data(cx), Poll::Ready(Ok(Some(bytes))) if !bytes.is_empty());
            if stray {
                self.stats.stray_bytes.inc();
            }
            self.release();
            return Poll::Ready(Ok(None));
        }
        while !self.data_ended {
            match ready!(receiving.poll_data(cx)?) {
                // A frame without data, of which the codec bounds the number.
                Some(bytes) if bytes.is_empty() => {}
                Some(bytes) => {
                    self.stats.bytes_received.add(bytes.len() as u64);
                    return Poll::Ready(Ok(Some(bytes)));
                }
                None => self.data_ended = true,
            }
        }
        self.trailers = ready!(receiving.poll_trailers(cx)?);
        self.release();
        Poll::Ready(Ok(None))
    }

    /// The trailer fields, after the end.
    pub(super) fn trailers(&self) -> Option<&Fields> {
        self.trailers.as_ref()
    }

    /// Whether the stream is a tunnel from here on.
    pub(super) fn is_switch(&self) -> bool {
        self.switch
    }

    /// The stream itself, then.
    pub(super) fn into_stream(self) -> Option<(Receiving, Sender)> {
        self.receiving.zip(self.sender)
    }

    /// Gives the stream up, whole or not.
    pub(super) fn release(&mut self) {
        self.outgoing = None;
        self.sender = None;
        self.receiving = None;
    }
}
