//! The PROXY protocol: what a proxy in front says first of whom a connection is from, in its first version (a line of text) and
//! its second (a block of bytes with fields of any kind behind the addresses).
//!
//! Both are read from the front of what has come, strictly: a header that two parsers could read in two ways is none. Whoever can
//! send one can pretend to be anybody, so that it must be looked for on connections from trusted proxies alone.
//!
//! ```text
//!  1   PROXY TCP4 192.0.2.7 192.0.2.1 51000 443\r\n            at most 107 bytes
//!  2   signature (12) | 2, command | family, transport | length (2) | source, destination, ports | fields: type, length (2), value
//! ```

mod crc;
mod error;
mod read;
#[cfg(test)]
mod tests;
pub mod tlv;
mod write;

use std::net::SocketAddr;

pub use error::ProxyError;
pub use read::read;
pub use tlv::Tlv;
pub use write::{Ssl, TooMuch, write, write_local};

/// What the second version begins with: no request of HTTP, no ClientHello and no line of text does.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What the first version begins with.
const WORD: &[u8; 6] = b"PROXY ";
/// A line of the first version at most, with its end: the longest addresses and ports fit.
const LINE_MAX: usize = 107;
/// The second version up to its length.
const HEAD: usize = 16;
/// A path of a Unix socket, as the second version has it.
const PATH: usize = 108;

/// A version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// A block of bytes.
    V2,
}

/// Limits of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyLimits {
    /// All of its bytes.
    pub header: usize,
}

impl Default for ProxyLimits {
    /// Balancers of clouds add some 50 bytes of fields, one with a client's certificate a few hundred; with a certificate whole in a
    /// field of somebody's own, 4 KiB still do. The second version could say 64.
    fn default() -> Self {
        Self { header: 4 << 10 }
    }
}

/// The two ends of a connection, as a header says them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Over TCP.
    Tcp {
        /// The client.
        source: SocketAddr,
        /// What it connected to.
        destination: SocketAddr,
    },
    /// Over a Unix socket; paths up to their first NUL, and empty where there is none.
    Unix {
        /// The client's.
        source: Vec<u8>,
        /// What it connected to.
        destination: Vec<u8>,
    },
}

/// A header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Its version.
    pub version: ProxyVersion,
    /// Whose connection it is. Absent: the proxy's own (`LOCAL`, as its health checks are), or one that it knows nothing of (`UNKNOWN`,
    /// `UNSPEC`): it is from where it comes from.
    pub ends: Option<Ends>,
    /// What the second version says beside, in order, without what is only there for the header's own sake (`NOOP`, the checksum).
    pub tlvs: Vec<Tlv>,
}

impl ProxyHeader {
    /// The value of the first field of a type.
    pub fn tlv(&self, kind: u8) -> Option<&[u8]> {
        let found = self.tlvs.iter().find(|tlv| tlv.kind == kind);
        found.map(|tlv| tlv.value.as_slice())
    }
}
