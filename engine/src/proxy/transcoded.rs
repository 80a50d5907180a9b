//! A request of HTTP of which a filter makes a call of an RPC protocol: its body is taken whole, and the frame that answers is made an
//! answer of HTTP again before anybody else sees it.

use bytes::Bytes;

use super::{Cx, Interim, Reply, ReplyBody, SharedUpload, Trace, abort, local_reply, upload};
use crate::fault::{Fault, FaultKind};
use crate::filter::{Answered, Flow};
use crate::observe::RpcEnd;
use crate::request::RequestCx;
use crate::view::Held;

/// Has a filter make a call of the whole body, or answer: that it cannot, say.
pub(super) async fn call<'a, 'c>(
    cx: &Cx<'c>,
    request: &mut RequestCx,
    upload: &SharedUpload<'a>,
    interim: &mut dyn Interim,
    trace: &mut Trace<'c>,
) -> Result<Option<Reply<'a>>, Fault> {
    let Some((running, limit)) = trace.filters.as_mut().and_then(|running| {
        let limit = running.wants_body()?;
        Some((running, limit))
    }) else {
        return Ok(None);
    };
    let held = trace.held.insert(Held::new(&cx.local.rpc_budget));
    let body = body(cx, upload, limit, interim, held).await?;
    match running.on_body(request, &body) {
        Flow::Continue => {}
        Flow::Respond(reply) => {
            cx.listener.stats.transcode_bad_request.inc();
            return Ok(Some(local_reply(reply)));
        }
        Flow::Abort => return Ok(Some(abort())),
    }
    let call = request.rpc.as_ref();
    held.become_of(call.map_or(0, |call| call.frame.bytes.len() as u64));
    Ok(None)
}

/// The whole body, which goes no further as it is.
async fn body(
    cx: &Cx<'_>,
    upload: &SharedUpload<'_>,
    limit: u64,
    interim: &mut dyn Interim,
    held: &mut Held<'_>,
) -> Result<Bytes, Fault> {
    let memory = cx.listener.spec.config.rpc.memory.0;
    let taken = async {
        if upload.borrow().is_longer(limit) {
            return Err(Fault::new(FaultKind::BodyTooLarge));
        }
        interim.proceed().await?;
        upload::withhold(upload, limit, |bytes| {
            let fits = held.grow(bytes as u64, memory);
            if !fits {
                cx.listener.stats.limit_rpc_memory.inc();
            }
            fits
        })
        .await
    };
    let taken = match cx.timer.within(cx.deadline, taken).await {
        Ok(taken) => taken,
        Err(_elapsed) => Err(Fault::new(FaultKind::RequestTimeout)),
    };
    if let Err(fault) = &taken
        && fault.kind == FaultKind::BodyTooLarge
        && !upload.borrow().has_failed()
    {
        cx.listener.stats.limit_whole_body.inc();
    }
    taken
}

/// Counts a call that a filter made, as those are that come as frames.
pub(super) fn count(request: &RequestCx, trace: &Trace<'_>, reply: Option<&Reply<'_>>) {
    let (Some(call), Some(cluster)) = (&request.rpc, &trace.cluster) else {
        return;
    };
    let (Some(_), Some(calls)) = (&call.carried, &cluster.rpc_calls) else {
        return;
    };
    let answer = reply.and_then(|reply| match &reply.body {
        ReplyBody::Upstream(answer) => answer.frame(),
        ReplyBody::Local(_) | ReplyBody::Abort => None,
    });
    let end = answer.map_or(RpcEnd::Refused, |frame| frame.verdict.into());
    let path = [b"/", call.frame.service(), b"/", call.frame.method()].concat();
    calls.count(&path, end, request.started.elapsed());
}

/// The answer in HTTP's words, if it is a frame and a filter made the call.
pub(super) fn in_http<'a>(reply: Reply<'a>, cx: &Cx<'_>, trace: &mut Trace<'_>) -> Reply<'a> {
    let made = match (&reply.body, &mut trace.filters) {
        (ReplyBody::Upstream(answer), Some(filters)) => {
            answer.frame().and_then(|frame| filters.on_answer(frame))
        }
        _ => None,
    };
    let made = match made {
        None => return reply,
        Some(Answered::Told(made)) => made,
        Some(Answered::Unfit(made)) => {
            cx.listener.stats.transcode_bad_answer.inc();
            made
        }
    };
    if let Some(held) = &mut trace.held {
        held.become_of(made.body.len() as u64);
    }
    let mut instead = local_reply(made);
    for field in reply.head.fields.iter() {
        // What was said of the frame is said; a cookie that keeps the client at its host is still to be given.
        if !field.name.starts_with(b":") {
            instead.head.fields.push(
                Bytes::copy_from_slice(field.name),
                Bytes::copy_from_slice(field.value),
            );
        }
    }
    instead
}
