//! One request: [`proxy`] is the function. It reads from top to bottom; what it returns is an answer whose body is pulled.
//!
//! ```text
//!  normalize → find the route → filters → respond | redirect | forward: pick → checkout → exchange, tries → filters
//! ```

mod affinity;
mod answer;
mod attempt;
mod attempts;
mod exchange;
mod forward;
pub(crate) mod grpc;
mod head;
mod hedge;
mod mirror;
mod outbox;
mod outgoing;
mod retry;
mod transcoded;
mod tunnel;
mod upload;

use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ringway_protocols::Fields;
use ringway_protocols::message::{Framing, Method, ResponseHead, Version};

use crate::cluster::Cluster;
use crate::fault::{Fault, FaultKind};
use crate::filter::{BadBody, Flow, Running, Transforms};
use crate::grpc::Status;
use crate::request::{LocalReply, RequestCx, Upstream};
use crate::route::{Action, Found};
use crate::time::{Deadline, Timer};
use crate::view::{Held, Listener, LiveChain, Local, Table};

pub(crate) use answer::AnswerBody;
pub(crate) use head::{Introduction, client_address, is_within};
pub(crate) use outbox::Outbox;
pub(crate) use tunnel::{Duplex, FarEnd, Inlet, Moved, Outlet, Writing, tunnel};
pub(crate) use upload::{RequestBody, SharedUpload, Upload};

/// What goes to the client before the final answer.
pub(crate) trait Interim {
    /// An interim answer (1xx, neither 100 nor 101).
    fn send<'s>(
        &'s mut self,
        head: Box<ResponseHead>,
    ) -> Pin<Box<dyn Future<Output = Result<(), Fault>> + 's>>;
    /// The body is wanted now: `100 Continue`, if the client waits for it.
    fn proceed<'s>(&'s mut self) -> Pin<Box<dyn Future<Output = Result<(), Fault>> + 's>>;
}

/// Nobody to tell.
pub(crate) struct NoInterim;

impl Interim for NoInterim {
    fn send<'s>(
        &'s mut self,
        _: Box<ResponseHead>,
    ) -> Pin<Box<dyn Future<Output = Result<(), Fault>> + 's>> {
        Box::pin(std::future::ready(Ok(())))
    }
    fn proceed<'s>(&'s mut self) -> Pin<Box<dyn Future<Output = Result<(), Fault>> + 's>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Where a request is, and what it came with beside its head.
pub(crate) struct Cx<'c> {
    pub(crate) local: &'c Local,
    pub(crate) listener: &'c Listener,
    pub(crate) chain: usize,
    pub(crate) intro: &'c Introduction,
    pub(crate) timer: &'c Timer,
    /// To what the client wants to upgrade.
    pub(crate) upgrade: Option<Bytes>,
    /// The client takes trailers.
    pub(crate) te_trailers: bool,
    /// The client waits for `100 Continue`.
    pub(crate) expects_continue: bool,
    /// The listener's limit of the whole request.
    pub(crate) deadline: Deadline,
}

/// What is learned of a request on its way, for its outcome.
#[derive(Default)]
pub(crate) struct Trace<'c> {
    pub(crate) table: Option<Rc<Table>>,
    pub(crate) cluster: Option<Rc<Cluster>>,
    pub(crate) host: Option<Rc<str>>,
    /// Why no connection to it was made, or no secure one.
    pub(crate) failure: Option<Box<str>>,
    pub(crate) attempts: u32,
    /// It would have been tried again, had the policy allowed more tries.
    pub(crate) used_up: bool,
    pub(crate) service_time: Option<Duration>,
    /// From the request's head to the answer's.
    pub(crate) response_duration: Option<Duration>,
    pub(crate) filters: Option<Running<'c>>,
    /// What a request takes that is made a call, or its answer, of the core's budget for calls.
    pub(crate) held: Option<Held<'c>>,
}

/// An answer for the client. Its parts are boxed: it goes back through all of the request's futures, each of which has room for it.
pub(crate) struct Reply<'a> {
    pub(crate) head: Box<ResponseHead>,
    pub(crate) body: ReplyBody<'a>,
    /// Response flag and details for the outcome.
    pub(crate) flag: &'static str,
    pub(crate) details: &'static str,
    /// The limit of all of it.
    pub(crate) deadline: Deadline,
    /// The limit of silence while it streams.
    pub(crate) idle: Option<Duration>,
}

/// An answer's body.
pub(crate) enum ReplyBody<'a> {
    /// Made here.
    Local(Bytes),
    /// An upstream's.
    Upstream(Box<AnswerBody<'a>>),
    /// None: the connection is closed without an answer.
    Abort,
}

/// Answers a request.
pub(crate) async fn proxy<'a, 'c>(
    cx: &Cx<'c>,
    request: &mut RequestCx,
    upload: &SharedUpload<'a>,
    interim: &mut dyn Interim,
    trace: &mut Trace<'c>,
) -> Reply<'a> {
    // Here and below a future is pinned where it is made: awaited by value, all of it would first be copied to where it is kept.
    let routed = pin!(route(cx, request, upload, interim, trace)).await;
    let mut reply = match routed {
        Ok(reply) => speak(request, reply, None),
        Err(fault) => speak(request, fault_reply(&fault), Some(&fault)),
    };
    if let ReplyBody::Abort = reply.body {
        return reply;
    }
    if let Some(filters) = &mut trace.filters {
        let waiting = filters.on_response(request, &mut reply.head);
        match cx.timer.within(cx.deadline, waiting).await {
            Ok(Flow::Continue) => {}
            Ok(Flow::Respond(instead)) => reply = speak(request, local_reply(instead), None),
            Ok(Flow::Abort) => return abort(),
            Err(_elapsed) => {
                let fault = Fault::new(FaultKind::RequestTimeout);
                reply = speak(request, fault_reply(&fault), Some(&fault));
            }
        }
        if let Some(transforms) = filters.response_body() {
            transform(&mut reply, transforms);
        }
    }
    head::back(&mut reply.head, cx.intro, || {
        cx.local.date.at(request.started_at)
    });
    reply
}

async fn route<'a, 'c>(
    cx: &Cx<'c>,
    request: &mut RequestCx,
    upload: &SharedUpload<'a>,
    interim: &mut dyn Interim,
    trace: &mut Trace<'c>,
) -> Result<Reply<'a>, Fault> {
    let Some(chain) = cx.listener.chain(cx.chain).and_then(LiveChain::http) else {
        return Err(Fault::new(FaultKind::NoRoute));
    };
    let table = &chain.table;
    trace.table = Some(Rc::clone(table));
    table.stats.rq_total.inc();
    let is_call = request.rpc.is_some();
    match table.router.normalize(&request.head.target) {
        // A path of names that are no path's.
        _ if is_call => {}
        Ok(None) => {}
        Ok(Some(plain)) => request.head.target = plain,
        Err(bad) => {
            return Ok(local_reply(LocalReply::text(
                400,
                bad.details(),
                "the path cannot be served\n",
            )));
        }
    }
    if let Some(reply) = hops_left(&mut request.head.method, &mut request.head.fields) {
        return Ok(local_reply(reply));
    }
    let Some(found) = table.router.find(&request.head) else {
        table.stats.no_route.inc();
        return Err(Fault::new(FaultKind::NoRoute));
    };
    request.route.clone_from(&found.route.name);
    if let Some(filters) = chain
        .filters(found.route.index)
        .filter(|filters| !filters.is_empty())
    {
        let running = trace.filters.insert(filters.start(&cx.local.rng));
        let waiting = cx.timer.within(cx.deadline, running.on_request(request));
        let flow = waiting
            .await
            .map_err(|_elapsed| Fault::new(FaultKind::RequestTimeout))?;
        match flow {
            Flow::Continue => {}
            Flow::Respond(reply) => return Ok(local_reply(reply)),
            Flow::Abort => return Ok(abort()),
        }
        if let Some(transforms) = running.request_body() {
            request.head.fields.remove(b"content-length");
            upload.borrow_mut().transform(transforms);
        }
        // Boxed, for few requests wait here, and all would carry it.
        if running.wants_body().is_some()
            && let Some(reply) =
                Box::pin(transcoded::call(cx, request, upload, interim, trace)).await?
        {
            return Ok(reply);
        }
    }
    let acted = pin!(act(cx, table, found, request, upload, interim, trace)).await;
    request.upstream = Upstream {
        cluster: trace.cluster.as_ref().map(|cluster| cluster.name.clone()),
        host: trace.host.clone(),
        attempts: trace.attempts,
    };
    transcoded::count(request, trace, acted.as_ref().ok());
    let mut reply = transcoded::in_http(acted?, cx, trace);
    found
        .route
        .response_headers
        .apply_response(request, &mut reply.head);
    Ok(reply)
}

async fn act<'a, 'c>(
    cx: &Cx<'c>,
    table: &Table,
    found: Found<'_>,
    request: &mut RequestCx,
    upload: &SharedUpload<'a>,
    interim: &mut dyn Interim,
    trace: &mut Trace<'c>,
) -> Result<Reply<'a>, Fault> {
    match &found.route.action {
        Action::Respond(reply) => Ok(local_reply(reply.clone())),
        Action::Redirect(_) => match found.redirect(&request.head, cx.intro.scheme) {
            Some(reply) => Ok(local_reply(reply)),
            None => Err(Fault::new(FaultKind::Internal)),
        },
        Action::Forward(forward) => {
            pin!(forward::forward(
                cx, table, found, forward, request, upload, interim, trace
            ))
            .await
        }
    }
}

/// An answer in the words of its client: who makes a call of gRPC looks for nothing but its status.
fn speak<'a>(request: &RequestCx, mut reply: Reply<'a>, fault: Option<&Fault>) -> Reply<'a> {
    if matches!(reply.body, ReplyBody::Local(_)) && grpc::is_call(&request.head) {
        let status = match fault {
            Some(fault) => Status::of_fault(fault.kind),
            None => Status::of_http(reply.head.status),
        };
        grpc::speak(&mut reply, status);
    }
    reply
}

/// Has filters change the answer's body.
fn transform(reply: &mut Reply<'_>, mut transforms: Box<Transforms>) {
    match &mut reply.body {
        ReplyBody::Upstream(answer) if answer.framing() != Framing::Empty => {
            reply.head.fields.remove(b"content-length");
            answer.transform(transforms);
        }
        ReplyBody::Local(body) if !body.is_empty() => match transforms.all(std::mem::take(body)) {
            Ok(all) => {
                reply.head.fields.remove(b"content-length");
                *body = all;
            }
            Err(BadBody(why)) => {
                let fault = Fault::new(FaultKind::Internal).because(why);
                *reply = fault_reply(&fault);
            }
        },
        ReplyBody::Upstream(_) | ReplyBody::Local(_) | ReplyBody::Abort => {}
    }
}

/// RFC 9110 §7.6.2: OPTIONS and TRACE say how far they may go; at 0 they are answered here.
fn hops_left(method: &mut Method, fields: &mut Fields) -> Option<LocalReply> {
    const NAME: &[u8] = b"max-forwards";
    if !matches!(method, Method::Options | Method::Trace) {
        return None;
    }
    let hops: u64 = std::str::from_utf8(fields.get(NAME)?).ok()?.parse().ok()?;
    match hops.checked_sub(1) {
        Some(left) => {
            fields.set("max-forwards", left.to_string());
            None
        }
        None if *method == Method::Options => Some(LocalReply {
            status: 204,
            details: "max_forwards",
            flag: "-",
            ..LocalReply::default()
        }),
        // A TRACE would have to be answered with its own head, which tells a script what the client's cookies are.
        None => Some(LocalReply::text(
            405,
            "max_forwards",
            "TRACE is not answered here\n",
        )),
    }
}

/// The answer for a fault.
#[cold]
fn fault_reply<'a>(fault: &Fault) -> Reply<'a> {
    tracing::debug!(%fault, "request failed");
    let text = match fault.kind {
        FaultKind::NoRoute => "no route takes this request\n",
        FaultKind::NoHost => "no host of the upstream cluster is there\n",
        FaultKind::ConnectRefused | FaultKind::ConnectTimeout | FaultKind::ConnectFailed => {
            "the upstream could not be reached\n"
        }
        FaultKind::TlsFailed | FaultKind::TlsTimeout => {
            "no secure connection to the upstream could be made\n"
        }
        FaultKind::Reset | FaultKind::Truncated => "the upstream closed before it answered\n",
        FaultKind::UpstreamProtocol | FaultKind::BodyProtocol => {
            "the upstream's answer breaks its protocol\n"
        }
        FaultKind::NoTunnel => "the upstream does not take WebSocket over HTTP/2\n",
        FaultKind::FirstByteTimeout
        | FaultKind::PerTryTimeout
        | FaultKind::PerTryIdleTimeout
        | FaultKind::IdleTimeout => "the upstream did not answer in time\n",
        // It may have been a filter that waited.
        FaultKind::RequestTimeout => "the request took too long\n",
        FaultKind::ClientTooSlow => "the request came too slowly\n",
        FaultKind::BodyTooLarge => "the request's body is too large\n",
        FaultKind::ClientGone | FaultKind::ClientProtocol => "the request breaks its protocol\n",
        FaultKind::Overflow => "too busy\n",
        FaultKind::Internal => "a defect of the proxy\n",
    };
    let mut reply = local_reply(LocalReply {
        flag: fault.kind.flag(),
        ..LocalReply::text(fault.kind.status(), fault.kind.details(), text)
    });
    if fault.kind == FaultKind::ClientGone {
        reply.body = ReplyBody::Abort;
    }
    reply
}

fn local_reply<'a>(reply: LocalReply) -> Reply<'a> {
    let head = Box::new(ResponseHead {
        status: reply.status,
        reason: Bytes::new(),
        version: Version::Http11,
        fields: reply.fields,
    });
    Reply {
        head,
        body: ReplyBody::Local(reply.body),
        flag: reply.flag,
        details: reply.details,
        deadline: Deadline::NEVER,
        idle: None,
    }
}

fn abort<'a>() -> Reply<'a> {
    let reply = LocalReply {
        status: 0,
        details: "filter_abort",
        flag: "-",
        ..LocalReply::default()
    };
    Reply {
        body: ReplyBody::Abort,
        ..local_reply(reply)
    }
}
