//! Every rule that a peer can break, one variant each, so that each has a name to count it under and a status to refuse it with.

use std::error::Error;
use std::fmt;

macro_rules! violations {
    ($($(#[$doc:meta])+ $id:ident $name:literal $status:literal,)+) => {
        /// The rule that a peer's bytes broke. None of them leaves the connection usable: answer and close.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Violation { $($(#[$doc])+ $id,)+ }

        impl Violation {
            /// All of them, in the order of [`Violation::index`].
            pub const ALL: &'static [Self] = &[$(Self::$id,)+];

            /// The name to count it under.
            pub fn name(self) -> &'static str {
                match self { $(Self::$id => $name,)+ }
            }

            /// The status of the answer to a request that breaks it. An answer of an upstream that does is a 502, whatever the rule.
            pub fn status(self) -> u16 {
                match self { $(Self::$id => $status,)+ }
            }
        }
    };
}

violations! {
    // Lines.
    /// A line feed that follows no carriage return (RFC 9112 §2.2 lets a recipient accept it; two that differ are smuggling).
    BareLf "bare_lf" 400,
    /// A carriage return that no line feed follows (RFC 9112 §2.2).
    BareCr "bare_cr" 400,
    /// A NUL byte in a head, a trailer or a chunk line (RFC 9110 §5.5).
    Nul "nul" 400,

    // The request line.
    /// More empty lines before a request line than a client could mean (RFC 9112 §2.2).
    BlankLines "blank_lines" 400,
    /// A request line longer than the limit.
    StartLineTooLong "start_line_too_long" 414,
    /// Not `method SP target SP version` (RFC 9112 §3); HTTP/0.9 too.
    RequestLine "request_line" 400,
    /// The method is no token (RFC 9110 §9.1).
    Method "method" 400,
    /// The method `CONNECT`: this is a gateway, no tunnel.
    Connect "connect" 405,
    /// The preface of HTTP/2 where HTTP/1 is spoken.
    Http2Preface "http2_preface" 505,
    /// The version is not `HTTP/d.d` (RFC 9112 §2.3).
    Version "version" 400,
    /// A version other than 1.x.
    VersionUnsupported "version_unsupported" 505,
    /// The target has none of the forms of RFC 9112 §3.2, or not one for this method.
    TargetForm "target_form" 400,
    /// A byte in the target that has to be percent-encoded.
    TargetByte "target_byte" 400,
    /// A fragment in the target: clients keep it to themselves (RFC 9110 §7.1).
    TargetFragment "target_fragment" 400,

    // Host.
    /// No `Host` in an HTTP/1.1 request (RFC 9112 §3.2).
    HostMissing "host_missing" 400,
    /// More than one `Host`, equal or not (RFC 9112 §3.2).
    HostDuplicate "host_duplicate" 400,
    /// `Host` is no `host[:port]` (RFC 9112 §3.2).
    HostInvalid "host_invalid" 400,
    /// The target's authority is no `host[:port]`: empty, with user information, … (RFC 9110 §4.2).
    AuthorityInvalid "authority_invalid" 400,

    /// `:authority` and `host` name different hosts (RFC 9113 §8.3.1).
    AuthorityMismatch "authority_mismatch" 400,
    /// `:scheme` is neither `http` nor `https` (RFC 9113 §8.3.1).
    SchemeInvalid "scheme_invalid" 400,
    /// An extended CONNECT for something else than WebSocket, or `:protocol` without CONNECT (RFC 8441 §4).
    ConnectProtocol "connect_protocol" 501,

    // Fields.
    /// A line that begins with white space: obsolete folding (RFC 9112 §5.2).
    ObsFold "obs_fold" 400,
    /// A field line without a colon.
    FieldNoColon "field_no_colon" 400,
    /// A field line that begins with its colon.
    FieldNameEmpty "field_name_empty" 400,
    /// A byte in a field's name that is of no token (RFC 9110 §5.1).
    FieldNameByte "field_name_byte" 400,
    /// White space between name and colon (RFC 9112 §5.1).
    FieldNameSpace "field_name_space" 400,
    /// A name that a back-end in the manner of CGI takes for a field that frames or routes: `Content_Length`.
    FieldNameAmbiguous "field_name_ambiguous" 400,
    /// A control byte in a field's value (RFC 9110 §5.5).
    FieldValueByte "field_value_byte" 400,
    /// A field line longer than the limit.
    FieldTooLong "field_too_long" 431,
    /// White space at an end of a field's value (HTTP/2: RFC 9113 §8.2.1).
    FieldValueSpace "field_value_space" 400,
    /// All field lines together longer than the limit.
    FieldsTooLong "fields_too_long" 431,
    /// More field lines than the limit.
    FieldsTooMany "fields_too_many" 431,
    /// `cookie` in more pieces than the limit (HTTP/2: RFC 9113 §8.2.3).
    CookiesTooMany "cookies_too_many" 431,

    // Framing.
    /// `Content-Length` is no decimal number below 2^64 (RFC 9112 §6.3).
    LengthInvalid "length_invalid" 400,
    /// More than one `Content-Length`, equal or not (RFC 9110 §8.6 allows either answer to equal ones).
    LengthDuplicate "length_duplicate" 400,
    /// `Content-Length` beside `Transfer-Encoding` (RFC 9112 §6.1).
    LengthWithCoding "length_with_coding" 400,
    /// More than one `Transfer-Encoding`.
    CodingDuplicate "coding_duplicate" 400,
    /// `Transfer-Encoding` that does not end with `chunked`, or is no list of tokens (RFC 9112 §6.3).
    CodingInvalid "coding_invalid" 400,
    /// A transfer coding beneath `chunked` (RFC 9112 §6.1).
    CodingUnsupported "coding_unsupported" 501,
    /// `Transfer-Encoding` in HTTP/1.0, where it means nothing (RFC 9112 §6.1).
    CodingInHttp10 "coding_in_http10" 400,
    /// An expectation other than `100-continue` (RFC 9110 §10.1.1).
    Expectation "expectation" 417,

    // Answers.
    /// Not `version SP status [SP reason]` (RFC 9112 §4).
    StatusLine "status_line" 502,
    /// A status outside of 100 to 599 (RFC 9110 §15).
    StatusCode "status_code" 502,
    /// A body announced for a 1xx answer, which has none (RFC 9112 §6.3).
    InterimBody "interim_body" 502,
    /// More 1xx answers before the final one than anybody means.
    InterimFlood "interim_flood" 502,

    // HTTP/2 upstreams; the codec tells its rules no further apart.
    /// Frames that break the rules of the whole connection (RFC 9113 §5.4.1).
    Http2Connection "http2_connection" 502,
    /// Frames that break the rules of one message (RFC 9113 §8.1.1): pseudo-fields, fields of a connection, a length that the data
    /// do not have.
    Http2Message "http2_message" 502,
    /// `101` in HTTP/2, which does not switch (RFC 9113 §8.6).
    Http2Switching "http2_switching" 502,

    // Bodies.
    /// A chunk's size is no hexadecimal number (RFC 9112 §7.1).
    ChunkSize "chunk_size" 400,
    /// A chunk's size is 2^63 or more.
    ChunkSizeTooLarge "chunk_size_too_large" 400,
    /// A chunk's extension breaks its grammar (RFC 9112 §7.1.1).
    ChunkExtension "chunk_extension" 400,
    /// A chunk's size with its extensions is longer than the limit.
    ChunkLineTooLong "chunk_line_too_long" 400,
    /// All chunk extensions of a message together are longer than the limit.
    ChunkExtensionsTooLong "chunk_extensions_too_long" 400,
    /// No line end after a chunk's data (RFC 9112 §7.1).
    ChunkEnd "chunk_end" 400,
    /// The trailer section is longer than the limit.
    TrailersTooLong "trailers_too_long" 431,
    /// More trailer fields than the limit.
    TrailersTooMany "trailers_too_many" 431,
    /// The stream ended before the body did (RFC 9112 §8).
    Truncated "truncated" 400,
}

impl Violation {
    /// Its place in [`Violation::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Error for Violation {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_is_the_place_in_all_and_names_differ() {
        let mut names: Vec<_> = Violation::ALL.iter().map(|v| v.name()).collect();
        for (at, violation) in Violation::ALL.iter().enumerate() {
            assert_eq!(violation.index(), at);
            assert!((400..600).contains(&violation.status()));
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Violation::ALL.len());
    }
}
