//! What a page says: whole, or in parts that are made as the client takes them.
//!
//! The numbers of a large configuration are megabytes. They are made a part at a time, so that control does other things in between,
//! and a client that reads nothing holds one part.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// See above.
pub(super) enum Content {
    /// All of it; empty once it has been taken.
    Whole(Bytes),
    /// Parts to be made.
    Parts {
        /// What makes them.
        parts: Box<dyn Iterator<Item = String>>,
        /// One was made just now: others come first.
        gives_way: bool,
    },
}

impl Content {
    /// Made as it is taken.
    pub(super) fn parts(parts: impl Iterator<Item = String> + 'static) -> Self {
        Self::Parts {
            parts: Box::new(parts),
            gives_way: false,
        }
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Whole(text.into())
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(text) => text.fmt(f),
            Self::Parts { .. } => f.write_str("parts"),
        }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(text) if text.is_empty() => Poll::Ready(None),
            Self::Whole(text) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(text))))),
            Self::Parts { parts, gives_way } => {
                if std::mem::take(gives_way) {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                *gives_way = true;
                let part = parts.next();
                Poll::Ready(part.map(|part| Ok(Frame::data(Bytes::from(part)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(text) if text.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(text) => SizeHint::with_exact(text.len() as u64),
            Self::Parts { .. } => SizeHint::default(),
        }
    }
}
