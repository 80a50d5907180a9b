//! A listener: an address, the limits of its connections, and the chains that its connections meet.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::{
    AccessLog, ByteSize, ClientRpc, Filter, Name, ProxyProtocol, ServerName, ServerTls, TcpProxy,
};

/// An address where clients come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name, in logs and metrics.
    pub name: Name,
    /// Where it listens.
    pub address: ListenAddress,
    /// Proxies in front of it that say whose connection is whose; absent: none does.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// What it speaks.
    pub protocol: Protocol,
    /// Of those whose match holds, the one that matches best serves the connection ([`Fit`]), the first of equals. A
    /// connection that none matches is closed.
    pub chains: Vec<Chain>,
    /// Limits of its connections and requests.
    pub limits: HttpLimits,
    /// Limits of its HTTP/2 connections.
    pub http2: ClientHttp2,
    /// Limits of its connections of an RPC protocol.
    pub rpc: ClientRpc,
    /// What it says to upstreams about the client.
    pub forwarded: Forwarded,
    /// What it writes about each request.
    pub access_logs: Vec<AccessLog>,
    /// The kernel's queue of connections not yet accepted, per core. Default 4096 (bounded by `net.core.somaxconn`).
    pub backlog: u32,
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// A TCP address; port 0 takes a free one, the same on every core.
    Tcp(SocketAddr),
    /// A Unix socket, with its file mode.
    Unix {
        /// The socket's path.
        path: PathBuf,
        /// Its permissions, as in 0o660.
        mode: u32,
    },
}

/// What a listener speaks.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Protocol {
    /// Any version of HTTP that the proxy serves, told apart by the first bytes.
    #[default]
    Http,
    /// HTTP/1.x only.
    Http1,
    /// HTTP/2 only, by prior knowledge.
    Http2,
    /// The RPC protocol of the codec of that name; of `auto`, the one that a connection's first bytes are of.
    Rpc(Name),
}

/// What a listener does with the connections that match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Which connections.
    pub matches: ChainMatch,
    /// TLS with clients; absent: none.
    pub tls: Option<ServerTls>,
    /// Filters of every request, before those of its route.
    pub filters: Vec<Filter>,
    /// What the connections carry, and where it goes.
    pub service: Service,
}

/// What a chain's connections carry, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service {
    /// Requests: the name of their route table.
    Routes(Name),
    /// Bytes.
    Tcp(TcpProxy),
}

/// Which connections a chain takes; an empty list asks nothing.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ChainMatch {
    /// Ranges that the client's address must be in.
    pub source: Vec<IpNet>,
    /// Ranges that the address it connected to must be in.
    pub destination: Vec<IpNet>,
    /// Ports, one of which it must have connected to.
    pub destination_ports: Vec<PortRange>,
    /// Names, one of which the client's TLS must ask for.
    pub sni: Vec<ServerName>,
    /// Protocols, one of which the client's TLS must offer (`h2`).
    pub alpn: Vec<String>,
}

/// Ports, the first and the last of them included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl PortRange {
    /// Whether it holds all of another.
    pub fn holds(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }
}

/// What a chain is chosen by.
#[derive(Clone, Copy)]
pub struct Arrival<'a> {
    /// The client's address; none on a Unix socket.
    pub source: Option<IpAddr>,
    /// The address that it connected to.
    pub destination: Option<SocketAddr>,
    /// The name that its TLS asks for, in lower case.
    pub server_name: Option<&'a str>,
    /// Whether its TLS offers a protocol.
    pub offers: &'a dyn Fn(&str) -> bool,
}

/// How well a chain's match fits a connection; the greater the better. A name that was asked for whole beats a wildcard, a
/// longer wildcard a shorter one, and that no name at all; then one that asks for a protocol beats one that asks for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fit {
    name: usize,
    alpn: bool,
}

impl Chain {
    /// Whether connections that begin with TLS come here, and those that do not. What reads requests without ending TLS would
    /// find none in it.
    pub fn takes(&self, tls: bool) -> bool {
        match (&self.tls, &self.service) {
            (Some(own), _) => tls || own.permissive,
            (None, Service::Routes(_)) => !tls,
            (None, Service::Tcp(_)) => true,
        }
    }

    /// Whether it can be chosen only by what a client says first.
    pub fn asks_hello(&self) -> bool {
        self.tls.is_some() || self.matches.asks_tls()
    }
}

impl ChainMatch {
    /// Whether it asks for what only a ClientHello says.
    pub fn asks_tls(&self) -> bool {
        !self.sni.is_empty() || !self.alpn.is_empty()
    }

    /// How well a connection fits; none if it is not taken. One without addresses (a Unix socket) is taken only if none is
    /// asked for, and one without TLS only if no name and no protocol is.
    pub fn fit(&self, arrival: &Arrival<'_>) -> Option<Fit> {
        if !self.takes(arrival.source, arrival.destination) {
            return None;
        }
        let name = match arrival.server_name {
            _ if self.sni.is_empty() => 0,
            Some(asked) => self.sni.iter().filter_map(|name| name.fit(asked)).max()?,
            None => return None,
        };
        let mut protocols = self.alpn.iter();
        if !self.alpn.is_empty() && !protocols.any(|protocol| (arrival.offers)(protocol)) {
            return None;
        }
        Some(Fit {
            name,
            alpn: !self.alpn.is_empty(),
        })
    }

    fn takes(&self, source: Option<IpAddr>, destination: Option<SocketAddr>) -> bool {
        let within = |ranges: &[IpNet], address: Option<IpAddr>| {
            let address = address.map(|address| address.to_canonical());
            ranges.is_empty()
                || address
                    .is_some_and(|address| ranges.iter().any(|range| range.contains(&address)))
        };
        let mut ports = self.destination_ports.iter();
        let port = self.destination_ports.is_empty()
            || destination.is_some_and(|end| {
                let (first, last) = (end.port(), end.port());
                ports.any(|range| range.holds(PortRange { first, last }))
            });
        port && within(&self.source, source)
            && within(&self.destination, destination.map(|end| end.ip()))
    }
}

/// Limits of a listener's connections and requests. A limit that bites answers as said, and counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Connections of this listener in the whole process; absent: only the process's own limit. Beyond it, accepting waits.
    pub connections: Option<u64>,
    /// Bytes of a request line (RFC 9112 §3 asks for 8000 at least); beyond it 414. Default 16 KiB.
    pub request_line: ByteSize,
    /// Bytes of one field line; beyond it 431. Default 16 KiB.
    pub field: ByteSize,
    /// Bytes of all field lines of a head; beyond it 431. Default 64 KiB.
    pub fields_total: ByteSize,
    /// Number of field lines; beyond it 431. Default 100.
    pub fields: u32,
    /// Bytes of a request body; beyond it 413. Absent: no limit.
    pub body: Option<ByteSize>,
    /// From a connection's first byte of a head to its last; beyond it 408. Default 10 s.
    pub header_timeout: Duration,
    /// A body, or the reading of an answer, that moves fewer bytes a second than this over `body_rate_grace` is cut. Default 100 B/s.
    pub body_rate: ByteSize,
    /// How long a body may be slower than `body_rate`. Default 10 s.
    pub body_rate_grace: Duration,
    /// How long a connection may be open between requests. Default 60 s.
    pub idle_timeout: Duration,
    /// From a request's head to its answer's last byte; absent: none.
    pub request_timeout: Option<Duration>,
    /// Requests of one connection; the last one's answer says `Connection: close`. Absent: no limit.
    pub requests_per_connection: Option<u64>,
    /// Bytes of a request body read and thrown away after an early answer, so that the connection can be kept. Default 64 KiB.
    pub drain_body: ByteSize,
    /// Bytes of a ClientHello where a chain is chosen by it; beyond it the connection is closed. Default 32 KiB.
    pub client_hello: ByteSize,
    /// From accepting a connection to the end of its ClientHello, likewise. Default 10 s.
    pub client_hello_timeout: Duration,
    /// From the end of a ClientHello to that of the handshake. Default 10 s.
    pub tls_handshake_timeout: Duration,
    /// Connections of a core without a whole ClientHello, or in their handshake; beyond it the oldest is closed. Default 1024.
    pub tls_handshakes: u32,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: None,
            request_line: ByteSize(16 << 10),
            field: ByteSize(16 << 10),
            fields_total: ByteSize(64 << 10),
            fields: 100,
            body: None,
            header_timeout: Duration::from_secs(10),
            body_rate: ByteSize(100),
            body_rate_grace: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            request_timeout: None,
            requests_per_connection: None,
            drain_body: ByteSize(64 << 10),
            client_hello: ByteSize(32 << 10),
            client_hello_timeout: Duration::from_secs(10),
            tls_handshake_timeout: Duration::from_secs(10),
            // A second's worth of what a core can sign.
            tls_handshakes: 1024,
        }
    }
}

/// How HTTP/2 is spoken with clients. All limits are a connection's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHttp2 {
    /// Streams at once, announced; and requests in flight to upstreams, those of streams that were reset included until they are
    /// cancelled. Default 128: what browsers use of it, and others announce.
    pub concurrent_streams: u32,
    /// Bytes of a request's fields, each with 32 more (RFC 9113 §6.5.2); beyond it 431. Default 64 KiB.
    pub header_list: ByteSize,
    /// Pieces that `cookie` may come in; beyond it 431. Default 100.
    pub cookie_pieces: u32,
    /// How much of a stream's body a client may send before it has gone on, at first. Default 256 KiB.
    pub stream_window: ByteSize,
    /// How far that grows where the path holds as much, and half of the connection's is as much. Default 16 MiB: 800 MB/s over 20 ms.
    pub stream_window_max: ByteSize,
    /// The same of all streams together: what a connection may cost in memory. Default 32 MiB: room for one that
    /// is alone on a long path, and as much for all others.
    pub connection_window_max: ByteSize,
    /// Bytes of answers that wait on a connection for the client's reading. Default 128 KiB.
    pub send_buffer: ByteSize,
    /// Frames that carry nothing (PING, SETTINGS, WINDOW_UPDATE, PRIORITY, RST_STREAM, unknown ones) ahead of useful ones; beyond it
    /// the connection is closed. Default 1000.
    pub control_frames: u32,
    /// DATA frames without a byte in a row; likewise. Default 100.
    pub empty_frames: u32,
    /// Streams that the client broke the protocol on, or opened beyond `concurrent_streams`; likewise. Default 1024.
    pub stream_errors: u32,
    /// Of so many streams in a row, not more than half may be reset before their answer is whole, and within a second of their
    /// beginning; likewise. Default 100: below `concurrent_streams`, so that not even the first burst exceeds it.
    pub resets_window: u32,
    /// Connections older than this take no new requests; absent: no limit.
    pub max_age: Option<Duration>,
    /// A client with requests under way is asked by a PING whether it is there after this; absent: it is not, since PINGs wake what runs
    /// on batteries, and silence has its limit in the route's `idle_timeout`.
    pub keep_alive: Option<Duration>,
    /// How long it may take to answer, if nothing else moves either. Default 20 s: what mobile networks need to come back.
    pub keep_alive_timeout: Duration,
    /// Takes WebSocket over HTTP/2 (RFC 8441), and announces it. Default false: clients use HTTP/1.1 for it.
    pub websocket: bool,
}

impl Default for ClientHttp2 {
    fn default() -> Self {
        Self {
            concurrent_streams: 128,
            header_list: ByteSize(64 << 10),
            cookie_pieces: 100,
            stream_window: ByteSize(256 << 10),
            stream_window_max: ByteSize(16 << 20),
            connection_window_max: ByteSize(32 << 20),
            send_buffer: ByteSize(128 << 10),
            control_frames: 1000,
            empty_frames: 100,
            stream_errors: 1024,
            resets_window: 100,
            max_age: None,
            keep_alive: None,
            keep_alive_timeout: Duration::from_secs(20),
            websocket: false,
        }
    }
}

/// What a listener says to upstreams about the client, and whom it believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// Peers whose `X-Forwarded-*` and `X-Request-Id` are believed; from all others they are replaced.
    pub trusted: Vec<IpNet>,
    /// Add the peer to `X-Forwarded-For`. Default true.
    pub x_forwarded_for: bool,
    /// Set `X-Forwarded-Proto`. Default true.
    pub x_forwarded_proto: bool,
    /// Set `X-Forwarded-Host`. Default false.
    pub x_forwarded_host: bool,
    /// What becomes of `X-Forwarded-Client-Cert`. Default sanitize.
    pub x_forwarded_client_cert: ClientCertField,
    /// Make `X-Request-Id` where the client is not trusted to bring one. Default true.
    pub x_request_id: bool,
    /// The name in `Via` (RFC 9110 §7.6.3), on requests and answers; absent: no `Via`. Default `ringway`.
    pub via: Option<String>,
}

/// What becomes of `X-Forwarded-Client-Cert`, in which a proxy tells the upstream of its client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ClientCertField {
    /// It goes from every request: nobody can pretend.
    #[default]
    Sanitize,
    /// It goes on from clients that showed a certificate, and from no others.
    Forward,
    /// It is set for clients that showed a certificate, and goes from all others.
    Set,
    /// The client's certificate is added to what it brings, if it showed one; else the field goes.
    Append,
}

impl Default for Forwarded {
    fn default() -> Self {
        Self {
            trusted: Vec::new(),
            x_forwarded_for: true,
            x_forwarded_proto: true,
            x_forwarded_host: false,
            x_forwarded_client_cert: ClientCertField::Sanitize,
            x_request_id: true,
            via: Some("ringway".to_owned()),
        }
    }
}
