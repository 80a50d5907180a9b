//! Listeners, chains, limits, and access logs.

use std::path::PathBuf;

use ipnet::IpNet;

use super::{
    AlpnName, ClientRpcRecord, ClusterChoice, Filled, FilterItem, HeadSize, Int, LogText,
    MetadataPairs, Mode, NonEmpty, OrFalse, Pairs, PortsText, Positive, ProxyProtocolRecord,
    RouteRecord, RouteTableRef, TlsRecord, Token, VirtualHostRecord, Window, choice,
    fields::record,
};
use crate::{
    ByteSize, ClientCertField, ListenAddress, Name, PathNormalize, Protocol, ServerName, TcpHash,
};

record! {
    /// An address where clients come in. What it does with them is said by exactly one of `routes`, `virtual_hosts`, `route_table`, `tcp` and `chains`.
    ListenerRecord {
        /// Its name, in logs and metrics.
        name: Name,
        /// Where it listens. Port 0 takes a free one.
        address: ListenAddress,
        /// The permissions of a Unix socket, in octal and in quotes. Default `"0660"`.
        mode: Option<Mode>,
        /// Proxies in front of it that say by the PROXY protocol whose connection is whose. Without this key: none does.
        proxy_protocol: Option<ProxyProtocolRecord>,
        /// What it speaks.
        protocol: Protocol = "http",
        /// Limits of its connections and requests.
        limits: LimitsRecord = {},
        /// How HTTP/2 is spoken with clients.
        http2: ClientHttp2Record = {},
        /// Limits of clients that speak an RPC protocol.
        rpc: ClientRpcRecord = {},
        /// What it tells upstreams about the client, and which peers it trusts.
        forwarded: ForwardedRecord = {},
        /// What it writes about each request.
        access_log: Vec<AccessLogRecord>,
        /// The kernel's queue of connections not yet accepted, per core (bounded by `net.core.somaxconn`).
        backlog: Int<1, 1_000_000> = 4096,
        /// TLS with clients. Without this key: plain text.
        tls: Option<TlsRecord>,
        /// Filters of every request, before those of its route.
        filters: Vec<FilterItem>,
        /// Routes of all hosts, in order: the first match wins. Short for one virtual host with the domain `*`.
        routes: Option<Vec<RouteRecord>>,
        /// Routes by host.
        virtual_hosts: Option<NonEmpty<VirtualHostRecord>>,
        /// The name of one of `route_tables`.
        route_table: Option<RouteTableRef>,
        /// How the paths of `routes` or `virtual_hosts` are made plain before they are matched and forwarded. Default `strict`.
        path_normalize: Option<PathNormalize>,
        /// Whether `//` in a path becomes `/`. Default `false`.
        merge_slashes: Option<bool>,
        /// Passes the bytes of connections on to a cluster, whatever they are.
        tcp: Option<TcpRecord>,
        /// Several ways to treat connections. Of those whose `match` holds, the most specific serves the connection: a whole name in `sni` before the longest wildcard before none, then one with `alpn` before one without, then the first. A connection that none matches is closed.
        chains: Option<NonEmpty<ChainRecord>>,
    }
}

record! {
    /// What a listener does with some connections, by exactly one of `routes`, `virtual_hosts`, `route_table` and `tcp`.
    ChainRecord {
        /// Which connections it takes; all conditions must hold. Without this key: every connection.
        r#match: ChainMatchRecord = {},
        /// TLS with these clients. Without this key: plain text, or with `tcp` whatever it is.
        tls: Option<TlsRecord>,
        /// Filters of every request, before those of its route.
        filters: Vec<FilterItem>,
        /// Routes of all hosts, in order: the first match wins.
        routes: Option<Vec<RouteRecord>>,
        /// Routes by host.
        virtual_hosts: Option<NonEmpty<VirtualHostRecord>>,
        /// The name of one of `route_tables`.
        route_table: Option<RouteTableRef>,
        /// How the paths of `routes` or `virtual_hosts` are made plain before they are matched and forwarded. Default `strict`.
        path_normalize: Option<PathNormalize>,
        /// Whether `//` in a path becomes `/`. Default `false`.
        merge_slashes: Option<bool>,
        /// Passes the bytes of connections on to a cluster, whatever they are.
        tcp: Option<TcpRecord>,
    }
}

record! {
    /// Bytes both ways between a client and a host of a cluster.
    TcpRecord {
        /// The cluster, or several with weights.
        cluster: ClusterChoice,
        /// How long nothing may move in either direction before both ends are reset.
        idle_timeout: Positive = "1h",
        /// How long a connection may last, busy or not. Without this key: no limit.
        max_duration: Option<Positive>,
        /// How many hosts are tried, one after the other, until one accepts the connection.
        connect_attempts: Int<1, 100> = 3,
        /// What clusters that balance by `ring_hash` or `maglev` hash. Without this key they pick at random.
        hash: Option<TcpHash>,
        /// Use only hosts with this metadata, such as `{ version: v2 }`. The cluster's `subsets` say which keys can be used.
        metadata_match: MetadataPairs,
    }
}

choice!(TcpHash {
    Source = "source": "the client's address",
});

record! {
    /// Which connections a chain takes.
    ChainMatchRecord {
        /// Ranges that the client's address must be in.
        source: Option<NonEmpty<IpNet>>,
        /// Ranges that the address to which the client connected must be in.
        destination: Option<NonEmpty<IpNet>>,
        /// Ports to which the client must have connected: `443`, or `8000-8999`. Useful with the PROXY protocol.
        destination_ports: Option<NonEmpty<PortsText>>,
        /// Names, one of which the client's TLS must ask for: a whole name, or `*.example.com` for all names below it.
        sni: Option<NonEmpty<ServerName>>,
        /// Protocols, one of which the client's TLS must offer, such as `h2`.
        alpn: Option<NonEmpty<AlpnName>>,
    }
}

record! {
    /// Limits of a listener's connections and requests. Each has a counter.
    LimitsRecord {
        /// Connections of this listener in the whole process; beyond it, accepting waits. Without this key: only the process's own limit.
        connections: Option<Int<1, { u64::MAX }>>,
        /// A request line; beyond it 414. RFC 9112 asks for 8000 bytes at least.
        request_line: HeadSize = "16KiB",
        /// One header line; beyond it 431.
        field: HeadSize = "16KiB",
        /// All header lines of a request; beyond it 431.
        fields_total: HeadSize = "64KiB",
        /// Number of header lines; beyond it 431.
        fields: Int<1, 10_000> = 100,
        /// A request body; beyond it 413. Without this key: no limit.
        body: Option<ByteSize>,
        /// From a request's first byte to the end of its headers; beyond it 408.
        header_timeout: Positive = "10s",
        /// The least number of bytes per second that a body must arrive with, and an answer must be read with; a slower one is cut. 0 allows any pace.
        body_rate: ByteSize = "100B",
        /// How long a body may be slower than `body_rate`.
        body_rate_grace: Positive = "10s",
        /// How long a connection may be open between requests.
        idle_timeout: Positive = "60s",
        /// From a request's headers to its answer's last byte. Without this key: no limit.
        request_timeout: Option<Positive>,
        /// Requests of one connection; the last one's answer says `Connection: close`. Without this key: no limit.
        requests_per_connection: Option<Int<1, { u64::MAX }>>,
        /// Bytes of a request body that are read and discarded after an early answer, so that the connection can be kept.
        drain_body: ByteSize = "64KiB",
        /// A ClientHello, where chains are chosen by `sni` or `alpn`; beyond it the connection is closed.
        client_hello: HeadSize = "32KiB",
        /// From accepting a connection to the end of its ClientHello, likewise.
        client_hello_timeout: Positive = "10s",
        /// From the end of a ClientHello to that of the handshake; beyond it the connection is closed.
        tls_handshake_timeout: Positive = "10s",
        /// Connections of each core that have not sent a complete ClientHello, or are in their handshake; beyond it the oldest is closed, preferably one without a ClientHello.
        tls_handshakes: Int<1, 1_000_000> = 1024,
    }
}

record! {
    /// How HTTP/2 is spoken with clients. All limits are a connection's.
    ClientHttp2Record {
        /// Concurrent streams, as announced to clients; also the limit of requests in flight to upstreams, where those of reset streams count until they have been cancelled.
        concurrent_streams: Int<1, 65_536> = 128,
        /// The size of a request's headers, and of its trailers; beyond it 431.
        header_list: HeadSize = "64KiB",
        /// Pieces into which a client may split `cookie`; beyond it 431.
        cookie_pieces: Int<1, 10_000> = 100,
        /// How much of a body a client may send before the upstream has taken it, at first.
        stream_window: Window = "256KiB",
        /// How far that may grow when the path to the client holds as much, up to half of `connection_window_max`; with many bodies at once it is less.
        stream_window_max: Window = "16MiB",
        /// The same for all streams together: what a connection may cost in memory.
        connection_window_max: Window = "32MiB",
        /// Bytes of answers that may wait on a connection for the client to take them.
        send_buffer: Window = "128KiB",
        /// Frames without content (PING, SETTINGS, WINDOW_UPDATE, PRIORITY, RST_STREAM, unknown ones) in excess of useful ones; beyond it the connection is closed with `ENHANCE_YOUR_CALM`.
        control_frames: Int<1, 1_000_000> = 1000,
        /// Empty DATA frames in a row; likewise.
        empty_frames: Int<1, 1_000_000> = 100,
        /// Streams on which a client broke the protocol, or that it opened beyond `concurrent_streams`; likewise.
        stream_errors: Int<1, 1_000_000> = 1024,
        /// Of this many streams in a row, no more than half may be reset within a second and before their answer is complete; likewise.
        resets_window: Int<2, 1_000_000> = 100,
        /// A connection older than this takes no new requests, and is closed when those in flight have ended. Without this key: no limit.
        max_age: Option<Positive>,
        /// How often a client with requests under way is sent a PING to see whether it is still there. Without this key: never.
        keep_alive: Option<Positive>,
        /// How long it may take to answer a PING while nothing else is sent or received.
        keep_alive_timeout: Positive = "20s",
        /// Accept WebSocket over HTTP/2 (RFC 8441), and announce it; otherwise clients use HTTP/1.1 for it.
        websocket: bool = false,
    }
}

record! {
    /// What a listener tells upstreams about the client, and which peers it trusts.
    ForwardedRecord {
        /// Peers whose `X-Forwarded-*` and `X-Request-Id` are trusted; those of all others are replaced.
        trusted: Vec<IpNet>,
        /// Add the peer to `X-Forwarded-For`.
        x_forwarded_for: bool = true,
        /// Set `X-Forwarded-Proto`.
        x_forwarded_proto: bool = true,
        /// Set `X-Forwarded-Host`.
        x_forwarded_host: bool = false,
        /// What becomes of `X-Forwarded-Client-Cert`, in Envoy's form: `Hash`, `Subject`, `URI` and `DNS` of the client's certificate.
        x_forwarded_client_cert: ClientCertField = "sanitize",
        /// Make an `X-Request-Id`, unless a trusted client sent one.
        x_request_id: bool = true,
        /// The name in `Via`, on requests and answers; `false` leaves `Via` out.
        via: OrFalse<Token> = "ringway",
    }
}

choice!(ClientCertField {
    Sanitize = "sanitize": "it goes from every request",
    Forward = "forward": "it goes on from clients that showed a certificate, and from no others",
    Set = "set": "it is set for clients that showed a certificate, and goes from all others",
    Append = "append": "the certificate is added to what clients bring that showed one; it goes from all others",
});

record! {
    /// An access log: exactly one of `file` and `stdout`, and at most one of `format` and `json`.
    AccessLogRecord {
        /// A file, opened for appending, and reopened on USR1.
        file: Option<PathBuf>,
        /// `true`: write to standard output.
        stdout: Option<bool>,
        /// A line of text with `%OPERATOR%`s. Without this key and `json`: Envoy's default line.
        format: Option<LogText>,
        /// A JSON object a line: its keys in order, each value a format of its own.
        json: Option<Pairs<Filled, String>>,
    }
}

choice!(PathNormalize {
    Strict = "strict": "decode unreserved `%XX`, resolve dot segments, refuse encoded `/`, `\\`, NUL and `#` with 400",
    Off = "off": "leave the path as it came",
});
