//! Clusters, endpoints and pools.

use std::time::Duration;

use super::{
    BalanceItem, BindAddress, ClusterLimitsRecord, ClusterRpcRecord, ClusterTlsRecord, Cx,
    DiscoveryRecord, HeadSize, HealthCheckRecord, Int, LocalityRecord, MetadataPairs, NonEmpty,
    OutlierRecord, PlacementRecord, Positive, SendProxyItem, Shape, SlowStartRecord, StickyRecord,
    SubsetsRecord, Window, Wire, fields::record, fields::wrong_shape,
};
use crate::native::tree::{Node, Value};
use crate::{EndpointAddress, Name, Percent, UpstreamProtocol};

record! {
    /// Interchangeable hosts.
    ClusterRecord {
        /// Its name, by which routes refer to it.
        name: Name,
        /// What its hosts speak.
        protocol: UpstreamProtocol = "auto",
        /// How a host is picked: the algorithm's name, or a map from it to its settings.
        balance: BalanceItem = "round_robin",
        /// The hosts. Either this or `discovery`.
        endpoints: Option<NonEmpty<EndpointItem>>,
        /// Finds the hosts by DNS instead.
        discovery: Option<DiscoveryRecord>,
        /// How long making a connection may take.
        connect_timeout: Positive = "2s",
        /// From the request's last byte to the answer's first. Without this key: only the route's limits.
        first_byte_timeout: Option<Positive>,
        /// The most interim answers (1xx) that a host may give to one request; with one more the request fails.
        interim_answers: Int<1, 1_000_000> = 64,
        /// How connections are kept.
        pool: PoolRecord = {},
        /// How HTTP/2 is spoken.
        http2: Http2Record = {},
        /// How an RPC protocol is spoken.
        rpc: ClusterRpcRecord = {},
        /// Socket options of connections over TCP.
        socket: SocketRecord = {},
        /// The longest time between two lookups of a host name in `endpoints`. A name whose records expire sooner is looked up sooner, but not before `process.dns.min_ttl`.
        dns_refresh: Positive = "30s",
        /// How hosts that are new or have recovered get their share. Without this key: all of it at once.
        slow_start: Option<SlowStartRecord>,
        /// How priorities and localities share the requests.
        placement: PlacementRecord = {},
        /// Sets of hosts by their metadata, which routes ask for with `metadata_match`.
        subsets: Option<SubsetsRecord>,
        /// Keeps each client at one host, by a cookie that the proxy gives it.
        sticky: Option<StickyRecord>,
        /// Probes its hosts. Without this key every host counts as healthy.
        health_check: Option<HealthCheckRecord>,
        /// Leaves out hosts whose errors stand out, for a while. Without this key no host is left out for its errors.
        outlier: Option<OutlierRecord>,
        /// Limits of the whole cluster.
        limits: ClusterLimitsRecord = {},
        /// TLS with the hosts. Without this key: plain text.
        tls: Option<ClusterTlsRecord>,
        /// Tells hosts by the PROXY protocol, at the beginning of each connection, who its client is. A connection then serves no other client. Without this key nothing is told.
        proxy_protocol: Option<SendProxyItem>,
    }
}

record! {
    /// A host with its weight.
    EndpointRecord {
        /// Where it is. A host name is resolved at start and again every `dns_refresh`; each of its addresses is a host.
        address: EndpointAddress,
        /// Its share against the other endpoints.
        weight: Int<1, 128> = 1,
        /// Hosts of priority 0 are used first; priority 1 gets what these cannot carry, and so on.
        priority: Int<0, 127> = 0,
        /// Its locality.
        locality: LocalityRecord = {},
        /// Metadata by which subsets select it, such as `{ version: v2 }`.
        metadata: MetadataPairs,
    }
}

/// An endpoint, long or short.
#[derive(Clone, Debug)]
pub(crate) struct EndpointItem {
    pub address: EndpointAddress,
    pub weight: u32,
    pub priority: u8,
    pub locality: LocalityRecord,
    pub metadata: MetadataPairs,
    pub at: String,
}

impl Wire for EndpointItem {
    fn read(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.value {
            Value::Map(_) => EndpointRecord::read(node, cx).map(|record| Self {
                address: record.address,
                weight: record.weight.u32(),
                priority: record.priority.u8(),
                locality: record.locality,
                metadata: record.metadata,
                at: record.at,
            }),
            Value::Text(_) => EndpointAddress::read(node, cx).map(|address| Self {
                address,
                at: node.path.clone(),
                ..Self::hole()
            }),
            Value::Null
            | Value::Bool(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::List(_)
            | Value::Unknown => {
                wrong_shape(node, &Self::shape(), cx);
                None
            }
        }
    }
    fn shape() -> Shape {
        Shape::AnyOf(vec![EndpointAddress::shape(), EndpointRecord::shape()])
    }
    fn hole() -> Self {
        Self {
            address: Wire::hole(),
            weight: 1,
            priority: 0,
            locality: Wire::hole(),
            metadata: Wire::hole(),
            at: String::new(),
        }
    }
}

record! {
    /// How each core keeps a cluster's connections.
    PoolRecord {
        /// An unused connection is closed after this long.
        idle_timeout: Positive = "50s",
        /// Unused connections kept per host and core; 0 keeps none.
        max_idle: Int<0, 1_000_000> = 512,
        /// Requests over one connection. Without this key: no limit.
        max_requests: Option<Int<1, { u64::MAX }>>,
        /// A connection older than this is closed as soon as it is unused. Without this key: no limit.
        max_age: Option<Positive>,
        /// Groups of connections that are kept apart per host and core: one for each name with `tls.server_name_from_host`, one for each client with `proxy_protocol`. Beyond it the least recently used are closed.
        groups: Int<1, 1_000_000> = 1024,
        /// Room made in advance: besides the requests in flight at a host, this share of them, rounded up, could be sent at once, over open connections of HTTP/1 or streams of HTTP/2. 0%: none.
        preconnect: Percent = "0%",
    }
}

record! {
    /// Socket options of a cluster's connections over TCP.
    SocketRecord {
        /// A silent connection is probed after this long; 0: never.
        keep_alive: Duration = "30s",
        /// From one probe to the next.
        keep_alive_interval: Positive = "10s",
        /// A connection is closed after this many unanswered probes.
        keep_alive_probes: Int<1, 127> = 3,
        /// A connection is closed when what was sent on it is not acknowledged for this long (`TCP_USER_TIMEOUT`). Without this key the kernel retransmits for about a quarter of an hour.
        user_timeout: Option<Positive>,
        /// Local addresses that connections come from: the first one of the target's family. Without this key the kernel chooses.
        bind: Vec<BindAddress>,
    }
}

record! {
    /// HTTP/2 with a cluster's hosts. All limits are for each core.
    Http2Record {
        /// Connections per host and core; another is opened when the existing ones are full.
        connections: Int<1, 65_536> = 64,
        /// Concurrent streams on a connection, if the host allows as many.
        streams: Int<1, 65_536> = 100,
        /// Requests that may wait for a stream, per host and core; further ones are answered 503.
        waiting: Int<0, 1_000_000> = 1024,
        /// How long a request may wait for a stream; then 503.
        waiting_timeout: Positive = "5s",
        /// How much of an answer a host may send before the client has taken it, at first.
        stream_window: Window = "256KiB",
        /// How far that may grow when the path to the host holds as much, up to half of `connection_window_max`; with many streams it is less.
        stream_window_max: Window = "16MiB",
        /// The same for all streams of a connection together.
        connection_window_max: Window = "64MiB",
        /// The size of an answer's fields, and of its trailers.
        header_list: HeadSize = "64KiB",
        /// How often a connection with requests on it is checked by a PING. Without this key: only when a request went without an answer for a second, since gRPC servers take regular PINGs for abuse.
        keep_alive: Option<Positive>,
        /// How long it may take to answer a PING.
        keep_alive_timeout: Positive = "10s",
    }
}
