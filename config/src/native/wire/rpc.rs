//! What RPC protocols are limited by, and the words for protocols: HTTP's are ours, any other is the name of a codec.

use super::values::wrong_word;
use super::{Cx, Int, OrFalse, Positive, Shape, Wire, fields::record};
use crate::native::tree::Node;
use crate::{ByteSize, Name, Protocol, UpstreamProtocol};

record! {
    /// Limits of clients that speak an RPC protocol.
    ClientRpcRecord {
        /// The size of a frame. A larger one is answered with an error, and passed over.
        max_frame: ByteSize = "16MiB",
        /// Calls in flight on a connection; further ones wait.
        in_flight: Int<1, 1_000_000> = 1024,
        /// How much may wait for a client to read it; with more it is cut off.
        queue: ByteSize = "64MiB",
        /// What all calls in flight on a core may take together, bodies that `transcode` collects among them; one more is answered with an error. And what the core keeps for all clients together, of frames that are not whole yet and of answers that they have not taken: beyond it, the client with the most is cut off.
        memory: ByteSize = "256MiB",
        /// Whether clients are told in the protocol's words when the proxy takes no more calls of theirs: before it ends, or the listener does. Default: where all clients know the words (Dubbo, Tars). Of Bolt's only MOSN does; others note an error and go on.
        goaway: Option<bool>,
    }
}

record! {
    /// How hosts are spoken to in an RPC protocol.
    ClusterRpcRecord {
        /// Connections per host and core, for each version of the protocol. Default: 1 where calls can share one, else 256.
        connections: Option<Int<1, 65_536>>,
        /// Each client has a connection of its own to a host, and both end together. Ids stay as they are, and what the host says unasked (callbacks of Dubbo, pushes of Tars) goes to that client. `connections` says nothing then.
        bound: bool = false,
        /// Calls in flight on a connection, and calls that wait for one.
        in_flight: Int<1, 1_000_000> = 4096,
        /// The size of a frame. A larger answer is an error for its call alone.
        max_frame: ByteSize = "16MiB",
        /// How much may wait to be sent to a host; a call beyond it is answered with an error.
        buffer: ByteSize = "64MiB",
        /// After this much silence a heartbeat is sent, if the protocol has one; `false`: never.
        heartbeat: OrFalse<Positive> = "15s",
        /// How long a heartbeat may go without an answer; with the third the connection is closed.
        heartbeat_timeout: Positive = "3s",
    }
}

/// Reads one of our words, or a name.
fn protocol<T>(
    node: &Node,
    cx: &mut Cx,
    words: &[(&'static str, T)],
    named: fn(Name) -> T,
) -> Option<T>
where
    T: Clone,
{
    let Some(text) = node.text() else {
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        wrong_word(node, &words, cx);
        return None;
    };
    match words.iter().find(|(word, _)| *word == text) {
        Some((_, protocol)) => Some(protocol.clone()),
        None => Name::read(node, cx).map(named),
    }
}

/// One of our words, or the name of an RPC protocol.
fn shape(words: &'static [(&'static str, &'static str)]) -> Shape {
    Shape::AnyOf(vec![Shape::Choice(words), Name::shape()])
}

impl Wire for Protocol {
    fn read(node: &Node, cx: &mut Cx) -> Option<Self> {
        let words = [
            ("http", Self::Http),
            ("http1", Self::Http1),
            ("http2", Self::Http2),
        ];
        protocol(node, cx, &words, Self::Rpc)
    }

    fn shape() -> Shape {
        shape(&[
            (
                "http",
                "any version of HTTP that the proxy serves, told apart by the first bytes",
            ),
            ("http1", "HTTP/1.x only"),
            ("http2", "HTTP/2 only, by prior knowledge"),
            (
                "auto",
                "the RPC protocol that a connection's first bytes are of",
            ),
            ("bolt", "SOFARPC's protocol, versions 1 and 2"),
            ("dubbo", "Dubbo 2 over TCP"),
            ("tars", "Tars and TUP"),
            (
                "thrift",
                "Thrift: framed, unframed, THeader; binary, compact",
            ),
            ("dubbo-thrift", "Thrift as Dubbo wraps it"),
        ])
    }

    fn hole() -> Self {
        Self::Http
    }
}

impl Wire for UpstreamProtocol {
    fn read(node: &Node, cx: &mut Cx) -> Option<Self> {
        let words = [
            ("auto", Self::Auto),
            ("http1", Self::Http1),
            ("http2", Self::Http2),
            ("same_as_client", Self::SameAsClient),
        ];
        protocol(node, cx, &words, Self::Rpc)
    }

    fn shape() -> Shape {
        shape(&[
            (
                "auto",
                "HTTP/1.1 without TLS; with it, what the host chooses",
            ),
            ("http1", "HTTP/1.1"),
            ("http2", "HTTP/2, without TLS by prior knowledge"),
            (
                "same_as_client",
                "HTTP/2 for requests that came in HTTP/2, HTTP/1.1 for all others",
            ),
            ("bolt", "SOFARPC's protocol, versions 1 and 2"),
            ("dubbo", "Dubbo 2 over TCP"),
            ("tars", "Tars and TUP"),
            (
                "thrift",
                "Thrift: framed, unframed, THeader; binary, compact",
            ),
            ("dubbo-thrift", "Thrift as Dubbo wraps it"),
        ])
    }

    fn hole() -> Self {
        Self::Auto
    }
}
