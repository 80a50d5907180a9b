//! What a call of gRPC needs beyond any other request: its time, its status, and answers of the proxy's own that its client reads.

use std::time::Duration;

use ringway_protocols::Fields;
use ringway_protocols::message::{Framing, Method, RequestHead, Version};

use super::answer::Answer;
use super::{Reply, ReplyBody};
use crate::fault::{Fault, FaultKind};
use crate::grpc::{self, MESSAGE, STATUS, Status, TIMEOUT};
use crate::time::Deadline;

/// Whether a request is a call. One of another RPC protocol is none, whatever a header of it says.
pub(crate) fn is_call(head: &RequestHead) -> bool {
    let is_http = !matches!(head.version, Version::Rpc(_));
    is_http && head.method == Method::Post && grpc::is_grpc(&head.fields)
}

/// The client's limit. One that cannot be read goes on as it is: the upstream refuses it.
pub(super) fn limit(head: &RequestHead) -> Option<Duration> {
    grpc::timeout(head.fields.get(TIMEOUT.as_bytes())?)
}

/// The status of an answer that has nothing but a head: the one thing that can be tried again, since the client has seen nothing.
pub(super) fn at_once(answer: &Answer<'_>) -> Option<Status> {
    (answer.body.framing() == Framing::Empty)
        .then(|| Status::of_fields(&answer.head.fields))
        .flatten()
}

/// Makes an answer of the proxy's own one of gRPC: a head with the status, and nothing else.
pub(super) fn speak(reply: &mut Reply<'_>, status: Status) {
    let ReplyBody::Local(body) = &mut reply.body else {
        return;
    };
    let fields = &mut reply.head.fields;
    if fields.get(STATUS.as_bytes()).is_some() {
        return;
    }
    let text = String::from_utf8_lossy(&std::mem::take(body)).into_owned();
    fields.remove(b"content-length");
    fields.set("content-type", "application/grpc");
    say(fields, status, text.trim_end());
    reply.head.status = 200;
    reply.head.reason.clear();
}

/// With so little left of its time a call is over: whose news of that comes first is chance.
const ALL_BUT_OVER: Duration = Duration::from_millis(10);

/// What cut a call off. An upstream that was told its limit ends the call at that too (grpc-go resets the stream), and then the client
/// is to hear that its time is over, as it would from the proxy's own clock.
pub(crate) fn in_its_time(fault: Fault, deadline: Deadline) -> Fault {
    let cut = matches!(fault.kind, FaultKind::Reset | FaultKind::Truncated);
    let over = || deadline.remaining().is_some_and(|left| left < ALL_BUT_OVER);
    if cut && over() {
        return Fault::new(FaultKind::RequestTimeout).because(fault);
    }
    fault
}

/// The trailers that end an answer which a fault cut off.
pub(crate) fn trailers(fault: &Fault) -> Fields {
    let mut fields = Fields::new();
    say(
        &mut fields,
        Status::of_fault(fault.kind),
        fault.kind.details(),
    );
    fields
}

fn say(fields: &mut Fields, status: Status, text: &str) {
    fields.push(STATUS, status.code().to_string());
    if !text.is_empty() {
        fields.push(MESSAGE, grpc::message(text));
    }
}

/// How a call ended, after its answer was sent; `fault`: why it was cut off.
pub(crate) fn ended(reply: &Reply<'_>, fault: Option<&Fault>) -> Status {
    if let Some(fault) = fault {
        return Status::of_fault(fault.kind);
    }
    let trailers = match &reply.body {
        ReplyBody::Upstream(answer) => answer.sent_trailers().and_then(Status::of_fields),
        ReplyBody::Local(_) | ReplyBody::Abort => None,
    };
    trailers
        .or_else(|| Status::of_fields(&reply.head.fields))
        .unwrap_or_else(|| Status::of_http(reply.head.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cuts_a_call_off_at_its_end_was_out_of_time() {
        let cut = |kind, deadline| in_its_time(Fault::new(kind), deadline).kind;
        let (over, far) = (
            Deadline::after(Duration::ZERO),
            Deadline::after(Duration::from_secs(3600)),
        );
        assert_eq!(cut(FaultKind::Reset, over), FaultKind::RequestTimeout);
        assert_eq!(cut(FaultKind::Truncated, over), FaultKind::RequestTimeout);
        assert_eq!(cut(FaultKind::Reset, far), FaultKind::Reset);
        assert_eq!(cut(FaultKind::Reset, Deadline::NEVER), FaultKind::Reset);
        assert_eq!(cut(FaultKind::ClientGone, over), FaultKind::ClientGone);
    }
}
