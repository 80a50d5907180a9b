//! The PROXY protocol: from whom a listener takes it, and how a cluster's hosts are told.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::ByteSize;

/// How a listener is told by proxies in front of it whose connection is whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// The proxies. Connections from elsewhere are what they are: no header is looked for. Empty on a Unix socket, whose file says
    /// who may connect.
    pub trusted: Vec<IpNet>,
    /// Their connections may come without a header too. Default false.
    pub optional: bool,
    /// The size of a header; beyond it the connection is closed. Default 4 KiB: fields with a certificate fit.
    pub header: ByteSize,
    /// From accepting a connection to the end of its header; beyond it the connection is closed. Default 10 s, as of a ClientHello.
    pub timeout: Duration,
}

impl ProxyProtocol {
    /// Whether a connection from there begins with a header.
    pub fn is_from(&self, address: Option<IpAddr>) -> bool {
        let Some(address) = address.map(|address| address.to_canonical()) else {
            return true;
        };
        self.trusted.iter().any(|range| range.contains(&address))
    }
}

/// What the hosts of a cluster are told first on each connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendProxy {
    /// The version; only the second one has fields.
    pub version: ProxyVersion,
    /// What it says beside the addresses.
    pub fields: Vec<ProxyField>,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// A block of bytes.
    V2,
}

/// What a header of the second version may say beside the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyField {
    /// The name that the client's TLS asked for.
    Authority,
    /// The protocol that its TLS agreed on.
    Alpn,
    /// Its TLS: version, cipher, and the name in its certificate.
    Ssl,
    /// What the proxy in front said, but for what this one says itself.
    Received,
    /// A checksum of the header.
    Crc32c,
}
