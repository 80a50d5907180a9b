//! A cluster: interchangeable hosts, how one is picked, how connections to them are made, kept and limited.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::{
    Balance, ByteSize, ClientTls, ClusterLimits, ClusterRpc, Discovery, Endpoints, HealthCheck,
    Locality, Name, Outlier, Percent, Placement, SendProxy, SlowStart, Sticky, Subsets,
};

/// Interchangeable hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its name.
    pub name: Name,
    /// What its hosts speak.
    pub protocol: UpstreamProtocol,
    /// How a host is picked.
    pub balance: Balance,
    /// The hosts; empty only where they are found.
    pub endpoints: Endpoints,
    /// Hosts that are found by DNS; absent: those listed.
    pub discovery: Option<Discovery>,
    /// The limit of making a connection. Default 2 s.
    pub connect_timeout: Duration,
    /// From the request's last byte to the first byte of the answer; absent: only the route's limits.
    pub first_byte_timeout: Option<Duration>,
    /// The most interim answers (1xx) to one request. Default 64: progress (102) and hints (103) come by the handful.
    pub interim_answers: u32,
    /// How connections are kept.
    pub pool: Pool,
    /// How HTTP/2 is spoken.
    pub http2: Http2,
    /// How an RPC protocol is spoken.
    pub rpc: ClusterRpc,
    /// What is asked of the kernel for connections over TCP.
    pub socket: UpstreamSocket,
    /// The longest time between two lookups of a listed host's name. Default 30 s.
    pub dns_refresh: Duration,
    /// How hosts that are new or came back get their share; absent: at once.
    pub slow_start: Option<SlowStart>,
    /// How priorities and localities share the requests.
    pub placement: Placement,
    /// Hosts by metadata; absent: routes cannot ask for some of them.
    pub subsets: Option<Subsets>,
    /// Clients that stay with their host by a cookie.
    pub sticky: Option<Sticky>,
    /// Probes of its hosts; absent: every host counts as healthy.
    pub health_check: Option<HealthCheck>,
    /// Hosts whose errors stand out; absent: none does.
    pub outlier: Option<Outlier>,
    /// How much it takes.
    pub limits: ClusterLimits,
    /// TLS with the hosts; absent: none.
    pub tls: Option<ClientTls>,
    /// What hosts are told first of whose connection it is; absent: nothing.
    pub proxy_protocol: Option<SendProxy>,
}

impl Cluster {
    /// A cluster of these hosts, everything else as where a file says nothing.
    pub fn new(name: Name, endpoints: Vec<Endpoint>) -> Self {
        Self {
            name,
            protocol: UpstreamProtocol::default(),
            balance: Balance::default(),
            endpoints: endpoints.into(),
            discovery: None,
            connect_timeout: Duration::from_secs(2),
            first_byte_timeout: None,
            interim_answers: 64,
            pool: Pool::default(),
            http2: Http2::default(),
            rpc: ClusterRpc::default(),
            socket: UpstreamSocket::default(),
            dns_refresh: Duration::from_secs(30),
            slow_start: None,
            placement: Placement::default(),
            subsets: None,
            sticky: None,
            health_check: None,
            outlier: None,
            limits: ClusterLimits::default(),
            tls: None,
            proxy_protocol: None,
        }
    }
}

/// What a cluster's hosts speak.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum UpstreamProtocol {
    /// HTTP/1.1 without TLS; with it, what the host chooses.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, without TLS by prior knowledge.
    Http2,
    /// HTTP/2 for requests that came in HTTP/2, HTTP/1.1 for all others.
    SameAsClient,
    /// The RPC protocol of the codec of that name.
    Rpc(Name),
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where it is.
    pub address: EndpointAddress,
    /// Its share, 1 to 128 by use; default 1.
    pub weight: u32,
    /// 0 is asked first, then 1, … Default 0.
    pub priority: u8,
    /// Where it stands.
    pub locality: Locality,
    /// What subsets tell hosts apart by: keys and values, sorted by key.
    pub metadata: Vec<(String, String)>,
}

impl Endpoint {
    /// A host of weight 1 and priority 0, with nothing more to say of it.
    pub fn new(address: EndpointAddress) -> Self {
        Self {
            address,
            weight: 1,
            priority: 0,
            locality: Locality::default(),
            metadata: Vec::new(),
        }
    }
}

/// Where a host is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EndpointAddress {
    /// An IPv4 or IPv6 address.
    Ip(SocketAddr),
    /// A host name and port, resolved at start and again every `dns_refresh` on the control thread; each address is a host.
    Name(String, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

/// What is asked of the kernel for a cluster's connections over TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSocket {
    /// A silent connection is probed after this; zero: never. Default 30 s.
    pub keep_alive: Duration,
    /// Between two probes. Default 10 s.
    pub keep_alive_interval: Duration,
    /// It is closed after so many without an answer. Default 3.
    pub keep_alive_probes: u32,
    /// It is closed when what was sent is not acknowledged for so long (`TCP_USER_TIMEOUT`); absent: as the kernel retransmits, for a
    /// quarter of an hour.
    pub user_timeout: Option<Duration>,
    /// Where connections come from: the first address of the family of where they go to.
    pub bind: Vec<IpAddr>,
}

impl Default for UpstreamSocket {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(30),
            keep_alive_interval: Duration::from_secs(10),
            keep_alive_probes: 3,
            user_timeout: None,
            bind: Vec::new(),
        }
    }
}

/// How a cluster's connections are kept, by each core for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// An unused connection is closed after this. Default 50 s (less than most servers' 60).
    pub idle_timeout: Duration,
    /// Unused connections kept per host and core. Default 512.
    pub max_idle: u32,
    /// Requests over one connection; absent: no limit.
    pub max_requests: Option<u64>,
    /// Connections older than this are closed as soon as they are unused; absent: no limit.
    pub max_age: Option<Duration>,
    /// Where connections must not be shared (by the name that TLS asks for, by the client that the PROXY protocol names): how many
    /// kinds of them are kept apart per host and core. Beyond it those that were unused for longest are closed. Default 1024: what
    /// the clients of a busy core keep open.
    pub groups: u32,
    /// Connections made before they are needed, as a part of the requests in flight at a host and core, rounded up. Default 0: none.
    pub preconnect: Percent,
}

/// How a cluster's hosts are spoken to in HTTP/2, by each core for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http2 {
    /// Connections per host and core: another is made while those there are full. Default 64: what hosts that allow one stream at a
    /// time need.
    pub connections: u32,
    /// Streams at once on a connection, if the host allows as many. Default 100, as most hosts allow.
    pub streams: u32,
    /// Requests that may wait for a stream, per host and core; one more is refused. Default 1024: a burst of a few full client
    /// connections.
    pub waiting: u32,
    /// How long one may wait for it. Default 5 s: a third of a route's default, so that there is an answer before everything is over.
    pub waiting_timeout: Duration,
    /// How much of a stream a host may send before it has gone on, at first. Default 256 KiB.
    pub stream_window: ByteSize,
    /// How far that grows where the path holds as much, and half of the connection's is as much. Default 16 MiB: 800 MB/s over 20 ms.
    pub stream_window_max: ByteSize,
    /// The same of all streams of a connection together. Default 64 MiB: what one connection may cost in memory.
    pub connection_window_max: ByteSize,
    /// The size of an answer's fields, and of its trailers. Default 64 KiB.
    pub header_list: ByteSize,
    /// A connection with streams is asked whether it is there after this; absent: only when a request went without an answer, since
    /// servers of gRPC take regular PINGs for abuse.
    pub keep_alive: Option<Duration>,
    /// How long it may take to answer. Default 10 s.
    pub keep_alive_timeout: Duration,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            connections: 64,
            streams: 100,
            waiting: 1024,
            waiting_timeout: Duration::from_secs(5),
            stream_window: ByteSize(256 << 10),
            stream_window_max: ByteSize(16 << 20),
            connection_window_max: ByteSize(64 << 20),
            header_list: ByteSize(64 << 10),
            keep_alive: None,
            keep_alive_timeout: Duration::from_secs(10),
        }
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(50),
            max_idle: 512,
            max_requests: None,
            max_age: None,
            groups: 1024,
            preconnect: Percent::NONE,
        }
    }
}
