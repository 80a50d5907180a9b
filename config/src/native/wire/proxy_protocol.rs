//! The PROXY protocol, taken and sent.

use ipnet::IpNet;

use super::{
    Cx, HeadSize, NonEmpty, Positive, Shape, Wire, choice, fields::record, fields::wrong_shape,
};
use crate::native::tree::{Node, Value};
use crate::{ProxyField, ProxyVersion};

record! {
    /// How a listener is told by proxies in front of it whose connection is whose. Both versions are taken.
    ProxyProtocolRecord {
        /// The proxies: each of their connections must begin with a header, and the addresses in it are the client's from then on, in all respects. Connections from elsewhere are taken for what they are. Must be there, but for a Unix socket, which trusts whoever its file lets in.
        trusted: Option<NonEmpty<IpNet>>,
        /// Take connections of theirs without a header too, as from themselves.
        optional: bool = false,
        /// The size of a header; beyond it the connection is closed.
        header: HeadSize = "4KiB",
        /// From accepting a connection to the end of its header; beyond it the connection is closed.
        timeout: Positive = "10s",
    }
}

/// What hosts are told first: a version, or a map that says more.
#[derive(Clone, Debug)]
pub(crate) enum SendProxyItem {
    /// Only the version.
    Word(ProxyVersion),
    /// A map.
    Record(SendProxyRecord),
}

impl Wire for SendProxyItem {
    fn read(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.value {
            Value::Map(_) => SendProxyRecord::read(node, cx).map(Self::Record),
            Value::Text(_) => ProxyVersion::read(node, cx).map(Self::Word),
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
        Shape::AnyOf(vec![ProxyVersion::shape(), SendProxyRecord::shape()])
    }
    fn hole() -> Self {
        Self::Word(ProxyVersion::V2)
    }
}

record! {
    /// A PROXY header for hosts.
    SendProxyRecord {
        /// The version.
        version: ProxyVersion = "v2",
        /// What it says beside the addresses, with `v2`.
        fields: Vec<ProxyField>,
    }
}

choice!(ProxyVersion {
    V1 = "v1": "a line of text: the client's address and the one that it connected to",
    V2 = "v2": "a block of bytes: the same, and fields",
});

choice!(ProxyField {
    Authority = "authority": "the name that the client's TLS asked for (SNI)",
    Alpn = "alpn": "the protocol that its TLS agreed on",
    Ssl = "ssl": "its TLS: version, cipher, and the common name of its certificate",
    Received = "received": "the fields that the proxy in front sent, but for those that this one sends itself",
    Crc32c = "crc32c": "a checksum of the header",
});
