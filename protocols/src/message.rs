//! Heads of requests and answers as the proxy sees them, whatever version of HTTP carried them.

use std::fmt;

use bytes::Bytes;

use crate::Fields;

/// A request's method.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "RFC 9110 §9.3 and RFC 5789 name them")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Patch,
    Trace,
    Connect,
    /// Any other token.
    Other(Bytes),
}

impl Method {
    /// From the token on the wire (case-sensitive, RFC 9110 §9.1). The caller has checked that it is a token.
    pub fn from_token(token: &[u8]) -> Self {
        match token {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"PATCH" => Self::Patch,
            b"TRACE" => Self::Trace,
            b"CONNECT" => Self::Connect,
            other => Self::Other(Bytes::copy_from_slice(other)),
        }
    }

    /// The token on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Get => b"GET",
            Self::Head => b"HEAD",
            Self::Post => b"POST",
            Self::Put => b"PUT",
            Self::Delete => b"DELETE",
            Self::Options => b"OPTIONS",
            Self::Patch => b"PATCH",
            Self::Trace => b"TRACE",
            Self::Connect => b"CONNECT",
            Self::Other(token) => token,
        }
    }

    /// Whether sending it twice is the same as once (RFC 9110 §9.2.2).
    pub fn is_idempotent(&self) -> bool {
        match self {
            Self::Get | Self::Head | Self::Put | Self::Delete | Self::Options | Self::Trace => true,
            Self::Post | Self::Patch | Self::Connect | Self::Other(_) => false,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

/// The version a message came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Version {
    Http10,
    Http11,
    Http2,
    /// A frame of an RPC protocol, by its name.
    Rpc(&'static str),
}

impl Version {
    /// As access logs write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Rpc(name) => name,
        }
    }
}

/// A request's head. `Host` is never among the fields: it is the authority.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// Path and query as they will be matched and forwarded: begins with `/`, or is `*` (OPTIONS only).
    pub target: Bytes,
    /// Host and port that the client asked for, from an absolute-form target or `Host`; empty if an HTTP/1.0 client named none.
    pub authority: Bytes,
    /// The version it came in.
    pub version: Version,
    /// The fields, in order and in their own case, without `Host`.
    pub fields: Fields,
}

impl RequestHead {
    /// The path without the query.
    pub fn path(&self) -> &[u8] {
        match memchr::memchr(b'?', &self.target) {
            Some(at) => self.target.get(..at).unwrap_or_default(),
            None => &self.target,
        }
    }

    /// The query without its `?`, if there is a `?`.
    pub fn query(&self) -> Option<&[u8]> {
        memchr::memchr(b'?', &self.target).and_then(|at| self.target.get(at + 1..))
    }
}

/// An answer's head.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// 100 to 999, as the upstream said.
    pub status: u16,
    /// The reason phrase; empty if none.
    pub reason: Bytes,
    /// The version it came in.
    pub version: Version,
    /// The fields, in order and in their own case.
    pub fields: Fields,
}

impl ResponseHead {
    /// Copies what lies in the read buffer, so that the buffer can be used again while the head lives on. A reason phrase
    /// that is its status's own becomes empty, which says the same.
    pub fn detach(&mut self) {
        self.fields.detach();
        let own = crate::http1::reason(self.status).as_bytes();
        self.reason = if self.reason == own {
            Bytes::new()
        } else {
            Bytes::copy_from_slice(&self.reason)
        };
    }
}

/// How long a message's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// Exactly so many bytes.
    Length(u64),
    /// Until the last chunk (HTTP/1.1) or the end of the stream.
    Chunked,
    /// Until the connection closes (answers only).
    Close,
}
