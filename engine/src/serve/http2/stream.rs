//! One request of an HTTP/2 connection: handed to `proxy`, its answer sent, and dropped the moment that its stream is reset.

use std::cell::RefCell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Response, StatusCode};
use ringway_protocols::http1::{Violation, strip_hop_by_hop};
use ringway_protocols::http2::{self, Request};
use ringway_protocols::message::{Framing, ResponseHead, Version};

use super::body::StreamBody;
use super::request;
use super::respond::{Out, begin_tunnel, respond};
use super::shared::InFlight;
use super::websocket;
use crate::fault::{Fault, FaultKind};
use crate::http2::to_map;
use crate::proxy::{
    Cx, Interim, Reply, ReplyBody, RequestBody, SharedUpload, Trace, Upload, grpc, proxy,
};
use crate::request::RequestCx;
use crate::serve::http1::{Done, End, request_cx};
use crate::serve::respond::Sent;
use crate::serve::{Client, outcome};
use crate::time::Deadline;

/// A request that may be served, and the stream that it came on.
pub(super) struct Stream {
    client: Client,
    place: Rc<InFlight>,
    cx: RequestCx,
    framing: Framing,
    expect_continue: bool,
    upgrade: Option<Bytes>,
    te_trailers: bool,
    body: RecvStream,
    respond: RefCell<SendResponse<Bytes>>,
}

impl Stream {
    /// Holds a request against the rules. None if it breaks one: then it has been refused.
    pub(super) fn admit(
        client: Client,
        place: Rc<InFlight>,
        request: http::Request<RecvStream>,
        respond: SendResponse<Bytes>,
    ) -> Option<Self> {
        let (head, body) = request.into_parts();
        let parts = request::parts(head, body.is_end_stream());
        let request = match http2::request(parts, &request::limits(&client.listener)) {
            Ok(request) => request,
            Err(violation) => {
                refuse(&client, violation, respond);
                return None;
            }
        };
        let Request {
            head,
            framing,
            expect_continue,
            upgrade,
            te_trailers,
        } = request;
        let cx = request_cx(&client, head);
        Some(Self {
            client,
            place,
            cx,
            framing,
            expect_continue,
            upgrade,
            te_trailers,
            body,
            respond: RefCell::new(respond),
        })
    }

    /// Serves it to its end.
    #[expect(
        clippy::manual_async_fn,
        reason = "the future of an `async fn` holds what it is given twice"
    )]
    #[inline(always)]
    pub(super) fn serve(mut self) -> impl Future<Output = ()> {
        async move {
            let listener = &*self.client.listener;
            let _active = outcome::Active::new(listener);
            let accept = self
                .upgrade
                .is_some()
                .then(|| websocket::ask(&mut self.cx.head.fields, &self.client.local.rng));
            let mut trace = Trace::default();
            let around = Cx {
                local: &self.client.local,
                listener,
                chain: self.client.chain,
                intro: &self.client.intro,
                timer: &self.client.timer,
                upgrade: self.upgrade.take(),
                te_trailers: self.te_trailers,
                expects_continue: self.expect_continue,
                deadline: Deadline::after_opt(listener.spec.config.limits.request_timeout),
            };
            let shared = self.place.shared();
            let mut body = StreamBody::new(self.body, listener, shared, self.framing);
            let (client, respond) = (&self.client, &self.respond);
            let request = (&mut self.cx, accept.as_deref());
            let mut done = pin!(answer(
                &around, &mut body, respond, request, &mut trace, client
            ))
            .await;
            if let Some((upstream, stream)) = done.upstream.take().zip(done.stream.take()) {
                let idle = done.idle.unwrap_or(Duration::MAX);
                let (ours, sent) = (body.stream(), &mut done.sent);
                let join = websocket::join(client, respond, ours, stream, upstream, idle, sent);
                Box::pin(join).await;
            }
            if done.sent.fault.is_none() && done.sent.status != 0 {
                self.place.ended_well();
            }
            outcome::end(client, &self.cx, &mut trace, &done);
        }
    }
}

/// Answers what is no request that may be served.
fn refuse(client: &Client, violation: Violation, mut respond: SendResponse<Bytes>) {
    let stats = &client.listener.stats;
    stats.violation.inc(violation.index());
    let mut refusal = outcome::Refusal::new(client, violation.status(), violation.name());
    if violation.status() == 400 {
        // RFC 9113 §8.1.1: malformed, and so an error of the stream.
        respond.send_reset(Reason::PROTOCOL_ERROR);
        (refusal.head.status, refusal.body) = (0, Bytes::new());
    } else if let Some(head) = head_of(&refusal.head)
        && let Ok(mut stream) = respond.send_response(head, false)
    {
        // A line of text: more than a client may well be without.
        let _gone = stream.send_data(refusal.body.clone(), true);
    }
    refusal.end(client);
}

/// Proxies the request and sends its answer.
async fn answer<'c>(
    around: &Cx<'c>,
    body: &mut StreamBody<'_>,
    responder: &RefCell<SendResponse<Bytes>>,
    (cx, accept): (&mut RequestCx, Option<&[u8]>),
    trace: &mut Trace<'c>,
    client: &Client,
) -> Done {
    let listener = around.listener;
    let framing = body.framing();
    let empty = match framing {
        Framing::Length(0) => {
            let empty = std::future::poll_fn(|cx| body.poll_empty(cx));
            unless_reset(responder, empty).await.and_then(|ended| ended)
        }
        Framing::Empty | Framing::Length(_) | Framing::Chunked | Framing::Close => Ok(()),
    };
    let upload: SharedUpload<'_> = Rc::new(RefCell::new(Upload::new(body)));
    let mut informer = Informer {
        responder,
        waits: around.expects_continue,
    };
    let proxied = match empty {
        Ok(()) if outcome::is_too_long(framing, listener) => Ok(outcome::too_long()),
        Ok(()) if client.is_misdirected(&cx.head.authority) => Ok(outcome::misdirected()),
        Ok(()) => {
            // Pinned where it is made: handed on by value, the largest future of all would be held twice, and copied.
            let proxied = pin!(proxy(around, cx, &upload, &mut informer, trace));
            unless_reset(responder, proxied).await
        }
        Err(fault) => Err(fault),
    };
    let mut reply = match proxied {
        Ok(reply) => reply,
        Err(fault) => return gone(fault, upload.borrow().received),
    };
    let switches = accept.is_some_and(|accept| websocket::answer(&mut reply, accept));
    let received = || upload.borrow().received;
    let out = Out::new(client, responder, reply.deadline, &received);
    let (mut sent, stream) = match switches {
        true => begin_tunnel(&out, &reply),
        false => (respond(out, &cx.head, &mut reply).await, None),
    };
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
        ReplyBody::Upstream(answer) if stream.is_some() => answer.into_far_end(),
        ReplyBody::Upstream(_) | ReplyBody::Local(_) | ReplyBody::Abort => None,
    };
    Done {
        head,
        sent,
        flag,
        details,
        idle,
        upstream,
        stream,
        grpc_status,
        rpc: None,
    }
}

/// The end of a stream that was reset before its answer began.
fn gone(fault: Fault, received: u64) -> Done {
    Done {
        head: ResponseHead {
            status: 0,
            reason: Bytes::new(),
            version: Version::Http2,
            fields: ringway_protocols::Fields::new(),
        },
        flag: fault.kind.flag(),
        details: fault.kind.details(),
        sent: Sent {
            end: End::Close,
            sent: 0,
            received,
            status: 0,
            fault: Some(fault),
        },
        idle: None,
        upstream: None,
        stream: None,
        grpc_status: None,
        rpc: None,
    }
}

/// What `work` comes to, unless the stream is reset before: then it is dropped at once, and the request to the upstream with it.
pub(super) async fn unless_reset<T>(
    responder: &RefCell<SendResponse<Bytes>>,
    work: impl Future<Output = T>,
) -> Result<T, Fault> {
    let mut work = pin!(work);
    std::future::poll_fn(|cx: &mut Context<'_>| {
        if let Poll::Ready(reset) = responder.borrow_mut().poll_reset(cx) {
            return Poll::Ready(Err(was_reset(reset)));
        }
        work.as_mut().poll(cx).map(Ok)
    })
    .await
}

/// Why a stream is there no more.
pub(super) fn was_reset(reset: Result<Reason, h2::Error>) -> Fault {
    let fault = Fault::new(FaultKind::ClientGone);
    match reset {
        Ok(reason) => fault.because(reason.description()),
        Err(error) => fault.because(error),
    }
}

/// A head for the codec. None if it cannot be one of HTTP/2.
pub(super) fn head_of(head: &ResponseHead) -> Option<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(head.status).ok()?;
    *response.headers_mut() = to_map(&head.fields)?;
    Some(response)
}

/// Tells the client what comes before the final answer.
struct Informer<'r> {
    responder: &'r RefCell<SendResponse<Bytes>>,
    /// The client waits for `100 Continue`, and has not been told.
    waits: bool,
}

impl Informer<'_> {
    fn inform(&self, head: &ResponseHead) -> Result<(), Fault> {
        let Some(head) = head_of(head) else {
            return Ok(());
        };
        let told = self.responder.borrow_mut().send_informational(head);
        told.map_err(|error| Fault::new(FaultKind::ClientGone).because(error))
    }
}

type Told<'s> = Pin<Box<dyn Future<Output = Result<(), Fault>> + 's>>;

impl Interim for Informer<'_> {
    fn send<'s>(&'s mut self, mut head: ResponseHead) -> Told<'s> {
        strip_hop_by_hop(&mut head.fields);
        Box::pin(std::future::ready(self.inform(&head)))
    }

    fn proceed<'s>(&'s mut self) -> Told<'s> {
        let told = if std::mem::take(&mut self.waits) {
            self.inform(&ResponseHead {
                status: 100,
                reason: Bytes::new(),
                version: Version::Http2,
                fields: ringway_protocols::Fields::new(),
            })
        } else {
            Ok(())
        };
        Box::pin(std::future::ready(told))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<F>(_: impl FnOnce(Stream) -> F) -> usize {
        size_of::<F>()
    }

    /// What a connection has in flight, its streams' memory follows.
    #[test]
    fn a_streams_future_is_small() {
        let bytes = size(Stream::serve);
        assert!(bytes <= 9 << 10, "{bytes} bytes");
    }
}
