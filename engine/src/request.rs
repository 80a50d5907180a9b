//! What a filter, a route, a balancer or an access log may know of one request.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use ringway_config::{Cipher, Name, TlsVersion};
use ringway_protocols::Fields;
use ringway_protocols::codec::{Codec, Frame};
use ringway_protocols::message::{RequestHead, ResponseHead};
use ringway_protocols::proxy_protocol::Tlv;

use crate::grpc::Status;

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PeerAddr {
    /// A TCP address.
    Ip(SocketAddr),
    /// A Unix socket (its path, or empty for an unnamed one).
    Unix(Rc<str>),
}

impl PeerAddr {
    /// The address and port; none for a Unix socket.
    pub fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(addr) => Some(*addr),
            Self::Unix(_) => None,
        }
    }

    /// The IP address; none for a Unix socket.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(addr) => Some(addr.ip()),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(addr) => addr.fmt(f),
            Self::Unix(path) => f.write_str(path),
        }
    }
}

/// The client's connection, as a request knows it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The other end of the connection, as a proxy in front of us says if one does.
    pub remote: PeerAddr,
    /// Our end, likewise.
    pub local: PeerAddr,
    /// What the proxy in front said.
    pub proxied: Option<Rc<Proxied>>,
    /// The client's address: from `X-Forwarded-For` where the other end is trusted, else the other end's. None on a Unix socket.
    pub client: Option<IpAddr>,
    /// The name that its TLS asked for, in lower case.
    pub server_name: Option<Rc<str>>,
    /// What its TLS agreed on, where that ends here.
    pub tls: Option<Rc<Secured>>,
}

/// What a proxy in front of us said of a connection by the PROXY protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxied {
    /// Its own address.
    pub from: PeerAddr,
    /// The fields of its header.
    pub tlvs: Vec<Tlv>,
}

/// What a TLS handshake agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secured {
    /// The version.
    pub version: Option<TlsVersion>,
    /// The cipher suite.
    pub cipher: Option<Cipher>,
    /// The protocol that goes inside.
    pub alpn: Option<Box<[u8]>>,
    /// The name that the client asked for, in lower case.
    pub server_name: Option<Box<str>>,
    /// By a ticket, without certificates.
    pub resumed: bool,
    /// The other end's certificate.
    pub peer: Option<Box<PeerCertificate>>,
}

/// The other end's certificate, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerCertificate {
    /// As it came.
    pub der: Box<[u8]>,
    /// Its SHA-256 digest, in hexadecimal.
    pub digest: String,
    /// Whose it is.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Its number, in hexadecimal.
    pub serial: String,
    /// Its host names, with commas between them.
    pub dns: String,
    /// Its URIs, likewise.
    pub uri: String,
    /// All that in Envoy's form of `X-Forwarded-Client-Cert`.
    pub element: Bytes,
}

/// The field that holds a call's service. No header has such a name.
pub const RPC_SERVICE: &str = ":service";
/// The field that holds a call's method.
pub const RPC_METHOD: &str = ":method";
/// The field that holds the version of a call's service, where the protocol says it apart.
pub const RPC_VERSION: &str = ":version";
/// The field that holds the group of a call's service.
pub const RPC_GROUP: &str = ":group";

/// An end of a connection of an RPC protocol, as the other end's side of the proxy knows it.
pub trait FrameEnd {
    /// Sends a frame as it is.
    fn pass(&self, frame: &Frame);
    /// Ends it, in order.
    fn leave(&self);
}

/// What a client's connection of an RPC protocol is tied to where a cluster gives each client upstream connections of its own.
#[derive(Default)]
pub struct Tie {
    /// Which client's connection: no two of a core have the same, ever.
    pub(crate) id: u64,
    pub(crate) client: RefCell<Option<Weak<dyn FrameEnd>>>,
    pub(crate) upstream: RefCell<Option<Weak<dyn FrameEnd>>>,
    /// The host of that connection: its slot and its id.
    pub(crate) host: Cell<Option<(usize, u64)>>,
}

impl fmt::Debug for Tie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tie").field(&self.id).finish()
    }
}

impl Tie {
    /// The client's end, if it is still there.
    pub(crate) fn to_client(&self) -> Option<Rc<dyn FrameEnd>> {
        self.client.borrow().as_ref()?.upgrade()
    }

    /// The upstream's end, if there is one.
    pub(crate) fn to_upstream(&self) -> Option<Rc<dyn FrameEnd>> {
        self.upstream.borrow().as_ref()?.upgrade()
    }
}

/// A call of an RPC protocol: what a request is made of that came as one frame.
#[derive(Debug)]
pub struct RpcCall {
    /// What the frame is written in.
    pub codec: Arc<dyn Codec>,
    /// The frame, as it came.
    pub frame: Frame,
    /// The client's connection.
    pub tie: Rc<Tie>,
    /// Of a call that a filter made of a request of HTTP: its headers, each with the request's header whose value it has. None: the call
    /// came as a frame, and all of the request's fields are its headers.
    pub carried: Option<Box<[(Bytes, Bytes)]>>,
}

/// One request on its way: what filters may read and change.
#[derive(Debug)]
pub struct RequestCx {
    /// The head. A filter that changes it changes what goes upstream; the route has been chosen before the filters ran.
    pub head: RequestHead,
    /// The target as the client sent it, before normalization and rewriting (`X-ENVOY-ORIGINAL-PATH` in logs).
    pub original_target: Bytes,
    /// Who asks.
    pub peer: Peer,
    /// When its head was whole.
    pub started: Instant,
    /// The same by the wall clock.
    pub started_at: SystemTime,
    /// The route's name, once one is chosen.
    pub route: Option<Name>,
    /// A response flag that a filter leaves for a request that it let go on (`DI`); `-`: none.
    pub flag: &'static str,
    /// What filters leave for each other and for the access log (`%DYNAMIC_METADATA(key)%`).
    pub metadata: Vec<(Name, Bytes)>,
    /// Where it went, once there is an answer or none is to be had.
    pub upstream: Upstream,
    /// The call, if it came as a frame of an RPC protocol, or a filter made one of it. One that came says in its fields and target what
    /// its frame says; a changed field is written into the frame where its protocol can.
    pub rpc: Option<Rc<RpcCall>>,
}

/// Where a request went.
#[derive(Clone, Debug, Default)]
pub struct Upstream {
    /// The cluster, where one was chosen.
    pub cluster: Option<Name>,
    /// The last host tried.
    pub host: Option<Rc<str>>,
    /// Tries made.
    pub attempts: u32,
}

/// An answer of the proxy's own.
#[derive(Clone, Debug, Default)]
pub struct LocalReply {
    /// 200 to 599.
    pub status: u16,
    /// More fields. `Content-Length` and `Date` are added by who sends it.
    pub fields: Fields,
    /// The body.
    pub body: Bytes,
    /// RESPONSE_CODE_DETAILS.
    pub details: &'static str,
    /// Response flag, as `FI` or `-`.
    pub flag: &'static str,
}

impl LocalReply {
    /// An answer with a line of plain text for a body.
    pub fn text(status: u16, details: &'static str, body: impl Into<Bytes>) -> Self {
        let mut fields = Fields::new();
        fields.push("content-type", "text/plain; charset=utf-8");
        Self {
            status,
            fields,
            body: body.into(),
            details,
            flag: "-",
        }
    }
}

/// How a request ended: made once, from it come counters, the access log line and the span.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The status that the client got; 0 if none was sent.
    pub status: u16,
    /// Envoy's response flags, comma-separated or `-`.
    pub flag: &'static str,
    /// Envoy's RESPONSE_CODE_DETAILS.
    pub details: &'static str,
    /// Body bytes from the client.
    pub bytes_received: u64,
    /// Body bytes to the client.
    pub bytes_sent: u64,
    /// From the head to the end.
    pub duration: Duration,
    /// From the head to the upstream's first answer byte (`%RESPONSE_DURATION%`).
    pub response_duration: Option<Duration>,
    /// From sending to the upstream's head in the last try (`X-ENVOY-UPSTREAM-SERVICE-TIME`).
    pub upstream_service_time: Option<Duration>,
    /// The cluster, where one was chosen.
    pub cluster: Option<Name>,
    /// The last host tried.
    pub upstream_host: Option<Rc<str>>,
    /// Why no connection to it was made, or no secure one.
    pub transport_failure: Option<Box<str>>,
    /// Tries made.
    pub attempts: u32,
    /// How it ended as a call of gRPC, if it was one.
    pub grpc_status: Option<Status>,
}

/// All that an access log line may say.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Who asked.
    pub peer: &'a Peer,
    /// When the request's head was whole, or, where none could be parsed, when that was found.
    pub started_at: SystemTime,
    /// The request as it was forwarded; none where no head could be parsed.
    pub request: Option<&'a RequestCx>,
    /// The answer's head as it was sent.
    pub response: Option<&'a ResponseHead>,
    /// How it ended.
    pub outcome: &'a Outcome,
}

/// A request for tests: from 127.0.0.1 to `a.test`.
#[cfg(test)]
pub(crate) fn sample(method: &str, target: &str, fields: &[(&str, &str)]) -> RequestCx {
    use ringway_protocols::message::{Method, Version};
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let mut head = RequestHead {
        method: Method::from_token(method.as_bytes()),
        target: bytes(target),
        authority: bytes("a.test"),
        version: Version::Http11,
        fields: Fields::new(),
    };
    for (name, value) in fields {
        head.fields.push(bytes(name), bytes(value));
    }
    let local = PeerAddr::Ip(SocketAddr::from(([127, 0, 0, 1], 80)));
    RequestCx {
        original_target: head.target.clone(),
        head,
        peer: Peer {
            remote: local.clone(),
            local,
            proxied: None,
            client: Some(IpAddr::from([127, 0, 0, 1])),
            server_name: None,
            tls: None,
        },
        started: Instant::now(),
        started_at: SystemTime::UNIX_EPOCH,
        route: None,
        flag: "-",
        metadata: Vec::new(),
        upstream: Upstream::default(),
        rpc: None,
    }
}
