//! Why the beginning of a connection is no PROXY header, one variant for each reason to count.

use std::error::Error;
use std::fmt;

macro_rules! errors {
    ($($(#[$doc:meta])+ $id:ident $name:literal,)+) => {
        /// What is wrong with a header.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ProxyError { $($(#[$doc])+ $id,)+ }

        impl ProxyError {
            /// All of them, in the order of [`ProxyError::index`].
            pub const ALL: &'static [Self] = &[$(Self::$id,)+];

            /// The name to count it under.
            pub fn name(self) -> &'static str {
                match self { $(Self::$id => $name,)+ }
            }
        }
    };
}

errors! {
    /// The connection begins with neither version's first bytes.
    Absent "absent",
    /// The header is longer than the limit, or a line of the first version longer than 107 bytes.
    TooLong "too_long",
    /// A line of the first version that is not of its form.
    Line "line",
    /// An address that is none of its family, or a port that is none.
    Address "address",
    /// A version behind the second one's signature that is not 2.
    Version "version",
    /// A command other than `LOCAL` and `PROXY`.
    Command "command",
    /// An unknown family, or a transport that is no stream.
    Family "family",
    /// A block that ends within its addresses.
    Length "length",
    /// Fields that do not fill the block, or one whose value is none of its type.
    Tlv "tlv",
    /// A field twice that may be there once.
    DuplicateTlv "duplicate_tlv",
    /// A checksum that is not the header's.
    Checksum "checksum",
}

impl ProxyError {
    /// Its place in [`ProxyError::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Error for ProxyError {}
