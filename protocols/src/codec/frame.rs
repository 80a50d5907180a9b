//! A frame: the bytes it came in, and what a codec says of them. Parts are spans of the bytes, so that nothing is copied to be looked at.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use super::DecodeError;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A call that waits for an answer.
    Request,
    /// A call that gets none, whatever happens.
    OneWay,
    /// The answer to a request.
    Response,
    /// Asks whether the other end lives. Never passed on.
    Ping,
    /// The answer to a ping. Never passed on.
    Pong,
    /// The other end takes no more requests on this connection.
    GoAway,
    /// It takes them again.
    Resume,
    /// A message to the client that no request asked for.
    Push,
    /// A word between the two ends of a connection that asks for nothing.
    Notice,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Well, or it is no answer.
    #[default]
    Good,
    /// The service said no: an exception of the application's. The host is as healthy as with any answer.
    Exception,
    /// The server could not do it: busy, no such service, timed out, broken.
    Failed,
}

/// A part of a frame's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// From `start` to before `end`; none if that is no span of four-byte numbers.
    pub fn new(start: usize, end: usize) -> Option<Self> {
        let (start, end) = (u32::try_from(start).ok()?, u32::try_from(end).ok()?);
        (start <= end).then_some(Self { start, end })
    }

    /// Where it begins.
    pub fn start(self) -> usize {
        self.start as usize
    }

    /// Where it ends: the first byte that is no more of it.
    pub fn end(self) -> usize {
        self.end as usize
    }

    /// Both.
    pub fn range(self) -> Range<usize> {
        self.start()..self.end()
    }

    /// How many bytes.
    pub fn len(self) -> usize {
        self.range().len()
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The bytes; none where it does not lie in them.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.range()).unwrap_or_default()
    }

    /// As [`Fields`](crate::Fields) want it: offset and length.
    pub fn place(self) -> (u32, u32) {
        (self.start, self.end - self.start)
    }
}

/// What a request calls, as parts of its bytes; empty where the protocol or the request does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The service, as the protocol names it.
    pub service: Span,
    /// The method.
    pub method: Span,
    /// The service's version.
    pub version: Span,
    /// The service's group.
    pub group: Span,
}

/// A frame: the bytes it came in, and what they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// The id it goes out with. Protocols without ids: 0.
    pub id: u64,
    /// All of it, as it came.
    pub bytes: Bytes,
    /// Of requests: what is called.
    pub call: Call,
    /// Of requests: how long the client waits, where it says so.
    pub timeout: Option<Duration>,
    /// Of answers: how it ended.
    pub verdict: Verdict,
    /// Of answers: the protocol's own code for that.
    pub code: i32,
    /// What an upstream connection pins with its first frame: frames that differ in it never share a connection.
    pub pin: u64,
    /// Why it cannot be used, though the stream goes on behind it: it is answered (see [`Why::Malformed`](super::Why::Malformed)) and not passed on.
    pub broken: Option<DecodeError>,
    /// Four numbers of the codec's own: where its parts lie, its flags.
    pub notes: [u32; 4],
}

impl Frame {
    /// A frame of that kind, which says nothing yet but its id.
    pub fn new(kind: Kind, id: u64, bytes: Bytes) -> Self {
        Self {
            kind,
            id,
            bytes,
            call: Call::default(),
            timeout: None,
            verdict: Verdict::Good,
            code: 0,
            pin: 0,
            broken: None,
            notes: [0; 4],
        }
    }

    /// The service that is called; empty if unknown.
    pub fn service(&self) -> &[u8] {
        self.call.service.of(&self.bytes)
    }

    /// The method that is called; empty if unknown.
    pub fn method(&self) -> &[u8] {
        self.call.method.of(&self.bytes)
    }

    /// The version of the service; empty if unknown.
    pub fn version(&self) -> &[u8] {
        self.call.version.of(&self.bytes)
    }

    /// The group of the service; empty if unknown.
    pub fn group(&self) -> &[u8] {
        self.call.group.of(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_beyond_the_bytes_is_empty() {
        let span = Span::new(2, 5).unwrap();
        assert_eq!(span.of(b"abcde"), b"cde");
        assert_eq!(span.of(b"abcd"), b"");
        assert_eq!((span.len(), span.place()), (3, (2, 3)));
        assert_eq!(Span::new(3, 2), None);
        assert_eq!(Span::new(0, usize::MAX), None);
    }

    #[test]
    fn a_frame_is_small() {
        assert!(size_of::<Frame>() <= 152, "{}", size_of::<Frame>());
    }
}
