//! What an operator reads of a request, as it stands in memory: text is made of it by who renders.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use ringway_config::{Cipher, TlsVersion};
use ringway_protocols::message::ResponseHead;

use super::flag::in_words;
use super::log_time::TimeFormat;
use crate::grpc::Status;
use crate::request::{Outcome, Peer, PeerAddr, RequestCx, Secured};

/// All that may be known of a request, by [`When`].
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) peer: &'a Peer,
    pub(super) started_at: SystemTime,
    pub(super) request: Option<&'a RequestCx>,
    pub(super) response: Option<&'a ResponseHead>,
    pub(super) outcome: Option<&'a Outcome>,
}

/// Where the request went: from its outcome, and before that from the request itself.
impl<'a> Facts<'a> {
    fn upstream_host(&self) -> Option<&'a str> {
        let ended = self.outcome.map(|outcome| outcome.upstream_host.as_deref());
        ended.unwrap_or_else(|| self.request?.upstream.host.as_deref())
    }

    fn upstream_cluster(&self) -> Option<&'a str> {
        let ended = self.outcome.map(|outcome| outcome.cluster.as_ref());
        let name = ended.unwrap_or_else(|| self.request?.upstream.cluster.as_ref())?;
        Some(name.as_str())
    }

    fn attempts(&self) -> Option<u32> {
        let ended = self.outcome.map(|outcome| outcome.attempts);
        ended.or_else(|| Some(self.request?.upstream.attempts))
    }
}

/// A fact as it stands in memory, not yet text.
pub(super) enum Datum<'a> {
    Number(u64),
    /// From the network or the operator: must be escaped.
    Bytes(&'a [u8]),
    Ip(IpAddr),
    Socket(SocketAddr),
    Time(&'a TimeFormat, SystemTime),
}

/// What an operator reads, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Operator {
    pub(super) what: What,
    /// Bytes that are kept of a value.
    pub(super) length: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Plain(Plain),
    StartTime(TimeFormat),
    /// The first of these that the request has.
    Request(Vec<RequestField>),
    /// The first of these that the answer has.
    Response(Vec<ResponseField>),
    Metadata(String),
    /// A field of the PROXY header, by its type.
    ProxyField(u8),
    /// Known since the format was compiled: the host's name, the environment.
    Fixed(Option<Vec<u8>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plain {
    Protocol,
    ResponseCode,
    ResponseCodeDetails,
    ResponseFlags,
    ResponseFlagsLong,
    BytesReceived,
    BytesSent,
    Duration,
    ResponseDuration,
    RouteName,
    UpstreamHost,
    UpstreamAddress(Detail),
    UpstreamCluster,
    UpstreamAttempts,
    ServerName,
    TransportFailure,
    Tls(TlsFact),
    GrpcStatus,
    GrpcStatusNumber,
    Address(End, Detail),
}

/// What is known of the client's TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsFact {
    Version,
    Cipher,
    Subject,
    Issuer,
    Serial,
    Fingerprint,
    Dns,
    Uri,
}

impl TlsFact {
    fn read(self, tls: &Secured) -> Option<&str> {
        let peer = tls.peer.as_deref();
        match self {
            Self::Version => tls.version.map(TlsVersion::protocol),
            Self::Cipher => tls.cipher.map(Cipher::name),
            Self::Subject => peer.map(|peer| &*peer.subject),
            Self::Issuer => peer.map(|peer| &*peer.issuer),
            Self::Serial => peer.map(|peer| &*peer.serial),
            Self::Fingerprint => peer.map(|peer| &*peer.digest),
            Self::Dns => peer.map(|peer| &*peer.dns),
            Self::Uri => peer.map(|peer| &*peer.uri),
        }
    }
}

/// An end of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client: from `X-Forwarded-For` where it is believed.
    Client,
    /// The other end of the connection.
    Peer,
    Local,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    Whole,
    WithoutPort,
    Port,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RequestField {
    Method,
    Path,
    Authority,
    /// The target as it came, if it is forwarded otherwise.
    OriginalPath,
    Named(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ResponseField {
    Status,
    ServiceTime,
    Named(Vec<u8>),
}

/// `X?Y`: at most two, as Envoy has it; more are taken the same way.
pub(super) fn alternatives<T>(argument: &str, of: impl Fn(&str) -> T) -> Vec<T> {
    argument.split('?').map(|name| of(name.trim())).collect()
}

impl RequestField {
    pub(super) fn of(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            ":method" => Self::Method,
            ":path" => Self::Path,
            ":authority" | "host" => Self::Authority,
            "x-envoy-original-path" => Self::OriginalPath,
            lower => Self::Named(lower.as_bytes().to_vec()),
        }
    }

    fn read<'a>(&self, request: &'a RequestCx) -> Option<&'a [u8]> {
        let head = &request.head;
        match self {
            Self::Method => Some(head.method.as_bytes()),
            Self::Path => Some(&head.target),
            Self::Authority => Some(&head.authority[..]).filter(|text| !text.is_empty()),
            Self::OriginalPath => {
                Some(&request.original_target[..]).filter(|target| *target != head.target)
            }
            Self::Named(name) => head.fields.get(name),
        }
    }
}

impl ResponseField {
    pub(super) fn of(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            ":status" => Self::Status,
            "x-envoy-upstream-service-time" => Self::ServiceTime,
            lower => Self::Named(lower.as_bytes().to_vec()),
        }
    }

    fn read<'a>(&self, facts: &Facts<'a>) -> Option<Datum<'a>> {
        match self {
            Self::Status => status(facts),
            Self::ServiceTime => {
                let time = facts
                    .outcome
                    .and_then(|outcome| outcome.upstream_service_time);
                time.map(millis)
            }
            Self::Named(name) => bytes(facts.response.and_then(|head| head.fields.get(name))),
        }
    }
}

impl What {
    pub(super) fn needs_outcome(&self) -> bool {
        match self {
            Self::Response(fields) => fields.contains(&ResponseField::ServiceTime),
            Self::Plain(_)
            | Self::StartTime(_)
            | Self::Request(_)
            | Self::Metadata(_)
            | Self::ProxyField(_)
            | Self::Fixed(_) => false,
        }
    }
}

impl Operator {
    /// Whether it reads the answer's head.
    pub(super) fn needs_response(&self) -> bool {
        match &self.what {
            What::Response(fields) => fields
                .iter()
                .any(|field| matches!(field, ResponseField::Named(_))),
            What::Plain(_)
            | What::StartTime(_)
            | What::Request(_)
            | What::Metadata(_)
            | What::ProxyField(_)
            | What::Fixed(_) => false,
        }
    }

    /// What it says of a request.
    pub(super) fn read<'a>(&'a self, facts: &Facts<'a>) -> Option<Datum<'a>> {
        let datum = match &self.what {
            What::Plain(plain) => plain.read(facts),
            What::StartTime(format) => Some(Datum::Time(format, facts.started_at)),
            What::Request(fields) => bytes(
                facts
                    .request
                    .and_then(|request| fields.iter().find_map(|field| field.read(request))),
            ),
            What::Response(fields) => fields.iter().find_map(|field| field.read(facts)),
            What::Metadata(key) => bytes(facts.request.and_then(|request| {
                let found = request
                    .metadata
                    .iter()
                    .find(|(name, _)| name.as_str() == key);
                found.map(|(_, value)| &value[..])
            })),
            What::ProxyField(kind) => bytes(proxy_field(facts.peer, *kind)),
            What::Fixed(value) => bytes(value.as_deref()),
        };
        match datum {
            Some(Datum::Bytes(bytes)) => {
                Some(Datum::Bytes(bytes.get(..self.length).unwrap_or(bytes)))
            }
            whole => whole,
        }
    }
}

impl Plain {
    fn read<'a>(self, facts: &Facts<'a>) -> Option<Datum<'a>> {
        match self {
            Self::Protocol => text(facts.request.map(|request| request.head.version.as_str())),
            Self::RouteName => text(
                facts
                    .request
                    .and_then(|request| request.route.as_ref())
                    .map(|name| name.as_str()),
            ),
            Self::ServerName => text(facts.peer.server_name.as_deref()),
            Self::ResponseCode => status(facts),
            Self::Address(end, detail) => address_of(facts.peer, end, detail),
            Self::Tls(fact) => text(facts.peer.tls.as_deref().and_then(|tls| fact.read(tls))),
            Self::ResponseCodeDetails
            | Self::TransportFailure
            | Self::ResponseFlags
            | Self::ResponseFlagsLong
            | Self::BytesReceived
            | Self::BytesSent
            | Self::Duration
            | Self::ResponseDuration
            | Self::GrpcStatus
            | Self::GrpcStatusNumber => {
                facts.outcome.and_then(|outcome| self.read_outcome(outcome))
            }
            Self::UpstreamHost => text(facts.upstream_host()),
            Self::UpstreamAddress(detail) => host_address(facts.upstream_host()?, detail),
            Self::UpstreamCluster => text(facts.upstream_cluster()),
            Self::UpstreamAttempts => facts.attempts().map(|n| Datum::Number(u64::from(n))),
        }
    }

    fn read_outcome(self, outcome: &Outcome) -> Option<Datum<'_>> {
        match self {
            Self::ResponseCodeDetails => text(Some(outcome.details)),
            Self::ResponseFlags => text(Some(outcome.flag)),
            Self::ResponseFlagsLong => text(Some(in_words(outcome.flag))),
            Self::BytesReceived => Some(Datum::Number(outcome.bytes_received)),
            Self::BytesSent => Some(Datum::Number(outcome.bytes_sent)),
            Self::Duration => Some(millis(outcome.duration)),
            Self::ResponseDuration => outcome.response_duration.map(millis),
            Self::TransportFailure => text(outcome.transport_failure.as_deref()),
            Self::GrpcStatus => text(outcome.grpc_status.map(Status::label)),
            Self::GrpcStatusNumber => {
                let status = outcome.grpc_status?;
                Some(Datum::Number(status.code() as u64))
            }
            Self::Protocol
            | Self::RouteName
            | Self::ServerName
            | Self::ResponseCode
            | Self::UpstreamHost
            | Self::UpstreamAddress(_)
            | Self::UpstreamCluster
            | Self::UpstreamAttempts
            | Self::Tls(_)
            | Self::Address(..) => None,
        }
    }
}

fn proxy_field(peer: &Peer, kind: u8) -> Option<&[u8]> {
    let tlvs = &peer.proxied.as_deref()?.tlvs;
    let found = tlvs.iter().find(|tlv| tlv.kind == kind);
    found.map(|tlv| tlv.value.as_slice())
}

fn bytes(value: Option<&[u8]>) -> Option<Datum<'_>> {
    value.map(Datum::Bytes)
}

/// Text of our own, in which an empty one and `-` say that there is none.
fn text(value: Option<&str>) -> Option<Datum<'_>> {
    bytes(
        value
            .filter(|text| !matches!(*text, "" | "-"))
            .map(str::as_bytes),
    )
}

fn millis<'a>(duration: Duration) -> Datum<'a> {
    Datum::Number(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn status<'a>(facts: &Facts<'a>) -> Option<Datum<'a>> {
    let ended = facts.outcome.map(|outcome| outcome.status);
    let status = ended.or(facts.response.map(|head| head.status))?;
    Some(Datum::Number(u64::from(status)))
}

fn address_of(peer: &Peer, end: End, detail: Detail) -> Option<Datum<'_>> {
    let addr = match end {
        End::Peer => match &peer.proxied {
            Some(proxied) => &proxied.from,
            None => &peer.remote,
        },
        End::Client => &peer.remote,
        End::Local => &peer.local,
    };
    // A client that `X-Forwarded-For` names has no port that is known; Envoy writes 0 for it.
    let forwarded = peer
        .client
        .filter(|client| end == End::Client && Some(*client) != addr.ip());
    let socket = match (forwarded, addr) {
        (Some(client), _) => SocketAddr::new(client, 0),
        (None, PeerAddr::Ip(socket)) => *socket,
        (None, PeerAddr::Unix(path)) => {
            return match detail {
                Detail::Whole | Detail::WithoutPort => text(Some(path)),
                Detail::Port => None,
            };
        }
    };
    match detail {
        Detail::Port if forwarded.is_some() => None,
        Detail::Whole | Detail::WithoutPort | Detail::Port => Some(detail.of(socket)),
    }
}

/// Of a host as counters name it: an address, else a path.
fn host_address(host: &str, detail: Detail) -> Option<Datum<'_>> {
    match (host.parse(), detail) {
        (Ok(socket), detail) => Some(detail.of(socket)),
        (Err(_), Detail::Whole | Detail::WithoutPort) => text(Some(host)),
        (Err(_), Detail::Port) => None,
    }
}

impl Detail {
    fn of<'a>(self, socket: SocketAddr) -> Datum<'a> {
        match self {
            Self::Whole => Datum::Socket(socket),
            Self::WithoutPort => Datum::Ip(socket.ip()),
            Self::Port => Datum::Number(u64::from(socket.port())),
        }
    }
}

#[expect(unsafe_code, reason = "the host's name has no safe call in std")]
pub(super) fn hostname() -> Option<Vec<u8>> {
    let mut name = [0_u8; 256];
    // SAFETY: the pointer and the length are those of `name`, and the last byte is kept out of the call, so that the name
    // ends in a NUL even where it was cut.
    let failed = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) };
    let end = name.iter().position(|byte| *byte == 0)?;
    (failed == 0 && end > 0).then(|| name[..end].to_vec())
}
