//! The answer to a call: a frame, whole from the start.

use bytes::Bytes;
use ringway_protocols::codec::Frame;
use ringway_protocols::message::Framing;

use crate::cluster::Active;

/// The frame; none of a call that gets no answer, or once it was taken.
pub(crate) struct Body {
    frame: Option<Frame>,
    /// Counts the try as in flight until the frame is taken.
    _active: Active,
}

impl Body {
    pub(in crate::proxy) fn new(frame: Option<Frame>, active: Active) -> Self {
        Self {
            frame,
            _active: active,
        }
    }

    pub(super) fn framing(&self) -> Framing {
        let frame = self.frame.as_ref();
        frame.map_or(Framing::Empty, |frame| {
            Framing::Length(frame.bytes.len() as u64)
        })
    }

    /// Its bytes, for whoever takes it for a body.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        self.frame.take().map(|frame| frame.bytes)
    }

    /// The frame, left where it is.
    pub(super) fn frame(&self) -> Option<&Frame> {
        self.frame.as_ref()
    }

    /// The frame.
    pub(super) fn into_frame(self) -> Option<Frame> {
        self.frame
    }
}
