//! HTTP/2 as the engine uses it, without a socket: the codec over bytes in memory, our scanners before it, our rules behind it, and what
//! a request becomes for an upstream of HTTP/1.1.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use ringway_protocols::http1::{self, HeadLimits, RequestParser, strip_hop_by_hop};
use ringway_protocols::http2::{Limits, Request};
use ringway_protocols::message::Framing;
use ringway_protocols::{FieldId, Fields};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Small enough for the fuzzer to reach.
pub const LIMITS: Limits = Limits {
    fields: 12,
    field: 120,
    cookies: 4,
    target: 120,
};

/// What a request is for an upstream of HTTP/1.1: one message, whose parser reads of it what our rules let through.
pub fn crosses(request: Request) {
    let Request {
        mut head,
        framing,
        upgrade,
        te_trailers,
        ..
    } = request;
    strip_hop_by_hop(&mut head.fields);
    let mut wire = BytesMut::new();
    http1::write_request_line(&mut wire, &head.method, &head.target);
    http1::write_field(&mut wire, b"host", &head.authority);
    head.fields.iter().for_each(|field| field.write(&mut wire));
    if framing == Framing::Chunked {
        wire.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    match &upgrade {
        Some(upgrade) => {
            wire.extend_from_slice(b"connection: upgrade\r\n");
            http1::write_field(&mut wire, b"upgrade", upgrade);
        }
        None if te_trailers => wire.extend_from_slice(b"connection: te\r\nte: trailers\r\n"),
        None => {}
    }
    http1::end_head(&mut wire);
    let text = wire.escape_ascii().to_string();
    let again = RequestParser::new()
        .parse(&mut wire, &HeadLimits::default())
        .unwrap_or_else(|rule| panic!("{rule:?}: {text}"))
        .unwrap_or_else(|| panic!("not whole: {text}"));
    assert!(wire.is_empty(), "something is left of {text}");
    assert_eq!(again.head.method, head.method, "{text}");
    assert_eq!(again.head.target, head.target, "{text}");
    assert_eq!(again.head.authority, head.authority, "{text}");
    let framing = match framing {
        Framing::Length(0) => Framing::Empty,
        framing => framing,
    };
    let read = match again.framing {
        Framing::Length(0) => Framing::Empty,
        framing => framing,
    };
    assert_eq!(read, framing, "{text}");
    assert_eq!(again.upgrade, upgrade, "{text}");
}

/// No trailer that our rules let through may say how long something is, or whose it is.
pub fn trailers(fields: &Fields) {
    for field in fields.iter() {
        assert!(!matches!(
            field.id,
            FieldId::ContentLength | FieldId::TransferEncoding | FieldId::Host
        ));
    }
}

/// Bytes in memory as a codec's connection, in portions; what it writes is counted and thrown away.
pub struct Memory<'m> {
    rest: &'m [u8],
    portion: usize,
    saw: Box<dyn FnMut(&[u8]) -> bool + 'm>,
    stopped: bool,
    /// Bytes written.
    pub written: usize,
}

impl<'m> Memory<'m> {
    /// Bytes that come so many at a time; `saw` sees them first, and may say that nothing more is to be read.
    pub fn new(bytes: &'m [u8], portion: usize, saw: impl FnMut(&[u8]) -> bool + 'm) -> Self {
        Self {
            rest: bytes,
            portion: portion.max(1),
            saw: Box::new(saw),
            stopped: false,
            written: 0,
        }
    }
}

impl AsyncRead for Memory<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let size = self.rest.len().min(self.portion).min(buf.remaining());
        let (now, rest) = self.rest.split_at(size);
        if !self.stopped && !(self.saw)(now) {
            self.stopped = true;
        }
        if self.stopped {
            return Poll::Pending;
        }
        self.rest = rest;
        buf.put_slice(now);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Memory<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written += bytes.len();
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
