//! One call: handed to `proxy` as a request, and its answer, or one of the proxy's own, given back under the client's id.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use ringway_protocols::Fields;
use ringway_protocols::codec::{Frame, Refusal, Why};
use ringway_protocols::message::{Framing, Method, RequestHead, Version};

use super::shared::Shared;
use crate::fault::Fault;
use crate::observe::RpcEnd;
use crate::proxy::{
    Cx, NoInterim, Reply, ReplyBody, RequestBody, SharedUpload, Trace, Upload, proxy,
};
use crate::request::{RPC_GROUP, RPC_METHOD, RPC_SERVICE, RPC_VERSION, RpcCall};
use crate::serve::http1::{Done, End, request_cx};
use crate::serve::respond::Sent;
use crate::serve::{Client, outcome};
use crate::time::Deadline;

/// Serves a call to its end.
#[inline(always)]
pub(super) async fn serve(client: Client, shared: Rc<Shared>, frame: Frame) {
    let listener = &*client.listener;
    let _active = outcome::Active::new(listener);
    let call = Rc::new(RpcCall {
        codec: shared.codec.clone(),
        frame,
        tie: Rc::clone(&shared.tie),
        carried: None,
    });
    let frame = &call.frame;
    let mut cx = request_cx(&client, head(&shared, frame));
    cx.rpc = Some(Rc::clone(&call));
    let mut trace = Trace::default();
    let limits = &listener.spec.config.limits;
    let theirs = Deadline::after_opt(frame.timeout);
    let around = Cx {
        local: &client.local,
        listener,
        chain: client.chain,
        intro: &client.intro,
        timer: &client.timer,
        upgrade: None,
        te_trailers: false,
        expects_continue: false,
        deadline: theirs.min(Deadline::after_opt(limits.request_timeout)),
    };
    let mut body = NoBody;
    let upload: SharedUpload<'_> = Rc::new(RefCell::new(Upload::new(&mut body)));
    let reply = pin!(proxy(&around, &mut cx, &upload, &mut NoInterim, &mut trace)).await;
    let done = answer(&shared, frame, reply);
    listener.stats.bytes_received.add(done.sent.received);
    listener.stats.bytes_sent.add(done.sent.sent);
    outcome::end(&client, &cx, &mut trace, &done);
}

/// Gives the answer back.
fn answer(shared: &Shared, call: &Frame, reply: Reply<'_>) -> Done {
    let Reply {
        mut head,
        body,
        flag,
        details,
        ..
    } = reply;
    let (sent, end) = match body {
        ReplyBody::Upstream(body) => match body.into_frame() {
            Some(mut frame) => {
                frame.id = call.id;
                shared.send(&frame);
                (frame.bytes.len() as u64, frame.verdict.into())
            }
            // A call that gets no answer.
            None => (0, RpcEnd::Good),
        },
        ReplyBody::Local(text) => {
            let text = std::str::from_utf8(&text).unwrap_or_default().trim_end();
            let text = if text.is_empty() { details } else { text };
            let why = why(flag, head.status);
            let sent = shared.refuse(call, &Refusal { why, text });
            (sent, RpcEnd::Refused)
        }
        ReplyBody::Abort => {
            shared.cut();
            head.status = 0;
            (0, RpcEnd::Refused)
        }
    };
    Done {
        sent: Sent {
            end: End::Close,
            sent,
            received: call.bytes.len() as u64,
            status: head.status,
            fault: None,
        },
        head,
        flag,
        details,
        idle: None,
        upstream: None,
        grpc_status: None,
        rpc: Some(end),
    }
}

/// What an answer of the proxy's own means, by its response flag, or, where a filter or a route made it, by its status.
fn why(flag: &str, status: u16) -> Why {
    match (flag, status) {
        ("NR", _) => Why::NoRoute,
        ("UH", _) => Why::NoHost,
        ("UF", _) => Why::Unreachable,
        ("UC", _) => Why::Reset,
        ("UPE", _) => Why::BadAnswer,
        ("UT" | "SI", _) => Why::Timeout,
        ("UO", _) => Why::Overloaded,
        (_, 400 | 413 | 431) => Why::Malformed,
        (_, 401 | 403) => Why::Denied,
        (_, 404) => Why::NoRoute,
        (_, 408 | 504) => Why::Timeout,
        (_, 429 | 503) => Why::Overloaded,
        (_, 502) => Why::Reset,
        _ => Why::Internal,
    }
}

/// A call as a request: `/service/method`, its headers, and what is called as fields that no header can have the name of.
fn head(shared: &Shared, frame: &Frame) -> RequestHead {
    let mut fields = shared.headers(frame);
    fields.retain(|field| !field.name.starts_with(b":"));
    for (name, part) in [
        (RPC_SERVICE, frame.call.service),
        (RPC_METHOD, frame.call.method),
        (RPC_VERSION, frame.call.version),
        (RPC_GROUP, frame.call.group),
    ] {
        if !part.is_empty() {
            fields.push(name, frame.bytes.slice(part.range()));
        }
    }
    let mut target = Vec::with_capacity(frame.service().len() + frame.method().len() + 2);
    for part in [frame.service(), frame.method()] {
        target.push(b'/');
        push_segment(part, &mut target);
    }
    RequestHead {
        method: Method::Post,
        target: target.into(),
        authority: Bytes::new(),
        version: Version::Rpc(shared.codec.name()),
        fields,
    }
}

/// A segment of a path: what would end it, or is no letter, as `%XX`.
fn push_segment(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text {
        if byte.is_ascii_graphic() && !matches!(byte, b'/' | b'?' | b'#' | b'%' | b'\\') {
            out.push(*byte);
        } else {
            let digit = |half: u8| HEX.get(usize::from(half)).copied().unwrap_or(b'0');
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 0x0f)]);
        }
    }
}

/// A call has no body beside its frame.
struct NoBody;

impl RequestBody for NoBody {
    fn framing(&self) -> Framing {
        Framing::Empty
    }

    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Fault>> {
        Poll::Ready(Ok(None))
    }

    fn trailers(&mut self) -> Option<Fields> {
        None
    }

    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_cannot_break_out_of_a_path() {
        for (text, expect) in [
            (&b"com.test.Echo:1.0"[..], "com.test.Echo:1.0"),
            (b"a/b?c#d%e\\f", "a%2Fb%3Fc%23d%25e%5Cf"),
            (b"\n \xc3\xbc", "%0A%20%C3%BC"),
        ] {
            let mut out = Vec::new();
            push_segment(text, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expect);
        }
    }

    #[test]
    fn every_flag_of_a_fault_says_why() {
        for (flag, status, expect) in [
            ("NR", 404, Why::NoRoute),
            ("UH", 503, Why::NoHost),
            ("UF", 503, Why::Unreachable),
            ("UC", 502, Why::Reset),
            ("UPE", 502, Why::BadAnswer),
            ("UT", 504, Why::Timeout),
            ("UO", 503, Why::Overloaded),
            ("-", 403, Why::Denied),
            ("-", 200, Why::Internal),
        ] {
            assert_eq!(why(flag, status), expect);
        }
    }
}
