//! The extension point: a filter sees a request's head before it goes on and an answer's head before it goes back, and may change
//! their bodies as they stream.
//!
//! Cheap filters answer at once; only one that has to wait allocates a future. A running filter borrows its spec, so that
//! a request costs no count of references that cores would share.

mod body;
mod chain;
mod fault;
mod grpc_web;
mod headers;
mod ip_access;
mod registry;
mod transcode;

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use ringway_protocols::codec::Frame;
use ringway_protocols::message::ResponseHead;

use crate::request::{LocalReply, Outcome, RequestCx};
use crate::rng::Rng;

pub use body::{BadBody, Transform, Transforms};
pub use chain::{Chain, Running};
pub use registry::{Parsed, Registry};

/// What happens next.
#[derive(Debug)]
pub enum Flow {
    /// The next filter, then the route.
    Continue,
    /// This answer; the request goes no further. From `on_response` it replaces the upstream's answer.
    Respond(LocalReply),
    /// The connection is closed without an answer.
    Abort,
}

/// What a filter makes of the frame that answers its call.
#[derive(Debug)]
pub enum Answered {
    /// What the frame says, in HTTP's words.
    Told(LocalReply),
    /// That it says nothing which HTTP could.
    Unfit(LocalReply),
}

/// A filter's word, now or later.
pub enum Step<'a> {
    /// At once.
    Now(Flow),
    /// When the future ends.
    Later(Pin<Box<dyn Future<Output = Flow> + 'a>>),
}

/// One filter of one request.
pub trait Filter {
    /// The request's head is whole and its route is chosen.
    fn on_request<'a>(&'a mut self, request: &'a mut RequestCx) -> Step<'a> {
        let _ = request;
        Step::Now(Flow::Continue)
    }
    /// How many bytes of the request's body it wants to see, whole, before the request goes on; none: it streams past. Asked once,
    /// after all filters have let the request go on.
    fn wants_body(&self) -> Option<u64> {
        None
    }
    /// The whole body, as the filters' transforms have made it. It goes no further: what the filter makes of it (`RequestCx::rpc`) does.
    fn on_body(&mut self, request: &mut RequestCx, body: Bytes) -> Flow {
        let _ = (request, body);
        Flow::Continue
    }
    /// The frame that answers the call which it made of the request, in HTTP's words. Comes before `on_response`.
    fn on_answer(&mut self, answer: &Frame) -> Option<Answered> {
        let _ = answer;
        None
    }
    /// The answer's head is whole; filters run in reverse order.
    fn on_response<'a>(
        &'a mut self,
        request: &'a RequestCx,
        response: &'a mut ResponseHead,
    ) -> Step<'a> {
        let _ = (request, response);
        Step::Now(Flow::Continue)
    }
    /// What changes the request's body on its way, if anything does: asked once, after `on_request` has let the request go on.
    /// `Content-Length` is taken off what is changed.
    fn request_body(&mut self) -> Option<Box<dyn Transform>> {
        None
    }
    /// The same of the answer's body, after `on_response`; in reverse order as well.
    fn response_body(&mut self) -> Option<Box<dyn Transform>> {
        None
    }
    /// It is over.
    fn on_end(&mut self, request: &RequestCx, outcome: &Outcome) {
        let _ = (request, outcome);
    }
}

/// A filter's configuration, parsed once per snapshot, started per request.
pub trait FilterSpec: Send + Sync {
    /// A filter for one request; what it leaves to chance it draws from the core's generator.
    fn start<'a>(&'a self, rng: &'a Rng) -> Box<dyn Filter + 'a>;

    /// The protocol of the calls that it makes of HTTP's requests, if it does: its route leads to clusters that speak it.
    fn calls(&self) -> Option<&'static str> {
        None
    }
}

#[cfg(test)]
mod testing {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use super::*;
    use ringway_protocols::Fields;
    use ringway_protocols::message::Version;

    /// The output of a future that has nothing to wait for.
    pub(super) fn finish<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("a future waits for nothing"),
        }
    }

    pub(super) fn response(status: u16) -> ResponseHead {
        ResponseHead {
            status,
            reason: bytes::Bytes::new(),
            version: Version::Http11,
            fields: Fields::new(),
        }
    }

    pub(super) fn outcome(status: u16) -> Outcome {
        Outcome {
            status,
            flag: "-",
            details: "via_upstream",
            bytes_received: 0,
            bytes_sent: 0,
            duration: Duration::ZERO,
            response_duration: None,
            upstream_service_time: None,
            cluster: None,
            upstream_host: None,
            transport_failure: None,
            attempts: 1,
            grpc_status: None,
        }
    }
}
