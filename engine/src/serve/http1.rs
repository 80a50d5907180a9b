//! A client's HTTP/1 connection: request after request, in order.

use std::cell::RefCell;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use bytes::BytesMut;
use ringway_protocols::http1::{self, Request};
use ringway_protocols::message::{Framing, RequestHead, ResponseHead, Version};

use super::body::ClientBody;
use super::outcome;
use super::respond::{Out, Sender, Sent, respond};
use super::root::boxed;
use super::{Client, Connection};
use crate::fault::{Fault, FaultKind};
use crate::grpc::Status;
use crate::net::{QUIET_AFTER, Reader, Stream, Writer};
use crate::observe::RpcEnd;
use crate::proxy::{
    Cx, Duplex, FarEnd, Interim, Moved, Outbox, Reply, ReplyBody, SharedUpload, Trace, Upload,
    client_address, grpc, proxy, tunnel,
};
use crate::request::{self, RequestCx};
use crate::time::{Deadline, Timer};
use crate::view::Listener;

/// What a read for a new head makes room for: most heads fit, and an idle connection keeps no more than that.
pub(super) const HEAD_READ: usize = 1 << 10;
/// How long a connection is read on after its last answer, so that what the client still sends does not reset it
/// before the answer is read (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(1);
/// How many bytes are read on at most.
const LINGER_BYTES: usize = 256 << 10;

/// How a connection goes on after an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// With the next request.
    KeepAlive,
    /// It is closed: the client has nothing more to say.
    Close,
    /// It is closed once the client has stopped sending.
    Linger,
    /// It is reset, so that the client sees that the answer is not whole.
    Reset,
}

enum Next {
    Request(Box<Request>),
    /// No request: the status to answer with, and why.
    Refused(u16, &'static str),
    Ended,
}

/// Serves a connection to its end. What is seldom or large is boxed apart, so that a connection between requests holds none
/// of it.
pub(super) async fn serve(mut connection: Box<Connection>) {
    let end = loop {
        match next(&mut connection).await {
            Next::Request(request) => {
                connection.ticket.set_idle(false);
                let served = &mut connection;
                match boxed(|| exchange(served, request)).await {
                    End::KeepAlive => shrink(&mut connection.stream.reader),
                    end @ (End::Close | End::Linger | End::Reset) => break end,
                }
            }
            Next::Refused(status, why) => {
                break Box::pin(refuse(&mut connection, status, why)).await;
            }
            Next::Ended => break End::Close,
        }
    };
    if end == End::Linger {
        Box::pin(linger(&mut connection)).await;
    }
    if end == End::Reset {
        connection.abort()
    } else {
        connection.close()
    }
}

/// The next head. Between requests the connection waits for `idle_timeout`; from a head's first byte for `header_timeout`.
async fn next(connection: &mut Connection) -> Next {
    let Connection {
        client,
        ticket,
        stream: Stream { reader, .. },
        parser,
    } = connection;
    let stats = &client.listener.stats;
    let limits = &client.listener.spec.config.limits;
    let mut begun = false;
    let mut deadline = Deadline::after(limits.idle_timeout);
    loop {
        match parser.parse(&mut reader.input, &client.listener.head_limits) {
            Ok(Some(request)) => return Next::Request(Box::new(request)),
            Ok(None) => {}
            Err(violation) => {
                stats.violation.inc(violation.index());
                return Next::Refused(violation.status(), violation.name());
            }
        }
        if !begun && !reader.input.is_empty() {
            begun = true;
            deadline = Deadline::after(limits.header_timeout);
        } else if !begun && client.requests > 0 && client.is_leaving() {
            stats.downstream_cx_drain_close.inc();
            return Next::Ended;
        }
        ticket.set_idle(!begun);
        let timer = &client.timer;
        let read = if begun {
            let room = HEAD_READ.max(reader.input.len());
            timer.within(deadline, reader.fill(room)).await
        } else if client.requests > 0 {
            timer.within(deadline, again(reader, timer)).await
        } else {
            timer.within(deadline, quiet(reader)).await
        };
        match read {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) => return Next::Ended,
            Err(_elapsed) if begun => {
                stats.limit_header_timeout.inc();
                return Next::Refused(408, "request_header_timeout");
            }
            Err(_elapsed) => {
                stats.limit_idle_timeout.inc();
                return Next::Ended;
            }
        }
    }
}

/// The first bytes of a head after an answer: most clients go on at once, and have a buffer waiting.
async fn again(reader: &mut Reader, timer: &Timer) -> io::Result<usize> {
    let soon = Deadline::after(QUIET_AFTER);
    if let Ok(read) = timer.within(soon, reader.fill_retractably(HEAD_READ)).await {
        return read;
    }
    match reader.retract().await? {
        0 if !reader.has_ended() => quiet(reader).await,
        read => Ok(read),
    }
}

/// The first bytes of a head from a client that is quiet, or new and perhaps only one of a crowd: it has no buffer until
/// there is something to read.
pub(super) async fn quiet(reader: &mut Reader) -> io::Result<usize> {
    reader.readable().await?;
    reader.fill(HEAD_READ).await
}

async fn refuse(connection: &mut Connection, status: u16, why: &'static str) -> End {
    outcome::refuse(
        &connection.client,
        &mut connection.stream.writer,
        status,
        why,
    )
    .await
}

/// Gives back what a large head or body made a connection hold.
fn shrink(reader: &mut Reader) {
    if reader.input.is_empty() && reader.input.capacity() > 4 * HEAD_READ {
        reader.input = BytesMut::new();
    }
}

pub(super) async fn linger(connection: &mut Connection) {
    let Connection { client, stream, .. } = connection;
    stream.writer.finish();
    let reader = &mut stream.reader;
    let drained = async {
        let mut read = 0;
        while read < LINGER_BYTES {
            reader.input.clear();
            match reader.fill(HEAD_READ).await {
                Ok(moved @ 1..) => read += moved,
                Ok(0) | Err(_) => break,
            }
        }
    };
    let _elapsed = client.timer.within(Deadline::after(LINGER), drained).await;
}

/// One request and its answer.
#[inline(always)]
async fn exchange(connection: &mut Connection, request: Box<Request>) -> End {
    let Connection { client, stream, .. } = connection;
    client.requests += 1;
    let stays = client.refresh();
    let client = &*client;
    let listener = &*client.listener;
    let _active = outcome::Active::new(listener);
    let Request {
        head,
        framing,
        keep_alive,
        expect_continue,
        upgrade,
        te_trailers,
        ..
    } = *request;
    let mut cx = request_cx(client, head);
    let mut trace = Trace::default();
    let around = Cx {
        local: &client.local,
        listener,
        chain: client.chain,
        intro: &client.intro,
        timer: &client.timer,
        upgrade,
        te_trailers,
        expects_continue: expect_continue,
        deadline: Deadline::after_opt(listener.spec.config.limits.request_timeout),
    };
    let keep = keep_alive && stays;
    let mut done = pin!(answer(
        &around, stream, framing, keep, &mut cx, &mut trace, client
    ))
    .await;
    if let Some(upstream) = done.upstream.take() {
        Box::pin(switch(
            client,
            stream,
            upstream,
            done.idle.unwrap_or(Duration::MAX),
            &mut done.sent,
        ))
        .await;
    }
    outcome::end(client, &cx, &mut trace, &done);
    done.sent.end
}

/// Proxies the request and sends its answer.
async fn answer<'c>(
    around: &Cx<'c>,
    stream: &mut Stream,
    framing: Framing,
    keep: bool,
    cx: &mut RequestCx,
    trace: &mut Trace<'c>,
    client: &Client,
) -> Done {
    let listener = around.listener;
    let Stream { reader, writer } = stream;
    let mut body = ClientBody::new(reader, listener, framing);
    let upload: SharedUpload<'_> = Rc::new(RefCell::new(Upload::new(&mut body)));
    let mut informer = Informer {
        client,
        writer: Some(writer),
        writing: None,
        waits: around.expects_continue,
        speaks_11: cx.head.version > Version::Http10,
    };
    let too_long = outcome::is_too_long(framing, listener);
    let mut reply = if too_long {
        outcome::too_long()
    } else if client.is_misdirected(&cx.head.authority) {
        outcome::misdirected()
    } else {
        pin!(proxy(around, cx, &upload, &mut informer, trace)).await
    };
    // A client that waited for `100 Continue` in vain may send its body or not: what comes next cannot be told.
    let in_step = !informer.waits || upload.borrow().has_ended();
    let keep = keep && in_step && !too_long && !is_last(client) && is_drainable(&upload, listener);
    let mut sent = match informer.end().await {
        Ok(writer) => {
            let out = Out {
                client,
                request: &cx.head,
                writer,
                upload: &upload,
                keep,
            };
            respond(out, &mut reply).await
        }
        Err(fault) => Sent::unsaid(fault),
    };
    if !upload.borrow().has_ended() {
        sent.end = drain(sent.end, &upload, listener).await;
    }
    sent.received = upload.borrow().received;
    let grpc_status = grpc::is_call(&cx.head).then(|| grpc::ended(&reply, sent.fault.as_ref()));
    let Reply {
        head,
        body,
        flag,
        details,
        idle,
        ..
    } = reply;
    let upstream = match body {
        ReplyBody::Upstream(answer) if head.status == 101 && sent.fault.is_none() => {
            answer.into_far_end()
        }
        ReplyBody::Upstream(_) | ReplyBody::Local(_) | ReplyBody::Abort => None,
    };
    Done {
        head,
        sent,
        flag,
        details,
        idle,
        upstream,
        grpc_status,
        rpc: None,
    }
}

/// A request that has been answered.
pub(super) struct Done {
    pub(super) head: Box<ResponseHead>,
    pub(super) sent: Sent,
    pub(super) flag: &'static str,
    pub(super) details: &'static str,
    pub(super) idle: Option<Duration>,
    /// The upstream's end of the tunnel that the client's connection is now the other end of.
    pub(super) upstream: Option<FarEnd>,
    /// How it ended as a call of gRPC, if it was one.
    pub(super) grpc_status: Option<Status>,
    /// How it ended as a call of an RPC protocol, if it was one.
    pub(super) rpc: Option<RpcEnd>,
}

/// Inlined, so that it is made where it is kept and not copied there.
#[inline(always)]
pub(super) fn request_cx(client: &Client, head: RequestHead) -> RequestCx {
    let mut peer = client.peer();
    if client.intro.trusted {
        peer.client = client_address(
            &head.fields,
            &peer,
            &client.listener.spec.config.forwarded.trusted,
        );
    }
    RequestCx {
        original_target: head.target.clone(),
        head,
        peer,
        started: Instant::now(),
        started_at: SystemTime::now(),
        route: None,
        flag: "-",
        metadata: Vec::new(),
        upstream: request::Upstream::default(),
        rpc: None,
    }
}

/// Whether the connection ends with this request, whatever the client wants.
fn is_last(client: &Client) -> bool {
    let max = client.listener.spec.config.limits.requests_per_connection;
    if max.is_some_and(|max| client.requests >= max) {
        client.listener.stats.limit_requests_per_connection.inc();
        return true;
    }
    client.is_leaving()
}

/// Whether what is still to come of a body may be read and thrown away. Of a chunked one that shows only then.
fn is_drainable(upload: &SharedUpload<'_>, listener: &Listener) -> bool {
    let upload = upload.borrow();
    if upload.has_failed() {
        return false;
    }
    match upload.framing() {
        Framing::Length(length) => {
            length - upload.received.min(length) <= listener.spec.config.limits.drain_body.0
        }
        Framing::Empty | Framing::Chunked | Framing::Close => true,
    }
}

/// After an early answer: reads the rest of the body, within the limit, so that the next request is found behind it.
async fn drain(end: End, upload: &SharedUpload<'_>, listener: &Listener) -> End {
    match end {
        End::KeepAlive => {}
        End::Close => return End::Linger,
        End::Linger | End::Reset => return end,
    }
    listener.stats.early_response_drains.inc();
    upload.borrow_mut().hurry();
    let mut left = listener.spec.config.limits.drain_body.0;
    loop {
        let next = std::future::poll_fn(|cx| upload.borrow_mut().poll_next(cx)).await;
        match next {
            Ok(None) => return End::KeepAlive,
            Ok(Some(bytes)) if bytes.len() as u64 <= left => left -= bytes.len() as u64,
            Ok(Some(_)) => {
                listener.stats.limit_drain_body.inc();
                return End::Linger;
            }
            Err(_) => return End::Linger,
        }
    }
}

/// The connection is a tunnel from here on (RFC 9110 §15.2.2).
async fn switch(
    client: &Client,
    stream: &mut Stream,
    upstream: FarEnd,
    idle: Duration,
    sent: &mut Sent,
) {
    let stats = &client.listener.stats;
    stats.upgrades_total.inc();
    stats.upgrades_active.inc();
    let moved = Moved::default();
    let ours = Duplex::Socket(&mut stream.reader, &mut stream.writer);
    let pipes = &client.local.pipes;
    let in_order = tunnel(ours, upstream, idle, &client.timer, pipes, &moved).await;
    sent.end = if in_order { End::Close } else { End::Reset };
    stats.upgrades_active.dec();
    sent.received += moved.up.get();
    sent.sent += moved.down.get();
}

/// Tells the client what comes before the final answer. What has begun to be said is said to its end, whatever becomes of the try that
/// had it said: cut off, its rest would be looked for in what comes behind it.
struct Informer<'w> {
    client: &'w Client,
    /// While nothing is being said.
    writer: Option<&'w mut Writer>,
    writing: Option<Saying<'w>>,
    /// The client waits for `100 Continue`, and has not been told.
    waits: bool,
    /// RFC 9110 §15.2: an HTTP/1.0 client knows no interim answers.
    speaks_11: bool,
}

impl<'w> Informer<'w> {
    /// The way to the client, for the final answer.
    async fn end(mut self) -> Result<&'w mut Writer, Fault> {
        self.settle().await?;
        self.writer.ok_or_else(gone)
    }

    async fn write(&mut self, out: BytesMut) -> Result<(), Fault> {
        self.settle().await?;
        let (client, writer) = (self.client, self.writer.take().ok_or_else(gone)?);
        self.writing = Some(Box::pin(async move {
            let mut sender = Sender::new(client, writer, Deadline::NEVER);
            let mut outbox = Outbox::new(out, false);
            let sent = sender.send(&mut outbox, None, |_| Ok(())).await;
            sent.map(|()| sender.into_writer())
        }));
        self.settle().await
    }

    /// Until nothing is being said.
    async fn settle(&mut self) -> Result<(), Fault> {
        if let Some(writing) = &mut self.writing {
            let said = writing.await;
            self.writing = None;
            self.writer = Some(said?);
        }
        Ok(())
    }
}

/// An interim answer on its way; it gives the writer back.
type Saying<'w> = Pin<Box<dyn Future<Output = Result<&'w mut Writer, Fault>> + 'w>>;

#[cold]
fn gone() -> Fault {
    Fault::new(FaultKind::ClientGone)
}

type Told<'s> = Pin<Box<dyn Future<Output = Result<(), Fault>> + 's>>;

impl Interim for Informer<'_> {
    fn send<'s>(&'s mut self, mut head: Box<ResponseHead>) -> Told<'s> {
        Box::pin(async move {
            if !self.speaks_11 {
                return Ok(());
            }
            http1::strip_hop_by_hop(&mut head.fields);
            let mut out = BytesMut::new();
            http1::write_response_head(&mut out, head.status, &head.reason, head.fields.iter());
            self.write(out).await
        })
    }

    fn proceed<'s>(&'s mut self) -> Told<'s> {
        Box::pin(async move {
            if !std::mem::take(&mut self.waits) {
                return Ok(());
            }
            self.write(BytesMut::from(&b"HTTP/1.1 100 Continue\r\n\r\n"[..]))
                .await
        })
    }
}
