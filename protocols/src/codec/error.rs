//! What may be wrong with a peer's bytes: one list for all protocols, so that counters and logs have one set of names.

use std::error::Error;
use std::fmt;

macro_rules! errors {
    ($($(#[$doc:meta])+ $id:ident $name:literal,)+) => {
        /// What is wrong with a peer's bytes. As the error of [`Session::decode`](super::Session::decode) it ends the connection;
        /// as [`Frame::broken`](super::Frame::broken) it ends the frame.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum DecodeError { $($(#[$doc])+ $id,)+ }

        impl DecodeError {
            /// All of them, in the order of [`DecodeError::index`].
            pub const ALL: &'static [Self] = &[$(Self::$id,)+];

            /// The name to count it under.
            pub fn name(self) -> &'static str {
                match self { $(Self::$id => $name,)+ }
            }
        }
    };
}

errors! {
    /// It does not begin as the protocol's frames do.
    BadMagic "bad_magic",
    /// A version of the protocol that is not known.
    BadVersion "bad_version",
    /// A kind of frame that is not known.
    BadKind "bad_kind",
    /// A length that is negative, or that does not hold what it must.
    BadLength "bad_length",
    /// A frame longer than [`Limits::frame`](super::Limits::frame).
    FrameTooLarge "frame_too_large",
    /// Headers that do not fill their place exactly.
    BadHeader "bad_header",
    /// More than [`Limits::headers`](super::Limits::headers) or [`Limits::header_bytes`](super::Limits::header_bytes).
    HeadersTooLarge "headers_too_large",
    /// A checksum that is not that of the bytes.
    BadChecksum "bad_checksum",
    /// Arguments or values that break their serialization.
    BadBody "bad_body",
    /// Deeper than [`Limits::depth`](super::Limits::depth).
    TooDeep "too_deep",
    /// More values than [`Limits::values`](super::Limits::values).
    TooManyValues "too_many_values",
    /// A part of the protocol that is not spoken here: a compression, a transform. What the frame is cannot be told: it is answered as a
    /// call, and its connection closed.
    Unsupported "unsupported",
}

impl DecodeError {
    /// Its place in [`DecodeError::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Error for DecodeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_is_the_place_in_all_and_names_differ() {
        let mut names: Vec<_> = DecodeError::ALL.iter().map(|e| e.name()).collect();
        for (at, error) in DecodeError::ALL.iter().enumerate() {
            assert_eq!(error.index(), at);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DecodeError::ALL.len());
    }
}
