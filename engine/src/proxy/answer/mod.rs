//! An upstream's answer on its way back: its head, and a body that is pulled.

pub(super) mod http1;
pub(super) mod http2;
pub(super) mod rpc;

use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use ringway_protocols::Fields;
use ringway_protocols::codec::Frame;
use ringway_protocols::message::{Framing, ResponseHead};

use super::tunnel::FarEnd;
use crate::fault::{Fault, FaultKind};
use crate::filter::{BadBody, Transforms};

/// An answer whose head is here.
pub(crate) struct Answer<'a> {
    pub(crate) head: Box<ResponseHead>,
    pub(crate) body: Box<AnswerBody<'a>>,
    /// From sending the request to its head.
    pub(crate) service_time: Duration,
}

/// The body of an answer, as filters make it. Dropped before its end, the upstream sees that nobody wants the rest.
pub(crate) struct AnswerBody<'a> {
    source: Source<'a>,
    /// What filters do to it.
    transforms: Option<Box<Transforms>>,
}

/// A body by what its upstream speaks.
pub(crate) enum Source<'a> {
    Http1(http1::Body<'a>),
    Http2(http2::Body<'a>),
    Rpc(rpc::Body),
}

impl<'a> From<Source<'a>> for Box<AnswerBody<'a>> {
    fn from(source: Source<'a>) -> Self {
        Box::new(AnswerBody {
            source,
            transforms: None,
        })
    }
}

impl AnswerBody<'_> {
    /// Passes what comes through these. A body that has none stays as it is.
    pub(crate) fn transform(&mut self, transforms: Box<Transforms>) {
        if self.framing() != Framing::Empty {
            self.transforms = Some(transforms);
        }
    }

    pub(crate) fn framing(&self) -> Framing {
        match self.transforms {
            None => self.source.framing(),
            Some(_) => Framing::Chunked,
        }
    }

    /// Goes on with sending the request, for as long as nobody pulls.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        self.source.drive(cx)
    }

    /// The next bytes; `None` at the end. Nothing is lost if it is left pending.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Fault>> {
        let Some(transforms) = &mut self.transforms else {
            return self.source.poll_next(cx);
        };
        let bad = |BadBody(why)| Fault::new(FaultKind::BodyProtocol).because(why);
        loop {
            if let Some(bytes) = transforms.pop() {
                return Poll::Ready(Ok(Some(bytes)));
            }
            if transforms.has_ended() {
                return Poll::Ready(Ok(None));
            }
            match ready!(self.source.poll_next(cx))? {
                Some(bytes) => transforms.push(bytes).map_err(bad)?,
                None => transforms
                    .end(self.source.trailers().cloned())
                    .map_err(bad)?,
            }
        }
    }

    /// [`Self::poll_next`], awaited.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The trailer fields, after the end.
    pub(crate) fn trailers(&self) -> Option<&Fields> {
        match &self.transforms {
            None => self.source.trailers(),
            Some(transforms) => transforms.trailers(),
        }
    }

    /// The same as the upstream sent them.
    pub(crate) fn sent_trailers(&self) -> Option<&Fields> {
        self.source.trailers()
    }

    /// Whether it is a 101.
    pub(crate) fn is_switch(&self) -> bool {
        self.source.is_switch()
    }

    /// The upstream's end of the tunnel, after a 101.
    pub(crate) fn into_far_end(self) -> Option<FarEnd> {
        self.source.into_far_end()
    }

    /// The same, left where it is.
    pub(crate) fn frame(&self) -> Option<&Frame> {
        match &self.source {
            Source::Http1(_) | Source::Http2(_) => None,
            Source::Rpc(body) => body.frame(),
        }
    }

    /// The frame that answers a call; none of a call that gets no answer.
    pub(crate) fn into_frame(self) -> Option<Frame> {
        match self.source {
            Source::Http1(_) | Source::Http2(_) => None,
            Source::Rpc(body) => body.into_frame(),
        }
    }

    /// Gives up what it holds of its upstream, when what was pulled has been sent and dropped.
    pub(crate) fn release(&mut self) {
        self.source.release();
    }
}

impl Source<'_> {
    fn framing(&self) -> Framing {
        match self {
            Self::Http1(body) => body.framing(),
            Self::Http2(body) => body.framing(),
            Self::Rpc(body) => body.framing(),
        }
    }

    fn drive(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        match self {
            Self::Http1(body) => body.drive(cx),
            Self::Http2(body) => body.drive(cx),
            Self::Rpc(_) => Ok(()),
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Fault>> {
        match self {
            Self::Http1(body) => body.poll_next(cx),
            Self::Http2(body) => body.poll_next(cx),
            Self::Rpc(body) => Poll::Ready(Ok(body.take())),
        }
    }

    fn trailers(&self) -> Option<&Fields> {
        match self {
            Self::Http1(body) => body.trailers(),
            Self::Http2(body) => body.trailers(),
            Self::Rpc(_) => None,
        }
    }

    fn is_switch(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_switch(),
            Self::Http2(body) => body.is_switch(),
            Self::Rpc(_) => false,
        }
    }

    fn into_far_end(self) -> Option<FarEnd> {
        match self {
            Self::Http1(body) => body.into_connection().map(FarEnd::Http1),
            Self::Http2(body) => {
                let (receiving, sender) = body.into_stream()?;
                Some(FarEnd::Http2(receiving, sender))
            }
            Self::Rpc(_) => None,
        }
    }

    fn release(&mut self) {
        match self {
            Self::Http1(body) => body.release(),
            Self::Http2(body) => body.release(),
            Self::Rpc(_) => {}
        }
    }
}
