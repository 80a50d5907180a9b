//! Why a connection's beginning is no ClientHello that a choice can be made by, one variant for each reason to count.

use std::error::Error;
use std::fmt;

macro_rules! errors {
    ($($(#[$doc:meta])+ $id:ident $name:literal,)+) => {
        /// What is wrong with a ClientHello.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum HelloError { $($(#[$doc])+ $id,)+ }

        impl HelloError {
            /// All of them, in the order of [`HelloError::index`].
            pub const ALL: &'static [Self] = &[$(Self::$id,)+];

            /// The name to count it under.
            pub fn name(self) -> &'static str {
                match self { $(Self::$id => $name,)+ }
            }
        }
    };
}

errors! {
    /// The connection does not begin as TLS does. SSL 2 is none of it.
    NotTls "not_tls",
    /// A handshake message, but not the one that a client begins with.
    NotClientHello "not_client_hello",
    /// Another record between those of the message (RFC 8446 §5.1).
    Interleaved "interleaved",
    /// An empty record, or one longer than 2^14 bytes (RFC 8446 §5.1).
    RecordLength "record_length",
    /// The message is longer than the limit.
    TooLong "too_long",
    /// It comes in more records than the limit.
    TooManyRecords "too_many_records",
    /// It has more extensions than the limit.
    TooManyExtensions "too_many_extensions",
    /// Bytes behind the message in its last record, before an answer (RFC 8446 §5.1).
    TrailingBytes "trailing_bytes",
    /// A length within it that leads beyond its end, or leaves bytes over; or a list that is empty and must not be.
    Malformed "malformed",
    /// A version older than SSL 3, or of no TLS.
    Version "version",
    /// An extension twice (RFC 8446 §4.2).
    DuplicateExtension "duplicate_extension",
    /// `server_name` is not one DNS name (RFC 6066 §3).
    ServerName "server_name",
    /// `application_layer_protocol_negotiation` is no list of names (RFC 7301 §3.1).
    Alpn "alpn",
    /// `supported_versions` is no list of versions (RFC 8446 §4.2.1).
    SupportedVersions "supported_versions",
}

impl HelloError {
    /// Its place in [`HelloError::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for HelloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Error for HelloError {}
