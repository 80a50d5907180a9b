//! An answer on its way to an HTTP/2 client: as much as its windows take, so that a slow reader slows its own upstream and nobody else's.
//!
//! ```text
//!   head ─► part … part ─► the last with END_STREAM, or trailers
//!             │ each waits for capacity: the stream's window, the connection's, and `send_buffer`
//!             └─ broken off ─► RST_STREAM, so that it never looks whole
//! ```

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use ringway_protocols::FieldId;
use ringway_protocols::http2::codec::Reason;
use ringway_protocols::message::{Framing, Method, RequestHead};

use super::handle::{Handle, gone};
use crate::fault::{Fault, FaultKind};
use crate::grpc::STATUS;
use crate::proxy::{AnswerBody, Reply, ReplyBody, grpc};
use crate::serve::Client;
use crate::serve::http1::End;
use crate::serve::pace::Pace;
use crate::serve::respond::Sent;
use crate::time::Deadline;

/// Where an answer goes.
pub(super) struct Out<'c> {
    client: &'c Client,
    stream: &'c Handle,
    pace: Pace,
    /// The limit of the whole request.
    deadline: Deadline,
    /// Bytes of the request's body that have come.
    received: &'c dyn Fn() -> u64,
}

impl<'c> Out<'c> {
    pub(super) fn new(
        client: &'c Client,
        stream: &'c Handle,
        deadline: Deadline,
        received: &'c dyn Fn() -> u64,
    ) -> Self {
        Self {
            client,
            stream,
            pace: Pace::new(&client.listener.spec.config.limits),
            deadline,
            received,
        }
    }

    /// Sends the answer's head.
    fn begin(&self, reply: &Reply<'_>, ends: bool) -> Result<(), Fault> {
        let head = &reply.head;
        self.stream.send_head(head.status, &head.fields, ends)
    }
}

/// Sends the answer.
pub(super) async fn respond(out: Out<'_>, request: &RequestHead, reply: &mut Reply<'_>) -> Sent {
    let mut sent = Sent {
        end: End::Close,
        sent: 0,
        received: 0,
        status: reply.head.status,
        fault: None,
    };
    let bodiless = request.method == Method::Head || matches!(reply.head.status, 204 | 304);
    let result = match &mut reply.body {
        ReplyBody::Abort => {
            sent.status = 0;
            out.stream.reset(Reason::INTERNAL_ERROR);
            return sent;
        }
        ReplyBody::Local(body) => {
            let body = std::mem::take(body);
            let fields = &mut reply.head.fields;
            // An answer of gRPC is its head, and has no length.
            if !matches!(reply.head.status, 204 | 304)
                && fields.known(FieldId::ContentLength).is_none()
                && fields.get(STATUS.as_bytes()).is_none()
            {
                fields.push("content-length", body.len().to_string());
            }
            let body = if bodiless { Bytes::new() } else { body };
            match out.begin(reply, body.is_empty()) {
                Ok(()) => all(&out, body, &mut sent.sent).await,
                Err(fault) => Err(fault),
            }
        }
        ReplyBody::Upstream(answer) => {
            let empty = bodiless || answer.framing() == Framing::Empty;
            match out.begin(reply, empty) {
                Ok(()) if empty => finish(reply).await,
                Ok(()) => match stream_on(&out, reply, &mut sent.sent).await {
                    Err(fault) if grpc::is_call(request) => {
                        let fault = grpc::in_its_time(fault, out.deadline);
                        if is_told(&fault, out.stream) {
                            sent.fault = Some(fault);
                            return sent;
                        }
                        Err(fault)
                    }
                    streamed => streamed,
                },
                Err(fault) => Err(fault),
            }
        }
    };
    if let Err(fault) = result {
        if fault.kind != FaultKind::ClientGone {
            out.stream.reset(Reason::INTERNAL_ERROR);
        }
        sent.fault = Some(fault);
    }
    sent
}

/// Sends the head of an answer that makes its stream a tunnel.
pub(super) fn begin_tunnel(out: &Out<'_>, reply: &Reply<'_>) -> Sent {
    Sent {
        end: End::Close,
        sent: 0,
        received: 0,
        status: reply.head.status,
        fault: out.begin(reply, false).err(),
    }
}

/// Ends a call that was cut off with a status that says why, in place of a reset that every client reads in its own way. Not where
/// the client takes nothing.
fn is_told(fault: &Fault, stream: &Handle) -> bool {
    if matches!(fault.kind, FaultKind::ClientGone | FaultKind::ClientTooSlow) {
        return false;
    }
    stream.send_trailers(&grpc::trailers(fault)).is_ok()
}

/// Takes the end of an answer of which the client gets the head only, so that its connection can be kept.
async fn finish(reply: &mut Reply<'_>) -> Result<(), Fault> {
    if let ReplyBody::Upstream(answer) = &mut reply.body {
        let here = std::future::poll_fn(|cx| Poll::Ready(answer.poll_next(cx))).await;
        if let Poll::Ready(Ok(None)) = here {
            answer.release();
        }
    }
    Ok(())
}

/// Sends a body that is all here.
async fn all(out: &Out<'_>, body: Bytes, sent: &mut u64) -> Result<(), Fault> {
    *sent = body.len() as u64;
    part(out, body, true, |_| Ok(())).await
}

/// Sends an upstream's body as it comes.
async fn stream_on(out: &Out<'_>, reply: &mut Reply<'_>, sent: &mut u64) -> Result<(), Fault> {
    let idle = reply.idle;
    let ReplyBody::Upstream(answer) = &mut reply.body else {
        return Err(Fault::new(FaultKind::Internal));
    };
    let stats = &out.client.listener.stats;
    let mut next = wait(out, answer, idle).await?;
    loop {
        let Some(bytes) = next else { break };
        *sent += bytes.len() as u64;
        stats.bytes_sent.add(bytes.len() as u64);
        // What comes behind it may be here already: the end, above all, which costs a frame of its own otherwise.
        let behind = std::future::poll_fn(|cx| Poll::Ready(answer.poll_next(cx))).await;
        let is_last = matches!(behind, Poll::Ready(Ok(None))) && answer.trailers().is_none();
        part(out, bytes, is_last, |cx| answer.drive(cx)).await?;
        if is_last {
            answer.release();
            return Ok(());
        }
        next = match behind {
            Poll::Ready(next) => next?,
            Poll::Pending => wait(out, answer, idle).await?,
        };
    }
    match answer.trailers() {
        Some(trailers) if !trailers.is_empty() => out.stream.send_trailers(trailers)?,
        Some(_) | None => out.stream.send_data(&[], true).map_err(gone)?,
    }
    answer.release();
    Ok(())
}

/// The next part, within the limits of the request and of silence both ways, as long as the client is there.
async fn wait(
    out: &Out<'_>,
    answer: &mut AnswerBody<'_>,
    idle: Option<Duration>,
) -> Result<Option<Bytes>, Fault> {
    let mut next = std::future::poll_fn(|cx| {
        if let Poll::Ready(broken) = out.stream.poll_broken(cx) {
            return Poll::Ready(Err(gone(broken)));
        }
        answer.poll_next(cx)
    });
    loop {
        let before = (out.received)();
        let until = out.deadline.min(Deadline::after_opt(idle));
        return match out.client.timer.within(until, &mut next).await {
            Ok(next) => next,
            Err(_elapsed) if out.deadline.has_passed() => {
                Err(Fault::new(FaultKind::RequestTimeout))
            }
            Err(_elapsed) if (out.received)() != before => continue,
            Err(_elapsed) => Err(Fault::new(FaultKind::IdleTimeout)),
        };
    }
}

/// Sends all of `bytes`, as the client takes them; `meanwhile` is polled while it takes its time.
async fn part(
    out: &Out<'_>,
    mut bytes: Bytes,
    ends: bool,
    mut meanwhile: impl FnMut(&mut Context<'_>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    while !bytes.is_empty() {
        let room = room(out, &mut meanwhile).await?;
        let some = bytes.split_to(room.min(bytes.len()));
        out.pace.moved(some.len());
        let last = ends && bytes.is_empty();
        out.stream.send_data(&some, last).map_err(gone)?;
    }
    Ok(())
}

/// How many bytes may be sent; at least one.
async fn room(
    out: &Out<'_>,
    meanwhile: &mut impl FnMut(&mut Context<'_>) -> Result<(), Fault>,
) -> Result<usize, Fault> {
    // Mostly there is some, and a timer need not be set.
    let here = std::future::poll_fn(|cx| Poll::Ready(out.stream.poll_room(cx))).await;
    if let Poll::Ready(room) = here {
        return room.map_err(gone);
    }
    let mut room = std::future::poll_fn(|cx| {
        if let Poll::Ready(room) = out.stream.poll_room(cx) {
            return Poll::Ready(room.map_err(gone));
        }
        match meanwhile(cx) {
            Ok(()) => Poll::Pending,
            Err(fault) => Poll::Ready(Err(fault)),
        }
    });
    loop {
        let until = out.deadline.min(out.pace.deadline());
        match out.client.timer.within(until, &mut room).await {
            Ok(room) => {
                out.pace.stop();
                return room;
            }
            Err(_elapsed) if out.deadline.has_passed() => {
                return Err(Fault::new(FaultKind::RequestTimeout));
            }
            Err(_elapsed) if out.pace.is_kept() => {}
            Err(_elapsed) => {
                out.client.listener.stats.limit_body_too_slow.inc();
                return Err(Fault::new(FaultKind::ClientTooSlow));
            }
        }
    }
}
