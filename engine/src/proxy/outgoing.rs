//! A request as it goes to an upstream: plain values, which each protocol of upstreams renders in its own way.

use std::cell::OnceCell;

use bytes::{BufMut, Bytes, BytesMut};
use ringway_protocols::Fields;
use ringway_protocols::http1;
use ringway_protocols::message::{Framing, Method, RequestHead, Version};

/// A request's head after routing and filters, the same in all its tries.
pub(crate) struct Outgoing<'r> {
    pub(crate) method: &'r Method,
    pub(crate) target: &'r Bytes,
    pub(crate) authority: &'r Bytes,
    /// The client's.
    pub(crate) version: Version,
    /// Without what concerns one connection only.
    pub(crate) fields: &'r Fields,
    pub(crate) framing: Framing,
    /// To what the client wants to upgrade, where the route lets it.
    pub(crate) upgrade: Option<&'r [u8]>,
    /// The client takes trailers.
    pub(crate) te_trailers: bool,
    /// The head for HTTP/1 upstreams, once one was asked for.
    http1: OnceCell<Bytes>,
}

impl<'r> Outgoing<'r> {
    /// The request of that head, to another target or authority than its own if there is one.
    pub(crate) fn new(
        head: &'r RequestHead,
        target: Option<&'r Bytes>,
        authority: Option<&'r Bytes>,
        framing: Framing,
    ) -> Self {
        Self {
            method: &head.method,
            target: target.unwrap_or(&head.target),
            authority: authority.unwrap_or(&head.authority),
            version: head.version,
            fields: &head.fields,
            framing,
            upgrade: None,
            te_trailers: false,
            http1: OnceCell::new(),
        }
    }

    /// A head that says the same and borrows nothing.
    pub(crate) fn to_head(&self) -> RequestHead {
        RequestHead {
            method: self.method.clone(),
            target: self.target.clone(),
            authority: self.authority.clone(),
            version: self.version,
            fields: self.fields.clone(),
        }
    }

    /// The head as bytes for an HTTP/1.1 upstream: made once for all tries.
    pub(super) fn http1(&self) -> Bytes {
        let written = self.http1.get_or_init(|| self.write_http1().freeze());
        written.clone()
    }

    fn write_http1(&self) -> BytesMut {
        let size: usize = self
            .fields
            .iter()
            .map(|field| field.name.len() + field.value.len() + 4)
            .sum();
        let mut out =
            BytesMut::with_capacity(size + self.target.len() + self.authority.len() + 128);
        http1::write_request_line(&mut out, self.method, self.target);
        http1::write_field(&mut out, b"host", self.authority);
        for field in self.fields.iter() {
            field.write(&mut out);
        }
        if self.framing == Framing::Chunked {
            out.put_slice(b"transfer-encoding: chunked\r\n");
        }
        match (self.upgrade, self.te_trailers) {
            (Some(upgrade), _) => {
                out.put_slice(b"connection: upgrade\r\n");
                http1::write_field(&mut out, b"upgrade", upgrade);
            }
            (None, true) => out.put_slice(b"connection: te\r\nte: trailers\r\n"),
            (None, false) => {}
        }
        http1::end_head(&mut out);
        out
    }
}
