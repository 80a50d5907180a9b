//! What went wrong with a request: who, what, whether it may be tried again. The request path returns nothing else.

use std::error::Error;
use std::fmt;

/// Whose doing it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client's.
    Client,
    /// The upstream's.
    Upstream,
    /// Ours: configuration, limits, or a defect.
    Proxy,
}

/// Whether the request may be sent again to another host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Nothing of it was sent, or the peer said that it did not process it.
    Safe,
    /// The upstream says that it did not process it (HTTP/2: GOAWAY, REFUSED_STREAM): again over another connection or at another
    /// host, whatever the request and the route's `retry.on` (RFC 9113 §8.7).
    Unprocessed,
    /// It was sent, and no byte of an answer came: again only if it is idempotent.
    IfIdempotent,
    /// It was sent on a kept connection that turned out closed, and no byte of an answer came: again if idempotent,
    /// whatever the route's `retry.on` says (RFC 9112 §9.3.1).
    IfReused,
    /// It was not even begun: while it waited for a connection its host went away. Picking anew is no further try.
    NotBegun,
    /// Never.
    Never,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// No virtual host or route takes it.
    NoRoute,
    /// The cluster has no host, or none left to try.
    NoHost,
    /// The upstream refused the connection.
    ConnectRefused,
    /// The connection was not made in time.
    ConnectTimeout,
    /// It failed otherwise: unreachable, no local port, no descriptor.
    ConnectFailed,
    /// The upstream's TLS is not what is asked for, or it refused ours.
    TlsFailed,
    /// The handshake with it was not ended in time.
    TlsTimeout,
    /// The upstream closed or reset before the answer's head was whole.
    Reset,
    /// The upstream sent what is no HTTP.
    UpstreamProtocol,
    /// The upstream speaks HTTP/2 and does not take WebSocket over it.
    NoTunnel,
    /// The upstream closed or reset after the answer's head went on.
    Truncated,
    /// The upstream's body breaks HTTP.
    BodyProtocol,
    /// `first_byte_timeout`.
    FirstByteTimeout,
    /// `per_try_timeout`.
    PerTryTimeout,
    /// `per_try_idle_timeout`, before the answer's head.
    PerTryIdleTimeout,
    /// The route's `timeout` or the listener's `request_timeout`.
    RequestTimeout,
    /// `idle_timeout` of a stream or tunnel.
    IdleTimeout,
    /// The client closed or reset.
    ClientGone,
    /// The client's bytes break HTTP.
    ClientProtocol,
    /// The client's body or reading is slower than `body_rate`.
    ClientTooSlow,
    /// The client's body is longer than `limits.body`.
    BodyTooLarge,
    /// A limit of ours was reached.
    Overflow,
    /// A defect of ours.
    Internal,
}

impl FaultKind {
    /// The status of the answer that the client gets if none has begun.
    pub fn status(self) -> u16 {
        match self {
            Self::NoRoute => 404,
            Self::NoHost
            | Self::ConnectRefused
            | Self::ConnectTimeout
            | Self::ConnectFailed
            | Self::TlsFailed
            | Self::TlsTimeout
            | Self::Overflow => 503,
            Self::Reset
            | Self::UpstreamProtocol
            | Self::NoTunnel
            | Self::Truncated
            | Self::BodyProtocol => 502,
            Self::FirstByteTimeout
            | Self::PerTryTimeout
            | Self::PerTryIdleTimeout
            | Self::RequestTimeout
            | Self::IdleTimeout => 504,
            Self::ClientGone | Self::ClientProtocol => 400,
            Self::ClientTooSlow => 408,
            Self::BodyTooLarge => 413,
            Self::Internal => 500,
        }
    }

    /// Envoy's response flag for it, as access logs write it; `-` for none.
    pub fn flag(self) -> &'static str {
        match self {
            Self::NoRoute => "NR",
            Self::NoHost => "UH",
            Self::ConnectRefused
            | Self::ConnectTimeout
            | Self::ConnectFailed
            | Self::TlsFailed
            | Self::TlsTimeout => "UF",
            Self::Reset | Self::Truncated => "UC",
            Self::UpstreamProtocol | Self::NoTunnel | Self::BodyProtocol => "UPE",
            Self::FirstByteTimeout
            | Self::PerTryTimeout
            | Self::PerTryIdleTimeout
            | Self::RequestTimeout => "UT",
            Self::IdleTimeout => "SI",
            Self::ClientGone => "DC",
            Self::ClientProtocol => "DPE",
            Self::ClientTooSlow => "DT",
            Self::BodyTooLarge | Self::Internal => "-",
            Self::Overflow => "UO",
        }
    }

    /// Envoy's RESPONSE_CODE_DETAILS for it, where it has one.
    pub fn details(self) -> &'static str {
        match self {
            Self::NoRoute => "route_not_found",
            Self::NoHost => "no_healthy_upstream",
            Self::ConnectRefused => "upstream_reset_before_response_started{connection_refused}",
            Self::ConnectTimeout => "upstream_reset_before_response_started{connection_timeout}",
            Self::ConnectFailed => "upstream_reset_before_response_started{connection_failure}",
            Self::TlsFailed => "upstream_reset_before_response_started{tls_error}",
            Self::TlsTimeout => "upstream_reset_before_response_started{tls_timeout}",
            Self::Reset => "upstream_reset_before_response_started{connection_termination}",
            Self::UpstreamProtocol => "upstream_reset_before_response_started{protocol_error}",
            Self::NoTunnel => "upstream_takes_no_websocket",
            Self::Truncated => "upstream_reset_after_response_started{connection_termination}",
            Self::BodyProtocol => "upstream_reset_after_response_started{protocol_error}",
            Self::FirstByteTimeout => "upstream_first_byte_timeout",
            Self::PerTryTimeout => "upstream_per_try_timeout",
            Self::PerTryIdleTimeout => "upstream_per_try_idle_timeout",
            Self::RequestTimeout => "response_timeout",
            Self::IdleTimeout => "stream_idle_timeout",
            Self::ClientGone => "downstream_remote_disconnect",
            Self::ClientProtocol => "http1.codec_error",
            Self::ClientTooSlow => "request_body_too_slow",
            Self::BodyTooLarge => "request_payload_too_large",
            Self::Overflow => "upstream_overflow",
            Self::Internal => "internal_error",
        }
    }

    /// Whether no connection was made, or no secure one.
    pub fn is_of_transport(self) -> bool {
        match self {
            Self::ConnectRefused
            | Self::ConnectTimeout
            | Self::ConnectFailed
            | Self::TlsFailed
            | Self::TlsTimeout => true,
            Self::NoRoute
            | Self::NoHost
            | Self::Reset
            | Self::UpstreamProtocol
            | Self::NoTunnel
            | Self::Truncated
            | Self::BodyProtocol
            | Self::FirstByteTimeout
            | Self::PerTryTimeout
            | Self::PerTryIdleTimeout
            | Self::RequestTimeout
            | Self::IdleTimeout
            | Self::ClientGone
            | Self::ClientProtocol
            | Self::ClientTooSlow
            | Self::BodyTooLarge
            | Self::Overflow
            | Self::Internal => false,
        }
    }

    /// Whose doing it was.
    pub fn side(self) -> Side {
        match self {
            Self::NoRoute
            | Self::NoHost
            | Self::NoTunnel
            | Self::Overflow
            | Self::Internal
            | Self::RequestTimeout => Side::Proxy,
            Self::ConnectRefused
            | Self::ConnectTimeout
            | Self::ConnectFailed
            | Self::TlsFailed
            | Self::TlsTimeout
            | Self::Reset
            | Self::UpstreamProtocol
            | Self::Truncated
            | Self::BodyProtocol
            | Self::FirstByteTimeout
            | Self::PerTryTimeout
            | Self::PerTryIdleTimeout
            | Self::IdleTimeout => Side::Upstream,
            Self::ClientGone | Self::ClientProtocol | Self::ClientTooSlow | Self::BodyTooLarge => {
                Side::Client
            }
        }
    }
}

/// What went wrong, whether to try again, and the error beneath.
#[derive(Debug)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// Whether to try again.
    pub retry: Retry,
    /// The error beneath, if there is one.
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl Fault {
    /// A fault that must not be tried again.
    #[cold]
    pub fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            retry: Retry::Never,
            source: None,
        }
    }

    /// Says whether to try again.
    #[must_use]
    #[cold]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Keeps the error beneath.
    #[must_use]
    #[cold]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.details())?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_ref()
            .map(|source| &**source as &(dyn Error + 'static))
    }
}
