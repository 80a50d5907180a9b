//! Bytes gathered for one send: a head, small parts of a body, chunk lines. A large part is not copied but sent behind them.

use bytes::{BufMut, Bytes, BytesMut};
use ringway_protocols::Fields;
use ringway_protocols::http1;

use crate::net::Writer;

/// Up to so many bytes a part is copied: a copy of that size is cheaper than a vector in a send.
const COPY_MAX: usize = 4 << 10;
/// With so many bytes gathered, more are not waited for: it is what fills a socket's first segments.
const FULL: usize = 16 << 10;

/// What is to be sent next.
pub(crate) struct Outbox {
    lead: BytesMut,
    chunked: bool,
}

impl Outbox {
    /// Begins with `lead`, a head; `chunked` frames what is added.
    pub(crate) fn new(lead: BytesMut, chunked: bool) -> Self {
        Self { lead, chunked }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lead.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.lead.len() >= FULL
    }

    /// Adds a part of the body. One that is too large to be copied comes back, to be sent with [`Self::send`].
    pub(crate) fn add(&mut self, part: Bytes) -> Option<Bytes> {
        if self.chunked {
            http1::write_chunk_header(&mut self.lead, part.len());
        }
        if part.len() > COPY_MAX {
            return Some(part);
        }
        self.lead.extend_from_slice(&part);
        self.end_chunk();
        None
    }

    /// Adds what ends the body.
    pub(crate) fn end(&mut self, trailers: Option<&Fields>) {
        if self.chunked {
            http1::write_trailers(&mut self.lead, trailers);
        }
    }

    fn end_chunk(&mut self) {
        if self.chunked {
            self.lead.put_slice(b"\r\n");
        }
    }

    /// Sends all, and `part` (which [`Self::add`] gave back) behind it. `moved` hears of what went.
    pub(crate) async fn send(
        &mut self,
        writer: &mut Writer,
        part: Option<Bytes>,
        moved: impl FnMut(usize),
    ) -> std::io::Result<()> {
        let lead = self.lead.split();
        let Some(part) = part else {
            return writer.write_all(lead, moved).await;
        };
        self.end_chunk();
        if lead.is_empty() {
            writer.write_all(part, moved).await
        } else {
            writer.write_both(lead, part, moved).await
        }
    }
}
