//! One request of an HTTP/2 connection: handed to `proxy`, its answer sent, and dropped the moment that its stream is reset.

use std::cell::RefCell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use ringway_protocols::http1::{Violation, strip_hop_by_hop};
use ringway_protocols::http2::codec::{Incoming, Reason};
use ringway_protocols::http2::{self, Request};
use ringway_protocols::message::{Framing, ResponseHead, Version};

use super::body::StreamBody;
use super::handle::{Handle, gone};
use super::limits;
use super::respond::{Out, begin_tunnel, respond};
use super::shared::InFlight;
use super::websocket;
use crate::fault::Fault;
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
    handle: Handle,
}

impl Stream {
    /// Holds a request against the rules. None if it breaks one: then it has been refused.
    pub(super) fn admit(client: Client, place: Rc<InFlight>, incoming: Incoming) -> Option<Self> {
        let Incoming { key, parts } = incoming;
        let handle = Handle::new(place.shared(), key);
        let request = match http2::request(parts, &limits(&client.listener)) {
            Ok(request) => request,
            Err(violation) => {
                refuse(&client, violation, &handle);
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
            handle,
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
            let mut body = StreamBody::new(&self.handle, listener, self.framing);
            let (client, stream) = (&self.client, &self.handle);
            let request = (&mut self.cx, accept.as_deref());
            let mut done = pin!(answer(
                &around, &mut body, stream, request, &mut trace, client
            ))
            .await;
            if let Some(upstream) = done.upstream.take() {
                let idle = done.idle.unwrap_or(Duration::MAX);
                let join = websocket::join(client, body.stream(), upstream, idle, &mut done.sent);
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
#[cold]
fn refuse(client: &Client, violation: Violation, stream: &Handle) {
    let stats = &client.listener.stats;
    stats.violation.inc(violation.index());
    let mut refusal = outcome::Refusal::new(client, violation.status(), violation.name());
    if violation.status() == 400 {
        // RFC 9113 §8.1.1: malformed, and so an error of the stream.
        stream.reset(Reason::PROTOCOL_ERROR);
        (refusal.head.status, refusal.body) = (0, Bytes::new());
    } else {
        let head = &refusal.head;
        let told = stream.send_head(head.status, &head.fields, false);
        // A line of text: more than a client may well be without.
        let _gone = told.map(|()| stream.send_now(&refusal.body));
    }
    refusal.end(client);
}

/// Proxies the request and sends its answer.
async fn answer<'c>(
    around: &Cx<'c>,
    body: &mut StreamBody<'_>,
    stream: &Handle,
    (cx, accept): (&mut RequestCx, Option<&[u8]>),
    trace: &mut Trace<'c>,
    client: &Client,
) -> Done {
    let listener = around.listener;
    let framing = body.framing();
    let empty = match framing {
        Framing::Length(0) => {
            let empty = std::future::poll_fn(|cx| body.poll_empty(cx));
            unless_reset(stream, empty).await.and_then(|ended| ended)
        }
        Framing::Empty | Framing::Length(_) | Framing::Chunked | Framing::Close => Ok(()),
    };
    let upload: SharedUpload<'_> = Rc::new(RefCell::new(Upload::new(body)));
    let mut informer = Informer {
        stream,
        waits: around.expects_continue,
    };
    let proxied = match empty {
        Ok(()) if outcome::is_too_long(framing, listener) => Ok(outcome::too_long()),
        Ok(()) if client.is_misdirected(&cx.head.authority) => Ok(outcome::misdirected()),
        Ok(()) => {
            // Pinned where it is made: handed on by value, the largest future of all would be held twice, and copied.
            let proxied = pin!(proxy(around, cx, &upload, &mut informer, trace));
            unless_reset(stream, proxied).await
        }
        Err(fault) => Err(fault),
    };
    let mut reply = match proxied {
        Ok(reply) => reply,
        Err(fault) => return unanswered(fault, upload.borrow().received),
    };
    let switches = accept.is_some_and(|accept| websocket::answer(&mut reply, accept));
    let received = || upload.borrow().received;
    let out = Out::new(client, stream, reply.deadline, &received);
    let mut sent = match switches {
        true => begin_tunnel(&out, &reply),
        false => respond(out, &cx.head, &mut reply).await,
    };
    let is_tunnel = switches && sent.fault.is_none();
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
        ReplyBody::Upstream(answer) if is_tunnel => answer.into_far_end(),
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

/// The end of a stream that was reset before its answer began.
fn unanswered(fault: Fault, received: u64) -> Done {
    Done {
        head: Box::new(ResponseHead {
            status: 0,
            reason: Bytes::new(),
            version: Version::Http2,
            fields: ringway_protocols::Fields::new(),
        }),
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
        grpc_status: None,
        rpc: None,
    }
}

/// What `work` comes to, unless the stream is reset before: then it is dropped at once, and the request to the upstream with it.
async fn unless_reset<T>(stream: &Handle, work: impl Future<Output = T>) -> Result<T, Fault> {
    let mut work = pin!(work);
    std::future::poll_fn(|cx: &mut Context<'_>| {
        if let Poll::Ready(broken) = stream.poll_broken(cx) {
            return Poll::Ready(Err(gone(broken)));
        }
        work.as_mut().poll(cx).map(Ok)
    })
    .await
}

/// Tells the client what comes before the final answer.
struct Informer<'r> {
    stream: &'r Handle,
    /// The client waits for `100 Continue`, and has not been told.
    waits: bool,
}

impl Informer<'_> {
    /// Sends it, once the client has taken what went before.
    async fn inform(&self, head: ResponseHead) -> Result<(), Fault> {
        std::future::poll_fn(|cx| self.stream.poll_taken(cx)).await;
        self.stream.send_head(head.status, &head.fields, false)
    }
}

type Told<'s> = Pin<Box<dyn Future<Output = Result<(), Fault>> + 's>>;

impl Interim for Informer<'_> {
    fn send<'s>(&'s mut self, mut head: Box<ResponseHead>) -> Told<'s> {
        strip_hop_by_hop(&mut head.fields);
        Box::pin(self.inform(*head))
    }

    fn proceed<'s>(&'s mut self) -> Told<'s> {
        if !std::mem::take(&mut self.waits) {
            return Box::pin(std::future::ready(Ok(())));
        }
        Box::pin(self.inform(ResponseHead {
            status: 100,
            reason: Bytes::new(),
            version: Version::Http2,
            fields: ringway_protocols::Fields::new(),
        }))
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
