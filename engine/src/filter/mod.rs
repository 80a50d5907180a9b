//! The extension point: a filter sees a request's head before it goes on and an answer's head before it goes back.
//!
//! Cheap filters answer at once; only one that has to wait allocates a future.

use std::future::Future;
use std::pin::Pin;

use ringway_protocols::message::ResponseHead;

use crate::request::{LocalReply, Outcome, RequestCx};

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
    /// The answer's head is whole; filters run in reverse order.
    fn on_response<'a>(
        &'a mut self,
        request: &'a RequestCx,
        response: &'a mut ResponseHead,
    ) -> Step<'a> {
        let _ = (request, response);
        Step::Now(Flow::Continue)
    }
    /// It is over.
    fn on_end(&mut self, request: &RequestCx, outcome: &Outcome) {
        let _ = (request, outcome);
    }
}

/// A filter's configuration, parsed once per snapshot, started per request.
pub trait FilterSpec: Send + Sync {
    /// A filter for one request.
    fn start(&self) -> Box<dyn Filter>;
}
