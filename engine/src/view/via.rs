//! What `Via` says of a message that went through here: the version in which it came, and who we are (RFC 9110 §7.6.3).

use bytes::Bytes;
use ringway_protocols::message::Version;

/// The values, made once for a listener.
#[derive(Debug)]
pub(crate) struct Via {
    http10: Bytes,
    http11: Bytes,
    http2: Bytes,
}

impl Via {
    pub(crate) fn new(name: &str) -> Self {
        let value = |version: &str| Bytes::from(format!("{version} {name}"));
        Self {
            http10: value("1.0"),
            http11: value("1.1"),
            http2: value("2"),
        }
    }

    /// Of a message that came in that version.
    pub(crate) fn of(&self, version: Version) -> Bytes {
        match version {
            Version::Http10 => self.http10.clone(),
            Version::Http11 => self.http11.clone(),
            Version::Http2 => self.http2.clone(),
            // It goes nowhere: such a head is for counters and logs.
            Version::Rpc(name) => Bytes::from_static(name.as_bytes()),
        }
    }
}
