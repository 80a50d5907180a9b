//! An answer on its way to an HTTP/1 client.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use ringway_protocols::FieldId;
use ringway_protocols::http1;
use ringway_protocols::message::{Framing, Method, RequestHead, ResponseHead, Version};

use super::Client;
use super::http1::End;
use super::pace::Pace;
use crate::fault::{Fault, FaultKind};
use crate::net::Writer;
use crate::proxy::{AnswerBody, Outbox, Reply, ReplyBody, SharedUpload};
use crate::time::Deadline;

/// How sending an answer went.
pub(super) struct Sent {
    pub(super) end: End,
    /// Body bytes to the client.
    pub(super) sent: u64,
    /// Body bytes from the client.
    pub(super) received: u64,
    /// The status sent; 0 if none was.
    pub(super) status: u16,
    /// Why the answer is not whole.
    pub(super) fault: Option<Fault>,
}

/// Where an answer goes.
pub(super) struct Out<'o, 'a> {
    pub(super) client: &'o Client,
    pub(super) request: &'o RequestHead,
    pub(super) writer: &'o mut Writer,
    /// The request's body, which may still be coming.
    pub(super) upload: &'o SharedUpload<'a>,
    /// The client's connection may be used again.
    pub(super) keep: bool,
}

/// Sends the answer: head and what is here of the body in one send, then the rest as it comes.
pub(super) async fn respond(out: Out<'_, '_>, reply: &mut Reply<'_>) -> Sent {
    let (request, keep) = (out.request, out.keep);
    let status = reply.head.status;
    let mut sent = Sent {
        end: End::Close,
        sent: 0,
        received: 0,
        status,
        fault: None,
    };
    let answer = match &mut reply.body {
        ReplyBody::Abort => {
            sent.status = 0;
            return sent;
        }
        ReplyBody::Local(body) => {
            let body = std::mem::take(body);
            let result = send_local(out, &mut reply.head, body).await;
            sent.sent = *result.as_ref().unwrap_or(&0);
            sent.settle(result.map(|_bytes| ()), keep);
            return sent;
        }
        ReplyBody::Upstream(answer) => answer,
    };
    let framing = answer.framing();
    let frame = Frame::of(request, status, framing);
    let keep = keep && frame != Frame::UntilClose && status != 101;
    let mut stream = Streaming {
        sender: Sender::new(out.client, out.writer, reply.deadline),
        answer,
        idle: reply.idle,
        upload: out.upload,
    };
    name_no_length(&mut reply.head, request, framing);
    let lead = head(&mut reply.head, request, frame, keep);
    let result = stream
        .run(Outbox::new(lead, frame == Frame::Chunked), &mut sent.sent)
        .await;
    sent.settle(result, keep);
    if sent.fault.is_some() {
        // A length or chunks that do not come show that the answer is broken; an end by closing has to be a reset.
        sent.end = if frame == Frame::UntilClose {
            End::Reset
        } else {
            End::Close
        };
    }
    sent
}

impl Sent {
    /// Nothing can be said to the client any more.
    pub(super) fn unsaid(fault: Fault) -> Self {
        Self {
            end: End::Reset,
            sent: 0,
            received: 0,
            status: 0,
            fault: Some(fault),
        }
    }

    fn settle(&mut self, result: Result<(), Fault>, keep: bool) {
        match result {
            Ok(()) if keep => self.end = End::KeepAlive,
            Ok(()) => self.end = End::Close,
            Err(fault) => {
                self.fault = Some(fault);
                self.end = End::Close;
            }
        }
    }
}

/// How the client learns where the body ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frame {
    /// There is none, or `Content-Length` says it.
    Counted,
    Chunked,
    /// RFC 9112 §6.3: an HTTP/1.0 client knows no chunks.
    UntilClose,
}

impl Frame {
    fn of(request: &RequestHead, status: u16, framing: Framing) -> Self {
        let bodiless = request.method == Method::Head || matches!(status, 101 | 204 | 304);
        match framing {
            Framing::Empty | Framing::Length(_) => Self::Counted,
            _ if bodiless => Self::Counted,
            Framing::Chunked | Framing::Close if request.version == Version::Http10 => {
                Self::UntilClose
            }
            Framing::Chunked | Framing::Close => Self::Chunked,
        }
    }
}

/// What ends with its head in HTTP/2 has no need of a length; in HTTP/1 it would go on until the connection closes.
fn name_no_length(head: &mut ResponseHead, request: &RequestHead, framing: Framing) {
    let bodiless = request.method == Method::Head || matches!(head.status, 101 | 204 | 304);
    let named = head.fields.known(FieldId::ContentLength).is_some();
    if framing == Framing::Empty && !bodiless && !named {
        head.fields.push("content-length", "0");
    }
}

/// A head as bytes, with what it says of this connection.
fn head(head: &mut ResponseHead, request: &RequestHead, frame: Frame, keep: bool) -> BytesMut {
    if frame == Frame::Chunked {
        head.fields.push("transfer-encoding", "chunked");
    }
    let size: usize = head
        .fields
        .iter()
        .map(|field| field.name.len() + field.value.len() + 4)
        .sum();
    let mut out = BytesMut::with_capacity(size + 1100);
    let reason: &[u8] = if head.reason.is_empty() {
        http1::reason(head.status).as_bytes()
    } else {
        &head.reason
    };
    http1::write_status_line(&mut out, head.status, reason);
    for field in head.fields.iter() {
        field.write(&mut out);
    }
    match (keep, request.version) {
        _ if head.status == 101 => {}
        (false, _) => out.put_slice(b"connection: close\r\n"),
        (true, Version::Http10) => out.put_slice(b"connection: keep-alive\r\n"),
        (true, Version::Http11 | Version::Http2 | Version::Rpc(_)) => {}
    }
    http1::end_head(&mut out);
    out
}

/// Sends an answer that is all here; says how long its body was.
async fn send_local(
    out: Out<'_, '_>,
    answer: &mut ResponseHead,
    body: Bytes,
) -> Result<u64, Fault> {
    if !matches!(answer.status, 204 | 304) && answer.fields.known(FieldId::ContentLength).is_none()
    {
        answer.fields.push("content-length", body.len().to_string());
    }
    let lead = head(answer, out.request, Frame::Counted, out.keep);
    let mut outbox = Outbox::new(lead, false);
    let bodiless = out.request.method == Method::Head || matches!(answer.status, 204 | 304);
    let body = if bodiless { Bytes::new() } else { body };
    let length = body.len() as u64;
    let large = outbox.add(body);
    let mut sender = Sender::new(out.client, out.writer, Deadline::NEVER);
    sender.send(&mut outbox, large, |_| Ok(())).await?;
    Ok(length)
}

#[cold]
fn gone(error: std::io::Error) -> Fault {
    Fault::new(FaultKind::ClientGone).because(error)
}

/// The client's side of an answer: it has to keep its pace.
pub(super) struct Sender<'s> {
    client: &'s Client,
    writer: &'s mut Writer,
    pace: Pace,
    /// The limit of the whole request.
    deadline: Deadline,
}

impl<'s> Sender<'s> {
    pub(super) fn new(client: &'s Client, writer: &'s mut Writer, deadline: Deadline) -> Self {
        let pace = Pace::new(&client.listener.spec.config.limits);
        Self {
            client,
            writer,
            pace,
            deadline,
        }
    }

    pub(super) fn into_writer(self) -> &'s mut Writer {
        self.writer
    }

    /// Sends what is gathered; `meanwhile` is polled as long as the client takes its time.
    pub(super) async fn send(
        &mut self,
        outbox: &mut Outbox,
        large: Option<Bytes>,
        mut meanwhile: impl FnMut(&mut Context<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let (pace, timer) = (&self.pace, &self.client.timer);
        let mut sending = pin!(outbox.send(self.writer, large, |bytes| pace.moved(bytes)));
        let mut both = std::future::poll_fn(|cx| {
            if let Poll::Ready(sent) = sending.as_mut().poll(cx) {
                return Poll::Ready(sent.map_err(gone));
            }
            match meanwhile(cx) {
                Ok(()) => Poll::Pending,
                Err(fault) => Poll::Ready(Err(fault)),
            }
        });
        loop {
            let until = self.deadline.min(pace.deadline());
            match timer.within(until, &mut both).await {
                Ok(sent) => {
                    pace.stop();
                    return sent;
                }
                Err(_elapsed) if self.deadline.has_passed() => {
                    return Err(Fault::new(FaultKind::RequestTimeout));
                }
                Err(_elapsed) if pace.is_kept() => {}
                Err(_elapsed) => {
                    self.client.listener.stats.limit_body_too_slow.inc();
                    return Err(Fault::new(FaultKind::ClientTooSlow));
                }
            }
        }
    }
}

/// An upstream's body on its way.
struct Streaming<'s, 'a, 'u> {
    sender: Sender<'s>,
    answer: &'s mut AnswerBody<'a>,
    /// The limit of silence both ways.
    idle: Option<Duration>,
    upload: &'s SharedUpload<'u>,
}

impl Streaming<'_, '_, '_> {
    async fn run(&mut self, mut outbox: Outbox, sent: &mut u64) -> Result<(), Fault> {
        if self.answer.is_switch() {
            // What comes behind the head is the tunnel's.
            return self.send(&mut outbox, None).await;
        }
        loop {
            let answer = &mut *self.answer;
            let here = std::future::poll_fn(|cx| Poll::Ready(answer.poll_next(cx))).await;
            let part = match here {
                Poll::Ready(Err(fault)) => {
                    // What came before it broke is the client's all the same.
                    let _gone_too = self.send(&mut outbox, None).await;
                    return Err(fault);
                }
                Poll::Ready(Ok(part)) => part,
                Poll::Pending => {
                    if !outbox.is_empty() {
                        self.send(&mut outbox, None).await?;
                    }
                    self.wait().await?
                }
            };
            let Some(part) = part else { break };
            *sent += part.len() as u64;
            self.sender
                .client
                .listener
                .stats
                .bytes_sent
                .add(part.len() as u64);
            let large = outbox.add(part);
            if large.is_some() || outbox.is_full() {
                self.send(&mut outbox, large).await?;
            }
        }
        outbox.end(self.answer.trailers());
        self.send(&mut outbox, None).await?;
        self.answer.release();
        Ok(())
    }

    /// The next part, within the limits of the request and of silence: what still comes of its body breaks that too.
    async fn wait(&mut self) -> Result<Option<Bytes>, Fault> {
        let (client, deadline) = (self.sender.client, self.sender.deadline);
        let received = || self.upload.borrow().received;
        let mut next = std::future::poll_fn(|cx| self.answer.poll_next(cx));
        loop {
            let before = received();
            let until = deadline.min(Deadline::after_opt(self.idle));
            return match client.timer.within(until, &mut next).await {
                Ok(part) => part,
                Err(_elapsed) if deadline.has_passed() => {
                    Err(Fault::new(FaultKind::RequestTimeout))
                }
                Err(_elapsed) if received() != before => continue,
                Err(_elapsed) => Err(Fault::new(FaultKind::IdleTimeout)),
            };
        }
    }

    /// Sends what is gathered, while the request's body goes on behind it.
    async fn send(&mut self, outbox: &mut Outbox, large: Option<Bytes>) -> Result<(), Fault> {
        let answer = &mut *self.answer;
        self.sender.send(outbox, large, |cx| answer.drive(cx)).await
    }
}
