//! RPC protocols: what their clients' and their upstreams' connections are limited by.

use std::time::Duration;

use crate::ByteSize;

/// Limits of a listener whose clients speak an RPC protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRpc {
    /// Bytes of a frame. Default 16 MiB: twice what Dubbo's providers take, and above what Tars' do.
    pub max_frame: ByteSize,
    /// Calls in flight on a connection; further ones wait in its socket. Default 1024.
    pub in_flight: u32,
    /// Bytes of answers that may wait for a client to read them; with more it is cut off. Default 64 MiB.
    pub queue: ByteSize,
    /// Bytes of calls in flight on a core, over all connections; one more is refused. And of what is kept for clients: frames in part,
    /// answers that they have not taken; whoever has the most is cut off. Default 256 MiB.
    pub memory: ByteSize,
    /// Whether clients are told in words that no more calls of theirs are taken; absent: where all clients of the protocol know the words.
    pub goaway: Option<bool>,
}

impl Default for ClientRpc {
    fn default() -> Self {
        Self {
            max_frame: ByteSize(16 << 20),
            in_flight: 1024,
            queue: ByteSize(64 << 20),
            memory: ByteSize(256 << 20),
            goaway: None,
        }
    }
}

/// How a cluster whose hosts speak an RPC protocol is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRpc {
    /// Connections per host and core, and for each version of the protocol; absent: 1 where calls can share one, else 256.
    pub connections: Option<u32>,
    /// Each client has connections of its own, on which upstreams may call it.
    pub bound: bool,
    /// Calls in flight on a connection, and calls that wait for one. Default 4096.
    pub in_flight: u32,
    /// Bytes of a frame. Default 16 MiB.
    pub max_frame: ByteSize,
    /// Bytes that may wait to be sent to a host; a call beyond them is refused. Default 64 MiB.
    pub buffer: ByteSize,
    /// A connection that says nothing for so long is asked whether it lives; absent: never. Default 15 s.
    pub heartbeat: Option<Duration>,
    /// How long each of three heartbeats may go without an answer. Default 3 s.
    pub heartbeat_timeout: Duration,
}

impl Default for ClusterRpc {
    fn default() -> Self {
        Self {
            connections: None,
            bound: false,
            in_flight: 4096,
            max_frame: ByteSize(16 << 20),
            buffer: ByteSize(64 << 20),
            heartbeat: Some(Duration::from_secs(15)),
            heartbeat_timeout: Duration::from_secs(3),
        }
    }
}
