//! A request as it goes to an upstream: plain values, which each protocol of upstreams renders in its own way.

use std::rc::Rc;
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderValue;
use http::uri::{Authority, PathAndQuery, Scheme};
use ringway_protocols::Fields;
use ringway_protocols::http1;
use ringway_protocols::message::{Framing, Method, RequestHead, Version};

use crate::grpc;
use crate::http2::{to_map, to_value};
use crate::request::RpcCall;

/// A request's head after routing and filters, the same in all its tries.
pub(crate) struct Outgoing<'r> {
    pub(crate) method: &'r Method,
    pub(crate) target: &'r Bytes,
    pub(crate) authority: &'r Bytes,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// The client's.
    pub(crate) version: Version,
    /// Without what concerns one connection only.
    pub(crate) fields: &'r Fields,
    pub(crate) framing: Framing,
    /// To what the client wants to upgrade, where the route lets it.
    pub(crate) upgrade: Option<&'r [u8]>,
    /// The client takes trailers.
    pub(crate) te_trailers: bool,
    /// It is a call of gRPC.
    pub(crate) call: bool,
    /// When a call that has a limit ends: each try says what is left.
    pub(crate) expires: Option<Instant>,
    /// The call, if it is a frame of an RPC protocol.
    pub(crate) rpc: Option<&'r Rc<RpcCall>>,
}

impl<'r> Outgoing<'r> {
    /// The request of that head, to another target or authority than its own if there is one.
    pub(crate) fn new(
        head: &'r RequestHead,
        target: Option<&'r Bytes>,
        authority: Option<&'r Bytes>,
        scheme: &'static str,
        framing: Framing,
    ) -> Self {
        Self {
            method: &head.method,
            target: target.unwrap_or(&head.target),
            authority: authority.unwrap_or(&head.authority),
            scheme,
            version: head.version,
            fields: &head.fields,
            framing,
            upgrade: None,
            te_trailers: false,
            call: false,
            expires: None,
            rpc: None,
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

    /// What is left of the time of a call.
    fn grpc_timeout(&self) -> Option<String> {
        let left = |end: Instant| end.saturating_duration_since(Instant::now());
        Some(grpc::timeout_text(left(self.expires?)))
    }

    /// The head for an HTTP/2 upstream: fields of a connection have been dropped before, and `host` is the authority
    /// (RFC 9113 §8.3.1). `None` where it cannot be said in HTTP/2.
    pub(super) fn http2(&self) -> Option<http::Request<()>> {
        let mut fields = to_map(self.fields)?;
        if self.te_trailers {
            fields.insert(http::header::TE, HeaderValue::from_static("trailers"));
        }
        if let Some(left) = self.grpc_timeout() {
            fields.insert(grpc::TIMEOUT, to_value(left.into())?);
        }
        let target = PathAndQuery::from_maybe_shared(self.target.clone()).ok()?;
        let mut uri = http::uri::Parts::default();
        uri.path_and_query = Some(target);
        let mut request = http::Request::new(());
        if self.authority.is_empty() {
            // An HTTP/1.0 client need not name one; the codec lets only such requests be without.
            *request.version_mut() = http::Version::HTTP_11;
        } else {
            uri.scheme = Some(match self.scheme {
                "https" => Scheme::HTTPS,
                _ => Scheme::HTTP,
            });
            uri.authority = Some(Authority::from_maybe_shared(self.authority.clone()).ok()?);
            *request.version_mut() = http::Version::HTTP_2;
        }
        *request.uri_mut() = http::Uri::from_parts(uri).ok()?;
        *request.method_mut() = http::Method::from_bytes(self.method.as_bytes()).ok()?;
        *request.headers_mut() = fields;
        Some(request)
    }

    /// The head as bytes for an HTTP/1.1 upstream.
    pub(super) fn http1(&self) -> BytesMut {
        let size: usize = self
            .fields
            .iter()
            .map(|field| field.name.len() + field.value.len() + 4)
            .sum();
        let mut out =
            BytesMut::with_capacity(size + self.target.len() + self.authority.len() + 128);
        http1::write_request_line(&mut out, self.method, self.target);
        http1::write_field(&mut out, b"host", self.authority);
        let timeout = self.grpc_timeout();
        for field in self.fields.iter() {
            if timeout.is_none() || !field.name.eq_ignore_ascii_case(grpc::TIMEOUT.as_bytes()) {
                field.write(&mut out);
            }
        }
        if let Some(left) = timeout {
            http1::write_field(&mut out, grpc::TIMEOUT.as_bytes(), left.as_bytes());
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
