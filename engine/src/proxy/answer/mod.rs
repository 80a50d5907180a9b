//! An upstream's answer on its way back: its head, and a body that is pulled.

pub(super) mod http1;
pub(super) mod http2;

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use ringway_protocols::Fields;
use ringway_protocols::message::{Framing, ResponseHead};

use super::tunnel::FarEnd;
use crate::fault::Fault;

/// An answer whose head is here.
pub(crate) struct Answer<'a> {
    pub(crate) head: ResponseHead,
    pub(crate) body: AnswerBody<'a>,
    /// From sending the request to its head.
    pub(crate) service_time: Duration,
}

/// The body of an answer, by what its upstream speaks. Dropped before its end, the upstream sees that nobody wants the rest.
pub(crate) enum AnswerBody<'a> {
    Http1(http1::Body<'a>),
    Http2(http2::Body<'a>),
}

impl AnswerBody<'_> {
    pub(crate) fn framing(&self) -> Framing {
        match self {
            Self::Http1(body) => body.framing(),
            Self::Http2(body) => body.framing(),
        }
    }

    /// Goes on with sending the request, for as long as nobody pulls.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        match self {
            Self::Http1(body) => body.drive(cx),
            Self::Http2(body) => body.drive(cx),
        }
    }

    /// The next bytes; `None` at the end. Nothing is lost if it is left pending.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Fault>> {
        match self {
            Self::Http1(body) => body.poll_next(cx),
            Self::Http2(body) => body.poll_next(cx),
        }
    }

    /// [`Self::poll_next`], awaited.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The trailer fields, after the end.
    pub(crate) fn trailers(&self) -> Option<&Fields> {
        match self {
            Self::Http1(body) => body.trailers(),
            Self::Http2(body) => body.trailers(),
        }
    }

    /// Whether it is a 101.
    pub(crate) fn is_switch(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_switch(),
            Self::Http2(_) => false,
        }
    }

    /// The upstream's end of the tunnel, after a 101.
    pub(crate) fn into_far_end(self) -> Option<FarEnd> {
        match self {
            Self::Http1(body) => body.into_connection().map(FarEnd::Http1),
            Self::Http2(_) => None,
        }
    }

    /// Gives up what it holds of its upstream, when what was pulled has been sent and dropped.
    pub(crate) fn release(&mut self) {
        match self {
            Self::Http1(body) => body.release(),
            Self::Http2(body) => body.release(),
        }
    }
}
