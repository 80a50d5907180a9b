//! The body of an HTTP/1 upstream's answer, pulled off its connection.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use ringway_protocols::Fields;
use ringway_protocols::http1::{BodyDecoder, BodyLimits, Piece, Response};
use ringway_protocols::message::Framing;

use super::super::exchange::Stopped;
use super::super::exchange::http1::SendFuture;
use crate::cluster::{ANSWER_READ, Active, BULK_READ, Cluster, Connection};
use crate::fault::{Fault, FaultKind};

/// The body of an answer. It gives its connection back to the pool when it has ended in step, and closes it otherwise.
pub(crate) struct Body<'a> {
    /// Sending the request, if it goes on behind the answer. Dropped before the connection, whose writer it holds.
    outgoing: Option<SendFuture<'a>>,
    connection: Option<Connection>,
    decoder: BodyDecoder,
    framing: Framing,
    keep_alive: bool,
    /// It is whole.
    ended: bool,
    /// It is a 101: its connection is to become a tunnel.
    switch: bool,
    trailers: Option<Fields>,
    /// Bytes of it that have come.
    received: u64,
    cluster: Rc<Cluster>,
    /// Counts the try as in flight until the body's end.
    _active: Active,
}

impl<'a> Body<'a> {
    pub(in crate::proxy) fn new(
        response: &Response,
        connection: Connection,
        outgoing: Option<SendFuture<'a>>,
        active: Active,
        cluster: Rc<Cluster>,
    ) -> Self {
        let mut body = Self {
            outgoing,
            connection: Some(connection),
            decoder: BodyDecoder::new(response.framing, BodyLimits::default()),
            framing: response.framing,
            keep_alive: response.keep_alive,
            ended: false,
            switch: response.head.status == 101,
            trailers: None,
            received: 0,
            cluster,
            _active: active,
        };
        body.ended = !body.switch && body.decoder.is_done();
        body
    }

    pub(super) fn framing(&self) -> Framing {
        self.framing
    }

    /// Goes on with sending the request, for as long as nobody pulls.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        let Some(outgoing) = &mut self.outgoing else {
            return Ok(());
        };
        let Poll::Ready((writer, sent)) = outgoing.as_mut().poll(cx) else {
            return Ok(());
        };
        self.outgoing = None;
        match sent {
            Ok(()) => {
                if let Some(connection) = &mut self.connection {
                    connection.put_writer(writer);
                }
                Ok(())
            }
            // The writer is not put back, so the connection will not be kept.
            Err(Stopped::Upstream) => Ok(()),
            Err(Stopped::Client(fault)) => Err(fault),
        }
    }

    /// The next bytes; `None` at the end. Nothing is lost if it is left pending.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Fault>> {
        self.drive(cx)?;
        if self.ended {
            return Poll::Ready(Ok(None));
        }
        loop {
            let Some(connection) = &mut self.connection else {
                return Poll::Ready(Ok(None));
            };
            let Some(reader) = connection.reader() else {
                return Poll::Ready(Err(Fault::new(FaultKind::Internal)));
            };
            match self.decoder.decode(&mut reader.input) {
                Ok(Piece::Data(bytes)) => {
                    self.received += bytes.len() as u64;
                    self.cluster.stats.bytes_received.add(bytes.len() as u64);
                    self.ended = self.decoder.is_done();
                    return Poll::Ready(Ok(Some(bytes)));
                }
                Ok(Piece::End(trailers)) => {
                    self.trailers = trailers;
                    self.ended = true;
                    return Poll::Ready(Ok(None));
                }
                Ok(Piece::NeedMore) => {}
                Err(violation) => {
                    self.cluster.stats.protocol_error.inc(violation.index());
                    let kind = FaultKind::BodyProtocol;
                    return Poll::Ready(Err(self.broken(kind, violation.name())));
                }
            }
            let bulk = self
                .decoder
                .remaining_hint()
                .is_none_or(|left| left > ANSWER_READ as u64);
            match ready!(reader.poll_fill(if bulk { BULK_READ } else { ANSWER_READ }, cx)) {
                Ok(1..) => {}
                Ok(0) if self.decoder.on_eof().is_ok() => {
                    self.keep_alive = false;
                    self.ended = true;
                    return Poll::Ready(Ok(None));
                }
                Ok(0) => {
                    let why = "closed before its end";
                    return Poll::Ready(Err(self.broken(FaultKind::Truncated, why)));
                }
                Err(error) => {
                    return Poll::Ready(Err(self.broken(FaultKind::Truncated, error)));
                }
            }
        }
    }

    /// The trailer fields, after the end.
    pub(super) fn trailers(&self) -> Option<&Fields> {
        self.trailers.as_ref()
    }

    /// Whether it is a 101.
    pub(super) fn is_switch(&self) -> bool {
        self.switch
    }

    /// The connection itself, after a 101.
    pub(super) fn into_connection(mut self) -> Option<Connection> {
        self.connection.take()
    }

    #[cold]
    fn broken(
        &mut self,
        kind: FaultKind,
        why: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Fault {
        self.cluster.stats.body_truncated.inc();
        self.outgoing = None;
        self.connection = None;
        Fault::new(kind).because(why)
    }

    /// Gives the connection up, when what was pulled has been sent and dropped: its read buffer is its own again then, and
    /// the next read need not make another. With the answer whole and the request sent, the connection is in step and may
    /// be kept; the pool sees to the rest.
    pub(super) fn release(&mut self) {
        let outgoing = self.outgoing.take();
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        if self.ended && self.keep_alive && outgoing.is_none() {
            connection.expect_alike(self.received);
            self.cluster.park(connection);
        }
    }
}

impl Drop for Body<'_> {
    fn drop(&mut self) {
        self.release();
    }
}
