//! Why a stream or a connection ended (RFC 9113 §7).

use std::fmt;

/// An error code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reason(pub u32);

macro_rules! reasons {
    ($($code:literal = $id:ident: $text:literal),+ $(,)?) => {
        #[expect(missing_docs, reason = "RFC 9113 §7 describes them")]
        impl Reason {
            $(pub const $id: Self = Self($code);)+

            /// What it says, in words.
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$id => $text,)+
                    _ => "an error that RFC 9113 does not name",
                }
            }
        }
    };
}

reasons! {
    0x0 = NO_ERROR: "no error",
    0x1 = PROTOCOL_ERROR: "the protocol was broken",
    0x2 = INTERNAL_ERROR: "an internal error",
    0x3 = FLOW_CONTROL_ERROR: "more was sent than the window allows",
    0x4 = SETTINGS_TIMEOUT: "settings were not acknowledged in time",
    0x5 = STREAM_CLOSED: "the stream has been closed",
    0x6 = FRAME_SIZE_ERROR: "a frame has a wrong size",
    0x7 = REFUSED_STREAM: "refused before it was looked at",
    0x8 = CANCEL: "cancelled",
    0x9 = COMPRESSION_ERROR: "a field block cannot be decoded",
    0xa = CONNECT_ERROR: "the tunnel's connection broke",
    0xb = ENHANCE_YOUR_CALM: "too much of what costs",
    0xc = INADEQUATE_SECURITY: "the transport is not secure enough",
    0xd = HTTP_1_1_REQUIRED: "HTTP/1.1 is wanted",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// Why the connection cannot go on: what its GOAWAY says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure {
    /// For the other end.
    pub reason: Reason,
    /// For the log.
    pub text: &'static str,
    /// Which counter it is for.
    pub cause: Cause,
}

/// What kind of failure it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The protocol was broken.
    Rule,
    /// The budget of control frames is used up.
    Control,
    /// That of empty DATA is.
    Empty,
    /// Another bound was reached.
    Bound,
}

impl Failure {
    pub(super) const fn new(reason: Reason, text: &'static str) -> Self {
        let cause = Cause::Rule;
        Self {
            reason,
            text,
            cause,
        }
    }

    /// A bound was reached that keeps others from harm.
    pub(super) const fn calm(text: &'static str) -> Self {
        Self {
            reason: Reason::ENHANCE_YOUR_CALM,
            text,
            cause: Cause::Bound,
        }
    }

    pub(super) const fn protocol(text: &'static str) -> Self {
        Self::new(Reason::PROTOCOL_ERROR, text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.text)
    }
}

/// Who ended a stream before its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// The other end, by RST_STREAM.
    Peer,
    /// The codec, for a rule that the other end broke.
    Rule,
    /// Who serves the stream.
    Us,
    /// It was ended with its connection.
    Connection,
}

/// A stream that is there no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broken {
    /// Why.
    pub reason: Reason,
    /// Who says so.
    pub by: By,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.by {
            By::Peer => "the client reset the stream",
            By::Rule => "the stream broke a rule",
            By::Us => "the stream was reset",
            By::Connection => "the connection ended",
        };
        write!(f, "{who}: {}", self.reason)
    }
}

impl std::error::Error for Broken {}
