//! A request to its cluster: the tries, and what separates them.

use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringway_config as config;
use ringway_protocols::message::{Framing, Version};

use super::affinity::Affinity;
use super::attempt::Way;
use super::attempts::Attempts;
use super::head;
use super::outgoing::Outgoing;
use super::{
    Cx, Interim, Reply, ReplyBody, SharedUpload, Trace, Upload, grpc, local_reply, mirror,
};
use crate::fault::{Fault, FaultKind};
use crate::request::{LocalReply, RequestCx};
use crate::route::{BadPath, Forward, Found};
use crate::time::Deadline;
use crate::view::Table;

/// The limit of a request whose route says nothing: what clients wait, and what other proxies have.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Sends the request to a cluster of the route, as often as its policy allows.
#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one request, each with a life of its own"
)]
pub(super) async fn forward<'a, 'c>(
    cx: &Cx<'c>,
    table: &Table,
    found: Found<'_>,
    forward: &Forward,
    request: &mut RequestCx,
    upload: &SharedUpload<'a>,
    interim: &mut dyn Interim,
    trace: &mut Trace<'c>,
) -> Result<Reply<'a>, Fault> {
    let config = &forward.config;
    if let Some(reply) = forbidden(cx, config, request) {
        return Ok(local_reply(reply));
    }
    let chosen = forward.clusters.choose(cx.local.rng.next());
    let Some(cluster) = table.clusters.get(chosen.index as usize) else {
        return Err(Fault::new(FaultKind::NoHost));
    };
    trace.cluster = Some(Rc::clone(cluster));
    let affinity = Affinity::of(config, &cluster.spec.config, request, &cx.local.rng);
    let framing = upload.borrow().framing();
    let wanted = head::wanted_timeout(&request.head, cx.intro);
    let rewritten = match prepare(cx, found, request) {
        Ok(rewritten) => rewritten,
        Err(bad) => {
            let reply = LocalReply::text(400, bad.details(), "the path cannot be served\n");
            return Ok(local_reply(reply));
        }
    };
    let request = &*request;
    let mut outgoing = outgoing(cx, forward, request, rewritten.as_ref(), framing);
    let limit = limit(wanted.or(config.timeout), request, &mut outgoing);
    let again = config.retry.retries > 0 || cluster.may_refuse();
    if framing != Framing::Empty {
        prepare_body(&mut upload.borrow_mut(), config, again, outgoing.call);
    }
    copy(cx, table, forward, request, &outgoing, upload);
    let group = cluster.group(Some(outgoing.authority), &request.peer)?;

    let deadline = Deadline::after_opt(limit).min(cx.deadline);
    let idle = idle(cx, config);
    let silence = idle.filter(|_| limit.is_none() && outgoing.call);
    let way = Way {
        cx,
        request: &outgoing,
        peer: &request.peer,
        upload,
        idle: config.retry.per_try_idle_timeout,
    };
    let whom = (cluster, group);
    let mut attempts = Attempts::new(&way, whom, config, &affinity, deadline, trace);
    let outcome = {
        let mut all = pin!(attempts.run(&way, interim));
        in_time(cx, deadline, silence, upload, all.as_mut()).await
    };
    let mut answer = match outcome {
        Ok(Ok(answer)) => answer,
        Ok(Err(fault)) if outgoing.call => return Err(grpc::in_its_time(fault, deadline)),
        Ok(Err(fault)) => return Err(fault),
        Err(why) => {
            cluster.stats.upstream_rq_timeout.inc();
            attempts.timed_out(silence.or_else(|| whole_time(cx, config, outgoing.call)));
            return Err(Fault::new(why));
        }
    };
    let last = attempts.last.as_deref();
    affinity.give(&cluster.spec.config, last, &mut answer.head.fields);
    trace.service_time = Some(answer.service_time);
    trace.response_duration = Some(request.started.elapsed());
    Ok(Reply {
        head: answer.head,
        body: ReplyBody::Upstream(answer.body),
        flag: "-",
        details: "via_upstream",
        deadline,
        idle,
    })
}

/// The limit of silence while the answer streams, or in a tunnel, which is no try any more.
fn idle(cx: &Cx<'_>, config: &config::Forward) -> Option<Duration> {
    let own = Some(config.idle_timeout).filter(|limit| !limit.is_zero());
    let of_try = config.retry.per_try_idle_timeout;
    let of_try = of_try.filter(|_| cx.upgrade.is_none());
    own.into_iter().chain(of_try).min()
}

/// What the operator allows a request: against it is held how long a host took, whatever its client wanted.
fn whole_time(cx: &Cx<'_>, config: &config::Forward, call: bool) -> Option<Duration> {
    allowed(config.timeout, call).or(cx.listener.spec.config.limits.request_timeout)
}

/// A limit as it is written, or not.
fn allowed(timeout: Option<Duration>, call: bool) -> Option<Duration> {
    match timeout {
        Some(own) => (!own.is_zero()).then_some(own),
        None => (!call).then_some(TIMEOUT),
    }
}

/// The answer to an upgrade that the route does not let through: without it a GET of HTTP/1 is one still, but a CONNECT (RFC 8441)
/// is nothing.
fn forbidden(cx: &Cx<'_>, config: &config::Forward, request: &RequestCx) -> Option<LocalReply> {
    let is_nothing = cx.upgrade.is_some() && request.head.version == Version::Http2;
    let text = "this route takes no upgrades\n";
    (is_nothing && !config.upgrade).then(|| LocalReply::text(501, "upgrade_forbidden", text))
}

/// Makes the request's head what the upstream is to see; says its target, if another than the client's.
fn prepare(
    cx: &Cx<'_>,
    found: Found<'_>,
    request: &mut RequestCx,
) -> Result<Option<Bytes>, BadPath> {
    if matches!(request.head.version, Version::Rpc(_)) {
        // What HTTP says between its hops means nothing to it, and it has no path to rewrite.
        found.route.request_headers.apply_request(request);
        return Ok(None);
    }
    let forwarded = &cx.listener.spec.config.forwarded;
    head::forward(&mut request.head, cx.intro, forwarded, &cx.local.rng);
    found.route.request_headers.apply_request(request);
    found.rewrite(&request.head.target)
}

/// Says how the body is to be read: kept for another try, and in its own time where it is a call's.
fn prepare_body(body: &mut Upload<'_>, config: &config::Forward, again: bool, call: bool) {
    if again {
        body.keep(usize::try_from(config.retry.buffer.0).unwrap_or(usize::MAX));
    }
    if call {
        body.take_time();
    }
}

fn outgoing<'r>(
    cx: &'r Cx<'_>,
    forward: &'r Forward,
    request: &'r RequestCx,
    rewritten: Option<&'r Bytes>,
    framing: Framing,
) -> Outgoing<'r> {
    let host = forward.host.as_ref();
    let mut outgoing = Outgoing::new(&request.head, rewritten, host, cx.intro.scheme, framing);
    outgoing.upgrade = cx.upgrade.as_deref().filter(|_| forward.config.upgrade);
    outgoing.te_trailers = cx.te_trailers;
    outgoing.rpc = request.rpc.as_ref();
    outgoing
}

/// How long the request may take from here on: the route's limit, or that of a client in its place (`timeout`), and of a call its
/// client's too, of which each try says what is left.
fn limit(
    timeout: Option<Duration>,
    request: &RequestCx,
    outgoing: &mut Outgoing<'_>,
) -> Option<Duration> {
    outgoing.call = grpc::is_call(&request.head);
    let own = allowed(timeout, outgoing.call);
    if let Some(call) = outgoing.rpc {
        let wanted = call.frame.timeout;
        let left = wanted.map(|wanted| wanted.saturating_sub(request.started.elapsed()));
        let limit = own.into_iter().chain(left).min();
        outgoing.expires = limit.and_then(|limit| Instant::now().checked_add(limit));
        return limit;
    }
    if !outgoing.call {
        return own;
    }
    // Calls end with trailers, whoever their client is.
    outgoing.te_trailers = true;
    let Some(wanted) = grpc::limit(&request.head) else {
        return own;
    };
    let left = wanted.saturating_sub(request.started.elapsed());
    let limit = own.map_or(left, |own| own.min(left));
    outgoing.expires = Instant::now().checked_add(limit);
    Some(limit)
}

/// What `work` comes to within a limit; and, where there is none, as long as something of the request still comes.
async fn in_time<T>(
    cx: &Cx<'_>,
    deadline: Deadline,
    silence: Option<Duration>,
    upload: &SharedUpload<'_>,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Result<T, FaultKind> {
    loop {
        let before = upload.borrow().received;
        let until = deadline.min(Deadline::after_opt(silence));
        match cx.timer.within(until, work.as_mut()).await {
            Ok(done) => return Ok(done),
            Err(_elapsed) if deadline.has_passed() => return Err(FaultKind::RequestTimeout),
            Err(_elapsed) if upload.borrow().received == before => {
                return Err(FaultKind::IdleTimeout);
            }
            Err(_elapsed) => {}
        }
    }
}

/// Starts the copy for a mirror, for its share of the requests.
fn copy(
    cx: &Cx<'_>,
    table: &Table,
    forward: &Forward,
    asked: &RequestCx,
    request: &Outgoing<'_>,
    upload: &SharedUpload<'_>,
) {
    let (Some(mirror), Some(target)) = (&forward.config.mirror, &forward.mirror) else {
        return;
    };
    if cx.local.rng.below(10_000) >= u64::from(mirror.share.basis_points()) {
        return;
    }
    let Some(cluster) = table.clusters.get(target.index as usize) else {
        return;
    };
    // A host that cannot be asked for is none to send a copy to.
    let Ok(group) = cluster.group(Some(request.authority), &asked.peer) else {
        return;
    };
    let (max, whom) = (mirror.max_in_flight, (group, &asked.peer));
    let feed = mirror::start(cluster, &cx.local.rng, max, whom, request);
    if let Some(feed) = feed {
        upload.borrow_mut().copy_to(feed);
    }
}
